package dashboards

// dependencies is the row about what the program stands on, as one instance asks Kafka and
// RabbitMQ. What is not asked is not there: the panels say so.
func dependencies(s scope) row {
	var panels []*panel
	for _, p := range []*panel{
		lines("Unread by groups", counts, "Records that groups have not committed, by group and topic.",
			q(top(20, by("group, topic", s.of("analytics_kafka_group_lag_records"))), "{{group}} {{topic}}")),
		lines("Age of what is unread", seconds, "Age of the oldest record that a group has not committed.",
			q(top(20, maxBy("group, topic", s.of("analytics_kafka_group_lag_seconds"))), "{{group}} {{topic}}")),
		lines("Partitions in danger", counts, "Partitions with a replica that is not in sync, and partitions without a leader, of all topics.",
			q("max("+s.of("analytics_kafka_under_replicated_partitions")+")", "under-replicated"), q("max("+s.of("analytics_kafka_offline_partitions")+")", "without a leader")),
		lines("Brokers", counts, "Brokers that are there.", q("max("+s.of("analytics_kafka_brokers")+")", "brokers")).size(6, 8),
		lines("Answers", truth, "Whether they answered when they were last asked.",
			q("max("+s.of("analytics_kafka_up")+")", "Kafka"), q("max("+s.of("analytics_rabbitmq_up")+")", "RabbitMQ")).most(1).size(6, 8),
		lines("Connections to RabbitMQ", counts, "Of all its clients.", q("max("+s.of("analytics_rabbitmq_connections")+")", "connections")).size(12, 8),
		lines("Messages that wait", counts, "Messages that wait in queues. Those in error_event.unrouted are alerts that no queue is bound for.",
			q(top(20, by("vhost, queue", s.of("analytics_rabbitmq_queue_messages_ready"))), "{{vhost}} {{queue}}")),
		lines("Messages in hand", counts, "Messages that were delivered and not acknowledged.",
			q(top(20, by("vhost, queue", s.of("analytics_rabbitmq_queue_messages_unacknowledged"))), "{{vhost}} {{queue}}")),
		lines("Consumers", counts, "Consumers of the queues. One without any is a receiver that is gone.",
			q(top(20, by("vhost, queue", s.of("analytics_rabbitmq_queue_consumers"))), "{{vhost}} {{queue}}")),
	} {
		panels = append(panels, p.otherwise("not configured"))
	}
	return row{title: "Kafka and RabbitMQ", panels: panels, closed: true}
}

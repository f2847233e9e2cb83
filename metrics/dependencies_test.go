package metrics_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"ragstreams/metrics"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

// exported returns the lines of a scrape that are samples.
func exported(t *testing.T, reg *prometheus.Registry) (lines []string) {
	t.Helper()
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestDependencies(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	d := metrics.NewDependencies(reg)
	want := func(what string, lines ...string) {
		t.Helper()
		if got := strings.Join(exported(t, reg), "\n"); got != strings.Join(lines, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, strings.Join(lines, "\n"))
		}
	}
	want("before anything was looked at")
	now := time.Unix(1000, 0)
	d.Kafka(&metrics.Kafka{At: now, Health: &metrics.Health{Brokers: 3, UnderReplicated: 2, Offline: 1}, Lags: []metrics.GroupLag{
		{Group: "g", Topic: "a", Partition: 0, Records: 7, Oldest: now.Add(-90 * time.Second)},
		{Group: "g", Topic: "a", Partition: 1},
		{Group: "g", Topic: "a", Partition: 2, Records: 4, Oldest: now.Add(time.Minute)}, // of a clock ahead
		{Group: "g", Topic: "a", Partition: 3, Records: 5},                               // the oldest was not seen
	}})
	kafka := []string{
		`analytics_kafka_brokers 3`,
		`analytics_kafka_group_lag_records{group="g",partition="0",topic="a"} 7`,
		`analytics_kafka_group_lag_records{group="g",partition="1",topic="a"} 0`,
		`analytics_kafka_group_lag_records{group="g",partition="2",topic="a"} 4`,
		`analytics_kafka_group_lag_records{group="g",partition="3",topic="a"} 5`,
		`analytics_kafka_group_lag_seconds{group="g",partition="0",topic="a"} 90`,
		`analytics_kafka_group_lag_seconds{group="g",partition="1",topic="a"} 0`,
		`analytics_kafka_group_lag_seconds{group="g",partition="2",topic="a"} 0`,
		`analytics_kafka_offline_partitions 1`,
		`analytics_kafka_under_replicated_partitions 2`,
		`analytics_kafka_up 1`,
	}
	want("Kafka", kafka...)
	d.RabbitMQ(&metrics.RabbitMQ{Connections: 2, Queues: []metrics.Queue{{Vhost: "/", Name: "pages", Ready: 7, Unacked: 3, Consumers: 1}}})
	want("both", append(kafka,
		`analytics_rabbitmq_connections 2`,
		`analytics_rabbitmq_queue_consumers{queue="pages",vhost="/"} 1`,
		`analytics_rabbitmq_queue_messages_ready{queue="pages",vhost="/"} 7`,
		`analytics_rabbitmq_queue_messages_unacknowledged{queue="pages",vhost="/"} 3`,
		`analytics_rabbitmq_up 1`)...)
	d.RabbitMQ(nil)
	want("RabbitMQ did not answer", append(kafka, `analytics_rabbitmq_up 0`)...)
	d.Kafka(&metrics.Kafka{At: now, Lags: []metrics.GroupLag{{Group: "g", Topic: "a"}}})
	d.RabbitMQ(&metrics.RabbitMQ{Connections: -1})
	want("partitions and queues are gone, and some is not told",
		`analytics_kafka_group_lag_records{group="g",partition="0",topic="a"} 0`,
		`analytics_kafka_group_lag_seconds{group="g",partition="0",topic="a"} 0`,
		`analytics_kafka_up 1`, `analytics_rabbitmq_up 1`)
	d.Kafka(nil)
	d.ForgetRabbitMQ()
	want("Kafka did not answer", `analytics_kafka_up 0`)
	d.RabbitMQ(nil)
	d.Forget()
	want("another instance watches")
}

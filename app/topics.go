package app

import (
	"strconv"
	"time"

	"ragstreams/kafka"
	"ragstreams/processors"
)

// ownTopics lists every topic that the program makes for itself.
func ownTopics(o *Options) []kafka.Topic {
	n := o.names()
	side := 7 * 24 * time.Hour
	topics := []kafka.Topic{
		// Purged below what can still be needed, never by age: a replay of old
		// data must not be deleted before it was read.
		{Name: n.Events(), Partitions: o.Partitions, Create: true, Forever: true},
		{Name: n.Progress(), Partitions: 1, Create: true, Compact: true},
		{Name: n.DLQ(), Partitions: o.Partitions, Create: true, Retention: side, Public: true},
		{Name: n.Late(), Partitions: o.Partitions, Create: true, Retention: side, Public: true},
	}
	for _, table := range processors.TableNames {
		topics = append(topics,
			kafka.Topic{Name: n.Partials(table), Partitions: o.Partitions, Create: true, Forever: true},
			kafka.Topic{Name: n.Table(table), Partitions: o.Partitions, Create: true, Compact: true, Config: map[string]string{
				// Rows are rewritten at every commit: compact early and in small pieces.
				"segment.bytes": "67108864", "min.cleanable.dirty.ratio": "0.3", "segment.ms": "3600000",
			}},
		)
	}
	for _, table := range processors.Windowed {
		// Purged, too: by the time of the events, which need not be that of the clock.
		topics = append(topics,
			kafka.Topic{Name: n.Windows(table), Partitions: o.Partitions, Create: true, Forever: true, Public: true, Config: purged(time.Hour)},
			kafka.Topic{Name: n.Hours(table), Partitions: o.Partitions, Create: true, Forever: true, Public: true, Config: purged(24 * time.Hour)},
		)
	}
	if o.Rules != "" {
		topics = append(topics,
			kafka.Topic{Name: n.Evaluations(), Partitions: o.Partitions, Create: true, Retention: 24 * time.Hour},
			kafka.Topic{Name: n.Alerts(), Partitions: o.Partitions, Create: true, Compact: true},
			kafka.Topic{Name: n.Silences(), Partitions: 1, Create: true, Compact: true, Public: true},
			kafka.Topic{Name: n.Outbox(), Partitions: o.Partitions, Create: true, Retention: side, Public: true},
		)
	}
	return topics
}

// purged lets disks get free soon after a topic was purged: the broker deletes whole segments.
func purged(segment time.Duration) map[string]string {
	return map[string]string{"segment.bytes": "67108864", "segment.ms": strconv.FormatInt(segment.Milliseconds(), 10)}
}

func sourceTopics(o *Options) []kafka.Topic {
	var topics []kafka.Topic
	for _, s := range o.Sources {
		topics = append(topics, kafka.Topic{Name: s, MakeWith: o.Partitions, Create: o.CreateTopics, Optional: true})
	}
	return topics
}

package main

import (
	"bytes"
	"strings"
	"testing"

	"ragstreams/kafka"
)

// Topics that exist keep the partitions they have; others are made.
func TestGenerateIntoTopicsThatExist(t *testing.T) {
	broker, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	c := kafka.Config{Brokers: broker.Brokers()}
	if _, err := kafka.EnsureTopics(t.Context(), c, 1, []kafka.Topic{{Name: "one", Partitions: 6, Create: true}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	env := environment{&out, &out, []string{"ANALYTICS_KAFKA_BROKERS=" + strings.Join(c.Brokers, ","), "ANALYTICS_SOURCES=one,two"}}
	if err := run(t.Context(), env, []string{"generate", "--events", "500"}); err != nil {
		t.Fatal(err)
	}
	for topic, partitions := range map[string]int{"one": 6, "two": int(sourcePartitions[1])} {
		ends, err := kafka.EndOffsets(t.Context(), c, topic)
		if err != nil || len(ends) != partitions {
			t.Errorf("%s has %d partitions, %v, want %d", topic, len(ends), err, partitions)
		}
		for p, end := range ends {
			if end == 0 {
				t.Errorf("nothing was written to %s/%d", topic, p)
			}
		}
	}
}

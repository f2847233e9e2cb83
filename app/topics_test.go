package app

import (
	"fmt"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/processors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func admin(t testing.TB, o *Options) *kadm.Client {
	t.Helper()
	cl, err := o.Kafka.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// until calls done again and again until it returns "", and fails with what it
// returned last.
func until(t testing.TB, done func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		wrong := done()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Repartition topics are cut where no stage will read again, and a restart needs
// nothing of what was cut: copies of events in open panes are still known. The
// records carry the clock, not the events' time of last year, or retention would
// delete them unread.
func TestRepartitionTopicsArePurged(t *testing.T) {
	o := testOptions(t)
	o.PurgeInterval = 200 * time.Millisecond
	began := time.Now()
	g := generate.New(generate.Config{
		Seed: 5, Step: 20 * time.Millisecond, Start: began.AddDate(-1, 0, 0), Duplicates: 0.1, Unkeyed: 0.5,
		Topics: []generate.Topic{{Name: o.Sources[0], Partitions: 2}, {Name: o.Sources[1], Partitions: 1}},
	})
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{
		{Name: o.Sources[0], Partitions: 2, Create: true, Forever: true},
		{Name: o.Sources[1], Partitions: 1, Create: true, Forever: true},
	}); err != nil {
		t.Fatal(err)
	}
	adm, n := admin(t, &o), o.names()
	t.Run("first", func(t *testing.T) {
		produceAll(t, &o, g, 10_000) // 200 s of event time: two minutes of panes close
		wantTruth(t, start(t, o), g.Truth())
		topics := []string{n.Events()}
		for _, table := range processors.TableNames {
			topics = append(topics, n.Partials(table))
		}
		until(t, func() string {
			starts, err := adm.ListStartOffsets(t.Context(), topics...)
			if err != nil {
				return err.Error()
			}
			for _, topic := range topics {
				for p := range o.Partitions {
					if at, _ := starts.Lookup(topic, p); at.Offset == 0 {
						return fmt.Sprintf("%s/%d still begins at 0", topic, p)
					}
				}
			}
			return ""
		})
	})
	for p := range o.Partitions {
		end, err := kafka.EndOffset(t.Context(), o.Kafka, n.Events(), p)
		if err != nil {
			t.Fatal(err)
		}
		err = kafka.Read(t.Context(), o.Kafka, n.Events(), p, 0, end, func(m kafka.Message) error {
			if at := time.UnixMilli(m.Timestamp); at.Before(began.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
				return fmt.Errorf("%s/%d at %d has the timestamp %s, want the clock's", m.Topic, m.Partition, m.Offset, at)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	produceAll(t, &o, g, 5000) // copies of what was sent before among them
	wantTruth(t, start(t, o), g.Truth())
}

// A partition that a source topic gets later is read, and its silence holds
// nobody back for ever.
func TestSourcePartitionAddedLater(t *testing.T) {
	o := testOptions(t)
	o.MetadataInterval = 200 * time.Millisecond
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{{Name: o.Sources[0], Partitions: 1, Create: true}}); err != nil {
		t.Fatal(err)
	}
	client := start(t, o)
	awaitReady(t, client.URL)
	adm := admin(t, &o)
	if _, err := adm.CreatePartitions(t.Context(), 2, o.Sources[0]); err != nil {
		t.Fatal(err)
	}
	cl, err := o.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for p := range int32(3) {
		r := &kgo.Record{Topic: o.Sources[0], Partition: p % 2, Value: []byte(`{"event_type":"user_query"}`)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() string {
		ended, in, err := client.Outcomes(t.Context())
		if err != nil {
			return err.Error()
		}
		counted := ended[generate.RecordsKey{Topic: o.Sources[0], Outcome: generate.Counted}]
		if counted != 3 || in[o.Sources[0]] != 3 {
			return fmt.Sprintf("%d records in, %d counted, want 3", in[o.Sources[0]], counted)
		}
		return ""
	})
}

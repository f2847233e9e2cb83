package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/tables"

	"github.com/twmb/franz-go/pkg/kgo"
)

// testOptions returns options on the cluster that KAFKA_BROKERS names, or on an
// embedded one, under a fresh prefix.
func testOptions(t testing.TB) Options {
	t.Helper()
	o := DefaultOptions()
	o.Kafka.Compress = false
	if b := os.Getenv("KAFKA_BROKERS"); b != "" {
		o.Kafka.Brokers = strings.Split(b, ",")
		o.Kafka.Compress = true
	} else {
		e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		o.Kafka.Brokers = e.Brokers()
	}
	if os.Getenv("TEST_VERBOSE") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	} else {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	run := fmt.Sprintf("t%d-", time.Now().UnixNano()%1e9)
	o.Prefix = run + "analytics-"
	o.Sources = []string{run + "rag-traces", run + "kotaemon-dialog-events"}
	o.CreateTopics = true
	o.Instance = "a"
	o.HTTPListen = ""
	o.IdleTimeout = 2 * time.Second
	o.Tick = 200 * time.Millisecond
	o.SessionTimeout = 6 * time.Second
	return o
}

func produceAll(t testing.TB, o *Options, g *generate.Generator, n int) {
	t.Helper()
	cl, err := o.Kafka.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range n {
		r := g.Next()
		rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: time.Now()}
		if r.Key != nil {
			rec.Key = append([]byte{}, r.Key...)
		}
		if r.Value != nil {
			rec.Value = append([]byte{}, r.Value...)
		}
		cl.Produce(t.Context(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// changelog reads the committed rows of a table.
func changelog[M any, P tables.Measure[M]](t testing.TB, o *Options, table *tables.Table[M]) (map[string]M, map[int32]tables.Progress) {
	t.Helper()
	topic := o.names().Table(table.Name)
	rows := map[string]M{}
	progress := map[int32]tables.Progress{}
	for p := range o.Partitions {
		end, err := kafka.EndOffset(t.Context(), o.Kafka, topic, p)
		if err != nil {
			t.Fatal(err)
		}
		err = kafka.Read(t.Context(), o.Kafka, topic, p, 0, end, func(m kafka.Message) error {
			if string(m.Key) == tables.ProgressKey {
				var pr tables.Progress
				if err := pr.Decode(m.Value); err != nil {
					return err
				}
				progress[p] = pr
				return nil
			}
			var row tables.Row[M, P]
			if err := row.Decode(m.Value); err != nil {
				return err
			}
			dims, err := table.DimsOf(string(m.Key))
			if err != nil {
				return err
			}
			rows[strings.Join(dims, "|")] = row.Sum()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rows, progress
}

func TestTablesEqualGroundTruth(t *testing.T) {
	o := testOptions(t)
	const n = 100_000
	g := generate.New(generate.Config{
		Seed: 1, Step: 10 * time.Minute / n, Start: time.Now().Add(-11 * time.Minute),
		Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5,
		Topics: []generate.Topic{{Name: o.Sources[0], Partitions: 4}, {Name: o.Sources[1], Partitions: 3}},
	})
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, append(ownTopics(&o),
		kafka.Topic{Name: o.Sources[0], Partitions: 4, Create: true, Forever: true},
		kafka.Topic{Name: o.Sources[1], Partitions: 3, Create: true, Forever: true},
	)); err != nil {
		t.Fatal(err)
	}
	produceAll(t, &o, g, n)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	truth := g.Truth()
	deadline := time.Now().Add(60 * time.Second)
	start := time.Now()
	var records map[string]tables.Records
	for {
		records, _ = changelog(t, &o, &tables.RecordsTable)
		var out int64
		for k, r := range records {
			if !strings.Contains(k, "|in|") {
				out += r.Count
			}
		}
		if out == n || time.Now().After(deadline) {
			break
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Logf("drained in %s", time.Since(start))
	for k, want := range truth.Records {
		var got int64
		for key, r := range records {
			f := strings.Split(key, "|")
			if f[0] == k.Topic && f[1] == k.Outcome && (k.Outcome != generate.Poison || f[2] == k.Reason) {
				got += r.Count
			}
		}
		if got != want {
			t.Errorf("records %v = %d, want %d", k, got, want)
		}
	}
	traffic, _ := changelog(t, &o, &tables.TrafficTable)
	total := truth.Total()
	if len(traffic) != len(total.Traffic) {
		t.Errorf("%d traffic series, want %d", len(traffic), len(total.Traffic))
	}
	for k, want := range total.Traffic {
		got := traffic[k.Tenant+"|"+k.App+"|"+k.EventType]
		if got.Count != want.Count || got.Errors != want.Errors {
			t.Errorf("traffic %v = %+v, want %+v", k, got, *want)
		}
	}
	latency, _ := changelog(t, &o, &tables.LatencyTable)
	for k, want := range total.Latency {
		got := latency[strings.Join([]string{k.Tenant, k.App, k.Stage, k.Model}, "|")]
		if got.Duration.Count() != want.Count || got.Duration.Sum() != int64(want.Sum) || got.Duration.Max() != int64(want.Max) {
			t.Errorf("latency %v = %d %d, want %+v", k, got.Duration.Count(), got.Duration.Sum(), want.Count)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for k, v := range records {
		t.Logf("%s = %d", k, v.Count)
	}
}

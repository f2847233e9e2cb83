package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Backtests of six hours of the benchmark's traffic, of one rule and of those that are
// shipped. An operation is a record; what the embedded broker takes is in it. Evaluations
// take the most of the time, unless there are very many records.
func BenchmarkBacktest(b *testing.B) {
	b.Run("rule", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "rules.yaml")
		if err := os.WriteFile(file, []byte("groups: [{name: g, rules: [{alert: A, expr: 'sum(rate(rag_events_total[5m])) > 1e9'}]}]"), 0o644); err != nil {
			b.Fatal(err)
		}
		benchmarkBacktest(b, file, time.Minute)
	})
	b.Run("pack", func(b *testing.B) { benchmarkBacktest(b, "../grafana/rules/ragstreams.yaml", 10*time.Second) })
}

func benchmarkBacktest(b *testing.B, rules string, step time.Duration) {
	const span = 6 * time.Hour
	o := DefaultOptions()
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Close)
	o.Kafka.Brokers, o.Instance, o.Rules, o.Sources = e.Brokers(), "bench", rules, []string{"rag-traces"}
	if _, err := kafka.EnsureTopics(b.Context(), o.Kafka, 1, []kafka.Topic{{Name: "rag-traces", Partitions: 4, Create: true, Forever: true}}); err != nil {
		b.Fatal(err)
	}
	client, err := o.Kafka.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	cfg := generate.Bench(b.N, 1)
	cfg.Start, cfg.Step = time.Now().Add(-span), span/time.Duration(b.N)
	g := generate.New(cfg)
	for i := range b.N {
		r := g.Next()
		at := cfg.Start.Add(time.Duration(i) * cfg.Step)
		client.Produce(b.Context(), &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: at, Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	r, err := RunBacktest(b.Context(), o, Backtest{Since: cfg.Start.Add(-time.Second), Until: time.Now(), Step: step, WarmUp: 0})
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if r.Records.Read < int64(b.N) {
		b.Errorf("%d of %d records", r.Records.Read, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(r.Evaluations), "ms/evaluation")
}

// A second that passes over source partitions in which nothing comes.
func BenchmarkScratchSecond(b *testing.B) {
	for _, partitions := range []int32{4, 40, 300} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			now := time.Now().Add(-time.Hour)
			s := newTestScratch(b, partitions, now)
			for b.Loop() {
				now = now.Add(time.Second)
				if err := s.to(now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"
	"ragstreams/tables"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// latencyRates are the loads at which latency is measured, in events a second.
var latencyRates = []int{2_000, 20_000}

const (
	latencyTopic    = "latency-rag-traces"
	latencyWarmUp   = 10 * time.Second // under load, before it is measured
	latencyPatience = 30 * time.Second // until the last event must be visible
	latencyTick     = time.Millisecond // between two bursts of events
)

// latencies measures, at each of latencyRates, how long it takes from producing an
// event until it is in the committed table traffic, and returns the document. The
// table is read as the program's own views read it, from its changelog and
// read_committed, so nobody is asked while it works.
func (p *program) latencies(ctx context.Context, o options) (string, error) {
	version, err := p.site.KafkaVersion()
	if err != nil {
		return "", err
	}
	prefix := fmt.Sprintf("latency-%d-", time.Now().UnixMilli())
	one, err := p.started(ctx, prefix)
	if err != nil {
		return "", err
	}
	results, err := p.c.measureLatency(ctx, one, prefix+tables.TrafficTable.Name+"-table", o)
	if err != nil {
		return "", errors.Join(fmt.Errorf("%w; the program's log ends with\n%s", err, one.Tail(20)), one.Kill())
	}
	if err := one.Stop(30 * time.Second); err != nil {
		return "", err
	}
	fmt.Printf("\n%s", latencyTable(results))
	return latencyDocument(o, version, results), p.c.forget(ctx, prefix)
}

// started makes latencyTopic and starts the program on it.
func (p *program) started(ctx context.Context, prefix string, env ...string) (*servers.Program, error) {
	made, err := p.c.admin.CreateTopic(ctx, 4, 1, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, latencyTopic)
	if err := errors.Join(err, made.Err); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", latencyTopic, err)
	}
	one, address, err := p.process(prefix, latencyTopic, env...)
	if err != nil {
		return nil, err
	}
	_, err = untilReady(ctx, one, address)
	return one, err
}

// producer sends every record at once.
func (c *cluster) producer() (*kgo.Client, error) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.kafka.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return producer, nil
}

func (c *cluster) measureLatency(ctx context.Context, one *servers.Program, changelog string, o options) ([]delays, error) {
	producer, err := c.producer()
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.kafka.Address), kgo.ConsumeTopics(changelog),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	defer reader.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := newSight()
	go func() { stop(follow(ctx, reader, s)) }()

	cfg := generate.Bench(0, o.seed)
	cfg.Topics[0].Name, cfg.TotalsOnly = latencyTopic, true
	load := steady{generator: generate.New(cfg), producer: producer, sight: s}
	var all []delays
	for _, rate := range latencyRates {
		fmt.Printf("%s events a second for %s\n", thousands(float64(rate)), o.latency)
		if err := load.run(ctx, rate, latencyWarmUp, false); err != nil {
			return nil, err
		}
		before, err := one.Usage()
		if err != nil {
			return nil, err
		}
		if err := load.run(ctx, rate, o.latency, true); err != nil {
			return nil, err
		}
		if err := s.wait(ctx, latencyPatience); err != nil {
			return nil, err
		}
		after, err := one.Usage()
		if err != nil {
			return nil, err
		}
		d := delays{rate: rate, all: s.take()}
		d.cpu = perEvent(after.CPU-before.CPU, int64(len(d.all)))
		all = append(all, d)
	}
	return all, nil
}

// follow shows every row of the changelog to s until ctx ends.
func follow(ctx context.Context, reader *kgo.Client, s *sight) error {
	for {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the changelog: %w", err)
		}
		now := time.Now()
		for r := range fetches.RecordsAll() {
			if !tables.IsSeries(string(r.Key)) {
				continue
			}
			var row tables.Row[tables.Traffic, *tables.Traffic]
			if err := row.Decode(r.Value); err != nil {
				return fmt.Errorf("read the changelog: %w", err)
			}
			s.show(string(r.Key), row.Sum().Count, now)
		}
	}
}

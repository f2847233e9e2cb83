package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
)

// traffic writes generated records to Kafka, each to the partition that the
// generator chose: what is late depends on it.
type traffic struct {
	client *kgo.Client
	failed atomic.Pointer[error]
}

func newTraffic(c kafka.Config) (*traffic, error) {
	client, err := c.NewClient(kgo.MaxBufferedRecords(50_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &traffic{client: client}, nil
}

func (t *traffic) send(ctx context.Context, r generate.Record) {
	record := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp}
	if r.Key != nil {
		record.Key = append([]byte{}, r.Key...)
	}
	if r.Value != nil {
		record.Value = append([]byte{}, r.Value...)
	}
	t.client.Produce(ctx, record, func(r *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("produce to %s/%d: %w", r.Topic, r.Partition, err)
			t.failed.CompareAndSwap(nil, &err)
		}
	})
}

// err returns the first failure.
func (t *traffic) err() error {
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (t *traffic) flush(ctx context.Context) error {
	if err := t.client.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return t.err()
}

func (t *traffic) close() { t.client.Close() }

// live sends rate records a second until ctx ends or limit records were sent
// (0: no limit), and returns how many.
func (t *traffic) live(ctx context.Context, g *generate.Generator, rate float64, limit int) (int, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for limit == 0 || sent < limit {
		select {
		case <-ctx.Done():
			return sent, nil
		case now := <-tick.C:
			due := int(now.Sub(start).Seconds() * rate)
			for ; sent < due && (limit == 0 || sent < limit); sent++ {
				// What was sent must be known: it is finished even when ctx ends.
				t.send(context.WithoutCancel(ctx), g.NextAt(now))
			}
		}
		if err := t.err(); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

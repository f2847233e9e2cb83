package main

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"ragstreams/codecs"
	"ragstreams/event"
	"ragstreams/generate"
	"ragstreams/tables"

	"github.com/twmb/franz-go/pkg/kgo"
)

// steady sends generated events as of now.
type steady struct {
	generator *generate.Generator
	producer  *kgo.Client
	sight     *sight // nil: nobody looks
	decoder   codecs.JSON
	failed    atomic.Pointer[error]
}

// run sends at a steady rate, in bursts, however slowly they are taken. An event
// counts as produced when its turn came.
func (l *steady) run(ctx context.Context, rate int, length time.Duration, keep bool) error {
	began, total := time.Now(), int(length.Seconds()*float64(rate))
	tick := time.NewTicker(latencyTick)
	defer tick.Stop()
	for sent := 0; sent < total; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		for ; sent < total; sent++ {
			due := began.Add(time.Duration(sent) * time.Second / time.Duration(rate))
			if due.After(time.Now()) {
				break
			}
			if err := l.send(ctx, due, keep); err != nil {
				return err
			}
		}
	}
	if took := time.Since(began); took > length+length/50+latencyTick {
		return fmt.Errorf("%d events took %s to send, want %s: this machine cannot hold the rate", total, took, length)
	}
	return nil
}

func (l *steady) send(ctx context.Context, due time.Time, keep bool) error {
	if failed := l.failed.Load(); failed != nil {
		return fmt.Errorf("produce: %w", *failed)
	}
	r := l.generator.NextAt(due)
	if l.sight != nil {
		var e event.Event
		if poison := l.decoder.Decode(r.Value, &e); poison != nil {
			return fmt.Errorf("a generated event is poison: %s", poison.Detail)
		}
		l.sight.sent(string(tables.AppendKey(nil, e.Tenant, e.App, e.Type)), due, keep)
	}
	l.producer.Produce(ctx, &kgo.Record{
		Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value),
	}, func(_ *kgo.Record, err error) {
		if err != nil {
			l.failed.CompareAndSwap(nil, &err)
		}
	})
	return nil
}

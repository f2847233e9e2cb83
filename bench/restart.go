package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/kafka"
	"ragstreams/tables"

	"github.com/twmb/franz-go/pkg/kgo"
)

// restart measures how long the program takes until it is ready with n rows in a
// table: from the start of the process until /readyz says so, all restored.
func (p *program) restart(ctx context.Context, n, runs int) error {
	prefix := fmt.Sprintf("restart-%d-", time.Now().UnixMilli())
	one, address, err := p.process(prefix, "restart-rag-traces")
	if err != nil {
		return err
	}
	took, err := untilReady(ctx, one, address)
	if err != nil {
		return err
	}
	fmt.Printf("without rows, topics made: ready after %s\n", took.Round(10*time.Millisecond))
	if err := one.Stop(30 * time.Second); err != nil {
		return err
	}
	if err := p.c.writeRows(ctx, prefix+tables.TrafficTable.Name+"-table", n); err != nil {
		return err
	}
	for range runs {
		took, err := untilReady(ctx, one, address)
		if err != nil {
			return err
		}
		usage, err := one.Usage()
		if err != nil {
			return err
		}
		fmt.Printf("with %s rows: ready after %s, %.2f s of CPU, peak %d MiB\n", thousands(float64(n)), took.Round(10*time.Millisecond),
			usage.CPU.Seconds(), usage.Peak>>20)
		if err := one.Kill(); err != nil {
			return err
		}
	}
	return p.c.forget(ctx, prefix)
}

func untilReady(ctx context.Context, one *servers.Program, address string) (time.Duration, error) {
	began := time.Now()
	if err := one.Start(); err != nil {
		return 0, err
	}
	for !ready(ctx, address) {
		if !one.Running() || ctx.Err() != nil {
			return 0, errors.Join(fmt.Errorf("the program is not ready; its log ends with\n%s", one.Tail(20)), one.Kill())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began), nil
}

// writeRows fills the changelog of the traffic table.
func (c *cluster) writeRows(ctx context.Context, changelog string, n int) error {
	counts, err := kafka.PartitionCounts(ctx, kafka.Config{Brokers: []string{c.kafka.Address}}, []string{changelog})
	if err != nil {
		return err
	}
	partitions := int(counts[changelog])
	if partitions == 0 {
		return fmt.Errorf("topic %s is missing", changelog)
	}
	var failed atomic.Pointer[error]
	for i := range n {
		key := tables.AppendKey(nil, fmt.Appendf(nil, "tenant-%d", i%50), []byte("kotaemon"), fmt.Appendf(nil, "type-%d", i/50))
		row := tables.Row[tables.Traffic, *tables.Traffic]{Total: tables.Traffic{Count: int64(i), Errors: int64(i / 100)}}
		row.Add(int64(i%6)*10_000, &tables.Traffic{Count: 7})
		r := &kgo.Record{Topic: changelog, Partition: kafka.PartitionOf(key, partitions), Key: key, Value: row.Append(nil)}
		c.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	err = c.client.Flush(ctx)
	if first := failed.Load(); first != nil {
		err = *first
	}
	if err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

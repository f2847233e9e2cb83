package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topic is the one that all contestants read.
const topic = "bench-rag-traces"

// cluster is the broker as the benchmark uses it.
type cluster struct {
	kafka  *servers.Kafka
	client *kgo.Client
	admin  *kadm.Client
}

func connect(k *servers.Kafka) (*cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(64<<10),
		kgo.ProducerLinger(10*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return &cluster{k, client, kadm.NewClient(client)}, nil
}

// load makes the topic and fills it.
func (c *cluster) load(ctx context.Context, o options) (*generate.Truth, error) {
	cfg := generate.Bench(o.events, o.seed)
	cfg.Topics[0].Name, cfg.TotalsOnly = topic, true
	cfg.Tenants, cfg.Topics[0].Partitions = o.tenants, int32(o.partitions)
	resp, err := c.admin.CreateTopic(ctx, cfg.Topics[0].Partitions, 1, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, topic)
	if err := errors.Join(err, resp.Err); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", topic, err)
	}
	g := generate.New(cfg)
	var failed atomic.Pointer[error]
	for range o.events {
		r := g.Next()
		rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
		c.client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if failed.Load() != nil {
			break
		}
	}
	err = c.client.Flush(ctx)
	if first := failed.Load(); first != nil {
		err = *first
	}
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return g.Truth(), nil
}

// brokerCPU returns what the broker has used so far.
func (c *cluster) brokerCPU() (time.Duration, error) {
	pid, err := c.kafka.PID(0)
	if err != nil {
		return 0, err
	}
	u, err := servers.UsageOf(pid)
	return u.CPU, err
}

// broker returns what the broker uses while do works.
func (c *cluster) broker(do func() error) (time.Duration, error) {
	before, err := c.brokerCPU()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := c.brokerCPU()
	return after - before, err
}

// forget deletes the topics that begin with prefix, so that the runs before do
// not burden the next.
func (c *cluster) forget(ctx context.Context, prefix string) error {
	topics, err := c.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("delete the topics of a run: %w", err)
	}
	names := slices.DeleteFunc(topics.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) })
	if len(names) == 0 {
		return nil
	}
	resp, err := c.admin.DeleteTopics(ctx, names...)
	if err = errors.Join(err, resp.Error()); err != nil {
		return fmt.Errorf("delete the topics of a run: %w", err)
	}
	return nil
}

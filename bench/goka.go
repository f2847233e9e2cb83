package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/lovoo/goka/storage"
)

// gokaEvents is how many events goka counts at most: it takes a message to the
// loop and one to the changelog for each.
const gokaEvents = 500_000

// countWithGoka is goka as its documentation shows it: the events are re-keyed
// through the loop, and the group table takes one SetValue for each. It keeps one
// counter per tenant, event type and model, at least once, and nothing else.
func countWithGoka(ctx context.Context, j job, m *meter) error {
	cfg := goka.DefaultConfig()
	cfg.Version = sarama.V2_4_0_0
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	goka.ReplaceGlobalConfig(cfg)
	topics := goka.NewTopicManagerConfig()
	topics.Table.Replication, topics.Stream.Replication = 1, 1

	c := gokaCounter{m: m}
	p, err := goka.NewProcessor([]string{j.broker}, c.graph(j),
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithTopicManagerConfig(topics)),
		goka.WithStorageBuilder(storage.DefaultBuilder(j.dir)))
	if err != nil {
		return fmt.Errorf("make the processor: %w", err)
	}
	// The table is closed when the processor ends, and must be looked at before.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err = c.check(p.Get)
	stop()
	return errors.Join(err, <-ended)
}

// gokaCounter is the callbacks. They run in one goroutine per partition.
type gokaCounter struct {
	m *meter

	mu     sync.Mutex
	series []string
}

func (c *gokaCounter) graph(j job) *goka.GroupGraph {
	return goka.DefineGroup(goka.Group(j.name+"counter"),
		goka.Input(goka.Stream(j.topic), &firstEvents{left: j.events}, c.rekey),
		goka.Loop(new(codec.Int64), c.count),
		goka.Persist(new(codec.Int64)),
	)
}

// rekey sends an event to the partition of its counter.
func (c *gokaCounter) rekey(ctx goka.Context, msg any) {
	if e, ok := msg.(*plainEvent); ok {
		ctx.Loopback(strings.Join([]string{e.Tenant, e.EventType, e.Model}, "|"), int64(1))
	}
}

func (c *gokaCounter) count(ctx goka.Context, msg any) {
	before, known := ctx.Value().(int64)
	ctx.SetValue(before + msg.(int64))
	if !known {
		c.mu.Lock()
		c.series = append(c.series, ctx.Key())
		c.mu.Unlock()
	}
	c.m.add(1)
}

// check returns an error unless the counters, as get finds them in the table, add
// up to all that was to be counted.
func (c *gokaCounter) check(get func(key string) (any, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum int64
	for _, key := range c.series {
		value, err := get(key)
		if err != nil {
			return err
		}
		n, _ := value.(int64)
		sum += n
	}
	if sum != c.m.want {
		return fmt.Errorf("the group table counts %d events, want %d", sum, c.m.want)
	}
	return nil
}

// plainEvent is what the counters need of an event.
type plainEvent struct {
	Tenant    string `json:"tenant"`
	EventType string `json:"event_type"`
	Model     string `json:"model"`
}

// firstEvents decodes as many events as are left, and answers nil from then on.
type firstEvents struct {
	codec.Bytes // to encode, which only a test does
	left        int64
	taken       atomic.Int64
}

func (f *firstEvents) Decode(data []byte) (any, error) {
	if f.taken.Add(1) > f.left {
		return nil, nil
	}
	e := new(plainEvent)
	if err := json.Unmarshal(data, e); err != nil {
		return nil, err
	}
	return e, nil
}

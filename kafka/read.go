package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Message is one committed record as Read and Follow hand it on.
type Message struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Key       []byte
	Value     []byte
	Headers   []Header
}

func recordMessage(r *kgo.Record) Message {
	m := Message{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// readerFetchBytes is what a reader of tables fetches of a partition at once. There
// is one for every table and every topic of windows, and what they hold adds up.
const readerFetchBytes = 256 << 10

// Read calls visit for every committed record of a partition in [from, to), in
// order. Records deleted from the log are passed over. It returns the first
// error of visit. An open transaction before to is waited for until ctx ends.
func Read(ctx context.Context, c Config, topic string, partition int32, from, to int64, visit func(Message) error) error {
	return reading{topic: topic, partition: partition, from: from, to: to, fetchBytes: fetchBytes, visit: visit}.run(ctx, c)
}

// fetchBytes is what Read fetches at once, the client's default.
const fetchBytes = 1 << 20

// reading is what Read does, and more.
type reading struct {
	topic      string
	partition  int32
	from, to   int64
	fetchBytes int32 // at once, as they are in the log; a batch that is larger comes all the same
	visit      func(Message) error
	// lost is told that records from one offset to another, exclusive, were deleted from
	// the log before they were read; nil: they are passed over. Offsets that are not there
	// do not tell: what was aborted or compacted leaves holes, too.
	lost func(from, to int64)
}

func (r reading) run(ctx context.Context, c Config) error {
	topic, partition, from, to := r.topic, r.partition, r.from, r.to
	if from >= to {
		return nil
	}
	client, err := c.NewClient(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxPartitionBytes(r.fetchBytes),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
	)
	if err != nil {
		return fmt.Errorf("open reader of %s/%d: %w", topic, partition, err)
	}
	defer client.Close()
	for next := from; next < to; {
		poll, cancel := context.WithTimeout(ctx, 4*tailCheckInterval)
		fetches := client.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("read %s/%d from %d to %d: stopped at %d: %w", topic, partition, from, to, next, ctx.Err())
		}
		before := next
		var failed error
		fetches.EachError(func(_ string, _ int32, e error) {
			if !errors.Is(e, context.DeadlineExceeded) {
				failed = fmt.Errorf("read %s/%d: %w", topic, partition, e)
			}
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 && p.LogStartOffset <= p.Records[0].Offset {
				r.tellLost(next, p.LogStartOffset)
			}
			for _, one := range p.Records {
				if failed != nil || one.Offset < next {
					continue
				}
				next = one.Offset + 1
				if one.Offset < to && !one.Attrs.IsControl() {
					failed = r.visit(recordMessage(one))
				}
			}
		})
		if failed != nil {
			return failed
		}
		if next != before {
			continue
		}
		state, err := tail(ctx, client, topic, partition, next, to)
		if err != nil {
			return err
		}
		if state == tailEmpty {
			return r.tailLost(ctx, client, next)
		}
	}
	return nil
}

// tailLost tells of what was deleted of an end of which nothing is left.
func (r *reading) tailLost(ctx context.Context, client *kgo.Client, next int64) error {
	if r.lost == nil {
		return nil
	}
	start, err := startOffset(ctx, client, r.topic, r.partition)
	if err == nil && next < start {
		r.tellLost(next, start)
	}
	return err
}

func (r *reading) tellLost(from, to int64) {
	if to = min(to, r.to); r.lost != nil && from < to {
		r.lost(from, to)
	}
}

// Follower reads whole topics for ever, committed records only.
type Follower struct {
	Config Config
	Topics []string
	// Visit is called for every record, from one goroutine.
	Visit func(Message)
	// CaughtUp is called once, when everything that was there at the start has
	// been visited.
	CaughtUp func()
	// Progress, when set, is told until then how far a partition was read of what
	// was there at the start.
	Progress func(partition int32, read, end int64)
}

// Run reads until ctx ends (nil) or reading fails.
func (f Follower) Run(ctx context.Context) error {
	client, err := f.Config.NewClient(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxPartitionBytes(readerFetchBytes),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeTopics(f.Topics...),
	)
	if err != nil {
		return fmt.Errorf("open reader of %v: %w", f.Topics, err)
	}
	defer client.Close()
	missing, err := f.ends(ctx, client)
	if err != nil {
		return err
	}
	told := false
	for {
		if len(missing) == 0 && !told {
			told = true
			f.CaughtUp()
		}
		poll, cancel := context.WithTimeout(ctx, time.Second)
		if !told {
			cancel()
			poll, cancel = context.WithTimeout(ctx, tailCheckInterval)
		}
		fetches := client.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, e error) {
			if !errors.Is(e, context.DeadlineExceeded) {
				failed = fmt.Errorf("read %s/%d: %w", topic, partition, e)
			}
		})
		if failed != nil {
			return failed
		}
		moved := false
		fetches.EachRecord(func(r *kgo.Record) {
			moved = true
			if !r.Attrs.IsControl() {
				f.Visit(recordMessage(r))
			}
			p := topicPartition{r.Topic, r.Partition}
			if span, ok := missing[p]; ok {
				span.next = r.Offset + 1
				missing[p] = span
				if f.Progress != nil {
					f.Progress(p.partition, span.next, span.end)
				}
				if span.next >= span.end {
					delete(missing, p)
				}
			}
		})
		if moved || told {
			continue
		}
		for p, span := range missing {
			state, err := tail(ctx, client, p.topic, p.partition, span.next, span.end)
			if err != nil {
				return err
			}
			if state == tailEmpty {
				delete(missing, p)
			}
		}
	}
}

type topicPartition struct {
	topic     string
	partition int32
}

type span struct{ next, end int64 }

// ends returns what of each partition has to be read before the follower has
// caught up.
func (f Follower) ends(ctx context.Context, client *kgo.Client) (map[topicPartition]span, error) {
	missing := map[topicPartition]span{}
	for _, topic := range f.Topics {
		partitions, err := partitionsOf(ctx, client, topic)
		if err != nil {
			return nil, err
		}
		for _, p := range partitions {
			first, err := startOffset(ctx, client, topic, p)
			if err != nil {
				return nil, err
			}
			end, err := endOffset(ctx, client, topic, p)
			if err != nil {
				return nil, err
			}
			if first < end {
				missing[topicPartition{topic, p}] = span{first, end}
			}
		}
	}
	return missing, nil
}

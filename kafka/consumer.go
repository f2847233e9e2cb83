package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tailCheckInterval is how often a restore that has seen nothing new asks the
// broker whether anything is still to come.
const tailCheckInterval = 25 * time.Millisecond

// Consumer reads table partitions for goka's restore and views. It implements
// sarama.Consumer.
//
// It hands on committed records only. So that goka, which waits for a record at
// the last offset below the high watermark, always sees one, it also hands on
// control records as messages without key and value, and makes such a message
// up where nothing is left at the end of the log. An open transaction at the
// end is waited for, openTimeout long; then the partition reports an error: a
// restore never goes on with less.
type Consumer struct {
	client      *kgo.Client
	openTimeout time.Duration
	ctx         context.Context
	cancel      context.CancelFunc
	wg          sync.WaitGroup

	barriers chan chan struct{}

	mu        sync.Mutex
	interrupt context.CancelFunc // ends the poll under way
	parts     map[string]map[int32]*partitionConsumer
	hwms      map[string]map[int32]int64
}

var _ sarama.Consumer = (*Consumer)(nil)

// NewConsumer opens a client and starts reading whatever ConsumePartition is
// called for. Close must be called.
func NewConsumer(c Config, openTimeout time.Duration) (*Consumer, error) {
	client, err := c.NewClient(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxPartitionBytes(readerFetchBytes),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, fmt.Errorf("open table consumer: %w", err)
	}
	r := &Consumer{
		client: client, openTimeout: openTimeout,
		barriers: make(chan chan struct{}),
		parts:    map[string]map[int32]*partitionConsumer{},
		hwms:     map[string]map[int32]int64{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.interrupt = func() {}
	r.wg.Go(r.poll)
	return r, nil
}

// ConsumerBuilder returns what goka.WithConsumerSaramaBuilder and
// goka.WithViewConsumerSaramaBuilder take.
func ConsumerBuilder(c Config, openTimeout time.Duration) goka.SaramaConsumerBuilder {
	return func([]string, string) (sarama.Consumer, error) { return NewConsumer(c, openTimeout) }
}

func (r *Consumer) poll() {
	for {
		ctx, cancel := context.WithCancel(r.ctx)
		r.mu.Lock()
		r.interrupt = cancel
		r.mu.Unlock()
		select {
		case passed := <-r.barriers:
			close(passed)
		default:
		}
		fetches := r.client.PollFetches(ctx)
		cancel()
		if r.ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachPartition(r.handle)
	}
}

func (r *Consumer) handle(f kgo.FetchTopicPartition) {
	r.mu.Lock()
	p := r.parts[f.Topic][f.Partition]
	if p != nil && f.Err == nil {
		r.hwms[f.Topic][f.Partition] = f.HighWatermark
	}
	r.mu.Unlock()
	switch {
	case p == nil:
	case f.Err != nil:
		p.fail(fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, f.Err))
	default:
		for _, record := range f.Records {
			p.deliver(messageOf(record))
		}
	}
}

// barrier returns when everything polled before it was called has been handed
// on or dropped. A partition that is read again must not be given records that
// were polled for its earlier reader: that one may have dropped some.
func (r *Consumer) barrier() error {
	passed := make(chan struct{})
	for {
		r.mu.Lock()
		r.interrupt()
		r.mu.Unlock()
		select {
		case r.barriers <- passed:
		case <-time.After(time.Millisecond): // the loop was between polls
			continue
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
		<-passed
		return nil
	}
}

func messageOf(r *kgo.Record) *sarama.ConsumerMessage {
	m := &sarama.ConsumerMessage{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp}
	if r.Attrs.IsControl() {
		return m
	}
	m.Key, m.Value = r.Key, r.Value
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}

// ConsumePartition implements sarama.Consumer. offset is absolute.
func (r *Consumer) ConsumePartition(topic string, partition int32, offset int64) (sarama.PartitionConsumer, error) {
	end, err := endOffset(r.ctx, r.client, topic, partition)
	if err != nil {
		return nil, err
	}
	if err := r.barrier(); err != nil {
		return nil, err
	}
	p := &partitionConsumer{
		owner: r, topic: topic, partition: partition, end: end,
		messages: make(chan *sarama.ConsumerMessage, 1024),
		errors:   make(chan *sarama.ConsumerError, 1),
		closing:  make(chan struct{}),
	}
	p.last.Store(offset - 1)
	r.mu.Lock()
	if r.parts[topic] == nil {
		r.parts[topic] = map[int32]*partitionConsumer{}
		r.hwms[topic] = map[int32]int64{}
	}
	if r.parts[topic][partition] != nil {
		r.mu.Unlock()
		return nil, sarama.ConfigurationError("that topic/partition is already being consumed")
	}
	r.parts[topic][partition] = p
	r.hwms[topic][partition] = end
	r.mu.Unlock()
	r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}})
	r.wg.Go(p.watchTail)
	return p, nil
}

// endOffset returns the high watermark.
func endOffset(ctx context.Context, cl *kgo.Client, topic string, partition int32) (int64, error) {
	return listOffset(ctx, kadm.NewClient(cl).ListEndOffsets, "end", topic, partition)
}

// startOffset returns the offset of the first record that was not deleted.
func startOffset(ctx context.Context, cl *kgo.Client, topic string, partition int32) (int64, error) {
	return listOffset(ctx, kadm.NewClient(cl).ListStartOffsets, "start", topic, partition)
}

func listOffset(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), which, topic string, partition int32) (int64, error) {
	offsets, err := list(ctx, topic)
	o, ok := offsets.Lookup(topic, partition)
	switch {
	case err != nil:
	case !ok:
		err = kerr.UnknownTopicOrPartition
	default:
		err = o.Err
	}
	if err != nil {
		return 0, fmt.Errorf("%s offset of %s/%d: %w", which, topic, partition, err)
	}
	return o.Offset, nil
}

// Topics implements sarama.Consumer; goka does not call it.
func (r *Consumer) Topics() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var topics []string
	for t := range r.parts {
		topics = append(topics, t)
	}
	return topics, nil
}

// Partitions implements sarama.Consumer.
func (r *Consumer) Partitions(topic string) ([]int32, error) {
	return partitionsOf(r.ctx, r.client, topic)
}

// HighWaterMarks implements sarama.Consumer.
func (r *Consumer) HighWaterMarks() map[string]map[int32]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]map[int32]int64, len(r.hwms))
	for t, ps := range r.hwms {
		all[t] = make(map[int32]int64, len(ps))
		for p, o := range ps {
			all[t][p] = o
		}
	}
	return all
}

// Close ends every partition and the client.
func (r *Consumer) Close() error {
	r.cancel()
	r.mu.Lock()
	var open []*partitionConsumer
	for _, ps := range r.parts {
		for _, p := range ps {
			open = append(open, p)
		}
	}
	r.mu.Unlock()
	for _, p := range open {
		p.AsyncClose()
	}
	r.wg.Wait()
	r.client.Close()
	return nil
}

// Pause implements sarama.Consumer.
func (r *Consumer) Pause(p map[string][]int32) { r.client.PauseFetchPartitions(p) }

// Resume implements sarama.Consumer.
func (r *Consumer) Resume(p map[string][]int32) { r.client.ResumeFetchPartitions(p) }

// PauseAll implements sarama.Consumer.
func (r *Consumer) PauseAll() { r.Pause(r.all()) }

// ResumeAll implements sarama.Consumer.
func (r *Consumer) ResumeAll() { r.Resume(r.all()) }

func (r *Consumer) all() map[string][]int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string][]int32{}
	for t, ps := range r.parts {
		for p := range ps {
			all[t] = append(all[t], p)
		}
	}
	return all
}

// partitionConsumer is one partition of a Consumer.
type partitionConsumer struct {
	owner     *Consumer
	topic     string
	partition int32
	end       int64        // high watermark when reading began
	last      atomic.Int64 // offset of the newest message handed on

	messages chan *sarama.ConsumerMessage
	errors   chan *sarama.ConsumerError
	closing  chan struct{}

	mu     sync.Mutex // held while sending; guards closed
	closed bool
	once   sync.Once
}

// deliver hands a message on unless a later one was handed on before.
func (p *partitionConsumer) deliver(m *sarama.ConsumerMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || m.Offset <= p.last.Load() {
		return
	}
	select {
	case p.messages <- m:
		p.last.Store(m.Offset)
	case <-p.closing:
	}
}

func (p *partitionConsumer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	select {
	case p.errors <- &sarama.ConsumerError{Topic: p.topic, Partition: p.partition, Err: err}:
	default: // one error is enough: goka ends the partition at the first
	}
}

// watchTail makes sure that the reader gets to see offset end-1.
func (p *partitionConsumer) watchTail() {
	tick := time.NewTicker(tailCheckInterval)
	defer tick.Stop()
	seen := int64(-1)
	var openSince, failingSince time.Time
	for {
		select {
		case <-p.closing:
			return
		case <-tick.C:
		}
		last := p.last.Load()
		if last >= p.end-1 {
			return
		}
		if last != seen { // still moving
			seen, openSince = last, time.Time{}
			continue
		}
		state, err := tail(p.owner.ctx, p.owner.client, p.topic, p.partition, last+1, p.end)
		if err == nil {
			failingSince = time.Time{}
		} else if failingSince.IsZero() {
			failingSince = time.Now()
		}
		switch {
		case err != nil: // a leader moves, a connection breaks: it will pass, or not
			if time.Since(failingSince) > p.owner.openTimeout && !errors.Is(err, context.Canceled) {
				p.fail(fmt.Errorf("find the end of %s/%d: %w", p.topic, p.partition, err))
				return
			}
		case state == tailEmpty:
			p.deliver(&sarama.ConsumerMessage{Topic: p.topic, Partition: p.partition, Offset: p.end - 1})
			return
		case state == tailOpen && openSince.IsZero():
			openSince = time.Now()
		case state == tailOpen && time.Since(openSince) > p.owner.openTimeout:
			p.fail(fmt.Errorf("restore %s/%d: a transaction at its end has been open for %s; it belongs to an instance "+
				"that ended without closing it: wait for its transaction timeout, or abort it with kafka-transactions.sh",
				p.topic, p.partition, time.Since(openSince).Round(time.Second)))
			return
		}
	}
}

func (p *partitionConsumer) AsyncClose() {
	p.once.Do(func() {
		close(p.closing)
		r := p.owner
		r.client.RemoveConsumePartitions(map[string][]int32{p.topic: {p.partition}})
		r.mu.Lock()
		delete(r.parts[p.topic], p.partition)
		r.mu.Unlock()
		p.mu.Lock()
		p.closed = true
		close(p.messages)
		close(p.errors)
		p.mu.Unlock()
	})
}

func (p *partitionConsumer) Close() error { p.AsyncClose(); return nil }

func (p *partitionConsumer) Messages() <-chan *sarama.ConsumerMessage { return p.messages }
func (p *partitionConsumer) Errors() <-chan *sarama.ConsumerError     { return p.errors }
func (p *partitionConsumer) HighWaterMarkOffset() int64 {
	return p.owner.HighWaterMarks()[p.topic][p.partition]
}
func (p *partitionConsumer) tps() map[string][]int32 {
	return map[string][]int32{p.topic: {p.partition}}
}
func (p *partitionConsumer) Pause()         { p.owner.Pause(p.tps()) }
func (p *partitionConsumer) Resume()        { p.owner.Resume(p.tps()) }
func (p *partitionConsumer) IsPaused() bool { return false }

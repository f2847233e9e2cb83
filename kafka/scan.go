package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Scanner reads spans of many partitions, as fast as they come. It keeps its connections, so
// that who asks again does not wait for new ones. It is safe for concurrent use.
type Scanner struct {
	client *kgo.Client
	sizes  sync.Map // by topic: how many bytes its records take in the log, an int64
}

// NewScanner opens a client, which does not connect yet.
func NewScanner(c Config) (*Scanner, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, fmt.Errorf("open reader: %w", err)
	}
	return &Scanner{client: client}, nil
}

// Close ends the client.
func (s *Scanner) Close() { s.client.Close() }

// Ranges returns, for every partition of those topics that exist, the offsets of what was
// committed and has a timestamp from one time to another; a zero time means all that there
// is on that side. Timestamps need not be in order: then it is what lies between the first
// records with later ones. What lies behind an open transaction is not waited for.
func (s *Scanner) Ranges(ctx context.Context, topics []string, from, to time.Time) (map[string]map[int32]Span, error) {
	adm := kadm.NewClient(s.client)
	var group errgroup.Group
	ask := func(into *kadm.ListedOffsets, list func(context.Context, ...string) (kadm.ListedOffsets, error)) {
		group.Go(func() (err error) {
			*into, err = list(ctx, topics...)
			return err
		})
	}
	since := func(t time.Time) func(context.Context, ...string) (kadm.ListedOffsets, error) {
		return func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return adm.ListOffsetsAfterMilli(ctx, max(0, t.UnixMilli()), topics...) // those below mean something else to Kafka
		}
	}
	var starts, ends, later kadm.ListedOffsets
	ask(&ends, adm.ListCommittedOffsets)
	if from.IsZero() {
		ask(&starts, adm.ListStartOffsets)
	} else {
		ask(&starts, since(from))
	}
	if !to.IsZero() {
		ask(&later, since(to))
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("offsets of %v: %w", topics, err)
	}
	all := map[string]map[int32]Span{}
	var bad error
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		upTo, err := end.Offset, cmp.Or(end.Err, start.Err)
		if !to.IsZero() {
			next, _ := later.Lookup(end.Topic, end.Partition)
			upTo, err = min(upTo, next.Offset), cmp.Or(err, next.Err)
		}
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case err != nil:
			bad = cmp.Or(bad, fmt.Errorf("offsets of %s/%d: %w", end.Topic, end.Partition, err))
		default:
			if all[end.Topic] == nil {
				all[end.Topic] = map[int32]Span{}
			}
			all[end.Topic][end.Partition] = Span{min(start.Offset, upTo), upTo}
		}
	})
	return all, bad
}

// Bounds of what a Scan fetches.
const (
	scanAtOnce   = 8 // partitions
	scanMost     = 4 << 20
	scanLeast    = 64 << 10
	scanRecord   = 256                    // bytes that a record takes, about, as long as nothing is known of them
	scanPatience = RetryTimeout           // with a partition that moves, or whose broker is away
	scanPause    = 250 * time.Millisecond // before another attempt: as long as metadata is kept
)

// Scanned is how much a Scan has read, what it was handed more than was asked for included.
type Scanned struct{ Records, Bytes int64 }

// Scan calls visit for the committed records of some spans of partitions, by topic: those
// of a partition in order, of several partitions as they come, one at a time. What is handed
// on together is left out when may finds that nothing among its bytes is wanted; may is
// called by several goroutines at a time, and nil wants everything. It returns the first
// error of visit. What visit is handed must not be kept. Spans must end before what is not
// decided; see Ranges. What was deleted is passed over, and a partition that nobody leads for
// a while is waited for.
func (s *Scanner) Scan(ctx context.Context, parts map[string]map[int32]Span, may func(data []byte) bool, visit func(m *Message) error) (Scanned, error) {
	c := &scan{Scanner: s, may: may, visit: visit}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(scanAtOnce)
	for topic, spans := range parts {
		for p, span := range spans {
			if span.From < span.To {
				group.Go(func() error { return c.partition(ctx, topic, p, span) })
			}
		}
	}
	err := group.Wait()
	return c.read, err
}

// scan is one at work.
type scan struct {
	*Scanner

	leading sync.Mutex
	topics  kadm.TopicDetails // as they were last looked at

	may      func(data []byte) bool
	visiting sync.Mutex // what follows
	visit    func(m *Message) error
	read     Scanned
}

// partition reads the span of one partition.
func (c *scan) partition(ctx context.Context, topic string, p int32, span Span) error {
	for span.From < span.To {
		got, err := c.fetchPatiently(ctx, topic, p, span)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			start, err := startOffset(ctx, c.client, topic, p)
			if err != nil || start <= span.From { // or the log was made again, and ends before
				return err
			}
			span.From = start
			continue
		}
		if err != nil {
			return err
		}
		if err := c.hand(ctx, got, span); err != nil {
			return err
		}
		if got.next == span.From { // nothing will come
			return nil
		}
		span.From = got.next
	}
	return nil
}

// portion is what one request for a span brought.
type portion struct {
	records []*kgo.Record // those that may be wanted, and some behind the span
	next    int64         // behind it
	bytes   int64
}

// fetchPatiently fetches until somebody leads the partition who answers.
func (c *scan) fetchPatiently(ctx context.Context, topic string, p int32, span Span) (portion, error) {
	for since := time.Now(); ; {
		got, err := c.fetch(ctx, topic, p, span)
		if err == nil || ctx.Err() != nil || !passes(err) || time.Since(since) >= scanPatience {
			return got, err
		}
		c.forget()
		select {
		case <-ctx.Done():
			return got, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(scanPause):
		}
	}
}

// passes reports whether an error may be over with another leader, or when a broker is back.
func passes(err error) bool {
	_, away := errors.AsType[noAnswer](err)
	closed := errors.Is(err, context.Canceled) // the client
	return kerr.IsRetriable(err) || away && !closed && !IsFatal(err)
}

// fetch makes one request for a span.
func (c *scan) fetch(ctx context.Context, topic string, p int32, span Span) (portion, error) {
	of, err := c.topic(ctx, topic)
	if err != nil {
		return portion{}, err
	}
	at, there := of.Partitions[p]
	if !there {
		return portion{}, fmt.Errorf("read %s/%d: %w", topic, p, kerr.UnknownTopicOrPartition)
	}
	resp, err := fetchOnce(ctx, c.client, fetchFrom{
		topic: topic, id: of.ID, partition: p, leader: at.Leader, offset: span.From, committed: true,
		bytes: c.bytes(topic, span.To-span.From), impatient: true,
	})
	if err != nil {
		return portion{}, err
	}
	wanted, next := c.look(resp.RecordBatches, topic, span)
	got := portion{next: next, bytes: int64(len(resp.RecordBatches))}
	if len(wanted) == 0 {
		return got, nil
	}
	resp.RecordBatches = wanted
	opened, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: topic, Partition: p, Offset: span.From, IsolationLevel: kgo.ReadCommitted(),
	}, resp, decompressor, nil)
	if opened.Err != nil {
		return portion{}, fmt.Errorf("read %s/%d at %d: %w", topic, p, span.From, opened.Err)
	}
	got.records = opened.Records
	return got, nil
}

// hand visits what was fetched of a span.
func (c *scan) hand(ctx context.Context, got portion, span Span) error {
	c.visiting.Lock()
	defer c.visiting.Unlock()
	if ctx.Err() != nil { // another partition has ended it
		return ctx.Err()
	}
	c.read.Records += min(got.next, span.To) - span.From
	c.read.Bytes += got.bytes
	for _, r := range got.records {
		if r.Offset >= span.To {
			break
		}
		m := recordMessage(r)
		if err := c.visit(&m); err != nil {
			return err
		}
	}
	return nil
}

// look returns what has to be opened of what was fetched for a span, which is nothing where
// nothing is wanted, and what comes behind it.
func (c *scan) look(fetched []byte, topic string, span Span) (wanted []byte, next int64) {
	next = span.From
	var bytes, offsets int64
	some := false
	for b := range wholeBatches(fetched) {
		bytes += int64(len(b))
		offsets += b.next() - b.first()
		next = max(next, b.next())
		switch {
		case b.first() >= span.To:
		case b.control(): // says which of those before were aborted
			wanted = append(wanted, b...)
		case c.mayHold(b):
			some = true
			wanted = append(wanted, b...)
		}
	}
	if offsets > 0 {
		c.sizes.Store(topic, bytes/offsets+1)
	}
	if !some {
		wanted = nil
	}
	return wanted, next
}

// mayHold asks whether anything in a batch is wanted.
func (c *scan) mayHold(b batch) bool {
	if c.may == nil {
		return true
	}
	data, err := b.open()
	return err != nil || c.may(data) // whoever reads it says what is wrong
}

// bytes returns how much to ask for at once, so that it has some records: an eighth more than
// those that were read last took.
func (c *scan) bytes(topic string, records int64) int32 {
	size := int64(scanRecord)
	if last, known := c.sizes.Load(topic); known {
		size = last.(int64)
	}
	return int32(min(max(scanLeast, records*size*9/8), scanMost))
}

// topic returns where the partitions of a topic are led.
func (c *scan) topic(ctx context.Context, name string) (kadm.TopicDetail, error) {
	c.leading.Lock()
	defer c.leading.Unlock()
	if of, known := c.topics[name]; known {
		return of, nil
	}
	meta, err := kadm.NewClient(c.client).Metadata(ctx, name)
	if err != nil {
		return kadm.TopicDetail{}, fmt.Errorf("metadata of %s: %w", name, noAnswer{err})
	}
	of := meta.Topics[name]
	if of.Err != nil {
		return of, fmt.Errorf("metadata of %s: %w", name, of.Err)
	}
	if c.topics == nil {
		c.topics = kadm.TopicDetails{}
	}
	c.topics[name] = of
	return of, nil
}

// forget has topics looked at again.
func (c *scan) forget() {
	c.leading.Lock()
	defer c.leading.Unlock()
	c.topics = nil
}

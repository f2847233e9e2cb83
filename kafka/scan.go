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
	"github.com/twmb/franz-go/pkg/kmsg"
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
// is on that side. Timestamps need not be in order: it begins with the first record of from or
// later, and ends where nothing is of before to in 32 KiB and four batches, or at the end. What
// lies behind an open transaction is not waited for; held says that some of it might belong to
// what is returned.
func (s *Scanner) Ranges(ctx context.Context, topics []string, from, to time.Time) (all map[string]map[int32]Span, held bool, err error) {
	bounds, err := s.bounds(ctx, topics, from, to)
	if err != nil {
		return nil, false, fmt.Errorf("offsets of %v: %w", topics, err)
	}
	all = map[string]map[int32]Span{}
	var mu sync.Mutex // of all, and of what is returned
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(scanAtOnce)
	bounds.committed.Each(func(committed kadm.ListedOffset) {
		topic, p := committed.Topic, committed.Partition
		start, _ := bounds.starts.Lookup(topic, p)
		next, _ := bounds.nexts.Lookup(topic, p)
		switch err := cmp.Or(committed.Err, start.Err, next.Err); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return
		case err != nil:
			group.Go(func() error { return fmt.Errorf("offsets of %s/%d: %w", topic, p, err) })
			return
		}
		group.Go(func() (err error) {
			upTo, open := min(next.Offset, committed.Offset), next.Offset > committed.Offset
			if !to.IsZero() && !open {
				if upTo, open, err = s.last(ctx, topic, p, Span{upTo, committed.Offset}, from, to); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if all[topic] == nil {
				all[topic] = map[int32]Span{}
			}
			all[topic][p] = Span{min(start.Offset, upTo), upTo}
			held = held || open
			return nil
		})
	})
	err = group.Wait()
	return all, held, err
}

// offsetBounds are what Kafka says of offsets: the first of a time on and the first of another
// time on, or the ends of the log, and where what was committed ends.
type offsetBounds struct{ starts, nexts, committed kadm.ListedOffsets }

// bounds asks for them, at once.
func (s *Scanner) bounds(ctx context.Context, topics []string, from, to time.Time) (b offsetBounds, err error) {
	adm := kadm.NewClient(s.client)
	var group errgroup.Group
	ask := func(into *kadm.ListedOffsets, since time.Time, otherwise func(context.Context, ...string) (kadm.ListedOffsets, error)) {
		group.Go(func() (err error) {
			if since.IsZero() {
				*into, err = otherwise(ctx, topics...)
			} else {
				*into, err = adm.ListOffsetsAfterMilli(ctx, max(0, since.UnixMilli()), topics...) // those below mean something else to Kafka
			}
			return err
		})
	}
	ask(&b.starts, from, adm.ListStartOffsets)
	ask(&b.nexts, to, adm.ListEndOffsets)
	ask(&b.committed, time.Time{}, adm.ListCommittedOffsets)
	if err := group.Wait(); err != nil {
		return b, err
	}
	late := false // an open transaction, or one that was committed while it was asked
	b.committed.Each(func(committed kadm.ListedOffset) {
		next, _ := b.nexts.Lookup(committed.Topic, committed.Partition)
		late = late || next.Offset > committed.Offset
	})
	if late {
		b.committed, err = adm.ListCommittedOffsets(ctx, topics...)
	}
	return b, err
}

// How much must have no timestamp of a range for what is behind it to be taken for that, too:
// more than what a producer with a wrong clock sends at once.
const (
	laterBytes   = scanLeast / 2
	laterBatches = 4
	laterRecords = 16 // that are asked for at first, twice as many then
)

// last returns the offset behind the last record of a span that has a timestamp from one time
// to another; open says that what lies behind an open transaction may have one, too.
func (s *Scanner) last(ctx context.Context, topic string, p int32, span Span, from, to time.Time) (last int64, open bool, err error) {
	last = span.From
	at, bytes, batches := span.From, 0, 0
	c := &scan{Scanner: s, take: func(_ context.Context, _ string, _ int32, of Span, fetched *kmsg.FetchResponseTopicPartition) (next int64, _ error) {
		next = of.From
		for b := range wholeBatches(fetched.RecordBatches) {
			next = max(next, b.next())
			switch first, newest := b.times(); {
			case b.control(): // of the time of the broker
			case first < to.UnixMilli() && newest >= from.UnixMilli():
				last, bytes, batches = next, 0, 0
			default:
				bytes, batches = bytes+len(b), batches+1
			}
		}
		at = max(at, next)
		open = fetched.LastStableOffset >= 0 && fetched.LastStableOffset < fetched.HighWatermark
		return next, nil
	}}
	for n := int64(laterRecords); at < span.To && (bytes < laterBytes || batches < laterBatches); n *= 2 {
		part := Span{at, min(at+n, span.To)}
		if err := c.partition(ctx, topic, p, part); err != nil {
			return 0, false, err
		}
		at = max(at, part.To)
	}
	return min(last, span.To), open && batches == 0, nil
}

// Bounds of what a Scan fetches.
const (
	scanAtOnce   = 8 // partitions
	scanMost     = 4 << 20
	scanLeast    = 64 << 10
	scanRecord   = 256                    // bytes that a record takes, about, as long as nothing is known of them
	scanPatience = RetryTimeout           // with a partition that moves, or whose broker is away
	scanPause    = 250 * time.Millisecond // before another attempt: as long as metadata is kept
	scanBehind   = 3                      // attempts more, where a log ends before a span does
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
	c.take = c.open
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

	// take takes in what a request for a span of a partition brought, and returns what comes
	// behind it.
	take func(ctx context.Context, topic string, p int32, span Span, fetched *kmsg.FetchResponseTopicPartition) (next int64, err error)

	may      func(data []byte) bool // of open
	visiting sync.Mutex             // what follows
	visit    func(m *Message) error
	read     Scanned
}

// partition reads the span of one partition.
func (c *scan) partition(ctx context.Context, topic string, p int32, span Span) error {
	for waited := 0; span.From < span.To; {
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
		next, err := c.take(ctx, topic, p, span, got)
		switch {
		case err != nil:
			return err
		case next > span.From:
			span.From, waited = next, 0
		case got.LastStableOffset >= span.To || waited == scanBehind: // nothing will come
			return nil
		default: // a leader may be new, and not know yet what was committed
			waited++
			if err := c.pause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchPatiently fetches until somebody leads the partition who answers.
func (c *scan) fetchPatiently(ctx context.Context, topic string, p int32, span Span) (*kmsg.FetchResponseTopicPartition, error) {
	for since := time.Now(); ; {
		got, err := c.fetch(ctx, topic, p, span)
		if err == nil || ctx.Err() != nil || !passes(err) || time.Since(since) >= scanPatience {
			return got, err
		}
		if ended := c.pause(ctx); ended != nil {
			return got, fmt.Errorf("%w: %w", ended, err)
		}
	}
}

// pause waits before another attempt, which looks anew who leads.
func (c *scan) pause(ctx context.Context) error {
	c.forget()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(scanPause):
		return nil
	}
}

// passes reports whether an error may be over with another leader, or when a broker is back.
func passes(err error) bool {
	_, away := errors.AsType[noAnswer](err)
	closed := errors.Is(err, context.Canceled) // the client
	return kerr.IsRetriable(err) || away && !closed && !IsFatal(err)
}

// fetch makes one request for a span.
func (c *scan) fetch(ctx context.Context, topic string, p int32, span Span) (*kmsg.FetchResponseTopicPartition, error) {
	of, err := c.topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	at, there := of.Partitions[p]
	if !there {
		return nil, fmt.Errorf("read %s/%d: %w", topic, p, kerr.UnknownTopicOrPartition)
	}
	return fetchOnce(ctx, c.client, fetchFrom{
		topic: topic, id: of.ID, partition: p, leader: at.Leader, offset: span.From, committed: true,
		bytes: c.bytes(topic, span.To-span.From), impatient: true,
	})
}

// open takes in what is to be visited.
func (c *scan) open(ctx context.Context, topic string, p int32, span Span, fetched *kmsg.FetchResponseTopicPartition) (next int64, err error) {
	wanted, next := c.look(fetched.RecordBatches, topic, span)
	bytes := int64(len(fetched.RecordBatches))
	var opened kgo.FetchPartition
	if len(wanted) > 0 {
		fetched.RecordBatches = wanted
		opened, _ = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Topic: topic, Partition: p, Offset: span.From, IsolationLevel: kgo.ReadCommitted(),
		}, fetched, decompressor, nil)
	}
	if opened.Err != nil {
		return 0, fmt.Errorf("read %s/%d at %d: %w", topic, p, span.From, opened.Err)
	}
	c.visiting.Lock()
	defer c.visiting.Unlock()
	if ctx.Err() != nil { // another partition has ended it
		return 0, ctx.Err()
	}
	c.read.Records += min(next, span.To) - span.From
	c.read.Bytes += bytes
	for _, r := range opened.Records {
		if r.Offset >= span.To {
			break
		}
		m := recordMessage(r)
		if err := c.visit(&m); err != nil {
			return 0, err
		}
	}
	return next, nil
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

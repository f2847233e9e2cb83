package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Delivery is a member of a group that hands the records of one topic to somebody
// outside of Kafka, where no transaction reaches: every record at least once, and more
// than once only when a member ends, or loses its partitions, between handing a record
// on and committing that. Before records are handed on, up to where is committed as
// metadata, so that whoever comes next can tell which ones may be known already.
type Delivery struct {
	Config
	Group, Topic string
	Instance     string        // as in SessionConfig
	Timeout      time.Duration // of the session; default 10 s
	LeaveOnStop  bool

	// Deliver hands records on and calls done with the index of each, once it is there
	// for certain, from one goroutine at a time. It returns nil, or the
	// error of ctx, which ends when the partitions are taken away. Those that are not
	// done come again, with what has come since. Any other error ends Run.
	Deliver func(ctx context.Context, records []Message, done func(i int)) error
	// Idle is called about every second while a member that has partitions has nothing to
	// deliver. It returns as Deliver does. It is optional.
	Idle func(ctx context.Context) error
	// Again is told how many of the records that are about to be delivered another
	// member may have delivered.
	Again func(n int)
	// OnReady is called, maybe often, when the member has joined the group.
	OnReady func()
}

// maxPending is how many records wait to be delivered at most, in memory. Of those behind
// one that waits and were delivered only the offsets are kept.
const maxPending = 2000

// stuckPause is how long it takes until records are handed on again of which none could
// be delivered. Those that come meanwhile do not wait.
const stuckPause = time.Second

// delivering is a Delivery at work.
type delivering struct {
	Delivery
	client *kgo.Client
	stuck  bool // nothing of the last delivery was done

	mu         sync.Mutex
	partitions map[int32]*deliveryPartition // those owned
	tried      map[int32]int64              // as committed, of those that are about to be owned
	stop       context.CancelFunc           // of the delivery in hand; nil when there is none
	stopped    chan struct{}                // closed when it has ended
}

// deliveryPartition is a partition that is owned.
type deliveryPartition struct {
	tried   int64 // records before may have been delivered by another member
	reached int64 // records before may have been delivered by anybody
	pending []pendingRecord
	undone  int // of pending
}

type pendingRecord struct {
	Message
	control bool // of a transaction: nothing to deliver
	tried   bool // by this member
	done    bool
}

// Run delivers until ctx ends (nil) or something fails.
func (d Delivery) Run(ctx context.Context) error {
	if d.Timeout == 0 {
		d.Timeout = defaultSessionTimeout
	}
	w := &delivering{Delivery: d, partitions: map[int32]*deliveryPartition{}, tried: map[int32]int64{}}
	id := d.Group + "-" + d.Instance
	client, err := d.NewClient(
		kgo.ConsumerGroup(d.Group),
		kgo.ConsumeTopics(d.Topic),
		kgo.InstanceID(id),
		kgo.SessionTimeout(d.Timeout),
		kgo.HeartbeatInterval(d.Timeout/5),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they are done at once: at the end nothing is left
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxPartitionBytes(readerFetchBytes),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnOffsetsFetched(w.onFetched),
		kgo.OnPartitionsAssigned(w.onAssigned),
		kgo.OnPartitionsRevoked(w.onLost),
		kgo.OnPartitionsLost(w.onLost),
	)
	if err != nil {
		return fmt.Errorf("open group %s: %w", d.Group, err)
	}
	w.client = client
	defer func() {
		if d.LeaveOnStop && ctx.Err() != nil {
			w.leave(id)
		}
		client.Close()
	}()
	for ctx.Err() == nil {
		if err := w.round(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("group %s: %w", d.Group, err)
		}
	}
	return nil
}

func (w *delivering) leave(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	left, err := kadm.NewClient(w.client).LeaveGroup(ctx, kadm.LeaveGroup(w.Group).InstanceIDs(id).Reason("stopped for good"))
	if err == nil {
		err = left.Error()
	}
	if err != nil {
		w.log().Warn("cannot leave the group; its partitions move when the session times out", "group", w.Group, "error", err)
	}
}

// triedMark begins the metadata that is committed with an offset.
const triedMark = "tried="

// onFetched takes in how far the member before may have delivered.
func (w *delivering) onFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	note := func(partition int32, metadata *string) {
		delete(w.tried, partition)
		if metadata != nil {
			if text, ok := strings.CutPrefix(*metadata, triedMark); ok {
				if offset, err := strconv.ParseInt(text, 10, 64); err == nil {
					w.tried[partition] = offset
				}
			}
		}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			note(p.Partition, p.Metadata)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				note(p.Partition, p.Metadata)
			}
		}
	}
	return nil
}

func (w *delivering) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	w.mu.Lock()
	for _, p := range added[w.Topic] {
		w.partitions[p] = &deliveryPartition{}
	}
	w.mu.Unlock()
	if w.OnReady != nil {
		w.OnReady()
	}
}

// onLost ends the delivery in hand and waits for it: what it delivered is committed
// before another member begins.
func (w *delivering) onLost(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	w.mu.Lock()
	stop, stopped := w.stop, w.stopped
	w.mu.Unlock()
	if stop != nil {
		stop()
		select {
		case <-stopped:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range lost[w.Topic] {
		delete(w.partitions, p)
	}
}

// round polls, and delivers what is pending. What cannot be delivered now does not hold
// up what comes behind it, as long as there is not too much of it.
func (w *delivering) round(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wait := stuckPause
	pending := w.pending()
	if pending > 0 && !w.stuck {
		wait = minPoll
	}
	switch {
	case pending < maxPending:
		if err := w.poll(ctx, wait, maxPending-pending); err != nil {
			return err
		}
	case w.stuck:
		if err := pauseFor(ctx, wait); err != nil {
			return err
		}
	}
	batch, mine := w.take(stop)
	defer w.ended()
	if len(batch) == 0 {
		if !mine || w.Idle == nil {
			return nil
		}
		err := w.Idle(ctx)
		if ctx.Err() != nil {
			err = nil
		}
		return err
	}
	var records []Message
	var delivered []*pendingRecord // by the index of records
	spans := map[int32]span{}
	for _, r := range batch {
		if r.control {
			r.done = true
		} else {
			records, delivered = append(records, r.Message), append(delivered, r)
		}
		if _, there := spans[r.Partition]; !there {
			spans[r.Partition] = span{next: r.Offset}
		}
		spans[r.Partition] = span{spans[r.Partition].next, r.Offset + 1}
	}
	var err error
	if len(records) > 0 {
		// Who comes next must know before anybody else does. A member that is not one any
		// more has nothing to deliver.
		switch noted, err := w.commit(ctx, spans); {
		case err != nil || ctx.Err() != nil:
			return err
		case !noted:
			return pauseFor(ctx, minCommitGap)
		}
		w.again(delivered)
		w.stuck = true
		err = w.Deliver(ctx, records, func(i int) { delivered[i].done, w.stuck = true, false })
		if ctx.Err() != nil {
			err = nil
		}
	}
	_, failed := w.commit(context.WithoutCancel(ctx), w.settle(spans))
	return errors.Join(err, failed)
}

// pauseFor waits, or returns nil at once when ctx ends.
func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return nil
}

// take returns the records to deliver next and whether there are partitions that they may
// come from, and notes what ends the delivery.
func (w *delivering) take(stop context.CancelFunc) (batch []*pendingRecord, mine bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.partitions {
		for i := range p.pending {
			if !p.pending[i].done {
				batch = append(batch, &p.pending[i])
			}
		}
	}
	w.stop, w.stopped = stop, make(chan struct{})
	return batch, len(w.partitions) > 0
}

func (w *delivering) ended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.stopped)
	w.stop = nil
}

func (w *delivering) again(batch []*pendingRecord) {
	n := 0
	w.mu.Lock()
	for _, r := range batch {
		if p := w.partitions[r.Partition]; p != nil && !r.tried && r.Offset < p.tried {
			n++
		}
		r.tried = true
	}
	w.mu.Unlock()
	if n > 0 && w.Again != nil {
		w.Again(n)
	}
}

// settle forgets what was delivered without a gap, and returns from where to where the
// rest reaches.
func (w *delivering) settle(spans map[int32]span) map[int32]span {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := map[int32]span{}
	for partition, s := range spans {
		p := w.partitions[partition]
		if p == nil { // cannot be: whoever takes it away waits
			continue
		}
		n := 0
		for n < len(p.pending) && p.pending[n].done {
			s.next = p.pending[n].Offset + 1
			n++
		}
		p.pending = append([]pendingRecord(nil), p.pending[n:]...)
		p.undone = 0
		for i := range p.pending {
			if r := &p.pending[i]; r.done { // it waits for one before it, and only its offset is needed
				r.Message = Message{Partition: r.Partition, Offset: r.Offset}
			} else {
				p.undone++
			}
		}
		left[partition] = span{s.next, max(s.end, s.next)}
	}
	return left
}

// commit commits the next offset of some partitions, and up to where records may have
// been delivered. It reports false when it may not, for the group is changing.
func (w *delivering) commit(ctx context.Context, spans map[int32]span) (committed bool, err error) {
	w.mu.Lock()
	for partition, s := range spans {
		if p := w.partitions[partition]; p != nil {
			p.reached = max(p.reached, s.end, p.tried)
			spans[partition] = span{s.next, p.reached}
		}
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	offsets := map[int32]kgo.EpochOffset{}
	for p, s := range spans {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: s.next}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				metadata := triedMark + strconv.FormatInt(spans[p.Partition].end, 10)
				p.Metadata = &metadata
			}
		}
		return nil
	})
	var failed error
	w.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{w.Topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err != nil {
				return
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
				}
			}
		})
	switch {
	case failed == nil:
		return true, nil
	case ctx.Err() != nil && errors.Is(failed, context.Canceled):
		return false, nil
	case errors.Is(failed, kerr.RebalanceInProgress), errors.Is(failed, kerr.IllegalGeneration), errors.Is(failed, kerr.UnknownMemberID):
		w.log().Info("offsets were not committed, the group is changing", "group", w.Group, "reason", failed)
		return false, nil
	}
	return false, fmt.Errorf("commit: %w", failed)
}

func (w *delivering) pending() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.partitions {
		n += p.undone
	}
	return n
}

// poll takes in up to most new records.
func (w *delivering) poll(ctx context.Context, wait time.Duration, most int) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := w.client.PollRecords(ctx, most)
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = fmt.Errorf("read %s/%d: %w", topic, partition, err)
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		if p := w.partitions[r.Partition]; p != nil {
			if tried, there := w.tried[r.Partition]; there {
				p.tried = tried
				delete(w.tried, r.Partition)
			}
			p.pending = append(p.pending, pendingRecord{Message: recordMessage(r), control: r.Attrs.IsControl()})
			p.undone++
		}
	})
	return failed
}

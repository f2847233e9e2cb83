package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

var (
	errAborted    = errors.New("transaction aborted")
	errReassigned = errors.New("assignment changed")
	errClaimEnded = errors.New("goka stopped reading a partition")
)

// generation is the time between two changes of a session's assignment. It is
// what goka sees as one sarama.ConsumerGroupSession.
type generation struct {
	s       *Session
	gts     *kgo.GroupTransactSession
	version int
	parts   []int32
	at      map[int32]position
	tasks   map[int32]Task

	ctx    context.Context
	cancel context.CancelFunc
	claims map[int32]*claim
	wg     sync.WaitGroup

	// With Batches: what the message in hand stands for. A partition's records are
	// written before its message is handed over, and read until it is marked.
	polled  map[int32]*[]Record
	pending atomic.Int64  // messages handed to goka and not yet marked
	idle    chan struct{} // gets a value when pending falls to 0
	ended   chan error    // a claim ended before the generation

	inTxn    bool
	behind   map[int32]bool // the last fetch did not reach the partition's end
	paused   map[int32]bool // not fetched, as its task wants
	lastPoll time.Time
	lastTook time.Duration
	lastTick time.Time // of the last commit, tried or done
	lastEnds time.Time
	quiet    map[int32]bool // no record since the last tick
	atEnd    map[int32]bool // read to its end, when last looked
}

// runGeneration waits until the assignment is known and works on it until it
// changes, a transaction aborts or ctx ends. It returns the version of the
// assignment that it worked on.
func (s *Session) runGeneration(ctx context.Context, gts *kgo.GroupTransactSession, handler sarama.ConsumerGroupHandler) (version int, err error) {
	parts, at, version, err := s.awaitAssignment(ctx)
	if err != nil || ctx.Err() != nil {
		return version, err
	}
	return version, s.workOn(ctx, gts, handler, parts, at, version)
}

// workOn sets goka up for an assignment, runs the cycle and cleans up.
func (s *Session) workOn(ctx context.Context, gts *kgo.GroupTransactSession, handler sarama.ConsumerGroupHandler,
	parts []int32, at map[int32]position, version int,
) (err error) {
	// Forget that partitions were revoked while no transaction was open:
	// otherwise the session would abort the next one for it.
	if _, err := gts.End(ctx, kgo.TryAbort); err != nil {
		return fmt.Errorf("reset the transaction: %w", err)
	}
	if !s.assigned.current(version) { // revoked meanwhile: the reset forgot that, too
		return errReassigned
	}
	g := &generation{
		s: s, gts: gts, version: version, parts: parts, at: at,
		tasks: map[int32]Task{}, claims: map[int32]*claim{}, polled: map[int32]*[]Record{},
		idle: make(chan struct{}, 1), ended: make(chan error, len(parts)),
		quiet: map[int32]bool{}, atEnd: map[int32]bool{}, behind: map[int32]bool{}, paused: map[int32]bool{},
	}
	// Work in hand is finished after ctx has ended; goka's callbacks must live
	// as long.
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer g.cancel()
	stop := context.AfterFunc(ctx, g.cancel) // until goka is set up
	defer stop()

	if err := handler.Setup(g); err != nil {
		return errors.Join(fmt.Errorf("set up: %w", err), handler.Cleanup(g))
	}
	setUp := stop() // false: ctx ended during the set-up
	defer func() {
		s.setLive(false)
		g.cancel()
		g.wg.Wait()
		cleanupErr := handler.Cleanup(g)
		if g.inTxn && errors.Is(err, errReassigned) {
			// Nothing may be left to do for this session for long: nobody would read past
			// the transaction. When this fails, the next reset does.
			_, _ = gts.End(context.WithoutCancel(ctx), kgo.TryAbort)
		}
		for _, task := range g.tasks {
			task.Close()
		}
		for _, store := range s.stores {
			store.discard()
		}
		if errors.Is(err, errClaimEnded) && cleanupErr != nil {
			err = cleanupErr
		}
	}()
	if !setUp {
		return ctx.Err()
	}
	if err := g.start(ctx, handler); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if !s.assigned.current(version) {
			return errReassigned
		}
		if err := g.cycle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitAssignment blocks until all owned partitions have a known position, and
// there is at least one.
func (s *Session) awaitAssignment(ctx context.Context) ([]int32, map[int32]position, int, error) {
	for {
		wait, cancel := s.assigned.poller(ctx, s.cfg.Tick)
		parts, at, version, known, err := s.assigned.snapshot()
		s.keepStores(parts)
		if err != nil || ctx.Err() != nil || known && len(parts) > 0 {
			cancel()
			return parts, at, version, err
		}
		<-wait.Done()
		cancel()
	}
}

// keepStores drops the stores of partitions that are not ours any more. Kept for
// later they would cost memory, and might miss tombstones that are compacted away
// meanwhile.
func (s *Session) keepStores(parts []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.stores, func(p int32, _ *Store) bool { return !slices.Contains(parts, p) })
}

func (s *Session) store(partition int32) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stores[partition]
}

func (s *Session) setLive(live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
	if !live {
		s.lease = time.Time{}
	}
}

// start builds the tasks, commits once, so that start offsets and what the
// tasks first report are durable, and lets goka read.
func (g *generation) start(ctx context.Context, handler sarama.ConsumerGroupHandler) error {
	if err := g.buildTasks(ctx); err != nil {
		return err
	}
	if !g.s.assigned.current(g.version) { // a restore may have taken long
		return errReassigned
	}
	if err := g.commit(); err != nil {
		return err
	}
	for _, p := range g.parts {
		c := &claim{topic: g.s.cfg.Topic, partition: p, offset: g.at[p].offset, messages: make(chan *sarama.ConsumerMessage, 64)}
		g.claims[p] = c
		g.wg.Go(func() {
			err := handler.ConsumeClaim(g, c)
			if g.ctx.Err() == nil {
				g.ended <- errors.Join(errClaimEnded, err)
			}
		})
	}
	g.s.setLive(true)
	g.s.ready()
	g.gts.Client().ResumeFetchPartitions(map[string][]int32{g.s.cfg.Topic: g.parts})
	g.lastTick = time.Now()
	return nil
}

// buildTasks builds the tasks of all partitions at once: each may read for long.
func (g *generation) buildTasks(ctx context.Context) error {
	// They end with ctx, and with the first that fails.
	taskCtx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	building, taskCtx := errgroup.WithContext(taskCtx)
	var mu sync.Mutex
	for _, p := range g.parts {
		polled := new([]Record)
		g.polled[p] = polled
		a := Assignment{
			Topic: g.s.cfg.Topic, Partition: p, Offset: g.at[p].offset, Metadata: g.at[p].metadata,
			Polled: func() []Record { return *polled },
		}
		restored := noOffset
		if store := g.s.store(p); store != nil {
			a.Rows = &Rows{session: g.s, store: store, partition: p}
			restored = store.CommittedOffset()
		}
		g.s.mu.Lock()
		g.s.restored[p] = restored
		g.s.mu.Unlock()
		building.Go(func() error {
			task, err := g.s.cfg.NewTask(taskCtx, a)
			if err != nil {
				return fmt.Errorf("start on %s/%d: %w", a.Topic, p, err)
			}
			mu.Lock()
			defer mu.Unlock()
			g.tasks[p] = task
			return nil
		})
	}
	return building.Wait()
}

// hand gives all polled records to goka, waits until they are marked, and returns
// their number.
func (g *generation) hand(fetches kgo.Fetches) (n int, err error) {
	if fetches.IsClientClosed() {
		return 0, kgo.ErrClientClosed
	}
	if g.madeAgain(fetches) {
		return 0, errMadeAgain
	}
	fetches.EachError(func(topic string, partition int32, e error) {
		// A group session that could not be joined is joined again by the client;
		// what cannot be mended comes to OnGroupManageError.
		var joining *kgo.ErrGroupSession
		if !errors.Is(e, context.Canceled) && !errors.Is(e, context.DeadlineExceeded) && !errors.As(e, &joining) {
			err = fmt.Errorf("read %s/%d: %w", topic, partition, e)
		}
	})
	if err != nil {
		return 0, err
	}
	// One message is held back from the count so that it cannot fall to 0
	// before all are handed over.
	g.pending.Store(1)
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 || err != nil {
			return
		}
		n += len(f.Records)
		at := g.at[f.Partition]
		at.offset = f.Records[len(f.Records)-1].Offset + 1
		g.at[f.Partition] = at
		atEnd := at.offset >= f.LastStableOffset
		g.quiet[f.Partition], g.atEnd[f.Partition] = false, atEnd
		if atEnd {
			delete(g.behind, f.Partition)
		} else {
			g.behind[f.Partition] = true
		}
		err = g.begin()
		for _, m := range g.messages(f.Partition, f.Records) {
			if err != nil {
				return
			}
			g.pending.Add(1)
			select {
			case g.claims[f.Partition].messages <- m:
			case err = <-g.ended:
			}
		}
	})
	if err == nil {
		err = g.allMarked()
	}
	if err != nil { // goka may still be reading them
		return n, err
	}
	for _, polled := range g.polled {
		clear(*polled) // each record keeps the whole answer to a fetch alive
	}
	return n, nil
}

// allMarked waits until goka has marked all that it was handed.
func (g *generation) allMarked() error {
	if g.pending.Add(-1) == 0 {
		return nil
	}
	for {
		select {
		case <-g.idle:
			if g.pending.Load() == 0 {
				return nil
			}
		case err := <-g.ended:
			return err
		}
	}
}

// errMadeAgain says that a topic was deleted and made again since the positions in
// it were looked up.
var errMadeAgain = fmt.Errorf("the topic was deleted and made again: %w", errStartOver)

func (g *generation) madeAgain(fetches kgo.Fetches) bool {
	for _, f := range fetches {
		for _, t := range f.Topics {
			for _, p := range t.Partitions {
				if g.at[p.Partition].elsewhere(t.TopicID) {
					return true
				}
			}
		}
	}
	return false
}

// messages turns the records of one partition into what goka gets.
func (g *generation) messages(partition int32, records []*kgo.Record) []*sarama.ConsumerMessage {
	if g.s.cfg.Batches {
		return g.batch(partition, records)
	}
	out := make([]*sarama.ConsumerMessage, 0, len(records))
	for _, r := range records {
		if !r.Attrs.IsControl() {
			out = append(out, messageOf(r))
		}
	}
	return out
}

// batch keeps the records for the task and returns the message that stands for
// them, none when there are none.
func (g *generation) batch(partition int32, records []*kgo.Record) []*sarama.ConsumerMessage {
	polled := (*g.polled[partition])[:0]
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		polled = append(polled, Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
		if len(r.Headers) > 0 {
			headers := make([]Header, len(r.Headers))
			for i, h := range r.Headers {
				headers[i] = Header{Key: h.Key, Value: h.Value}
			}
			polled[len(polled)-1].Headers = headers
		}
	}
	*g.polled[partition] = polled
	if len(polled) == 0 {
		return nil
	}
	last := records[len(records)-1]
	return []*sarama.ConsumerMessage{{Topic: last.Topic, Partition: partition, Offset: last.Offset, Timestamp: last.Timestamp, Value: []byte{}}}
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Two members join while a third restores: partitions are revoked from it twice
// before it works on any. It must not commit for those it lost, or their new
// owners would read again what they counted.
func TestPartitionsRevokedDuringARestore(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 4)
	restoring, restored := make(chan struct{}), make(chan struct{})
	var once sync.Once
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				once.Do(func() {
					close(restoring)
					<-restored
				})
				return build(ctx, a)
			}
		})
	})
	<-restoring
	var stops []func()
	for _, name := range []string{"b", "c"} {
		works := make(chan struct{})
		var once sync.Once
		stops = append(stops, background(t, func(ctx context.Context) error {
			return runCounter(ctx, c, in, group, table, name, func(cfg *SessionConfig) {
				build := cfg.NewTask
				cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
					once.Do(func() { close(works) })
					return build(ctx, a)
				}
			})
		}))
		<-works
	}
	truth := produce(t, c, in, 2000, 40)
	neverFall := watchOffsets(t, c, group, in)
	close(restored)
	eventually(t, c, table, truth)
	for k, n := range produce(t, c, in, 2000, 40) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
	for _, stop := range stops {
		stop()
	}
	for k, n := range produce(t, c, in, 100, 40) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
	neverFall()
}

// watchOffsets checks, until stop is called, that no committed offset of a group
// falls.
func watchOffsets(t testing.TB, c Config, group, topic string) (stop func()) {
	return background(t, func(ctx context.Context) error {
		highest := map[int32]int64{}
		for ctx.Err() == nil {
			offsets, err := GroupOffsets(ctx, c, group, topic)
			if err != nil {
				return err
			}
			for p, o := range offsets {
				if o.Offset < highest[p] {
					return fmt.Errorf("the offset of partition %d fell from %d to %d", p, highest[p], o.Offset)
				}
				highest[p] = o.Offset
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	})
}

// A member whose heartbeats are not heard commits for a while, and is then stopped:
// it owns nothing any more when the group gives its partitions to another, however
// late its last commit was accepted.
func TestOwnershipEndsBeforeTheGroupGivesItAway(t *testing.T) {
	const timeout = 2 * time.Second
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	var unheard atomic.Int64 // Unix nanoseconds; 0: heartbeats are heard
	stopped := make(chan struct{})
	a, run := newCounter(c, in, group, table, "a", func(cfg *SessionConfig) {
		cfg.SessionTimeout, cfg.Tick = timeout, 20*time.Millisecond
		build := cfg.NewTask
		cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
			task, err := build(ctx, a)
			return flushTask{task, func() {
				if at := unheard.Load(); at > 0 && time.Since(time.Unix(0, at)) > timeout*3/4 {
					<-stopped
				}
			}}, err
		}
	})
	background(t, run)
	defer close(stopped)
	eventually(t, c, table, produce(t, c, in, 100, 5))
	for len(a.Owned()) == 0 {
		time.Sleep(time.Millisecond)
	}
	e.instead(kmsg.Heartbeat, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if id := req.(*kmsg.HeartbeatRequest).InstanceID; id == nil || !strings.HasSuffix(*id, "-a") {
			return nil, nil, false
		}
		unheard.CompareAndSwap(0, time.Now().UnixNano())
		e.cluster.SleepControl(func() { <-stopped })
		return lostAnswer(req)
	})
	moved := make(chan map[int32]int64, 1)
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "b", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, as Assignment) (Task, error) {
				select {
				case moved <- a.Owned():
				default:
				}
				return build(ctx, as)
			}
		})
	})
	select {
	case owned := <-moved:
		if len(owned) > 0 {
			t.Error("both own the partition")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the partition does not move")
	}
}

// endCounter runs a counter that says with every tick whether its partition is at its end.
func endCounter(t *testing.T, c Config, in, group, table string, tick time.Duration) (ends chan bool) {
	ends = make(chan bool)
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			cfg.Tick = tick
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				task, err := build(ctx, a)
				return endTask{task, ends}, err
			}
		})
	})
	return ends
}

// A partition that cannot be fetched while records arrive is not at its end: it
// must not be taken for idle.
func TestUnfetchablePartitionIsNotAtItsEnd(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	ends := endCounter(t, c, in, group, table, 20*time.Millisecond)
	truth := produce(t, c, in, 100, 5)
	eventually(t, c, table, truth)
	awaitEnd(t, ends, true)
	var fetchable atomic.Bool
	e.instead(kmsg.Fetch, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if fetchable.Load() {
			return nil, nil, false
		}
		return lostAnswer(req)
	})
	for k, n := range produce(t, c, in, 100, 5) {
		truth[k] += n
	}
	awaitEnd(t, ends, false)
	fetchable.Store(true)
	eventually(t, c, table, truth)
	awaitEnd(t, ends, true)
}

// endTask tells what every Flush is told.
type endTask struct {
	Task
	ends chan bool
}

func (e endTask) Flush(atEnd bool) (string, error) {
	select {
	case e.ends <- atEnd:
	default: // nobody looks any more
	}
	return e.Task.Flush(atEnd)
}

// Who leaves for good hands its partitions over at once, whatever the session
// timeout; who does not keeps them for its return.
func TestLeaveOnStop(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 2)
	long := func(cfg *SessionConfig) { cfg.SessionTimeout = 5 * time.Minute }
	stop := background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) { long(cfg); cfg.LeaveOnStop = true })
	})
	truth := produce(t, c, in, 500, 20)
	eventually(t, c, table, truth)
	background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "b", long) })
	stop()
	for k, n := range produce(t, c, in, 500, 20) {
		truth[k] += n
	}
	eventually(t, c, table, truth) // waits for less than five minutes
}

// Retention deletes a backlog that could not be fetched: the partition is read to
// its end, though the position is before its first record.
func TestDeletedBacklogIsTheEnd(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	ends := endCounter(t, c, in, group, table, 20*time.Millisecond)
	eventually(t, c, table, produce(t, c, in, 100, 5))
	awaitEnd(t, ends, true)
	var fetchable atomic.Bool
	e.instead(kmsg.Fetch, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if fetchable.Load() {
			return nil, nil, false
		}
		return lostAnswer(req)
	})
	produce(t, c, in, 100, 5)
	awaitEnd(t, ends, false)
	if err := Purge(t.Context(), c, in, map[int32]int64{0: 200}); err != nil {
		t.Fatal(err)
	}
	fetchable.Store(true)
	awaitEnd(t, ends, true)
}

// A partition that brings a record all the time is read to its end, too.
func TestBusyPartitionIsAtItsEnd(t *testing.T) {
	_, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	ends := endCounter(t, c, in, group, table, 200*time.Millisecond)
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	defer background(t, func(ctx context.Context) error {
		for {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: in, Key: []byte("k")}).FirstErr(); err != nil {
				return err
			}
		}
	})()
	awaitEnd(t, ends, true)
}

// awaitEnd waits for a Flush that is told want.
func awaitEnd(t testing.TB, ends chan bool, want bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case got := <-ends:
			if got == want {
				return
			}
		case <-limit:
			t.Fatalf("at its end: never %v", want)
		}
	}
}

// A session that is stopped while it joins does not wait for the other members.
func TestStopWhileJoining(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	joining, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	var once sync.Once
	e.instead(kmsg.JoinGroup, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { close(joining) })
		e.cluster.SleepControl(func() { <-never })
		return lostAnswer(req)
	})
	stop := background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "a", nil) })
	<-joining
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second): // much longer than it waits
		t.Error("it waits")
	}
}

// Rows of a partition that moved away are dropped, also when none is left.
func TestRowsOfPartitionsThatMovedAwayAreDropped(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 1)
	a, run := newCounter(c, in, group, table, "a", nil)
	background(t, run)
	truth := produce(t, c, in, 100, 5)
	eventually(t, c, table, truth)
	a.assigned.onLost(t.Context(), nil, map[string][]int32{in: {0}})
	deadline := time.Now().Add(20 * time.Second)
	for {
		a.mu.Lock()
		n := len(a.stores)
		a.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d stores are kept", n)
		}
		time.Sleep(time.Millisecond)
	}
}

// All partitions are taken between two polls of one transaction. It must not stay
// open until the broker ends it: nobody reads past it.
func TestNothingOwnedBetweenTwoPolls(t *testing.T) {
	_, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	produceEach(t, c, in, 12, 1, func(r *kgo.Record) { r.Value = make([]byte, 500_000) }) // several polls
	taken := make(chan struct{})
	s, run := newCounter(c, in, group, table, "a", func(cfg *SessionConfig) { cfg.CommitInterval = time.Second })
	build := s.cfg.NewTask
	s.cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
		task, err := build(ctx, a)
		return takingTask{task.(*countTask), func() {
			select {
			case <-taken:
				return
			default:
			}
			a.Rows.Set("key", make([]byte, 8)) // now the broker knows of the transaction
			if err := s.client.Load().Flush(t.Context()); err != nil {
				t.Error(err)
			}
			s.assigned.mu.Lock()
			defer s.assigned.mu.Unlock()
			clear(s.assigned.owned)
			s.assigned.changed()
			close(taken)
		}}, err
	}
	background(t, run)
	<-taken
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for deadline := time.Now().Add(s.cfg.SessionTimeout / 2); ; time.Sleep(10 * time.Millisecond) {
		open, err := inTransaction(t.Context(), kadm.NewClient(cl), group)
		if err != nil {
			t.Fatal(err)
		}
		if !open {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the transaction stays open")
		}
	}
}

// takingTask calls take between two polls, when it has something to flush.
type takingTask struct {
	*countTask
	take func()
}

func (k takingTask) Paused() bool {
	if len(k.dirty) > 0 {
		k.take()
	}
	return false
}

// A session that ends while its client joins the group joins no more: its successor
// has the same name, and the one that joins last takes it.
func TestClientThatIsJoiningIsCutOff(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	joins := e.instead(kmsg.JoinGroup, math.MaxInt64, func(req kmsg.Request) (kmsg.Response, error, bool) {
		time.Sleep(10 * time.Millisecond)
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runCounter(ctx, c, in, group, table, "a", nil) }()
	for joins.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * closeTimeout):
		t.Fatal("the session does not end")
	}
	time.Sleep(200 * time.Millisecond) // one request may have been on its way
	before := joins.Load()
	time.Sleep(500 * time.Millisecond)
	if after := joins.Load(); after != before {
		t.Errorf("its client has asked to join %d times since", after-before)
	}
}

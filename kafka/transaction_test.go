package kafka

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A poll brings no more than one fetch did. A backlog is read by many polls, which
// share transactions, up to the most records that one may have and until a task wants
// a pause.
func TestTransactionsOfABacklog(t *testing.T) {
	const records, ofAFetch = 12, 2
	for _, tt := range []struct {
		name   string
		most   int // records of a transaction
		pauses bool
		full   bool
		want   int // records at once, at most
	}{
		{"nothing limits it", records, false, false, records},
		{"five at most", 5, false, false, 5},
		{"a pause after every poll", records, true, false, ofAFetch},
		{"full after every poll", records, false, true, ofAFetch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := broker(t)
			in, group, table := setUpCounter(t, c, 1)
			truth := produceEach(t, c, in, records, 1, func(r *kgo.Record) { r.Value = make([]byte, 1<<20/ofAFetch-20_000) })
			background(t, func(ctx context.Context) error {
				return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
					cfg.CommitInterval, cfg.SessionTimeout, cfg.MaxPoll = 5*time.Second, 20*time.Second, tt.most
					build := cfg.NewTask
					cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
						task, err := build(ctx, a)
						return fastidiousTask{task.(*countTask), tt.pauses, tt.full}, err
					}
				})
			})
			eventually(t, c, table, truth)
			steps := stepsOf(t, c, table)
			// One more: the broker may answer before it has them all.
			if slices.Max(steps) > uint64(tt.want) || len(steps) > (records+tt.want-1)/tt.want+1 {
				t.Errorf("transactions of %v records, want all %d, and up to %d at once", steps, records, tt.want)
			}
		})
	}
}

// stepsOf returns by how many records the only row of a table grew with each
// transaction.
func stepsOf(t testing.TB, c Config, table string) (steps []uint64) {
	t.Helper()
	end, err := EndOffset(t.Context(), c, table, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	if err := Read(t.Context(), c, table, 0, 0, end, func(m Message) error {
		n := binary.BigEndian.Uint64(m.Value)
		steps, last = append(steps, n-last), n
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return steps
}

// fastidiousTask may want a pause, or be full, as soon as it has something to flush.
type fastidiousTask struct {
	*countTask
	pauses, fills bool
}

func (f fastidiousTask) Paused() bool { return f.pauses && len(f.dirty) > 0 }
func (f fastidiousTask) Full() bool   { return f.fills && len(f.dirty) > 0 }

// Records that come while a session waits after a commit are all in its next
// transaction, though its client has fetched no more than the first of them by then.
// The wait for what may have come since is short.
func TestNoRecordWaitsForTheTransactionAfterNext(t *testing.T) {
	s := newSlowSession(t, false)
	s.committed() // what the session begins with
	s.send()
	s.committed()
	// Now it waits for three times as long as the commit took.
	s.send()
	time.Sleep(100 * time.Millisecond) // until that is fetched
	s.send()
	s.committed()
	s.send()
	s.committed()
	if steps := stepsOf(t, s.broker, s.table); !slices.Equal(steps, []uint64{1, 2, 1}) {
		t.Errorf("transactions of %v records, want 1, 2 and 1", steps)
	}
}

// A session goes on committing when all that its client has fetched is of a partition
// that is paused.
func TestPausedRecordsHoldNothingUp(t *testing.T) {
	s := newSlowSession(t, true)
	s.committed()
	s.send()
	<-s.flushing
	s.send() // fetched by the time that the partition is paused
	for range 3 {
		s.committed()
	}
	if steps := stepsOf(t, s.broker, s.table); !slices.Equal(steps, []uint64{1}) {
		t.Errorf("transactions of %v records, want 1, and then a pause", steps)
	}
}

// slowSession is a counting processor whose commits take half a second when there is
// something to commit. With a backlog its transactions take in records for a minute.
type slowSession struct {
	t         testing.TB
	broker    Config
	in, table string
	commits   chan struct{}
	flushing  chan struct{}
}

func newSlowSession(t testing.TB, pauses bool) *slowSession {
	s := &slowSession{t: t, broker: broker(t), commits: make(chan struct{}, 1000), flushing: make(chan struct{}, 1000)}
	var group string
	s.in, group, s.table = setUpCounter(t, s.broker, 1)
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, s.broker, s.in, group, s.table, "a", func(cfg *SessionConfig) {
			cfg.CommitInterval, cfg.SessionTimeout = time.Minute, 4*time.Minute
			if !pauses {
				cfg.Tick = time.Minute
			}
			cfg.OnCommit = func(time.Duration, bool) { s.commits <- struct{}{} }
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				task, err := build(ctx, a)
				return &slowTask{countTask: task.(*countTask), flushing: s.flushing, pauses: pauses}, err
			}
		})
	})
	return s
}

func (s *slowSession) send() {
	produceEach(s.t, s.broker, s.in, 1, 1, func(*kgo.Record) {})
}

func (s *slowSession) committed() {
	s.t.Helper()
	select {
	case <-s.commits:
	case <-time.After(20 * time.Second):
		s.t.Fatal("nothing is committed")
	}
}

// slowTask may pause for good once it has flushed something.
type slowTask struct {
	*countTask
	flushing       chan<- struct{}
	pauses, paused bool
}

func (s *slowTask) Flush(atEnd bool) (string, error) {
	if len(s.dirty) > 0 {
		s.flushing <- struct{}{}
		time.Sleep(500 * time.Millisecond)
		s.paused = s.pauses
	}
	return s.countTask.Flush(atEnd)
}

func (s *slowTask) Paused() bool { return s.paused }

package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// broker returns a cluster for a test: the one that KAFKA_BROKERS names, or an
// embedded one.
func broker(t testing.TB) Config {
	t.Helper()
	c := Config{ClientID: "test"}
	if os.Getenv("TEST_VERBOSE") != "" {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if b := os.Getenv("KAFKA_BROKERS"); b != "" {
		c.Brokers = strings.Split(b, ",")
		return c
	}
	e, err := StartEmbedded(EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	c.Brokers = e.Brokers()
	return c
}

// names gives every test topics and groups of its own on a shared cluster.
func names(t testing.TB) (in, group, table string) {
	base := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + fmt.Sprint(time.Now().UnixNano()%1e6)
	return base + "-in", base + "-count", base + "-count-table"
}

// counter counts records by key, the way a table stage does it: rows in memory,
// written through Rows when the session flushes.
type counter struct {
	mu    sync.Mutex
	tasks map[int32]*countTask
}

type countTask struct {
	owner *counter
	a     Assignment
	rows  map[string]uint64
	dirty map[string]bool
}

func (c *counter) assign(_ context.Context, a Assignment) (Task, error) {
	t := &countTask{owner: c, a: a, rows: map[string]uint64{}, dirty: map[string]bool{}}
	a.Rows.All(func(k string, v []byte) bool {
		t.rows[k] = binary.BigEndian.Uint64(v)
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks[a.Partition] = t
	return t, nil
}

func (t *countTask) Flush(bool) (string, error) {
	for k := range t.dirty {
		t.a.Rows.Set(k, binary.BigEndian.AppendUint64(nil, t.rows[k]))
	}
	clear(t.dirty)
	return "", nil
}

func (t *countTask) Paused() bool    { return false }
func (t *countTask) MaxRecords() int { return 0 }
func (t *countTask) Full() bool      { return false }

func (t *countTask) Close() {
	t.owner.mu.Lock()
	defer t.owner.mu.Unlock()
	delete(t.owner.tasks, t.a.Partition)
}

type bytesCodec struct{}

func (bytesCodec) Encode(v any) ([]byte, error) { return v.([]byte), nil }
func (bytesCodec) Decode(b []byte) (any, error) { return b, nil }

// runCounter runs one counting processor until ctx ends.
func runCounter(ctx context.Context, c Config, in, group, table, instance string, change func(*SessionConfig)) error {
	_, run := newCounter(c, in, group, table, instance, change)
	return run(ctx)
}

// newCounter returns the session of a counting processor, and what runs it.
func newCounter(c Config, in, group, table, instance string, change func(*SessionConfig)) (*Session, func(context.Context) error) {
	count := &counter{tasks: map[int32]*countTask{}}
	cfg := SessionConfig{
		Config: c, Group: group, Topic: in, Table: table, Instance: instance,
		NewTask: count.assign, CommitInterval: 50 * time.Millisecond,
		SessionTimeout: 6 * time.Second, Tick: 100 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	s := NewSession(cfg)
	graph := goka.DefineGroup(goka.Group(group),
		goka.Input(goka.Stream(in), bytesCodec{}, func(ctx goka.Context, _ any) {
			count.mu.Lock()
			task := count.tasks[ctx.Partition()]
			count.mu.Unlock()
			task.rows[ctx.Key()]++
			task.dirty[ctx.Key()] = true
		}),
		goka.Persist(bytesCodec{}),
	)
	return s, func(ctx context.Context) error {
		p, err := goka.NewProcessor(c.Brokers, graph, s.Options()...)
		if err != nil {
			return err
		}
		return p.Run(ctx)
	}
}

func setUpCounter(t testing.TB, c Config, partitions int32) (in, group, table string) {
	in, group, table = names(t)
	_, err := EnsureTopics(t.Context(), c, 1, []Topic{
		{Name: in, Partitions: partitions, Create: true, Forever: true},
		{Name: table, Partitions: partitions, Create: true, Compact: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return in, group, table
}

func produce(t testing.TB, c Config, topic string, n, keys int) map[string]uint64 {
	t.Helper()
	return produceEach(t, c, topic, n, keys, func(*kgo.Record) {})
}

// produceEach writes n records with a number of keys, each changed before it is
// sent, and returns how many of each key.
func produceEach(t testing.TB, c Config, topic string, n, keys int, change func(*kgo.Record)) map[string]uint64 {
	t.Helper()
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	truth := map[string]uint64{}
	for i := range n {
		key := fmt.Sprint("key-", i%keys)
		truth[key]++
		r := &kgo.Record{Topic: topic, Partition: ByKey, Key: []byte(key), Value: []byte("x")}
		change(r)
		cl.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return truth
}

// table reads the committed rows of a changelog.
func readTable(t testing.TB, c Config, table string) map[string]uint64 {
	t.Helper()
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	ends.Each(func(o kadm.ListedOffset) {
		if err := Read(t.Context(), c, table, o.Partition, 0, o.Offset, func(m Message) error {
			if m.Value == nil {
				delete(got, string(m.Key))
			} else {
				got[string(m.Key)] = binary.BigEndian.Uint64(m.Value)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	return got
}

// eventually waits until the changelog equals truth.
func eventually(t testing.TB, c Config, table string, truth map[string]uint64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := readTable(t, c, table)
		if maps.Equal(got, truth) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("table = %v, want %v", got, truth)
		}
	}
}

// background runs f until stop is called or the test ends.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("processor: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func TestCountsAreExactAcrossRestarts(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 4)
	truth := map[string]uint64{}
	for range 3 {
		stop := background(t, func(ctx context.Context) error {
			return runCounter(ctx, c, in, group, table, "a", nil)
		})
		for k, n := range produce(t, c, in, 5000, 50) {
			truth[k] += n
		}
		eventually(t, c, table, truth)
		stop()
	}
}

func TestSessionsShareThePartitions(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 4)
	a, runA := newCounter(c, in, group, table, "a", nil)
	background(t, runA)
	truth := produce(t, c, in, 3000, 40)
	eventually(t, c, table, truth)
	b, runB := newCounter(c, in, group, table, "b", nil)
	stop := background(t, runB)
	for deadline := time.Now().Add(30 * time.Second); len(a.Owned()) != 2 || len(b.Owned()) != 2; time.Sleep(10 * time.Millisecond) {
		for k, n := range produce(t, c, in, 300, 40) {
			truth[k] += n
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sessions own %v and %v of 4 partitions", a.Owned(), b.Owned())
		}
	}
	eventually(t, c, table, truth)
	stop()
	for k, n := range produce(t, c, in, 3000, 40) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
}

// Two processes with one name: the newer takes over, the older ends with a reason.
func TestSecondProcessWithTheSameNameTakesOver(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 2)
	older := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { older <- runCounter(ctx, c, in, group, table, "a", nil) }()
	truth := produce(t, c, in, 500, 10)
	eventually(t, c, table, truth)
	background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "a", nil) })
	select {
	case err := <-older:
		if !IsFatal(err) || !strings.Contains(err.Error(), "same instance name") {
			t.Errorf("the older ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the older process does not end")
	}
	for k, n := range produce(t, c, in, 500, 10) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
}

// A record that its callback cannot process must not be lost: the processor ends
// with the reason, nothing is committed, and the next one gets it again.
func TestFailingCallbackCommitsNothing(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 1)
	truth := produce(t, c, in, 100, 5)
	fail := errors.New("cannot flush")
	err := runCounter(t.Context(), c, in, group, table, "a", func(cfg *SessionConfig) {
		build := cfg.NewTask
		cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
			task, err := build(ctx, a)
			return failingTask{task, fail}, err
		}
	})
	if err == nil || !strings.Contains(err.Error(), fail.Error()) {
		t.Errorf("error = %v, want %v", err, fail)
	}
	if got := readTable(t, c, table); len(got) != 0 {
		t.Errorf("table = %v, want nothing", got)
	}
	background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "a", nil) })
	eventually(t, c, table, truth)
}

// failingTask fails when there is something to flush.
type failingTask struct {
	Task
	err error
}

func (f failingTask) Flush(atEnd bool) (string, error) {
	if len(f.Task.(*countTask).dirty) > 0 {
		f.Task.Flush(atEnd)
		return "", f.err
	}
	return f.Task.Flush(atEnd)
}

// With Batches a task gets the records as they were produced: nil and empty apart,
// headers in order, all that were polled together at once.
func TestBatchesKeepRecordsAsTheyAre(t *testing.T) {
	c := broker(t)
	in, group, _ := names(t)
	if _, err := EnsureTopics(t.Context(), c, 1, []Topic{{Name: in, Partitions: 1, Create: true, Forever: true}}); err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_123)
	want := []Record{
		{Offset: 0, Timestamp: at.UnixMilli(), Value: []byte("v")},
		{Offset: 1, Timestamp: at.UnixMilli(), Key: []byte{}},
		{Offset: 2, Timestamp: at.UnixMilli(), Key: []byte("k"), Value: []byte{}, Headers: []Header{{Key: "a"}, {Value: []byte{}}, {Key: "a", Value: []byte("2")}}},
	}
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, w := range want {
		r := &kgo.Record{Topic: in, Timestamp: at, Key: w.Key, Value: w.Value}
		for _, h := range w.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan Record, len(want))
	var polled func() []Record
	s := NewSession(SessionConfig{
		Config: c, Group: group, Topic: in, Instance: "a", Batches: true, CommitInterval: 50 * time.Millisecond,
		SessionTimeout: 6 * time.Second, Tick: 100 * time.Millisecond,
		NewTask: func(_ context.Context, a Assignment) (Task, error) {
			polled = a.Polled
			return idleTask{}, nil
		},
	})
	graph := goka.DefineGroup(goka.Group(group), goka.Input(goka.Stream(in), bytesCodec{}, func(goka.Context, any) {
		for _, r := range polled() {
			got <- r
		}
	}))
	p, err := goka.NewProcessor(c.Brokers, graph, s.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	background(t, p.Run)
	for _, w := range want {
		select {
		case r := <-got:
			if d := cmp.Diff(w, r); d != "" {
				t.Error(d)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a record does not arrive")
		}
	}
}

// idleTask does nothing.
type idleTask struct{}

func (idleTask) Flush(bool) (string, error) { return "", nil }
func (idleTask) Paused() bool               { return false }
func (idleTask) MaxRecords() int            { return 0 }
func (idleTask) Full() bool                 { return false }
func (idleTask) Close()                     {}

// A commit interval longer than the tick starves nobody of records.
func TestCommitIntervalLongerThanTheTick(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 1)
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			cfg.CommitInterval, cfg.Tick = 100*time.Millisecond, time.Millisecond
		})
	})
	eventually(t, c, table, produce(t, c, in, 500, 20))
}

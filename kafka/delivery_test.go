package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// outside is where records are delivered: a list of values by partition. Any member may
// deliver there.
type outside struct {
	mu    sync.Mutex
	got   map[int32][]string
	again int
}

func newOutside() *outside { return &outside{got: map[int32][]string{}} }

func (o *outside) add(m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got[m.Partition] = append(o.got[m.Partition], string(m.Value))
}

func (o *outside) count() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, values := range o.got {
		n += len(values)
	}
	return n
}

// wantOnce checks that n records or more were delivered, and none twice.
func (o *outside) wantOnce(t *testing.T, n int) {
	t.Helper()
	times := map[string]int{}
	for _, values := range o.got {
		for _, v := range values {
			if times[v]++; times[v] == 2 {
				t.Errorf("%s was delivered twice", v)
			}
		}
	}
	if len(times) < n {
		t.Errorf("%d records were delivered, want %d", len(times), n)
	}
}

func (o *outside) delivery(c Config, group, topic, instance string) Delivery {
	return Delivery{
		Config: c, Group: group, Topic: topic, Instance: instance, Timeout: 6 * time.Second,
		Again: func(n int) { o.mu.Lock(); o.again += n; o.mu.Unlock() },
		Deliver: func(ctx context.Context, records []Message, done func(int)) error {
			for i, m := range records {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				o.add(m)
				done(i)
			}
			return nil
		},
	}
}

// outbox makes a topic of two partitions with n records in transactions, some of them
// aborted, whose values count up in each partition.
func outbox(t *testing.T, c Config, topic string, n int) {
	t.Helper()
	if _, err := EnsureTopics(t.Context(), c, 1, []Topic{{Name: topic, Partitions: 2, Create: true, Retention: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	cl, err := c.NewClient(kgo.TransactionalID(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := 0; i < n; {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		aborted := rand.IntN(4) == 0
		for range 1 + rand.IntN(10) {
			value := fmt.Sprintf("%06d", i)
			if aborted {
				value = "aborted"
			}
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if !aborted {
				i++
			}
		}
		if err := cl.EndTransaction(t.Context(), kgo.TransactionEndTry(!aborted)); err != nil {
			t.Fatal(err)
		}
	}
}

// nothingLeft waits until all of the topic is committed, markers included.
func nothingLeft(t *testing.T, c Config, group, topic string) {
	t.Helper()
	var left int64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ends, err := EndOffsets(t.Context(), c, topic)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := GroupOffsets(t.Context(), c, group, topic)
		if err != nil {
			t.Fatal(err)
		}
		left = 0
		for p, end := range ends {
			left += end - committed[p].Offset
		}
		if left == 0 {
			return
		}
	}
	t.Fatalf("%d offsets are not committed", left)
}

func TestDelivery(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 1500)
	o := newOutside()
	defer background(t, o.delivery(c, group, topic, "a").Run)()
	nothingLeft(t, c, group, topic)
	for p, values := range o.got {
		if !slices.IsSorted(values) || len(slices.Compact(slices.Clone(values))) != len(values) || slices.Contains(values, "aborted") {
			t.Errorf("partition %d: not every record once, in order: %v", p, values)
		}
	}
	if n := o.count(); n < 1500 || o.again != 0 {
		t.Errorf("%d delivered, %d of them maybe again; want all, and none", n, o.again)
	}
}

// What was not delivered comes again, and what was is not handed on once more.
func TestDeliveryOfSome(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 300)
	o := newOutside()
	d := o.delivery(c, group, topic, "a")
	d.Deliver = func(_ context.Context, records []Message, done func(int)) error {
		for i, m := range records {
			if rand.IntN(3) > 0 { // in any order, too
				o.add(m)
				done(i)
			}
		}
		return nil
	}
	defer background(t, d.Run)()
	nothingLeft(t, c, group, topic)
	if o.wantOnce(t, 300); o.again != 0 {
		t.Errorf("%d records are said to be maybe there", o.again)
	}
}

// A member that dies between delivering and committing is followed by one that says
// how many records may be there already.
func TestDeliveryByASuccessor(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 100)
	o := newOutside()
	dead := errors.New("killed")
	d := o.delivery(c, group, topic, "a")
	handed := 0
	d.Deliver = func(_ context.Context, records []Message, _ func(int)) error {
		handed = len(records)
		for _, m := range records[:len(records)/2] {
			o.add(m)
		}
		return dead // nothing is done as far as it could commit
	}
	if err := d.Run(t.Context()); !errors.Is(err, dead) {
		t.Fatalf("it ended with %v", err)
	}
	next := o.delivery(c, group, topic, "a")
	deliver, refusals := next.Deliver, 3
	next.Deliver = func(ctx context.Context, records []Message, done func(int)) error {
		if refusals--; refusals >= 0 {
			return nil // not now: they come again, and are counted once
		}
		return deliver(ctx, records, done)
	}
	defer background(t, next.Run)()
	nothingLeft(t, c, group, topic)
	if o.again != handed {
		t.Errorf("%d records are said to be maybe there, want the %d of the last attempt", o.again, handed)
	}
	seen := map[string]bool{}
	for _, values := range o.got {
		for _, v := range values {
			seen[v] = true
		}
	}
	if len(seen) < 100 {
		t.Errorf("%d records were delivered, want 100", len(seen))
	}
}

// When partitions move, the delivery in hand ends and is committed first: nothing is
// delivered twice.
func TestDeliveryMoves(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 400)
	o := newOutside()
	slow := func(instance string) Delivery {
		d := o.delivery(c, group, topic, instance)
		d.LeaveOnStop = true
		d.Deliver = func(ctx context.Context, records []Message, done func(int)) error {
			for i, m := range records {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(10 * time.Millisecond):
				}
				o.add(m)
				done(i)
			}
			return nil
		}
		return d
	}
	stopA := background(t, slow("a").Run)
	for o.count() < 50 {
		time.Sleep(10 * time.Millisecond)
	}
	stopB := background(t, slow("b").Run)
	for o.count() < 200 {
		time.Sleep(10 * time.Millisecond)
	}
	stopA()
	nothingLeft(t, c, group, topic)
	stopB()
	o.wantOnce(t, 400)
}

// A member that has partitions and nothing to deliver is idle, for as long as it likes:
// that ends when partitions are taken away, and begins again with those that it keeps.
func TestDeliveryIsIdle(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 20)
	o := newOutside()
	var began, ended [3]atomic.Int32
	delivery := func(i int) Delivery {
		d := o.delivery(c, group, topic, fmt.Sprint(i))
		d.LeaveOnStop = true
		d.Idle = func(ctx context.Context) error {
			if n := o.count(); n < 20 {
				t.Errorf("idle after %d records", n)
			}
			began[i].Add(1)
			<-ctx.Done()
			ended[i].Add(1)
			return ctx.Err()
		}
		return d
	}
	await := func(what string, n *atomic.Int32, want int32) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); n.Load() < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s %d times, want %d", what, n.Load(), want)
			}
		}
	}
	defer background(t, delivery(0).Run)()
	await("the first began", &began[0], 1)
	stop := background(t, delivery(1).Run)
	await("the second began", &began[1], 1) // with a partition of the first
	await("the first ended", &ended[0], 1)
	await("the first began", &began[0], 2)
	none, joined := delivery(2), make(chan struct{})
	none.OnReady = sync.OnceFunc(func() { close(joined) })
	stopNone := background(t, none.Run)
	<-joined
	time.Sleep(1500 * time.Millisecond) // a round of one that has no partition
	if n := began[2].Load(); n > 0 {
		t.Errorf("the third is idle %d times, though it has no partition", n)
	}
	stopNone()
	stop()
	await("the second ended", &ended[1], 1)
	o.wantOnce(t, 20)
}

// A record that cannot be delivered holds up no other. Those behind it cannot be
// committed: a successor delivers them again, and says so.
func TestDeliveryBehindAGap(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 200)
	o := newOutside()
	stuck := o.delivery(c, group, topic, "a")
	stuck.LeaveOnStop = true
	var first sync.Map // the first record of every partition is never done
	stuck.Deliver = func(_ context.Context, records []Message, done func(int)) error {
		for i, m := range records {
			if at, _ := first.LoadOrStore(m.Partition, m.Offset); at != m.Offset {
				o.add(m)
				done(i)
			}
		}
		return nil
	}
	stop := background(t, stuck.Run)
	for deadline := time.Now().Add(20 * time.Second); o.count() < 198 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // some rounds with nothing but what is stuck
	stop()
	delivered := o.count()
	if o.wantOnce(t, 198); t.Failed() {
		return
	}
	defer background(t, o.delivery(c, group, topic, "b").Run)()
	nothingLeft(t, c, group, topic)
	if o.again != delivered+2 {
		t.Errorf("%d records are said to be maybe there, want the %d that were tried", o.again, delivered+2)
	}
}

// What cannot be delivered now is tried again at leisure, and what comes meanwhile does not
// wait for that.
func TestDeliveryDoesNotSpin(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 10)
	o := newOutside()
	var handed atomic.Int32
	d := o.delivery(c, group, topic, "a")
	d.Deliver = func(_ context.Context, records []Message, done func(int)) error {
		handed.Add(1)
		for i, m := range records {
			if string(m.Value) == "new" {
				o.add(m)
				done(i)
			}
		}
		return nil
	}
	defer background(t, d.Run)()
	for handed.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	before := handed.Load()
	time.Sleep(5 * stuckPause / 2)
	if n := handed.Load() - before; n < 1 || n > 3 {
		t.Errorf("what cannot be delivered was handed on %d times in %s, want 2 or 3", n, 5*stuckPause/2)
	}
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	fastest := time.Hour
	for n := range 5 {
		began := time.Now()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("new")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for o.count() == n {
			time.Sleep(time.Millisecond)
		}
		fastest = min(fastest, time.Since(began))
	}
	if fastest > stuckPause/10 {
		t.Errorf("what was new took %s", fastest)
	}
}

// A member that may not note what it is about to deliver, such as one whose place in the
// group is somebody else's by now, delivers nothing.
func TestDeliveryByNoMember(t *testing.T) {
	e, c := embedded(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, 20)
	o := newOutside()
	refused := e.instead(kmsg.OffsetCommit, 3, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if n := o.count(); n > 0 {
			t.Errorf("%d records were delivered though that was not noted", n)
		}
		commit := req.(*kmsg.OffsetCommitRequest)
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, t := range commit.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.UnknownMemberID.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	defer background(t, o.delivery(c, group, topic, "a").Run)()
	nothingLeft(t, c, group, topic)
	if o.wantOnce(t, 20); refused.Load() != 3 {
		t.Errorf("%d commits were refused", refused.Load())
	}
}

// However much waits, not more than that is in memory.
func TestDeliveryIsBounded(t *testing.T) {
	c := broker(t)
	topic, group, _ := names(t)
	outbox(t, c, topic, maxPending+600)
	d := newOutside().delivery(c, group, topic, "a")
	handed := make(chan int, 1000)
	d.Deliver = func(ctx context.Context, records []Message, _ func(int)) error {
		handed <- len(records)
		return pauseFor(ctx, 20*time.Millisecond)
	}
	stop := background(t, d.Run)
	most, rounds := 0, 0
	for timeout := time.After(20 * time.Second); rounds < 3; {
		select {
		case n := <-handed:
			if most = max(most, n); most > maxPending/2 {
				rounds++ // of the last, some that could have brought more
			}
		case <-timeout:
			t.Fatalf("%d records at once, in all that time", most)
		}
	}
	stop()
	if most > maxPending {
		t.Errorf("%d records at once, want %d at most", most, maxPending)
	}
}

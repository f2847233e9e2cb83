package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tableTopic makes a compacted topic with one partition.
func tableTopic(t testing.TB, c Config) string {
	t.Helper()
	_, _, topic := names(t)
	if _, err := EnsureTopics(t.Context(), c, 1, []Topic{{Name: topic, Partitions: 1, Create: true, Compact: true}}); err != nil {
		t.Fatal(err)
	}
	return topic
}

// transaction writes keys in one transaction and ends it, unless it is left
// open. It returns the client of an open one.
func transaction(t testing.TB, c Config, topic string, timeout time.Duration, end *kgo.TransactionEndTry, keys ...string) *kgo.Client {
	t.Helper()
	cl, err := c.NewClient(kgo.TransactionalID(fmt.Sprint(topic, time.Now().UnixNano())), kgo.TransactionTimeout(timeout))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(k), Value: binary.BigEndian.AppendUint64(nil, 1)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if end == nil {
		return cl
	}
	if err := cl.EndTransaction(t.Context(), *end); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	return nil
}

// restoreView recovers a goka view over a topic and returns its keys.
func restoreView(t testing.TB, c Config, topic string, openTimeout time.Duration) ([]string, error) {
	t.Helper()
	view, err := goka.NewView(c.Brokers, goka.Table(topic), bytesCodec{},
		goka.WithViewConsumerSaramaBuilder(ConsumerBuilder(c, openTimeout)),
		goka.WithViewTopicManagerBuilder(TopicManagerBuilder(c)),
		goka.WithViewStorageBuilder(ViewStorage()),
		goka.WithViewHasher(Hasher),
		goka.WithViewLogger(gokaLogger{c.log()}),
		goka.WithViewCallback(SkipControl(nil)),
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- view.Run(ctx) }()
	select {
	case <-view.WaitRunning():
	case err := <-ended:
		return nil, err
	case <-ctx.Done():
		t.Fatal("the view does not recover")
	}
	it, err := view.Iterator()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for it.Next() {
		keys[it.Key()] = true
	}
	it.Release()
	cancel()
	<-ended
	var list []string
	for k := range maps.Keys(keys) {
		list = append(list, k)
	}
	return list, nil
}

func commitTxn() *kgo.TransactionEndTry { e := kgo.TryCommit; return &e }
func abortTxn() *kgo.TransactionEndTry  { e := kgo.TryAbort; return &e }

func wantKeys(t testing.TB, got []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, k := range got {
		have[k] = true
	}
	for _, k := range want {
		if !have[k] {
			t.Errorf("restored %q, want %q", got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("restored %q, want %q", got, want)
	}
}

func TestRestoreEndsAtACommitMarker(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a", "b")
	got, err := restoreView(t, c, topic, 5*time.Second)
	wantKeys(t, got, err, "a", "b")
}

func TestRestoreEndsAtAnAbortMarker(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a")
	transaction(t, c, topic, 10*time.Second, abortTxn(), "never", "a")
	got, err := restoreView(t, c, topic, 5*time.Second)
	wantKeys(t, got, err, "a")
}

func TestRestoreOfAnEmptyTopic(t *testing.T) {
	c := broker(t)
	got, err := restoreView(t, c, tableTopic(t, c), 5*time.Second)
	wantKeys(t, got, err)
}

// A dead instance left a transaction open. The restore waits until the broker
// aborts it, and then holds what was committed before.
func TestRestoreWaitsForAnOpenTransaction(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a")
	dead := transaction(t, c, topic, 2*time.Second, nil, "never")
	defer dead.Close()
	got, err := restoreView(t, c, topic, 25*time.Second)
	wantKeys(t, got, err, "a")
}

func TestRestoreFailsWhenATransactionStaysOpen(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	dead := transaction(t, c, topic, time.Minute, nil, "never")
	defer dead.Close()
	_, err := restoreView(t, c, topic, 500*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "has been open for") {
		t.Errorf("error = %v, want one that tells of the open transaction", err)
	}
}

func TestReadStopsAtTheEndOfTheRange(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a", "b")
	transaction(t, c, topic, 10*time.Second, abortTxn(), "never")
	transaction(t, c, topic, 10*time.Second, commitTxn(), "c")
	end, err := EndOffset(t.Context(), c, topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range []string{0: "abc", 1: "bc", 2: "c"} {
		var got string
		err := Read(t.Context(), c, topic, 0, int64(from), end, func(m Message) error { got += string(m.Key); return nil })
		if err != nil || got != want {
			t.Errorf("from %d: %q, %v, want %q", from, got, err, want)
		}
	}
	stop := errors.New("stop")
	if err := Read(t.Context(), c, topic, 0, 0, end, func(Message) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of visit = %v", err)
	}
}

func TestHeldBack(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	held := func(want ...Held) {
		t.Helper()
		got, err := HeldBack(t.Context(), c, []string{topic}, nil)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("held back: %v, %v, want %v", got, err, want)
		}
	}
	held()
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a")
	held()
	open := transaction(t, c, topic, time.Minute, nil, "b", "c")
	defer open.Close()
	transaction(t, c, topic, 10*time.Second, commitTxn(), "d")
	held(Held{"", topic, 0, 2}) // after the row and its marker
	if err := open.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	held()
}

// offsetsIn is a transaction that has a group's offset in it.
type offsetsIn struct {
	cl    *kgo.Client
	id    string
	pid   int64
	epoch int16
}

// commitIn begins a transaction and commits offset for partition 0 of topic in it.
func commitIn(t testing.TB, c Config, id, group, topic string, offset int64) *offsetsIn {
	t.Helper()
	cl, err := c.NewClient(kgo.TransactionalID(id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	o := &offsetsIn{cl: cl, id: id}
	if o.pid, o.epoch, err = cl.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, o.pid, o.epoch, group
	added, err := add.RequestWith(t.Context(), cl)
	if err = cmp.Or(err, kerr.ErrorForCode(added.ErrorCode)); err != nil {
		t.Fatal(err)
	}
	at := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	at.Offset = offset
	in := kmsg.NewTxnOffsetCommitRequestTopic()
	in.Topic, in.Partitions = topic, append(in.Partitions, at)
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group, commit.Generation = id, o.pid, o.epoch, group, -1
	commit.Topics = append(commit.Topics, in)
	committed, err := commit.RequestWith(t.Context(), cl)
	if err == nil {
		err = kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *offsetsIn) end(t testing.TB) {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = o.id, o.pid, o.epoch, true
	resp, err := req.RequestWith(t.Context(), o.cl)
	if err = cmp.Or(err, kerr.ErrorForCode(resp.ErrorCode)); err != nil {
		t.Fatal(err)
	}
}

// A group whose offset a transaction may change cannot be told where to begin. When
// one of its sessions is at work that is nothing special; when none is, the
// transaction is one that was forgotten.
func TestGroupHeldBack(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	group, other := topic+"-group", topic+"-other"
	held := func(want ...Held) {
		t.Helper()
		got, err := HeldBack(t.Context(), c, nil, []string{other, group})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("held back: %v, %v, want %v", got, err, want)
		}
	}
	held()
	commitIn(t, c, group+"-a-0", group, topic, 3).end(t)
	held()
	working := commitIn(t, c, group+"-a-0", group, topic, 4)
	held()
	working.end(t)
	commitIn(t, c, "somebody", group, topic, 5)
	held(Held{group, topic, 0, 4})
}

// Records that retention has deleted are passed over, also by who begins before
// them, and whether all are gone or some.
func TestReadersOfATopicThatLostItsBeginning(t *testing.T) {
	for _, first := range []int64{4, 10} {
		t.Run(fmt.Sprint("first is ", first), func(t *testing.T) {
			e, c := embedded(t)
			in, _, _ := setUpCounter(t, c, 1)
			produce(t, c, in, 10, 1)
			// A broker that is not on this machine: nothing comes with the first poll.
			e.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
				e.cluster.KeepControl()
				e.cluster.SleepControl(func() { time.Sleep(2 * tailCheckInterval) })
				return nil, nil, false
			})
			if err := Purge(t.Context(), c, in, map[int32]int64{0: first}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var offsets []int64
			visit := func(m Message) { offsets = append(offsets, m.Offset) }
			check := func(who string, err error) {
				t.Helper()
				if err != nil || int64(len(offsets)) != 10-first {
					t.Errorf("%s saw %v, error %v", who, offsets, err)
				}
				offsets = nil
			}
			check("Read", Read(ctx, c, in, 0, 0, 10, func(m Message) error { visit(m); return nil }))
			caughtUp := false
			check("Follower", Follower{Config: c, Topics: []string{in}, Visit: visit, CaughtUp: func() { caughtUp = true; cancel() }}.Run(ctx))
			if !caughtUp {
				t.Error("the follower does not catch up")
			}
		})
	}
}

// throttled puts off fetches, by their number from 1 on, as a broker does with a client that
// is over its quota.
func throttled(cluster *kfake.Cluster, put func(number int) bool) (asked func() int) {
	var n atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !put(int(n.Add(1))) {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		resp.ThrottleMillis = 1
		return resp, nil, true
	})
	return func() int { return int(n.Load()) }
}

// Who is over a quota is answered without any topic, and asks again.
func TestFetchIsThrottled(t *testing.T) {
	cluster, reader, all := large(t)
	asked := throttled(cluster, func(number int) bool { return number%fetchThrottled != 0 })
	n := 0
	if _, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return nil }); err != nil || n != 8 || asked() != 8*fetchThrottled {
		t.Errorf("a scan has %d records after %d requests, %v, want 8 after %d", n, asked(), err, 8*fetchThrottled)
	}
	if state, err := tail(t.Context(), reader.client, "large", 0, 0, 8); err != nil || state != tailHasData {
		t.Errorf("state %v, %v, want that records are to come", state, err)
	}

	cluster, reader, _ = large(t)
	asked = throttled(cluster, func(int) bool { return true })
	_, err := fetchRaw(t.Context(), reader.client, "large", 0, 3, scanLeast)
	if !errors.Is(err, kerr.ThrottlingQuotaExceeded) || !strings.Contains(err.Error(), "fetch large/0 at 3: put off") || asked() != fetchThrottled {
		t.Errorf("%v after %d requests, want it given up after %d", err, asked(), fetchThrottled)
	}
}

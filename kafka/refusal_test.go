package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// embedded returns an embedded broker that is the test's own, to be tampered with.
func embedded(t testing.TB) (*Embedded, Config) {
	t.Helper()
	e, err := StartEmbedded(EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, Config{ClientID: "test", Brokers: e.Brokers()}
}

// answerFunc answers a request in the broker's place, or leaves it to the broker.
type answerFunc func(kmsg.Request) (resp kmsg.Response, err error, handled bool)

// instead answers the next n requests of a kind in the broker's place, of those
// that answer wants to. It returns how many it has answered.
func (e *Embedded) instead(kind kmsg.Key, n int64, answer answerFunc) *atomic.Int64 {
	var done atomic.Int64
	e.cluster.ControlKey(int16(kind), func(req kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		if done.Load() >= n {
			return nil, nil, false
		}
		resp, err, handled := answer(req)
		if handled {
			done.Add(1)
		}
		return resp, err, handled
	})
	return &done
}

// refusing answers with an error code what a transaction consists of.
func refusing(code *kerr.Error) answerFunc {
	return func(req kmsg.Request) (kmsg.Response, error, bool) {
		switch req := req.(type) {
		case *kmsg.EndTxnRequest:
			if !req.Commit {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = code.Code
			return resp, nil, true
		case *kmsg.TxnOffsetCommitRequest:
			resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
			for _, t := range req.Topics {
				rt := kmsg.NewTxnOffsetCommitResponseTopic()
				rt.Topic = t.Topic
				for _, p := range t.Partitions {
					rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, code.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		case *kmsg.ProduceRequest:
			if req.TransactionID == nil {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			for _, t := range req.Topics {
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					rp := kmsg.NewProduceResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, code.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		}
		return nil, nil, false
	}
}

// lostAnswer closes the connection in place of an answer.
func lostAnswer(kmsg.Request) (kmsg.Response, error, bool) {
	return nil, errors.New("the connection breaks"), true
}

// supervised runs a counter again and again until stop is called, as the
// program's supervisor would.
func supervised(t testing.TB, c Config, in, group, table string) (stop func()) {
	return background(t, func(ctx context.Context) error {
		for {
			err := runCounter(ctx, c, in, group, table, "a", nil)
			if ctx.Err() != nil || IsFatal(err) {
				return err
			}
			t.Log("again after:", strings.TrimSpace(err.Error()))
		}
	})
}

// Whatever a broker answers to a part of a transaction, nothing is lost and
// nothing counted twice.
func TestRefusedTransactions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   kmsg.Key
		times  int64
		answer answerFunc
	}{
		{"offsets while the last transaction ends", kmsg.TxnOffsetCommit, 3, refusing(kerr.ConcurrentTransactions)},
		{"offsets of a generation that is over", kmsg.TxnOffsetCommit, 1, refusing(kerr.IllegalGeneration)},
		{"offsets of an unknown member", kmsg.TxnOffsetCommit, 1, refusing(kerr.UnknownMemberID)},
		{"offsets of a member that has joined again", kmsg.TxnOffsetCommit, 1, refusing(kerr.FencedInstanceID)},
		{"offsets while partitions move", kmsg.TxnOffsetCommit, 2, refusing(kerr.RebalanceInProgress)},
		{"offsets while the coordinator loads", kmsg.TxnOffsetCommit, 2, refusing(kerr.CoordinatorLoadInProgress)},
		{"offsets for no reason", kmsg.TxnOffsetCommit, 1, refusing(kerr.UnknownServerError)},
		{"offsets for a full disk", kmsg.TxnOffsetCommit, 2, refusing(kerr.KafkaStorageError)},
		{"the end for no reason", kmsg.EndTxn, 1, refusing(kerr.UnknownServerError)},
		{"the end of a transaction in another state", kmsg.EndTxn, 1, refusing(kerr.InvalidTxnState)},
		{"the end by a coordinator that moved", kmsg.EndTxn, 2, refusing(kerr.NotCoordinator)},
		{"the end of a transaction that can only be aborted", kmsg.EndTxn, 1, refusing(kerr.TransactionAbortable)},
		{"the end of a transaction that took too long", kmsg.EndTxn, 1, refusing(kerr.ProducerFenced)},
		{"the end, its request lost", kmsg.EndTxn, 1, lostAnswer},
		{"records too large", kmsg.Produce, 1, refusing(kerr.MessageTooLarge)},
		{"records for a full disk", kmsg.Produce, 3, refusing(kerr.KafkaStorageError)},
		{"records of a transaction in another state", kmsg.Produce, 1, refusing(kerr.InvalidTxnState)},
		{"records with too few replicas", kmsg.Produce, 3, refusing(kerr.NotEnoughReplicas)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, c := embedded(t)
			in, group, table := setUpCounter(t, c, 2)
			supervised(t, c, in, group, table)
			truth := produce(t, c, in, 500, 20)
			eventually(t, c, table, truth)
			neverFall := watchOffsets(t, c, group, in)
			refused := e.instead(tt.kind, tt.times, tt.answer)
			for range 3 {
				for k, n := range produce(t, c, in, 300, 20) {
					truth[k] += n
				}
				eventually(t, c, table, truth)
			}
			neverFall()
			if n := refused.Load(); n != tt.times {
				t.Errorf("%d requests were refused, want %d", n, tt.times)
			}
		})
	}
}

// commitAndLie lets the broker do the next commit and answers that it is not known
// whether it did. It returns how often it has, and what became of the commit.
func (e *Embedded) commitAndLie(t testing.TB, c Config) (lied *atomic.Int64, forwarded chan error) {
	other, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	var forwarding atomic.Bool
	forwarded = make(chan error, 1)
	return e.instead(kmsg.EndTxn, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		end := req.(*kmsg.EndTxnRequest)
		if !end.Commit || !forwarding.CompareAndSwap(false, true) {
			return nil, nil, false
		}
		again := *end
		e.cluster.SleepControl(func() {
			resp, err := again.RequestWith(context.Background(), other)
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
			}
			forwarded <- err
		})
		resp := end.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	}), forwarded
}

// The broker commits and its answer says that it does not know: what was counted
// must not be counted again.
func TestCommittedThoughTheAnswerSaysOtherwise(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	supervised(t, c, in, group, table)
	truth := produce(t, c, in, 500, 20)
	eventually(t, c, table, truth)
	lied, forwarded := e.commitAndLie(t, c)
	for k, n := range produce(t, c, in, 500, 20) {
		truth[k] += n
	}
	if err := <-forwarded; err != nil {
		t.Fatal("forward the commit:", err)
	}
	countsOn(t, c, in, table, truth)
	if lied.Load() != 1 {
		t.Error("no commit was answered wrongly")
	}
}

// A member that is removed while it joins again begins with the committed offsets,
// not with those it remembers.
func TestRemovedWhileJoining(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 2)
	supervised(t, c, in, group, table)
	truth := produce(t, c, in, 500, 20)
	eventually(t, c, table, truth)
	removed := e.instead(kmsg.JoinGroup, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		join := req.(*kmsg.JoinGroupRequest)
		if join.MemberID == "" || !strings.HasSuffix(*join.InstanceID, "-a") {
			return nil, nil, false
		}
		resp := join.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	asked := make(chan int32, 100)
	e.cluster.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		for _, g := range req.(*kmsg.OffsetFetchRequest).Groups {
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					if removed.Load() > 0 {
						asked <- p
					}
				}
			}
		}
		return nil, nil, false
	})
	background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "b", nil) })
	// One partition moves; whose offset is asked for is no proof.
	for missing := map[int32]bool{0: true, 1: true}; len(missing) > 0; {
		select {
		case p := <-asked:
			delete(missing, p)
		case <-time.After(20 * time.Second):
			t.Fatalf("the offsets of partitions %v are not asked for", slices.Collect(maps.Keys(missing)))
		}
	}
	for k, n := range produce(t, c, in, 300, 20) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
}

// Partitions are revoked between the beginning and the end of a transaction
// without records. Nothing may join that transaction: it holds offsets of
// partitions that another owns by then.
func TestTransactionLeftOpenIsEnded(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 2)
	flushing, moved := make(chan struct{}), make(chan struct{})
	var once sync.Once
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				task, err := build(ctx, a)
				return flushTask{task, func() {
					once.Do(func() {
						close(flushing)
						<-moved
					})
				}}, err
			}
		})
	})
	<-flushing
	// From here on, what the member a does with its transactions.
	seen := make(chan kmsg.Key, 1000)
	for _, kind := range []kmsg.Key{kmsg.TxnOffsetCommit, kmsg.Produce, kmsg.EndTxn, kmsg.InitProducerID} {
		e.cluster.ControlKey(int16(kind), func(req kmsg.Request) (kmsg.Response, error, bool) {
			e.cluster.KeepControl()
			if id := transactionalID(req); id != nil && strings.HasSuffix(*id, "-a") {
				select {
				case seen <- kmsg.Key(req.Key()):
				default: // nobody looks any more
				}
			}
			return nil, nil, false
		})
	}
	var first sync.Once
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "b", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				first.Do(func() { close(moved) })
				return build(ctx, a)
			}
		})
	})
	var next [2]kmsg.Key
	for i := range next {
		select {
		case next[i] = <-seen:
		case <-time.After(20 * time.Second):
			t.Fatal("no transaction")
		}
	}
	if want := [2]kmsg.Key{kmsg.TxnOffsetCommit, kmsg.InitProducerID}; next != want {
		t.Errorf("requests of kinds %d, want %d", next, want)
	}
	eventually(t, c, table, produce(t, c, in, 500, 20))
}

func transactionalID(req kmsg.Request) *string {
	switch req := req.(type) {
	case *kmsg.TxnOffsetCommitRequest:
		return &req.TransactionalID
	case *kmsg.ProduceRequest:
		return req.TransactionID
	case *kmsg.EndTxnRequest:
		return &req.TransactionalID
	case *kmsg.InitProducerIDRequest:
		return req.TransactionalID
	}
	return nil
}

// flushTask calls before at the beginning of every Flush.
type flushTask struct {
	Task
	before func()
}

func (f flushTask) Flush(atEnd bool) (string, error) {
	f.before()
	return f.Task.Flush(atEnd)
}

// While the outcome of a commit is still to be decided, the broker does not tell
// the offset: that is not the same as that there is none.
func TestOutcomeThatIsStillToBeDecided(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	supervised(t, c, in, group, table)
	truth := produce(t, c, in, 500, 20)
	eventually(t, c, table, truth)
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListTopics(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	lied, forwarded := e.commitAndLie(t, c)
	unstable := e.instead(kmsg.OffsetFetch, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		fetch := req.(*kmsg.OffsetFetchRequest)
		if lied.Load() == 0 || !fetch.RequireStable {
			return nil, nil, false
		}
		t := kmsg.NewOffsetFetchRequestGroupTopic() // it was asked for all topics
		t.Topic, t.TopicID, t.Partitions = in, listed[in].ID, []int32{0}
		fetch.Groups[0].Topics = append(fetch.Groups[0].Topics[:0], t)
		return offsetFetchAnswer(fetch, kerr.UnstableOffsetCommit, 0), nil, true
	})
	for k, n := range produce(t, c, in, 500, 20) {
		truth[k] += n
	}
	if err := <-forwarded; err != nil {
		t.Fatal("forward the commit:", err)
	}
	countsOn(t, c, in, table, truth)
	if unstable.Load() != 1 {
		t.Error("nobody asked for the committed offsets")
	}
}

// A partition whose committed offset is refused is asked for again; the session
// does not go on without it, nor stand still.
func TestRefusedOffsetOfOnePartition(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 2)
	refused := e.instead(kmsg.OffsetFetch, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		fetch := req.(*kmsg.OffsetFetchRequest)
		if !fetch.RequireStable || len(fetch.Groups) == 0 || len(fetch.Groups[0].Topics) == 0 {
			return nil, nil, false
		}
		return offsetFetchAnswer(fetch, kerr.UnknownTopicOrPartition, 0), nil, true
	})
	truth := produce(t, c, in, 100, 5)
	supervised(t, c, in, group, table)
	eventually(t, c, table, truth)
	if refused.Load() != 1 {
		t.Error("no offset was refused")
	}
}

// offsetFetchAnswer refuses one partition and has no offset for the others.
func offsetFetchAnswer(req *kmsg.OffsetFetchRequest, code *kerr.Error, partition int32) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	for _, rg := range req.Groups {
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group = rg.Group
		for _, ft := range rg.Topics {
			rt := kmsg.NewOffsetFetchResponseGroupTopic()
			rt.Topic, rt.TopicID = ft.Topic, ft.TopicID
			for _, p := range ft.Partitions {
				rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
				if rp.Partition, rp.Offset = p, -1; p == partition {
					rp.ErrorCode = code.Code
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			g.Topics = append(g.Topics, rt)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// A heartbeat is refused while a cycle is under way: nobody takes the one that the
// end of the transaction waits for, and the client waits for the cycle before it
// says that the membership is lost. The transaction is aborted all the same, and
// the session needs no new client.
func TestHeartbeatRefusedInsideACycle(t *testing.T) {
	e, c := embedded(t)
	in, group, table := setUpCounter(t, c, 1)
	var inside atomic.Bool
	refused := make(chan struct{})
	n := e.instead(kmsg.Heartbeat, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !inside.Load() {
			return nil, nil, false
		}
		close(refused)
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	var trap atomic.Bool
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				task, err := build(ctx, a)
				return flushTask{task, func() {
					if trap.CompareAndSwap(true, false) {
						inside.Store(true)
						<-refused
					}
				}}, err
			}
		})
	})
	truth := produce(t, c, in, 100, 5)
	eventually(t, c, table, truth)
	trap.Store(true)
	for k, n := range produce(t, c, in, 100, 5) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
	if n.Load() != 1 {
		t.Error("no heartbeat was refused")
	}
}

// countsOn checks that a table is true, and stays so: what is read again is counted within a
// few commits.
func countsOn(t *testing.T, c Config, in, table string, truth map[string]uint64) {
	t.Helper()
	for range 3 {
		eventually(t, c, table, truth)
		for k, n := range produce(t, c, in, 100, 20) {
			truth[k] += n
		}
	}
	eventually(t, c, table, truth)
}

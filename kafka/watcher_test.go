package kafka

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lagStand is a cluster with topics, and a watcher of it. Records have seconds for times.
type lagStand struct {
	*playbackStand
	watcher *Watcher
}

func newLagStand(t *testing.T, partitions int32, topics ...string) *lagStand {
	t.Helper()
	_, c := embedded(t)
	return newLagStandOn(t, c, partitions, topics...)
}

func newLagStandOn(t *testing.T, c Config, partitions int32, topics ...string) *lagStand {
	t.Helper()
	s := &lagStand{playbackStand: newPlaybackStandOn(t, c, partitions, topics...)}
	var err error
	if s.watcher, err = NewWatcher(s.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.watcher.Close)
	return s
}

// reconnect lets go of what clients know of topics for a moment.
func (s *lagStand) reconnect() {
	s.Helper()
	var err error
	if s.client, err = s.cfg.NewClient(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.client.Close)
	s.adm = kadm.NewClient(s.client)
	heads := s.watcher.heads
	if s.watcher, err = NewWatcher(s.cfg); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.watcher.Close)
	s.watcher.heads = heads
}

// commit commits where a group goes on.
func (s *lagStand) commit(group, topic string, partition int32, offset int64, metadata string) {
	s.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	if err := s.adm.CommitAllOffsets(s.Context(), group, offsets); err != nil {
		s.Fatal(err)
	}
}

// lag tells of every partition with how many records a group is behind, and from which
// second on.
func (s *lagStand) lag(readers ...Reader) (string, error) {
	lags, err := s.watcher.Lag(s.Context(), readers)
	var text []string
	for _, l := range lags {
		oldest := "-"
		if !l.Oldest.IsZero() {
			oldest = fmt.Sprint(int(l.Oldest.Sub(s.began).Seconds()))
		}
		text = append(text, fmt.Sprintf("%s/%s%d:%d@%s", l.Group, l.Topic, l.Partition, l.Records, oldest))
	}
	return strings.Join(text, " "), err
}

func (s *lagStand) want(want string, readers ...Reader) {
	s.Helper()
	if got, err := s.lag(readers...); err != nil || got != want {
		s.Errorf("lag is %s (%v), want %s", got, err, want)
	}
}

// transact writes records in a transaction, and returns what ends it.
func (s *lagStand) transact(topic string, seconds ...int) (end func(kgo.TransactionEndTry)) {
	s.Helper()
	tx, err := s.cfg.NewClient(kgo.TransactionalID(fmt.Sprint(time.Now().UnixNano())))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(tx.Close)
	if err := tx.BeginTransaction(); err != nil {
		s.Fatal(err)
	}
	for _, at := range seconds {
		r := &kgo.Record{Topic: topic, Timestamp: s.began.Add(time.Duration(at) * time.Second), Value: []byte("x")}
		if err := tx.ProduceSync(s.Context(), r).FirstErr(); err != nil {
			s.Fatal(err)
		}
	}
	return func(how kgo.TransactionEndTry) {
		s.Helper()
		if err := tx.EndTransaction(s.Context(), how); err != nil {
			s.Fatal(err)
		}
	}
}

func TestLag(t *testing.T) {
	s := newLagStand(t, 2, "a")
	s.write("a", 0, 10, 11, 12, 13) // one batch
	s.write("a", 1, 20)
	reader := Reader{Group: "g", Topics: []string{"a"}}
	s.want("g/a0:4@10 g/a1:1@20", reader) // it has never committed
	s.commit("g", "a", 0, 2, "")
	s.want("g/a0:2@12 g/a1:1@20", reader)
	s.commit("g", "a", 1, 1, "")
	s.want("g/a0:2@12 g/a1:0@-", reader)
	s.commit("g", "a", 0, 99, "") // ahead of what there is
	s.want("g/a0:0@- g/a1:0@-", reader)
	s.commit("g", "a", 0, 1, "")
	s.cut("a", 0, 3) // deleted before it was read
	s.want("g/a0:1@13 g/a1:0@-", reader)
	s.write("a", 1, 30)
	s.want("g/a0:1@13 g/a1:1@30", reader)
}

// A group that has not begun begins where it is told to, and is behind by so much.
func TestLagOfAGroupThatHasNotBegun(t *testing.T) {
	s := newLagStand(t, 1, "a")
	s.write("a", 0, 10, 11)
	s.write("a", 0, 12)
	in := []string{"a"}
	for _, tt := range []struct {
		name  string
		start Start
		want  string
	}{
		{"earliest", Start{}, "g/a0:3@10"},
		{"latest", Start{Latest: true}, "g/a0:0@-"},
		{"a time", Start{Time: s.began.Add(11 * time.Second)}, "g/a0:2@11"},
		{"a time to come", Start{Time: s.began.Add(time.Hour)}, "g/a0:0@-"},
	} {
		t.Run(tt.name, func(t *testing.T) { s.want(tt.want, Reader{Group: "g", Topics: in, Start: tt.start}) })
	}
	if _, err := s.adm.CreatePartitions(t.Context(), 1, "a"); err != nil {
		t.Fatal(err)
	}
	s.reconnect()
	s.write("a", 1, 20)
	s.commit("g", "a", 0, 2, "")
	s.want("g/a0:1@12 g/a1:1@20", Reader{Group: "g", Topics: in, Start: Start{Latest: true}})
}

// Of another's group the topics are known by what it has committed, of no group nothing.
func TestLagOfOtherGroups(t *testing.T) {
	s := newLagStand(t, 2, "a", "b", "c")
	for _, topic := range []string{"a", "b", "c"} {
		s.write(topic, 0, 10)
		s.write(topic, 1, 20, 21)
	}
	s.commit("theirs", "b", 1, 1, "free text")
	s.want("theirs/b0:1@10 theirs/b1:1@21", Reader{Group: "theirs"}, Reader{Group: "nobody"})
	s.commit("theirs", "a", 0, 1, "")
	s.want("theirs/a0:0@- theirs/a1:2@20 theirs/b0:1@10 theirs/b1:1@21", Reader{Group: "theirs"})
}

// A topic that is gone leaves nothing behind; one that is made again is another, whatever
// was committed of the one before.
func TestLagOfATopicThatIsGone(t *testing.T) {
	s := newLagStand(t, 1, "a", "b")
	s.write("a", 0, 10, 11)
	before, err := topicID(t.Context(), s.adm, "a")
	if err != nil {
		t.Fatal(err)
	}
	s.commit("g", "b", 0, 0, "")
	s.want("g/a0:2@10 g/b0:0@-", Reader{Group: "g", Topics: []string{"a", "b"}})
	if _, err := s.adm.DeleteTopics(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.reconnect()
	s.want("g/b0:0@-", Reader{Group: "g", Topics: []string{"a", "b"}})
	if _, err := s.adm.CreateTopic(t.Context(), 1, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	s.reconnect()
	s.write("a", 0, 20, 21)
	s.commit("g", "a", 0, 1, position{1, "", before, true}.commitMetadata())
	s.want("g/a0:2@20 g/b0:0@-", Reader{Group: "g", Topics: []string{"a", "b"}})
}

// What no committed reader is handed is no lag once nothing else is left; before that, and
// while a transaction is open, it is counted.
func TestLagOfTransactions(t *testing.T) {
	s := newLagStand(t, 1, "a")
	reader := Reader{Group: "g", Topics: []string{"a"}}
	s.transact("a", 10, 11)(kgo.TryCommit) // offsets 0 and 1, and a marker
	s.want("g/a0:3@10", reader)
	s.commit("g", "a", 0, 2, "")
	s.want("g/a0:0@-", reader)
	s.transact("a", 12, 13)(kgo.TryAbort) // up to 6
	s.want("g/a0:0@-", reader)
	s.transact("a", 14)(kgo.TryCommit)
	s.want("g/a0:2@14", reader)
	s.commit("g", "a", 0, 7, "")
	s.want("g/a0:0@-", reader)
	end := s.transact("a", 15, 16)
	s.want("g/a0:2@15", reader)
	s.write("a", 0, 17) // behind the open transaction
	s.want("g/a0:3@15", reader)
	end(kgo.TryAbort)
	s.want("g/a0:2@17", reader) // and the marker
}

// Much that was aborted is passed over.
func TestLagBehindWhatWasAborted(t *testing.T) {
	s := newLagStand(t, 1, "a")
	for range 3 {
		s.transact("a", slices.Repeat([]int{10}, 2*fetchesOfLook)...)(kgo.TryAbort)
	}
	s.write("a", 0, 20)
	s.want("g/a0:1@20", Reader{Group: "g", Topics: []string{"a"}})
}

// A group that stands still is looked at once, and two at the same place together.
func TestLagIsCheap(t *testing.T) {
	e, c := embedded(t)
	s := newLagStandOn(t, c, 0)
	if _, err := s.adm.CreateTopic(t.Context(), looksOfARound+20, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	var records []*kgo.Record
	for p := range int32(looksOfARound + 20) {
		records = append(records, &kgo.Record{Topic: "a", Partition: p, Timestamp: s.began, Value: []byte("x")})
	}
	if err := s.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var fetches atomic.Int64
	e.instead(kmsg.Fetch, 1, func(kmsg.Request) (kmsg.Response, error, bool) {
		fetches.Add(1)
		return nil, nil, false
	})
	readers := []Reader{{Group: "g", Topics: []string{"a"}}, {Group: "h", Topics: []string{"a"}}}
	for round, want := range []struct{ fetches, dated int }{
		{looksOfARound, 2 * looksOfARound}, {20, 2 * (looksOfARound + 20)}, {0, 2 * (looksOfARound + 20)},
	} {
		fetches.Store(0)
		lags, err := s.watcher.Lag(t.Context(), readers)
		if err != nil || len(lags) != 2*(looksOfARound+20) {
			t.Fatalf("%d lags, %v", len(lags), err)
		}
		dated := 0
		for _, l := range lags {
			if l.Oldest.Equal(s.began) {
				dated++
			}
			if l.Records != 1 {
				t.Errorf("round %d: %+v, want a record", round, l)
			}
		}
		if int(fetches.Load()) != want.fetches || dated != want.dated {
			t.Errorf("round %d: %d fetches told of %d lags, want %d and %d", round, fetches.Load(), dated, want.fetches, want.dated)
		}
	}
}

// A group that has read everything but markers is looked at once, too, until there is more.
func TestLagBehindMarkersIsCheap(t *testing.T) {
	e, c := embedded(t)
	s := newLagStandOn(t, c, 1, "a")
	reader := Reader{Group: "g", Topics: []string{"a"}}
	s.transact("a", 10, 11)(kgo.TryCommit) // offsets 0 and 1, and a marker
	s.commit("g", "a", 0, 2, "")
	var fetches atomic.Int64
	e.instead(kmsg.Fetch, 1, func(kmsg.Request) (kmsg.Response, error, bool) {
		fetches.Add(1)
		return nil, nil, false
	})
	first := int64(0)
	for round := range 3 {
		s.want("g/a0:0@-", reader)
		if round == 0 {
			first = fetches.Load()
		}
	}
	if got := fetches.Load(); got != first || got == 0 {
		t.Errorf("%d fetches in one round and %d in three, want no more", first, got)
	}
	s.transact("a", 12)(kgo.TryCommit)
	s.want("g/a0:2@12", reader)
}

// A log that has lost its end, by an unclean election, is behind what was remembered of it.
func TestLagOfALogThatLostItsEnd(t *testing.T) {
	s := newLagStand(t, 1, "a")
	reader := Reader{Group: "g", Topics: []string{"a"}}
	s.write("a", 0, 10, 11)
	s.want("g/a0:2@10", reader)
	for at := range s.watcher.heads {
		s.watcher.heads[at] = head{offset: 5, at: s.began, keeps: true, end: 6}
	}
	s.want("g/a0:2@10", reader)
}

// What cannot be told of one group is said, and the others are measured.
func TestLagOfWhatIsRefused(t *testing.T) {
	e, c := embedded(t)
	topic := tableTopic(t, c)
	w, err := NewWatcher(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	e.cluster.ControlKey(int16(kmsg.OffsetFetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		req := kreq.(*kmsg.OffsetFetchRequest)
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, g := range req.Groups {
			answer := kmsg.NewOffsetFetchResponseGroup()
			answer.Group = g.Group
			if g.Group == "secret" {
				answer.ErrorCode = kerr.GroupAuthorizationFailed.Code
			}
			resp.Groups = append(resp.Groups, answer)
		}
		return resp, nil, true
	})
	lags, err := w.Lag(t.Context(), []Reader{{Group: "secret", Topics: []string{topic}}, {Group: "g", Topics: []string{topic}}})
	if len(lags) != 1 || lags[0].Group != "g" || err == nil || !strings.Contains(err.Error(), "offsets of group secret: GROUP_AUTHORIZATION_FAILED") {
		t.Errorf("lag is %+v, error %v; want that of g, and an error of secret", lags, err)
	}
}

func TestCluster(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	c := Config{Brokers: brokers.ListenAddrs()}
	if _, err := EnsureTopics(t.Context(), c, 3, []Topic{{Name: "a", Partitions: 4, Create: true}}); err != nil {
		t.Fatal(err)
	}
	wantCluster(t, c, Cluster{Brokers: 3})
	partition := func(number, leader int32, isr ...int32) kmsg.MetadataResponseTopicPartition {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.Replicas, p.ISR = number, leader, []int32{0, 1, 2}, isr
		return p
	}
	brokers.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: "127.0.0.1", Port: 1}, {NodeID: 1, Host: "127.0.0.1", Port: 2}}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("a")
		topic.Partitions = []kmsg.MetadataResponseTopicPartition{partition(0, 0, 0, 1, 2), partition(1, 1, 0, 1), partition(2, -1, 2), partition(3, 0, 0)}
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	wantCluster(t, c, Cluster{Brokers: 2, UnderReplicated: 3, Offline: 1})
}

func wantCluster(t *testing.T, c Config, want Cluster) {
	t.Helper()
	w, err := NewWatcher(c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if got, err := w.Cluster(t.Context()); err != nil || got != want {
		t.Errorf("cluster is %+v, %v, want %+v", got, err, want)
	}
}

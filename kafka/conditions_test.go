package kafka

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A reader gets every offset once and in order, whatever was polled again.
func TestDeliverNothingOlder(t *testing.T) {
	p := &partitionConsumer{messages: make(chan *sarama.ConsumerMessage, 10), closing: make(chan struct{})}
	p.last.Store(4) // reading begins at 5
	for _, offset := range []int64{3, 4, 5, 6, 5, 6, 8} {
		p.deliver(&sarama.ConsumerMessage{Offset: offset})
	}
	close(p.messages)
	var got []int64
	for m := range p.messages {
		got = append(got, m.Offset)
	}
	if want := []int64{5, 6, 8}; !slices.Equal(got, want) {
		t.Errorf("offsets %v, want %v", got, want)
	}
}

// A group that cannot be joined for now is the client's affair; a partition that
// cannot be read ends the session.
func TestErrorsOfAPoll(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		ends bool
	}{
		{"the group cannot be joined", &kgo.ErrGroupSession{Err: kerr.UnknownMemberID}, false},
		{"the partition cannot be read", kerr.KafkaStorageError, true},
	} {
		g := &generation{}
		n, err := g.hand(kgo.NewErrFetch(tt.err))
		if n > 0 || (err != nil) != tt.ends || tt.ends && !errors.Is(err, tt.err) {
			t.Errorf("%s: %d records, error = %v", tt.name, n, err)
		}
	}
}

// The rows of a partition that went to another are read anew when it comes back:
// the other has written since.
func TestStoresOfLostPartitionsAreDropped(t *testing.T) {
	s := NewSession(SessionConfig{Table: "table"})
	for p := range int32(3) {
		if _, err := s.buildStorage("table", p); err != nil {
			t.Fatal(err)
		}
	}
	kept := s.store(1)
	s.keepStores([]int32{1, 2})
	if got := slices.Sorted(maps.Keys(s.stores)); !slices.Equal(got, []int32{1, 2}) || s.store(1) != kept {
		t.Errorf("stores of partitions %v are kept, want 1 and 2 as they were", got)
	}
}

// An offset is of the topic that it was committed in, not of one that has its name.
func TestCommittedPositionKnowsItsTopic(t *testing.T) {
	one, other := kadm.TopicID{1}, kadm.TopicID{2}
	for _, tt := range []struct {
		name      string
		committed position
		now       kadm.TopicID
		elsewhere bool
	}{
		{"the same topic", position{7, "horizon 3", one, true}, one, false},
		{"made again", position{7, "horizon 3", one, true}, other, true},
		{"without metadata", position{0, "", one, true}, other, true},
		{"by a broker without ids", position{7, "horizon 3", kadm.TopicID{}, true}, one, false},
		{"read from a broker without ids", position{7, "horizon 3", one, true}, kadm.TopicID{}, false},
	} {
		got := committedPosition(tt.committed.offset, tt.committed.commitMetadata())
		if got != tt.committed || got.elsewhere(tt.now) != tt.elsewhere {
			t.Errorf("%s: %+v, elsewhere %v; want %+v, %v", tt.name, got, got.elsewhere(tt.now), tt.committed, tt.elsewhere)
		}
	}
	for _, foreign := range []string{"topic-id=", "topic-id=AAAA x", "topic-id=!", "other"} {
		if got := committedPosition(1, foreign); got.metadata != foreign || got.topic != (kadm.TopicID{}) {
			t.Errorf("%q: %+v, want all of it as metadata", foreign, got)
		}
	}
}

// limitTask is a task of which only its wishes matter.
type limitTask struct {
	Task
	most   int
	paused bool
	full   bool
}

func (l limitTask) MaxRecords() int { return l.most }
func (l limitTask) Paused() bool    { return l.paused }
func (l limitTask) Full() bool      { return l.full }

// The most cautious task with a backlog decides how much a transaction takes.
func TestRecordsOfATransaction(t *testing.T) {
	g := &generation{
		s:     NewSession(SessionConfig{MaxPoll: 1000}),
		tasks: map[int32]Task{0: limitTask{most: 0}, 1: limitTask{most: 64}, 2: limitTask{most: 500}},
		atEnd: map[int32]bool{}, paused: map[int32]bool{},
	}
	for _, step := range []struct {
		atEnd int32
		want  int
	}{{-1, 64}, {1, 500}, {2, 1000}} {
		g.atEnd[step.atEnd] = true
		if got := g.maxRecords(); got != step.want {
			t.Errorf("partition %d read to its end: up to %d records, want %d", step.atEnd, got, step.want)
		}
	}
	if g.mustCommit() {
		t.Error("a commit that no task wants")
	}
	g.tasks[2] = limitTask{paused: true}
	if !g.mustCommit() {
		t.Error("no commit, though a task wants a pause")
	}
	g.paused[2] = true
	if g.mustCommit() {
		t.Error("a commit for the pause of a partition that is not fetched already")
	}
	g.tasks[1] = limitTask{full: true}
	if !g.mustCommit() {
		t.Error("no commit, though a task is full")
	}
}

// A transaction must end long before the broker ends it, and before a rebalance has
// waited for too long.
func TestTimeOfATransaction(t *testing.T) {
	for _, tt := range []struct{ interval, want time.Duration }{
		{100 * time.Millisecond, time.Second},
		{2 * time.Second, 2 * time.Second},
		{9 * time.Second, 2500 * time.Millisecond},
	} {
		g := &generation{s: NewSession(SessionConfig{CommitInterval: tt.interval, SessionTimeout: 10 * time.Second})}
		if got := g.transactionTime(); got != tt.want {
			t.Errorf("commit interval %s: %s, want %s", tt.interval, got, tt.want)
		}
	}
}

// What is behind is known of each partition: a poll that brings only what another
// broker has says nothing of the others.
func TestBehindIsOfEachPartition(t *testing.T) {
	g := handing(t, SessionConfig{Topic: "in"}, func(int32) {})
	for _, step := range []struct {
		partition   int32
		offset, end int64
		behind      int
	}{{0, 0, 10, 1}, {1, 0, 1, 1}, {1, 1, 5, 2}, {0, 9, 10, 1}, {1, 4, 5, 0}} {
		f := kgo.FetchPartition{
			Partition: step.partition, LastStableOffset: step.end,
			Records: []*kgo.Record{{Topic: "in", Partition: step.partition, Offset: step.offset}},
		}
		n, err := g.hand(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "in", Partitions: []kgo.FetchPartition{f}}}}})
		if n != 1 || err != nil || len(g.behind) != step.behind {
			t.Errorf("%+v: %d records, error %v, behind %v", step, n, err, g.behind)
		}
	}
}

// handing returns a generation of two partitions in a transaction, whose messages
// are marked at once, after look.
func handing(t testing.TB, cfg SessionConfig, look func(partition int32)) *generation {
	g := &generation{
		s: NewSession(cfg), inTxn: true, idle: make(chan struct{}, 1), claims: map[int32]*claim{}, polled: map[int32]*[]Record{},
		at: map[int32]position{}, quiet: map[int32]bool{}, atEnd: map[int32]bool{}, behind: map[int32]bool{},
	}
	for p := range int32(2) {
		messages := make(chan *sarama.ConsumerMessage)
		t.Cleanup(func() { close(messages) })
		g.claims[p], g.polled[p] = &claim{messages: messages}, new([]Record)
		go func() {
			for m := range messages {
				look(p)
				g.MarkMessage(m, "")
			}
		}()
	}
	return g
}

// A record keeps the answer to the fetch that brought it in memory, with all other
// records in it. So nothing of a poll is kept once it is processed, though the next
// one brings less.
func TestRecordsAreLetGo(t *testing.T) {
	var g *generation
	g = handing(t, SessionConfig{Topic: "in", Batches: true}, func(p int32) {
		var got string
		for _, r := range *g.polled[p] {
			got += string(r.Value)
		}
		if got != "ab" {
			t.Errorf("the task gets %q, want ab", got)
		}
	})
	records := []*kgo.Record{{Topic: "in", Value: []byte("a")}, {Topic: "in", Offset: 1, Value: []byte("b")}}
	_, err := g.hand(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "in", Partitions: []kgo.FetchPartition{{Records: records}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range (*g.polled[0])[:2] {
		if r.Value != nil {
			t.Errorf("a record with %q is kept", r.Value)
		}
	}
}

// An offset of the topic before does not say what of this one may be deleted.
func TestGroupOffsetsAreOfThisTopic(t *testing.T) {
	c := broker(t)
	topic := tableTopic(t, c)
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	now, err := topicID(t.Context(), adm, topic)
	if err != nil || now == (kadm.TopicID{}) {
		t.Fatal(now, err)
	}
	for _, tt := range []struct {
		in   kadm.TopicID
		want map[int32]Committed
	}{{now, map[int32]Committed{0: {7, "horizon 3"}}}, {kadm.TopicID{1}, map[int32]Committed{}}} {
		group := topic + tt.in.String()
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, At: 7, LeaderEpoch: -1, Metadata: position{7, "horizon 3", tt.in, true}.commitMetadata()})
		if err := adm.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
		got, err := GroupOffsets(t.Context(), c, group, topic)
		if err != nil || !maps.Equal(got, tt.want) {
			t.Errorf("offsets in topic %s, which is %s now: %v, %v, want %v", tt.in, now, got, err, tt.want)
		}
	}
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A record has arrived at its own time, unless those behind it say that this cannot be.
// Times are seconds.
func TestArrival(t *testing.T) {
	ramp := func(from, n int) (all []int64) { // one a second
		for i := range n {
			all = append(all, int64(from+i))
		}
		return all
	}
	times := func(parts ...any) (all []int64) {
		for _, p := range parts {
			switch p := p.(type) {
			case int:
				all = append(all, int64(p))
			case []int64:
				all = append(all, p...)
			}
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		newest int64
		times  []int64
		want   int64
	}{
		{"the first of all", math.MinInt64, times(500, 510, 520), 500},
		{"the first of all, of a clock ahead", math.MinInt64, times(500, ramp(380, 9)), 380},
		{"in order", 100, times(105, 110, 120), 105},
		{"the last", 100, times(105), 105},
		{"held up", 100, times(50, 110, 120), 100},
		{"a little out of order", 100, times(101, 100, 100, 100), 101},
		{"out of order", 100, times(105, 104, 106, 103, 107), 105},
		{"after a gap", 100, ramp(9000, 30), 9000},
		{"after a gap, and one that follows was held up for a while", 100, times(9000, 4000, ramp(9001, 30)), 9000},
		{"after a gap, and what follows was held up", 100, times(9000, ramp(50, 9)), 9000},
		{"a clock ahead", 100, times(9000, 101, 102, 103, 104), 101},
		{"two clocks ahead of five", 100, times(9000, 101, 9000, 102, 103), 101},
		{"a batch of a clock ahead", 100, times(ramp(220, 10), ramp(101, 120)), 101},
		{"one that is larger", 100, times(ramp(400, 200), ramp(101, 300)), 101},
		{"one that is as large as what there is before its time", 100, times(ramp(220, 121), ramp(101, 120)), 220},
		{"a clock that is always ahead", 100, times(220, 101, 102, 222, 103, 104, 224, 105, 106, 226, 107, 108), 101},
		{"what is far behind says nothing", 100, times(9000, 9000, 9000, 9000, 9000, 101, 102, 103), 9000},
	} {
		var records []Record
		for _, at := range tt.times {
			records = append(records, Record{Timestamp: 1000 * at})
		}
		newest := tt.newest
		if newest != math.MinInt64 {
			newest *= 1000
		}
		if got := arrival(newest, records); got != 1000*tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, 1000*tt.want)
		}
	}
}

// playbackStand is topics with records that tell their partition and time.
type playbackStand struct {
	*testing.T
	cfg    Config
	client *kgo.Client
	adm    *kadm.Client
	began  time.Time
}

func newPlaybackStand(t *testing.T, partitions int32, topics ...string) *playbackStand {
	t.Helper()
	_, c := embedded(t)
	return newPlaybackStandOn(t, c, partitions, topics...)
}

func newPlaybackStandOn(t *testing.T, c Config, partitions int32, topics ...string) *playbackStand {
	t.Helper()
	s := &playbackStand{T: t, cfg: c, began: time.Now().Add(-time.Hour).Truncate(time.Second)}
	var err error
	if s.client, err = s.cfg.NewClient(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	s.adm = kadm.NewClient(s.client)
	for _, topic := range topics {
		if _, err := s.adm.CreateTopic(t.Context(), partitions, 1, map[string]*string{"retention.ms": kadm.StringPtr("-1")}, topic); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *playbackStand) write(topic string, partition int32, seconds ...int) {
	s.Helper()
	s.writeLarge(topic, partition, 0, seconds...)
}

// writeLarge is write with a header of so many bytes.
func (s *playbackStand) writeLarge(topic string, partition int32, size int, seconds ...int) {
	s.Helper()
	var records []*kgo.Record
	for _, at := range seconds {
		records = append(records, &kgo.Record{
			Topic: topic, Partition: partition, Timestamp: s.began.Add(time.Duration(at) * time.Second), Value: fmt.Append(nil, at),
			Headers: []kgo.RecordHeader{{Key: "h", Value: make([]byte, size)}},
		})
	}
	if err := s.client.ProduceSync(s.Context(), records...).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

func (s *playbackStand) open(from int, topics ...string) *Playback {
	s.Helper()
	p, err := OpenPlayback(s.Context(), s.cfg, topics, s.began.Add(time.Duration(from)*time.Second))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(p.Close)
	return p
}

// cut deletes what lies before an offset.
func (s *playbackStand) cut(topic string, partition int32, below int64) {
	s.Helper()
	if err := Purge(s.Context(), s.cfg, topic, map[int32]int64{partition: below}); err != nil {
		s.Fatal(err)
	}
}

// until returns what a playback has until a time: topic, partition and time of each.
func (s *playbackStand) until(p *Playback, at int) string {
	s.Helper()
	var got []string
	err := p.Until(s.Context(), s.began.Add(time.Duration(at)*time.Second), func(i int, records []Record) error {
		for _, r := range records {
			got = append(got, fmt.Sprintf("%s%d:%s", p.Partitions()[i].Topic, p.Partitions()[i].Partition, r.Value))
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return strings.Join(got, " ")
}

// No partition is ahead of the others, whatever lies in each.
func TestPlaybackGoesBySteps(t *testing.T) {
	s := newPlaybackStand(t, 2, "a", "b")
	s.write("a", 0, 10, 20, 30, 40)
	s.write("a", 1, 35, 12, 36) // 12 was held up
	s.write("b", 0, 5, 15, 38)
	p := s.open(10, "b", "a", "none")
	if got := p.Missing; !slices.Equal(got, []string{"none"}) {
		t.Errorf("missing %v", got)
	}
	s.write("a", 0, 41) // after it was opened
	for _, step := range []struct {
		at   int
		want string
	}{
		{9, ""}, {10, "a0:10"}, {29, "a0:20 b0:15"}, {35, "a0:30 a1:35 a1:12"}, {35, ""}, {100, "a0:40 a1:36 b0:38"}, {200, ""},
	} {
		if got := s.until(p, step.at); got != step.want {
			t.Errorf("until %d: %s, want %s", step.at, got, step.want)
		}
	}
}

// A log that was cut says so, if what was cut may have been asked for.
func TestPlaybackTellsWhatWasDeleted(t *testing.T) {
	s := newPlaybackStand(t, 4, "a")
	for n := range int32(3) {
		s.write("a", n, 10, 20, 30)
	}
	s.cut("a", 0, 1)
	s.cut("a", 1, 3)
	first := func(at int) int64 { return s.began.Add(time.Duration(at) * time.Second).UnixMilli() }
	for from, want := range map[int][]Played{
		5:  {{Partition: 0, First: first(20), Deleted: true}, {Partition: 1, Deleted: true}, {Partition: 2, First: first(10)}, {Partition: 3}},
		25: {{Partition: 0, First: first(30), Deleted: true}, {Partition: 1, Deleted: true}, {Partition: 2, First: first(30)}, {Partition: 3}},
		35: {{Partition: 0}, {Partition: 1, Deleted: true}, {Partition: 2}, {Partition: 3}},
	} {
		for i := range want {
			want[i].Topic, want[i].Looked, want[i].Kept = "a", true, true
		}
		p := s.open(from, "a")
		s.until(p, 100)
		if got := p.Partitions(); !slices.Equal(got, want) {
			t.Errorf("from %d: %v, want %v", from, got, want)
		}
	}
}

// Whether a topic's settings delete what is asked for.
func TestPlaybackTellsWhatIsKept(t *testing.T) {
	s := newPlaybackStand(t, 1)
	hour := fmt.Sprint(time.Hour.Milliseconds())
	for name, config := range map[string][3]string{
		"forever": {"delete", "-1", "-1"}, "hour": {"delete", hour, "-1"}, "size": {"delete", "-1", "1000000000"}, "compact": {"compact,delete", "-1", "-1"},
	} {
		_, err := s.adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &config[0], "retention.ms": &config[1], "retention.bytes": &config[2]}, name)
		if err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[time.Duration]string{-30 * time.Minute: "[forever hour]", -61 * time.Minute: "[forever]"} {
		p, err := OpenPlayback(t.Context(), s.cfg, []string{"forever", "hour", "size", "compact"}, time.Now().Add(from))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var kept []string
		for _, one := range p.Partitions() {
			if one.Kept {
				kept = append(kept, one.Topic)
			}
		}
		if got := fmt.Sprint(kept); got != want {
			t.Errorf("from %s: %s, want %s", from, got, want)
		}
	}
}

// What is deleted while a playback lags behind is told, once time has come to it, and so
// is an end that is deleted. A record takes 10 kB, so that few are read ahead.
func TestPlaybackTellsWhatWasCut(t *testing.T) {
	const n, size = 3000, 10_000
	seconds := make([]int, n)
	for i := range seconds {
		seconds[i] = i
	}
	for _, tt := range []struct {
		name  string
		below int64
		// The first that is read after the cut; 0: none.
		next int
	}{
		{"some", 2500, 2500}, {"the end", n, 0},
	} {
		s := newPlaybackStand(t, 1, "a")
		s.writeLarge("a", 0, size, seconds...)
		p := s.open(0, "a")
		s.until(p, 100)
		s.cut("a", 0, tt.below)
		last := 100
		for at := 101; at <= n && p.Partitions()[0].Cut.Offsets == 0; at++ {
			if s.until(p, at) != "" && at < int(tt.below) {
				last = at
			}
		}
		at := func(second int) int64 { return s.began.Add(time.Duration(second) * time.Second).UnixMilli() }
		want := Cut{Offsets: tt.below - int64(last) - 1, After: at(last)}
		if tt.next > 0 {
			want.Before = at(tt.next)
		}
		if got := p.Partitions()[0].Cut; got != want || last > n/2 {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// Holes that transactions leave are no cuts.
func TestPlaybackOfAbortedTransactions(t *testing.T) {
	s := newPlaybackStand(t, 1, "a")
	tx, err := s.cfg.NewClient(kgo.TransactionalID("tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	s.write("a", 0, 1, 2, 3)
	for range 3 {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: "a", Timestamp: s.began, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	}
	s.write("a", 0, 4)
	s.cut("a", 0, 2)
	p := s.open(3, "a")
	if got := s.until(p, 10); got != "a0:3 a0:4" || p.Partitions()[0].Cut != (Cut{}) {
		t.Errorf("%s, %+v", got, p.Partitions()[0])
	}
}

// An open transaction is not waited for, and what was aborted is not read.
func TestPlaybackReadsWhatIsCommitted(t *testing.T) {
	s := newPlaybackStand(t, 1, "a")
	s.write("a", 0, 10)
	tx, err := s.cfg.NewClient(kgo.TransactionalID("tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	send := func(at int) {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: "a", Timestamp: s.began.Add(time.Duration(at) * time.Second), Value: fmt.Append(nil, at)}
		if err := tx.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(11)
	if err := tx.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	s.write("a", 0, 12)
	send(13)
	s.write("a", 0, 14) // behind the open transaction
	p := s.open(0, "a")
	if got := s.until(p, 100); got != "a0:10 a0:12" || !p.Partitions()[0].Open {
		t.Errorf("read %s, %+v", got, p.Partitions()[0])
	}
	if err := tx.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

// However much a partition holds, what is read ahead is bounded, and all of it comes.
func TestPlaybackOfManyRecords(t *testing.T) {
	s := newPlaybackStand(t, 2, "a")
	const n = 12 * chunkRecords
	seconds := make([]int, n)
	for i := range seconds {
		seconds[i] = i / 10
	}
	seconds[chunkRecords-1] = n // a clock ahead; what tells so is in the next chunk, at 100
	s.write("a", 0, seconds...)
	s.write("a", 1, n) // far behind
	p := s.open(0, "a")
	read, most := 0, 0
	for at := range n + 1 {
		err := p.Until(t.Context(), s.began.Add(time.Duration(at)*time.Second), func(_ int, records []Record) error {
			read += len(records)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := min(10*(at+1), n) + max(0, at-n+1)
		if at == 99 {
			want--
		}
		if read != want {
			t.Fatalf("%d records at %d, want %d", read, at, want)
		}
		most = max(most, len(p.partitions[0].waiting)+len(p.partitions[1].waiting))
	}
	if most > 2*chunkRecords+1 {
		t.Errorf("%d records wait at once", most)
	}
}

// However many partitions there are, together they fetch no more than one may.
func TestPlaybackSharesWhatIsFetched(t *testing.T) {
	const partitions = 32
	e, c := embedded(t)
	s := &playbackStand{T: t, cfg: c, began: time.Now().Add(-time.Hour)}
	var err error
	if s.client, err = c.NewClient(); err != nil {
		t.Fatal(err)
	}
	defer s.client.Close()
	if _, err := kadm.NewClient(s.client).CreateTopic(t.Context(), partitions, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	for n := range int32(partitions) {
		s.write("a", n, 10)
	}
	var asked atomic.Int32
	e.instead(kmsg.Fetch, 1000, func(req kmsg.Request) (kmsg.Response, error, bool) {
		fetch := req.(*kmsg.FetchRequest)
		if fetch.MaxWaitMillis == 0 { // a look at the tail, where nothing has come for a while
			return nil, nil, false
		}
		for _, topic := range fetch.Topics {
			for _, p := range topic.Partitions {
				asked.Store(max(asked.Load(), p.PartitionMaxBytes))
			}
		}
		return nil, nil, false
	})
	s.until(s.open(0, "a"), 100)
	if got := asked.Load(); got == 0 || got > 4<<20/partitions {
		t.Errorf("%d bytes of a partition are asked for, want up to %d", got, 4<<20/partitions)
	}
}

// Batches of a clock that is ahead come with the records about them, wherever they lie in
// what was read together.
func TestPlaybackOfAClockAhead(t *testing.T) {
	s := newPlaybackStand(t, 1, "a")
	const n = 3 * chunkRecords
	var seconds, came []int
	for at := range n {
		if at%89 == 0 { // one ends with the first chunk
			for range 10 {
				seconds, came = append(seconds, at+120), append(came, at)
			}
		}
		seconds, came = append(seconds, at), append(came, at)
	}
	s.write("a", 0, seconds...)
	p := s.open(0, "a")
	read := 0
	for at := range n - 120 {
		read += len(strings.Fields(s.until(p, at)))
		if want := len(came) - len(came[sort.SearchInts(came, at+1):]); read != want {
			t.Fatalf("%d records at %d, want %d", read, at, want)
		}
	}
	if got := p.Partitions()[0].First; got != s.began.UnixMilli() {
		t.Errorf("begins at %d, want %d", got, s.began.UnixMilli())
	}
}

// What tells when a record came may lie in a chunk that was not taken yet.
func TestPlaybackLooksAhead(t *testing.T) {
	s := newPlaybackStand(t, 1, "a")
	var seconds []int
	for at := range 2*chunkRecords - 2 {
		seconds = append(seconds, at)
	}
	seconds = append(seconds, 9000, 4000) // that was held up
	for at := range 100 {
		seconds = append(seconds, 9001+at)
	}
	s.write("a", 0, seconds...)
	p := s.open(0, "a")
	if got := len(strings.Fields(s.until(p, 5000))); got != 2*chunkRecords-2 {
		t.Errorf("%d records until the gap", got)
	}
}

func TestPlaybackEnds(t *testing.T) {
	s := newPlaybackStand(t, 1, "a")
	seconds := make([]int, 10*chunkRecords)
	s.write("a", 0, seconds...)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := OpenPlayback(ctx, s.cfg, []string{"a"}, s.began)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() // returns, though much is not read
	enough := errors.New("enough")
	if err := p.Until(ctx, time.Now(), func(int, []Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v, want that of take", err)
	}
	err = p.Until(ctx, time.Now(), func(int, []Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// Who may not read a topic is told so, and what to do.
func TestPlaybackThatIsNotAllowed(t *testing.T) {
	e, c := embedded(t)
	host, port, _ := strings.Cut(e.Brokers()[0], ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	e.instead(kmsg.Metadata, 100, func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = []kmsg.MetadataResponseBroker{{Host: host, Port: int32(number)}}
		for _, asked := range req.(*kmsg.MetadataRequest).Topics {
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.ErrorCode = asked.Topic, kerr.TopicAuthorizationFailed.Code
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	_, err = OpenPlayback(t.Context(), c, []string{"a", "b"}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "topic b: not authorised: grant Describe and Read") {
		t.Errorf("error %v", err)
	}
}

// What cannot be read is no end.
func TestPlaybackThatFails(t *testing.T) {
	e, c := embedded(t)
	s := &playbackStand{T: t, cfg: c, began: time.Now().Add(-time.Hour)}
	var err error
	if s.client, err = c.NewClient(); err != nil {
		t.Fatal(err)
	}
	defer s.client.Close()
	if _, err := kadm.NewClient(s.client).CreateTopic(t.Context(), 1, 1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	s.write("a", 0, 10, 20)
	e.instead(kmsg.Fetch, 1000, func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range req.(*kmsg.FetchRequest).Topics {
			out := kmsg.NewFetchResponseTopic()
			out.Topic, out.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				one := kmsg.NewFetchResponseTopicPartition()
				one.Partition, one.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				out.Partitions = append(out.Partitions, one)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil, true
	})
	err = s.open(0, "a").Until(t.Context(), time.Now(), func(int, []Record) error { return nil })
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "read a/0") || !strings.Contains(err.Error(), "grant Read on topic a") {
		t.Errorf("error %v", err)
	}
}

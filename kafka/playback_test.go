package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A record has arrived at its own time, unless those behind it say that this cannot be.
func TestArrival(t *testing.T) {
	for _, tt := range []struct {
		name   string
		newest int64
		times  []int64
		want   int64
	}{
		{"the first of all", math.MinInt64, []int64{500, 510, 520}, 500},
		{"in order", 100, []int64{105, 110, 120}, 105},
		{"the last", 100, []int64{105}, 105},
		{"held up", 100, []int64{50, 110, 120}, 100},
		{"a little out of order", 100, []int64{105, 104, 106, 103, 107}, 105},
		{"after a gap", 100, []int64{9000, 9001, 9002}, 9000},
		{"after a gap, and what follows was held up", 100, []int64{9000, 50, 51, 52, 53, 54, 55}, 9000},
		{"a clock ahead", 100, []int64{9000, 101, 102, 103, 104}, 103},
		{"two clocks ahead of five", 100, []int64{9000, 101, 9000, 102, 103}, 103},
		{"what is far behind says nothing", 100, []int64{9000, 9000, 9000, 9000, 9000, 101, 102, 103, 104, 105, 106}, 9000},
	} {
		var records []Record
		for _, at := range tt.times {
			records = append(records, Record{Timestamp: at})
		}
		if got := arrival(tt.newest, records); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
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
	var records []*kgo.Record
	for _, at := range seconds {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Timestamp: s.began.Add(time.Duration(at) * time.Second), Value: fmt.Append(nil, at)})
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
	cut := kadm.Offsets{}
	cut.AddOffset("a", 0, 1, -1)
	cut.AddOffset("a", 1, 3, -1)
	if resp, err := s.adm.DeleteRecords(t.Context(), cut); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	first := func(at int) int64 { return s.began.Add(time.Duration(at) * time.Second).UnixMilli() }
	for from, want := range map[int][]Played{
		5:  {{"a", 0, true, first(20)}, {"a", 1, true, 0}, {"a", 2, false, first(10)}, {"a", 3, false, 0}},
		25: {{"a", 0, false, first(30)}, {"a", 1, true, 0}, {"a", 2, false, first(30)}, {"a", 3, false, 0}},
	} {
		p := s.open(from, "a")
		s.until(p, 100)
		if got := p.Partitions(); !slices.Equal(got, want) {
			t.Errorf("from %d: %v, want %v", from, got, want)
		}
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
	if got := s.until(s.open(0, "a"), 100); got != "a0:10 a0:12" {
		t.Errorf("read %s", got)
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
	if most > chunkRecords+2*lookahead+2 {
		t.Errorf("%d records wait at once", most)
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
	if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "read a/0") {
		t.Errorf("error %v", err)
	}
}

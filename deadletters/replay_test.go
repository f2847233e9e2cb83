package deadletters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/window"

	"github.com/google/go-cmp/cmp"
)

// shelf is a Log in memory, and takes what is sent.
type shelf struct {
	partitions map[string]map[int32][]Record // by topic, in order of offsets
	sent       []Record
	refuse     func(r Record) (err error, stop bool)
	largest    int // records sent at once
}

func newShelf() *shelf { return &shelf{partitions: map[string]map[int32][]Record{}} }

func (s *shelf) put(r Record) Record {
	if s.partitions[r.Topic] == nil {
		s.partitions[r.Topic] = map[int32][]Record{}
	}
	s.partitions[r.Topic][r.Partition] = append(s.partitions[r.Topic][r.Partition], r)
	return r
}

// letter puts a record on a side topic and returns it.
func (s *shelf) letter(offset int64, value string, from Place, reason string, more ...Header) Record {
	return s.put(Record{
		Topic: "analytics-dlq", Partition: from.Partition % 2, Offset: offset, Timestamp: 1000 * offset, Key: []byte("k"), Value: []byte(value),
		Headers: append([]Header{header("producer", "x")}, pointer(from, 5, append([]Header{header(HeaderReason, reason)}, more...)...)...),
	})
}

// Spans implements Log. A side topic is written in transactions: behind the last letter is
// the marker of its commit.
func (s *shelf) Spans(_ context.Context, topic string, since time.Time) (Spans, error) {
	spans := Spans{}
	for p, records := range s.partitions[topic] {
		at := slices.IndexFunc(records, func(r Record) bool { return !time.UnixMilli(r.Timestamp).Before(since) })
		end := records[len(records)-1].Offset + 2
		spans[p] = Span{end, end}
		if at >= 0 {
			spans[p] = Span{records[at].Offset, end}
		}
	}
	return spans, nil
}

func (s *shelf) Read(ctx context.Context, topic string, partition int32, span Span, visit func(Record) error) error {
	for i := 0; i < len(s.partitions[topic][partition]); i++ { // more may come meanwhile
		if r := s.partitions[topic][partition][i]; r.Offset >= span.From && r.Offset < span.To {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *shelf) At(_ context.Context, p Place) (Record, string, error) {
	for _, r := range s.partitions[p.Topic][p.Partition] {
		if r.Offset == p.Offset {
			return r, "", nil
		}
	}
	return Record{}, "it was deleted", nil
}

func (s *shelf) send(_ context.Context, records []Record) (each []error, stop error) {
	s.largest = max(s.largest, len(records))
	for _, r := range records {
		var err error
		if s.refuse != nil {
			var stops bool
			if err, stops = s.refuse(r); stops && stop == nil {
				stop = err
			}
		}
		if each = append(each, err); err == nil {
			s.sent = append(s.sent, r)
		}
	}
	return each, stop
}

// now is the time of the tests.
var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// box judges with panes of 10 s and a grace of 1 min; partition 2 of rag-traces has come
// to two hours before now, and all panes up to three hours before are closed.
func (s *shelf) box() *Box {
	return &Box{
		Log: s, Send: s.send, Now: func() time.Time { return now },
		Judge: func(context.Context) (*Judge, error) { return testJudge(), nil },
	}
}

func testJudge() *Judge {
	return &Judge{
		Partitions: map[string]int32{"rag-traces": 4, "made-anew": 0}, MaxBytes: 1000, MaxFuture: 5 * time.Minute,
		Panes: window.Panes{Size: 10_000, Grace: 60_000}, Now: func() time.Time { return now },
		StreamTime: func(_ string, partition int32) int64 {
			if partition == 2 {
				return now.Add(-2 * time.Hour).UnixMilli()
			}
			return window.None
		},
		Closed: func(route []byte) int64 {
			if string(route) == "open" {
				return window.None
			}
			return now.Add(-3 * time.Hour).UnixMilli()
		},
	}
}

// event writes an event of so long before now.
func eventAt(id string, ago time.Duration) string {
	return fmt.Sprintf(`{"event_type":"x","event_id":%q,"timestamp":%q}`, id, now.Add(-ago).Format(time.RFC3339Nano))
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		partition   int32
		want        Verdict
		why         string
		hasID       bool
	}{
		{"now", eventAt("a", 0), 0, Send, "", true},
		{"without an id", `{"event_type":"x","timestamp":"2026-11-28T12:00:00Z"}`, 0, Send, "", false},
		{"syntax", `{`, 0, StillPoison, "syntax: ", false},
		{"too large", eventAt(strings.Repeat("a", 1000), 0), 0, StillPoison, "too_large: ", false},
		{"as far ahead as may be", eventAt("a", -5*time.Minute), 0, Send, "", true},
		{"ahead", eventAt("a", -5*time.Minute-time.Millisecond), 0, StillPoison, "future: ", true},
		{"in grace of its partition", eventAt("a", 2*time.Hour+time.Minute+time.Millisecond), 2, StillLate, "its partition has reached 2026-11-28T10:00:00.000Z", true},
		{"at the end of it", eventAt("a", 2*time.Hour+time.Minute), 2, Send, "", true},
		{"another partition", eventAt("a", 2*time.Hour+time.Minute+time.Millisecond), 1, Send, "", true},
		{"the newest closed pane", eventAt("a", 3*time.Hour-9999*time.Millisecond), 1, StillLate, "is closed, as all are that begin up to 2026-11-28T09:00:00.000Z", true},
		{"the pane behind", eventAt("a", 3*time.Hour-10*time.Second), 1, Send, "", true},
		{"where its key goes, nothing is closed", eventAt("open", 9*time.Hour), 1, Send, "", true},
		{"without a time it has its record's", `{"event_type":"x"}`, 1, StillLate, "1970-01-01T00:00:05.000Z", false},
		{"no partition at all", eventAt("a", 0), -1, Nowhere, "none that is number -1", false},
		{"a partition that is none", eventAt("a", 0), 4, Nowhere, "rag-traces has 4 partitions", false},
	} {
		v, why, hasID := testJudge().Judge(&Record{Topic: "rag-traces", Partition: tt.partition, Timestamp: 5000, Value: []byte(tt.value)})
		if v != tt.want || !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") || hasID != tt.hasID {
			t.Errorf("%s: %s, %q, id %t; want %s, %q, id %t", tt.name, v, why, hasID, tt.want, tt.why, tt.hasID)
		}
	}
	for topic, want := range map[string]string{"elsewhere": "none of the source topics", "made-anew": "has 0 partitions"} {
		if v, why, _ := testJudge().Judge(&Record{Topic: topic, Value: []byte(eventAt("a", 0))}); v != Nowhere || !strings.Contains(why, want) {
			t.Errorf("%s: %s, %q", topic, v, why)
		}
	}
}

// replayed runs a replay and returns its result and what it told.
func replayed(t *testing.T, b *Box, w Wish) (*Result, []Outcome) {
	t.Helper()
	var told []Outcome
	w.Topic, w.By = "analytics-dlq", "ana"
	r, err := b.Replay(t.Context(), w, func(o Outcome) { told = append(told, o) })
	if err != nil {
		t.Fatal(err)
	}
	return r, told
}

// What is sent is the original, marked, to its partition, with its timestamp.
func TestReplaySendsTheOriginal(t *testing.T) {
	s := newShelf()
	before := mark
	before.Mended = false
	letter := s.put(Record{
		Topic: "analytics-dlq", Partition: 1, Offset: 4, Key: nil, Value: []byte(eventAt("a", 0)),
		Headers: slices.Concat([]Header{header("producer", "x")}, before.Headers(), pointer(Place{Topic: "rag-traces", Partition: 3, Offset: 8}, 77, header(HeaderReason, "future"))),
	})
	r, told := replayed(t, s.box(), Wish{ID: "R2"})
	want := Mark{Replay: "R2", By: "ana", At: now, Of: letter.Place(), Reason: "future", Before: 4}
	if d := cmp.Diff([]Record{{
		Topic: "rag-traces", Partition: 3, Offset: 8, Timestamp: 77, Value: letter.Value,
		Headers: append([]Header{header("producer", "x")}, want.Headers()...),
	}}, s.sent); d != "" {
		t.Error(d)
	}
	if r.ID != "R2" || r.Matched != 1 || r.Sent != 1 || r.SentTo["rag-traces"] != 1 || r.WithoutID != 0 || !r.Left.Empty() {
		t.Errorf("%+v", r)
	}
	if len(told) != 1 || told[0].Before != 4 || told[0].Letter != letter.Place() || told[0].Source != (Place{Topic: "rag-traces", Partition: 3, Offset: 8}) {
		t.Errorf("%+v", told)
	}
	// One that was mended stays mended, whoever replays it next.
	s = newShelf()
	s.put(Record{Topic: "analytics-dlq", Value: letter.Value, Headers: append(mark.Headers(), pointer(origin, 5)...)})
	replayed(t, s.box(), Wish{})
	if _, m := CutMark(s.sent[0].Headers); !m.Mended {
		t.Errorf("mark %+v", m)
	}
}

// What will surely come back stays, unless it is forced; what cannot be sent is a failure.
func TestReplayVerdicts(t *testing.T) {
	s := newShelf()
	good := eventAt("a", 0)
	s.letter(1, good, Place{Topic: "rag-traces", Partition: 0, Offset: 1}, "too_large")
	s.letter(2, "{", Place{Topic: "rag-traces", Partition: 0, Offset: 2}, "syntax")
	s.letter(3, eventAt("b", 9*time.Hour), Place{Topic: "rag-traces", Partition: 0, Offset: 3}, "stream_time")
	s.letter(4, `{"event_type":"x","timestamp":"2026-11-28T12:00:00Z"}`, Place{Topic: "rag-traces", Partition: 0, Offset: 4}, "syntax")
	s.letter(5, good, Place{Topic: "elsewhere", Partition: 0, Offset: 5}, "syntax")
	s.put(Record{Topic: "analytics-dlq", Offset: 6, Value: []byte(good)})
	s.letter(7, good[:9], Place{Topic: "rag-traces", Partition: 0, Offset: 7}, "too_large", header(HeaderCut, strconv.Itoa(len(good))))
	verdicts := func(told []Outcome) (list []Verdict) {
		for _, o := range told {
			list = append(list, o.Verdict)
		}
		return list
	}
	all := []Verdict{Send, StillPoison, StillLate, Send, Nowhere, NotOurs, OriginGone}
	for _, dry := range []bool{true, false} {
		r, told := replayed(t, s.box(), Wish{DryRun: dry})
		if d := cmp.Diff(all, verdicts(told)); d != "" {
			t.Error(d)
		}
		if r.Matched != 7 || r.Sent != 2 || r.WithoutID != 1 || r.Failures() != 3 || !r.Left.Empty() ||
			!maps.Equal(r.Skipped, map[Verdict]int{StillPoison: 1, StillLate: 1}) ||
			!maps.Equal(r.Failed, map[Verdict]int{Nowhere: 1, NotOurs: 1, OriginGone: 1}) {
			t.Errorf("dry %t: %+v", dry, r)
		}
		if want := map[bool]int{true: 0, false: 2}[dry]; len(s.sent) != want {
			t.Errorf("dry %t: %d records were sent, want %d", dry, len(s.sent), want)
		}
	}
	_, told := replayed(t, s.box(), Wish{})
	for _, want := range []string{"analytics-dlq/0@7", "rag-traces/0@7", "it was deleted", "give a whole value"} {
		if !strings.Contains(told[6].Why, want) {
			t.Errorf("%q does not tell %q", told[6].Why, want)
		}
	}
	s.sent = nil
	r, told := replayed(t, s.box(), Wish{Force: true})
	if r.Sent != 4 || len(s.sent) != 4 || r.WithoutID != 1 || len(r.Skipped) != 0 || r.Failures() != 3 {
		t.Errorf("forced: %+v", r)
	}
	if !told[1].Forced || told[0].Forced || !strings.Contains(told[1].Why, "still_poison: syntax") {
		t.Errorf("forced: %+v", told[:2])
	}
}

// What was cut, or of which only a note was kept, is read where it came from, and must be
// what it was.
func TestReplayReadsTheSource(t *testing.T) {
	good := eventAt("a", 2*time.Minute)
	at := now.Add(-2 * time.Minute).UnixMilli()
	source := Record{Topic: "rag-traces", Partition: 0, Offset: 7, Timestamp: 5, Key: []byte("long key"), Value: []byte(good), Headers: []Header{header("many", "headers")}}
	cut := func(key, value string, more ...Header) Record {
		return Record{Topic: "analytics-dlq", Key: []byte(key), Value: []byte(value), Headers: pointer(source.Place(), 5, append([]Header{header(HeaderReason, "too_large")}, more...)...)}
	}
	length := strconv.Itoa(len(good))
	note := Record{Topic: "analytics-dlq", Value: []byte("{}"), Headers: pointer(source.Place(), at, header(HeaderReason, ReasonWatermark), header(HeaderLateness, "3"))}
	other := func(change func(r *Record)) *Record {
		r := source
		change(&r)
		return &r
	}
	for _, tt := range []struct {
		name   string
		letter Record
		source *Record
		want   Verdict
	}{
		{"value", cut("long key", good[:7], header(HeaderCut, length)), &source, Send},
		{"headers", cut("long key", good, header(HeaderLeftOut, "1")), &source, Send},
		{"key", cut("long", good, header(HeaderKeyCut, "8")), &source, Send},
		{"note", note, &source, Send},
		{"gone", cut("long key", good[:7], header(HeaderCut, length)), nil, OriginGone},
		{"another value", cut("long key", "other", header(HeaderCut, length)), &source, OriginGone},
		{"another length", cut("long key", good[:7], header(HeaderCut, "9")), &source, OriginGone},
		{"another key", cut("other", good[:7], header(HeaderCut, length)), &source, OriginGone},
		{"another time", cut("long key", good[:7], header(HeaderCut, length)), other(func(r *Record) { r.Timestamp = 6 }), OriginGone},
		{"another event", note, other(func(r *Record) { r.Value = []byte(eventAt("a", 3*time.Minute)) }), OriginGone},
		{"no event", note, other(func(r *Record) { r.Value = []byte("{") }), OriginGone},
	} {
		s := newShelf()
		s.put(tt.letter)
		if tt.source != nil {
			s.put(*tt.source)
		}
		_, told := replayed(t, s.box(), Wish{})
		if told[0].Verdict != tt.want {
			t.Errorf("%s: %s, %s", tt.name, told[0].Verdict, told[0].Why)
			continue
		}
		if tt.want == Send {
			theirs, m := CutMark(s.sent[0].Headers)
			if m == nil || !cmp.Equal(theirs, source.Headers) || string(s.sent[0].Key) != "long key" || string(s.sent[0].Value) != good || s.sent[0].Timestamp != 5 {
				t.Errorf("%s: sent %+v", tt.name, s.sent[0])
			}
		}
	}
}

func TestReplayOfAMendedValue(t *testing.T) {
	s := newShelf()
	broken := s.letter(1, "{", Place{Topic: "rag-traces", Partition: 0, Offset: 1}, "syntax")
	s.letter(3, "{}"[:1], Place{Topic: "rag-traces", Partition: 0, Offset: 3}, "too_large", header(HeaderCut, "2"))                           // its source is gone, and not needed
	s.letter(5, "{}", Place{Topic: "rag-traces", Partition: 0, Offset: 5}, "too_large", header(HeaderCut, "900"), header(HeaderLeftOut, "2")) // and needed
	for _, tt := range []struct {
		offset int64
		value  string
		want   Verdict
	}{{1, eventAt("a", 0), Send}, {1, "{", StillPoison}, {3, eventAt("a", 0), Send}, {5, eventAt("a", 0), OriginGone}} {
		s.sent = nil
		r, told := replayed(t, s.box(), Wish{Filter: Filter{At: &At{0, tt.offset}}, Value: []byte(tt.value), Mended: true})
		if r.Matched != 1 || told[0].Verdict != tt.want {
			t.Errorf("%d: %+v", tt.offset, told)
			continue
		}
		if tt.want == OriginGone && !strings.Contains(told[0].Why, "what was cut of it is lost") {
			t.Errorf("%d: %q", tt.offset, told[0].Why)
		}
		if tt.want == Send {
			_, m := CutMark(s.sent[0].Headers)
			if string(s.sent[0].Value) != tt.value || string(s.sent[0].Key) != "k" || !m.Mended {
				t.Errorf("%d: sent %+v, marked %+v", tt.offset, s.sent[0], m)
			}
		}
	}
	if _, err := s.box().Replay(t.Context(), Wish{Topic: broken.Topic, By: "ana", Filter: Filter{At: &At{0, 2}}}, nil); !errors.Is(err, ErrNone) {
		t.Errorf("no letter there: %v", err)
	}
}

// A replay goes through the partitions in order and in batches; with a limit it ends early,
// and its cursor goes on behind it. What comes while it runs is not its.
func TestReplayInParts(t *testing.T) {
	s := newShelf()
	for i := range int64(1200) {
		s.letter(2*i, eventAt(fmt.Sprint(i), 0), Place{Topic: "rag-traces", Partition: int32(i % 2), Offset: i}, "syntax")
	}
	b := s.box()
	send := b.Send
	b.Send = func(ctx context.Context, records []Record) ([]error, error) { // it comes back at once
		for _, r := range records {
			s.letter(3000+int64(len(s.sent)), "{", Place{Topic: "rag-traces", Partition: r.Partition, Offset: 0}, "syntax")
		}
		return send(ctx, records)
	}
	r, told := replayed(t, b, Wish{})
	if r.Sent != 1200 || len(told) != 1200 || s.largest != maxBatchRecords || !r.Left.Empty() {
		t.Errorf("%d sent, %d told, up to %d at once, left %s", r.Sent, len(told), s.largest, r.Left)
	}
	if !slices.IsSortedFunc(told, func(a, b Outcome) int {
		return int(a.Letter.Partition-b.Letter.Partition)*10_000 + int(a.Letter.Offset-b.Letter.Offset)
	}) {
		t.Error("they were not sent in order")
	}

	s = newShelf()
	for i := range int64(10) {
		s.letter(2*i, eventAt(fmt.Sprint(i), 0), Place{Topic: "rag-traces", Partition: int32(i % 2), Offset: i}, []string{"syntax", "empty"}[i/2%2])
	}
	// Partition 0 has offsets 0, 4, 8, 12, 16; those of 4 and 12 are of the other reason.
	var left Spans
	for _, want := range []string{"0:9-18,1:2-20", "1:3-20", ""} {
		r, _ := replayed(t, s.box(), Wish{Filter: Filter{Reason: "syntax"}, Limit: 2, Left: left})
		if left = r.Left; left.String() != want {
			t.Errorf("left %q, want %q", left, want)
		}
	}
	if len(s.sent) != 6 {
		t.Errorf("%d were sent, want 6", len(s.sent))
	}
}

// One record that Kafka does not take fails alone. When Kafka itself is away the replay
// ends, and what is left begins with the first that was not sent.
func TestReplayThatFails(t *testing.T) {
	s := newShelf()
	for i := range int64(5) {
		s.letter(10+i, eventAt(fmt.Sprint(i), 0), Place{Topic: "rag-traces", Partition: 0, Offset: i}, "syntax")
	}
	stops := false
	s.refuse = func(r Record) (error, bool) {
		if bytes.Contains(r.Value, []byte(`"2"`)) {
			return errors.New("no"), stops
		}
		return nil, false
	}
	r, told := replayed(t, s.box(), Wish{})
	if r.Sent != 4 || r.Failed[SendFailed] != 1 || told[2].Why != "no" || !r.Left.Empty() {
		t.Errorf("%+v", r)
	}
	stops = true
	r, err := s.box().Replay(t.Context(), Wish{Topic: "analytics-dlq", By: "ana", ID: "R3"}, func(Outcome) {})
	if err == nil || !strings.Contains(err.Error(), "replay R3 of analytics-dlq/0: no") || r.Sent != 4 || r.Left.String() != "0:12-16" {
		t.Errorf("%v, %+v", err, r)
	}
	r, err = s.box().Replay(t.Context(), Wish{Topic: "analytics-dlq", By: "ana", Limit: 3}, func(Outcome) {})
	if err == nil || r.Matched != 3 || r.Left.String() != "0:12-16" {
		t.Errorf("with a limit: %v, %+v", err, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.sent = nil
	if r, err := s.box().Replay(ctx, Wish{Topic: "analytics-dlq", By: "ana"}, func(Outcome) {}); !errors.Is(err, context.Canceled) || r.Left.String() != "0:10-16" || len(s.sent) > 0 || r.Matched != 0 {
		t.Errorf("ended before it began: %v, %+v", err, r)
	}
}

func TestWishesThatCannotBe(t *testing.T) {
	for want, w := range map[string]Wish{
		"say who you are":          {},
		"by has 129 bytes: want":   {By: strings.Repeat("b", maxName+1), DryRun: true},
		"by has 129 bytes":         {By: strings.Repeat("b", maxName+1)},
		"replay has 129 bytes":     {By: "a", ID: strings.Repeat("b", maxName+1)},
		"a value mends one record": {By: "a", Mended: true},
		"limit is -1":              {By: "a", Limit: -1},
		"cursor names partition 7": {By: "a", Left: Spans{7: {0, 1}}},
	} {
		var bad BadWish
		if _, err := newShelf().box().Replay(t.Context(), w, nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A dry run leaves no mark, and needs nobody who wants it.
func TestDryRunOfNobody(t *testing.T) {
	s := newShelf()
	s.letter(1, eventAt("a", 0), Place{Topic: "rag-traces", Partition: 0, Offset: 1}, "syntax")
	r, err := s.box().Replay(t.Context(), Wish{Topic: "analytics-dlq", DryRun: true}, func(Outcome) {})
	if err != nil || r.Sent != 1 || len(s.sent) != 0 {
		t.Errorf("%v, %+v, %d records were sent", err, r, len(s.sent))
	}
}

package deadletters

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func header(key, value string) Header { return Header{Key: key, Value: []byte(value)} }

// pointer is the headers of a record on a side topic.
func pointer(p Place, timestamp int64, more ...Header) []Header {
	return append([]Header{
		header(HeaderTopic, p.Topic), header(HeaderPartition, strconv.Itoa(int(p.Partition))),
		header(HeaderOffset, strconv.FormatInt(p.Offset, 10)), header(HeaderTimestamp, strconv.FormatInt(timestamp, 10)),
	}, more...)
}

var (
	origin = Place{Topic: "rag-traces", Partition: 2, Offset: 17}
	mark   = Mark{
		Replay: "R1", By: "ana", At: time.Date(2026, 11, 28, 12, 0, 0, 5, time.UTC), Of: Place{Topic: "analytics-dlq", Partition: 0, Offset: 9},
		Reason: "syntax", Before: 3, Mended: true,
	}
)

func TestParse(t *testing.T) {
	theirs := []Header{header("producer", "x"), header(HeaderReason, "theirs"), header(HeaderTopic, "elsewhere")}
	for _, tt := range []struct {
		name    string
		headers []Header
		want    Letter
	}{
		{"poison", pointer(origin, 5, header(HeaderReason, "syntax"), header(HeaderDetail, "no")), Letter{Reason: "syntax", Detail: "no", Holds: Whole}},
		{
			"headers of ours among the producer's", append(append([]Header{}, theirs...), pointer(origin, 5, header(HeaderReason, "empty"))...),
			Letter{Reason: "empty", Holds: Whole, Theirs: theirs},
		},
		{
			"late", pointer(origin, 5, header(HeaderReason, "stream_time"), header(HeaderEventTime, "-7"), header(HeaderLateness, "12")),
			Letter{Reason: "stream_time", IsLate: true, EventTime: -7, Lateness: 12, Holds: Whole},
		},
		{
			"a note", pointer(origin, 5, header(HeaderReason, ReasonWatermark), header(HeaderLateness, "0")),
			Letter{Reason: ReasonWatermark, IsLate: true, EventTime: 5, Holds: Note},
		},
		{
			"cut", pointer(origin, 5, header(HeaderReason, "too_large"), header(HeaderLeftOut, "4"), header(HeaderKeyCut, "30"), header(HeaderCut, "900000")),
			Letter{Reason: "too_large", Holds: Cut, LeftOut: 4, KeyCut: 30, ValueCut: 900_000},
		},
		{
			"replayed before", append(append([]Header{theirs[0]}, mark.Headers()...), pointer(origin, 5, header(HeaderReason, "syntax"))...),
			Letter{Reason: "syntax", Holds: Whole, Theirs: theirs[:1], Mark: &mark},
		},
	} {
		got, err := Parse(Record{Topic: "analytics-dlq", Headers: tt.headers})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		want := tt.want
		want.Record, want.Source, want.SourceTimestamp = got.Record, origin, 5
		if len(got.Theirs) == 0 {
			got.Theirs = nil
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for want, headers := range map[string][]Header{
		"has no header source_topic":              {header("x", "y")},
		`header source_offset is ""`:              pointer(origin, 5)[:2],
		`header source_partition is "-1"`:         pointer(Place{Topic: "rag-traces", Partition: -1, Offset: 0}, 5),
		`header source_partition is "4294967295"`: pointer(origin, 5, header(HeaderPartition, "4294967295")),
		`header cut_from_bytes is "much"`:         pointer(origin, 5, header(HeaderCut, "much")),
		`header lateness_ms is "-3": want a nu`:   pointer(origin, 5, header(HeaderLateness, "-3")),
	} {
		if _, err := Parse(Record{Topic: "analytics-dlq", Partition: 1, Offset: 2, Headers: headers}); err == nil ||
			!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "analytics-dlq/1@2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// What looks like a mark and is none stays with the producer's headers.
func TestCutMark(t *testing.T) {
	whole := append([]Header{header("a", "1")}, mark.Headers()...)
	theirs, got := CutMark(whole)
	if d := cmp.Diff(&mark, got); d != "" || len(theirs) != 1 {
		t.Errorf("%d headers are left, mark: %s", len(theirs), d)
	}
	if _ = append(theirs, header("b", "2")); whole[1].Key != "replay_id" {
		t.Error("the headers share memory with what is appended to those before the mark")
	}
	change := func(i int, value string) []Header {
		headers := append([]Header{}, whole...)
		headers[1+i].Value = []byte(value)
		return headers
	}
	for name, headers := range map[string][]Header{
		"none": nil, "one missing": whole[:len(whole)-1], "one behind": append(append([]Header{}, whole...), header("b", "2")),
		"time": change(2, "noon"), "place": change(3, "x"), "number": change(5, "-1"), "truth": change(6, "maybe"),
		"too long": change(1, strings.Repeat("x", maxMarkHeader+1)),
	} {
		if theirs, got := CutMark(headers); got != nil || len(theirs) != len(headers) {
			t.Errorf("%s: %+v and %d of %d headers", name, got, len(theirs), len(headers))
		}
	}
	// The longest that a replay writes is one.
	long := Mark{Replay: strings.Repeat("r", maxName), By: strings.Repeat("b", maxName), Of: Place{Topic: strings.Repeat("t", 249), Partition: 1<<31 - 1, Offset: 1<<63 - 1}}
	if _, got := CutMark(long.Headers()); got == nil {
		t.Error("the longest mark is not read back")
	}
}

func TestSpans(t *testing.T) {
	s := Spans{3: {0, 9}, 0: {17, 40}, 1: {5, 5}}
	if s.String() != "0:17-40,3:0-9" || s.Empty() || !(Spans{1: {5, 5}}).Empty() {
		t.Errorf("cursor %q", s)
	}
	if got, err := ParseSpans(s.String()); err != nil || got.String() != s.String() {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "0", "0:1", "0:1-", "x:1-2", "-1:1-2", "0:2-1", "0:-1-2", "0:1-2,0:2-3"} {
		if got, err := ParseSpans(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestWhatIsLeft(t *testing.T) {
	all := Spans{0: {10, 20}, 1: {0, 5}}
	for _, tt := range []struct {
		f    Filter
		left Spans
		want string
	}{
		{Filter{}, nil, "0:10-20,1:0-5"},
		{Filter{}, Spans{0: {15, 18}}, "0:15-18"},
		{Filter{}, Spans{0: {0, 12}, 1: {4, 90}}, "0:10-12,1:4-5"}, // deleted since, or never there
		{Filter{At: &At{0, 11}}, nil, "0:11-12"},
		{Filter{At: &At{0, 20}}, nil, ""},
		{Filter{At: &At{1, 2}}, Spans{1: {3, 5}}, ""},
	} {
		got, err := tt.f.begin(all, tt.left)
		if err != nil || got.String() != tt.want {
			t.Errorf("%+v of %s: %s, %v, want %s", tt.f, tt.left, got, err, tt.want)
		}
	}
	if _, err := (&Filter{}).begin(all, Spans{7: {0, 1}}); err == nil || !strings.Contains(err.Error(), "partition 7") {
		t.Errorf("a cursor of another topic: %v", err)
	}
}

func TestFilter(t *testing.T) {
	at := time.UnixMilli(1000)
	l := &Letter{Record: Record{Partition: 1, Offset: 2, Timestamp: 1000}, Reason: "empty", Source: origin}
	for name, tt := range map[string]struct {
		f    Filter
		want bool
	}{
		"all": {Filter{}, true}, "reason": {Filter{Reason: "empty"}, true}, "another reason": {Filter{Reason: "syntax"}, false},
		"topic": {Filter{SourceTopic: "rag-traces"}, true}, "another topic": {Filter{SourceTopic: "x"}, false},
		"since": {Filter{Since: at}, true}, "later": {Filter{Since: at.Add(1)}, false},
		"until": {Filter{Until: at}, false}, "until after": {Filter{Until: at.Add(1)}, true},
		"place": {Filter{At: &At{1, 2}}, true}, "another place": {Filter{At: &At{1, 3}}, false},
	} {
		if got := tt.f.Matches(l); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

package processors

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ragstreams/codecs"
	"ragstreams/deadletters"
	"ragstreams/window"

	"github.com/google/go-cmp/cmp"
)

// blob returns n bytes.
func blob(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }

// sideOf returns a record with our headers.
func sideOf(key, value []byte, theirs ...codecs.Header) *sideRecord {
	return &sideRecord{key, value, theirs, originHeaders("rag-traces", 3, 1<<40, 1<<41)}
}

// fill sets part to the length at which over becomes 0.
func fill(part *[]byte, over func() int) {
	*part = blob(maxSide)
	for o := over(); o != 0; o = over() {
		*part = blob(len(*part) - o)
	}
}

func (s *sideRecord) over() int { return s.size() - maxSide }

// wantFit fits s and checks that it is bounded, that it still points to its
// original, and that its headers say what is missing: numbers by name.
func (s *sideRecord) wantFit(t *testing.T, notes map[string]int) {
	t.Helper()
	pointers := originHeaders("rag-traces", 3, 1<<40, 1<<41)
	s.fit()
	if s.over() > 0 {
		t.Errorf("size = %d, want at most %d", s.size(), maxSide)
	}
	if d := cmp.Diff(pointers, s.ours[:len(pointers)]); d != "" {
		t.Errorf("headers that point to the original: %s", d)
	}
	got := map[string]int{}
	for _, h := range s.ours[len(pointers):] {
		n, err := strconv.Atoi(string(h.Value))
		if err != nil {
			t.Error(err)
		}
		got[h.Key] = n
	}
	if d := cmp.Diff(notes, got); d != "" {
		t.Errorf("what is missing: %s", d)
	}
}

// wantLeft checks what is left of a record, in bytes and headers.
func (s *sideRecord) wantLeft(t *testing.T, key, value, headers int) {
	t.Helper()
	if len(s.key) != key || len(s.value) != value || len(s.theirs) != headers {
		t.Errorf("left are %d bytes of key, %d of value and %d headers, want %d, %d and %d",
			len(s.key), len(s.value), len(s.theirs), key, value, headers)
	}
}

func TestFullSideRecordIsUnchanged(t *testing.T) {
	theirs := []codecs.Header{{Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte("again")}}
	for name, s := range map[string]*sideRecord{
		"nothing": sideOf(nil, nil), "empty": sideOf([]byte{}, []byte{}), "headers": sideOf(nil, []byte{}, theirs...),
		"full of value": sideOf([]byte("k"), nil, theirs...), "full of key": sideOf(nil, []byte("v"), theirs...),
		"full of headers": sideOf([]byte("k"), []byte("v"), codecs.Header{Key: "a"}),
	} {
		switch name {
		case "full of value":
			fill(&s.value, s.over)
		case "full of key":
			fill(&s.key, s.over)
		case "full of headers":
			fill(&s.theirs[0].Value, s.over)
		}
		want := *s
		s.fit()
		if !reflect.DeepEqual(want, *s) { // nil is not empty
			t.Errorf("%s: a record of %d bytes was changed", name, s.size())
		}
	}
}

func TestValueIsCutFirst(t *testing.T) {
	s := sideOf([]byte("key"), nil, codecs.Header{Key: "a", Value: blob(100_000)})
	fill(&s.value, s.over)
	from := len(s.value) + 1
	s.value = append(blob(from-1), 'y')
	s.wantFit(t, map[string]int{"cut_from_bytes": from})
	if s.over() != 0 {
		t.Errorf("%d bytes were cut for nothing", -s.over())
	}
	s.wantLeft(t, 3, from-1-sizeOf(len("cut_from_bytes"))-sizeOf(6), 1)
}

func TestHeadersAreLeftOutNext(t *testing.T) {
	s := sideOf([]byte("key"), blob(1000), codecs.Header{Key: "a"}, codecs.Header{Key: "b"})
	fill(&s.theirs[1].Value, s.excess)
	at := *s
	at.wantFit(t, map[string]int{"cut_from_bytes": 1000})
	if len(at.theirs) != 2 || len(at.value) > cutNoteSize {
		t.Errorf("%d headers and %d bytes of value are left, want both headers and nearly no value", len(at.theirs), len(at.value))
	}
	s.theirs[1].Value = append(s.theirs[1].Value, 'y')
	s.wantFit(t, map[string]int{"headers_left_out": 2})
	s.wantLeft(t, 3, 1000, 0)
}

func TestKeyIsCutLast(t *testing.T) {
	theirs := codecs.Header{Key: "a", Value: blob(100)}
	s := sideOf(nil, blob(1000), theirs)
	s.note(headerLeftOut, 1) // as it will be
	s.theirs = nil
	fill(&s.key, s.excess)
	key := len(s.key)

	s = sideOf(blob(key), blob(1000), theirs)
	s.wantFit(t, map[string]int{"headers_left_out": 1, "cut_from_bytes": 1000})
	if len(s.key) != key || len(s.value) > cutNoteSize {
		t.Errorf("%d bytes of key and %d of value are left, want %d and nearly none", len(s.key), len(s.value), key)
	}
	s = sideOf(blob(key+1), blob(1000), theirs)
	s.wantFit(t, map[string]int{"headers_left_out": 1, "key_cut_from_bytes": key + 1, "cut_from_bytes": 1000})
	if len(s.key) < key-cutNoteSize {
		t.Errorf("%d bytes of key are left of %d", len(s.key), key+1)
	}
}

func TestSideRecordWithoutValue(t *testing.T) {
	for _, value := range [][]byte{nil, {}} {
		s := sideOf(nil, value)
		fill(&s.key, s.over)
		key := len(s.key)
		s.wantFit(t, map[string]int{})
		s.wantLeft(t, key, 0, 0)
		s.key = blob(key + 1)
		s.wantFit(t, map[string]int{"key_cut_from_bytes": key + 1})
		if s.over() != 0 || (s.value == nil) != (value == nil) {
			t.Errorf("%d bytes were cut for nothing, value nil = %v", -s.over(), s.value == nil)
		}
		s = sideOf(nil, value, codecs.Header{Key: strings.Repeat("h", maxSide)})
		s.wantFit(t, map[string]int{"headers_left_out": 1})
		if s.key != nil || (s.value == nil) != (value == nil) {
			t.Error("nil and empty are mixed up")
		}
	}
}

// All of them at once.
func TestHugeSideRecords(t *testing.T) {
	sizes := []int{0, 1, maxSide / 2, maxSide, 4 * maxSide}
	for _, key := range sizes {
		for _, value := range sizes {
			for _, header := range sizes {
				s := sideOf(blob(key), blob(value), codecs.Header{Key: "a", Value: blob(header)})
				s.fit()
				if s.over() > 0 {
					t.Errorf("key %d, value %d, header %d: size = %d, want at most %d", key, value, header, s.size(), maxSide)
				}
			}
		}
	}
	many := make([]codecs.Header, maxSide)
	s := sideOf(nil, blob(9), many...)
	s.wantFit(t, map[string]int{"headers_left_out": maxSide})
	s.wantLeft(t, 0, 9, 0)
}

// collected is an Output that keeps what it gets.
type collected []struct {
	topic      string
	key, value []byte
	headers    []codecs.Header
}

func (c *collected) Send(topic string, _ int32, key, value []byte, headers ...codecs.Header) {
	*c = append(*c, struct {
		topic      string
		key, value []byte
		headers    []codecs.Header
	}{topic, key, value, headers})
}

// What is diverted leaves bounded, whatever is large in it, and whole otherwise:
// theirs before ours.
func TestDivertedRecords(t *testing.T) {
	var out collected
	clock := Clock{Wall: func() time.Time { return time.UnixMilli(1 << 40) }, Mono: func() time.Duration { return 0 }}
	g := NewIngest(IngestConfig{Names: Names{"analytics-"}, Topic: "rag-traces", EventPartitions: 1, RecordPartitions: 1,
		Panes: window.Panes{Size: 10_000, Grace: 60_000}, Clock: clock}, &out)
	task, err := g.Assign(0, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	late := []byte(`{"event_type":"x","timestamp":"1990-01-01T00:00:00Z"}`)
	small := codecs.Record{Key: []byte{}, Value: late, Headers: []codecs.Header{{Key: "source_topic", Value: []byte("theirs")}, {Key: "b", Value: nil}}}
	records := []codecs.Record{
		{Timestamp: 1 << 40, Value: []byte(`{"event_type":"x"}`)}, // moves the stream time
		small,
		{Value: []byte(`{}`)},
		{Value: late, Key: blob(900_000)},
		{Value: []byte(`{}`), Headers: []codecs.Header{{Key: string(blob(900_000))}}},
		{Value: blob(1 << 20), Key: blob(900_000), Headers: small.Headers},
	}
	for i, r := range records {
		r.Offset = int64(i)
		task.Process([]codecs.Record{r})
	}
	task.record = &codecs.Record{Value: []byte("x")}
	task.poison(&codecs.Poison{Reason: codecs.ReasonSyntax, Detail: strings.Repeat("é", maxDetail)})
	if len(out) != len(records) {
		t.Fatalf("%d records were diverted, want %d", len(out), len(records))
	}
	for i, r := range out {
		s := sideRecord{r.key, r.value, nil, r.headers}
		if s.over() > 0 {
			t.Errorf("record %d has %d bytes, want at most %d", i, s.size(), maxSide)
		}
		found := map[string]string{}
		for _, h := range r.headers {
			found[h.Key] = string(h.Value) // ours come last
		}
		if i < len(out)-1 && (found["source_topic"] != "rag-traces" || found["source_offset"] != fmt.Sprint(i+1)) {
			t.Errorf("record %d points to %q, %q", i, found["source_topic"], found["source_offset"])
		}
		if detail := found["detail"]; len(detail) > maxDetail || !utf8.ValidString(detail) {
			t.Errorf("record %d: detail of %d bytes: %.20q", i, len(detail), detail)
		}
	}
	got := codecs.Record{Key: out[0].key, Value: out[0].value, Headers: out[0].headers[:2]}
	if d := cmp.Diff(small, got); d != "" || out[0].topic != "analytics-late" {
		t.Errorf("small record on %s: %s", out[0].topic, d)
	}
	if out[1].key != nil || len(out[1].headers) != 6 { // four that point to it, reason and detail
		t.Errorf("a record without key and headers leaves with key %q and %d headers", out[1].key, len(out[1].headers))
	}
}

// The mark of the replay that sent a record stays when its producer's headers are left out,
// and leaves with the record as it came.
func TestMarkOfAReplayStays(t *testing.T) {
	mark := deadletters.Mark{Replay: "R", By: "ana", At: time.UnixMilli(1 << 40).UTC(), Of: deadletters.Place{Topic: "analytics-dlq", Offset: 5}, Reason: "syntax", Before: 2}
	for name, theirs := range map[string][]codecs.Header{"small": {{Key: "a", Value: []byte("b")}}, "large": {{Key: "a", Value: blob(maxSide)}}} {
		headers := append(theirs, mark.Headers()...)
		s := newSideRecord(nil, []byte("{"), headers, originHeaders("rag-traces", 3, 1<<40, 1<<41))
		s.fit()
		l, err := deadletters.Parse(deadletters.Record{Value: s.value, Headers: append(s.theirs, s.ours...)})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&mark, l.Mark); d != "" || s.over() > 0 || (name == "small") != (len(l.Theirs) == 1) {
			t.Errorf("%s: %d of the producer's headers are left, mark: %s", name, len(l.Theirs), d)
		}
	}
}

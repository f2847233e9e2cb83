package deadletters

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// offsets returns those of a list.
func offsets(list []*Entry) (all []int64) {
	for _, e := range list {
		all = append(all, e.Offset)
	}
	return all
}

// A list begins with what came last, whatever its partition, and goes on from its cursor.
func TestList(t *testing.T) {
	s := newShelf()
	for i := range int64(700) { // of two partitions in turns
		reason := "syntax"
		if i == 3 {
			reason = "empty"
		}
		s.letter(i, "{", Place{Topic: "rag-traces", Partition: int32(i % 2), Offset: i}, reason)
	}
	var all []int64
	var left Spans
	for lists := 0; ; lists++ {
		list, next, err := s.box().List(t.Context(), "analytics-dlq", Filter{}, left, 150)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, offsets(list)...)
		if left = next; next.Empty() {
			break
		}
		if lists > 5 {
			t.Fatalf("it does not end: %s", next)
		}
	}
	if len(all) != 700 || all[0] != 699 || all[699] != 0 || !slices.IsSortedFunc(all, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("%d letters: %v", len(all), all)
	}
	list, next, err := s.box().List(t.Context(), "analytics-dlq", Filter{Reason: "empty"}, nil, 10)
	if err != nil || len(list) != 1 || list[0].Offset != 3 || !next.Empty() {
		t.Errorf("%v, %s, %v", offsets(list), next, err)
	}
	list, _, err = s.box().List(t.Context(), "analytics-dlq", Filter{Since: now.AddDate(0, 0, 1)}, nil, 10)
	if err != nil || len(list) != 0 {
		t.Errorf("of the future: %v, %v", offsets(list), err)
	}
}

// Where few match, a list ends with what it has, and a cursor.
func TestListLooksAtSoMuch(t *testing.T) {
	s := newShelf()
	s.letter(5, "{", Place{Topic: "rag-traces", Partition: 0, Offset: 1}, "empty")
	s.letter(maxScanned+1000, "{", Place{Topic: "rag-traces", Partition: 0, Offset: 2}, "syntax")
	f := Filter{Reason: "empty"}
	list, next, err := s.box().List(t.Context(), "analytics-dlq", f, nil, 10)
	if err != nil || len(list) != 0 || next.Empty() {
		t.Fatalf("%v, %s, %v", offsets(list), next, err)
	}
	list, next, err = s.box().List(t.Context(), "analytics-dlq", f, next, 10)
	if err != nil || len(list) != 1 || !next.Empty() {
		t.Errorf("%v, %s, %v", offsets(list), next, err)
	}
}

// A list shows no values, and of headers only so much; what is none of ours is shown as
// such.
func TestListShowsNoValues(t *testing.T) {
	s := newShelf()
	many := make([]Header, listedHeaders+5)
	for i := range many {
		many[i] = header("h", strings.Repeat("v", listedHeaderBytes+5))
	}
	s.put(Record{Topic: "analytics-dlq", Offset: 1, Timestamp: 2, Value: []byte("personal"), Headers: append(many, pointer(origin, 5)...)})
	s.put(Record{Topic: "analytics-dlq", Offset: 2, Timestamp: 1, Key: []byte("personal")})
	list, _, err := s.box().List(t.Context(), "analytics-dlq", Filter{}, nil, 10)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	e, strange := list[0], list[1]
	if e.Offset == 2 {
		e, strange = strange, e
	}
	if e.Key != nil || e.Value != nil || e.Headers != nil || e.KeyBytes != -1 || e.ValueBytes != 8 || len(e.Theirs) != listedHeaders || len(e.Theirs[0].Value) != listedHeaderBytes {
		t.Errorf("%+v", e)
	}
	if strange.Bad == nil || strange.Key != nil || strange.KeyBytes != 8 {
		t.Errorf("%+v", strange)
	}
	if len(many[0].Value) != listedHeaderBytes+5 {
		t.Error("the record itself was changed")
	}
}

func TestShow(t *testing.T) {
	s := newShelf()
	good := eventAt("a", 0)
	source := s.put(Record{Topic: "rag-traces", Partition: 0, Offset: 3, Timestamp: 5, Key: []byte("k"), Value: []byte(good), Headers: append([]Header{header("a", "b")}, mark.Headers()...)})
	s.letter(0, good, Place{Topic: "rag-traces", Partition: 0, Offset: 0}, "too_large")
	s.letter(1, good[:5], source.Place(), "too_large", header(HeaderCut, strconv.Itoa(len(good))), header(HeaderLeftOut, "1"))
	s.letter(2, good[:5], Place{Topic: "rag-traces", Partition: 0, Offset: 9}, "too_large", header(HeaderCut, strconv.Itoa(len(good))))
	s.put(Record{Topic: "analytics-dlq", Offset: 3})
	s.letter(5, "{", Place{Topic: "rag-traces", Partition: 0, Offset: 1}, "syntax")
	for _, tt := range []struct {
		offset  int64
		verdict Verdict
		value   string
		headers int
		gone    bool
		marked  bool
	}{
		{0, Send, good, 1, false, false}, {1, Send, good, 1, false, true}, {2, OriginGone, good[:5], 1, true, false},
		{3, NotOurs, "", 0, false, false}, {5, StillPoison, "{", 1, false, false},
	} {
		got, err := s.box().Show(t.Context(), "analytics-dlq", At{0, tt.offset})
		if err != nil {
			t.Errorf("%d: %v", tt.offset, err)
			continue
		}
		if got.Verdict != tt.verdict || string(got.Original.Value) != tt.value || len(got.Original.Headers) != tt.headers || (got.Gone != "") != tt.gone || (got.Mark != nil) != tt.marked {
			t.Errorf("%d: %+v", tt.offset, got)
		}
	}
	for _, at := range []At{{0, 4}, {0, 6}, {9, 0}} {
		if _, err := s.box().Show(t.Context(), "analytics-dlq", at); !errors.Is(err, ErrNone) {
			t.Errorf("%v: %v", at, err)
		}
	}
}

package traces

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What was read, and what is left to read, against a set of offsets.
func TestSearchedAndUnread(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		done, read := Searched{}, map[int64]bool{}
		for range rng.IntN(6) {
			from := rng.Int64N(40)
			span := Span{from, from + 1 + rng.Int64N(8)}
			done.add("t", 0, span)
			for at := span.From; at < span.To; at++ {
				read[at] = true
			}
		}
		spans := done["t"][0]
		for at := range int64(50) {
			in := slices.ContainsFunc(spans, func(s Span) bool { return at >= s.From && at < s.To })
			if in != read[at] {
				t.Fatalf("%d is read: %v, of %v", at, read[at], spans)
			}
		}
		for i := 1; i < len(spans); i++ {
			if spans[i].From <= spans[i-1].To {
				t.Fatalf("%v are not apart", spans)
			}
		}
		from := rng.Int64N(40)
		want := Span{from, from + rng.Int64N(20)}
		s := &search{Found: &Found{Searched: done}}
		left, any := s.unread(Parts{"t": {0: want}})["t"][0]
		for at := want.From; at < want.To; at++ {
			if in := any && at >= left.From && at < left.To; !read[at] && !in {
				t.Fatalf("%d of %v is never read: %v were, %v are left", at, want, spans, left)
			}
		}
		if any && (read[left.From] || read[left.To-1] || left.From < want.From || left.To > want.To) {
			t.Fatalf("%v are left of %v, %v were read", left, want, spans)
		}
	}
}

func TestPartsArePartedByNumber(t *testing.T) {
	all := Parts{"a": {0: {0, 100}, 1: {5, 7}}, "b": {0: {3, 3}, 2: {10, 1000}}}
	first, behind := all.first(40) // ten of each
	last, before := all.last(40)
	newest, _ := all.last(1)
	for _, tt := range []struct {
		name      string
		got, want Parts
	}{
		{"last", last, Parts{"a": {0: {90, 100}, 1: {5, 7}}, "b": {2: {990, 1000}}}},
		{"before the last", before, Parts{"a": {0: {0, 90}, 1: {5, 5}}, "b": {0: {3, 3}, 2: {10, 990}}}},
		{"first", first, Parts{"a": {0: {0, 10}, 1: {5, 7}}, "b": {2: {10, 20}}}},
		{"behind the first", behind, Parts{"a": {0: {10, 100}}, "b": {2: {20, 1000}}}},
		{"one of each at least", newest, Parts{"a": {0: {99, 100}, 1: {6, 7}}, "b": {2: {999, 1000}}}},
	} {
		same := len(tt.got) == len(tt.want)
		tt.want.each(func(topic string, p int32, s Span) {
			same = same && tt.got[topic][p] == s && len(tt.got[topic]) == len(tt.want[topic])
		})
		if !same {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestEmptyParts(t *testing.T) {
	for _, none := range []Parts{nil, {}, {"a": {}}, {"a": {0: {3, 3}}, "b": {1: {5, 5}}}} {
		if !none.empty() {
			t.Errorf("%v is not empty", none)
		}
	}
	if some := (Parts{"a": {0: {3, 3}, 1: {3, 4}}}); some.empty() {
		t.Errorf("%v is empty", some)
	}
}

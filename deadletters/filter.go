package deadletters

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Filter says which letters are meant. The zero Filter means all.
type Filter struct {
	Reason      string // "": any
	SourceTopic string // likewise
	// When the letter came: from Since on, before Until; zero: any time.
	Since, Until time.Time
	// At means one letter only, by its partition and offset; nil: any.
	At *At
}

// At is where a letter lies in its topic.
type At struct {
	Partition int32
	Offset    int64
}

// Matches reports whether a letter is meant.
func (f *Filter) Matches(l *Letter) bool {
	came := time.UnixMilli(l.Timestamp)
	return (f.Reason == "" || f.Reason == l.Reason) && (f.SourceTopic == "" || f.SourceTopic == l.Source.Topic) &&
		!came.Before(f.Since) && (f.Until.IsZero() || came.Before(f.Until)) &&
		(f.At == nil || *f.At == At{l.Partition, l.Offset})
}

// Span is a range of offsets: From inclusive, To exclusive.
type Span struct{ From, To int64 }

// Spans are what of each partition is to be looked at. Between two calls they are a
// cursor: what was not looked at yet.
type Spans map[int32]Span

// Empty reports whether nothing is left.
func (s Spans) Empty() bool {
	for _, one := range s {
		if one.From < one.To {
			return false
		}
	}
	return true
}

// partitions returns those where something is left, in order.
func (s Spans) partitions() []int32 {
	var list []int32
	for _, p := range slices.Sorted(maps.Keys(s)) {
		if s[p].From < s[p].To {
			list = append(list, p)
		}
	}
	return list
}

// String writes a cursor, such as 0:17-40,3:0-9; "" when nothing is left.
func (s Spans) String() string {
	var parts []string
	for _, p := range s.partitions() {
		parts = append(parts, fmt.Sprintf("%d:%d-%d", p, s[p].From, s[p].To))
	}
	return strings.Join(parts, ",")
}

// ParseSpans reads a cursor.
func ParseSpans(text string) (Spans, error) {
	spans := Spans{}
	for part := range strings.SplitSeq(text, ",") {
		partition, offsets, _ := strings.Cut(part, ":")
		from, to, _ := strings.Cut(offsets, "-")
		p, err := strconv.ParseInt(partition, 10, 32)
		one := Span{}
		var err1, err2 error
		one.From, err1 = strconv.ParseInt(from, 10, 64)
		one.To, err2 = strconv.ParseInt(to, 10, 64)
		if _, twice := spans[int32(p)]; err != nil || err1 != nil || err2 != nil || p < 0 || one.From < 0 || one.To < one.From || twice {
			return nil, fmt.Errorf("cursor is %q: give the one that the answer before ended with, such as 0:17-40", text)
		}
		spans[int32(p)] = one
	}
	return spans, nil
}

// begin returns what is to be looked at: what a cursor says is left, or all there is. An
// error is a BadWish.
func (f *Filter) begin(all, left Spans) (Spans, error) {
	spans := maps.Clone(all)
	for p := range spans {
		one := spans[p]
		if left != nil {
			one = Span{max(one.From, left[p].From), min(one.To, left[p].To)}
		}
		if f.At != nil {
			if p != f.At.Partition {
				one = Span{}
			}
			one = Span{max(one.From, f.At.Offset), min(one.To, f.At.Offset+1)}
		}
		spans[p] = one
	}
	for p := range left {
		if _, there := all[p]; !there {
			return nil, BadWish{fmt.Errorf("cursor names partition %d, which the topic does not have: give the one that the answer before ended with", p)}
		}
	}
	return spans, nil
}

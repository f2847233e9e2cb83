package deadletters

import (
	"context"
	"fmt"
	"slices"
)

// Bounds of a list.
const (
	// maxScanned is how many offsets are looked at for one list: where few letters match,
	// it ends early with a cursor.
	maxScanned = 200_000
	leastBlock = 100  // offsets that are read at once, backwards
	mostBlock  = 5000 // likewise
	// What of an original's headers a list shows.
	listedHeaders     = 32
	listedHeaderBytes = 256
)

// Entry is a letter in a list: without key and value, which may be personal, and with its
// headers cut.
type Entry struct {
	Letter
	KeyBytes, ValueBytes int   // of what lies there; -1: nil
	Bad                  error // it was not written by this program
}

// List returns letters of a topic, those that came last first, and a cursor to go on; it is
// empty when there are no more. left is the cursor of the list before, or nil.
func (b *Box) List(ctx context.Context, topic string, f Filter, left Spans, limit int) ([]*Entry, Spans, error) {
	all, err := b.Log.Spans(ctx, topic, f.Since)
	if err != nil {
		return nil, nil, err
	}
	if left, err = f.begin(all, left); err != nil {
		return nil, nil, err
	}
	var tails []*tail
	for _, p := range left.partitions() {
		tails = append(tails, &tail{box: b, topic: topic, partition: p, span: left[p], filter: &f, block: leastBlock})
	}
	var list []*Entry
	for len(list) < limit {
		var newest *tail
		for _, t := range tails {
			if err := t.fill(ctx); err != nil {
				return nil, nil, err
			}
			if len(t.waiting) > 0 && (newest == nil || t.waiting[0].Timestamp > newest.waiting[0].Timestamp) {
				newest = t
			}
		}
		if scanned(tails) >= maxScanned || newest == nil {
			break
		}
		list = append(list, newest.waiting[0])
		newest.waiting = newest.waiting[1:]
	}
	next := Spans{}
	for _, t := range tails {
		next[t.partition] = t.left()
	}
	return list, next, nil
}

func scanned(tails []*tail) (n int64) {
	for _, t := range tails {
		n += t.scanned
	}
	return n
}

// tail reads a partition from its end.
type tail struct {
	box       *Box
	topic     string
	partition int32
	span      Span // what was not read yet
	filter    *Filter
	block     int64
	scanned   int64
	waiting   []*Entry // that were read and match, newest first
}

// fill reads on until something waits, or nothing is left, or it was enough.
func (t *tail) fill(ctx context.Context) error {
	for len(t.waiting) == 0 && t.span.From < t.span.To && t.scanned < maxScanned {
		block := Span{max(t.span.From, t.span.To-t.block), t.span.To}
		err := t.box.Log.Read(ctx, t.topic, t.partition, block, func(r Record) error {
			if e := newEntry(r); t.filter.Matches(&e.Letter) {
				t.waiting = append(t.waiting, e)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read %s/%d: %w", t.topic, t.partition, err)
		}
		slices.Reverse(t.waiting)
		t.scanned += block.To - block.From
		t.span.To = block.From
		t.block = min(2*t.block, mostBlock)
	}
	return nil
}

// left returns what was not listed yet.
func (t *tail) left() Span {
	if len(t.waiting) > 0 {
		return Span{t.span.From, t.waiting[0].Offset + 1}
	}
	return t.span
}

func newEntry(r Record) *Entry {
	l, err := Parse(r)
	if l == nil {
		l = &Letter{Record: r}
	}
	e := &Entry{Letter: *l, KeyBytes: length(r.Key), ValueBytes: length(r.Value), Bad: err}
	e.Key, e.Value, e.Headers = nil, nil, nil
	e.Theirs = slices.Clone(e.Theirs[:min(len(e.Theirs), listedHeaders)])
	for i := range e.Theirs {
		v := e.Theirs[i].Value
		e.Theirs[i].Value = slices.Clone(v[:min(len(v), listedHeaderBytes)])
	}
	return e
}

// length returns the number of bytes, -1 for nil.
func length(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

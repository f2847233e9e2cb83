package tables

import (
	"fmt"
	"slices"
)

// Editor changes and sums up encoded rows. To change one, it decodes a pane, or the
// total, only where something is merged into it, so that what a change costs does not
// grow with the row: most partials of many series are the first of their pane, and are
// copied.
//
//	edit, err := editor.Edit(row)
//	err = edit.Add(start, body)
//	row = edit.Append(nil)
//
// The zero Editor is ready to use, by one goroutine at a time together with all its
// Edits.
type Editor[M any, P Measure[M]] struct {
	sum, m M // scratch
}

// Edit does to the bytes of a Row what the methods of Row do to its measures. It
// keeps the memory of the row and of all bodies that it is given, and changes none.
type Edit[M any, P Measure[M]] struct {
	editor *Editor[M, P]
	last   int64
	open   []editPane[M, P] // ascending
	total  editPane[M, P]   // the running total, whose start means nothing
	merged int              // how often something was merged
}

// editPane is what was counted in a pane: nothing, bytes, or a measure.
type editPane[M any, P Measure[M]] struct {
	start int64
	body  []byte // nil: nothing, or see sum
	sum   *M     // nil: see body
}

// manyMerges is from how many on measures stay decoded until they are written. A row
// of few events takes less memory as bytes; in the overflow row, where all partials
// beyond a limit meet, decoding and encoding for each would cost more than all else.
const manyMerges = 8

// Edit begins with the bytes of a row, nil for an empty one. It checks what stands
// before the total.
func (ed *Editor[M, P]) Edit(row []byte) (*Edit[M, P], error) {
	e := &Edit[M, P]{editor: ed}
	if row == nil {
		return e, nil
	}
	r, _ := NewRowReader(row) // it keeps its error
	e.last = r.last
	e.open = make([]editPane[M, P], 0, r.open+1)
	for r.Next() {
		e.open = append(e.open, editPane[M, P]{start: r.Start, body: r.Body})
	}
	e.total.body = r.d.src
	return e, r.Err()
}

// Add merges an encoded measure, which must not be zero, into the open pane at
// start; see Row.Add. The first one of a pane is not looked at: it is what it was
// when it was sent.
func (e *Edit[M, P]) Add(start int64, body []byte) (err error) {
	e.last = max(e.last, start)
	i := len(e.open)
	for i > 0 && e.open[i-1].start >= start { // nearly always the last pane or two
		i--
	}
	if i == len(e.open) || e.open[i].start != start {
		e.open = slices.Insert(e.open, i, editPane[M, P]{start: start, body: body})
		return nil
	}
	return e.add(&e.open[i], body)
}

// AddTotal merges an encoded measure into the running total.
func (e *Edit[M, P]) AddTotal(body []byte) (err error) { return e.add(&e.total, body) }

// Close folds every pane with start <= through into the total and drops it, handing
// each to emit first, oldest first; see Row.Close.
func (e *Edit[M, P]) Close(through int64, emit func(start int64, body []byte)) error {
	n := 0
	for n < len(e.open) && e.open[n].start <= through {
		body := e.open[n].bytes()
		emit(e.open[n].start, body)
		if err := e.add(&e.total, body); err != nil {
			return err
		}
		n++
	}
	e.open = slices.Delete(e.open, 0, n)
	return nil
}

// Oldest returns the start of the oldest open pane, false when none is open.
func (e *Edit[M, P]) Oldest() (start int64, open bool) {
	if len(e.open) == 0 {
		return 0, false
	}
	return e.open[0].start, true
}

// Append adds the bytes of the row to dst.
func (e *Edit[M, P]) Append(dst []byte) []byte {
	dst = append(dst, Version)
	dst = appendSigned(dst, e.last)
	dst = appendCount(dst, int64(len(e.open)))
	before := e.last
	for i := range e.open {
		p := &e.open[i]
		dst = appendSigned(dst, p.start-before)
		if p.sum != nil {
			dst = appendBody(dst, P(p.sum))
		} else {
			dst = appendBytes(dst, p.body)
		}
		before = p.start
	}
	switch {
	case e.total.sum != nil:
		return P(e.total.sum).Append(dst)
	case e.total.body != nil:
		return append(dst, e.total.body...)
	}
	var nothing M
	return P(&nothing).Append(dst)
}

// add merges an encoded measure into a pane.
func (e *Edit[M, P]) add(p *editPane[M, P], body []byte) error {
	if p.sum == nil && p.body == nil {
		p.body = body
		return nil
	}
	ed, sum := e.editor, p.sum
	if sum == nil {
		if sum = &ed.sum; e.merged >= manyMerges {
			sum = new(M)
		}
		if err := DecodeBody(p.body, P(sum)); err != nil {
			return fmt.Errorf("row: %w", err)
		}
	}
	if err := DecodeBody(body, P(&ed.m)); err != nil {
		return err
	}
	P(sum).Merge(&ed.m)
	if e.merged++; sum == &ed.sum {
		p.body = P(sum).Append(make([]byte, 0, len(p.body)+16))
	} else {
		p.sum, p.body = sum, nil
	}
	return nil
}

// bytes returns what was counted, nil for nothing. It stays as it is.
func (p *editPane[M, P]) bytes() []byte {
	if p.sum == nil {
		return p.body
	}
	return P(p.sum).Append(nil)
}

// Merge returns the bytes of the sum of two encoded measures. Without a first one, nil,
// that is the second, copied.
func (ed *Editor[M, P]) Merge(a, b []byte) ([]byte, error) {
	if a == nil {
		return slices.Clone(b), nil
	}
	if err := DecodeBody(a, P(&ed.sum)); err != nil {
		return nil, err
	}
	if err := DecodeBody(b, P(&ed.m)); err != nil {
		return nil, err
	}
	P(&ed.sum).Merge(&ed.m)
	return P(&ed.sum).Append(make([]byte, 0, len(a)+16)), nil
}

// Sum returns everything that a row ever counted; see Row.Sum. It is valid until the
// Editor is used again.
func (ed *Editor[M, P]) Sum(row []byte) (*M, error) {
	r, _ := NewRowReader(row) // it keeps its error
	panes := r
	for panes.Next() {
	}
	if err := panes.Err(); err != nil {
		return nil, err
	}
	sum, m := P(&ed.sum), P(&ed.m)
	if err := DecodeBody(panes.d.src, sum); err != nil {
		return nil, fmt.Errorf("total of row: %w", err)
	}
	for r.Next() {
		if err := DecodeBody(r.Body, m); err != nil {
			return nil, fmt.Errorf("pane of row: %w", err)
		}
		sum.Merge(&ed.m)
	}
	return &ed.sum, nil
}

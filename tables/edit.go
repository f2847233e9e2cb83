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
	open   []encodedPane // ascending
	total  []byte        // nil: nothing was counted
}

type encodedPane struct {
	start int64
	body  []byte
}

// Edit begins with the bytes of a row, nil for an empty one. It checks what stands
// before the total.
func (ed *Editor[M, P]) Edit(row []byte) (*Edit[M, P], error) {
	e := &Edit[M, P]{editor: ed}
	if row == nil {
		return e, nil
	}
	r, _ := NewRowReader(row) // it keeps its error
	e.last = r.last
	e.open = make([]encodedPane, 0, r.open+1)
	for r.Next() {
		e.open = append(e.open, encodedPane{r.Start, r.Body})
	}
	e.total = r.d.src
	return e, r.Err()
}

// Add merges an encoded measure, which must not be zero, into the open pane at
// start; see Row.Add.
func (e *Edit[M, P]) Add(start int64, body []byte) (err error) {
	e.last = max(e.last, start)
	i := len(e.open)
	for i > 0 && e.open[i-1].start >= start { // nearly always the last pane or two
		i--
	}
	if i == len(e.open) || e.open[i].start != start {
		e.open = slices.Insert(e.open, i, encodedPane{start, body})
		return nil
	}
	e.open[i].body, err = e.editor.merge(e.open[i].body, body)
	return err
}

// AddTotal merges an encoded measure into the running total.
func (e *Edit[M, P]) AddTotal(body []byte) (err error) {
	e.total, err = e.editor.merge(e.total, body)
	return err
}

// Close folds every pane with start <= through into the total and drops it, handing
// each to emit first, oldest first; see Row.Close.
func (e *Edit[M, P]) Close(through int64, emit func(start int64, body []byte)) error {
	n := 0
	for n < len(e.open) && e.open[n].start <= through {
		emit(e.open[n].start, e.open[n].body)
		n++
	}
	if n == 0 {
		return nil
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = e.open[i].body
	}
	e.open = slices.Delete(e.open, 0, n)
	total, err := e.editor.merge(e.total, bodies...)
	e.total = total
	return err
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
	for _, p := range e.open {
		dst = appendSigned(dst, p.start-before)
		dst = appendBytes(dst, p.body)
		before = p.start
	}
	if e.total == nil {
		var zero M
		return P(&zero).Append(dst)
	}
	return append(dst, e.total...)
}

// Sum returns everything that a row ever counted; see Row.Sum. It is valid until the
// Editor is used again.
func (ed *Editor[M, P]) Sum(row []byte) (*M, error) {
	r, _ := NewRowReader(row) // it keeps its error
	panes := *r
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
		sum.Merge(m)
	}
	return &ed.sum, nil
}

// merge returns the bytes of into with all bodies merged; into may be nil.
func (ed *Editor[M, P]) merge(into []byte, bodies ...[]byte) ([]byte, error) {
	if into == nil {
		into, bodies = bodies[0], bodies[1:]
		if len(bodies) == 0 {
			return into, nil
		}
	}
	sum, m := P(&ed.sum), P(&ed.m)
	if err := DecodeBody(into, sum); err != nil {
		return into, fmt.Errorf("row: %w", err)
	}
	for _, body := range bodies {
		if err := DecodeBody(body, m); err != nil {
			return into, err
		}
		sum.Merge(m)
	}
	return sum.Append(make([]byte, 0, len(into)+16)), nil
}

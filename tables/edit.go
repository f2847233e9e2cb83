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
	sum, m M             // scratch
	free   []*Edit[M, P] // that have ended
}

// Edit does to the bytes of a Row what the methods of Row do to its measures. It
// keeps the memory of the row and of all bodies that it is given, and changes none.
type Edit[M any, P Measure[M]] struct {
	editor *Editor[M, P]
	last   int64
	open   []editPane[M, P] // ascending
	total  editPane[M, P]   // the running total, whose start means nothing
}

// editPane is what was counted in a pane: nothing, bytes, or a measure once it was
// merged into for the second time. Where much meets in one pane, as in that of the
// overflow row, to decode and encode it each time would cost more than all else.
type editPane[M any, P Measure[M]] struct {
	start  int64
	body   []byte // nil: nothing, or see sum
	merged bool
	sum    *M // nil: see body
}

// Edit begins with the bytes of a row, nil for an empty one. It checks what stands
// before the total.
func (ed *Editor[M, P]) Edit(row []byte) (*Edit[M, P], error) {
	e := ed.newEdit()
	if row == nil {
		return e, nil
	}
	r, _ := NewRowReader(row) // it keeps its error
	e.last = r.last
	e.open = slices.Grow(e.open, r.open+1)
	for r.Next() {
		e.open = append(e.open, editPane[M, P]{start: r.Start, body: r.Body})
	}
	e.total.body = r.d.src
	return e, r.Err()
}

func (ed *Editor[M, P]) newEdit() *Edit[M, P] {
	last := len(ed.free) - 1
	if last < 0 {
		return &Edit[M, P]{editor: ed}
	}
	e := ed.free[last]
	ed.free = ed.free[:last]
	return e
}

// End says that the Edit is not used any more: its memory serves another one.
func (e *Edit[M, P]) End() {
	clear(e.open)
	*e = Edit[M, P]{editor: e.editor, open: e.open[:0]}
	e.editor.free = append(e.editor.free, e)
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
	return e.open[i].add(e.editor, body)
}

// AddTotal merges an encoded measure into the running total.
func (e *Edit[M, P]) AddTotal(body []byte) (err error) { return e.total.add(e.editor, body) }

// Close folds every pane with start <= through into the total and drops it, handing
// each to emit first, oldest first; see Row.Close.
func (e *Edit[M, P]) Close(through int64, emit func(start int64, body []byte)) error {
	n := 0
	for n < len(e.open) && e.open[n].start <= through {
		body := e.open[n].bytes()
		emit(e.open[n].start, body)
		if err := e.total.add(e.editor, body); err != nil {
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

// add merges an encoded measure.
func (p *editPane[M, P]) add(ed *Editor[M, P], body []byte) (err error) {
	switch {
	case p.sum != nil:
		return ed.mergeInto(p.sum, body)
	case p.body == nil:
		p.body = body
		return nil
	case !p.merged:
		p.merged = true
		if err = DecodeBody(p.body, P(&ed.sum)); err != nil {
			return fmt.Errorf("row: %w", err)
		}
		if err = ed.mergeInto(&ed.sum, body); err == nil {
			p.body = P(&ed.sum).Append(make([]byte, 0, len(p.body)+16))
		}
		return err
	}
	p.sum = new(M)
	if err = DecodeBody(p.body, P(p.sum)); err != nil {
		return fmt.Errorf("row: %w", err)
	}
	p.body = nil
	return ed.mergeInto(p.sum, body)
}

// bytes returns what was counted, nil for nothing. It stays as it is.
func (p *editPane[M, P]) bytes() []byte {
	if p.sum == nil {
		return p.body
	}
	return P(p.sum).Append(nil)
}

func (ed *Editor[M, P]) mergeInto(sum *M, body []byte) error {
	if err := DecodeBody(body, P(&ed.m)); err != nil {
		return err
	}
	P(sum).Merge(&ed.m)
	return nil
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

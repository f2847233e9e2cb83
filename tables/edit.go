package tables

import (
	"fmt"
	"slices"
)

// Edit changes an encoded Row. It decodes a pane, or the total, only when something
// is merged into it, so that what a change costs does not grow with the row: most
// partials of many series are the first of their pane, and are copied.
//
//	e.Reset(row)
//	e.Add(start, body)
//	row = e.Append(nil)
//
// It does to bytes what Row does to measures. The zero Edit is that of an empty row;
// one that was used can be Reset. It keeps the memory of the row and of all bodies
// that it was given until the next Reset.
type Edit[M any, P Measure[M]] struct {
	last  int64
	open  []part[M, P] // ascending
	total part[M, P]
}

// part is a measure, as bytes until it is added to.
type part[M any, P Measure[M]] struct {
	start int64
	body  []byte // void when m is there
	m     *M
}

// Reset begins with the bytes of a row, nil for an empty one. It checks what stands
// before the total.
func (e *Edit[M, P]) Reset(row []byte) error {
	clear(e.open)
	*e = Edit[M, P]{open: e.open[:0]}
	if row == nil {
		return nil
	}
	r, _ := NewRowReader(row) // it keeps its error
	e.last = r.last
	for r.Next() {
		e.open = append(e.open, part[M, P]{start: r.Start, body: r.Body})
	}
	e.total.body = r.d.src
	return r.Err()
}

// Add merges an encoded measure, which must not be zero, into the open pane at
// start; see Row.Add.
func (e *Edit[M, P]) Add(start int64, body []byte) error {
	e.last = max(e.last, start)
	i := len(e.open)
	for i > 0 && e.open[i-1].start >= start { // nearly always the last pane or two
		i--
	}
	if i == len(e.open) || e.open[i].start != start {
		e.open = slices.Insert(e.open, i, part[M, P]{start: start, body: body})
		return nil
	}
	return e.open[i].merge(body)
}

// AddTotal merges an encoded measure into the running total.
func (e *Edit[M, P]) AddTotal(body []byte) error { return e.total.merge(body) }

// Close folds every pane with start <= through into the total and drops it, handing
// each to emit first, oldest first; see Row.Close. The body is valid until the next
// call.
func (e *Edit[M, P]) Close(through int64, emit func(start int64, body []byte)) error {
	n := 0
	for n < len(e.open) && e.open[n].start <= through {
		p := &e.open[n]
		body := p.bytes()
		if err := e.total.merge(body); err != nil {
			return err
		}
		emit(p.start, body)
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
		if p.m != nil {
			dst = appendBody(dst, P(p.m))
		} else {
			dst = appendBytes(dst, p.body)
		}
		before = p.start
	}
	return append(dst, e.total.bytes()...)
}

func (p *part[M, P]) merge(body []byte) error {
	if p.m == nil {
		if p.body == nil { // the total of a row that was empty
			p.body = body
			return nil
		}
		p.m = new(M)
		if err := DecodeBody(p.body, P(p.m)); err != nil {
			return fmt.Errorf("row: %w", err)
		}
	}
	var m M
	if err := DecodeBody(body, P(&m)); err != nil {
		return err
	}
	P(p.m).Merge(&m)
	return nil
}

// bytes returns the encoded measure.
func (p *part[M, P]) bytes() []byte {
	if p.m != nil || p.body == nil {
		if p.m == nil {
			p.m = new(M)
		}
		return P(p.m).Append(nil)
	}
	return p.body
}

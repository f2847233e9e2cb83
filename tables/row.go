package tables

import (
	"fmt"
	"slices"
)

// Pane is a measure over the tumbling pane that begins at Start, in Unix
// milliseconds. How long panes are is the topology's business.
type Pane[M any] struct {
	Start int64
	M     M
}

// Row is the value under the key of one series: the running total of all closed
// panes and the panes still open, in ascending order. What was ever counted is
// Total merged with every open pane. The zero Row is empty and ready to use.
type Row[M any, P Measure[M]] struct {
	Total M
	Open  []Pane[M]

	// LastPane is the start of the newest pane that anything was added to, open
	// or closed; 0 before the first. It says how long the series has been silent.
	LastPane int64
}

// Add merges m into the open pane at start. It does not know which panes were
// closed: to keep late data out is up to whoever knows the watermark. Data added
// to a closed pane is not lost, but leaves as a second window record.
func (r *Row[M, P]) Add(start int64, m *M) {
	r.LastPane = max(r.LastPane, start)
	i := len(r.Open)
	for i > 0 && r.Open[i-1].Start >= start { // nearly always the last pane or two
		i--
	}
	if i == len(r.Open) || r.Open[i].Start != start {
		r.Open = slices.Insert(r.Open, i, Pane[M]{Start: start})
	}
	P(&r.Open[i].M).Merge(m)
}

// Close folds every pane with Start <= through into Total and drops it, handing
// each to emit first, oldest first. The pane is then emit's to keep.
func (r *Row[M, P]) Close(through int64, emit func(Pane[M])) {
	n := 0
	for n < len(r.Open) && r.Open[n].Start <= through {
		P(&r.Total).Merge(&r.Open[n].M)
		emit(r.Open[n])
		n++
	}
	r.Open = slices.Delete(r.Open, 0, n)
}

// Sum returns everything ever counted: Total and the open panes.
func (r *Row[M, P]) Sum() M {
	sum := P(&r.Total).Clone()
	for i := range r.Open {
		P(&sum).Merge(&r.Open[i].M)
	}
	return sum
}

// Clone returns a deep copy.
func (r *Row[M, P]) Clone() Row[M, P] {
	c := Row[M, P]{Total: P(&r.Total).Clone(), Open: slices.Clone(r.Open), LastPane: r.LastPane}
	for i := range c.Open {
		c.Open[i].M = P(&r.Open[i].M).Clone()
	}
	return c
}

// Append adds the row's bytes to dst:
//
//	version last-pane panes { gap size body } total
//
// The panes stand in front and tell their size, so that OpenPanes and RowReader
// find them without decoding any.
func (r *Row[M, P]) Append(dst []byte) []byte {
	dst = append(dst, Version)
	dst = appendSigned(dst, r.LastPane)
	dst = appendCount(dst, int64(len(r.Open)))
	before := r.LastPane
	for i := range r.Open {
		dst = appendSigned(dst, r.Open[i].Start-before)
		dst = appendBody(dst, P(&r.Open[i].M))
		before = r.Open[i].Start
	}
	return P(&r.Total).Append(dst)
}

// Decode replaces the row by the one in src, of which it retains nothing. Bytes
// of another version, cut short or with something behind them are an error,
// after which the row's content is undefined.
func (r *Row[M, P]) Decode(src []byte) error {
	*r = Row[M, P]{}
	in, _ := NewRowReader(src) // it keeps its error
	r.LastPane = in.last
	for in.Next() {
		p := Pane[M]{Start: in.Start}
		if err := DecodeBody(in.Body, P(&p.M)); err != nil {
			in.d.fail(err)
		}
		r.Open = append(r.Open, p)
	}
	in.d.measure(P(&r.Total))
	if err := in.d.end(); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}

// OpenPanes returns the oldest pane open in an encoded row, false when none is
// open, and the row's LastPane. It costs next to nothing, however long the row.
func OpenPanes(row []byte) (oldest int64, open bool, last int64, err error) {
	d := decoder{src: row}
	d.version()
	last = d.varint()
	if open = d.elements(minPane) > 0; open {
		oldest = last + d.varint()
	}
	if d.err != nil {
		return 0, false, 0, fmt.Errorf("find panes of row: %w", d.err)
	}
	return oldest, open, last, nil
}

// minPane is the least that an encoded pane takes: its gap and its size.
const minPane = 2

// RowReader iterates over the open panes of an encoded row, oldest first, without
// decoding what they counted:
//
//	r, err := NewRowReader(row)
//	for r.Next() { … r.Start, r.Body … }
//	err = r.Err()
type RowReader struct {
	// The current pane, valid until the row's memory is reused.
	Start int64
	Body  []byte // see DecodeBody

	last       int64 // LastPane of the row
	open, next int   // panes, and which comes next
	d          decoder
}

// NewRowReader reads what stands before the panes of a row, whose bytes it does not
// copy.
func NewRowReader(row []byte) (RowReader, error) {
	r := RowReader{d: decoder{src: row}}
	r.d.version()
	r.last = r.d.varint()
	r.open = r.d.elements(minPane)
	r.Start = r.last
	return r, r.Err()
}

// Next moves to the next pane. It returns false after the last and at the first
// corrupt byte; Err tells which.
func (r *RowReader) Next() bool {
	if r.next == r.open || r.d.err != nil {
		return false
	}
	before := r.Start
	r.Start += r.d.varint()
	r.Body = r.d.bytes()
	if r.next > 0 && r.Start <= before {
		r.d.fail(errOrder)
	}
	r.next++
	return r.d.err == nil
}

// Total returns the body of the running total, once Next has returned false and Err
// nothing.
func (r *RowReader) Total() []byte { return r.d.src }

// Err returns what ended the iteration early, or nil.
func (r *RowReader) Err() error {
	if r.d.err != nil {
		return fmt.Errorf("read row: %w", r.d.err)
	}
	return nil
}

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

// Append adds the row's bytes to dst, the format version first.
func (r *Row[M, P]) Append(dst []byte) []byte {
	dst = append(dst, Version)
	dst = appendSigned(dst, r.LastPane)
	dst = P(&r.Total).Append(dst)
	dst = appendCount(dst, int64(len(r.Open)))
	before := r.LastPane
	for i := range r.Open {
		dst = appendSigned(dst, r.Open[i].Start-before)
		dst = P(&r.Open[i].M).Append(dst)
		before = r.Open[i].Start
	}
	return dst
}

// Decode replaces the row by the one in src, of which it retains nothing. Bytes
// of another version, cut short or with something behind them are an error,
// after which the row's content is undefined.
func (r *Row[M, P]) Decode(src []byte) error {
	*r = Row[M, P]{}
	d := decoder{src: src}
	d.version()
	r.LastPane = d.varint()
	d.measure(P(&r.Total))
	before := r.LastPane
	for i := range d.elements(2) {
		p := Pane[M]{Start: before + d.varint()}
		d.measure(P(&p.M))
		if i > 0 && p.Start <= before {
			d.fail(errOrder)
		}
		if d.err != nil {
			break
		}
		r.Open = append(r.Open, p)
		before = p.Start
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}

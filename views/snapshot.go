package views

import (
	"fmt"

	"ragstreams/tables"
)

// Snapshot is a View as it was at one moment, for readers that look at few of many
// series, and more than once. It is safe for concurrent use.
type Snapshot[M any, P tables.Measure[M]] struct {
	pane int64
	all  []series[M, P]
}

// Snapshot returns the View as it is. No bytes are copied: a hundred thousand series
// take some milliseconds.
func (v *View[M, P]) Snapshot() *Snapshot[M, P] {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return &Snapshot[M, P]{pane: v.o.Panes.Size, all: v.allSeries()}
}

// Len returns how many series there are.
func (s *Snapshot[M, P]) Len() int { return len(s.all) }

// Key returns the key of a series. The overflow row comes once for each partition
// that has one.
func (s *Snapshot[M, P]) Key(i int) string { return s.all[i].key }

// Part is a part of what a series counted: in some span, or since it exists, or both.
type Part struct {
	tables.Span        // in which it was counted, if InSpan
	Body        []byte // for tables.DecodeBody

	InSpan, InEver bool
}

// History calls visit with the parts of what a series counted in every span that ends
// after from: in panes, and before those in hours, ascending and without overlap; spans
// in which it counted nothing are left out. Among them, and after them, are the parts of
// what it counted since it exists; of a series that its table has forgotten that is what
// it counted in the spans. Nothing is decoded: readers know what they need of a body.
func (s *Snapshot[M, P]) History(i int, from int64, visit func(Part) error) error {
	if err := s.all[i].history(s.pane, from, visit); err != nil {
		return fmt.Errorf("series %q: %w", s.all[i].key, err)
	}
	return nil
}

func (s *series[M, P]) history(pane, from int64, visit func(Part) error) error {
	add := func(start, end int64, body []byte) error {
		if end <= from {
			return nil
		}
		return visit(Part{Span: tables.Span{From: start, To: end}, Body: body, InSpan: true, InEver: s.row == nil})
	}
	for start, body := range s.past() {
		length := pane
		if start < s.cut {
			length = hour
		}
		if err := add(start, start+length, body); err != nil {
			return err
		}
	}
	if s.row == nil {
		return nil
	}
	row, _ := tables.NewRowReader(s.row) // it keeps its error
	for row.Next() {
		span := tables.Span{From: row.Start, To: row.Start + pane}
		if err := visit(Part{Span: span, Body: row.Body, InSpan: s.open(row.Start) && span.To > from, InEver: true}); err != nil {
			return err
		}
	}
	if err := row.Err(); err != nil {
		return err
	}
	return visit(Part{Body: row.Total(), InEver: true})
}

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

// History calls visit with what a series counted in every span that ends after from:
// in panes, and before those in hours, ascending and without overlap; spans in which
// it counted nothing are left out. It returns what the series counted since it exists,
// nil when its table has forgotten it. The measures may be kept.
func (s *Snapshot[M, P]) History(i int, from int64, visit func(span tables.Span, m *M)) (ever *M, err error) {
	l := historian[M, P]{series: &s.all[i], visit: visit, from: from}
	return l.read(s.pane)
}

// historian reads the history of one series.
type historian[M any, P tables.Measure[M]] struct {
	series *series[M, P]
	visit  func(span tables.Span, m *M)
	from   int64
}

func (l *historian[M, P]) read(pane int64) (*M, error) {
	s := l.series
	if h := s.hours; h != nil {
		for start, body := range h.complete.all() {
			if err := l.add(start, start+hour, body); err != nil {
				return nil, err
			}
		}
		end := h.folded + hour
		if s.panes.n > 0 { // of an hour that is being folded
			end = min(end, s.panes.first())
		}
		if err := l.add(h.folded, end, h.folding); err != nil {
			return nil, err
		}
	}
	for _, h := range []*history{&s.panes, &s.left} {
		for start, body := range h.all() {
			if err := l.add(start, start+pane, body); err != nil {
				return nil, err
			}
		}
	}
	if s.row == nil {
		return nil, nil
	}
	var row tables.Row[M, P]
	if err := row.Decode(s.row); err != nil {
		return nil, fmt.Errorf("row %q: %w", s.key, err)
	}
	for i := range row.Open {
		if p := &row.Open[i]; p.Start > s.closed && p.Start+pane > l.from {
			l.visit(tables.Span{From: p.Start, To: p.Start + pane}, &p.M)
		}
	}
	ever := row.Sum()
	return &ever, nil
}

func (l *historian[M, P]) add(start, end int64, body []byte) error {
	if end <= l.from {
		return nil
	}
	m := new(M)
	if err := l.series.merge(m, start, body); err != nil {
		return err
	}
	l.visit(tables.Span{From: start, To: end}, m)
	return nil
}

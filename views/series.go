package views

import (
	"fmt"
	"slices"
	"sync/atomic"

	"ragstreams/tables"
	"ragstreams/window"
)

// series is what is kept of one series: encoded, because most of it is never
// looked at again. The View's lock guards all but shown, which readers replace
// under the shared lock; as nothing else changes meanwhile, any two of them
// replace it by the same.
type series[M any, P tables.Measure[M]] struct {
	key   string
	row   []byte // never written to; nil: forgotten by its table, or not come yet
	rowNo uint64 // of row; it tells rows apart
	shown atomic.Pointer[shown[M]]

	closed       int64 // newest pane whose window record came, window.None before
	panes, hours history
}

// shown is what readers last saw of the panes that were not closed.
type shown[M any] struct {
	rowNo   uint64
	row     []byte
	starts  []int64          // of the panes open in row
	pending []tables.Pane[M] // left the row before; ascending
}

func newSeries[M any, P tables.Measure[M]](key string, pane int64) *series[M, P] {
	return &series[M, P]{key: key, closed: window.None, panes: history{unit: pane}, hours: history{unit: hour}}
}

func (s *series[M, P]) setRow(row []byte) {
	s.row = row
	s.rowNo++
}

// foldBatch is how many panes are gathered before they are folded into an hour:
// each time costs decoding and encoding the hour.
const foldBatch = 16

// fold moves up to foldBatch panes that start before t into their hours.
func (s *series[M, P]) fold(t int64) error {
	n := 0
	for n < foldBatch && s.panes.n > 0 {
		var sum M
		at, took := floor(s.panes.first(), hour), 0
		for start, body := range s.panes.all() {
			if start >= min(t, at+hour) || n+took == foldBatch {
				break
			}
			if err := s.merge(&sum, start, body); err != nil {
				return err
			}
			took++
		}
		if took == 0 {
			break
		}
		if err := s.addHour(at, &sum); err != nil {
			return err
		}
		s.panes.drop(took)
		n += took
	}
	return nil
}

func (s *series[M, P]) addHour(at int64, sum *M) error {
	if s.hours.n == 0 || s.hours.last != at {
		s.hours.append(at, P(sum).Append(nil))
		return nil
	}
	if err := s.merge(sum, at, s.hours.lastBody()); err != nil {
		return err
	}
	s.hours.replaceLast(P(sum).Append(nil))
	return nil
}

// merge adds an encoded measure to sum.
func (s *series[M, P]) merge(sum *M, start int64, body []byte) error {
	var m M
	if err := tables.DecodeBody(body, P(&m)); err != nil {
		return fmt.Errorf("series %q, pane at %d: %w", s.key, start, err)
	}
	P(sum).Merge(&m)
	return nil
}

// empty reports whether nothing of the series is worth keeping once everything
// before expired is forgotten.
func (s *series[M, P]) empty(expired int64) bool {
	return s.row == nil && s.panes.n == 0 && s.hours.n == 0 && s.shown.Load().last() <= max(s.closed, expired)
}

// last returns the newest pane shown, window.None when there is none.
func (w *shown[M]) last() int64 {
	last := window.None
	if w != nil && len(w.starts) > 0 {
		last = w.starts[len(w.starts)-1]
	}
	if w != nil && len(w.pending) > 0 {
		last = max(last, w.pending[len(w.pending)-1].Start)
	}
	return last
}

// open returns the row and the panes without a window record, ascending, and
// notes that they were shown.
func (s *series[M, P]) open() (row tables.Row[M, P], panes []tables.Pane[M], err error) {
	if s.row != nil {
		if err := row.Decode(s.row); err != nil {
			return row, nil, fmt.Errorf("row %q: %w", s.key, err)
		}
	}
	was := s.shown.Load()
	if was == nil || was.rowNo != s.rowNo {
		now := &shown[M]{rowNo: s.rowNo, row: s.row}
		for i := range row.Open {
			now.starts = append(now.starts, row.Open[i].Start)
		}
		if now.pending, err = s.left(was, now.starts); err != nil {
			return row, nil, err
		}
		s.shown.Store(now)
		was = now
	}
	for _, p := range was.pending {
		if p.Start > s.closed {
			panes = append(panes, p)
		}
	}
	for _, p := range row.Open {
		if p.Start > s.closed {
			panes = append(panes, p)
		}
	}
	return row, panes, nil
}

// left returns the panes that were shown, are open no more and have no window
// record yet.
func (s *series[M, P]) left(was *shown[M], open []int64) ([]tables.Pane[M], error) {
	if was == nil {
		return nil, nil
	}
	var pending []tables.Pane[M]
	gone := func(start int64) bool { return start > s.closed && !slices.Contains(open, start) }
	for _, p := range was.pending {
		if gone(p.Start) {
			pending = append(pending, p)
		}
	}
	if !slices.ContainsFunc(was.starts, gone) {
		return pending, nil
	}
	var row tables.Row[M, P]
	if err := row.Decode(was.row); err != nil {
		return nil, fmt.Errorf("row %q: %w", s.key, err)
	}
	for _, p := range row.Open {
		if gone(p.Start) {
			pending = append(pending, p)
		}
	}
	return pending, nil
}

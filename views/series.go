package views

import (
	"fmt"
	"iter"
	"math"

	"ragstreams/tables"
	"ragstreams/window"
)

// none as the start of a pane is beyond all: there is no such pane.
const none int64 = math.MaxInt64

// series is what is kept of one series: encoded, because most of it is never
// looked at again. A pane is in one of hours, folding, panes, left and row; in the
// last two it counts only when it is newer than closed. Bytes are never written to,
// so that a copy of the struct stays what the series was.
type series[M any, P tables.Measure[M]] struct {
	key   string
	row   []byte // nil: forgotten by its table, or not come yet
	first int64  // the oldest pane open in row; none when there is none

	closed int64   // newest pane whose window record came, window.None before
	hours  *hours  // nil: none yet
	panes  history // with a window record
	left   history // left the row, and no window record yet
}

// hours are the sums of panes with a window record. They are replaced, not changed.
type hours struct {
	complete history
	folding  []byte // the newest hour, which panes are still added to
	folded   int64  // start of it
}

func newSeries[M any, P tables.Measure[M]](key string, pane int64) *series[M, P] {
	return &series[M, P]{
		key: key, first: none, closed: window.None,
		panes: history{unit: pane}, left: history{unit: pane},
	}
}

// setRow replaces the row by one whose oldest open pane is first. An error tells
// that the row before could not be read; it is replaced all the same.
func (s *series[M, P]) setRow(row []byte, first int64) error {
	before, left := s.row, s.first < first
	s.row, s.first = row, first
	if !left {
		return nil
	}
	return s.keep(before, first)
}

// keep keeps the panes that left the row, as they were in the row before, until
// their window records are there. Panes leave a row oldest first: they are those
// before the first that is open now.
func (s *series[M, P]) keep(before []byte, first int64) error {
	panes, err := tables.NewRowReader(before)
	for err == nil && panes.Next() && panes.Start < first {
		if panes.Start > s.closed {
			s.left.append(panes.Start, panes.Body)
		}
	}
	if err = panes.Err(); err != nil {
		return fmt.Errorf("the row before: %w", err)
	}
	return nil
}

// addWindow adds a closed pane, which must come after those before.
func (s *series[M, P]) addWindow(start int64, body []byte) {
	s.panes.append(start, body)
	s.closed = start
	s.left.expire(start + 1)
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

// addHour adds sum to the hour at start, the newest or a later one. It stands apart
// from the others because it is replaced again and again.
func (s *series[M, P]) addHour(start int64, sum *M) error {
	h := hours{complete: history{unit: hour}}
	if s.hours != nil {
		h = *s.hours
		if h.folded != start {
			h.complete.append(h.folded, h.folding)
		} else if err := s.merge(sum, start, h.folding); err != nil {
			return err
		}
	}
	h.folding, h.folded = P(sum).Append(nil), start
	s.hours = &h
	return nil
}

// past yields start and body of everything but the row, ascending.
func (s *series[M, P]) past() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		if h := s.hours; h != nil {
			for start, body := range h.complete.all() {
				if !yield(start, body) {
					return
				}
			}
			if !yield(h.folded, h.folding) {
				return
			}
		}
		for _, h := range []*history{&s.panes, &s.left} {
			for start, body := range h.all() {
				if !yield(start, body) {
					return
				}
			}
		}
	}
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

// expire forgets what starts before t. A pane that left the row and is that old
// waits no more: its window record may itself have expired.
func (s *series[M, P]) expire(t int64) {
	s.left.expire(t)
	h := s.hours
	switch {
	case h == nil:
	case h.folded < t: // the newest
		s.hours = nil
	case h.complete.n > 0 && h.complete.first() < t:
		left := *h
		left.complete.expire(t)
		s.hours = &left
	}
}

// empty reports whether nothing is left of the series.
func (s *series[M, P]) empty() bool {
	return s.row == nil && s.hours == nil && s.panes.n == 0 && s.left.n == 0
}

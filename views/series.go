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
// looked at again. Up to a time, its cut, it is told by the hours, and from there on by
// its panes: each of those is in one of panes, left and row, and in the last two it counts
// only when it is newer than closed. Bytes are never written to, so that a copy of the
// struct stays what the series was.
type series[M any, P tables.Measure[M]] struct {
	key   string
	row   []byte // nil: forgotten by its table, or not come yet
	first int64  // the oldest pane open in row; none when there is none

	closed int64   // newest pane whose window record came, window.None before
	hours  history // sums of all panes of an hour
	panes  history // with a window record
	left   history // left the row, and no window record yet

	cut int64 // only in copies; see partition.cut
}

func newSeries[M any, P tables.Measure[M]](key string, pane int64) *series[M, P] {
	return &series[M, P]{
		key: key, first: none, closed: window.None,
		hours: history{unit: hour}, panes: history{unit: pane}, left: history{unit: pane},
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

// addHour adds the sum of an hour. One that came before changes nothing.
func (s *series[M, P]) addHour(start int64, body []byte) {
	if s.hours.n == 0 || start > s.hours.last {
		s.hours.append(start, body)
	}
}

// past yields start and body of everything but the row, ascending: of a copy, whose cut is
// known.
func (s *series[M, P]) past() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		for start, body := range s.hours.all() {
			if start >= s.cut {
				break
			}
			if !yield(start, body) {
				return
			}
		}
		for _, h := range []*history{&s.panes, &s.left} {
			for start, body := range h.all() {
				if start >= s.cut && !yield(start, body) {
					return
				}
			}
		}
	}
}

// open reports whether a pane of the row counts, of a copy.
func (s *series[M, P]) open(start int64) bool { return start > s.closed && start >= s.cut }

// merge adds an encoded measure to sum.
func (s *series[M, P]) merge(sum *M, start int64, body []byte) error {
	var m M
	if err := tables.DecodeBody(body, P(&m)); err != nil {
		return fmt.Errorf("series %q, pane at %d: %w", s.key, start, err)
	}
	P(sum).Merge(&m)
	return nil
}

// expire forgets the panes that start before cut and the hours that start before t.
func (s *series[M, P]) expire(cut, t int64) {
	s.panes.expire(cut)
	s.left.expire(cut)
	s.hours.expire(t)
}

// empty reports whether nothing is left of the series.
func (s *series[M, P]) empty() bool {
	return s.row == nil && s.hours.n == 0 && s.panes.n == 0 && s.left.n == 0
}

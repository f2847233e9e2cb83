package processors

import "ragstreams/codecs"

// seen holds the ids of the events that were counted in panes still open, and
// where in the events topic those panes began, so that the set can be built
// again from there.
type seen struct {
	ids   idTable
	open  map[int64]*seenPane // by start
	last  *seenPane           // the pane used last: events come in order, mostly
	panes uint32              // ever opened
}

type seenPane struct {
	start  int64
	offset int64  // of the first record with an event of this pane
	number uint32 // in ids
}

func newSeen() *seen {
	return &seen{ids: newIDTable(), open: map[int64]*seenPane{}}
}

// has reports whether an event with this id was counted.
func (s *seen) has(id codecs.ID) bool { return s.ids.has(id) }

// add notes a counted event of the pane at start, read at offset.
func (s *seen) add(start, offset int64, e *codecs.PackedEvent) {
	p := s.last
	if p == nil || p.start != start {
		if p = s.open[start]; p == nil {
			s.panes++
			p = &seenPane{start: start, offset: offset, number: s.panes}
			s.open[start] = p
		}
		s.last = p
	}
	if e.HasID {
		s.ids.add(e.ID, p.number)
	}
}

// expire forgets the panes that start at through or before, which are closed: a copy
// of one of their events is late, whoever sends it.
func (s *seen) expire(through int64) {
	var closed []uint32
	for start, p := range s.open {
		if start > through {
			continue
		}
		closed = append(closed, p.number)
		delete(s.open, start)
		if s.last == p {
			s.last = nil
		}
	}
	if len(closed) > 0 {
		s.ids.remove(closed)
	}
}

// horizon returns the offset from which the set can be built again; next is the
// offset of the first record that was not read.
func (s *seen) horizon(next int64) int64 {
	for _, p := range s.open {
		next = min(next, p.offset)
	}
	return next
}

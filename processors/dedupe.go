package processors

import "ragstreams/codecs"

// seen holds the ids of the events that were counted in panes still open, and
// where in the events topic those panes began, so that the set can be built
// again from there.
type seen struct {
	ids  map[codecs.ID]struct{}
	open map[int64]*seenPane // by start
	last *seenPane           // the pane used last: events come in order, mostly
}

type seenPane struct {
	start  int64
	offset int64 // of the first record with an event of this pane
	ids    []codecs.ID
}

func newSeen() *seen {
	return &seen{ids: map[codecs.ID]struct{}{}, open: map[int64]*seenPane{}}
}

// has reports whether an event with this id was counted.
func (s *seen) has(id codecs.ID) bool {
	_, ok := s.ids[id]
	return ok
}

// add notes a counted event of the pane at start, read at offset.
func (s *seen) add(start, offset int64, e *codecs.PackedEvent) {
	p := s.last
	if p == nil || p.start != start {
		if p = s.open[start]; p == nil {
			p = &seenPane{start: start, offset: offset}
			s.open[start] = p
		}
		s.last = p
	}
	if e.HasID {
		s.ids[e.ID] = struct{}{}
		p.ids = append(p.ids, e.ID)
	}
}

// expire forgets the panes that start at through or before, which are closed: a copy
// of one of their events is late, whoever sends it.
func (s *seen) expire(through int64) {
	for start, p := range s.open {
		if start > through {
			continue
		}
		for _, id := range p.ids {
			delete(s.ids, id)
		}
		delete(s.open, start)
		if s.last == p {
			s.last = nil
		}
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

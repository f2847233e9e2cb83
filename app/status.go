package app

import (
	"maps"
	"slices"
	"sync"
)

// status collects what keeps the program from being ready, by part. It is safe
// for concurrent use.
type status struct {
	mu    sync.Mutex
	parts map[string]string
}

func newStatus() *status { return &status{parts: map[string]string{}} }

// set notes why a part is not ready.
func (s *status) set(part, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[part] = reason
}

// clear notes that a part is ready.
func (s *status) clear(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, part)
}

// missing lists the parts that are not ready, in order.
func (s *status) missing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, part := range slices.Sorted(maps.Keys(s.parts)) {
		list = append(list, part+": "+s.parts[part])
	}
	return list
}

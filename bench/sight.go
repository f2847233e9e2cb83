package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// sight matches events that were sent with the counts in which they show: the k-th
// event of a series is visible once its row counts k. It is safe for concurrent use.
type sight struct {
	mu     sync.Mutex
	series map[string]*sightings
	hidden int           // events that are not visible yet
	none   chan struct{} // closed when hidden is 0 again
	delays []time.Duration
}

// sightings are the events of one series.
type sightings struct {
	visible int64
	waiting []sighting // oldest first
}

type sighting struct {
	at   time.Time
	keep bool // its delay is wanted
}

func newSight() *sight {
	s := &sight{series: map[string]*sightings{}, none: make(chan struct{})}
	close(s.none)
	return s
}

// sent notes an event that is about to be sent.
func (s *sight) sent(series string, at time.Time, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden == 0 {
		s.none = make(chan struct{})
	}
	s.hidden++
	one := s.of(series)
	one.waiting = append(one.waiting, sighting{at, keep})
}

// show notes that the row of a series counts so many events.
func (s *sight) show(series string, count int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of(series)
	for ; one.visible < count && len(one.waiting) > 0; one.visible++ {
		if first := one.waiting[0]; first.keep {
			s.delays = append(s.delays, now.Sub(first.at))
		}
		one.waiting = one.waiting[1:]
		if s.hidden--; s.hidden == 0 {
			close(s.none)
		}
	}
}

func (s *sight) of(series string) *sightings {
	one := s.series[series]
	if one == nil {
		one = new(sightings)
		s.series[series] = one
	}
	return one
}

// wait returns when all that was sent is visible, with an error if that takes
// longer than patience.
func (s *sight) wait(ctx context.Context, patience time.Duration) error {
	s.mu.Lock()
	none := s.none
	s.mu.Unlock()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-limit.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("%d events are still not visible after %s", s.hidden, patience)
	}
}

// take returns the delays kept so far, ascending, and forgets them.
func (s *sight) take() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.delays
	s.delays = nil
	slices.Sort(all)
	return all
}

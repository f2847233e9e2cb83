// Package traces finds all events of one trace in the source topics, and puts them in
// order: which step ran when, for how long, with what end.
//
//	source topics ─ Finder ─▶ []Event ─ Assemble ─▶ Trace
//
// Nothing of a trace is kept anywhere else: an event is found where its producer put it, by
// a hint or by a search that is bounded; see Finder.
package traces

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ragstreams/event"
)

// Place is where the record of an event lies.
type Place = event.Place

// Event is one event of a trace.
type Event struct {
	Place
	ID, Type, Stage, Model string
	Tenant, App            string
	Error                  bool
	ErrorType              string
	ErrorTemplate          string // of the message, without what may be personal
	Time                   time.Time
	Duration               time.Duration // meaningful when HasDuration
	HasDuration            bool
	TTFT                   time.Duration // 0 when unknown
	InputTokens            int64
	OutputTokens           int64
	Content                []byte // the record as it is; nil where it is not shown
}

// Step statuses.
const (
	StatusOK      = "ok"
	StatusError   = "error"
	StatusRunning = "running" // it began, and nothing told of its end
)

// Step is one step of a trace: an event, or the beginning and the end of something.
type Step struct {
	Stage, Model, Status string
	Start, End           time.Time
	// Known says that the step has a duration. One without is a moment.
	Known bool
	// Self is the part of the duration in which no step ran that lies within this one.
	Self time.Duration
	// Gap is how long nothing ran before the step began; of the first it is 0.
	Gap    time.Duration
	Copies int     // of its events, beyond the first of each
	Events []Event // one, or beginning and end
}

// Duration returns how long the step took, 0 of a moment.
func (s *Step) Duration() time.Duration { return s.End.Sub(s.Start) }

// Trace is the life of one trace.
type Trace struct {
	Start, End time.Time
	Steps      []Step // by their start
	Slowest    int    // the step with the longest Self; -1: none has a duration
	Status     string // of the worst step
}

// Assemble puts the events of a trace in order. Events with one id of one tenant are copies
// of one event. The time of an event with a duration is its end; what is called X_started
// begins what is called X_completed, X_failed or X_returned of the same stage.
func Assemble(events []Event) Trace {
	t := Trace{Slowest: -1, Status: StatusOK}
	if len(events) == 0 {
		return t
	}
	unique, copies := distinct(events)
	t.Steps = steps(unique, copies)
	slices.SortStableFunc(t.Steps, compareSteps)
	t.Start = t.Steps[0].Start
	for i := range t.Steps {
		s := &t.Steps[i]
		if i > 0 && s.Start.After(t.End) {
			s.Gap = s.Start.Sub(t.End)
		}
		if s.End.After(t.End) {
			t.End = s.End
		}
		switch {
		case s.Status == StatusError:
			t.Status = StatusError
		case s.Status == StatusRunning && t.Status == StatusOK:
			t.Status = StatusRunning
		}
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		s.Self = s.Duration() - within(t.Steps, i)
		if s.Known && (t.Slowest < 0 || s.Self > t.Steps[t.Slowest].Self) {
			t.Slowest = i
		}
	}
	return t
}

// compareSteps orders steps by their start: moments first, then those within which others
// may lie.
func compareSteps(a, b Step) int {
	if c := a.Start.Compare(b.Start); c != 0 {
		return c
	}
	switch x, y := a.Duration(), b.Duration(); {
	case x == 0 && y > 0:
		return -1
	case x > 0 && y == 0:
		return 1
	case x != y:
		return cmp.Compare(y, x)
	}
	return comparePlaces(a.Events[0].Place, b.Events[0].Place)
}

func comparePlaces(a, b Place) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// distinct returns the events in the order of their times, copies left out, and how many
// copies each has beyond the first.
func distinct(events []Event) (unique []Event, copies map[Place]int) {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int { return cmp.Or(a.Time.Compare(b.Time), comparePlaces(a.Place, b.Place)) })
	copies = map[Place]int{}
	first := map[[2]string]Place{}
	for _, e := range sorted {
		id := [2]string{e.Tenant, e.ID}
		if e.ID != "" {
			if of, known := first[id]; known {
				copies[of]++
				continue
			}
			first[id] = e.Place
		}
		unique = append(unique, e)
	}
	return unique, copies
}

// ends are what the end of a step is called.
var ends = []string{"_completed", "_failed", "_returned"}

const beginning = "_started"

// steps pairs beginnings and ends. Events are in the order of their times.
func steps(events []Event, copies map[Place]int) (all []Step) {
	open := map[[2]string][]int{} // where in all, by name and stage, of what began and has not ended
	for _, e := range events {
		name, begins := strings.CutSuffix(e.Type, beginning)
		if begins && !e.HasDuration {
			key := [2]string{name, e.Stage}
			open[key] = append(open[key], len(all))
			all = append(all, Step{Stage: e.Stage, Model: e.Model, Status: StatusRunning, Start: e.Time, End: e.Time, Copies: copies[e.Place], Events: []Event{e}})
			continue
		}
		s := Step{Stage: e.Stage, Model: e.Model, Status: StatusOK, Start: e.Time, End: e.Time, Known: e.HasDuration, Copies: copies[e.Place], Events: []Event{e}}
		if e.Error {
			s.Status = StatusError
		}
		if e.HasDuration {
			s.Start = e.Time.Add(-e.Duration)
		}
		for _, end := range ends {
			name, is := strings.CutSuffix(e.Type, end)
			if key := [2]string{name, e.Stage}; is && len(open[key]) > 0 {
				i := open[key][0]
				open[key] = open[key][1:]
				s.begun(&all[i])
				all[i] = s
				s.Events = nil
			}
		}
		if s.Events != nil {
			all = append(all, s)
		}
	}
	return all
}

// begun takes in how the step began. A duration that the end tells is what was measured.
func (s *Step) begun(at *Step) {
	if !s.Known {
		s.Start, s.Known = at.Start, true
	}
	s.Copies += at.Copies
	s.Model = cmp.Or(s.Model, at.Model)
	s.Events = append(at.Events, s.Events...)
}

// within returns how long any step ran that lies within another one, which is longer.
func within(all []Step, of int) (sum time.Duration) {
	s := &all[of]
	covered := s.Start
	for i := range all { // by their start
		in := &all[i]
		if in.Start.After(s.End) {
			break
		}
		if i == of || in.Start.Before(s.Start) || in.End.After(s.End) || in.Duration() >= s.Duration() {
			continue
		}
		if in.End.After(covered) {
			from := in.Start
			if covered.After(from) {
				from = covered
			}
			sum += in.End.Sub(from)
			covered = in.End
		}
	}
	return sum
}

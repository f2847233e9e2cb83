package window

import "time"

// State says how far a source partition was read.
type State uint8

// States of a source partition. Only its owner tells; a missing report never
// means Idle.
const (
	Unread   State = iota // there may be records that were not read yet
	CaughtUp              // read to its end
	Idle                  // read to its end, and silent since: it holds nobody back
)

func (s State) String() string {
	switch s {
	case Unread:
		return "unread"
	case CaughtUp:
		return "caught up"
	case Idle:
		return "idle"
	}
	return "BUG: no such state"
}

// Partition names one partition of a source topic.
type Partition struct {
	Topic     string
	Partition int32
}

// Report is what the owner of a source partition tells about it.
type Report struct {
	StreamTime int64 // greatest event time, never ahead of the owner's clock; None: no event yet
	NewestTime int64 // greatest event time accepted, up to max_future ahead of the clock; None likewise
	State      State
}

// Source follows one source partition. The zero value is not ready: use
// NewSource.
type Source struct {
	Report
	IdleAfter   time.Duration // silence after which a partition read to its end is idle
	BehindAfter int64         // ms behind the greatest stream time at which it is idle at once
	lastEvent   time.Duration // when the last was accepted, monotonic
}

// NewSource starts with what was durable: the partition is Unread until its
// owner knows better, whatever it was before. now is a monotonic clock.
func NewSource(streamTime, newestTime int64, idleAfter time.Duration, behindAfter int64, now time.Duration) *Source {
	return &Source{
		Report:    Report{StreamTime: streamTime, NewestTime: newestTime, State: Unread},
		IdleAfter: idleAfter, BehindAfter: behindAfter, lastEvent: now,
	}
}

// Event advances the stream time by an accepted event. It never runs ahead of
// the clock, or one producer with a fast clock would close everyone's windows. now
// is the monotonic clock: records that are no events, or late, do not break the
// silence of a partition, or one that brings nothing else would hold everybody
// back.
func (s *Source) Event(t, clock int64, now time.Duration) {
	s.StreamTime = max(s.StreamTime, min(t, clock))
	s.NewestTime = max(s.NewestTime, t)
	s.lastEvent = now
}

// Judge updates the state. atEnd: the partition was read to its end; greatest is
// the greatest stream time of all sources.
func (s *Source) Judge(atEnd bool, greatest int64, now time.Duration) {
	switch {
	case !atEnd:
		s.State = Unread
	case now-s.lastEvent >= s.IdleAfter,
		s.StreamTime != None && greatest != None && greatest-s.StreamTime > s.BehindAfter:
		s.State = Idle
	default:
		s.State = CaughtUp
	}
}

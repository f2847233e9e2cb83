package window

import (
	"maps"
	"time"
)

// Watermark follows how far event time has come over all source partitions: no
// event before it is still expected. It never falls.
//
// It stands still until every expected partition has reported. Then it is the
// smallest stream time of the partitions that can still bring older events; one
// that was not read to its end and has shown no event yet may bring anything
// and holds it where it is. Partitions that are idle, or were read to their end
// and found empty, hold nobody back.
//
// When all are idle there is nothing to wait for: event time then goes on with
// the clock, from the greatest stream time, until every pane is closed. So the
// windows of a quiet night close.
//
// Not safe for concurrent use.
type Watermark struct {
	panes     Panes
	value     int64
	expected  map[Partition]bool
	reports   map[Partition]Report
	idleSince time.Duration // monotonic; valid while allIdle
	allIdle   bool
}

// NewWatermark starts at the durable value, None for a new one.
func NewWatermark(p Panes, value int64) *Watermark {
	return &Watermark{panes: p, value: value, expected: map[Partition]bool{}, reports: map[Partition]Report{}}
}

// Expect replaces the set of partitions that must report. Partitions that left
// are forgotten.
func (w *Watermark) Expect(partitions []Partition) {
	clear(w.expected)
	for _, p := range partitions {
		w.expected[p] = true
	}
	maps.DeleteFunc(w.reports, func(p Partition, _ Report) bool { return !w.expected[p] })
}

// Report notes what the owner of a partition says. A stream time that falls (an
// old report read again) is ignored, its state is not.
func (w *Watermark) Report(p Partition, r Report) {
	old, ok := w.reports[p]
	if ok {
		r.StreamTime = max(r.StreamTime, old.StreamTime)
		r.NewestTime = max(r.NewestTime, old.NewestTime)
	}
	w.reports[p] = r
}

// Value returns the watermark, None before there is one.
func (w *Watermark) Value() int64 { return w.value }

// Missing returns how many expected partitions have not reported.
func (w *Watermark) Missing() int {
	n := 0
	for p := range w.expected {
		if _, ok := w.reports[p]; !ok {
			n++
		}
	}
	return n
}

// Greatest returns the greatest stream time reported, None when there is none.
func (w *Watermark) Greatest() int64 {
	greatest := None
	for _, r := range w.reports {
		greatest = max(greatest, r.StreamTime)
	}
	return greatest
}

// Slowest returns the smallest stream time, at or after the watermark, of the
// partitions that were not read to their end; None when there is none. Readers
// far ahead of it wait for it.
func (w *Watermark) Slowest() int64 {
	slowest := None
	for _, r := range w.reports {
		if r.State == Unread && r.StreamTime != None && r.StreamTime >= w.value && (slowest == None || r.StreamTime < slowest) {
			slowest = r.StreamTime
		}
	}
	return slowest
}

// Advance recomputes the watermark and returns it. now is a monotonic clock.
func (w *Watermark) Advance(now time.Duration) int64 {
	if len(w.expected) == 0 || w.Missing() > 0 {
		return w.value
	}
	least, greatest, newest := None, None, None
	waiting, idle := false, true
	for p := range w.expected {
		r := w.reports[p]
		greatest, newest = max(greatest, r.StreamTime), max(newest, r.NewestTime)
		switch {
		case r.State == Idle, r.StreamTime == None && r.State != Unread:
			continue
		case r.StreamTime == None:
			waiting = true
		case least == None || r.StreamTime < least:
			least = r.StreamTime
		}
		idle = false
	}
	if idle && !w.allIdle {
		w.idleSince = now
	}
	w.allIdle = idle
	switch {
	case waiting:
	case !idle:
		w.value = max(w.value, least)
	case greatest != None:
		// After the end of the newest pane and its grace nothing is left to close.
		end := w.panes.End(max(newest, greatest)) + w.panes.Grace
		w.value = max(w.value, min(greatest+(now-w.idleSince).Milliseconds(), end))
	}
	return w.value
}

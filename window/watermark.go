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
// Only its owner says that a partition is idle or empty, and what it said holds for
// Lease: owners report every second, so one that has not is gone, and what came
// since nobody knows. Such a partition counts as unread.
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
	reports   map[Partition]heard
	greatest  int64         // stream time of all reports; None when there is none
	newest    int64         // when the newest report was sent
	now       time.Duration // monotonic, of the last Report or Advance
	idleSince time.Duration // monotonic; valid while allIdle
	allIdle   bool
}

// Lease is how long a report that a partition holds nobody back is believed.
const Lease = 10 * time.Second

// heard is a report, and when it was made.
type heard struct {
	Report
	sent int64         // Unix milliseconds, by the owner's clock; None: not in this life
	at   time.Duration // monotonic
}

// NewWatermark starts at the durable value, None for a new one.
func NewWatermark(p Panes, value int64) *Watermark {
	return &Watermark{panes: p, value: value, expected: map[Partition]bool{}, reports: map[Partition]heard{}, greatest: None, newest: None}
}

// Expect replaces the set of partitions that must report. Partitions that left
// are forgotten.
func (w *Watermark) Expect(partitions []Partition) {
	clear(w.expected)
	for _, p := range partitions {
		w.expected[p] = true
	}
	maps.DeleteFunc(w.reports, func(p Partition, _ heard) bool { return !w.expected[p] })
	w.greatest = None
	for _, r := range w.reports {
		w.greatest = max(w.greatest, r.StreamTime)
	}
}

// Report notes what the owner of a partition says: sent is the time of the record
// that brought it, in Unix milliseconds, now the monotonic clock. A stream time that
// falls (an old report read again) is ignored, its state is not.
func (w *Watermark) Report(p Partition, r Report, sent int64, now time.Duration) {
	w.newest, w.now = max(w.newest, sent), now
	w.note(p, heard{r, sent, now})
}

// Remember notes what the owner of a partition said before this process was there:
// how far it had come, which stands, but not its state, which may have changed.
func (w *Watermark) Remember(p Partition, r Report) {
	r.State = Unread
	w.note(p, heard{r, None, 0})
}

func (w *Watermark) note(p Partition, h heard) {
	if old, ok := w.reports[p]; ok {
		h.StreamTime = max(h.StreamTime, old.StreamTime)
		h.NewestTime = max(h.NewestTime, old.NewestTime)
	}
	w.reports[p] = h
	w.greatest = max(w.greatest, h.StreamTime)
}

// holds reports whether a partition can still bring older events, as its owner said
// last and as far as that is still believed. Reports grow old by the clock of those
// who send them, which is what counts while a backlog of reports is read, and by
// ours, when no more come at all.
func (w *Watermark) holds(h heard) (said, believed bool) {
	said = h.State == Unread || h.State == CaughtUp && h.StreamTime != None
	return said, said || w.old(h)
}

func (w *Watermark) old(h heard) bool {
	return h.sent == None || w.newest-h.sent > Lease.Milliseconds() || w.now-h.at > Lease
}

// Behind reports whether any expected partition was not read to its end, as far as is
// known at a monotonic time.
func (w *Watermark) Behind(now time.Duration) bool {
	w.now = now
	for p := range w.expected {
		if r, told := w.reports[p]; !told || r.State == Unread || w.old(r) {
			return true
		}
	}
	return len(w.expected) == 0
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
func (w *Watermark) Greatest() int64 { return w.greatest }

// Slowest returns the smallest stream time, at or after the watermark, of the
// partitions that were not read to their end; None when there is none. Readers
// far ahead of it wait for it.
func (w *Watermark) Slowest() int64 {
	slowest := None
	for _, r := range w.reports {
		_, holds := w.holds(r)
		if holds && r.State != CaughtUp && r.StreamTime != None && r.StreamTime >= w.value && (slowest == None || r.StreamTime < slowest) {
			slowest = r.StreamTime
		}
	}
	return slowest
}

// Advance recomputes the watermark and returns it. now is a monotonic clock.
func (w *Watermark) Advance(now time.Duration) int64 {
	w.now = now
	if len(w.expected) == 0 {
		return w.value
	}
	least, greatest, newest := None, None, None
	waiting, idle, saidIdle := false, true, true
	for p := range w.expected {
		r, told := w.reports[p]
		if !told {
			return w.value
		}
		greatest, newest = max(greatest, r.StreamTime), max(newest, r.NewestTime)
		said, holds := w.holds(r)
		saidIdle = saidIdle && !said
		switch {
		case !holds:
			continue
		case r.StreamTime == None:
			waiting = true
		case least == None || r.StreamTime < least:
			least = r.StreamTime
		}
		idle = false
	}
	if saidIdle && !w.allIdle {
		w.idleSince = now
	}
	w.allIdle = saidIdle
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

// Package window is the arithmetic of event time: which pane an event belongs
// to, when it is late, how far the sources have come, and when a pane closes.
//
// It knows nothing of Kafka, keys, tables or clocks: times come in as arguments,
// so that every rule can be tested to the millisecond. All times are Unix
// milliseconds.
package window

import "math"

// None is the time of something that has not happened: the stream time of a
// partition without events, the watermark before there is one.
const None int64 = math.MinInt64

// Panes are tumbling windows aligned to the Unix epoch, start inclusive, end
// exclusive. Longer windows are merges of panes.
type Panes struct {
	Size  int64 // milliseconds, > 0
	Grace int64 // milliseconds, >= 0
}

// Start returns the start of the pane that holds t.
func (p Panes) Start(t int64) int64 {
	start := t - t%p.Size
	if start > t { // the remainder of a time before 1970 is negative
		start -= p.Size
	}
	return start
}

// End returns the end, exclusive, of the pane that holds t.
func (p Panes) End(t int64) int64 { return p.Start(t) + p.Size }

// Accepts reports whether a source partition that has reached streamTime still
// takes an event of time t: it does while the end of the event's pane is after
// stream time minus grace, as in Kafka Streams (KStreamWindowAggregate).
func (p Panes) Accepts(t, streamTime int64) bool {
	return streamTime == None || p.End(t) > streamTime-p.Grace
}

// Lateness returns by how many milliseconds an event that is not accepted
// missed its pane.
func (p Panes) Lateness(t, streamTime int64) int64 { return streamTime - p.Grace - p.End(t) }

// Closed reports whether the pane that starts at start takes no more events at
// a watermark.
func (p Panes) Closed(start, watermark int64) bool {
	return watermark != None && start+p.Size+p.Grace <= watermark
}

// ClosedThrough returns the start of the newest pane that is closed at a
// watermark, None before there is one.
func (p Panes) ClosedThrough(watermark int64) int64 {
	if watermark == None {
		return None
	}
	return p.Start(watermark-p.Grace) - p.Size
}

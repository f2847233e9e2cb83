package deadletters

import (
	"bytes"

	"ragstreams/codecs"
	"ragstreams/event"
)

// anotherRecord is why the record at an original's place is not the original.
const anotherRecord = "another record is there now: the topic was made again"

// differs returns why a record at the original's place is not the original; "": it is, as
// far as the letter tells.
func (l *Letter) differs(r *Record) string {
	same := l.matchesKept(r)
	if l.Holds == Note {
		same = l.matchesNote(r)
	}
	if !same {
		return anotherRecord
	}
	return ""
}

// matchesKept compares what was not cut.
func (l *Letter) matchesKept(r *Record) bool {
	part := func(whole, kept []byte, length int) bool {
		if length == 0 {
			return bytes.Equal(whole, kept)
		}
		return len(whole) == length && bytes.HasPrefix(whole, kept)
	}
	return r.Timestamp == l.SourceTimestamp && part(r.Value, l.Value, l.ValueCut) && part(r.Key, l.Key, l.KeyCut)
}

// matchesNote compares the time of the event, all that a note tells of it.
func (l *Letter) matchesNote(r *Record) bool {
	var e event.Event
	d := codecs.JSON{MaxBytes: len(r.Value)}
	if poison := d.Decode(r.Value, &e); poison != nil {
		return false
	}
	return timeOf(&e, r) == l.EventTime
}

// timeOf returns the time of an event: its own, or that of its record.
func timeOf(e *event.Event, r *Record) int64 {
	if e.HasTime {
		return e.Time
	}
	return r.Timestamp
}

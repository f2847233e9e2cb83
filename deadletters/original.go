package deadletters

import (
	"bytes"
	"context"
	"fmt"

	"ragstreams/codecs"
	"ragstreams/event"
)

// Gone says that the original of a letter cannot be had, so that nothing can be sent.
type Gone struct {
	Letter, Source Place
	Why            string
	Mendable       bool // nothing but the value is missing
}

func (g *Gone) Error() string {
	next := "what was cut of it is lost"
	if g.Mendable {
		next = "give a whole value by hand, which can be sent in its place"
	}
	return fmt.Sprintf("the original of %s, %s, is gone: %s: %s", g.Letter, g.Source, g.Why, next)
}

// original returns the record as it was sent to its source topic. Where the letter does
// not hold all of it, it is read there; what is there now may be another record.
func original(ctx context.Context, log Log, l *Letter) (Record, error) {
	if l.Holds == Whole {
		return l.kept(), nil
	}
	r, why, err := log.At(ctx, l.Source)
	if err != nil {
		return Record{}, fmt.Errorf("read %s, the original of %s: %w", l.Source, l.Place(), err)
	}
	if why == "" {
		why = l.differs(&r)
	}
	if why != "" {
		return Record{}, &Gone{l.Place(), l.Source, why, l.onlyValueCut()}
	}
	return r, nil
}

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

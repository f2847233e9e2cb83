package deadletters

import (
	"fmt"
	"slices"
	"strconv"
)

// Headers of a record on a side topic, behind those of the original. The first four are
// always there and in this order.
const (
	HeaderTopic     = "source_topic"
	HeaderPartition = "source_partition"
	HeaderOffset    = "source_offset"
	HeaderTimestamp = "source_timestamp_ms" // the event's time where the record is a note
	HeaderReason    = "reason"
	HeaderDetail    = "detail"        // of poison: for people
	HeaderEventTime = "event_time_ms" // of late records
	HeaderLateness  = "lateness_ms"   // likewise
	HeaderCut       = "cut_from_bytes"
	HeaderKeyCut    = "key_cut_from_bytes"
	HeaderLeftOut   = "headers_left_out"
)

// ReasonWatermark is the reason of a late record of which only a note is kept: it was
// packed already when it turned out to be late.
const ReasonWatermark = "watermark"

// What of the original a letter holds.
const (
	Whole = "whole"
	Cut   = "cut"  // value, key or headers are missing
	Note  = "note" // nothing but where the original lies
)

// Letter is a record of a side topic, understood.
type Letter struct {
	Record // as it lies there
	Source Place
	// SourceTimestamp is Kafka's timestamp of the original; of a note, its event time.
	SourceTimestamp int64
	Reason          string
	Detail          string
	// EventTime and Lateness are those of a late record, in milliseconds.
	EventTime, Lateness int64
	IsLate              bool
	Holds               string
	// Lengths that the original had of what was cut, and its number of headers if they
	// were left out; 0: it was not.
	ValueCut, KeyCut, LeftOut int

	Theirs []Header // of the original, as far as they are here
	Mark   *Mark    // of the replay that had sent the original; nil: none
}

// Parse reads a record of a side topic. Our headers are the last ones: a producer may
// have headers of the same names.
func Parse(r Record) (*Letter, error) {
	l := &Letter{Record: r, Holds: Whole}
	at := len(r.Headers) - 1
	for at >= 0 && r.Headers[at].Key != HeaderTopic {
		at--
	}
	if at < 0 {
		return nil, fmt.Errorf("%s has no header %s: it was not written by this program", r.Place(), HeaderTopic)
	}
	l.Theirs, l.Mark = CutMark(r.Headers[:at])
	ours := map[string]string{}
	for _, h := range r.Headers[at:] {
		ours[h.Key] = string(h.Value)
	}
	var bad error
	number := func(name string, required bool, bits int) int64 {
		text, there := ours[name]
		n, err := strconv.ParseInt(text, 10, bits)
		if (there || required) && (err != nil || n < 0) && bad == nil {
			bad = fmt.Errorf("%s: header %s is %q: want a number", r.Place(), name, text)
		}
		return n
	}
	l.Source = Place{Topic: ours[HeaderTopic], Partition: int32(number(HeaderPartition, true, 32)), Offset: number(HeaderOffset, true, 64)}
	l.SourceTimestamp, _ = strconv.ParseInt(ours[HeaderTimestamp], 10, 64) // a producer's clock may say anything
	l.Reason, l.Detail = ours[HeaderReason], ours[HeaderDetail]
	l.ValueCut, l.KeyCut, l.LeftOut = int(number(HeaderCut, false, 64)), int(number(HeaderKeyCut, false, 64)), int(number(HeaderLeftOut, false, 64))
	if _, l.IsLate = ours[HeaderLateness]; l.IsLate {
		l.Lateness = number(HeaderLateness, false, 64)
		l.EventTime, _ = strconv.ParseInt(ours[HeaderEventTime], 10, 64)
	}
	switch {
	case l.IsLate && l.Reason == ReasonWatermark:
		l.Holds, l.EventTime = Note, l.SourceTimestamp
	case l.ValueCut+l.KeyCut+l.LeftOut > 0:
		l.Holds = Cut
	}
	return l, bad
}

// onlyValueCut reports whether the letter holds all of the original but its value.
func (l *Letter) onlyValueCut() bool { return l.Holds != Note && l.KeyCut == 0 && l.LeftOut == 0 }

// kept returns the original, as far as the letter holds it.
func (l *Letter) kept() Record {
	r := Record{Topic: l.Source.Topic, Partition: l.Source.Partition, Offset: l.Source.Offset, Timestamp: l.SourceTimestamp, Headers: l.Theirs}
	if l.Mark != nil {
		r.Headers = append(slices.Clip(l.Theirs), l.Mark.Headers()...)
	}
	if l.Holds != Note {
		r.Key, r.Value = l.Key, l.Value
	}
	return r
}

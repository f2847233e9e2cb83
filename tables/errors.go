package tables

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Errors is one error group: the errors of one tenant, app and stage that share a
// fingerprint. One that has counted nothing is zero in every other field as well.
type Errors struct {
	Count               int64
	FirstSeen, LastSeen int64  // event times, Unix milliseconds
	Sessions            Sketch // hashes of the sessions affected

	// What the group is called. A fingerprint stands for one type and template;
	// should two ever meet, the lesser string that is not empty stays.
	ErrorType, Template string

	Newest, Slowest Sample
}

// Sample is one error of a group, and where the record that told of it lies. The
// zero Sample is none.
type Sample struct {
	Time      int64  // Unix milliseconds
	Duration  int64  // nanoseconds; 0 where unknown
	TraceID   string // at most MaxTraceID bytes; empty where there is none
	Topic     string // source topic
	Partition int32
	Offset    int64
}

// MarshalJSON writes the sample as the HTTP API shows it.
func (s Sample) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Time      time.Time `json:"time"`
		Duration  float64   `json:"duration_seconds"`
		TraceID   string    `json:"trace_id"`
		Topic     string    `json:"topic"`
		Partition int32     `json:"partition"`
		Offset    int64     `json:"offset"`
	}{instant(s.Time), seconds(float64(s.Duration)), s.TraceID, s.Topic, s.Partition, s.Offset})
}

// Observe counts one error, at the time of its sample. The session is a hash, 0
// where the error has none. The strings are copied where they are kept.
func (e *Errors) Observe(s Sample, errorType, template string, session uint64) {
	if e.Count == 0 {
		e.FirstSeen, e.LastSeen = s.Time, s.Time
	}
	e.Count++
	e.FirstSeen, e.LastSeen = min(e.FirstSeen, s.Time), max(e.LastSeen, s.Time)
	if session != 0 {
		e.Sessions.Add(session)
	}
	if t := lesser(e.ErrorType, errorType); t != e.ErrorType {
		e.ErrorType = strings.Clone(t)
	}
	if t := lesser(e.Template, template); t != e.Template {
		e.Template = strings.Clone(t)
	}
	s.TraceID = keptTraceID(s.TraceID)
	newest, slowest := beats(s, e.Newest, newerSample), beats(s, e.Slowest, slowerSample)
	if !newest && !slowest {
		return
	}
	s.TraceID, s.Topic = strings.Clone(s.TraceID), strings.Clone(s.Topic)
	if newest {
		e.Newest = s
	}
	if slowest {
		e.Slowest = s
	}
}

// lesser returns the lesser of two strings; an empty one does not count.
func lesser(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

func newerSample(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Duration, b.Duration), compareOrigin(a, b))
}

func slowerSample(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.Duration, b.Duration), cmp.Compare(a.Time, b.Time), compareOrigin(a, b))
}

func compareOrigin(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.TraceID, b.TraceID), cmp.Compare(a.Topic, b.Topic),
		cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Merge implements Measure.
func (e *Errors) Merge(from *Errors) {
	switch {
	case from.Count == 0:
		return
	case e.Count == 0:
		*e = from.Clone()
		return
	}
	e.Count += from.Count
	e.FirstSeen, e.LastSeen = min(e.FirstSeen, from.FirstSeen), max(e.LastSeen, from.LastSeen)
	e.Sessions.Merge(&from.Sessions)
	e.ErrorType, e.Template = lesser(e.ErrorType, from.ErrorType), lesser(e.Template, from.Template)
	if beats(from.Newest, e.Newest, newerSample) {
		e.Newest = from.Newest
	}
	if beats(from.Slowest, e.Slowest, slowerSample) {
		e.Slowest = from.Slowest
	}
}

// Append implements Measure.
func (e *Errors) Append(dst []byte) []byte {
	dst = appendCount(dst, e.Count)
	if e.Count == 0 {
		return dst
	}
	dst = appendSigned(dst, e.FirstSeen)
	dst = appendSigned(dst, e.LastSeen)
	dst = e.Sessions.Append(dst)
	dst = appendString(dst, e.ErrorType)
	dst = appendString(dst, e.Template)
	dst = e.Newest.append(dst)
	return e.Slowest.append(dst)
}

// Decode implements Measure.
func (e *Errors) Decode(src []byte) ([]byte, error) {
	*e = Errors{}
	d := decoder{src: src}
	if e.Count = d.count(); e.Count == 0 {
		return d.src, d.err
	}
	e.FirstSeen, e.LastSeen = d.varint(), d.varint()
	d.measure(&e.Sessions)
	e.ErrorType, e.Template = d.string(), d.string()
	e.Newest.decode(&d)
	e.Slowest.decode(&d)
	if e.FirstSeen > e.LastSeen {
		d.fail(errOrder)
	}
	return d.src, d.err
}

// DecodeCount reads the count of a body, and leaves out all behind it.
func (e *Errors) DecodeCount(body []byte) error {
	d := decoder{src: body}
	if e.Count = d.count(); d.err != nil {
		return fmt.Errorf("decode count of errors: %w", d.err)
	}
	return nil
}

func (s *Sample) append(dst []byte) []byte {
	dst = appendSigned(dst, s.Time)
	dst = appendSigned(dst, s.Duration)
	dst = appendTraceID(dst, s.TraceID)
	dst = appendString(dst, s.Topic)
	dst = appendSigned(dst, int64(s.Partition))
	return appendSigned(dst, s.Offset)
}

func (s *Sample) decode(d *decoder) {
	*s = Sample{Time: d.varint(), Duration: d.varint(), TraceID: d.traceID(), Topic: d.string(),
		Partition: d.int32(), Offset: d.varint()}
}

// Clone implements Measure.
func (e *Errors) Clone() Errors {
	c := *e
	c.Sessions = e.Sessions.Clone()
	return c
}

// IsZero implements Measure.
func (e *Errors) IsZero() bool { return e.Count == 0 }

// States of an error group, as seen from a span of time.
const (
	StateNew     = "new"     // it was first seen within the span
	StateOngoing = "ongoing" // it had been seen before
)

// state returns the state of a group within span, by when it was first seen ever.
func state(firstSeen int64, span Span) string {
	if span.From <= firstSeen && firstSeen < span.To {
		return StateNew
	}
	return StateOngoing
}

// samples returns up to two different samples, the newest first.
func (e *Errors) samples() []Sample {
	list := []Sample{}
	if e.Newest != (Sample{}) {
		list = append(list, e.Newest)
	}
	if e.Slowest != (Sample{}) && e.Slowest != e.Newest {
		list = append(list, e.Slowest)
	}
	return list
}

// ErrorsTable shows which errors there are, which are new and who is affected.
// Its first_seen and state look at all of the group's life, its other columns at
// the span asked for.
var ErrorsTable = Table[Errors]{
	Definition: Definition{
		Name:  "errors",
		Dims:  []string{"tenant", "app", "stage", "fingerprint"},
		Names: map[string]string{"error_type": "fingerprint", "template": "fingerprint"},
		Columns: []Column{
			{"tenant", TypeString, ""},
			{"app", TypeString, ""},
			{"stage", TypeString, ""},
			{"fingerprint", TypeString, ""},
			{"error_type", TypeString, ""},
			{"template", TypeString, ""},
			{"count", TypeInteger, ""},
			{"first_seen", TypeTime, ""},
			{"last_seen", TypeTime, ""},
			{"sessions", TypeInteger, ""},
			{"state", TypeString, ""},
			{"samples", TypeSamples, ""},
		},
	},
	values: func(row []any, m, ever *Errors, span Span) []any {
		errorType, template := m.ErrorType, m.Template
		if row[0] == OverflowLabel { // many groups in one: none of them names it
			errorType, template = OverflowLabel, OverflowLabel
		}
		if m.IsZero() {
			return append(row, errorType, template, m.Count, nil, nil, int64(0), "", []Sample{})
		}
		first := m.FirstSeen
		if !ever.IsZero() {
			first = min(first, ever.FirstSeen)
		}
		return append(row, errorType, template, m.Count, instant(first), instant(m.LastSeen),
			m.Sessions.Count(), state(first, span), m.samples())
	},
}

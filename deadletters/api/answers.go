package api

import (
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"ragstreams/deadletters"
	"ragstreams/internal/answers"
)

// Column is a column of an answer, as tables have them.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // string, int, bool, time, headers
}

// List is the answer to a list.
type List struct {
	Topic   string   `json:"topic"`
	Order   string   `json:"order"`
	Content bool     `json:"content"` // what records hold is shown
	Next    *string  `json:"next"`    // cursor; null: there are no more
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Row is a letter in a list.
type Row struct {
	Partition       int32    `json:"partition"`
	Offset          int64    `json:"offset"`
	CameAt          string   `json:"came_at"`
	Reason          string   `json:"reason"`
	Detail          string   `json:"detail"`
	SourceTopic     string   `json:"source_topic"`
	SourcePartition int32    `json:"source_partition"`
	SourceOffset    int64    `json:"source_offset"`
	SourceAt        string   `json:"source_timestamp"`
	EventTime       *string  `json:"event_time"`  // of late records
	Lateness        *float64 `json:"lateness_ms"` // likewise
	Holds           string   `json:"holds"`       // whole, cut, or a note of where the original lies
	KeyBytes        *int     `json:"key_bytes"`   // of the original; null: nil, or not known
	ValueBytes      *int     `json:"value_bytes"`
	Headers         []Header `json:"headers"`
	Replays         *int     `json:"replays"`     // how often the original had been replayed; null: only the original tells
	Replay          *string  `json:"last_replay"` // id of the replay that had sent it
}

// Header is a record header.
type Header struct {
	Key      string  `json:"key"`
	Value    *string `json:"value"`
	Encoding string  `json:"encoding"`
}

var rowColumns = []Column{
	{"partition", "int"}, {"offset", "int"}, {"came_at", "time"}, {"reason", "string"}, {"detail", "string"},
	{"source_topic", "string"}, {"source_partition", "int"}, {"source_offset", "int"}, {"source_timestamp", "time"},
	{"event_time", "time"}, {"lateness_ms", "int"}, {"holds", "string"}, {"key_bytes", "int"}, {"value_bytes", "int"},
	{"headers", "headers"}, {"replays", "int"}, {"last_replay", "string"},
}

// NewList makes the answer to a list.
func NewList(topic string, entries []*deadletters.Entry, next deadletters.Spans) List {
	l := List{Topic: topic, Order: "newest first", Content: true, Next: optional(next.String()), Columns: rowColumns, Rows: []Row{}}
	for _, e := range entries {
		row := newRow(&e.Letter, originalBytes(e.KeyBytes, e.KeyCut, e.Holds), originalBytes(e.ValueBytes, e.ValueCut, e.Holds))
		if e.Bad != nil {
			row.Detail = e.Bad.Error()
		}
		l.Rows = append(l.Rows, row)
	}
	return l
}

func newRow(l *deadletters.Letter, keyBytes, valueBytes *int) Row {
	r := Row{
		Partition: l.Partition, Offset: l.Offset, CameAt: answers.Stamp(time.UnixMilli(l.Timestamp)), Reason: l.Reason, Detail: l.Detail,
		SourceTopic: l.Source.Topic, SourcePartition: l.Source.Partition, SourceOffset: l.Source.Offset, SourceAt: answers.Stamp(time.UnixMilli(l.SourceTimestamp)),
		Holds: l.Holds, KeyBytes: keyBytes, ValueBytes: valueBytes, Headers: newHeaders(l.Theirs),
	}
	if l.IsLate {
		at, by := answers.Stamp(time.UnixMilli(l.EventTime)), float64(l.Lateness)
		r.EventTime, r.Lateness = &at, &by
	}
	if l.Holds != deadletters.Note {
		r.mark(l.Mark)
	}
	return r
}

// mark tells of the replay that sent the original; nil: none did.
func (r *Row) mark(m *deadletters.Mark) {
	r.Replays = new(int)
	if m != nil {
		*r.Replays, r.Replay = m.Before+1, &m.Replay
	}
}

// originalBytes returns how long a part of the original is.
func originalBytes(here, cutFrom int, holds string) *int {
	switch {
	case holds == deadletters.Note || here < 0:
		return nil
	case cutFrom > 0:
		return &cutFrom
	}
	return &here
}

func newHeaders(headers []deadletters.Header) []Header {
	list := []Header{}
	for _, h := range headers {
		value, encoding := text(h.Value)
		list = append(list, Header{h.Key, value, encoding})
	}
	return list
}

// Encodings of bytes.
const (
	asText   = "text"
	asBase64 = "base64" // of what is no UTF-8
)

// text writes bytes; nil stays nil.
func text(b []byte) (s *string, encoding string) {
	switch {
	case b == nil:
		return nil, asText
	case utf8.Valid(b):
		t := string(b)
		return &t, asText
	}
	t := base64.StdEncoding.EncodeToString(b)
	return &t, asBase64
}

// Shown is one letter with its content.
type Shown struct {
	Row
	Content       bool    `json:"content"` // as in a list
	Key           *string `json:"key"`
	KeyEncoding   string  `json:"key_encoding"`
	Value         *string `json:"value"`
	ValueEncoding string  `json:"value_encoding"`
	// Gone says why the original cannot be had, and key, value and headers are what is left
	// of it; null: they are the original's.
	Gone    *string             `json:"original_gone"`
	Verdict deadletters.Verdict `json:"verdict"` // what a replay would do now
	Why     string              `json:"why"`
	HasID   bool                `json:"has_id"`
}

// NewShown makes the answer that shows one letter.
func NewShown(s *deadletters.Shown) Shown {
	keyBytes, valueBytes := originalBytes(length(s.Original.Key), 0, ""), originalBytes(length(s.Original.Value), 0, "")
	if s.Gone != "" { // what is left of it is shorter
		keyBytes, valueBytes = originalBytes(length(s.Key), s.KeyCut, s.Holds), originalBytes(length(s.Letter.Value), s.ValueCut, s.Holds)
	}
	out := Shown{Row: newRow(s.Letter, keyBytes, valueBytes), Content: true, Gone: optional(s.Gone), Verdict: s.Verdict, Why: s.Why, HasID: s.HasID}
	if s.Gone == "" {
		out.mark(s.Mark)
	}
	out.Headers = newHeaders(s.Original.Headers)
	out.Key, out.KeyEncoding = text(s.Original.Key)
	out.Value, out.ValueEncoding = text(s.Original.Value)
	return out
}

// hide leaves out what the records hold. A detail repeats a part of a value.
func (l *List) hide() {
	l.Content = false
	for i := range l.Rows {
		l.Rows[i].hide()
	}
}

func (r *Row) hide() {
	r.Detail = ""
	for i := range r.Headers {
		r.Headers[i].Value = nil
	}
}

func (s *Shown) hide() {
	s.Content, s.Key, s.Value = false, nil, nil
	s.Row.hide()
	s.Why = hideWhy(s.Verdict, s.Why)
}

func (r *Result) hide() {
	for i := range r.Rows {
		r.Rows[i].Why = hideWhy(r.Rows[i].Verdict, r.Rows[i].Why)
	}
}

// hideWhy leaves out why a record is poison but for the reason.
func hideWhy(v deadletters.Verdict, why string) string {
	if v == deadletters.StillPoison || strings.HasPrefix(why, string(deadletters.StillPoison)) {
		why, _, _ = strings.Cut(strings.TrimPrefix(why, string(deadletters.StillPoison)+": "), ":")
	}
	return why
}

// length returns the number of bytes, -1 for nil.
func length(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// Result is the answer to a replay.
type Result struct {
	*answers.Problem
	Replay    string                      `json:"replay"`
	Topic     string                      `json:"topic"`
	DryRun    bool                        `json:"dry_run"`
	Matched   int                         `json:"matched"`
	Sent      int                         `json:"sent"` // or would be, with dry_run
	SentTo    map[string]int              `json:"sent_to"`
	Skipped   map[deadletters.Verdict]int `json:"skipped"`
	Failed    map[deadletters.Verdict]int `json:"failed"`
	WithoutID int                         `json:"sent_without_id"`
	Next      *string                     `json:"next"` // cursor; null: all was looked at
	Columns   []Column                    `json:"columns"`
	Rows      []OutcomeRow                `json:"rows"`
}

// OutcomeRow is what became of a letter.
type OutcomeRow struct {
	Partition       int32               `json:"partition"`
	Offset          int64               `json:"offset"`
	Reason          string              `json:"reason"`
	SourceTopic     string              `json:"source_topic"`
	SourcePartition int32               `json:"source_partition"`
	SourceOffset    int64               `json:"source_offset"`
	Verdict         deadletters.Verdict `json:"verdict"`
	Why             string              `json:"why"`
	Forced          bool                `json:"forced"`
	HasID           bool                `json:"has_id"`
	Replays         int                 `json:"replays"`
}

var outcomeColumns = []Column{
	{"partition", "int"}, {"offset", "int"}, {"reason", "string"}, {"source_topic", "string"}, {"source_partition", "int"},
	{"source_offset", "int"}, {"verdict", "string"}, {"why", "string"}, {"forced", "bool"}, {"has_id", "bool"}, {"replays", "int"},
}

// NewResult makes the answer to a replay.
func NewResult(topic string, r *deadletters.Result, outcomes []deadletters.Outcome) Result {
	out := Result{
		Replay: r.ID, Topic: topic, DryRun: r.DryRun, Matched: r.Matched, Sent: r.Sent, SentTo: r.SentTo,
		Skipped: r.Skipped, Failed: r.Failed, WithoutID: r.WithoutID, Next: optional(r.Left.String()), Columns: outcomeColumns, Rows: []OutcomeRow{},
	}
	for _, o := range outcomes {
		out.Rows = append(out.Rows, OutcomeRow{
			o.Letter.Partition, o.Letter.Offset, o.Reason, o.Source.Topic, o.Source.Partition, o.Source.Offset, o.Verdict, o.Why, o.Forced, o.HasID, o.Before,
		})
	}
	return out
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

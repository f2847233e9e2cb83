// Package deadletters knows the records of the two side topics, the dead letters and the
// late records: what is in one, where its original lies, whether it would be counted if it
// was sent again, and how that is done so that it can be traced.
//
//	side topic ─ Parse ─▶ Letter ─ original ─▶ Record ─ Judge ─▶ Verdict
//	                                              └─ Mark ─▶ source topic, same partition
//
// A replay is no second way into the tables: what it sends is read, checked for
// duplicates and counted as any record of a source topic, and comes to a side topic again
// if it has to.
//
// The package holds the rules. It reads and sends through small interfaces and connects to
// nothing.
package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Header is one record header. It is an alias, so that the transport's is the same type.
type Header = struct {
	Key   string
	Value []byte
}

// Record is a record of a side topic or a source topic. Nil and empty keys and values are
// told apart.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // Unix milliseconds, Kafka's
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Place returns where the record lies.
func (r *Record) Place() Place { return Place{r.Topic, r.Partition, r.Offset} }

// Place is where a record lies.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String writes a place such as rag-traces/0@17.
func (p Place) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// ParsePlace reads what String writes.
func ParsePlace(text string) (p Place, err error) {
	rest, offset, _ := cutLast(text, '@')
	topic, partition, _ := cutLast(rest, '/')
	n, err1 := strconv.ParseInt(partition, 10, 32)
	p.Offset, err = strconv.ParseInt(offset, 10, 64)
	if p.Topic, p.Partition = topic, int32(n); topic == "" || errors.Join(err1, err) != nil || n < 0 || p.Offset < 0 {
		return Place{}, fmt.Errorf("%q is no place of a record: want TOPIC/PARTITION@OFFSET", text)
	}
	return p, nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

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
	number := func(name string, required bool) int64 {
		text, there := ours[name]
		n, err := strconv.ParseInt(text, 10, 64)
		if (there || required) && (err != nil || n < 0) && bad == nil {
			bad = fmt.Errorf("%s: header %s is %q: want a number", r.Place(), name, text)
		}
		return n
	}
	l.Source = Place{ours[HeaderTopic], int32(number(HeaderPartition, true)), number(HeaderOffset, true)}
	l.SourceTimestamp, _ = strconv.ParseInt(ours[HeaderTimestamp], 10, 64) // a producer's clock may say anything
	l.Reason, l.Detail = ours[HeaderReason], ours[HeaderDetail]
	l.ValueCut, l.KeyCut, l.LeftOut = int(number(HeaderCut, false)), int(number(HeaderKeyCut, false)), int(number(HeaderLeftOut, false))
	if _, l.IsLate = ours[HeaderLateness]; l.IsLate {
		l.Lateness = number(HeaderLateness, false)
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

// Mark is what a record carries that was sent by a replay, in headers behind its own. It
// carries that of its newest replay only, so it does not grow.
type Mark struct {
	Replay string    // id of the replay
	By     string    // who asked for it
	At     time.Time // when it began
	Of     Place     // the dead letter
	Reason string    // why it was one
	Before int       // how often the record had been replayed before
	Mended bool      // the value is not the producer's
}

// markNames are the headers of a mark, in their order.
var markNames = []string{"replay_id", "replay_by", "replay_at", "replay_of", "replay_reason", "replays_before", "replay_mended"}

// Bounds of a mark, in bytes. One header of more is none of ours.
const (
	maxMarkHeader = 300
	maxName       = 128 // of who asks for a replay, and of its id
)

// Headers writes the mark.
func (m *Mark) Headers() []Header {
	values := []string{
		m.Replay, m.By, m.At.UTC().Format(time.RFC3339Nano), m.Of.String(), m.Reason,
		strconv.Itoa(m.Before), strconv.FormatBool(m.Mended),
	}
	headers := make([]Header, len(values))
	for i, v := range values {
		headers[i] = Header{Key: markNames[i], Value: []byte(v)}
	}
	return headers
}

// CutMark parts the headers of a record of a source topic: its producer's, and the mark
// of the replay that sent it, nil when none did.
func CutMark(headers []Header) (theirs []Header, mark *Mark) {
	at := len(headers) - len(markNames)
	if at < 0 || headers[at].Key != markNames[0] { // most records have none
		return headers, nil
	}
	values := make([]string, len(markNames))
	for i, h := range headers[at:] {
		if h.Key != markNames[i] || len(h.Value) > maxMarkHeader {
			return headers, nil
		}
		values[i] = string(h.Value)
	}
	m := &Mark{Replay: values[0], By: values[1], Reason: values[4]}
	var errs [4]error
	m.At, errs[0] = time.Parse(time.RFC3339Nano, values[2])
	m.Of, errs[1] = ParsePlace(values[3])
	m.Before, errs[2] = strconv.Atoi(values[5])
	m.Mended, errs[3] = strconv.ParseBool(values[6])
	if errors.Join(errs[:]...) != nil || m.Before < 0 {
		return headers, nil
	}
	return headers[:at:at], m
}

// Log reads what Kafka holds. All that it hands on is committed.
type Log interface {
	// Spans returns, by partition, which offsets of a topic hold what came since a time;
	// zero: all that there is.
	Spans(ctx context.Context, topic string, since time.Time) (Spans, error)
	// Read visits the records of a span in order, and returns the first error of visit.
	Read(ctx context.Context, topic string, partition int32, s Span, visit func(Record) error) error
	// At returns the record of a place, or why there is none.
	At(ctx context.Context, p Place) (r Record, why string, err error)
}

// Gone says that the original of a letter cannot be had, so that nothing can be sent.
type Gone struct {
	Letter, Source Place
	Why            string
}

func (g *Gone) Error() string {
	return fmt.Sprintf("the original of %s, %s, is gone: %s: only a whole value, given by hand, can be sent in its place", g.Letter, g.Source, g.Why)
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
		return Record{}, &Gone{l.Place(), l.Source, why}
	}
	return r, nil
}

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

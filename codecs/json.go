package codecs

import (
	"fmt"
	"math"
	"time"

	"ragstreams/event"
)

// Limits of the JSON codec.
const (
	// DefaultMaxBytes is the size of the largest record taken when MaxBytes is
	// 0: the 1 MB that Kafka brokers take by default.
	DefaultMaxBytes = 1 << 20

	// MaxDuration is the longest latency believed. A month covers the slowest
	// batch job; what is longer is a wrong unit or a timestamp, and a few of
	// those would overflow a sum of nanoseconds.
	MaxDuration = 30 * 24 * time.Hour

	// MaxTokens is the largest token count believed, the largest integer that
	// every JSON writer can express exactly.
	MaxTokens = 1 << 53
)

// JSON decodes flat JSON records:
//
//	{"event_id":"6f1c","event_type":"llm_call_completed","trace_id":"9b2e",
//	 "session_id":"s-1","user_id":"u-7","tenant":"acme","app":"kotaemon",
//	 "stage":"generate","model":"gpt-4o","status":"error",
//	 "error":{"type":"TimeoutError","message":"timed out after 30s","stack":"…"},
//	 "latency_ms":1234.5,"ttft_ms":310,"tokens":{"input":812,"output":164},
//	 "timestamp":"2025-04-05T10:00:00Z"}
//
// Only event_type is required. A field that is null is absent. Unknown fields
// are ignored, but the record must be one valid JSON object (RFC 8259) no more
// than 10,000 levels deep. Names are case-sensitive; of a name that occurs
// twice the last value counts and the others are not looked at; error and
// tokens are replaced as a whole, not merged. Invalid UTF-8 and lone
// surrogates become U+FFFD.
//
//   - event_id, trace_id, session_id and user_id are strings, or numbers, which
//     stand for their own text. event_type, tenant, app, stage and model are
//     strings. An absent stage is event.StageOf the type.
//   - status is a string. "", "ok", "success" and "unset" in any case are ok,
//     every other one is an error.
//   - error is an object of the strings type, message and stack, or a string
//     (the message), or true; it makes the event an error. An object without
//     any text in these three, "", false and null do not.
//   - latency_ms and duration_ms are milliseconds, duration is seconds, each
//     from 0 to MaxDuration. The first of the three that is there is Duration.
//     ttft_ms is the same for TTFT. Nanoseconds are cut, not rounded.
//   - tokens is an object of input and output, integers from 0 to MaxTokens
//     (12.0 and 1e3 are integers).
//   - timestamp is RFC 3339, or an epoch number, bare or in a string, whose size
//     tells its unit: below 1e11 seconds, below 1e14 milliseconds, below 1e17
//     microseconds, else nanoseconds. It is cut to milliseconds and must fall
//     into the years 1970 to 2261 (UTC).
//
// The zero JSON is ready. It is not safe for concurrent use.
type JSON struct {
	MaxBytes int // largest record taken, in bytes; 0 means DefaultMaxBytes

	value   []byte            // the record in hand; nil between calls
	fields  [fieldCount]token // the last value of each known field
	scratch []byte            // text that had to be rewritten
	want    string            // what would have been taken, after a refusal:
	stop    int               // by the scanner, at this offset
	bad     field             // by a field
}

// Decode makes e the event that value holds and returns nil, or makes e the
// zero event and returns why value is poison. When several things are wrong
// the answer is the first of too_large, empty, syntax, then the fields in a
// fixed order, event_type first.
//
// The slices of e point into value or into d and are valid until the next
// Decode. Decode allocates nothing for a good record, once d has seen the
// longest text with escapes.
func (d *JSON) Decode(value []byte, e *event.Event) *Poison {
	e.Reset()
	d.value, d.scratch = value, d.scratch[:0]
	p := d.scan()
	if p == nil {
		p = d.fill(e)
	}
	if p != nil {
		e.Reset()
	}
	d.value = nil
	return p
}

// scan checks the whole record and finds the known fields in it.
func (d *JSON) scan() *Poison {
	limit := d.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	if limit = min(limit, math.MaxInt32); len(d.value) > limit { // offsets are 32 bits
		return &Poison{ReasonTooLarge, fmt.Sprintf("record has %d bytes; want at most %d", len(d.value), limit)}
	}
	start := d.space(0)
	if start == len(d.value) {
		return &Poison{ReasonEmpty, "record has no value; want a JSON object"}
	}
	clear(d.fields[:])
	record, end := d.parse(start, 0, scopeRecord)
	if end >= 0 {
		if end = d.space(end); end < len(d.value) {
			end = d.fail(end, "the end of the record")
		}
	}
	if end < 0 {
		return d.syntax()
	}
	if record.kind != kindObject {
		d.want = "a JSON object"
		return d.wrong("record", record)
	}
	return nil
}

// fill judges the fields that scan found, in a fixed order up to the first that
// is wrong, and writes them to e.
func (d *JSON) fill(e *event.Event) *Poison {
	if !d.dimensions(e) {
		return d.wrong(fieldNames[d.bad], d.fields[d.bad])
	}
	if len(e.Type) == 0 {
		return &Poison{ReasonMissingField, "event_type is missing or empty; want a string such as llm_call_completed"}
	}
	if len(e.Stage) == 0 {
		e.Stage = event.StageOf(e.Type)
	}
	if !d.ids(e) || !d.measures(e) || !d.failure(e) {
		return d.wrong(fieldNames[d.bad], d.fields[d.bad])
	}
	return nil
}

func (d *JSON) dimensions(e *event.Event) bool {
	return d.text(&e.Type, fieldEventType) &&
		d.text(&e.Tenant, fieldTenant) &&
		d.text(&e.App, fieldApp) &&
		d.text(&e.Stage, fieldStage) &&
		d.text(&e.Model, fieldModel)
}

func (d *JSON) ids(e *event.Event) bool {
	return d.id(&e.ID, fieldEventID) &&
		d.id(&e.TraceID, fieldTraceID) &&
		d.id(&e.SessionID, fieldSessionID) &&
		d.id(&e.UserID, fieldUserID)
}

func (d *JSON) measures(e *event.Event) bool {
	const ofMs, ofS = 6, 9 // in nanoseconds, as powers of ten
	return d.time(&e.Time, &e.HasTime, fieldTimestamp) &&
		d.nanos(&e.Duration, &e.HasDuration, fieldDuration, ofS) &&
		d.nanos(&e.Duration, &e.HasDuration, fieldDurationMs, ofMs) &&
		d.nanos(&e.Duration, &e.HasDuration, fieldLatencyMs, ofMs) && // the last there wins
		d.nanos(&e.TTFT, &e.HasTTFT, fieldTTFTMs, ofMs) &&
		d.tokens(e)
}

func (d *JSON) tokens(e *event.Event) bool {
	switch d.fields[fieldTokens].kind {
	case kindNone, kindNull:
		return true
	case kindObject:
		return d.count(&e.InputTokens, fieldTokensInput) && d.count(&e.OutputTokens, fieldTokensOutput)
	}
	return d.reject(fieldTokens, "an object with input and output")
}

// failure judges whether the event is an error, and which.
func (d *JSON) failure(e *event.Event) bool {
	var status []byte
	if !d.text(&status, fieldStatus) {
		return false
	}
	carried := d.fields[fieldError].kind
	switch carried {
	case kindNone, kindNull, kindFalse, kindTrue:
	case kindString:
		d.text(&e.ErrorMessage, fieldError)
	case kindObject:
		if !d.text(&e.ErrorType, fieldErrorType) ||
			!d.text(&e.ErrorMessage, fieldErrorMessage) ||
			!d.text(&e.ErrorStack, fieldErrorStack) {
			return false
		}
	default:
		return d.reject(fieldError, "an object with type, message and stack, or a string")
	}
	e.Error = carried == kindTrue || !statusOK(status) || string(e.Type) == event.ErrorEvent ||
		len(e.ErrorType)+len(e.ErrorMessage)+len(e.ErrorStack) > 0
	return true
}

// statusOK reports whether a status says that all went well. OpenTelemetry's
// "unset" is what an instrumented call without an error carries.
func statusOK(status []byte) bool {
	var low [8]byte
	if len(status) > len(low) {
		return false
	}
	for i, c := range status {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	switch string(low[:len(status)]) {
	case "", "ok", "success", "unset":
		return true
	}
	return false
}

package codecs

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 10_000

// kind is what sort of JSON value a token is.
type kind uint8

// Kinds. None and null are both "absent"; they come first so that one
// comparison tells.
const (
	kindNone kind = iota
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

// token is a value's place in the record. A string's place is without quotes.
type token struct {
	start, end int32
	kind       kind
	plain      bool // a string that can be used as it stands: ASCII, no escapes
}

// field is a name the codec knows; fieldUnknown is all others.
type field uint8

const (
	fieldUnknown field = iota
	fieldEventType
	fieldTenant
	fieldApp
	fieldStage
	fieldModel
	fieldEventID
	fieldTraceID
	fieldSessionID
	fieldUserID
	fieldTimestamp
	fieldDuration
	fieldDurationMs
	fieldLatencyMs
	fieldTTFTMs
	fieldStatus
	fieldTokens
	fieldTokensInput
	fieldTokensOutput
	fieldError
	fieldErrorType
	fieldErrorMessage
	fieldErrorStack
	fieldCount
)

// fieldNames are the fields' names in details of poison.
var fieldNames = [fieldCount]string{
	"unknown", "event_type", "tenant", "app", "stage", "model", "event_id", "trace_id", "session_id", "user_id",
	"timestamp", "duration", "duration_ms", "latency_ms", "ttft_ms", "status",
	"tokens", "tokens.input", "tokens.output", "error", "error.type", "error.message", "error.stack",
}

// scope says which names are known inside an object.
type scope uint8

const (
	scopeNone scope = iota
	scopeRecord
	scopeError
	scopeTokens
)

// fieldOf finds a name in a scope.
func fieldOf(in scope, name []byte) field {
	switch in {
	case scopeRecord:
		switch string(name) {
		case "event_type":
			return fieldEventType
		case "tenant":
			return fieldTenant
		case "app":
			return fieldApp
		case "stage":
			return fieldStage
		case "model":
			return fieldModel
		case "event_id":
			return fieldEventID
		case "trace_id":
			return fieldTraceID
		case "session_id":
			return fieldSessionID
		case "user_id":
			return fieldUserID
		case "timestamp":
			return fieldTimestamp
		case "duration":
			return fieldDuration
		case "duration_ms":
			return fieldDurationMs
		case "latency_ms":
			return fieldLatencyMs
		case "ttft_ms":
			return fieldTTFTMs
		case "status":
			return fieldStatus
		case "tokens":
			return fieldTokens
		case "error":
			return fieldError
		}
	case scopeTokens:
		switch string(name) {
		case "input":
			return fieldTokensInput
		case "output":
			return fieldTokensOutput
		}
	case scopeError:
		switch string(name) {
		case "type":
			return fieldErrorType
		case "message":
			return fieldErrorMessage
		case "stack":
			return fieldErrorStack
		}
	}
	return fieldUnknown
}

// The scanner functions below take the offset where something begins and
// return the offset after it. A negative offset means that it is not there;
// d.want and d.stop then say what was expected and where.

// fail notes what was expected at i.
func (d *JSON) fail(i int, want string) int {
	d.stop, d.want = i, want
	return -1
}

// space skips white space.
func (d *JSON) space(i int) int {
	for i < len(d.value) && (d.value[i] == ' ' || d.value[i] == '\n' || d.value[i] == '\t' || d.value[i] == '\r') {
		i++
	}
	return i
}

// parse scans the value at i, which stands inside depth arrays and objects. If
// it is an object, the fields of scope in are noted.
func (d *JSON) parse(i, depth int, in scope) (token, int) {
	if i >= len(d.value) {
		return token{}, d.fail(i, "a value")
	}
	t := token{start: int32(i)}
	end := -1
	switch c := d.value[i]; c {
	case '"':
		t.start++
		end, t.plain = d.str(i + 1)
		t.kind, t.end = kindString, int32(end-1)
		return t, end
	case '{':
		t.kind, end = kindObject, d.object(i+1, depth+1, in)
	case '[':
		t.kind, end = kindArray, d.array(i+1, depth+1)
	case 't':
		t.kind, end = kindTrue, d.literal(i, "true")
	case 'f':
		t.kind, end = kindFalse, d.literal(i, "false")
	case 'n':
		t.kind, end = kindNull, d.literal(i, "null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			return t, d.fail(i, "a value")
		}
		t.kind, end = kindNumber, d.num(i)
	}
	t.end = int32(end)
	return t, end
}

// object scans the members of an object, i being after its brace.
func (d *JSON) object(i, depth int, in scope) int {
	if depth > maxDepth {
		return d.fail(i-1, "at most 10000 levels")
	}
	v := d.value
	if i = d.space(i); i < len(v) && v[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(v) || v[i] != '"' {
			return d.fail(i, "a name in quotes")
		}
		start := i + 1
		end, plain := d.str(start)
		if end < 0 {
			return end
		}
		if i = end; i < len(v) && v[i] <= ' ' {
			i = d.space(i)
		}
		if i >= len(v) || v[i] != ':' {
			return d.fail(i, "a colon")
		}
		if i++; i < len(v) && v[i] <= ' ' {
			i = d.space(i)
		}
		f, inner := fieldUnknown, scopeNone
		if in != scopeNone {
			f, inner = d.enter(in, v[start:end-1], plain)
		}
		if d.fields[f], i = d.parse(i, depth, inner); i < 0 {
			return i
		}
		if i < len(v) && v[i] <= ' ' {
			i = d.space(i)
		}
		if i < len(v) && v[i] == '}' {
			return i + 1
		}
		if i >= len(v) || v[i] != ',' {
			return d.fail(i, "a comma or }")
		}
		if i++; i < len(v) && v[i] <= ' ' {
			i = d.space(i)
		}
	}
}

// enter says which field a name is and which scope its value has. It forgets
// the parts of an earlier field of that name.
func (d *JSON) enter(in scope, name []byte, plain bool) (field, scope) {
	if !plain {
		mark := len(d.scratch)
		name = d.unescape(name)
		d.scratch = d.scratch[:mark]
	}
	switch f := fieldOf(in, name); f {
	case fieldError:
		clear(d.fields[fieldErrorType : fieldErrorStack+1])
		return f, scopeError
	case fieldTokens:
		clear(d.fields[fieldTokensInput : fieldTokensOutput+1])
		return f, scopeTokens
	default:
		return f, scopeNone
	}
}

// array scans the elements of an array, i being after its bracket.
func (d *JSON) array(i, depth int) int {
	if depth > maxDepth {
		return d.fail(i-1, "at most 10000 levels")
	}
	if i = d.space(i); i < len(d.value) && d.value[i] == ']' {
		return i + 1
	}
	for {
		if _, i = d.parse(i, depth, scopeNone); i < 0 {
			return i
		}
		i = d.space(i)
		if i < len(d.value) && d.value[i] == ']' {
			return i + 1
		}
		if i >= len(d.value) || d.value[i] != ',' {
			return d.fail(i, "a comma or ]")
		}
		i = d.space(i + 1)
	}
}

// literal scans one of the three words.
func (d *JSON) literal(i int, word string) int {
	if len(d.value)-i < len(word) || string(d.value[i:i+len(word)]) != word {
		return d.fail(i, word)
	}
	return i + len(word)
}

// num scans a number.
func (d *JSON) num(i int) int {
	end, ok := scanNumber(d.value, i)
	if !ok {
		return d.fail(end, "a digit")
	}
	return end
}

// scanNumber returns the offset after the number at v[i], which is
// -? int frac? exp?, or the offset where it lacks a digit.
func scanNumber(v []byte, i int) (end int, ok bool) {
	if i < len(v) && v[i] == '-' {
		i++
	}
	if i < len(v) && v[i] == '0' {
		i++
	} else if i, ok = scanDigits(v, i); !ok {
		return i, false
	}
	if i < len(v) && v[i] == '.' {
		if i, ok = scanDigits(v, i+1); !ok {
			return i, false
		}
	}
	if i < len(v) && v[i]|0x20 == 'e' {
		if i++; i < len(v) && (v[i] == '+' || v[i] == '-') {
			i++
		}
		return scanDigits(v, i)
	}
	return i, true
}

// scanDigits scans one or more digits.
func scanDigits(v []byte, i int) (end int, ok bool) {
	start := i
	for i < len(v) && '0' <= v[i] && v[i] <= '9' {
		i++
	}
	return i, i > start
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str scans the rest of a string, i being after its first quote. It returns
// the offset after the last quote, and whether the string is plain.
//
// It looks at eight bytes at a time. The lowest byte marked in stops is exact:
// borrows of the subtractions only reach higher bytes.
func (d *JSON) str(i int) (end int, plain bool) {
	v := d.value
	var seen uint64 // every byte scanned, or-ed
	escaped := false
	for i < len(v) {
		if len(v)-i >= 8 {
			x := binary.LittleEndian.Uint64(v[i:])
			low, slash := x^ones*2, x^ones*'\\' // quote^2 is ' ', so that low <= ' ' finds both it and control characters
			stops := ((low-ones*(' '+1))&^low | (slash-ones)&^slash) & highs
			if stops == 0 {
				seen |= x
				i += 8
				continue
			}
			at := bits.TrailingZeros64(stops) &^ 7
			seen |= x & (1<<at - 1)
			i += at / 8
		}
		switch c := v[i]; {
		case c == '"':
			return i + 1, !escaped && seen&highs == 0
		case c == '\\':
			escaped = true
			if i = d.escape(i + 1); i < 0 {
				return i, false
			}
		case c < ' ':
			return d.fail(i, "no control character in a string"), false
		default:
			seen |= uint64(c)
			i++
		}
	}
	return d.fail(i, "the closing quote"), false
}

// escape scans what follows a backslash.
func (d *JSON) escape(i int) int {
	v := d.value
	if i < len(v) {
		switch v[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return i + 1
		case 'u':
			for end := i + 5; ; {
				if i++; i == end {
					return end
				}
				if i >= len(v) || unhex(v[i]) > 15 {
					return d.fail(i, "four hex digits after \\u")
				}
			}
		}
	}
	return d.fail(i, `one of "\/bfnrtu after a backslash`)
}

// unhex returns the value of a hex digit, or 255.
func unhex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return 255
}

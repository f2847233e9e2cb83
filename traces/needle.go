package traces

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// needle tells which bytes may hold an event of a trace, long before anybody decodes them.
//
// It lets everything pass that decodes to the trace id, and as little else as it can. In
// JSON a character stands for itself or is escaped, so a record of the trace holds the id
// as it is, or an escape that stands for a part of it. What is no valid text decodes to
// U+FFFD, so nothing can be told of an id with that.
type needle struct {
	head    []byte          // of the id: what is looked for
	units   map[uint16]bool // of UTF-16 that an escape of the id has
	escaped [256]bool       // characters of the id that a backslash may stand before
	any     bool            // the bytes do not tell
}

// headBytes is how much of an id is looked for: longer needles are found more slowly, and
// whoever decodes sees the rest.
const headBytes = 32

// newNeedle returns what finds a trace id.
func newNeedle(id string) *needle {
	n := &needle{head: []byte(id[:min(len(id), headBytes)]), units: map[uint16]bool{}, any: strings.ContainsRune(id, utf8.RuneError)}
	for _, unit := range utf16.Encode([]rune(id)) {
		n.units[unit] = true
	}
	for _, c := range []byte(`"\/`) {
		n.escaped[c] = strings.IndexByte(id, c) >= 0
	}
	return n
}

// In reports whether some bytes may hold the trace id.
func (n *needle) In(b []byte) bool {
	return n.any || bytes.Contains(b, n.head) || n.escapedIn(b)
}

// escapedIn reports whether a part of the id may stand there as an escape. It takes every
// backslash for the beginning of one, since what is between records is no JSON.
func (n *needle) escapedIn(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return false
		}
		b = b[i+1:]
		if n.escaped[b[0]] {
			return true
		}
		if b[0] == 'u' && len(b) >= 5 && n.units[hexUnit(b[1:5])] {
			return true
		}
	}
}

// hexUnit reads four hex digits. With others there it is no JSON, and no event.
func hexUnit(digits []byte) (unit uint16) {
	for _, c := range digits {
		unit <<= 4
		switch {
		case '0' <= c && c <= '9':
			unit |= uint16(c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			unit |= uint16(c|0x20-'a') + 10
		}
	}
	return unit
}

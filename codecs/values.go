package codecs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions below write the value of a field to a part of the event, if it
// is there. They report false if it is not what the field takes; d.bad and
// d.want then say which field and what it takes.

func (d *JSON) reject(f field, want string) bool {
	d.bad, d.want = f, want
	return false
}

// text takes a string.
func (d *JSON) text(to *[]byte, f field) bool {
	t := &d.fields[f]
	if t.kind == kindString && t.plain {
		*to = d.value[t.start:t.end]
		return true
	}
	return d.rewritten(to, f)
}

// rewritten takes a string that may need to be rewritten.
func (d *JSON) rewritten(to *[]byte, f field) bool {
	t := &d.fields[f]
	if t.kind == kindString {
		*to = d.unescape(d.value[t.start:t.end])
	} else if t.kind > kindNull {
		return d.reject(f, "a string")
	}
	return true
}

// id takes a string, or a number, which stands for its own text.
func (d *JSON) id(to *[]byte, f field) bool {
	t := &d.fields[f]
	if t.kind == kindNumber {
		*to = d.value[t.start:t.end]
		return true
	}
	return d.text(to, f) || d.reject(f, "a string or a number")
}

// nanos takes a number of units of 10^shift nanoseconds, from 0 to MaxDuration.
func (d *JSON) nanos(to *int64, has *bool, f field, shift int) bool {
	t := &d.fields[f]
	if t.kind <= kindNull {
		return true
	}
	if t.kind == kindNumber {
		n, _, ok := parseDecimal(d.value[t.start:t.end]).scale(shift)
		if ok && n <= int64(MaxDuration) {
			*to, *has = n, true
			return true
		}
	}
	return d.reject(f, "a number, from 0 to 30 days")
}

// count takes an integer from 0 to MaxTokens.
func (d *JSON) count(to *int64, f field) bool {
	t := &d.fields[f]
	if t.kind <= kindNull {
		return true
	}
	if t.kind == kindNumber {
		n, cut, ok := parseDecimal(d.value[t.start:t.end]).scale(0)
		if ok && !cut && n <= MaxTokens {
			*to = n
			return true
		}
	}
	return d.reject(f, "an integer from 0 to 2^53")
}

// time takes a timestamp.
func (d *JSON) time(to *int64, has *bool, f field) bool {
	t := &d.fields[f]
	if t.kind <= kindNull {
		return true
	}
	if t.kind == kindNumber {
		*to, *has = epochMillis(d.value[t.start:t.end])
	} else if t.kind == kindString {
		var s []byte
		d.text(&s, f)
		if end, ok := scanNumber(s, 0); ok && end == len(s) {
			*to, *has = epochMillis(s)
		} else {
			*to, *has = rfc3339Millis(s)
		}
	}
	return *has || d.reject(f, "RFC 3339 with an offset, or an epoch number in s, ms, µs or ns, in the years 1970 to 2261")
}

// unescape returns the text of a string whose syntax has been checked, as
// valid UTF-8. The result is in d.scratch, unless there is nothing to rewrite.
func (d *JSON) unescape(s []byte) []byte {
	if utf8.Valid(s) && !hasEscape(s) {
		return s
	}
	start := len(d.scratch)
	out := d.scratch
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\\' && s[i+1] == 'u':
			r := hexRune(s[i:])
			i += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
					low = hexRune(s[i:])
				}
				if r = utf16.DecodeRune(r, low); r != unicode.ReplacementChar {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		case c == '\\':
			out = append(out, unescaped[s[i+1]])
			i += 2
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(s[i:]) // RuneError for an invalid byte
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	d.scratch = out
	return out[start:len(out):len(out)]
}

// unescaped is what the letter after a backslash stands for.
var unescaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func hasEscape(s []byte) bool {
	for _, c := range s {
		if c == '\\' {
			return true
		}
	}
	return false
}

// hexRune reads an escape of the form \uXXXX.
func hexRune(s []byte) rune {
	return unhex(s[2])<<12 | unhex(s[3])<<8 | unhex(s[4])<<4 | unhex(s[5])
}

// shown is how many bytes of a value a detail repeats.
const shown = 64

// syntax says where the scanner stopped.
func (d *JSON) syntax() *Poison {
	if d.stop >= len(d.value) {
		return &Poison{ReasonSyntax, fmt.Sprintf("record ends at byte %d; want %s", d.stop, d.want)}
	}
	return &Poison{ReasonSyntax, fmt.Sprintf("not JSON at byte %d: %s; want %s", d.stop, excerpt(d.value[d.stop:]), d.want)}
}

// wrong says that a value is not what its place takes.
func (d *JSON) wrong(name string, t token) *Poison {
	start, end := t.start, t.end
	if t.kind == kindString {
		start, end = start-1, end+1 // with its quotes
	}
	return &Poison{ReasonWrongType, fmt.Sprintf("%s is %s; want %s", name, excerpt(d.value[start:end]), d.want)}
}

// excerpt is the beginning of a value, fit to be read.
func excerpt(v []byte) string {
	more := ""
	if len(v) > shown {
		v, more = v[:shown], "…"
		for i := 1; i < utf8.UTFMax; i++ { // leave no half rune at the cut
			if r, n := utf8.DecodeLastRune(v); r != utf8.RuneError || n != 1 {
				break
			}
			v = v[:len(v)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(v), "\uFFFD")) + more
}

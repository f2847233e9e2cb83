package fingerprint

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// uuid recognises 8-4-4-4-12 hexadecimal digits.
func (t *templater) uuid(i int) bool {
	const shape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	end := i + len(shape)
	if end > len(t.src) || !t.ends(end) {
		return false
	}
	for k, c := range t.src[i:end] {
		if shape[k] == '-' && c != '-' || shape[k] == 'x' && !isHex(c) {
			return false
		}
	}
	return t.found(end, uuid)
}

// time recognises 2025-04-05 or 2025/04/05, 10:00:00, or both with one
// character between, with a fraction and an offset.
func (t *templater) time(i int) bool {
	end := t.shaped(i, "0000-00-00")
	if end < 0 {
		end = t.shaped(i, "0000/00/00")
	}
	clock := i
	if end >= 0 {
		if end == len(t.src) || t.src[end]|0x20 != 't' && t.src[end] != ' ' {
			clock = -1 // only a date
		} else {
			clock = end + 1
		}
	}
	if clock >= 0 {
		if k := t.shaped(clock, "00:00:00"); k >= 0 {
			end = t.offset(t.fraction(k))
		}
	}
	if end < 0 || !t.ends(end) {
		return false
	}
	return t.found(end, stamp)
}

// shaped returns the offset after digits in the given shape at i, or -1.
func (t *templater) shaped(i int, shape string) int {
	if i+len(shape) > len(t.src) {
		return -1
	}
	for k, c := range t.src[i : i+len(shape)] {
		if shape[k] == '0' && !isDigit(c) || shape[k] != '0' && shape[k] != c {
			return -1
		}
	}
	return i + len(shape)
}

// fraction skips a decimal fraction at i, if there is one.
func (t *templater) fraction(i int) int {
	if i < len(t.src) && (t.src[i] == '.' || t.src[i] == ',') {
		if end := t.span(i+1, isDigit); end > i+1 {
			return end
		}
	}
	return i
}

// offset skips an offset from UTC at i, if there is one.
func (t *templater) offset(i int) int {
	if i < len(t.src) && t.src[i]|0x20 == 'z' {
		return i + 1
	}
	for _, shape := range [...]string{"+00:00", "-00:00", "+0000", "-0000"} {
		if end := t.shaped(i, shape); end >= 0 {
			return end
		}
	}
	return i
}

// ip4 recognises four numbers of up to three digits, and what may follow an
// address.
func (t *templater) ip4(i int) bool {
	end := i
	for part := range 4 {
		if part > 0 {
			if end >= len(t.src) || t.src[end] != '.' {
				return false
			}
			end++
		}
		start := end
		if end = t.span(start, isDigit); end == start || end > start+3 {
			return false
		}
	}
	if !t.ends(end) || end+1 < len(t.src) && t.src[end] == '.' && isDigit(t.src[end+1]) {
		return false
	}
	return t.endpoint(t.port(end), ip)
}

// ip6 recognises groups of up to four hexadecimal digits and colons, at least
// five groups or one gap. A MAC address is recognised as well.
func (t *templater) ip6(i int) bool {
	const longest = 8*4 + 7
	end := i
	digits := false
	for end < len(t.src) && end-i <= longest && (isHex(t.src[end]) || t.src[end] == ':') {
		digits = digits || isDigit(t.src[end])
		end++
	}
	if bytes.HasSuffix(t.src[i:end], []byte(":")) && !bytes.HasSuffix(t.src[i:end], []byte("::")) {
		end-- // a colon behind the address
	}
	address := t.src[i:end]
	colons := bytes.Count(address, []byte(":"))
	if !digits || len(address) > longest || !t.ends(end) || t.fraction(end) > end ||
		colons < 4 && !bytes.Contains(address, []byte("::")) {
		return false
	}
	for group := range bytes.SplitSeq(address, []byte(":")) {
		if len(group) > 4 {
			return false
		}
	}
	return t.found(end, ip)
}

// duration recognises durations as Go writes them, if they end with seconds or
// a part of a second.
func (t *templater) duration(i int) bool {
	for end := i; ; {
		k := t.span(end, isDigit)
		if k == end {
			return false
		}
		rest := t.src[t.fraction(k):]
		unit := 0
		for _, u := range [...]string{"ms", "µs", "μs", "us", "ns", "s", "h", "m"} {
			if bytes.HasPrefix(rest, []byte(u)) {
				unit = len(u)
				break
			}
		}
		if unit == 0 {
			return false
		}
		end = len(t.src) - len(rest) + unit
		if t.ends(end) && t.src[end-1] == 's' {
			return t.found(end, duration)
		}
	}
}

// size recognises amounts of memory such as 2.00 GiB, 512kB and 80 B.
func (t *templater) size(i int) bool {
	end := t.fraction(t.span(i, isDigit))
	spaced := end < len(t.src) && t.src[end] == ' '
	if spaced {
		end++
	}
	unit := t.src[end:t.span(end, isAlpha)]
	end += len(unit)
	prefix := bytes.TrimSuffix(bytes.TrimSuffix(unit, []byte("B")), []byte("i"))
	isSize := len(prefix) == 1 && len(unit) > 1 && unit[len(unit)-1] == 'B' && strings.IndexByte("kKMGTP", prefix[0]) >= 0
	if !isSize && !(spaced && string(unit) == "B") || !t.ends(end) {
		return false
	}
	return t.found(end, size)
}

// number recognises a decimal number with its fraction and exponent. Several
// with points or commas between are one: 1,234.5 and 1.2.3 and [1,2,3]. What
// begins with digits and goes on with letters is a word.
func (t *templater) number(i int) bool {
	first := t.span(i, isDigit)
	end := first
	for {
		k := t.fraction(end)
		if k == end || t.src[end] == ',' && !t.ends(k) {
			break
		}
		end = k
	}
	if end < len(t.src) && t.src[end]|0x20 == 'e' {
		k := end + 1
		if k < len(t.src) && (t.src[k] == '-' || t.src[k] == '+') {
			k++
		}
		if after := t.span(k, isDigit); after > k && t.ends(after) {
			return t.found(after, num)
		}
	}
	if end == first && !t.ends(end) {
		return false
	}
	return t.found(end, num)
}

// name recognises what begins like a name: a URL by its scheme, an e-mail
// address, a host, a document, a path from a drive or from a folder.
func (t *templater) name(i int) bool {
	if i > 0 && strings.IndexByte("._%+-/\\", t.src[i-1]) >= 0 {
		return false // inside a name, which was looked at as a whole
	}
	end := t.span(i, isNamePart)
	switch rest := t.src[end:]; {
	case bytes.HasPrefix(rest, []byte("://")):
		if after := t.pathEnd(end+3, true); after > end+3 {
			return t.found(after, url)
		}
	case len(rest) > 1 && rest[0] == ':' && (rest[1] == '\\' || rest[1] == '/') && end == i+1:
		return t.found(t.pathEnd(end+1, false), path)
	case len(rest) > 0 && rest[0] == '@':
		after := t.span(end+1, isNamePart)
		domain := bytes.TrimRight(t.src[end+1:after], "._%+-")
		if dot := bytes.LastIndexByte(domain, '.'); dot > 0 && all(domain[dot+1:], isAlpha) && t.ends(after) {
			return t.found(end+1+len(domain), email)
		}
	case len(rest) > 0 && (rest[0] == '/' || rest[0] == '\\'):
		k := t.span(end+1, isNamePart)
		if k > end+1 && k < len(t.src) && t.src[k] == rest[0] && bytes.ContainsFunc(t.src[i:k], unicode.IsLetter) {
			return t.dotted(i, end) || t.found(t.pathEnd(k, false), path)
		}
	}
	return t.dotted(i, end)
}

// isNamePart reports whether c may stand in a host name, a file name, the
// local part of an e-mail address or a scheme.
func isNamePart(c byte) bool { return isAlnum(c) || strings.IndexByte("._%+-", c) >= 0 }

// dotted recognises a host name or the file name of a document in a name.
func (t *templater) dotted(i, end int) bool {
	if !t.ends(end) {
		return false
	}
	name := bytes.TrimRight(t.src[i:end], "._%+-")
	end = i + len(name)
	dot := bytes.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot > 11 {
		return false
	}
	var room [10]byte
	suffix := room[:copy(room[:], name[dot+1:])]
	for k := range suffix {
		suffix[k] |= 0x20 // lower case, for letters
	}
	if isDocument(suffix) {
		return t.found(end, path)
	}
	if !all(suffix, isAlpha) || bytes.ContainsAny(name, "_%+") || bytes.Contains(name, []byte("..")) {
		return false
	}
	port := t.port(end)
	if isDomain(suffix) || port > end && !isSource(suffix) && !bytes.ContainsFunc(name, unicode.IsUpper) {
		return t.endpoint(port, host)
	}
	return false
}

// port skips the port of an address that ends at i, if it has one.
func (t *templater) port(i int) int {
	if i < len(t.src) && t.src[i] == ':' {
		if end := t.span(i+1, isDigit); end > i+1 && t.ends(end) {
			return end
		}
	}
	return i
}

// endpoint returns an address that ends at i, with the path that follows.
func (t *templater) endpoint(i int, placeholder string) bool {
	if i < len(t.src) && t.src[i] == '/' {
		return t.found(t.pathEnd(i, true), url)
	}
	return t.found(i, placeholder)
}

// path recognises a path that begins with /, ./, ../, ~/ or \\.
func (t *templater) path(i int) bool {
	if i > 0 && t.src[i-1] < utf8.RuneSelf && !isBlank(rune(t.src[i-1])) && strings.IndexByte("=:,;([{<>|\"'`@", t.src[i-1]) < 0 {
		return false
	}
	start := i
	switch s := t.src[i:]; {
	case s[0] == '/':
		start = i + 1
		if t.ip4(start) {
			return false // Java writes addresses like /10.0.0.7:6333
		}
	case bytes.HasPrefix(s, []byte("./")), bytes.HasPrefix(s, []byte("~/")), bytes.HasPrefix(s, []byte(`\\`)):
		start = i + 2
	case bytes.HasPrefix(s, []byte("../")):
		start = i + 3
	default:
		return false
	}
	end := t.pathEnd(start, false)
	if end == start || t.src[start] == '/' {
		return false
	}
	return t.found(end, path)
}

// pathEnd returns the end of a path or URL at i, without the punctuation of
// the sentence around it. Commas and semicolons stand in URLs only.
func (t *templater) pathEnd(i int, inURL bool) int {
	end := i
	if inURL && i < len(t.src) && t.src[i] == '[' { // http://[::1]:80/
		end = t.span(i+1, func(c byte) bool { return isHex(c) || c == ':' || c == '.' })
		if end == len(t.src) || t.src[end] != ']' {
			return i
		}
		end++
	}
	for end < len(t.src) {
		r, n := utf8.DecodeRune(t.src[end:])
		if r >= utf8.RuneSelf {
			if !unicode.In(r, unicode.L, unicode.M, unicode.N) {
				break
			}
		} else if isBlank(r) || strings.ContainsRune("'\"`<>|()[]{}", r) || !inURL && (r == ',' || r == ';') {
			break
		}
		end += n
	}
	return i + len(bytes.TrimRight(t.src[i:end], ".,:;!?"))
}

// closers is the number of kinds of closing quote.
const closers = 10

// quote recognises text in quotes. An apostrophe is not a quote: an opening
// quote stands before text and not after a word, a closing one not before a
// word. Quotes that are escaped enclose each other.
func (t *templater) quote(i int) bool {
	opening, n := utf8.DecodeRune(t.src[i:])
	if next, _ := utf8.DecodeRune(t.src[i+n:]); i+n == len(t.src) || isBlank(next) {
		return false
	}
	kind := strings.IndexRune("'\"`", opening)
	closing := opening
	if kind < 0 {
		if kind = strings.IndexRune("“‘「『", opening); kind < 0 {
			return false
		}
		kind /= 3
		closing = [...]rune{'”', '’', '」', '』'}[kind]
		kind += 6
	}
	escaped := i > 0 && t.src[i-1] == '\\'
	if escaped && kind < 6 {
		kind += 3
	}
	if t.unclosed[kind] {
		return false
	}
	for k := i + n; k < len(t.src); k += n {
		var r rune
		if r, n = utf8.DecodeRune(t.src[k:]); r != closing {
			continue
		}
		if kind >= 6 || (t.src[k-1] == '\\') == escaped && !t.beforeWord(k+n) && !t.afterPlaceholder(k) {
			return t.found(k+n, quoted)
		}
	}
	if t.cut {
		return t.found(len(t.src), quoted) // its end was cut off
	}
	t.unclosed[kind] = true
	return false
}

// afterPlaceholder reports whether a placeholder ends right before i. What it
// replaced might have kept a quote there from closing.
func (t *templater) afterPlaceholder(i int) bool {
	start := max(0, i-len(quoted))
	start += bytes.LastIndexByte(t.src[start:i], '<')
	if start < 0 || t.src[i-1] != '>' {
		return false
	}
	return t.placeholder(start) && t.end == i
}

// prefixedQuote recognises the quotes of Python's b'text'.
func (t *templater) prefixedQuote(i int) bool {
	if c := t.src[i]; (c == 'b' || c == 'u' || c == 'r' || c == 'f') && i+1 < len(t.src) && isQuote(t.src[i+1]) {
		return t.quote(i + 1)
	}
	return false
}

package fingerprint

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxMessage is how much of a message is read, in bytes. What tells errors
	// apart comes early; prompts and dumps come late.
	maxMessage = 4096

	// maxTemplate is the longest template, in bytes.
	maxTemplate = 256
)

// Placeholders. A placeholder in a message stands for itself, so that the
// template of a template is the same template.
const (
	num    = "<num>"    // a number, or an identifier without meaning
	hex    = "<hex>"    // a number that begins with 0x
	uuid   = "<uuid>"   //
	stamp  = "<time>"   // a date, a time of day with seconds, or both
	ip     = "<ip>"     // IPv4 or IPv6; IPv4 with its port
	host   = "<host>"   // a host name with a dot, with its port
	url    = "<url>"    // with a scheme; or a host or IPv4 address and a path
	email  = "<email>"  //
	path   = "<path>"   // a file or folder, or the path of a request
	size   = "<size>"   // an amount of memory in any unit
	quoted = "<quoted>" // text in quotes, and its quotes
	cutOff = "<text>"   // a text so long without a space that no part of it can be shown

	// duration is for durations that end with seconds or a part of them, such as
	// 820ms, 1.4s and 6m0s. Each unit would be an error group otherwise.
	duration = num + "s"
)

// AppendTemplate appends the template of an error message to dst and returns
// it. What it appends is valid UTF-8 of at most 256 bytes on a single line,
// without space around it. Of a message longer than 4 KiB only the beginning
// is read; a long template ends after a word. Time is linear in the message.
func AppendTemplate(dst, message []byte) []byte {
	t := templater{src: message, dst: dst, base: len(dst), anchor: len(dst)}
	if len(message) > maxMessage {
		t.src, t.cut = message[:maxMessage], true
		for i := 1; i < utf8.UTFMax && !utf8.RuneStart(message[len(t.src)]); i++ {
			t.src = t.src[:len(t.src)-1] // leave no half rune at the cut
		}
	}
	return t.run()
}

// templater walks over a message once, from left to right. At each offset one
// of a few things begins: something variable, a word, or a single character.
//
// A template must pass unchanged. So every rule looks only at what follows it
// and at the character before, and treats a placeholder there like the letters
// and digits that it may have replaced: whatever was not recognised the first
// time is not recognised the second time.
type templater struct {
	src       []byte
	cut       bool // src is not the whole message
	wordsOnly bool // only words are variable
	dst       []byte
	base      int  // where the template begins in dst
	anchor    int  // the last place in dst where the template may end
	glued     bool // what was appended last is a placeholder

	end  int    // what the last rule found: the offset after it
	with string // and its placeholder

	unclosed [closers]bool // kinds of closing quote that do not come any more
}

// run appends the template of src and returns dst.
func (t *templater) run() []byte {
	for i := 0; i < len(t.src) && len(t.dst)-t.base <= maxTemplate; {
		i = t.step(i)
	}
	if len(t.dst)-t.base > maxTemplate {
		if t.dst = t.dst[:t.anchor]; t.anchor == t.base {
			t.dst = append(t.dst, cutOff...)
		}
	}
	return t.dst[:t.base+len(bytes.TrimRight(t.dst[t.base:], " "))]
}

// step handles what begins at i and returns the offset after it.
func (t *templater) step(i int) int {
	if t.variable(i) {
		t.put(t.with)
		return t.end
	}
	c := t.src[i]
	if isAlnum(c) {
		return t.word(i)
	}
	t.glued = false
	r, n := utf8.DecodeRune(t.src[i:])
	if !isBlank(r) {
		t.dst = utf8.AppendRune(t.dst, r)
	} else if end := len(t.dst); end > t.base && t.dst[end-1] != ' ' {
		t.dst = append(t.dst, ' ')
	}
	if strings.IndexByte("'\"`._%+-@:/\\~", c) < 0 && len(t.dst)-t.base <= maxTemplate {
		t.anchor = len(t.dst) // no rule looks from before this character to behind it
	}
	return i + n
}

// put appends a placeholder. A list of equal ones with commas is only the first.
func (t *templater) put(placeholder string) {
	item, _ := strings.CutSuffix(placeholder, "s") // of a duration
	before := bytes.TrimSuffix(t.dst[t.base:], []byte(" "))
	if before, ok := bytes.CutSuffix(before, []byte(",")); ok && bytes.HasSuffix(before, []byte(item)) && item != quoted {
		t.anchor = min(t.anchor, t.base+len(before)) // behind a placeholder is a place to end as well
		t.dst = t.dst[:t.base+len(before)-len(item)]
	}
	t.dst = append(t.dst, placeholder...)
	t.glued = placeholder == item
}

// The methods below that return a bool are rules. A rule recognises one kind of
// variable text at an offset: it reports whether that is there, and found keeps
// where it ends and its placeholder.

func (t *templater) found(end int, placeholder string) bool {
	t.end, t.with = end, placeholder
	return true
}

// variable is the rule of all rules.
func (t *templater) variable(i int) bool {
	c := t.src[i]
	switch {
	case c == '<':
		return t.placeholder(i)
	case t.wordsOnly || t.afterWord(i):
		return false
	case isDigit(c):
		return t.uuid(i) || t.time(i) || t.ip4(i) || t.ip6(i) || t.duration(i) || t.size(i) || t.name(i) || t.number(i)
	case isAlpha(c):
		return t.uuid(i) || t.ip6(i) || t.name(i) || t.prefixedQuote(i)
	case isQuote(c) || c >= utf8.RuneSelf:
		return t.quote(i)
	case c == ':':
		return t.ip6(i)
	case c == '-' || c == '+':
		return i+1 < len(t.src) && isDigit(t.src[i+1]) && t.number(i+1)
	default:
		return t.path(i)
	}
}

// placeholder recognises a placeholder that is already there.
func (t *templater) placeholder(i int) bool {
	if i >= len(t.src) || t.src[i] != '<' {
		return false
	}
	s := t.src[i:min(len(t.src), i+len(quoted))]
	s = s[:bytes.IndexByte(s, '>')+1]
	for _, p := range [...]string{num, hex, uuid, stamp, ip, host, url, email, path, size, quoted, cutOff} {
		if string(s) == p {
			return t.found(i+len(s), p)
		}
	}
	return false
}

// afterWord reports whether a word or a placeholder ends right before i. A
// letter counts if its script puts spaces between words.
func (t *templater) afterWord(i int) bool {
	if t.glued || i == 0 {
		return t.glued
	}
	r, _ := utf8.DecodeLastRune(t.src[:i])
	return isWord(r)
}

// beforeWord reports whether a word or a placeholder begins at i.
func (t *templater) beforeWord(i int) bool {
	r, _ := utf8.DecodeRune(t.src[i:])
	return isWord(r) || !t.ends(i)
}

// ends reports whether something variable may end before i: it may not end
// inside a word.
func (t *templater) ends(i int) bool {
	if i >= len(t.src) {
		return true
	}
	return !isAlnum(t.src[i]) && !t.placeholder(i)
}

// word appends the word at i. Its numbers are replaced, or all of it, if it
// looks like an identifier that a machine made.
func (t *templater) word(i int) int {
	end := t.span(i, isAlnum)
	w := t.src[i:end]
	if !t.glued && t.ends(end) {
		switch {
		case len(w) > 2 && w[0] == '0' && w[1]|0x20 == 'x' && all(w[2:], isHex):
			t.put(hex)
			return end
		case opaque(w):
			t.put(num)
			return end
		}
	}
	t.glued = false
	for ; i < end; i++ {
		switch {
		case !isDigit(t.src[i]):
			t.dst, t.glued = append(t.dst, t.src[i]), false
		case !t.glued:
			t.put(num)
		}
	}
	return end
}

// opaque reports whether a word is an identifier without meaning: eight or
// more hexadecimal digits, or letters and digits in quick turn. It becomes a
// number, since now and then such an identifier has only digits.
func opaque(w []byte) bool {
	if len(w) >= 8 && all(w, isHex) {
		return true
	}
	turns := 0 // from letters to digits or back
	for i := 1; i < len(w); i++ {
		if isDigit(w[i]) != isDigit(w[i-1]) {
			turns++
		}
	}
	return turns >= 3 && len(w) <= 3*(turns+1) || turns >= 2 && len(w) >= 20
}

// span returns the end of the run of bytes of a class at i.
func (t *templater) span(i int, class func(byte) bool) int {
	for i < len(t.src) && class(t.src[i]) {
		i++
	}
	return i
}

func all(s []byte, class func(byte) bool) bool {
	for _, c := range s {
		if !class(c) {
			return false
		}
	}
	return len(s) > 0
}

func isDigit(c byte) bool { return c-'0' <= 9 }
func isAlpha(c byte) bool { return c|0x20-'a' < 26 }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isHex(c byte) bool   { return isDigit(c) || c|0x20-'a' < 6 }
func isQuote(c byte) bool { return c == '\'' || c == '"' || c == '`' }

func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// isWord reports whether a word may end or begin with r. From U+2E80 on are
// the scripts without spaces, where anything may stand next to a letter.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return isAlnum(byte(r))
	}
	return r < 0x2E80 && unicode.IsLetter(r)
}

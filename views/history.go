package views

import (
	"encoding/binary"
	"iter"
)

// history is a list of measures by start, ascending, packed so that a hundred
// thousand series can have one: { gap length body }, where gap is the distance to
// the start before in units. Bytes that are in it are never written to: a copy of
// the struct stays what it was, whatever is done to the history.
type history struct {
	unit int64 // every start is a multiple of it
	buf  []byte
	n    int
	base int64 // what the gap of the first entry counts from
	last int64 // start of the last entry
}

// append adds an entry, which must come after the last.
func (h *history) append(start int64, body []byte) {
	before := h.last
	if h.n == 0 {
		h.base, before = start, start
	}
	h.buf = binary.AppendUvarint(h.buf, uint64((start-before)/h.unit))
	h.buf = binary.AppendUvarint(h.buf, uint64(len(body)))
	h.buf = append(h.buf, body...)
	h.last = start
	h.n++
}

// all yields start and body of every entry. The bodies are parts of the history.
func (h *history) all() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		start := h.base
		for rest := h.buf; len(rest) > 0; {
			var body []byte
			start, body, rest = h.entry(start, rest)
			if !yield(start, body) {
				return
			}
		}
	}
}

func (h *history) entry(before int64, src []byte) (start int64, body, rest []byte) {
	gap, n := binary.Uvarint(src)
	size, m := binary.Uvarint(src[n:])
	src = src[n+m:]
	return before + int64(gap)*h.unit, src[:size], src[size:]
}

// drop removes the first n entries.
func (h *history) drop(n int) {
	for range n {
		h.base, _, h.buf = h.entry(h.base, h.buf)
	}
	h.n -= n
	if h.n == 0 {
		h.buf = nil
	}
}

// expire removes the entries that start before t.
func (h *history) expire(t int64) {
	n := 0
	for start := range h.all() {
		if start >= t {
			break
		}
		n++
	}
	h.drop(n)
}

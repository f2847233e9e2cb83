package processors

import (
	"math/bits"
	"strconv"

	"ragstreams/codecs"
	"ragstreams/deadletters"
)

// maxSide is the size above which a record for a side topic is cut. What a batch
// adds to it on the wire is less than 4 KiB.
const maxSide = maxSent - 4096

// maxDetail bounds, in bytes, the text that says why a record is poison.
const maxDetail = 512

// Headers that say what is missing in a record of a side topic. Those of
// originHeaders point to the original.
const (
	headerCut     = deadletters.HeaderCut     // length that the value had
	headerLeftOut = deadletters.HeaderLeftOut // number of the original's headers
	headerKeyCut  = deadletters.HeaderKeyCut  // length that the key had
	cutNoteSize   = 32                        // more than headerCut takes
)

// sideRecord is a record on its way to a side topic.
type sideRecord struct {
	key, value []byte
	theirs     []codecs.Header // of the original
	ours       []codecs.Header // where it lies, and why it is here
}

// newSideRecord begins the record for a side topic. The mark of a replay that sent the
// original is bounded, and counts as ours: it stays whatever is left out.
func newSideRecord(key, value []byte, headers, ours []codecs.Header) sideRecord {
	theirs, mark := deadletters.CutMark(headers)
	if mark != nil {
		ours = append(mark.Headers(), ours...)
	}
	return sideRecord{key, value, theirs, ours}
}

// fit bounds the size of the record. The value is cut. Where the rest would be too
// large without any value, the original's headers are left out, all of them; where
// that is not enough either, the key is cut. What then fits of the value stays. Our
// headers stay always, and say what is missing. A record that is small enough
// stays as it is; nil stays nil, and empty empty.
func (s *sideRecord) fit() {
	if s.size() <= maxSide {
		return
	}
	if s.excess() > 0 && len(s.theirs) > 0 {
		s.note(headerLeftOut, len(s.theirs))
		s.theirs = nil
	}
	if s.excess() > 0 && len(s.key) > 0 {
		s.note(headerKeyCut, len(s.key))
		s.key = s.key[:max(0, len(s.key)-s.excess())]
	}
	if s.size() > maxSide && len(s.value) > 0 {
		s.note(headerCut, len(s.value))
		s.value = s.value[:max(0, len(s.value)-(s.size()-maxSide))]
	}
}

// excess is by how much the record would be too large if nothing was left of its
// value but a note.
func (s *sideRecord) excess() int {
	n := s.size() - maxSide - len(s.value)
	if len(s.value) > 0 {
		n += cutNoteSize
	}
	return n
}

func (s *sideRecord) note(key string, n int) {
	s.ours = append(s.ours, codecs.Header{Key: key, Value: strconv.AppendInt(nil, int64(n), 10)})
}

// size is how many bytes the record has on the wire.
func (s *sideRecord) size() int {
	const head = 32 // length, attributes, place in the batch, number of headers
	n := head + sizeOf(len(s.key)) + sizeOf(len(s.value))
	for _, h := range s.theirs {
		n += sizeOf(len(h.Key)) + sizeOf(len(h.Value))
	}
	for _, h := range s.ours {
		n += sizeOf(len(h.Key)) + sizeOf(len(h.Value))
	}
	return n
}

// sizeOf is how many bytes n bytes take behind their length, a zigzag varint.
func sizeOf(n int) int { return (bits.Len(uint(n)<<1|1)+6)/7 + n }

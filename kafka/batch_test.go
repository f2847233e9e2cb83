package kafka

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// makeBatch builds the header of a record batch of format 2.
func makeBatch(base int64, lastDelta, count uint32) []byte {
	b := make([]byte, batchHeaderSize)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[batchLengthAt:], batchHeaderSize-batchLengthAt-4)
	binary.BigEndian.PutUint32(b[batchLastDeltaAt:], lastDelta)
	binary.BigEndian.PutUint32(b[batchCountAt:], count)
	return b
}

// Compaction leaves batches without records, and holes, where markers and
// superseded rows were.
func TestSkipEmptyBatches(t *testing.T) {
	join := func(bs ...[]byte) (all []byte) {
		for _, b := range bs {
			all = append(all, b...)
		}
		return all
	}
	for _, tt := range []struct {
		name     string
		fetched  []byte
		from     int64
		wantNext int64
		wantData bool
	}{
		{"nothing", nil, 5, 5, false},
		{"an emptied batch", makeBatch(5, 2, 0), 5, 8, false},
		{"two, with a hole between", join(makeBatch(5, 2, 0), makeBatch(10, 0, 0)), 5, 11, false},
		{"a marker", makeBatch(5, 0, 1), 5, 5, true},
		{"data after an emptied batch", join(makeBatch(5, 0, 0), makeBatch(6, 3, 2)), 5, 6, true},
		{"an emptied batch that was read before", makeBatch(1, 3, 0), 7, 7, false},
		{"data that was read before", join(makeBatch(1, 3, 2), makeBatch(5, 1, 0)), 5, 7, false},
		{"cut short in the second", join(makeBatch(5, 1, 0), makeBatch(7, 1, 0))[:batchHeaderSize+30], 5, 7, false},
	} {
		next, data := skipEmpty(tt.fetched, tt.from)
		if next != tt.wantNext || data != tt.wantData {
			t.Errorf("%s: next = %d, data = %v, want %d, %v", tt.name, next, data, tt.wantNext, tt.wantData)
		}
	}
}

// withBody is a batch with something behind its header.
func withBody(header []byte, body string) []byte {
	b := append(header, body...)
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-batchLengthAt-4))
	return b
}

// A batch that is cut short, wherever that is, comes with the next request.
func TestBatchesCutShort(t *testing.T) {
	a, b := withBody(makeBatch(5, 1, 2), "one, two"), withBody(makeBatch(7, 2, 3), "three, four, five")
	both := append(slices.Clone(a), b...)
	c := &scan{Scanner: &Scanner{}}
	for cut := range len(both) + 1 {
		want, next := []byte(nil), int64(5)
		if cut >= len(a) {
			want, next = a, 7
		}
		if cut == len(both) {
			want, next = both, 10
		}
		if wanted, got := c.look(both[:cut], "topic", Span{5, 10}); got != next || !bytes.Equal(wanted, want) {
			t.Errorf("of %d bytes %d are wanted, and the next is %d; want %d and %d", cut, len(wanted), got, len(want), next)
		}
	}
}

// Nothing is made of bytes that say they are less than a header.
func TestBatchesThatCannotBe(t *testing.T) {
	for size := uint32(batchLengthAt + 4); size < batchHeaderSize; size++ {
		b := withBody(makeBatch(5, 1, 2), "one, two")
		binary.BigEndian.PutUint32(b[batchLengthAt:], size-batchLengthAt-4)
		for one := range wholeBatches(b) {
			t.Errorf("%d bytes are a batch of which %d are", len(one), size)
		}
	}
}

// Markers are opened for the sake of what is wanted only.
func TestScanOpensNothingUnwanted(t *testing.T) {
	marker := withBody(makeBatch(8, 0, 1), "end")
	marker[batchAttributesAt+1] |= batchControl
	other, mine := withBody(makeBatch(5, 2, 3), "other"), withBody(makeBatch(9, 0, 1), "mine")
	c := &scan{Scanner: &Scanner{}, may: func(data []byte) bool { return string(data) == "mine" }}
	span := Span{5, 20}
	if wanted, next := c.look(slices.Concat(other, marker), "topic", span); len(wanted) > 0 || next != 9 {
		t.Errorf("%d bytes are wanted, and the next is %d; want none and 9", len(wanted), next)
	}
	if wanted, next := c.look(slices.Concat(other, marker, mine), "topic", span); !bytes.Equal(wanted, slices.Concat(marker, mine)) || next != 10 {
		t.Errorf("%q is wanted, and the next is %d; want the marker, what is wanted, and 10", wanted, next)
	}
}

package kafka

import (
	"encoding/binary"
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
		{"data that was read before", join(makeBatch(1, 3, 2), makeBatch(5, 1, 0)), 5, 7, false},
		{"cut short in the second", join(makeBatch(5, 1, 0), makeBatch(7, 1, 0))[:batchHeaderSize+30], 5, 7, false},
	} {
		next, data := skipEmpty(tt.fetched, tt.from)
		if next != tt.wantNext || data != tt.wantData {
			t.Errorf("%s: next = %d, data = %v, want %d, %v", tt.name, next, data, tt.wantNext, tt.wantData)
		}
	}
}

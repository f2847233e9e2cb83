package kafka

import (
	"encoding/binary"
	"iter"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Offsets of fields in a record batch of format 2 (KIP-98).
const (
	batchLengthAt     = 8
	batchAttributesAt = 21
	batchLastDeltaAt  = 23
	batchFirstTimeAt  = 27
	batchMaxTimeAt    = 35
	batchCountAt      = 57
	batchHeaderSize   = 61

	batchCodec   = 7 // bits of the lower byte of the attributes
	batchOfLog   = 1 << 3
	batchControl = 1 << 5
)

// decompressor is safe for concurrent use.
var decompressor = kgo.DefaultDecompressor()

// batch is one record batch as it is in the log, header included.
type batch []byte

// wholeBatches walks the batches of what a fetch brought. A broker may cut the last one short,
// but not the first (KIP-74), so that whoever reads on behind the whole ones comes to an end.
func wholeBatches(fetched []byte) iter.Seq[batch] {
	return func(yield func(batch) bool) {
		for len(fetched) >= batchHeaderSize {
			size := int64(binary.BigEndian.Uint32(fetched[batchLengthAt:])) + batchLengthAt + 4
			if size < batchHeaderSize || size > int64(len(fetched)) || !yield(fetched[:size]) {
				return
			}
			fetched = fetched[size:]
		}
	}
}

// first returns the offset of the first record that it was made with.
func (b batch) first() int64 { return int64(binary.BigEndian.Uint64(b)) }

// next returns the offset behind it.
func (b batch) next() int64 {
	return b.first() + int64(binary.BigEndian.Uint32(b[batchLastDeltaAt:])) + 1
}

// times returns the timestamps of the first record that it was made with and of the newest, in
// Unix milliseconds; both are the latter where the log has put its own time.
func (b batch) times() (first, newest int64) {
	newest = int64(binary.BigEndian.Uint64(b[batchMaxTimeAt:]))
	if b[batchAttributesAt+1]&batchOfLog != 0 {
		return newest, newest
	}
	return int64(binary.BigEndian.Uint64(b[batchFirstTimeAt:])), newest
}

// records returns how many there are: none are left where all were compacted away.
func (b batch) records() int { return int(binary.BigEndian.Uint32(b[batchCountAt:])) }

// control reports whether it ends a transaction, and has no records of anybody.
func (b batch) control() bool { return b[batchAttributesAt+1]&batchControl != 0 }

// open returns its records as they are when decompressed, one behind the other.
func (b batch) open() ([]byte, error) {
	data := []byte(b[batchHeaderSize:])
	if codec := kgo.CompressionCodecType(b[batchAttributesAt+1] & batchCodec); codec != kgo.CodecNone {
		return decompressor.Decompress(data, codec)
	}
	return data, nil
}

// skipEmpty walks whole batches without records and returns the offset after
// them, and whether a batch with records, control batches included, follows.
func skipEmpty(fetched []byte, from int64) (next int64, data bool) {
	next = from
	for b := range wholeBatches(fetched) {
		if b.next() > from && b.records() > 0 {
			return next, true
		}
		next = max(next, b.next())
	}
	return next, false
}

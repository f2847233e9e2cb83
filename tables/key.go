package tables

import (
	"encoding/binary"
	"fmt"
)

// seriesTag opens the key of every series. It names the key format, too: another
// way to write dimensions takes another tag.
const seriesTag = 1

// Reserved keys hold what a table partition keeps beside its series. Each
// partition has its own row under the same key, so readers must go through the
// rows of all partitions instead of looking the key up.
const (
	ProgressKey = "\x00progress" // the Progress of the partition
	OverflowKey = "\x00overflow" // the row that takes the series beyond the limit
)

// AppendKey adds to dst the key of the series with these dimensions, in the
// order of the table's Dims. Different dimensions always give different keys,
// none of which is a reserved key.
func AppendKey[S ~string | ~[]byte](dst []byte, dims ...S) []byte {
	dst = append(dst, seriesTag)
	for _, dim := range dims {
		dst = appendCount(dst, int64(len(dim)))
		dst = append(dst, dim...)
	}
	return dst
}

// SplitKey returns the dimensions of a series, as parts of key. A reserved or
// malformed key is an error.
func SplitKey(key string) ([]string, error) {
	if !IsSeries(key) {
		return nil, fmt.Errorf("split key %q: not a series", key)
	}
	var dims []string
	for rest := key[1:]; rest != ""; {
		length, size := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
		if size <= 0 || length > uint64(len(rest)-size) {
			return nil, fmt.Errorf("split key %q: dimension %d: %w", key, len(dims), errShort)
		}
		end := size + int(length)
		dims = append(dims, rest[size:end])
		rest = rest[end:]
	}
	return dims, nil
}

// IsSeries reports whether key names a series rather than a reserved row.
func IsSeries(key string) bool { return key != "" && key[0] == seriesTag }

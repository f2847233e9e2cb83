// Package fingerprint tells which errors are the same error.
//
// An error message is reduced to a template, in which what varies from one
// occurrence to the next is replaced by placeholders, and a stack to the names
// of its top frames. Errors of one type and stage with equal templates and
// equal frames form an error group, known by its fingerprint.
//
//	upstream timed out after 30s id=12345      upstream timed out after <num>s id=<num>
//	open /data/a7/report.pdf: no such file     open <path>: no such file
//	dial tcp 10.0.0.7:6333: connection refused dial tcp <ip>: connection refused
//
// The package knows no events and no tables. What it returns is state on disk:
// a change of any rule gives all error groups new fingerprints.
package fingerprint

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Of returns the fingerprint of an error group. template and frames are what
// AppendTemplate and AppendFrames make; errorType and stage count as they are.
// It depends on nothing else and is the same on every machine.
func Of(errorType, stage, template, frames []byte) uint64 {
	var room [1024]byte
	b := room[:0]
	for _, part := range [...][]byte{errorType, stage, template, frames} {
		// With its length before it, no part can pass for the end of another.
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return xxh3.Hash(b)
}

// Format returns a fingerprint as it is shown: 16 hexadecimal digits.
func Format(fingerprint uint64) string { return fmt.Sprintf("%016x", fingerprint) }

package tables

import (
	"math"
	"math/bits"
)

// The buckets of a Histogram are those of a Prometheus native histogram: bucket i
// holds the durations in (2^((i-1)/16), 2^(i/16)] seconds. So every power of two
// seconds is a bound, exactly, and neighbouring bounds are 4.4 % apart.
const (
	// Schema is the resolution in Prometheus' terms: 2^Schema buckets a doubling.
	Schema = 4

	// ZeroThreshold is the upper bound of the zero bucket in seconds, inclusive:
	// 2^-20, the last power of two below a microsecond.
	ZeroThreshold = 1.0 / (1 << 20)

	// MaxDuration is the longest duration told apart, 30 days in nanoseconds.
	// Longer ones count as this one.
	MaxDuration int64 = 30 * 24 * 3600 * 1e9
)

const (
	perOctave = 1 << Schema
	zeroIndex = -20 * perOctave // the zero bucket ends where this bucket would end
	minIndex  = zeroIndex + 1
	maxIndex  = 341 // holds MaxDuration

	cellBits = 5 // bits below the leading one that choose a cell
	maxLen   = 52
)

// roots holds 2^(j/16) as fixed point numbers with 63 bits after the point,
// rounded down. Integers keep the bounds equal on every architecture.
var roots = [perOctave]uint64{
	0x8000000000000000, 0x85aac367cc487b14, 0x8b95c1e3ea8bd6e6, 0x91c3d373ab11c336,
	0x9837f0518db8a96f, 0x9ef5326091a111ad, 0xa5fed6a9b15138ea, 0xad583eea42a14ac6,
	0xb504f333f9de6484, 0xbd08a39f580c36be, 0xc5672a115506dadd, 0xce248c151f8480e3,
	0xd744fccad69d6af4, 0xe0ccdeec2a94e111, 0xeac0c6e7dd24392e, 0xf5257d152486cc2c,
}

// upperNs[i-zeroIndex] is the upper bound of bucket i in whole nanoseconds, rounded
// down: a bound is a whole number or none at all, so no duration is misplaced.
// cells[c] is the bucket of the first duration in cell c; see bucketOf.
var upperNs, cells = bucketTables()

func bucketTables() (upper [maxIndex - zeroIndex + 1]int64, cells [maxLen << cellBits]int16) {
	for i := range upper {
		octave, j := (i+zeroIndex)>>Schema, (i+zeroIndex)&(perOctave-1)
		hi, lo := bits.Mul64(roots[j], 1e9)
		if shift := 63 - octave; shift < 64 {
			upper[i] = int64(hi<<(64-shift) | lo>>shift)
		} else {
			upper[i] = int64(hi >> (shift - 64))
		}
	}
	at := 0
	for c := range cells {
		exp, fraction := c>>cellBits, c&(1<<cellBits-1)
		first := int64(1<<cellBits|fraction) << exp >> cellBits
		for at < len(upper)-1 && upper[at] < first {
			at++
		}
		cells[c] = int16(at + zeroIndex)
	}
	return upper, cells
}

// bucketOf returns the bucket of a duration above ZeroThreshold, up to
// MaxDuration. A cell is all durations that agree in their leading one and the
// five bits below: at most 3.2 % wide, so at most one bound lies inside.
func bucketOf(ns int64) int {
	exp := bits.Len64(uint64(ns)) - 1
	c := exp<<cellBits | int(ns>>(exp-cellBits))&(1<<cellBits-1)
	i := int(cells[c])
	if ns > upperNs[i-zeroIndex] {
		i++
	}
	return i
}

// UpperBound returns the inclusive upper bound of bucket i in seconds, 2^(i/16).
// The lower bound of i is the upper bound of i-1.
func UpperBound(i int) float64 {
	root := float64(roots[i&(perOctave-1)]) / (1 << 63)
	return math.Ldexp(root, i>>Schema)
}

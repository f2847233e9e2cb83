package tables

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
)

// Histogram is a distribution of durations in the buckets of a Prometheus native
// histogram, with an exact count, sum and maximum. The zero Histogram is empty
// and ready to use.
type Histogram struct {
	count, zero int64
	sum, max    int64 // nanoseconds

	// counts[k] is the count of bucket low+k. It spans whole octaves, from that
	// of the least to that of the greatest duration, so equal distributions are
	// equal in memory, too. Of a single duration there are none: max tells its
	// bucket. Where there are many series, most histograms hold one.
	low    int
	counts []int64
}

// clampDuration returns the duration that ns counts as.
func clampDuration(ns int64) int64 { return min(max(ns, 0), MaxDuration) }

// addSaturating adds two numbers that are not negative. Unlike a sum that wraps,
// one that stays at the top remains true as a bound, and still does not depend on
// the order of additions.
func addSaturating(a, b int64) int64 {
	if c := a + b; c >= 0 {
		return c
	}
	return math.MaxInt64
}

// Observe counts a duration in nanoseconds; one below 0 counts as 0 and one above
// MaxDuration as that. It allocates only for octaves not seen before.
func (h *Histogram) Observe(ns int64) {
	ns = clampDuration(ns)
	if h.count > 0 {
		h.countSingle()
		h.countIn(ns)
	} else if isZero(ns) {
		h.zero = 1
	}
	h.count++
	h.sum = addSaturating(h.sum, ns)
	h.max = max(h.max, ns)
}

// isZero reports whether the zero bucket holds a duration.
func isZero(ns int64) bool { return ns <= upperNs[0] }

// countSingle counts a duration that was alone in its bucket: it will not stay so.
func (h *Histogram) countSingle() {
	if h.count == 1 && h.zero == 0 {
		h.countIn(h.max)
	}
}

// countIn counts a duration in its bucket.
func (h *Histogram) countIn(ns int64) {
	if isZero(ns) {
		h.zero++
		return
	}
	i := bucketOf(ns)
	if uint(i-h.low) >= uint(len(h.counts)) {
		h.span(i, i)
	}
	h.counts[i-h.low]++
}

// span widens counts to the whole octaves that hold buckets first to last.
func (h *Histogram) span(first, last int) {
	low, high := first&^(perOctave-1), last|(perOctave-1)
	if len(h.counts) > 0 {
		low, high = min(low, h.low), max(high, h.low+len(h.counts)-1)
	}
	if high-low+1 == len(h.counts) {
		return
	}
	n := high - low + 1
	if len(h.counts) == 0 && cap(h.counts) >= n { // of what was there before Decode
		h.counts = h.counts[:n]
		clear(h.counts)
		h.low = low
		return
	}
	counts := make([]int64, n)
	if len(h.counts) > 0 {
		copy(counts[h.low-low:], h.counts)
	}
	h.low, h.counts = low, counts
}

// Count returns how many durations were observed.
func (h *Histogram) Count() int64 { return h.count }

// Sum returns their sum in nanoseconds; it stays at the greatest int64 once there.
func (h *Histogram) Sum() int64 { return h.sum }

// Max returns the longest in nanoseconds, 0 when there is none.
func (h *Histogram) Max() int64 { return h.max }

// ZeroCount returns how many were no longer than ZeroThreshold.
func (h *Histogram) ZeroCount() int64 { return h.zero }

// Buckets yields index and count of the buckets that are not empty, ascending. The
// zero bucket is not among them.
func (h *Histogram) Buckets() iter.Seq2[int, int64] {
	return func(yield func(int, int64) bool) {
		if h.count == 1 && h.zero == 0 {
			yield(bucketOf(h.max), 1)
			return
		}
		for k, n := range h.counts {
			if n != 0 && !yield(h.low+k, n) {
				return
			}
		}
	}
}

// Quantile returns an estimate in nanoseconds of the duration that a share q of
// all durations does not exceed (nearest rank), at most 2.2 % off, never above
// Max and exact for the greatest rank. Durations up to ZeroThreshold count as 0.
// It is NaN for an empty histogram; q outside [0, 1] means the nearer end.
func (h *Histogram) Quantile(q float64) float64 {
	if h.count == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	// A product such as 0.07*100 may come out a hair above the whole number
	// that it is; that must not cost a rank.
	rank := max(math.Ceil(q*float64(h.count)*(1-1e-15)), 1)
	if rank >= float64(h.count) {
		return float64(h.max)
	}
	below := float64(h.zero)
	if rank <= below {
		return 0
	}
	for i, n := range h.Buckets() {
		if below += float64(n); rank <= below {
			middle := math.Sqrt(UpperBound(i-1)*UpperBound(i)) * 1e9
			return min(middle, float64(h.max))
		}
	}
	return float64(h.max)
}

// CumulativeLE returns how many durations were at most s seconds. It is exact
// where s is a power of two from ZeroThreshold on, or no shorter than Max; between
// bounds it leaves out the bucket that s falls into.
func (h *Histogram) CumulativeLE(s float64) int64 {
	ns := s * 1e9
	switch {
	case ns >= float64(h.max):
		return h.count
	case s < ZeroThreshold, math.IsNaN(s):
		return 0
	}
	bound := int64(ns) // below max, so in range
	last := zeroIndex
	if !isZero(bound) {
		last = bucketOf(bound)
	}
	if upperNs[last-zeroIndex] > bound {
		last--
	}
	n := h.zero
	for i, c := range h.Buckets() {
		if i > last {
			break
		}
		n += c
	}
	return n
}

// Merge implements Measure.
func (h *Histogram) Merge(from *Histogram) {
	if from.count == 1 {
		h.Observe(from.max)
		return
	}
	if from.count > 0 {
		h.countSingle()
	}
	h.count += from.count
	h.zero += from.zero
	h.sum = addSaturating(h.sum, from.sum)
	h.max = max(h.max, from.max)
	if len(from.counts) == 0 {
		return
	}
	h.span(from.low, from.low+len(from.counts)-1)
	into := h.counts[from.low-h.low:]
	for k, n := range from.counts {
		into[k] += n
	}
}

// Clone implements Measure.
func (h *Histogram) Clone() Histogram {
	c := *h
	c.counts = slices.Clone(h.counts)
	return c
}

// IsZero implements Measure.
func (h *Histogram) IsZero() bool { return h.count == 0 }

// Append implements Measure:
//
//	0 | 1 duration | count sum max zero-count buckets { gap count }
//
// where gap is how many empty buckets lie between this one and the one before.
func (h *Histogram) Append(dst []byte) []byte {
	dst = appendCount(dst, h.count)
	switch h.count {
	case 0:
		return dst
	case 1:
		return appendCount(dst, h.max)
	}
	dst = appendCount(dst, h.sum)
	dst = appendCount(dst, h.max)
	dst = appendCount(dst, h.zero)
	filled := 0
	for _, n := range h.counts {
		if n != 0 {
			filled++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(filled))
	next := minIndex
	for k, n := range h.counts {
		if n != 0 {
			i := h.low + k
			dst = binary.AppendUvarint(dst, uint64(i-next))
			dst = appendCount(dst, n)
			next = i + 1
		}
	}
	return dst
}

// Decode implements Measure. Numbers that no observations can have led to are an
// error.
func (h *Histogram) Decode(src []byte) ([]byte, error) {
	*h = Histogram{counts: h.counts[:0]}
	d := decoder{src: src}
	count := d.count()
	switch count {
	case 0:
		return d.src, d.err
	case 1:
		h.Observe(int64(d.below(uint64(MaxDuration))))
		return d.src, d.err
	}
	h.count = count
	h.sum, h.max, h.zero = d.count(), int64(d.below(uint64(MaxDuration))), int64(d.below(uint64(h.count)))
	i, top, left := zeroIndex, zeroIndex, h.count-h.zero
	if !isZero(h.max) {
		top = bucketOf(h.max)
	}
	for k := range d.elements(2) {
		gap, n := d.pair()
		if gap >= uint64(top-i) || n == 0 || n > uint64(left) {
			d.fail(errRange)
			break
		}
		i += 1 + int(gap)
		if k == 0 {
			h.span(i, top)
		}
		h.counts[i-h.low] = int64(n)
		left -= int64(n)
	}
	if i != top || left != 0 || h.sum < h.max {
		d.fail(errRange)
	}
	return d.src, d.err
}

// skipHistogram takes a histogram off the front without a look at its numbers.
func (d *decoder) skipHistogram() {
	switch d.count() {
	case 0:
		return
	case 1:
		d.uvarint()
		return
	}
	for range 3 {
		d.uvarint()
	}
	for range 2 * d.elements(2) {
		d.uvarint()
	}
}

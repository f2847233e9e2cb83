package tables_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"ragstreams/tables"
)

// bucketOf returns the bucket that one duration lands in, and false for the zero
// bucket.
func bucketOf(ns int64) (int, bool) {
	var h tables.Histogram
	h.Observe(ns)
	for i := range h.Buckets() {
		return i, true
	}
	return 0, false
}

// boundNs returns floor(2^(i/16) * 1e9), computed with whole numbers alone.
func boundNs(i int) int64 {
	x := new(big.Int).Exp(big.NewInt(10), big.NewInt(9*16), nil)
	if i >= 0 {
		x.Lsh(x, uint(i))
	} else {
		x.Rsh(x, uint(-i))
	}
	for range 4 {
		x.Sqrt(x)
	}
	return x.Int64()
}

func TestBucketBoundsAreExact(t *testing.T) {
	for i := -319; i <= 340; i++ { // every bound but the last, which is above the longest duration
		ns := boundNs(i)
		if got, ok := bucketOf(ns); !ok || got != i {
			t.Errorf("%d ns in bucket %d (%v), want %d", ns, got, ok, i)
		}
		if got, ok := bucketOf(ns + 1); !ok || got != i+1 {
			t.Errorf("%d ns in bucket %d (%v), want %d", ns+1, got, ok, i+1)
		}
		if want := math.Pow(2, float64(i)/16); math.Abs(tables.UpperBound(i)/want-1) > 1e-15 {
			t.Errorf("UpperBound(%d) = %g, want %g", i, tables.UpperBound(i), want)
		}
	}
}

func TestBucketsOfWellKnownDurations(t *testing.T) {
	tests := []struct {
		name string
		ns   int64
		want float64 // upper bound in seconds; 0 for the zero bucket
	}{
		{"negative", -5, 0},
		{"nothing", 0, 0},
		{"the longest zero", 953, 0},
		{"a microsecond", 1000, math.Pow(2, -19.875)},
		{"an eighth of a second", 125e6, 0.125},
		{"a nanosecond more", 125e6 + 1, 0.125 * math.Pow(2, 1.0/16)},
		{"a second", 1e9, 1},
		{"sixteen seconds", 16e9, 16},
		{"thirty days", tables.MaxDuration, math.Pow(2, 341.0/16)},
		{"longer", math.MaxInt64, math.Pow(2, 341.0/16)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i, ok := bucketOf(tt.ns)
			if ok != (tt.want > 0) || ok && math.Abs(tables.UpperBound(i)/tt.want-1) > 1e-14 {
				t.Errorf("%d ns in bucket %d (%v), which ends at %g s, want %g s", tt.ns, i, ok, tables.UpperBound(i), tt.want)
			}
		})
	}
	for k := -20; k <= 21; k++ {
		if got, want := tables.UpperBound(16*k), math.Ldexp(1, k); got != want {
			t.Errorf("UpperBound(%d) = %g, want exactly %g", 16*k, got, want)
		}
	}
}

// distributions yield durations in nanoseconds.
var distributions = map[string]func(r *rand.Rand) float64{
	"uniform":     func(r *rand.Rand) float64 { return 1e3 + r.Float64()*1e9 },
	"exponential": func(r *rand.Rand) float64 { return 1e3 + r.ExpFloat64()*1e8 },
	"lognormal":   func(r *rand.Rand) float64 { return 1e3 + math.Exp(r.NormFloat64()*2)*1e8 },
	"constant":    func(*rand.Rand) float64 { return 123456789 },
	"bimodal": func(r *rand.Rand) float64 {
		if r.IntN(10) == 0 {
			return 30e9 + r.NormFloat64()*1e9
		}
		return 50e6 + r.Float64()*1e6
	},
	"pareto": func(r *rand.Rand) float64 { return min(1e6/math.Pow(r.Float64(), 1.5), 2e15) },
}

func TestQuantileError(t *testing.T) {
	quantiles := []float64{-1, 0, 0.001, 0.07, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1, 2}
	limit := math.Pow(2, 1.0/32) - 1 + 1e-9
	for name, draw := range distributions {
		for _, size := range []int{1, 2, 20, 100, 10_000} {
			r := rand.New(rand.NewPCG(uint64(size), 2))
			var h tables.Histogram
			values := make([]int64, size)
			for i := range values {
				values[i] = int64(draw(r))
				h.Observe(values[i])
			}
			slices.Sort(values)
			for _, q := range quantiles {
				want := float64(nearestRank(values, q))
				got := h.Quantile(q)
				if math.Abs(got/want-1) > limit || got > float64(h.Max()) {
					t.Errorf("%s, %d values: Quantile(%g) = %g, want %g ± %.1f %%, at most %d", name, size, q, got, want, 100*limit, h.Max())
				}
			}
		}
	}
}

// nearestRank returns the least of the sorted values that a share q of all does
// not exceed. The share is rounded to a millionth, so that the rank is exact.
func nearestRank(sorted []int64, q float64) int64 {
	millionths := int(math.Round(q * 1e6))
	rank := (millionths*len(sorted) + 1e6 - 1) / 1e6
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func TestQuantileEdges(t *testing.T) {
	var h tables.Histogram
	if got := h.Quantile(0.5); !math.IsNaN(got) {
		t.Errorf("Quantile of nothing = %g, want NaN", got)
	}
	h.Observe(0)
	h.Observe(100)
	h.Observe(500)
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("median in the zero bucket = %g, want 0", got)
	}
	h.Observe(1e9)
	h.Observe(1e9)
	if got := h.Quantile(0.6); got != 0 {
		t.Errorf("Quantile(0.6) = %g, want 0: the third of five", got)
	}
	if got := h.Quantile(0.61); got < 0.97e9 || got > 1e9 {
		t.Errorf("Quantile(0.61) = %g, want 1e9: the fourth of five", got)
	}
	h = tables.Histogram{}
	h.Observe(0)
	h.Observe(500)
	if got := h.Quantile(1); got != 500 {
		t.Errorf("Quantile(1) = %g, want the maximum 500", got)
	}
	if got := h.Quantile(math.NaN()); !math.IsNaN(got) {
		t.Errorf("Quantile(NaN) = %g, want NaN", got)
	}
}

func TestHistogramCountsExactly(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var h tables.Histogram
	var sum, longest, zero, count int64
	buckets := map[int]int64{}
	for range 5000 {
		ns := int64(math.Exp(r.Float64() * 36))
		h.Observe(ns)
		ns = min(ns, tables.MaxDuration)
		count, sum, longest = count+1, sum+ns, max(longest, ns)
		if i, ok := bucketOf(ns); ok {
			buckets[i]++
		} else {
			zero++
		}
	}
	if h.Count() != count || h.Sum() != sum || h.Max() != longest || h.ZeroCount() != zero {
		t.Errorf("count, sum, max, zero = %d, %d, %d, %d, want %d, %d, %d, %d",
			h.Count(), h.Sum(), h.Max(), h.ZeroCount(), count, sum, longest, zero)
	}
	before := math.MinInt
	for i, n := range h.Buckets() {
		if i <= before || n != buckets[i] {
			t.Errorf("bucket %d after %d has %d, want %d", i, before, n, buckets[i])
		}
		before = i
		delete(buckets, i)
	}
	if len(buckets) > 0 {
		t.Errorf("buckets not yielded: %v", buckets)
	}
}

func TestCumulativeLE(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var h tables.Histogram
	values := []int64{0, 953, 954, 125e6, 125e6 + 1, 1e9, 1e9 + 1, 3e9}
	for range 2000 {
		values = append(values, int64(math.Exp(r.Float64()*30)))
	}
	for _, ns := range values {
		h.Observe(ns)
	}
	for k := -20; k <= 21; k++ {
		s := math.Ldexp(1, k)
		var want int64
		for _, ns := range values {
			if float64(ns) <= s*1e9 {
				want++
			}
		}
		if got := h.CumulativeLE(s); got != want {
			t.Errorf("CumulativeLE(%g) = %d, want %d", s, got, want)
		}
	}
	for s, want := range map[float64]int64{
		math.Inf(1):                 h.Count(),
		float64(h.Max()) / 1e9:      h.Count(),
		tables.ZeroThreshold / 2:    0,
		0:                           0,
		-1:                          0,
		0.124:                       h.CumulativeLE(tables.UpperBound(-49)), // 0.1197 s; the next is 0.125 s
		float64(tables.MaxDuration): h.Count(),
	} {
		if got := h.CumulativeLE(s); got != want {
			t.Errorf("CumulativeLE(%g) = %d, want %d", s, got, want)
		}
	}
	var short tables.Histogram
	short.Observe(300e6)
	if got := short.CumulativeLE(0.3); got != 1 {
		t.Errorf("CumulativeLE(0.3) of 300 ms = %d, want 1", got)
	}
}

func TestHistogramSumStaysAtTheTop(t *testing.T) {
	var h tables.Histogram
	for range 4000 { // 3,559 of them pass the greatest int64
		h.Observe(math.MaxInt64)
	}
	double := h.Clone()
	double.Merge(&h)
	for _, h := range []tables.Histogram{h, double} {
		if h.Sum() != math.MaxInt64 {
			t.Errorf("sum of %d long durations = %d, want %d", h.Count(), h.Sum(), int64(math.MaxInt64))
		}
		var back tables.Histogram
		if err := tables.DecodeBody(h.Append(nil), &back); err != nil {
			t.Error(err)
		}
	}
}

func TestHistogramRefusesImpossibleBytes(t *testing.T) {
	// 1 s lies in bucket 0, which is 319 behind the least.
	tests := []struct {
		name   string
		fields []uint64 // 1 duration, or count sum max zero-count buckets { gap count }
		ok     bool
	}{
		{"one of 1 s", []uint64{1, 1e9}, true},
		{"one beyond the range", []uint64{1, 1e16}, false},
		{"two of 1 s", []uint64{2, 2e9, 1e9, 0, 1, 319, 2}, true},
		{"with a shorter one", []uint64{3, 2e9, 1e9, 1, 2, 318, 1, 0, 1}, true},
		{"nothing but zeros", []uint64{2, 10, 9, 2, 0}, true},
		{"more counted than in the buckets", []uint64{3, 2e9, 1e9, 0, 1, 319, 2}, false},
		{"fewer counted than in the buckets", []uint64{2, 2e9, 1e9, 0, 1, 319, 3}, false},
		{"fewer counted than are zero", []uint64{2, 10, 9, 3, 0}, false},
		{"counts that wrap around", []uint64{2, 2e9, 1e9, 0, 3, 0, 1 << 63, 317, 1 << 63, 0, 2}, false},
		{"an empty bucket", []uint64{2, 2e9, 1e9, 0, 2, 318, 0, 0, 2}, false},
		{"a sum below the maximum", []uint64{2, 1e9 - 1, 1e9, 0, 1, 319, 2}, false},
		{"a sum beyond its type", []uint64{2, 1 << 63, 1e9, 0, 1, 319, 2}, false},
		{"a maximum above the last bucket", []uint64{2, 4e9, 2e9, 0, 1, 319, 2}, false},
		{"buckets behind that of the maximum", []uint64{3, 3e9, 1e9, 0, 3, 319, 1, 0, 1, 40, 1}, false},
		{"a maximum below the last bucket", []uint64{2, 2e9, 9e8, 0, 1, 319, 2}, false},
		{"a maximum beyond the range", []uint64{2, 2e16, 1e16, 0, 1, 660, 2}, false},
		{"a bucket beyond the range", []uint64{2, 2e9, 1e9, 0, 1, math.MaxUint64, 2}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var src []byte
			for _, field := range tt.fields {
				src = binary.AppendUvarint(src, field)
			}
			var h tables.Histogram
			if err := tables.DecodeBody(src, &h); (err == nil) != tt.ok {
				t.Errorf("decode %d: error %v, want accepted = %v", tt.fields, err, tt.ok)
			}
		})
	}
}

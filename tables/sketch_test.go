package tables_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"ragstreams/tables"
)

func hashOf(seed, i uint64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], i)
	binary.LittleEndian.PutUint64(b[8:], seed)
	return xxh3.Hash(b[:])
}

func TestSketchIsExactWhenSmall(t *testing.T) {
	var s tables.Sketch
	for n := range uint64(64) {
		s.Add(hashOf(0, n))
		s.Add(hashOf(0, n/2)) // seen before
		if got := s.Count(); got != int64(n+1) {
			t.Errorf("count after %d hashes = %d", n+1, got)
		}
	}
}

// TestSketchAccuracy holds every sketch to four standard errors, and the mean and
// spread over many to what the theory promises: a bias would show in the mean.
func TestSketchAccuracy(t *testing.T) {
	const sketches = 60
	const sigma = 1.04 / 45.25 // 1.04/√2048
	for _, n := range []uint64{65, 100, 300, 1000, 2048, 5000, 10_000, 50_000} {
		var sum, squares float64
		for seed := range uint64(sketches) {
			var s tables.Sketch
			for i := range n {
				s.Add(hashOf(seed, i))
			}
			off := float64(s.Count())/float64(n) - 1
			if math.Abs(off) > 4*sigma {
				t.Errorf("count of %d hashes, seed %d = %d, off by %.1f %%", n, seed, s.Count(), 100*off)
			}
			sum, squares = sum+off, squares+off*off
		}
		if mean := sum / sketches; math.Abs(mean) > 0.01 {
			t.Errorf("%d hashes: mean error %.2f %%, want none", n, 100*mean)
		}
		if spread := math.Sqrt(squares / sketches); spread > 0.03 {
			t.Errorf("%d hashes: error %.2f %%, want below 3 %%", n, 100*spread)
		}
	}
}

// TestSketchIsCanonical adds the same hashes in another order, with repetitions and
// through merges of arbitrary shape: memory and bytes must come out equal.
func TestSketchIsCanonical(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 5))
		n := []int{0, 1, 63, 64, 65, 66, 500, 900, 2000, 20_000}[r.IntN(10)]
		var want tables.Sketch
		parts := make([]tables.Sketch, 1+r.IntN(6))
		for _, i := range r.Perm(n) {
			want.Add(hashOf(seed, uint64(i)))
		}
		for _, i := range r.Perm(n) {
			for range 1 + r.IntN(2) {
				parts[r.IntN(len(parts))].Add(hashOf(seed, uint64(i)))
			}
		}
		for len(parts) > 1 {
			i := 1 + r.IntN(len(parts)-1)
			parts[r.IntN(i)].Merge(&parts[i])
			parts = append(parts[:i], parts[i+1:]...)
		}
		checkSame(t, "merged in parts", parts[0], want)
		var back tables.Sketch
		if err := tables.DecodeBody(want.Append(nil), &back); err != nil {
			t.Errorf("%d hashes: %v", n, err)
		}
		checkSame(t, "decoded", back, want)
	}
}

func TestSketchSize(t *testing.T) {
	for n, limit := range map[uint64]int{0: 1, 10: 81, 64: 513, 65: 200, 500: 1100, 100_000: 1537} {
		var s tables.Sketch
		for i := range n {
			s.Add(hashOf(1, i))
		}
		if got := len(s.Append(nil)); got > limit {
			t.Errorf("%d hashes take %d bytes, want at most %d", n, got, limit)
		}
	}
}

// hashOfRank returns a hash that gives a register the rank, 1 to 54.
func hashOfRank(register, rank uint64) uint64 {
	return register<<53 | 1<<53>>rank
}

// TestSketchOfHugeSets draws the registers as that many hashes would leave them and
// checks the estimate.
func TestSketchOfHugeSets(t *testing.T) {
	for _, log := range []int{40, 58, 60} {
		r := rand.New(rand.NewPCG(uint64(log), 12))
		var s tables.Sketch
		for register := range uint64(2048) {
			u, rank := r.Float64(), uint64(1)
			for rank < 54 && math.Exp(-math.Ldexp(1, log-11-int(rank))) < u {
				rank++
			}
			s.Add(hashOfRank(register, rank))
		}
		if off := float64(s.Count())/math.Ldexp(1, log) - 1; math.Abs(off) > 0.08 {
			t.Errorf("count of 2^%d hashes = %d, off by %.1f %%", log, s.Count(), 100*off)
		}
	}
	var s tables.Sketch
	for register := range uint64(2048) {
		s.Add(hashOfRank(register, 54))
	}
	if got := s.Count(); got != 1<<62 {
		t.Errorf("count with every register at its end = %d, want 2^62", got)
	}
}

// TestSketchForms goes over the edge between the forms of a sketch: each decodes,
// and the shorter one is taken.
func TestSketchForms(t *testing.T) {
	for inUse, size := range map[uint64]int{65: 2 + 65, 767: 3 + 767, 768: 1537, 769: 1537, 2048: 1537} {
		var s, back tables.Sketch
		for register := range inUse {
			s.Add(hashOfRank(register, 1))
		}
		src := s.Append(nil)
		if err := tables.DecodeBody(src, &back); err != nil {
			t.Errorf("%d registers in use: %v", inUse, err)
		}
		checkSame(t, "decoded", back, s)
		if len(src) != size {
			t.Errorf("%d registers in use take %d bytes, want %d", inUse, len(src), size)
		}
	}
}

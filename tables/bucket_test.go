package tables

import (
	"math"
	"math/rand/v2"
	"testing"
)

// BenchmarkBucketOf is the index of one plausible duration.
func BenchmarkBucketOf(b *testing.B) {
	r := rand.New(rand.NewPCG(11, 11))
	var values [4096]int64
	for i := range values {
		values[i] = int64(math.Exp(r.NormFloat64()*1.5) * 2e8)
	}
	i, sum := 0, 0
	for b.Loop() {
		sum += bucketOf(values[i&4095])
		i++
	}
	if sum == 0 {
		b.Fatal("every duration is in bucket 0")
	}
}

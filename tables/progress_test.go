package tables_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ragstreams/tables"
)

func TestWatermarkNeedsEveryPartition(t *testing.T) {
	type watermark struct {
		at    int64
		known bool
	}
	steps := []struct {
		name      string
		partition int32
		w         int64
		news      bool
		want      watermark // over partitions 0 to 2
	}{
		{"the last partition first", 2, 30, true, watermark{}},
		{"another", 0, 10, true, watermark{}},
		{"all known, one below 1970", 1, -20, true, watermark{-20, true}},
		{"the slowest moves", 1, 20, true, watermark{10, true}},
		{"the same again", 0, 10, false, watermark{10, true}},
		{"a lower one changes nothing", 0, 5, false, watermark{10, true}},
		{"the slowest moves past the others", 0, 100, true, watermark{20, true}},
		{"a partition that is not asked for", 7, 1, true, watermark{20, true}},
	}
	var p tables.Progress
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.Observe(tt.partition, tt.w); got != tt.news {
				t.Errorf("Observe(%d, %d) = %v, want %v", tt.partition, tt.w, got, tt.news)
			}
			for _, q := range []tables.Progress{p, p.Clone(), reread(t, &p)} {
				at, known := q.Watermark(3)
				if got := (watermark{at, known}); got != tt.want {
					t.Errorf("Watermark(3) = %+v, want %+v", got, tt.want)
				}
			}
		})
	}
	for _, n := range []int{-1, 0, 4, 8, 9} { // partition 3 never reported
		if at, known := p.Watermark(n); known {
			t.Errorf("Watermark(%d) = %d, want unknown", n, at)
		}
	}
}

// reread returns p after a round through its bytes.
func reread(t *testing.T, p *tables.Progress) tables.Progress {
	t.Helper()
	got := tables.Progress{ClosedThrough: 5}
	got.Observe(9, 9)
	src := p.Append(nil)
	if err := got.Decode(src); err != nil {
		t.Errorf("Decode(%x): %v", src, err)
	}
	if diff := cmp.Diff(*p, got, exact); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	for n := range src {
		if err := new(tables.Progress).Decode(src[:n]); err == nil {
			t.Errorf("Decode accepted %d of %d bytes", n, len(src))
		}
	}
	if err := new(tables.Progress).Decode(append(src, 0)); err == nil {
		t.Error("Decode accepted a byte too many")
	}
	return got
}

func TestProgressNeverFalls(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 10))
		var p tables.Progress
		least, closed := int64(math.MinInt64), int64(0)
		for range 200 {
			p.Observe(r.Int32N(4), r.Int64N(1000)-500)
			p.Close(r.Int64N(1000) - 500)
			at, known := p.Watermark(4)
			if known && at < least || p.ClosedThrough < closed {
				t.Fatalf("seed %d: watermark %d after %d, closed through %d after %d", seed, at, least, p.ClosedThrough, closed)
			}
			if known {
				least = at
			}
			closed = p.ClosedThrough
		}
	}
	var p tables.Progress
	for _, tt := range []struct {
		through int64
		news    bool
	}{{-10, false}, {10, true}, {10, false}, {9, false}, {20, true}} {
		if got := p.Close(tt.through); got != tt.news {
			t.Errorf("Close(%d) = %v, want %v", tt.through, got, tt.news)
		}
	}
	if p.ClosedThrough != 20 {
		t.Errorf("ClosedThrough = %d, want 20", p.ClosedThrough)
	}
}

func TestProgressCloneIsACopy(t *testing.T) {
	var p tables.Progress
	p.Observe(0, 10)
	c := p.Clone()
	c.Observe(0, 20)
	if at, _ := p.Watermark(1); at != 10 {
		t.Errorf("watermark = %d after a clone moved, want 10", at)
	}
}

func TestProgressRefusesAbsurdPartitions(t *testing.T) {
	for _, partition := range []int32{-1, 1 << 16} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Observe(%d, 0) did not panic", partition)
				}
			}()
			new(tables.Progress).Observe(partition, 0)
		}()
	}
	for n, ok := range map[int]bool{1 << 16: true, 1<<16 + 1: false} {
		src := append(binary.AppendUvarint([]byte{tables.Version, 0}, uint64(n)), make([]byte, n)...)
		if err := new(tables.Progress).Decode(src); (err == nil) != ok {
			t.Errorf("progress of %d partitions: error %v, want accepted = %v", n, err, ok)
		}
	}
}

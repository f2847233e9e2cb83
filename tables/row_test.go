package tables_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ragstreams/tables"
)

type trafficRow = tables.Row[tables.Traffic, *tables.Traffic]

type pane = tables.Pane[tables.Traffic]

func traffic(n int64) tables.Traffic { return tables.Traffic{Count: n} }

// rowWith returns a row with count n added at each of starts, the first as 1, the
// second as 10 and so on.
func rowWith(starts ...int64) trafficRow {
	var row trafficRow
	n := int64(1)
	for _, start := range starts {
		row.Add(start, &tables.Traffic{Count: n})
		n *= 10
	}
	return row
}

func TestRowAdd(t *testing.T) {
	tests := []struct {
		name   string
		starts []int64
		want   trafficRow
	}{
		{"nothing", nil, trafficRow{}},
		{"one pane", []int64{20}, trafficRow{LastPane: 20, Open: []pane{{20, traffic(1)}}}},
		{"one pane twice", []int64{20, 20}, trafficRow{LastPane: 20, Open: []pane{{20, traffic(11)}}}},
		{"in order", []int64{20, 30}, trafficRow{LastPane: 30, Open: []pane{{20, traffic(1)}, {30, traffic(10)}}}},
		{"out of order", []int64{30, 10, 20, 10}, trafficRow{LastPane: 30, Open: []pane{{10, traffic(1010)}, {20, traffic(100)}, {30, traffic(1)}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := rowWith(tt.starts...)
			if diff := cmp.Diff(tt.want, row); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowAddCopies(t *testing.T) {
	var row tables.Row[tables.Histogram, *tables.Histogram]
	var h tables.Histogram
	h.Observe(1e9)
	row.Add(10, &h)
	h.Observe(1e9)
	if got := row.Open[0].M.Count(); got != 1 {
		t.Errorf("the pane counts %d, want 1: it shares memory with what was added", got)
	}
}

func TestRowClose(t *testing.T) {
	tests := []struct {
		name    string
		through int64
		emitted []pane
		left    trafficRow
	}{
		{"before the first", 9, nil, trafficRow{LastPane: 30, Open: []pane{{10, traffic(1)}, {20, traffic(10)}, {30, traffic(100)}}}},
		{"exactly the first", 10, []pane{{10, traffic(1)}}, trafficRow{Total: traffic(1), LastPane: 30, Open: []pane{{20, traffic(10)}, {30, traffic(100)}}}},
		{"between two", 29, []pane{{10, traffic(1)}, {20, traffic(10)}}, trafficRow{Total: traffic(11), LastPane: 30, Open: []pane{{30, traffic(100)}}}},
		{"all", math.MaxInt64, []pane{{10, traffic(1)}, {20, traffic(10)}, {30, traffic(100)}}, trafficRow{Total: traffic(111), LastPane: 30, Open: []pane{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := rowWith(10, 20, 30)
			var emitted []pane
			emit := func(p pane) { emitted = append(emitted, p) }
			row.Close(tt.through, emit)
			row.Close(tt.through, emit) // nothing closes twice
			if diff := cmp.Diff(tt.emitted, emitted); diff != "" {
				t.Errorf("emitted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.left, row); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			if got, want := row.Sum(), traffic(111); got != want {
				t.Errorf("Sum() = %+v, want %+v whatever is closed", got, want)
			}
		})
	}
	t.Run("an empty row", func(t *testing.T) {
		var row trafficRow
		row.Close(math.MaxInt64, func(p pane) { t.Errorf("emitted %+v", p) })
	})
}

func TestClosedPaneIsKeptByWhoeverTookIt(t *testing.T) {
	var row tables.Row[tables.Histogram, *tables.Histogram]
	h := anyHistogram(rand.New(rand.NewPCG(1, 6)))
	h.Observe(1e9)
	row.Add(10, &h)
	var kept tables.Histogram
	row.Close(10, func(p tables.Pane[tables.Histogram]) { kept = p.M })
	row.Add(20, &h)
	row.Close(20, func(tables.Pane[tables.Histogram]) {})
	checkSame(t, "kept pane", kept, h)
	checkSame(t, "total", row.Total, merged(h, h))
}

func TestRowCloneAndSumAreCopies(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 6))
	row := anyRow(r)
	was := row.Append(nil)
	clone, sum := row.Clone(), row.Sum()
	if got := clone.Append(nil); !bytes.Equal(got, was) {
		t.Errorf("clone = %x, want %x", got, was)
	}
	more := anyLatency(r)
	more.Observe(1e9, "z", 99)
	clone.Add(clone.LastPane, &more)
	clone.Total.Merge(&more)
	sum.Merge(&more)
	if got := row.Append(nil); !bytes.Equal(got, was) {
		t.Errorf("row changed with its copies: %x, want %x", got, was)
	}
}

// anyRow returns a row of several panes, some of them closed.
func anyRow(r *rand.Rand) tables.Row[tables.Latency, *tables.Latency] {
	var row tables.Row[tables.Latency, *tables.Latency]
	for range 1 + r.IntN(12) {
		m := anyLatency(r)
		row.Add(1.7e12+r.Int64N(8)*10_000, &m)
	}
	row.Close(1.7e12+r.Int64N(8)*10_000, func(tables.Pane[tables.Latency]) {})
	return row
}

func TestRowEncoding(t *testing.T) {
	for seed := range uint64(100) {
		row := anyRow(rand.New(rand.NewPCG(seed, 7)))
		src := row.Append(nil)
		got := rowOfLatency(t)
		long := bytes.Clone(src)
		if err := got.Decode(long); err != nil {
			t.Fatalf("Decode(%x): %v", src, err)
		}
		clear(long)
		if again := got.Append(nil); !bytes.Equal(again, src) {
			t.Errorf("row of seed %d comes back as %x, want %x", seed, again, src)
		}
		for n := range src {
			if err := got.Decode(src[:n]); err == nil {
				t.Errorf("Decode accepted %d of %d bytes", n, len(src))
			}
		}
		if err := got.Decode(append(src, 0)); err == nil {
			t.Error("Decode accepted a byte too many")
		}
	}
}

func TestRowReader(t *testing.T) {
	for seed := range uint64(100) {
		row := anyRow(rand.New(rand.NewPCG(seed, 12)))
		src := row.Append(nil)
		oldest, open, last, err := tables.OpenPanes(src)
		if err != nil || last != row.LastPane || open != (len(row.Open) > 0) || open && oldest != row.Open[0].Start {
			t.Errorf("OpenPanes = %d, %v, %d, %v of %+v", oldest, open, last, err, row)
		}
		r, err := tables.NewRowReader(src)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range row.Open {
			if !r.Next() || r.Start != p.Start || !bytes.Equal(r.Body, p.M.Append(nil)) {
				t.Fatalf("pane at %d of %x, %v, want %d of %x", r.Start, r.Body, r.Err(), p.Start, p.M.Append(nil))
			}
		}
		if r.Next() || r.Err() != nil {
			t.Errorf("after the last pane comes one at %d, %v", r.Start, r.Err())
		}
		if total := row.Total.Append(nil); !bytes.Equal(r.Total(), total) {
			t.Errorf("total of %x, want %x", r.Total(), total)
		}
		panes := len(src) - len(row.Total.Append(nil))
		for n := range panes {
			if got, err := readPanes(src[:n]); err == nil {
				t.Errorf("%d of %d bytes were read as %d panes", n, len(src), got)
			}
		}
	}
}

// readPanes returns how many panes a RowReader finds.
func readPanes(src []byte) (n int, err error) {
	r, err := tables.NewRowReader(src)
	for err == nil && r.Next() {
		n++
	}
	if err == nil {
		err = r.Err()
	}
	return n, err
}

// rowOfLatency returns a row that is not empty, for Decode to replace.
func rowOfLatency(t *testing.T) *tables.Row[tables.Latency, *tables.Latency] {
	t.Helper()
	row := anyRow(rand.New(rand.NewPCG(99, 7)))
	return &row
}

func TestRowOfFarApartPanes(t *testing.T) {
	row := rowWith(math.MinInt64, -10, 0, math.MaxInt64)
	var got trafficRow
	if err := got.Decode(row.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(row, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestUnknownVersionsAreRefused(t *testing.T) {
	row := rowWith(10)
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{})
	formats := map[string]struct {
		src    []byte
		decode func([]byte) error
	}{
		"row":               {row.Append(nil), new(trafficRow).Decode},
		"read row":          {row.Append(nil), func(b []byte) error { _, err := readPanes(b); return err }},
		"find panes of row": {row.Append(nil), func(b []byte) error { _, _, _, err := tables.OpenPanes(b); return err }},
		"progress":          {new(tables.Progress).Append(nil), new(tables.Progress).Decode},
		"batch":             {w.Bytes(), func(b []byte) error { _, err := tables.NewBatchReader(b); return err }},
	}
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			if err := format.decode(format.src); err != nil {
				t.Fatal(err)
			}
			format.src[0] = 77
			err := format.decode(format.src)
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), fmt.Sprintf("version 77, this program reads %d", tables.Version)) {
				t.Errorf("error = %v, want one that names %s and both versions", err, name)
			}
			if err := format.decode(nil); err == nil {
				t.Error("no bytes were accepted")
			}
		})
	}
}

func TestRowRefusesPanesOutOfOrder(t *testing.T) {
	row := trafficRow{Open: []pane{{20, traffic(1)}, {10, traffic(1)}}}
	refused := func(what string) {
		t.Helper()
		if err := new(trafficRow).Decode(row.Append(nil)); err == nil {
			t.Errorf("a row with %s was accepted", what)
		}
		if _, err := readPanes(row.Append(nil)); err == nil {
			t.Errorf("a row with %s was read", what)
		}
	}
	refused("descending panes")
	row.Open[1].Start = 20
	refused("one pane twice")
}

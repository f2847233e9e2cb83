package tables_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"ragstreams/tables"
)

// durations returns plausible durations in nanoseconds.
func durations() []int64 {
	r := rand.New(rand.NewPCG(11, 11))
	ns := make([]int64, 4096)
	for i := range ns {
		ns[i] = int64(math.Exp(r.NormFloat64()*1.5) * 2e8)
	}
	return ns
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	var h tables.Histogram
	values := durations()
	for _, ns := range values {
		h.Observe(ns)
	}
	row := anyRow(rand.New(rand.NewPCG(1, 11)))
	dst := row.Append(nil)
	var w tables.BatchWriter
	key := string(tables.AppendKey(nil, []byte("acme"), []byte("chat")))
	m := traffic(5)
	w.Reset(tables.BatchHeader{})
	for range 100 {
		w.Add(key, 10, &m)
	}
	for name, f := range map[string]func(){
		"Histogram.Observe": func() { h.Observe(values[7]) },
		"Row.Append":        func() { dst = row.Append(dst[:0]) },
		"BatchWriter.Add":   func() { w.Reset(tables.BatchHeader{}); w.Add(key, 10, &m) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s allocates %g times", name, got)
		}
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	values := durations()
	var h tables.Histogram
	i := 0
	for b.Loop() {
		h.Observe(values[i&4095])
		i++
	}
}

func BenchmarkLatencyObserve(b *testing.B) {
	values := durations()
	var l tables.Latency
	i := 0
	for b.Loop() {
		l.Observe(values[i&4095], "4bf92f3577b34da6a3ce929d0e0e4736", int64(i/1000))
		i++
	}
}

func BenchmarkHistogramMerge(b *testing.B) {
	var h, sum tables.Histogram
	for _, ns := range durations() {
		h.Observe(ns)
	}
	for b.Loop() {
		sum.Merge(&h)
	}
}

func BenchmarkHistogramDecode(b *testing.B) {
	var h, got tables.Histogram
	for _, ns := range durations()[:50] {
		h.Observe(ns)
	}
	src := h.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := got.Decode(src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRowAppend(b *testing.B) {
	row := anyRow(rand.New(rand.NewPCG(1, 11)))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = row.Append(dst[:0])
	}
}

// BenchmarkRowAdd is one partial merged into the newest of seven open panes.
func BenchmarkRowAdd(b *testing.B) {
	var m tables.Latency
	for i, ns := range durations()[:50] {
		m.Observe(ns, "4bf92f3577b34da6a3ce929d0e0e4736", int64(i))
	}
	var row tables.Row[tables.Latency, *tables.Latency]
	for pane := range int64(7) {
		row.Add(pane*10_000, &m)
	}
	b.ReportAllocs()
	for b.Loop() {
		row.Add(60_000, &m)
	}
}

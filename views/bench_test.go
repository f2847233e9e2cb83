package views_test

import (
	"fmt"
	"testing"

	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

type (
	latency    = tables.Latency
	latencyRow = tables.Row[tables.Latency, *tables.Latency]
)

// busy is a view of latencies in which every series has two hours of panes and a
// row with seven open ones, as the default window.grace leaves them.
type busy struct {
	view   *views.View[latency, *latency]
	keys   []string
	rows   []latencyRow
	values [][]byte // of the rows
	next   int64    // start of the newest open pane
	offset int64
}

const openPanes = 7

func newBusy(b *testing.B, series, closed int) *busy {
	v := views.New[latency](views.Options{
		Panes: window.Panes{Size: pane, Grace: 60_000}, Partitions: 1, Assemblers: 1, Trim: tables.LatencyTable.Trim,
	})
	f := &busy{view: v, rows: make([]latencyRow, series), values: make([][]byte, series)}
	for i := range f.rows {
		f.keys = append(f.keys, string(tables.AppendKey(nil, []byte("acme"), []byte("chat"), []byte("generate"), fmt.Append(nil, i))))
	}
	for range closed + openPanes {
		for i := range f.rows {
			f.rows[i].Add(f.next, f.calls(10))
		}
		f.next += pane
	}
	f.close(b)
	for i := range f.rows {
		f.values[i] = f.rows[i].Append(nil)
	}
	f.update(b)
	return f
}

// calls returns so many calls, none like the other.
func (f *busy) calls(n int) *latency {
	var l latency
	for i := range int64(n) {
		l.Observe((i+1)*40e6+f.next%1e6, "4bf92f3577b34da6a3ce929d0e0e4736", f.next+i)
	}
	return &l
}

// close closes all but the open panes.
func (f *busy) close(b *testing.B) {
	var w tables.BatchWriter
	through := f.next - (openPanes+1)*pane
	w.Reset(tables.BatchHeader{Watermark: through + pane + 60_000, HasWatermark: true})
	for i := range f.rows {
		f.rows[i].Close(through, func(p tables.Pane[latency]) { w.Add(f.keys[i], p.Start, &p.M) })
	}
	if err := f.view.Windows(0, 0, w.Bytes()); err != nil {
		b.Fatal(err)
	}
}

func (f *busy) update(b *testing.B) {
	for i := range f.rows {
		f.offset++
		if err := f.view.Update(0, f.offset, f.keys[i], f.values[i]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate is one commit in which each of a thousand rows changed.
func BenchmarkUpdate(b *testing.B) {
	f := newBusy(b, 1000, 0)
	b.ReportAllocs()
	for b.Loop() {
		f.update(b)
	}
	b.ReportMetric(float64(len(f.values[0])), "B/row")
}

// BenchmarkUpdateThatCloses is one pane of a series: a hundred updates, in the last
// of which the row loses a pane, whose window record comes behind it.
func BenchmarkUpdateThatCloses(b *testing.B) {
	f := newBusy(b, 1, 0)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		before := f.rows[0].Append(nil)
		f.rows[0].Add(f.next, f.calls(10))
		f.next += pane
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{})
		f.rows[0].Close(f.next-(openPanes+1)*pane, func(p tables.Pane[latency]) { w.Add(f.keys[0], p.Start, &p.M) })
		after := f.rows[0].Append(nil)
		b.StartTimer()
		for range 99 {
			f.offset++
			f.view.Update(0, f.offset, f.keys[0], before)
		}
		f.offset++
		f.view.Update(0, f.offset, f.keys[0], after)
		if err := f.view.Windows(0, 0, w.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	f := newBusy(b, 200, 720)
	end := f.next - openPanes*pane
	for name, q := range map[string]views.Query{
		"newest 5m":     {Window: 300_000},
		"rate":          {From: end - 60_000, To: end},
		"1h in minutes": {From: f.next - hour, To: views.Newest, Step: 60_000},
		"total":         {Total: true},
	} {
		b.Run(name, func(b *testing.B) {
			lines := 0
			for b.Loop() {
				f.update(b)
				_, err := f.view.Query(q, func(string, *latency, *latency, tables.Span, int64) { lines++ })
				if err != nil {
					b.Fatal(err)
				}
			}
			if lines == 0 {
				b.Fatal("an empty answer")
			}
		})
	}
}

func BenchmarkSeries(b *testing.B) {
	f := newBusy(b, 1000, 0)
	for b.Loop() {
		if err := f.view.Series(0, func(string, *latency) {}); err != nil {
			b.Fatal(err)
		}
	}
}

package tables_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ragstreams/tables"
)

// TestEditDoesWhatRowDoes makes the same changes by an Edit and by a Row, its plain
// twin, and requires the same bytes and the same panes that close.
func TestEditDoesWhatRowDoes(t *testing.T) {
	t.Run("traffic", func(t *testing.T) { checkEdits(t, anyTraffic) })
	t.Run("latency", func(t *testing.T) { checkEdits(t, anyLatency) })
	t.Run("errors", func(t *testing.T) { checkEdits(t, anyErrors) })
	t.Run("behaviour", func(t *testing.T) { checkEdits(t, anyBehaviour) })
}

type closedPane struct {
	Start int64
	Body  []byte
}

func checkEdits[M any, P tables.Measure[M]](t *testing.T, generate func(*rand.Rand) M) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 21))
		var row tables.Row[M, P]
		var editor tables.Editor[M, P]
		e, err := editor.Edit(nil)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 60 {
			m := generate(r)
			body := P(&m).Append(nil)
			start := 1.7e12 + r.Int64N(6)*10_000
			var want, got []closedPane
			var did string
			switch r.IntN(20) {
			case 0:
				did = fmt.Sprintf("close through %d", start)
				row.Close(start, func(p tables.Pane[M]) { want = append(want, closedPane{p.Start, P(&p.M).Append(nil)}) })
				err = e.Close(start, func(start int64, body []byte) { got = append(got, closedPane{start, bytes.Clone(body)}) })
			case 1:
				did = "begin again from the bytes"
				e, err = editor.Edit(e.Append(nil))
			case 2:
				did = "add to the total"
				P(&row.Total).Merge(&m)
				err = e.AddTotal(body)
			default:
				did = fmt.Sprintf("add to %d", start)
				row.Add(start, &m)
				err = e.Add(start, body)
			}
			if err != nil {
				t.Fatalf("seed %d, step %d, %s: %v", seed, step, did, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, step %d, %s: closed (-row +edit):\n%s", seed, step, did, diff)
			}
			if want, got := row.Append(nil), e.Append(nil); !bytes.Equal(want, got) {
				t.Fatalf("seed %d, step %d, %s: %x, want %x", seed, step, did, got, want)
			}
			sum, err := editor.Sum(e.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			checkSame[M, P](t, "sum", *sum, row.Sum())
			oldest, open := e.Oldest()
			if open != (len(row.Open) > 0) || open && oldest != row.Open[0].Start {
				t.Fatalf("seed %d, step %d, %s: Oldest() = %d, %v, of %+v", seed, step, did, oldest, open, row.Open)
			}
		}
	}
}

func TestEditRefusesWhatIsNoRow(t *testing.T) {
	row := rowWith(10, 20)
	src := row.Append(nil)
	var editor tables.Editor[tables.Traffic, *tables.Traffic]
	for n := range len(src) - len((&tables.Traffic{}).Append(nil)) {
		if _, err := editor.Edit(src[:n:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(src))
		}
	}
	e, err := editor.Edit(src[:len(src)-1])
	if err != nil {
		t.Fatal("the total is read when it changes, but was read before:", err)
	}
	if err := e.Close(10, func(int64, []byte) {}); err == nil {
		t.Error("a pane was added to a total that is cut short")
	}
	if e, err = editor.Edit(src); err != nil {
		t.Fatal(err)
	}
	if err := e.Add(10, []byte{1}); err == nil {
		t.Error("a partial that is cut short was merged")
	}
}

// BenchmarkEditOverflow is a partial of the overflow row, which all series beyond the
// limit share: thousands meet in one pane before the row is written.
func BenchmarkEditOverflow(b *testing.B) {
	r := rand.New(rand.NewPCG(2, 21))
	bodies := make([][]byte, 500)
	for i := range bodies {
		var m tables.Errors
		m.Observe(tables.Sample{Time: int64(i), TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}, "Timeout", "no answer", r.Uint64())
		bodies[i] = m.Append(nil)
	}
	var editor tables.Editor[tables.Errors, *tables.Errors]
	e, err := editor.Edit(nil)
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Add(0, bodies[i%len(bodies)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkEdit is what a table does to a row of a series with few events: the
// first partial of a pane comes, the oldest closes, and the row is written.
func BenchmarkEdit(b *testing.B) {
	var m tables.Latency
	m.Observe(2e8, "4bf92f3577b34da6a3ce929d0e0e4736", 1.7e12)
	body := m.Append(nil)
	var row tables.Row[tables.Latency, *tables.Latency]
	for i, ns := range durations()[:50] {
		row.Total.Observe(ns, "4bf92f3577b34da6a3ce929d0e0e4736", int64(i))
	}
	for pane := range int64(4) {
		row.Add(pane*10_000, &m)
	}
	src := row.Append(nil)
	var editor tables.Editor[tables.Latency, *tables.Latency]
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		e, err := editor.Edit(src)
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Add(40_000, body); err != nil {
			b.Fatal(err)
		}
		if err := e.Close(0, func(int64, []byte) {}); err != nil {
			b.Fatal(err)
		}
		dst = e.Append(dst[:0])
	}
}

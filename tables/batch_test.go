package tables_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ragstreams/tables"
)

// partial is one entry of a batch, for comparison.
type partial struct {
	Key  string
	Pane int64
	M    tables.Traffic
}

// readBatch returns the header and all partials of a batch.
func readBatch(src []byte) (tables.BatchHeader, []partial, error) {
	r, err := tables.NewBatchReader(src)
	if err != nil {
		return r.Header, nil, err
	}
	var got []partial
	for r.Next() {
		p := partial{Key: string(r.Key), Pane: r.Pane}
		if err := tables.DecodeBody(r.Body, &p.M); err != nil {
			return r.Header, got, err
		}
		got = append(got, p)
	}
	return r.Header, got, r.Err()
}

func TestBatch(t *testing.T) {
	series := string(tables.AppendKey(nil, []byte("acme"), []byte("chat"), nil))
	partials := []partial{
		{series, 1.7e12, traffic(5)},
		{series, 1.7e12 + 10_000, tables.Traffic{Count: 1 << 60, Errors: 3}},
		{"", 1.7e12, tables.Traffic{}},
		{tables.OverflowKey, -10_000, traffic(7)},
		{"min", math.MinInt64, traffic(1)},
		{"max", math.MaxInt64, traffic(1)},
	}
	headers := []tables.BatchHeader{
		{},
		{Assemble: 3, Watermark: 1.7e12, HasWatermark: true},
		{Assemble: 65_535, Watermark: -5, HasWatermark: true},
		{HasWatermark: true},
		{Assemble: 3, Watermark: 1.7e12, HasWatermark: true, Closed: true},
	}
	var w tables.BatchWriter // one for all: Reset must forget
	for _, header := range headers {
		for n := range len(partials) + 1 {
			w.Reset(header)
			want := partials[:n:n]
			for _, p := range want {
				w.Add(p.Key, p.Pane, &p.M)
			}
			if w.Len() != n {
				t.Errorf("Len() = %d, want %d", w.Len(), n)
			}
			gotHeader, got, err := readBatch(w.Bytes())
			if err != nil || gotHeader != header {
				t.Errorf("header = %+v, %v, want %+v", gotHeader, err, header)
			}
			if len(got) != n || n > 0 && !cmp.Equal(got, want) {
				t.Errorf("partials (-want +got):\n%s", cmp.Diff(want, got))
			}
			if size := len(w.Bytes()); size > w.Size() {
				t.Errorf("%d bytes, and a size of %d", size, w.Size())
			}
			w.Mark(7)
			marked, again, err := readBatch(w.Bytes())
			if want := (tables.BatchHeader{Assemble: header.Assemble, Watermark: 7, HasWatermark: true}); err != nil || marked != want || len(again) != n {
				t.Errorf("marked, the header is %+v before %d partials, %v, want %+v and %d", marked, len(again), err, want, n)
			}
			w.MarkClosed(8)
			marked, again, err = readBatch(w.Bytes())
			if want := (tables.BatchHeader{Assemble: header.Assemble, Watermark: 8, HasWatermark: true, Closed: true}); err != nil || marked != want || len(again) != n {
				t.Errorf("marked closed, the header is %+v before %d partials, %v, want %+v and %d", marked, len(again), err, want, n)
			}
		}
	}
}

// Closed panes as they were written before there were hours: their watermark was of events.
func TestBatchOfBeforeHours(t *testing.T) {
	src := []byte("\x03\x03" + // version, partition
		"\x01\x80\xa0\xbf\xe9\xd6\x66" + // a watermark, 1764000000000
		"\x01a\xe0\x92\xb9\xe9\xd6\x66\x02\x05\x01" + // a pane at 1763999950000: 5 events, 1 of them failed
		"\x01b\x00\x02\x01\x00") // and one more
	const watermark, start = 1764000000000, 1763999950000
	header, got, err := readBatch(src)
	if want := (tables.BatchHeader{Assemble: 3, Watermark: watermark, HasWatermark: true}); err != nil || header != want {
		t.Errorf("header = %+v, %v, want %+v", header, err, want)
	}
	want := []partial{{"a", start, tables.Traffic{Count: 5, Errors: 1}}, {"b", start, tables.Traffic{Count: 1}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("partials (-want +got):\n%s", diff)
	}
}

func TestBatchRefusesUnknownWatermarks(t *testing.T) {
	for kind := byte(3); kind != 0; kind++ { // a larger one takes two bytes, and the one behind it
		for _, rest := range [][]byte{{2}, {1, 2}, {1, 0}} {
			if header, got, err := readBatch(append([]byte{tables.Version, 0, kind}, rest...)); err == nil {
				t.Errorf("a watermark of kind %d was read as %+v before %+v", kind, header, got)
			}
		}
	}
}

func TestBatchCutShort(t *testing.T) {
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{Assemble: 300, Watermark: 1.7e12, HasWatermark: true})
	ends := map[int]int{len(w.Bytes()): 0} // where a shorter batch is one as well
	for n := range 3 {
		m := traffic(int64(n) * 1000)
		w.Add("series", 1.7e12, &m)
		ends[len(w.Bytes())] = n + 1
	}
	for n := range w.Bytes() {
		_, got, err := readBatch(w.Bytes()[:n])
		if want, whole := ends[n]; whole != (err == nil) || whole && len(got) != want {
			t.Errorf("%d of %d bytes: %d partials, error %v", n, len(w.Bytes()), len(got), err)
		}
	}
}

func TestBatchRefusesAbsurdPartitions(t *testing.T) {
	for _, partition := range []int32{-1, 1 << 16, math.MaxInt32} {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Assemble: partition})
		if r, err := tables.NewBatchReader(w.Bytes()); err == nil {
			t.Errorf("assemble partition %d was read as %d", partition, r.Header.Assemble)
		}
	}
}

func TestBatchRefusesEndlessKeys(t *testing.T) {
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{})
	src := binary.AppendUvarint(w.Bytes(), math.MaxUint64)
	if _, got, err := readBatch(src); err == nil {
		t.Errorf("batch %x was read as %+v", src, got)
	}
}

// FuzzBatch checks that whatever the bytes, they are an error or a batch that
// comes back the same when written again.
func FuzzBatch(f *testing.F) {
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{Assemble: 3, Watermark: 1.7e12, HasWatermark: true})
	f.Add(append([]byte(nil), w.Bytes()...))
	m := traffic(7)
	w.Add("series", 1.7e12, &m)
	w.Add("series", 1.7e12+10_000, &m)
	f.Add(append([]byte(nil), w.Bytes()...))
	w.MarkClosed(1.7e12 + 20_000)
	f.Add(append([]byte(nil), w.Bytes()...))
	f.Fuzz(func(t *testing.T, src []byte) {
		header, partials, err := readBatch(src)
		if err != nil {
			return
		}
		var w tables.BatchWriter
		w.Reset(header)
		for i := range partials {
			w.Add(partials[i].Key, partials[i].Pane, &partials[i].M)
		}
		header2, again, err := readBatch(w.Bytes())
		if diff := cmp.Diff(partials, again); err != nil || header2 != header || diff != "" {
			t.Errorf("%+v comes back as %+v, %v:\n%s", header, header2, err, diff)
		}
	})
}

// FuzzDecode checks that whatever the bytes, no format panics, and what one
// accepts comes back the same when written and read again, and merges.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 5 {
		histogram, sketch, latency, errors := anyHistogram(r), anySketch(r), anyLatency(r), anyErrors(r)
		usage, behaviour := anyUsage(r), anyBehaviour(r)
		row := anyRow(r)
		f.Add(histogram.Append(nil))
		f.Add(sketch.Append(nil))
		f.Add(latency.Append(nil))
		f.Add(errors.Append(nil))
		f.Add(usage.Append(nil))
		f.Add(behaviour.Append(nil))
		f.Add(row.Append(nil))
	}
	var p tables.Progress
	p.Observe(2, 1.7e12)
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		checkDecoded[tables.Traffic](t, src)
		checkDecoded[tables.Records](t, src)
		checkDecoded[tables.Histogram](t, src)
		checkDecoded[tables.Sketch](t, src)
		checkDecoded[tables.Latency](t, src)
		checkDecoded[tables.Errors](t, src)
		checkDecoded[tables.Usage](t, src)
		checkDecoded[tables.Behaviour](t, src)
		checkRecord(t, src, new(tables.Row[tables.Latency, *tables.Latency]), new(tables.Row[tables.Latency, *tables.Latency]))
		checkRecord(t, src, new(tables.Row[tables.Errors, *tables.Errors]), new(tables.Row[tables.Errors, *tables.Errors]))
		checkRecord(t, src, new(tables.Progress), new(tables.Progress))
		checkEdit[tables.Latency](t, src)
		checkEdit[tables.Errors](t, src)
	})
}

func checkDecoded[M any, P tables.Measure[M]](t *testing.T, src []byte) {
	t.Helper()
	var m, again M
	if _, err := P(&m).Decode(src); err != nil {
		return
	}
	if err := tables.DecodeBody(P(&m).Append(nil), P(&again)); err != nil {
		t.Errorf("decode %T from %x: accepted, but not when written again: %v", m, src, err)
	}
	checkSame[M, P](t, "decoded again", again, m)
	P(&again).Merge(&m)
}

// checkEdit requires that a row which Row accepts can be edited, to the same end.
func checkEdit[M any, P tables.Measure[M]](t *testing.T, src []byte) {
	t.Helper()
	var row tables.Row[M, P]
	var editor tables.Editor[M, P]
	e, err := editor.Edit(src)
	if row.Decode(src) != nil {
		return
	} else if err != nil {
		t.Fatalf("row %x: Row accepts it, Edit does not: %v", src, err)
	}
	row.Close(math.MaxInt64, func(tables.Pane[M]) {})
	if err := e.Close(math.MaxInt64, func(int64, []byte) {}); err != nil {
		t.Fatalf("row %x: %v", src, err)
	}
	var edited tables.Row[M, P]
	if err := edited.Decode(e.Append(nil)); err != nil {
		t.Fatalf("row %x, edited: %v", src, err)
	}
	checkSame[M, P](t, "total after all panes were closed", edited.Total, row.Total)
}

// record is a format of its own: it opens with a version and ends with the bytes.
type record interface {
	Append(dst []byte) []byte
	Decode(src []byte) error
}

func checkRecord(t *testing.T, src []byte, a, b record) {
	t.Helper()
	if a.Decode(src) != nil {
		return
	}
	if err := b.Decode(a.Append(nil)); err != nil {
		t.Errorf("decode %T from %x: accepted, but not when written again: %v", a, src, err)
	}
	if diff := cmp.Diff(a, b, exact); diff != "" {
		t.Errorf("decode %T from %x:\n%s", a, src, diff)
	}
}

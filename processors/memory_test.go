package processors

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/tables"
	"ragstreams/window"
)

// eventsOnly keeps the records for the events topic.
type eventsOnly struct {
	topic   string
	records [][]byte
}

func (o *eventsOnly) Send(topic string, _ int32, _, value []byte, _ ...codecs.Header) {
	if topic == o.topic {
		o.records = append(o.records, value)
	}
}

// assembling returns the work on a partition of the events topic that nothing was read of.
func assembling(t *testing.T, tablePartitions int32, panes window.Panes, clock Clock, out Output) *AssembleTask {
	t.Helper()
	task, err := NewAssemble(AssembleConfig{
		Names: Names{Prefix: DefaultPrefix}, TablePartitions: tablePartitions, Panes: panes, Clock: clock,
		Expected: func() []window.Partition { return nil },
		Read:     func(context.Context, int32, int64, int64, func(int64, []byte) error) error { return nil },
	}, out).Assign(t.Context(), 0, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// However many dimensions and error groups there are, memory stays bounded.
func TestWhatIsKnownOfDimensionsIsBounded(t *testing.T) {
	names, panes := Names{Prefix: DefaultPrefix}, window.Panes{Size: 10_000, Grace: 60_000}
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := Clock{Wall: func() time.Time { return wall }, Mono: func() time.Duration { return 0 }}
	for _, member := range []string{`"tenant":"%d"`, `"error":{"type":"%d"}`} {
		out := &eventsOnly{topic: names.Events()}
		ingest, err := NewIngest(IngestConfig{
			Names: names, Topic: "t", EventPartitions: 1, RecordPartitions: 1, Panes: panes, Progress: NewProgress(panes, clock), Clock: clock,
		}, out).Assign(0, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		read := func(from, to int) {
			for i := from; i < to; i++ {
				value := fmt.Appendf(nil, `{"event_type":"x",`+member+`}`, i)
				ingest.Process([]codecs.Record{{Offset: int64(i), Timestamp: wall.UnixMilli(), Value: value}})
			}
			if _, err := ingest.Flush(false); err != nil {
				t.Fatal(err)
			}
		}
		read(0, maxInterned)
		if n := max(len(ingest.dims), len(ingest.groups)); n != maxInterned {
			t.Errorf("%s: %d known to ingest, want %d", member, n, maxInterned)
		}
		read(maxInterned, maxInterned+1)
		if n := max(len(ingest.dims), len(ingest.groups)); n != 1 {
			t.Errorf("%s: %d known to ingest beyond the limit, want the last", member, n)
		}
		if member != `"tenant":"%d"` {
			continue
		}
		assemble := assembling(t, 1, panes, clock, out)
		for i, r := range out.records {
			assemble.Process(int64(i), 0, r)
		}
		if len(assemble.series) != 1 || len(assemble.known) != 1 {
			t.Errorf("%d and %d series known to assemble beyond the limit, want the last", len(assemble.series), len(assemble.known))
		}
		if n := len(assemble.cells); n != 1 {
			t.Errorf("%d cells, want that of the last series: those of the forgotten are sent", n)
		}
	}
}

// Nothing of the last record is kept: it would keep all that was fetched with it.
func TestIngestLetsGoOfTheLastRecord(t *testing.T) {
	names, panes := Names{Prefix: DefaultPrefix}, window.Panes{Size: 10_000, Grace: 60_000}
	clock := SystemClock()
	ingest, err := NewIngest(IngestConfig{
		Names: names, Topic: "t", EventPartitions: 1, RecordPartitions: 1, Panes: panes, Progress: NewProgress(panes, clock), Clock: clock,
	}, &eventsOnly{}).Assign(0, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ingest.Process([]codecs.Record{{
		Timestamp: clock.Wall().UnixMilli(), Value: []byte(`{"event_type":"x","trace_id":"t","latency_ms":1}`),
	}})
	if ingest.dests[0].Events() != 1 {
		t.Error("the event is not packed")
	}
	if ingest.record != nil || ingest.packed.TraceID != nil || ingest.event.TraceID != nil || ingest.event.Type != nil {
		t.Errorf("kept: record %v, packed event %v, event %v", ingest.record, ingest.packed, ingest.event)
	}
}

// allSent keeps all records by topic.
type allSent map[string][][]byte

func (o allSent) Send(topic string, _ int32, _, value []byte, _ ...codecs.Header) {
	o[topic] = append(o[topic], value)
}

// With more series than are gathered at once, what comes again later in the same
// transaction is counted all the same.
func TestMoreSeriesThanAreGatheredAtOnce(t *testing.T) {
	names, panes := Names{Prefix: DefaultPrefix}, window.Panes{Size: 10_000, Grace: 60_000}
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := Clock{Wall: func() time.Time { return wall }, Mono: func() time.Duration { return 0 }}
	out := allSent{}
	assemble := assembling(t, 3, panes, clock, out)
	const series, ofARecord = 2*maxInterned + 1000, 3000
	offset := int64(0)
	for range 2 {
		for from := 0; from < series; from += ofARecord {
			var w codecs.PackedWriter
			w.Reset("t", 0, false)
			add := func(i, dims int) {
				for pane := range int64(1 + i%2) {
					w.Add(&codecs.PackedEvent{
						Dims: dims, Offset: offset, Time: wall.UnixMilli() + pane*panes.Size,
						HasDuration: true, Duration: int64(i+1) * 1000, TraceID: []byte("trace"),
					})
				}
			}
			to := min(from+ofARecord, series)
			for i := from; i < to; i++ {
				add(i, w.AddDims(fmt.Append(nil, "tenant-", i), nil, nil, []byte("x"), nil))
			}
			for i := from; i < to; i++ { // whatever was sent or forgotten meanwhile
				add(i, i-from)
			}
			assemble.Process(offset, 0, w.Append(nil, nil))
			offset++
			if n := len(assemble.cells); n > maxCells {
				t.Fatalf("%d cells at once, want %d at most", n, maxCells)
			}
		}
	}
	if !assemble.Full() {
		t.Error("the transaction is not full")
	}
	if _, err := assemble.Flush(false); err != nil {
		t.Fatal(err)
	}
	if assemble.Full() {
		t.Error("the next transaction is full from the start")
	}
	counts, sums := map[string]int64{}, map[string]int64{}
	eachPartial(t, out[names.Partials(tables.TrafficTable.Name)], func(key string, m *tables.Traffic) { counts[key] += m.Count })
	eachPartial(t, out[names.Partials(tables.LatencyTable.Name)], func(key string, m *tables.Latency) {
		if m.Slowest.TraceID != "trace" {
			t.Errorf("%q has no exemplar", key)
		}
		sums[key] += m.Duration.Sum()
	})
	if len(counts) != series || len(sums) != series {
		t.Fatalf("%d and %d series, want %d", len(counts), len(sums), series)
	}
	for i := range series {
		tenant := fmt.Sprint("tenant-", i)
		want := int64(4 * (1 + i%2))
		if got := counts[string(tables.AppendKey(nil, tenant, "", "x"))]; got != want {
			t.Fatalf("%s: %d events, want %d", tenant, got, want)
		}
		if got := sums[string(tables.AppendKey(nil, tenant, "", "", ""))]; got != want*int64(i+1)*1000 {
			t.Fatalf("%s: %d ns in all, want %d", tenant, got, want*int64(i+1)*1000)
		}
	}
}

// Nor does it take more memory when every error is a group of its own.
func TestMoreErrorGroupsThanAreGatheredAtOnce(t *testing.T) {
	panes := window.Panes{Size: 10_000, Grace: 60_000}
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	out := allSent{}
	assemble := assembling(t, 3, panes, Clock{Wall: func() time.Time { return wall }, Mono: func() time.Duration { return 0 }}, out)
	const groups, ofARecord = fullCells + maxErrorCells, 500
	offset := int64(0)
	for range 2 {
		for from := 0; from < groups; from += ofARecord {
			var w codecs.PackedWriter
			w.Reset("t", 0, false)
			dims := w.AddDims([]byte("acme"), nil, nil, []byte("x"), nil)
			for i := range ofARecord {
				group := w.AddGroup(uint64(from+i), []byte("Timeout"), fmt.Append(nil, "no answer for ", from+i))
				w.Add(&codecs.PackedEvent{Dims: dims, Offset: offset, Time: wall.UnixMilli(), Error: true, Group: group})
			}
			assemble.Process(offset, 0, w.Append(nil, nil))
			offset++
			if n := len(assemble.errors); n > maxErrorCells {
				t.Fatalf("%d error groups at once, want %d at most", n, maxErrorCells)
			}
		}
	}
	if !assemble.Full() {
		t.Error("the transaction is not full")
	}
	if _, err := assemble.Flush(false); err != nil {
		t.Fatal(err)
	}
	if assemble.Full() {
		t.Error("the next transaction is full from the start")
	}
	counts := map[string]int64{}
	eachPartial(t, out[Names{Prefix: DefaultPrefix}.Partials(tables.ErrorsTable.Name)], func(key string, m *tables.Errors) { counts[key] += m.Count })
	if len(counts) != groups {
		t.Fatalf("%d error groups, want %d", len(counts), groups)
	}
	for key, n := range counts {
		if n != 2 {
			t.Fatalf("%q: %d errors, want 2", key, n)
		}
	}
}

// eachPartial visits every partial in some batches.
func eachPartial[M any, P tables.Measure[M]](t *testing.T, batches [][]byte, visit func(key string, m *M)) {
	t.Helper()
	for _, b := range batches {
		in, err := tables.NewBatchReader(b)
		for err == nil && in.Next() {
			var m M
			if err = tables.DecodeBody(in.Body, P(&m)); err == nil {
				visit(string(in.Key), &m)
			}
		}
		if err == nil {
			err = in.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// writes counts how often each row is written.
type writes map[string]int

func (w writes) Set(key string, _ []byte)            { w[key]++ }
func (w writes) Delete(string)                       {}
func (w writes) Len() int                            { return 0 }
func (w writes) All(func(key string, _ []byte) bool) {}

// When a pane closes, the rows that have nothing in it are not written.
func TestRowsWithoutTheClosedPaneStay(t *testing.T) {
	names, panes := Names{Prefix: DefaultPrefix}, window.Panes{Size: 10_000, Grace: 60_000}
	rows := writes{}
	task, err := NewTable[tables.Traffic](TableConfig{
		Names: names, Table: tables.TrafficTable.Name, Partitions: 1, Assemblers: 1, Panes: panes,
	}, allSent{}).Assign(0, rows)
	if err != nil {
		t.Fatal(err)
	}
	early, late := string(tables.AppendKey(nil, "early", "", "")), string(tables.AppendKey(nil, "late", "", ""))
	for i, step := range []struct {
		key  string // gets an event
		pane int64
		mark int64 // in panes; then the pane before the grace is closed
	}{
		{early, 1000, 1001}, {late, 1010, 1007}, {late, 1011, 1009},
		{late, 1012, 1030}, {late, 1031, 1040},
	} {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Watermark: step.mark * panes.Size, HasWatermark: true})
		w.Add(step.key, step.pane*panes.Size, &tables.Traffic{Count: 1})
		task.Process(int64(i), w.Bytes())
		if _, err := task.Flush(false); err != nil {
			t.Fatal(err)
		}
	}
	if rows[early] != 2 || rows[late] != 4 {
		t.Errorf("written %d and %d times, want 2, with its event and when its pane closed, and 4, with each event", rows[early], rows[late])
	}
}

// A table is full when it has changed many rows, and not because it has many.
func TestTableIsFullOfChanges(t *testing.T) {
	names, panes := Names{Prefix: DefaultPrefix}, window.Panes{Size: 10_000, Grace: 60_000}
	task, err := NewTable[tables.Traffic](TableConfig{
		Names: names, Table: tables.TrafficTable.Name, Partitions: 1, Assemblers: 1, Panes: panes,
	}, allSent{}).Assign(0, noRows{})
	if err != nil {
		t.Fatal(err)
	}
	var w tables.BatchWriter
	for i := range int64(2) {
		w.Reset(tables.BatchHeader{})
		for n := range fullRows {
			w.Add(string(tables.AppendKey(nil, fmt.Sprint(n), "", "")), 0, &tables.Traffic{Count: 1})
			if n == fullRows-2 {
				task.Process(2*i, bytes.Clone(w.Bytes()))
				if task.Full() {
					t.Error("full one row too early")
				}
				w.Reset(tables.BatchHeader{})
			}
		}
		task.Process(2*i+1, bytes.Clone(w.Bytes()))
		if !task.Full() {
			t.Errorf("not full of %d rows", fullRows)
		}
		if _, err := task.Flush(false); err != nil {
			t.Fatal(err)
		}
		if task.Full() {
			t.Error("full with nothing to write")
		}
	}
}

package processors

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/tables"
	"ragstreams/window"
)

var benchPanes = window.Panes{Size: 10_000, Grace: 60_000}

// BenchmarkSeen is one event, looked for and noted, while panes close: about
// half a million ids are known at any time.
func BenchmarkSeen(b *testing.B) {
	const perPane, openPanes = 70_000, 7
	s := newSeen()
	var n uint64
	event := func() {
		start := int64(n/perPane) * benchPanes.Size
		if n%perPane == 0 {
			s.expire(start - openPanes*benchPanes.Size)
		}
		e := codecs.PackedEvent{HasID: true}
		binary.LittleEndian.PutUint64(e.ID[:], n*0x9e3779b97f4a7c15)
		if s.has(e.ID) {
			b.Fatalf("event %d is known", n)
		}
		s.add(start, int64(n), &e)
		n++
	}
	for n < perPane*openPanes+perPane/2 {
		event()
	}
	b.ReportAllocs()
	for b.Loop() {
		event()
	}
	b.ReportMetric(float64(s.ids.n), "ids")
}

// records is an Output that keeps the records of one topic.
type records struct {
	topic string
	kept  [][]byte
}

func (r *records) Send(topic string, _ int32, _, value []byte, _ ...codecs.Header) {
	if topic == r.topic {
		r.kept = append(r.kept, value)
	}
}

// commitOf is a record with the events of one commit at full speed: 700 series in
// two panes, one event in a hundred failed.
func commitOf(events int) []byte {
	var w codecs.PackedWriter
	w.Reset("rag-traces", 0, false)
	var dims []int
	for i := range 700 {
		dims = append(dims, w.AddDims(fmt.Appendf(nil, "tenant-%02d", i%20), []byte("kotaemon"), fmt.Appendf(nil, "stage-%d", i/20%7),
			fmt.Appendf(nil, "type-%d", i/20%7), fmt.Appendf(nil, "model-%d", i/140)))
	}
	group := w.AddGroup(1, []byte("TimeoutError"), []byte("upstream timed out after # s"))
	for i := range events {
		e := codecs.PackedEvent{
			Dims: dims[i*31%len(dims)], Offset: int64(i), Time: int64(i) * 2 * benchPanes.Size / int64(events),
			HasDuration: true, Duration: int64(1+i%2000) * 1e6,
		}
		if i%100 == 0 {
			e.Error, e.Group, e.Session = true, group, uint64(i)
			e.TraceID = []byte("9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9b")
		}
		w.Add(&e)
	}
	return w.Append(nil, nil)
}

func benchAssemble(b *testing.B, out Output) *AssembleTask {
	stage := NewAssemble(AssembleConfig{
		Names: Names{Prefix: "analytics-"}, TablePartitions: 1, Panes: benchPanes,
		Clock:    Clock{Wall: time.Now, Mono: func() time.Duration { return 0 }},
		Expected: func() []window.Partition { return nil },
		Read: func(context.Context, int32, int64, int64, func(int64, []byte) error) error {
			return nil
		},
	}, out)
	task, err := stage.Assign(b.Context(), 0, 0, "")
	if err != nil {
		b.Fatal(err)
	}
	return task
}

// perEvent reports how long one of so many events of an iteration took.
func perEvent(b *testing.B, events int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}

// BenchmarkCombine is one commit of assemble: events without id are folded by series
// and pane, and sent.
func BenchmarkCombine(b *testing.B) {
	const events = 20_000
	record := commitOf(events)
	task := benchAssemble(b, &records{})
	b.ReportAllocs()
	var offset int64
	for b.Loop() {
		task.Process(offset, 0, record)
		offset++
		if _, err := task.Flush(false); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, events)
}

// noRows takes the rows of a table partition that begins empty.
type noRows struct{}

func (noRows) Set(string, []byte)            {}
func (noRows) Delete(string)                 {}
func (noRows) All(func(string, []byte) bool) {}
func (noRows) Len() int                      { return 0 }

// BenchmarkMerge is one commit of the table latency: the partials of one commit of
// assemble are merged into its rows, which are sent.
func BenchmarkMerge(b *testing.B) {
	const events = 20_000
	names := Names{Prefix: "analytics-"}
	out := &records{topic: names.Partials(tables.LatencyTable.Name)}
	assemble := benchAssemble(b, out)
	assemble.Process(0, 0, commitOf(events))
	if _, err := assemble.Flush(false); err != nil {
		b.Fatal(err)
	}
	stage := NewTable[tables.Latency](TableConfig{Names: names, Table: tables.LatencyTable.Name, Partitions: 1, Assemblers: 1, Panes: benchPanes}, &records{})
	task, err := stage.Assign(0, noRows{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(bytes.Join(out.kept, nil))))
	b.ReportAllocs()
	var offset int64
	for b.Loop() {
		for _, batch := range out.kept {
			task.Process(offset, batch)
			offset++
		}
		if _, err := task.Flush(false); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, events)
}

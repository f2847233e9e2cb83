package processors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ragstreams/codecs"
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
		assemble, err := NewAssemble(AssembleConfig{
			Names: names, TablePartitions: 1, Panes: panes, Clock: clock,
			Expected: func() []window.Partition { return nil },
			Read:     func(context.Context, int32, int64, int64, func(int64, []byte) error) error { return nil },
		}, out).Assign(t.Context(), 0, 0, "")
		if err != nil {
			t.Fatal(err)
		}
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

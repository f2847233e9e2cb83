package processors_test

import (
	"maps"
	"testing"

	"ragstreams/codecs"
	"ragstreams/deadletters"
)

// What a replay sends is a record as any other, and told of by its reason: one that is in
// no list is none of ours.
func TestReplayedRecordsAreToldOf(t *testing.T) {
	d := newDriver(t, 1)
	send := func(value string, reasons ...string) {
		for _, reason := range reasons {
			mark := deadletters.Mark{Replay: "R", Of: deadletters.Place{Topic: "analytics-dlq"}, Reason: reason}
			d.ingest[0].task.Process([]codecs.Record{{Offset: d.source, Timestamp: d.wall.UnixMilli(), Value: []byte(value), Headers: mark.Headers()}})
			d.source++
		}
	}
	d.event(0, "12:00:01", "a")
	send(`{"event_type":"x","event_id":"b"}`, "too_large", "too_large")
	send("{", "watermark", "stream_time", "anything", "")
	d.flow(true)
	d.wantOutcomes("counted 2, duplicate 1, in 7, poison/syntax 4")
	want := map[string]int64{"rag-traces/too_large": 2, "rag-traces/watermark": 1, "rag-traces/stream_time": 1, "rag-traces/other": 2}
	if !maps.Equal(d.replayed, want) {
		t.Errorf("replayed: %v, want %v", d.replayed, want)
	}
	d.flow(true) // nothing is told twice
	if !maps.Equal(d.replayed, want) {
		t.Errorf("after another flush: %v, want %v", d.replayed, want)
	}
}

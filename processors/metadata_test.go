package processors_test

import (
	"testing"

	"ragstreams/processors"
	"ragstreams/window"
)

// What is committed tells others how far a deployment has come.
func TestMetadataTellsHowFar(t *testing.T) {
	d := newDriver(t, 1)
	d.flow(true)
	if got, ok := processors.StreamTime(d.ingest[0].metadata); !ok || got != window.None {
		t.Errorf("stream time before there was an event: %d, %t", got, ok)
	}
	if got, ok := processors.ClosedThrough(d.assemble.metadata); !ok || got != window.None {
		t.Errorf("closed before there was an event: %d, %t", got, ok)
	}
	d.event(0, "12:00:01", "a")
	d.event(0, "12:01:20.5", "b")
	d.flow(true)
	if got, ok := processors.StreamTime(d.ingest[0].metadata); !ok || got != at("12:01:20.5").UnixMilli() {
		t.Errorf("stream time: %d, %t", got, ok)
	}
	// The pane from 12:00:10 is over, with its grace.
	if got, ok := processors.ClosedThrough(d.assemble.metadata); !ok || got != at("12:00:10").UnixMilli() {
		t.Errorf("closed: %d, %t", got, ok)
	}
	if got, ok := processors.Horizon(d.assemble.metadata); !ok || got <= 0 {
		t.Errorf("horizon: %d, %t", got, ok)
	}
	for _, metadata := range []string{"", "x", "ingest1 5"} {
		_, stream := processors.StreamTime(metadata)
		_, closed := processors.ClosedThrough(metadata)
		if stream || closed {
			t.Errorf("%q is understood", metadata)
		}
	}
}

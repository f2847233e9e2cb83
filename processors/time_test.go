package processors_test

import (
	"slices"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/tables"
	"ragstreams/window"
)

// reports returns the reports sent for a source partition so far, as the tables'
// side gets them.
func (d *driver) reports(partition int32) []codecs.Report {
	var all []codecs.Report
	for _, r := range d.logs[d.names.Events()] {
		var p codecs.Packed
		if err := p.Open(r.value); err != nil {
			d.t.Fatal(err)
		}
		if p.HasReport && p.Partition == partition {
			all = append(all, p.Report)
		}
	}
	return all
}

// A record that tells no time has that of its Kafka timestamp.
func TestKafkaTimestampOfARecordWithoutTime(t *testing.T) {
	d := newDriver(t, 1)
	d.wall = at("12:00:03")
	d.raw(0, []byte(`{"event_type":"user_query","session_id":"sess-123"}`))
	d.wall = at("12:02:00")
	d.raw(0, []byte(`{"event_type":"user_query","session_id":"sess-123"}`))
	d.flow(false)
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1")
}

// Exactly max_future ahead of the clock is accepted; it holds for the Kafka
// timestamp, too, which producers write as they like.
func TestKafkaTimestampFromTheFutureIsPoison(t *testing.T) {
	d := newDriver(t, 1)
	value := []byte(`{"event_type":"user_query"}`)
	for _, ahead := range []time.Duration{5 * time.Minute, 5*time.Minute + time.Millisecond} {
		d.ingest[0].task.Process([]codecs.Record{{Timestamp: d.wall.Add(ahead).UnixMilli(), Value: value}})
	}
	d.flow(false)
	d.wantOutcomes("counted 1, in 2, poison/future 1")
}

// A partition reports when something changed, else once a second: by the
// monotonic clock, to the millisecond.
func TestReportsOnChangeElseEverySecond(t *testing.T) {
	d := newDriver(t, 1)
	want := func(n int, because string) {
		t.Helper()
		flush(d, d.ingest[0].task, true)
		if events, progress := len(d.reports(0)), len(d.logs[d.names.Progress()]); events != n || progress != n {
			t.Errorf("%d reports with the events and %d on the progress topic, want %d: %s", events, progress, n, because)
		}
	}
	want(1, "the first")
	want(1, "nothing changed")
	d.mono += 999 * time.Millisecond
	want(1, "not a second yet")
	d.mono += time.Millisecond
	want(2, "a second")
	d.event(0, "12:00:01", "a")
	want(3, "stream time moved")
	d.mono += 500 * time.Millisecond
	want(3, "the second begins with the last report")
	d.mono += 29500 * time.Millisecond
	want(4, "idle")
}

// The report of a record comes after its events and in the same one, so nobody
// can learn of a time before the events that led to it.
func TestReportComesWithItsEvents(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	log := d.logs[d.names.Events()]
	var p codecs.Packed
	if err := p.Open(log[0].value); err != nil {
		t.Fatal(err)
	}
	var e codecs.PackedEvent
	if len(log) != 1 || !p.HasReport || !p.Next(&e) || p.Report.StreamTime != at("12:00:01").UnixMilli() {
		t.Errorf("%d records, report %+v, want one record with event and report", len(log), p.Report)
	}
}

// A new owner tells the durable time first, and does not call the partition idle
// though it was: there may be records that nobody has read.
func TestNewOwnerIsNotIdle(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:01", "a")
	d.flow(true)
	d.mono += 31 * time.Second
	d.flow(true)
	before := d.reports(0)
	if last := before[len(before)-1]; window.State(last.State) != window.Idle {
		t.Fatalf("the last owner reported %v, want idle", window.State(last.State))
	}
	task, err := d.stages.ingest.Assign(0, d.ingest[0].metadata, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.ingest[0].task = task
	d.flow(false)
	after := d.reports(0)
	if len(after) != len(before)+1 {
		t.Fatalf("%d reports of the new owner, want one", len(after)-len(before))
	}
	first := after[len(before)]
	if window.State(first.State) != window.Unread || first.StreamTime != at("12:00:01").UnixMilli() {
		t.Errorf("the new owner reports %v at %d, want unread at the durable time", window.State(first.State), first.StreamTime)
	}
}

// A watermark that closes nothing goes to the tables once a second at most; one
// that closes a pane at once, and to every table.
func TestWatermarkGoesOutAtACloseElseOnceASecond(t *testing.T) {
	d := newDriver(t, 1)
	marks := func(table string) int {
		n := 0
		for _, r := range d.logs[d.names.Partials(table)] {
			in, err := tables.NewBatchReader(r.value)
			if err != nil {
				t.Fatal(err)
			}
			if in.Header.HasWatermark {
				n++
			}
		}
		return n
	}
	want := func(n int, because string) {
		t.Helper()
		d.flow(false)
		for _, table := range []string{"traffic", "latency", "errors", "records"} {
			if got := marks(table); got != n {
				t.Errorf("%d watermarks for %s, want %d: %s", got, table, n, because)
			}
		}
	}
	d.event(0, "12:01:00", "a")
	want(1, "the first")
	d.event(0, "12:01:01", "b")
	want(1, "nothing closes")
	d.mono += time.Second
	want(2, "a second")
	d.event(0, "12:01:10", "c")
	want(3, "the pane from 12:00:00 closes")
	d.event(0, "12:01:19.999", "d")
	want(3, "nothing closes")
	d.event(0, "12:01:20", "e")
	want(4, "the pane from 12:00:10 closes")
}

// What is more than an hour behind the others and read to its end holds nobody
// back, silent or not.
func TestPartitionFarBehindIsIdle(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "10:00:00", "old")
	d.flow(true)
	d.event(0, "12:01:10", "b")
	d.flow(true)
	d.flow(true)
	d.wantWindows("10:00:00 user_query 1", "12:00:00 user_query 1")
}

// Old data sent into a live deployment is late.
func TestLastYearsDataIsLateInALiveDeployment(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "12:00:00", "b")
	d.flow(false)
	d.event(0, "10:00:00", "old, in the partition of newer ones")
	d.flow(false)
	d.wantOutcomes("counted 2, in 3, late/stream_time 1")
}

// A source partition that is added later, and has not reported, holds the
// watermark; one that is removed does so no more.
func TestSourcePartitionsComeAndGo(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:00", "a")
	d.flow(false)
	d.expected = append(slices.Clone(d.expected), window.Partition{Topic: "rag-traces", Partition: 1})
	d.event(0, "12:01:10", "b")
	d.flow(false)
	d.flow(false)
	d.wantWindows()
	d.expected = d.expected[:1]
	d.flow(false)
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1")
}

package processors_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
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

// Both partitions were idle, then the program was away, and both have a backlog.
// Whoever is back first must not close the panes of the other: that it was idle
// was said by an owner who is gone.
func TestRememberedIdleDoesNotOutliveItsOwner(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "12:00:00", "b")
	d.flow(true)
	d.mono += 31 * time.Second
	d.flow(true)

	d.mono += 5 * time.Minute
	d.startIngest()
	d.startAssemble()
	assemble := func() {
		events := d.logs[d.names.Events()]
		for ; d.assemble.next < len(events); d.assemble.next++ {
			d.assemble.task.Process(int64(d.assemble.next), events[d.assemble.next].at, events[d.assemble.next].value)
		}
		d.assemble.metadata = flush(d, d.assemble.task, false)
	}
	flush(d, d.ingest[0].task, false)
	assemble()
	d.event(0, "12:04:00", "c")
	flush(d, d.ingest[0].task, false)
	assemble()
	flush(d, d.ingest[1].task, false)
	assemble()
	d.event(1, "12:00:30", "d")
	d.flow(false)
	d.wantOutcomes("counted 4, in 4")
}

// A partition that brings nothing but poison, or late records, is silent: nothing in
// it can move time, and nobody waits for it.
func TestPartitionOfPoisonHoldsNobodyBack(t *testing.T) {
	for name, first := range map[string]string{"nothing else, ever": "", "after one event": "12:00:00", "a record of last week": "10:00:00"} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, 2)
			if first != "" {
				d.event(1, first, "x")
			}
			for i := range 100 {
				d.mono += time.Second
				d.event(0, at("12:00:00").Add(time.Duration(i)*time.Second).Format("15:04:05"), fmt.Sprint(i))
				d.raw(1, []byte("not json"))
				d.flow(true)
			}
			if len(d.windows()) == 0 {
				t.Error("no window has closed")
			}
		})
	}
}

// The grace of a deployment is made longer. What was closed stays closed: its ids are
// forgotten, its windows are out.
func TestGraceMadeLonger(t *testing.T) {
	d := newDriver(t, 1)
	kept := rows{}
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.event(0, "12:01:20", "b") // closes 12:00:00 and 12:00:10
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1")

	d.panes.Grace = 10 * 60_000
	next := d.traffic.next
	d.startStages()
	d.startIngest()
	d.startAssemble()
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	d.traffic.next = next
	d.event(0, "12:00:02", "a copy or not, who knows")
	d.event(0, "12:00:19.999", "late")
	d.event(0, "12:00:20", "in time")
	d.flow(false)
	d.wantOutcomes("counted 3, in 5, late/watermark 2")
	d.wantWindows("12:00:00 user_query 1")
}

// The length of the panes cannot be changed: everything durable is by panes.
func TestOtherPanesAreRefused(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.panes.Size = 20_000
	d.startStages()
	_, err := d.stages.assemble.Assign(t.Context(), 0, int64(d.assemble.next), d.assemble.metadata)
	if err == nil || !strings.Contains(err.Error(), "window.pane is 20s, but this deployment has panes of 10s") {
		t.Errorf("error = %v, want one that names both", err)
	}
}

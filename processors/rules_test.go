package processors_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"ragstreams/processors"
	"ragstreams/tables"
)

// The pane from 12:00:10 ends at 12:00:20; its grace ends at 12:01:20.
func TestLateByTheMillisecond(t *testing.T) {
	for _, tt := range []struct{ name, newest, want string }{
		{"a millisecond before the grace is over", "12:01:19.999", "counted 2, in 2"},
		{"when it is over", "12:01:20.000", "counted 1, in 2, late/stream_time 1"},
		{"a millisecond after", "12:01:20.001", "counted 1, in 2, late/stream_time 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(t, 1)
			d.event(0, tt.newest, "new")
			d.event(0, "12:00:19.999", "old")
			d.flow(false)
			d.wantOutcomes(tt.want)
		})
	}
}

func TestLateRecordIsKeptWhole(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:01:20.250", "new")
	d.event(0, "12:00:15", "old")
	d.flow(false)
	late := d.logs["analytics-late"]
	if len(late) != 1 {
		t.Fatalf("%d late records, want 1", len(late))
	}
	for key, want := range map[string]string{
		"reason": "stream_time", "lateness_ms": "250", "source_topic": "rag-traces", "source_partition": "0", "source_offset": "1",
	} {
		if got := late[0].header(key); got != want {
			t.Errorf("header %s = %q, want %q", key, got, want)
		}
	}
	if !bytes.Contains(late[0].value, []byte(`"event_id":"old"`)) {
		t.Errorf("value = %s", late[0].value)
	}
}

func TestPoisonIsKeptUnchangedWithAReason(t *testing.T) {
	d := newDriver(t, 1)
	future := d.wall.Add(5*time.Minute + time.Millisecond).Format(time.RFC3339Nano)
	values := []struct {
		value  []byte
		reason string
	}{
		{[]byte("\x00not json\xff"), "syntax"},
		{nil, "empty"},
		{[]byte{}, "empty"},
		{[]byte(`{"timestamp":"2026-03-01T12:00:00Z"}`), "missing_field"},
		{[]byte(`{"event_type":7}`), "wrong_type"},
		{[]byte(`{"event_type":"x","timestamp":"` + future + `"}`), "future"},
	}
	for _, v := range values {
		d.raw(0, v.value)
	}
	d.flow(false)
	dead := d.logs["analytics-dlq"]
	if len(dead) != len(values) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(values))
	}
	for i, v := range values {
		if !bytes.Equal(dead[i].value, v.value) || (dead[i].value == nil) != (v.value == nil) {
			t.Errorf("dead letter %d = %q, want %q", i, dead[i].value, v.value)
		}
		if got := dead[i].header("reason"); got != v.reason {
			t.Errorf("reason of %q = %q, want %q", v.value, got, v.reason)
		}
		if dead[i].header("detail") == "" {
			t.Errorf("no detail for %q", v.value)
		}
	}
	d.wantOutcomes("in 6, poison/empty 2, poison/future 1, poison/missing_field 1, poison/syntax 1, poison/wrong_type 1")
}

// Up to max_future ahead of the clock is no poison, but it does not move time.
func TestClockFromTheFutureClosesNothing(t *testing.T) {
	d := newDriver(t, 1)
	d.wall = at("12:00:30")
	d.event(0, "12:00:05", "a")
	d.event(0, "12:05:30", "from a bad clock")
	d.event(0, "12:00:06", "b")
	d.flow(false)
	d.flow(false)
	d.wantOutcomes("counted 3, in 3")
	d.wantWindows()
}

func TestDuplicatesWhereverTheyArrive(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(0, "12:00:01", "a")
	d.event(1, "12:00:01", "a")
	d.event(1, "12:00:01", "b")
	d.event(0, "12:00:01", "a", `"tenant":"one"`)
	d.event(0, "12:00:01", "a", `"tenant":"two"`)
	d.event(0, "12:00:01", "a", `"trace_id":"another trace"`)
	d.event(0, "12:00:01", "")
	d.event(0, "12:00:01", "")
	d.flow(false)
	d.event(1, "12:00:01", "b")
	d.flow(false)
	d.wantOutcomes("counted 7, duplicate 3, in 10")
}

// The set of ids is not in the changelog: it is read again.
func TestDuplicateAcrossARestart(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.event(0, "12:00:31", "b")
	d.flow(false)
	before := len(d.logs["analytics-traffic-partials"])
	d.startAssemble()
	if after := len(d.logs["analytics-traffic-partials"]); after != before {
		t.Errorf("the restart emitted %d records", after-before)
	}
	d.event(0, "12:00:01", "a")
	d.event(0, "12:00:31", "b")
	d.event(0, "12:00:31", "c")
	d.flow(false)
	d.wantOutcomes("counted 3, duplicate 2, in 5")
}

// What was gathered since the last commit is void when a transaction aborts, and
// is read again.
func TestAbortedWorkIsDoneAgain(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.event(0, "12:00:02", "b")
	flush(d, d.ingest[0].task, false)
	events := d.logs["analytics-events"]
	d.assemble.task.Process(int64(len(events)-1), events[len(events)-1].at, events[len(events)-1].value)
	d.startAssemble() // no flush: the transaction is gone
	d.flow(false)
	d.wantOutcomes("counted 2, in 2")
}

func TestPaneClosesWhenEverySourceHasPassedItsGrace(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(1, "12:00:02", "b")
	d.flow(false)
	d.event(0, "12:01:10", "c")
	d.flow(false)
	d.wantWindows()
	d.event(1, "12:01:09.999", "d")
	d.flow(false)
	d.wantWindows()
	d.event(1, "12:01:10", "e")
	d.flow(false)
	d.wantWindows("12:00:00 user_query 2")
}

func TestSilentPartitionDoesNotHoldBackTheOthers(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(1, "12:00:02", "b")
	d.flow(true)
	d.mono += 31 * time.Second
	d.event(0, "12:01:10", "c")
	d.flow(true)
	d.flow(true)
	d.wantWindows("12:00:00 user_query 2")
}

func TestQuietTopicClosesItsWindows(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.flow(true)
	d.mono += 30 * time.Second
	d.flow(true)
	d.wantWindows()
	d.mono += 68 * time.Second
	d.flow(true)
	d.wantWindows()
	d.mono += time.Second
	d.flow(true)
	d.wantWindows("12:00:00 user_query 1")
}

// An idle partition wakes with events of a pane that is closed meanwhile.
func TestLateIntoAClosedWindow(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(1, "12:00:02", "b")
	d.flow(true)
	d.mono += 31 * time.Second
	d.event(0, "12:01:10.5", "c")
	d.flow(true)
	d.flow(true)
	d.event(1, "12:00:03", "d")
	d.event(1, "12:00:10", "e")
	d.flow(false)
	d.wantWindows("12:00:00 user_query 2")
	d.wantOutcomes("counted 4, in 5, late/watermark 1")
	late := d.logs["analytics-late"]
	if len(late) != 1 || late[0].header("reason") != "watermark" || late[0].header("lateness_ms") != "500" ||
		late[0].header("source_partition") != "1" || late[0].header("source_offset") != "3" {
		t.Errorf("late records: %+v", late)
	}
}

// Two partitions of a backlog are read at different speeds: nothing is late.
func TestBacklogReadAtDifferentSpeedsLosesNothing(t *testing.T) {
	d := newDriver(t, 2)
	for _, clock := range []string{"12:00:00", "12:01:00", "12:02:00", "12:03:00", "12:04:00"} {
		d.event(0, clock, "fast "+clock)
		d.flow(false)
	}
	for _, clock := range []string{"12:00:00", "12:01:00", "12:02:00"} {
		d.event(1, clock, "slow "+clock)
		d.flow(false)
	}
	d.wantOutcomes("counted 8, in 8")
}

func TestReaderFarAheadWaits(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "12:00:00", "b")
	d.flow(false)
	d.event(0, "12:05:00", "c")
	d.flow(false)
	if d.ingest[0].task.Paused() {
		t.Error("paused at the limit, want only beyond it")
	}
	d.event(0, "12:05:00.001", "d")
	d.flow(false)
	if !d.ingest[0].task.Paused() || d.ingest[1].task.Paused() {
		t.Errorf("paused = %v, %v, want only the one ahead", d.ingest[0].task.Paused(), d.ingest[1].task.Paused())
	}
	d.event(1, "12:01:00", "e")
	d.flow(false)
	if d.ingest[0].task.Paused() {
		t.Error("still paused though the other one came closer")
	}
}

func TestStreamTimeSurvivesARestart(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:01:20", "a")
	d.flow(true)
	task, err := d.stages.ingest.Assign(0, d.ingest[0].metadata, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.ingest[0].task = task
	d.event(0, "12:00:19", "late still")
	d.flow(false)
	d.wantOutcomes("counted 1, in 2, late/stream_time 1")
}

// A watermark that was committed stands after a restart, without new reports.
func TestWatermarkSurvivesARestart(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:01:20", "a")
	d.flow(true)
	before := d.assemble.metadata
	d.startAssemble()
	if got := flush(d, d.assemble.task, false); got != before {
		t.Errorf("metadata after the restart = %q, want %q", got, before)
	}
}

func TestMetadataOfAnotherProgramIsRefused(t *testing.T) {
	d := newDriver(t, 1)
	if _, err := d.stages.ingest.Assign(0, "member-1234", nil); err == nil || !strings.Contains(err.Error(), "member-1234") {
		t.Errorf("ingest: error = %v, want one with the metadata", err)
	}
	if _, err := d.stages.assemble.Assign(t.Context(), 0, 0, "member-1234"); err == nil || !strings.Contains(err.Error(), "member-1234") {
		t.Errorf("assemble: error = %v, want one with the metadata", err)
	}
}

func TestRowsSurviveARestart(t *testing.T) {
	d := newDriver(t, 1)
	kept := rows{}
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	d.event(0, "12:00:01", "a")
	d.event(0, "12:00:11", "b")
	d.flow(false)
	next := d.traffic.next
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	d.traffic.next = next
	d.event(0, "12:01:25", "c")
	d.flow(false)
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1", "12:00:10 user_query 1")
}

// Beyond the limit series share the overflow row: nothing is lost.
func TestSeriesLimit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits processors.TableConfig
		want   map[string]int64
	}{
		{"none", processors.TableConfig{}, map[string]int64{"a/1": 1, "a/2": 1, "a/3": 1, "b/1": 1}},
		{"of the table", processors.TableConfig{MaxSeries: 2}, map[string]int64{"a/1": 1, "a/2": 1, "_overflow/_overflow": 2}},
		{"of a tenant", processors.TableConfig{MaxPerTenant: 2}, map[string]int64{"a/1": 1, "a/2": 1, "_overflow/_overflow": 1, "b/1": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(t, 1)
			d.traffic = startTable[tables.Traffic](d, "traffic", tt.limits, rows{})
			for _, series := range []string{"a/1", "a/2", "a/3", "b/1"} {
				tenant, app, _ := strings.Cut(series, "/")
				d.event(0, "12:00:01", series, `"tenant":"`+tenant+`"`, `"app":"`+app+`"`)
				d.flow(false)
			}
			got := map[string]int64{}
			d.traffic.task.Visit(func(key string, row *tables.Row[tables.Traffic, *tables.Traffic]) {
				dims, err := tables.TrafficTable.DimsOf(key)
				if err != nil {
					t.Fatal(err)
				}
				got[dims[0]+"/"+dims[1]] += row.Sum().Count
			})
			if len(got) != len(tt.want) {
				t.Errorf("rows = %v, want %v", got, tt.want)
			}
			for k, n := range tt.want {
				if got[k] != n {
					t.Errorf("rows = %v, want %v", got, tt.want)
				}
			}
		})
	}
}

func TestSilentSeriesIsForgotten(t *testing.T) {
	d := newDriver(t, 1)
	kept := rows{}
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{Forget: 600_000}, kept)
	d.event(0, "12:00:01", "a", `"tenant":"gone"`)
	d.event(0, "12:09:00", "b", `"tenant":"here"`)
	d.flow(false)
	d.event(0, "12:10:10", "c", `"tenant":"here"`)
	d.flow(false)
	d.flow(false)
	for key := range kept {
		if strings.Contains(key, "gone") {
			t.Error("the silent series is still there")
		}
	}
	if len(kept) != 2 { // the other one, and the progress row
		t.Errorf("%d rows, want 2", len(kept))
	}
}

// Once its pane is closed an id is forgotten: a copy is late, whoever sends it,
// with and without a restart in between.
func TestCopyAfterItsPaneIsClosedIsLate(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(1, "12:00:01", "b")
	d.flow(true)
	d.mono += 31 * time.Second
	d.event(0, "12:00:30", "open still")
	d.event(0, "12:01:10", "c")
	d.flow(true)
	d.flow(true) // partition 1 is idle, the pane is closed
	d.event(1, "12:00:01", "a")
	d.flow(true)
	d.wantOutcomes("counted 4, in 5, late/watermark 1")
	d.startAssemble()
	d.event(1, "12:00:01", "b")
	d.event(1, "12:00:30", "open still")
	d.flow(true)
	d.wantOutcomes("counted 4, duplicate 1, in 7, late/watermark 2")
}

// A series may be forgotten by the same watermark that closes its last pane.
func TestForgottenWithItsLastPane(t *testing.T) {
	d := newDriver(t, 1)
	kept := rows{}
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{Forget: 600_000}, kept)
	d.event(0, "12:00:01", "a", `"tenant":"gone"`)
	d.flow(false)
	d.event(0, "12:30:00", "b", `"tenant":"here"`)
	d.flow(false)
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1")
	for key := range kept {
		if strings.Contains(key, "gone") {
			t.Error("the series is still there")
		}
	}
}

// What a partition has closed is durable: a partial for it can only be a bug, and
// must not become a second window.
func TestClosedPanesStayClosedAfterARestart(t *testing.T) {
	d := newDriver(t, 1)
	kept := rows{}
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.event(0, "12:01:10", "b")
	d.flow(false)
	d.wantWindows("12:00:00 user_query 1")
	again := startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, kept)
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{})
	w.Add(string(tables.AppendKey(nil, "", "", "")), at("12:00:00").UnixMilli(), &tables.Traffic{Count: 1})
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "BUG") {
			t.Errorf("a partial for a closed pane: %v, want a panic that says BUG", p)
		}
	}()
	again.task.Process(0, w.Bytes())
}

// Who is behind the watermark anyway makes nobody wait.
func TestReaderDoesNotWaitForTheLate(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "12:00:00", "b")
	d.flow(true)
	d.mono += 31 * time.Second
	d.event(0, "12:10:00", "c")
	d.flow(true)
	d.event(0, "12:20:00", "d")
	d.event(1, "12:00:01", "late")
	d.flow(false)
	if d.ingest[0].task.Paused() {
		t.Error("paused for a partition whose events are late")
	}
}

// The first pane of all time is a pane like any other.
func TestEventOf1970(t *testing.T) {
	d := newDriver(t, 1)
	d.raw(0, []byte(`{"event_type":"user_query","timestamp":"1970-01-01T00:00:00Z"}`))
	d.flow(false)
	d.wantOutcomes("counted 1, in 1")
}

package processors_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"
)

// A record that is read again for an open pane may have events of closed ones: a
// copy of these is late, as it would be without the restart.
func TestRestartRemembersNoClosedPane(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:01", "a")
	d.event(0, "12:00:30", "in the same record")
	d.flow(true)
	d.mono += 31 * time.Second
	d.event(0, "12:01:10", "c")
	d.flow(true)
	d.flow(true)
	d.wantWindows("12:00:00 user_query 1")
	d.startAssemble()
	d.event(1, "12:00:01", "a")
	d.flow(true)
	d.wantOutcomes("counted 3, in 4, late/watermark 1")
}

// An id stays known until the pane is closed in which it was counted, not that of
// a copy with an earlier time.
func TestRestartRemembersIDsWhereTheyWereCounted(t *testing.T) {
	d := newDriver(t, 1)
	d.event(0, "12:00:30", "a")
	d.event(0, "12:00:01", "a")
	d.flow(false)
	d.startAssemble()
	d.event(0, "12:01:10", "closes the pane of the copy")
	d.flow(false)
	d.event(0, "12:00:30", "a")
	d.flow(false)
	d.wantOutcomes("counted 2, duplicate 2, in 4")
}

// Who has read to the end of its partition has nothing to wait for.
func TestReaderAtTheEndDoesNotWait(t *testing.T) {
	d := newDriver(t, 2)
	d.event(0, "12:00:00", "a")
	d.event(1, "12:00:00", "b")
	d.flow(false)
	d.event(0, "12:10:00", "c")
	task := d.ingest[0].task
	if !task.Paused() {
		t.Error("not paused far ahead")
	}
	flush(d, task, true)
	if task.Paused() {
		t.Error("paused at the end of the partition")
	}
}

// Error groups are numbered anew in every record, and told once in each.
func TestErrorGroupsOfSeveralRecordsOfOneFlush(t *testing.T) {
	d := newDriver(t, 1)
	var all tablesOf
	fail := func(kind string) { d.event(0, "12:00:01", "", fmt.Sprintf(`"error":{"type":%q}`, kind)) }
	for _, kind := range []string{"disk", "network", "disk", "network"} {
		fail(kind)
	}
	for i := range 3000 {
		d.event(0, "12:00:01", "", fmt.Sprintf(`"tenant":"%0200d"`, i))
	}
	for range 3 {
		fail("network")
	}
	d.flowAll(&all)
	log := d.logs[d.names.Events()]
	if len(log) < 2 {
		t.Fatalf("%d records, want several", len(log))
	}
	var p codecs.Packed
	for i, want := range map[int]int{0: 2, len(log) - 1: 1} {
		if err := p.Open(log[i].value); err != nil || len(p.Groups) != want {
			t.Errorf("record %d has %d error groups, %v, want %d", i, len(p.Groups), err, want)
		}
	}
	got := map[string]int64{}
	all.errors.task.Visit(func(_ string, row *tables.Row[tables.Errors, *tables.Errors]) {
		sum := row.Sum()
		got[sum.ErrorType] += sum.Count
	})
	if want := (map[string]int64{"disk": 2, "network": 5}); !maps.Equal(got, want) {
		t.Errorf("errors = %v, want %v", got, want)
	}
}

// spread counts the events sent to each partition of the events topic.
type spread struct {
	t      *testing.T
	topic  string
	events map[int32]int
}

func (s *spread) Send(topic string, partition int32, _, value []byte, _ ...codecs.Header) {
	if topic != s.topic {
		return
	}
	var p codecs.Packed
	if err := p.Open(value); err != nil {
		s.t.Fatal(err)
	}
	for e := new(codecs.PackedEvent); p.Next(e); {
		s.events[partition]++
	}
}

// Events that belong to no trace are spread over all partitions; those of one
// trace meet in one.
func TestWhereEventsAreAssembled(t *testing.T) {
	for _, tt := range []struct {
		name, member string
		want         []int // events by partition, in ascending order
	}{
		{"no route", `"tenant":"one"`, []int{25, 25, 25, 25}},
		{"one trace", `"trace_id":"one"`, []int{100}},
	} {
		var cfg processors.IngestConfig
		d := newDriver(t, 1, func(c *processors.IngestConfig) { c.EventPartitions = 4; cfg = *c })
		out := &spread{t, d.names.Events(), map[int32]int{}}
		task, err := processors.NewIngest(cfg, out).Assign(0, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		d.ingest[0].task = task
		for range 100 {
			d.event(0, "12:00:01", "", tt.member)
		}
		flush(d, task, false)
		if got := slices.Sorted(maps.Values(out.events)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: events by partition = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// forgetful is a traffic table that forgets series after ten minutes.
func (d *driver) forgetful(limits processors.TableConfig) rows {
	kept := rows{}
	limits.Forget = 600_000
	d.traffic = startTable[tables.Traffic](d, "traffic", limits, kept)
	return kept
}

// The overflow row stands for many series, of which some may be alive: it stays.
func TestOverflowIsNeverForgotten(t *testing.T) {
	d := newDriver(t, 1)
	kept := d.forgetful(processors.TableConfig{MaxSeries: 1})
	d.event(0, "12:00:01", "a", `"tenant":"first"`)
	d.flow(false)
	d.event(0, "12:00:01", "b", `"tenant":"beyond the limit"`)
	d.flow(false)
	d.event(0, "12:30:00", "c", `"tenant":"first"`)
	d.flow(false)
	d.flow(false)
	if kept[tables.OverflowKey] == nil {
		t.Error("the overflow row was forgotten")
	}
}

// A series that was forgotten makes room for another of its tenant.
func TestTenantHasRoomAfterForgetting(t *testing.T) {
	d := newDriver(t, 1)
	kept := d.forgetful(processors.TableConfig{MaxPerTenant: 2})
	d.event(0, "12:00:01", "a", `"tenant":"acme"`, `"app":"gone"`)
	d.event(0, "12:20:00", "b", `"tenant":"acme"`, `"app":"stays"`)
	d.flow(false)
	d.flow(false)
	d.event(0, "12:20:00", "c", `"tenant":"acme"`, `"app":"new"`)
	d.flow(false)
	var apps []string
	for key := range kept {
		for _, app := range []string{"gone", "stays", "new"} {
			if strings.Contains(key, app) {
				apps = append(apps, app)
			}
		}
	}
	if slices.Sort(apps); !slices.Equal(apps, []string{"new", "stays"}) || kept[tables.OverflowKey] != nil {
		t.Errorf("series = %q, overflow = %v, want those of new and stays", apps, kept[tables.OverflowKey] != nil)
	}
}

// The age of events is told when there were any.
func TestAgeIsThatOfNewEvents(t *testing.T) {
	d := newDriver(t, 1)
	var ages []time.Duration
	task, err := processors.NewAssemble(processors.AssembleConfig{
		Names: d.names, TablePartitions: 1, Panes: d.panes,
		Clock:    processors.Clock{Wall: func() time.Time { return d.wall }, Mono: func() time.Duration { return d.mono }},
		Expected: func() []window.Partition { return d.expected },
		Read:     func(context.Context, int32, int64, int64, func(int64, []byte) error) error { return nil },
		EventAge: func(age time.Duration) { ages = append(ages, age) },
	}, d).Assign(t.Context(), 0, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, clock := range []string{"12:30:00", "", "12:29:30", ""} {
		if clock != "" {
			delete(d.logs, d.names.Events())
			d.ingest[0].task, _ = d.stages.ingest.Assign(0, "", nil)
			d.event(0, clock, clock)
			flush(d, d.ingest[0].task, false)
			task.Process(d.source, 0, d.logs[d.names.Events()][0].value)
		}
		flush(d, task, false)
	}
	if want := []time.Duration{30 * time.Minute, 30*time.Minute + 30*time.Second}; !slices.Equal(ages, want) {
		t.Errorf("ages = %v, want %v", ages, want)
	}
}

// A record without a value, a tombstone or a marker, reports nothing.
func TestProgressWithoutAValue(t *testing.T) {
	d := newDriver(t, 1)
	for _, value := range [][]byte{nil, {}} {
		if err := d.progress.Record([]byte("rag-traces/0"), value, 0); err != nil {
			t.Error(err)
		}
	}
	if err := d.progress.Record([]byte("rag-traces/0"), []byte{0xff}, 0); err == nil {
		t.Error("no error for what is no report")
	}
}

package processors_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/google/go-cmp/cmp"
)

// hours is what a history is fed with, and what it has sent.
type hours struct {
	*testing.T
	rng     *rand.Rand
	windows [][]byte
	panes   map[string]int64 // counted, by series and hour
	closed  int64            // all panes that end before are closed
	horizon int64            // by the metadata of the commit before

	sent, pending []batch
}

// batch is one record of the hours topic.
type batch struct {
	through int64
	marked  bool
	counts  map[string]int64
}

// Send implements processors.Output.
func (h *hours) Send(topic string, partition int32, key, value []byte, headers ...codecs.Header) {
	h.Helper()
	if topic != "analytics-traffic-hours" || partition != 3 || key != nil || len(headers) != 1 || headers[0].Key != "pane_ms" || string(headers[0].Value) != "3600000" {
		h.Errorf("sent to %s/%d with key %q and headers %v", topic, partition, key, headers)
	}
	in, err := tables.NewBatchReader(value)
	if err != nil {
		h.Fatal(err)
	}
	b := batch{in.Header.Watermark, in.Header.HasWatermark && in.Header.Closed, map[string]int64{}}
	for in.Next() {
		var m tables.Traffic
		if err := tables.DecodeBody(in.Body, &m); err != nil {
			h.Fatal(err)
		}
		b.counts[fmt.Sprintf("%s@%d", in.Key, in.Pane)] = m.Count
	}
	if in.Err() != nil {
		h.Fatal(in.Err())
	}
	h.pending = append(h.pending, b)
}

func (h *hours) read(_ context.Context, partition int32, from, to int64, visit func(int64, []byte) error) error {
	if partition != 3 || from < h.horizon {
		h.Errorf("reads partition %d from %d, which was deleted before %d", partition, from, h.horizon)
	}
	for at := from; at < to; at++ {
		if err := visit(at, h.windows[at]); err != nil {
			return err
		}
	}
	return nil
}

// version is which program closes panes.
type version int

const (
	beforeHours version = iota // the first record of a close tells how far events have come
	firstHours                 // the last tells what is closed, as if it were that
	thisVersion                // it says so, too
)

// close closes some panes, in one record or several, of which one tells a watermark.
func (h *hours) close(by version) {
	const pane = 10 * 60_000
	var w tables.BatchWriter
	send := func() {
		h.windows = append(h.windows, slices.Clone(w.Bytes()))
		w.Reset(tables.BatchHeader{})
	}
	next := h.closed + pane*[]int64{1, 1, 1, 2, 7, 30}[h.rng.IntN(6)]
	w.Reset(tables.BatchHeader{Watermark: next + 3*pane, HasWatermark: by == beforeHours})
	for _, key := range []string{"a", "b", tables.OverflowKey} {
		for start := h.closed; start < next; start += pane {
			n := h.rng.Int64N(3)
			if n == 0 {
				continue
			}
			w.Add(key, start, &tables.Traffic{Count: n})
			h.panes[fmt.Sprintf("%s@%d", key, start/processors.Hour*processors.Hour)] += n
			if h.rng.IntN(5) == 0 {
				send()
			}
		}
	}
	h.closed = next
	switch by {
	case firstHours:
		w.Mark(next)
	case thisVersion:
		w.MarkClosed(next)
	}
	send()
}

// The hours are the sums of all their panes, each sent once, whatever is done again, and
// before them nothing that is needed is deleted.
func TestHoursAreSumsOfPanes(t *testing.T) {
	for seed := range uint64(200) {
		var upgrades [2]int // up to which record earlier versions close panes
		if seed%2 == 1 {
			upgrades = [2]int{int(seed), 200}
		}
		h := &hours{T: t, rng: rand.New(rand.NewPCG(seed, 3)), panes: map[string]int64{}, closed: 490_000 * processors.Hour}
		stage := processors.NewHistory[tables.Traffic](processors.HistoryConfig{
			Names: processors.Names{Prefix: processors.DefaultPrefix}, Table: "traffic", Read: h.read,
		}, h)
		var offset int64
		var metadata string
		assign := func() *processors.HistoryTask[tables.Traffic, *tables.Traffic] {
			task, err := stage.Assign(t.Context(), 3, offset, metadata)
			if err != nil {
				t.Fatal(err)
			}
			return task
		}
		task := assign()
		next := offset
		for range 300 {
			switch h.rng.IntN(8) {
			case 0, 1:
				by := thisVersion
				if n := len(h.windows); n < upgrades[0] {
					by = beforeHours
				} else if n < upgrades[1] {
					by = firstHours
				}
				h.close(by)
			case 2: // a commit
				var err error
				if metadata, err = task.Flush(false); err != nil {
					t.Fatal(err)
				}
				offset = next
				h.sent, h.pending = append(h.sent, h.pending...), nil
				h.horizon, _ = processors.HistoryHorizon(metadata)
			case 3: // an abort, or a crash
				if h.rng.IntN(3) > 0 {
					continue
				}
				task.Close()
				h.pending, next = nil, offset
				task = assign()
			default:
				if next < int64(len(h.windows)) {
					task.Process(next, h.windows[next])
					next++
				}
			}
		}
		h.close(thisVersion)
		for ; next < int64(len(h.windows)); next++ {
			task.Process(next, h.windows[next])
		}
		h.sent = append(h.sent, h.pending...)
		h.check(seed)
	}
}

func (h *hours) check(seed uint64) {
	h.Helper()
	through := h.closed / processors.Hour * processors.Hour
	got, told := map[string]int64{}, int64(0)
	for i, b := range h.sent {
		for of, n := range b.counts {
			if got[of] != 0 {
				h.Errorf("seed %d: %s was sent twice", seed, of)
			}
			got[of] = n
		}
		if b.marked {
			if b.through <= told || b.through > through {
				h.Errorf("seed %d: record %d tells of hours before %d after those before %d; closed is all before %d", seed, i, b.through, told, through)
			}
			told = b.through
		}
	}
	if told != through {
		h.Errorf("seed %d: hours before %d were sent, want those before %d", seed, told, through)
	}
	want := maps.Clone(h.panes)
	maps.DeleteFunc(want, func(of string, _ int64) bool {
		var start int64
		fmt.Sscan(of[len(of)-13:], &start)
		return start >= through
	})
	if !maps.Equal(got, want) {
		h.Errorf("seed %d: hours %v, want %v", seed, got, want)
	}
}

// A watermark of events, which windows had before there were hours, is ahead of what is
// closed, by grace. With such windows an hour is over when those of the next have come.
func TestHistoryGoesOnAfterAnUpgrade(t *testing.T) {
	h := &hours{T: t}
	stage := processors.NewHistory[tables.Traffic](processors.HistoryConfig{Names: processors.Names{Prefix: "analytics-"}, Table: "traffic", Read: h.read}, h)
	task, err := stage.Assign(t.Context(), 3, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	offset := int64(0)
	closes := func(clock string, mark func(w *tables.BatchWriter, end time.Time)) {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{})
		w.Add("a", at(clock).UnixMilli(), &tables.Traffic{Count: 1})
		mark(&w, at(clock).Add(10*time.Second))
		task.Process(offset, w.Bytes())
		offset++
	}
	earlier := func(w *tables.BatchWriter, end time.Time) { w.Mark(end.Add(time.Minute).UnixMilli()) }
	want := func(through string, hour string, n int64) {
		t.Helper()
		want := []batch{{at(through).UnixMilli(), true, map[string]int64{fmt.Sprintf("a@%d", at(hour).UnixMilli()): n}}}
		if diff := cmp.Diff(want, h.pending, cmp.AllowUnexported(batch{})); diff != "" {
			t.Errorf("hours (-want +got):\n%s", diff)
		}
		h.pending = nil
	}
	for _, clock := range []string{"11:58:50", "11:59:00", "11:59:10", "11:59:40", "11:59:50", "12:00:00"} {
		closes(clock, earlier)
		if slices.ContainsFunc(h.pending, func(b batch) bool { return len(b.counts) > 0 || b.through > at("11:00:00").UnixMilli() }) {
			t.Fatalf("with the pane of %s an hour is sent: %+v", clock, h.pending)
		}
	}
	h.pending = nil
	closes("12:00:10", earlier)
	want("12:00:00", "11:00:00", 5)
	closes("12:59:50", earlier)
	closes("13:00:00", func(w *tables.BatchWriter, end time.Time) { w.MarkClosed(end.UnixMilli()) })
	want("13:00:00", "12:00:00", 3)
}

func TestHistoryRefuses(t *testing.T) {
	h := &hours{T: t, rng: rand.New(rand.NewPCG(1, 1)), panes: map[string]int64{}, closed: 490_000 * processors.Hour}
	for len(h.windows) < 20 {
		h.close(thisVersion)
	}
	stage := processors.NewHistory[tables.Traffic](processors.HistoryConfig{Names: processors.Names{Prefix: "analytics-"}, Table: "traffic", Read: h.read}, h)
	if _, err := stage.Assign(t.Context(), 3, 0, "somebody else's"); err == nil {
		t.Error("metadata of another program is taken")
	}
	task, err := stage.Assign(t.Context(), 3, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	for at, value := range h.windows {
		task.Process(int64(at), value)
	}
	defer func() {
		if recover() == nil {
			t.Error("a pane of an hour that was sent is taken")
		}
	}()
	task.Process(int64(len(h.windows)), h.windows[0])
}

// logs are what was sent, by topic.
type logs map[string][][]byte

// Send implements processors.Output.
func (l logs) Send(topic string, _ int32, _, value []byte, _ ...codecs.Header) {
	l[topic] = append(l[topic], value)
}

// A table in which nothing happens tells once an hour that it is closed, but not one
// without windows.
func TestTableTellsOfQuietHours(t *testing.T) {
	for _, totals := range []bool{false, true} {
		out := logs{}
		table := processors.NewTable[tables.Traffic](processors.TableConfig{
			Names: processors.Names{Prefix: processors.DefaultPrefix}, Table: "traffic", Partitions: 1, Assemblers: 1, Panes: window.Panes{Size: 10_000, Grace: 60_000}, TotalsOnly: totals,
		}, out)
		task, err := table.Assign(0, rows{})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for i, clock := range []string{"10:30:00", "10:40:00", "11:00:30", "11:01:00", "11:59:59", "14:02:00"} {
			var w tables.BatchWriter
			w.Reset(tables.BatchHeader{Watermark: at(clock).UnixMilli(), HasWatermark: true})
			task.Process(int64(i), w.Bytes())
			if _, err := task.Flush(false); err != nil {
				t.Fatal(err)
			}
			for _, record := range out["analytics-traffic-windows"] {
				in, err := tables.NewBatchReader(record)
				if err != nil || !in.Header.HasWatermark || !in.Header.Closed || in.Next() {
					t.Fatalf("record %x, %v: want a watermark of closed panes, and none of them", record, err)
				}
				told = append(told, time.UnixMilli(in.Header.Watermark).UTC().Format("15:04:05"))
			}
			clear(out)
		}
		want := []string{"10:29:00", "11:00:00", "14:01:00"}
		if totals {
			want = nil
		}
		if !slices.Equal(told, want) {
			t.Errorf("totals only: %v: told %v, want %v", totals, told, want)
		}
	}
}

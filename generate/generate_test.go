package generate_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"ragstreams/generate"
)

// troubled is traffic with everything that can go wrong.
func troubled(seed uint64) generate.Config {
	return generate.Config{
		Seed: seed, Step: 20 * time.Millisecond,
		ErrorRate: 0.1, Duplicates: 0.1, Late: 0.05, Poison: 0.1, Unkeyed: 0.2, LargeBytes: 4096,
	}
}

// take returns the next n records, with memory of their own.
func take(g *generate.Generator, n int) []generate.Record {
	records := make([]generate.Record, n)
	for i := range records {
		records[i] = g.Next()
		records[i].Value = bytes.Clone(records[i].Value) // nil stays nil
		records[i].Key = bytes.Clone(records[i].Key)
	}
	return records
}

func TestEqualConfigurationsGiveEqualRecords(t *testing.T) {
	a, b := generate.New(troubled(7)), generate.New(troubled(7))
	if !reflect.DeepEqual(take(a, 10_000), take(b, 10_000)) {
		t.Error("two generators with one configuration differ")
	}
	if !reflect.DeepEqual(a.Truth(), b.Truth()) {
		t.Error("their truths differ")
	}
	if reflect.DeepEqual(take(generate.New(troubled(7)), 100), take(generate.New(troubled(8)), 100)) {
		t.Error("seeds 7 and 8 give equal records")
	}
}

// TestTruthEqualsTwin judges and counts every record again, from its bytes.
func TestTruthEqualsTwin(t *testing.T) {
	odd := troubled(2)
	odd.Tenants, odd.Models, odd.Apps, odd.Traces = 3, 7, 3, 10
	odd.Pane, odd.Grace, odd.Jitter = 7*time.Second, 11*time.Second, 2500*time.Millisecond
	odd.Topics = []generate.Topic{{Name: "one", Partitions: 1}}
	still := troubled(3)
	still.Step = 0
	copied := troubled(4)
	copied.Duplicates, copied.Late, copied.Poison = 1, 0, 0
	slow := troubled(5)
	slow.Step, slow.Duplicates = 3*time.Second, 1
	for name, cfg := range map[string]generate.Config{
		"everything":         troubled(1),
		"other sizes":        odd,
		"time stands still":  still,
		"every event copied": copied,
		"few records":        slow,
		"nothing wrong":      generate.Bench(12_000, 1),
	} {
		t.Run(name, func(t *testing.T) {
			g, twin := generate.New(cfg), newTwin(cfg)
			for i, r := range take(g, 12_000) {
				if err := twin.consume(r); err != nil {
					t.Fatalf("record %d, %s/%d %s: %v", i, r.Topic, r.Partition, r.Value, err)
				}
			}
			twin.compare(t, g.Truth())
		})
	}
}

func TestSharesAreAsConfigured(t *testing.T) {
	const n = 120_000
	cfg := generate.Config{
		Seed: 3, Step: 5 * time.Millisecond, ErrorRate: 0.2,
		Duplicates: 0.05, Late: 0.03, Poison: 0.04, Unkeyed: 0.3,
	}
	g := generate.New(cfg)
	var keyless, traced, elsewhere, tombstones, blanks float64
	home := make(map[string]int32) // partition of each keyed or unkeyed event, by its bytes
	for _, r := range take(g, n) {
		if r.Outcome != generate.Poison && bytes.Contains(r.Value, []byte(`"trace_id"`)) {
			traced++
			if r.Key == nil {
				keyless++
			}
		}
		switch {
		case r.Value == nil:
			tombstones++
		case len(r.Value) == 0:
			blanks++
		}
		switch r.Outcome {
		case generate.Counted:
			home[string(r.Value)] = r.Partition
		case generate.Duplicate:
			if home[string(r.Value)] != r.Partition {
				elsewhere++
			}
		}
	}
	truth := g.Truth()
	count := func(outcome string) float64 { return float64(truth.Count("", outcome)) }
	counted, duplicates := count(generate.Counted), count(generate.Duplicate)
	failures, canFail := 0., 0.
	for k, v := range truth.Total().Traffic {
		if slices.Contains([]string{"retrieval_completed", "tool_call_completed", "llm_call_completed"}, k.EventType) {
			canFail += float64(v.Count)
			failures += float64(v.Errors)
		} else if v.Errors > 0 {
			t.Errorf("%v: %d errors, want none", k, v.Errors)
		}
	}
	for _, share := range []struct {
		what      string
		got, want float64
	}{
		{"poison of records", count(generate.Poison) / n, cfg.Poison},
		{"late of events", count(generate.Late) / (count(generate.Late) + counted), cfg.Late},
		{"copied of counted", duplicates / counted, cfg.Duplicates * 0.95}, // bare events are not copied
		{"copies elsewhere", elsewhere / duplicates, 0.5},
		{"without key", keyless / traced, cfg.Unkeyed},
		{"failed", failures / canFail, cfg.ErrorRate},
		{"nil of values without bytes", tombstones / (tombstones + blanks), 0.5},
	} {
		if math.Abs(share.got-share.want) > 0.05*share.want {
			t.Errorf("share %s = %.4f, want %.4f", share.what, share.got, share.want)
		}
	}
	reasons := make(map[string]int64)
	for k, v := range truth.Records {
		reasons[k.Reason] += v
	}
	for _, reason := range []string{generate.Empty, generate.Syntax, generate.WrongType, generate.MissingField, generate.Future} {
		if reasons[reason] < n*0.04/16 {
			t.Errorf("poison %q: %d records, want a share of all poison", reason, reasons[reason])
		}
	}
	if reasons[generate.TooLarge] > 0 {
		t.Errorf("%d records too large, want none without LargeBytes", reasons[generate.TooLarge])
	}
}

func TestZeroConfigIsClean(t *testing.T) {
	g := generate.New(generate.Config{})
	take(g, 10_000)
	if got := g.Truth().Count("", generate.Counted); got != 10_000 {
		t.Errorf("counted = %d, want all 10000", got)
	}
	if got := g.Truth().Total().Events(); got.Errors == 0 {
		t.Error("no errors, want a hundredth of the calls to fail")
	}
	calm := generate.New(generate.Config{ErrorRate: -1})
	take(calm, 10_000)
	if got := calm.Truth().Total().Events(); got.Errors != 0 {
		t.Errorf("errors = %d at a negative rate, want none", got.Errors)
	}
}

func TestBareEventsLookLikeTheFrontends(t *testing.T) {
	g := generate.New(generate.Config{})
	found := false
	for _, r := range take(g, 10_000) {
		if bytes.Contains(r.Value, []byte("event_id")) {
			continue
		}
		e, _ := decode(r.Value)
		want := fmt.Sprintf(`{"event_type":%q,"session_id":%q,"query":"`, e.EventType, e.SessionID)
		if r.Key != nil || r.Topic != "kotaemon-dialog-events" || !bytes.HasPrefix(r.Value, []byte(want)) {
			t.Fatalf("key %q, topic %s, %s; want no key and %s…", r.Key, r.Topic, r.Value, want)
		}
		found = true
	}
	if !found {
		t.Error("no event without an id")
	}
}

func TestTracesAreInOrderAndOverlap(t *testing.T) {
	order := []string{"user_query", "retrieval_started", "retrieval_completed", "rerank_completed",
		"tool_call_completed", "llm_call_completed", "answer_returned"}
	type progress struct {
		step      int
		at        int64
		session   string
		partition int32
	}
	traces := make(map[string]progress)
	open, mostOpen, finished, tools := 0, 0, 0, 0
	for _, r := range take(generate.New(generate.Bench(40_000, 5)), 40_000) {
		e, _ := decode(r.Value)
		step := slices.Index(order, e.EventType)
		at := e.at().UnixMilli()
		before, known := traces[e.TraceID]
		switch {
		case string(r.Key) != e.TraceID:
			t.Fatalf("key = %q, want the trace id %q", r.Key, e.TraceID)
		case !known && step != 0:
			t.Fatalf("trace %s begins with %s", e.TraceID, e.EventType)
		case known && step != 6 && e.LatencyMS != nil && float64(at-before.at) < math.Floor(*e.LatencyMS):
			t.Fatalf("trace %s: %s took %vms, but comes %dms after the step before", e.TraceID, e.EventType, *e.LatencyMS, at-before.at)
		case known && (step <= before.step || at < before.at || e.SessionID != before.session || r.Partition != before.partition):
			t.Fatalf("trace %s: %s at %d in %s on %d after %+v", e.TraceID, e.EventType, at, e.SessionID, r.Partition, before)
		}
		traces[e.TraceID] = progress{step, at, e.SessionID, r.Partition}
		if !known {
			open++
		}
		if e.EventType == "tool_call_completed" {
			tools++
		}
		if e.EventType == "answer_returned" {
			open--
			finished++
		}
		mostOpen = max(mostOpen, open)
	}
	if mostOpen < 100 || finished < 4000 || tools < 1000 {
		t.Errorf("most open traces = %d, finished = %d, with a tool = %d; want at least 100, 4000 and 1000", mostOpen, finished, tools)
	}
}

func TestLatenciesHaveALongTail(t *testing.T) {
	g := generate.New(generate.Bench(100_000, 1))
	take(g, 100_000)
	var all generate.Latency
	for k, l := range g.Truth().Total().Latency {
		if k.Stage == "generate" {
			all.Tenths = append(all.Tenths, l.Tenths...)
		}
	}
	q := all.Quantiles(0.5, 0.99, 0.999, 1)
	if q[0] < time.Second || q[0] > 4*time.Second || q[1] < 4*q[0] || q[2] < 12*q[0] || q[3] > 2*time.Minute {
		t.Errorf("LLM latencies: p50, p99, p99.9, max = %v; want about 2s, 4 and 12 times that, and at most 2m", q)
	}
}

func TestBench(t *testing.T) {
	const n = 50_000
	cfg := generate.Bench(n, 1)
	g := generate.New(cfg)
	bytes, series := 0, make(map[[3]string]bool)
	partitions := make(map[int32]int)
	for _, r := range take(g, n) {
		e, _ := decode(r.Value)
		bytes += len(r.Value)
		series[[3]string{e.Tenant, e.EventType, e.Model}] = true
		partitions[r.Partition]++
	}
	if got := g.Truth().Count("rag-traces", generate.Counted); got != n {
		t.Errorf("counted on rag-traces = %d, want %d", got, n)
	}
	if mean := bytes / n; mean < 360 || mean > 440 {
		t.Errorf("mean size = %d bytes, want about 400", mean)
	}
	if len(series) != 20*7*5 {
		t.Errorf("series = %d, want 700", len(series))
	}
	if e := g.Truth().Total().Events(); e.Errors < n*9/1000 || e.Errors > n*11/1000 {
		t.Errorf("errors = %d of %d, want one in a hundred", e.Errors, n)
	}
	starts := g.Truth().Starts()
	if span := starts[len(starts)-1] - starts[0]; span < 590_000 || span > 610_000 {
		t.Errorf("windows span %d ms, want ten minutes", span)
	}
	if len(partitions) != 4 {
		t.Errorf("partitions = %v, want four", slices.Collect(maps.Keys(partitions)))
	}
}

func TestNextAtFollowsTheClock(t *testing.T) {
	cfg := troubled(1)
	g := generate.New(cfg)
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	future := 0
	for i := range 10_000 {
		at := now.Add(time.Duration(i) * time.Millisecond)
		r := g.NextAt(at)
		if !r.Timestamp.Equal(at) {
			t.Fatalf("sent at %v, want %v", r.Timestamp, at)
		}
		e, ok := decode(r.Value)
		switch {
		case r.Outcome == generate.Counted && (e.at().After(at) || e.at().Before(at.Add(-2*time.Second))):
			t.Fatalf("event time %v at %v, want at most 2s behind", e.at(), at)
		case r.Reason == generate.Future && ok:
			future++
			if !e.at().Equal(at.Add(time.Hour)) {
				t.Fatalf("future event at %v, want an hour after %v", e.at(), at)
			}
		}
	}
	if future == 0 {
		t.Error("no event from the future")
	}
	if r := g.NextAt(now); r.Timestamp.Before(now.Add(9999 * time.Millisecond)) {
		t.Errorf("sent at %v after the clock was set back, want no time before the last", r.Timestamp)
	}
}

func TestCopiesAreGivenUpAfterAPause(t *testing.T) {
	g := generate.New(generate.Config{Duplicates: 1})
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for range 20 {
		g.NextAt(now)
	}
	before := g.Truth().Count("", generate.Duplicate)
	now = now.Add(time.Hour)
	for range 1000 {
		r := g.NextAt(now)
		if e, _ := decode(r.Value); e.at().Before(now.Add(-time.Minute)) {
			t.Fatalf("%s of an event from before the pause", r.Outcome)
		}
	}
	if after := g.Truth().Count("", generate.Duplicate); after == before {
		t.Error("no copies after the pause")
	}
}

func TestTotalsOnlyKeepsTheSameTotals(t *testing.T) {
	cfg := troubled(9)
	windows := generate.New(cfg)
	take(windows, 10_000)
	cfg.TotalsOnly = true
	totals := generate.New(cfg)
	take(totals, 10_000)
	if n := len(totals.Truth().Windows); n != 0 {
		t.Errorf("windows = %d, want none", n)
	}
	want := windows.Truth().Total()
	for _, table := range []generate.Table[generate.LatencyKey, *generate.Latency]{want.Latency, want.TTFT} {
		for _, l := range table {
			l.Tenths = nil
		}
	}
	for _, e := range want.Errors {
		e.Sessions = nil
	}
	for _, b := range want.Behaviour {
		b.Users, b.Sessions = nil, nil
	}
	if got := totals.Truth().Total(); !reflect.DeepEqual(got, want) {
		t.Error("the totals differ from the sum of the windows")
	}
	if !maps.Equal(totals.Truth().Records, windows.Truth().Records) {
		t.Error("the records differ")
	}
}

func TestValidate(t *testing.T) {
	one := []generate.Topic{{Name: "a", Partitions: 1}}
	tests := []struct {
		name string
		cfg  generate.Config
		ok   bool
	}{
		{"zero", generate.Config{}, true},
		{"bench", generate.Bench(5_000_000, 1), true},
		{"bench of nothing", generate.Bench(0, 1), true},
		{"all at once", generate.Config{ErrorRate: 1, Duplicates: 1, Late: 1, Poison: 1, Unkeyed: 1}, true},
		{"no jitter, no grace to speak of", generate.Config{Jitter: -1, Grace: time.Millisecond}, true},
		{"share above one", generate.Config{Late: 1.1}, false},
		{"negative share", generate.Config{Poison: -0.1}, false},
		{"share that is no number", generate.Config{Duplicates: math.NaN()}, false},
		{"negative count", generate.Config{Tenants: -1}, false},
		{"negative step", generate.Config{Step: -1}, false},
		{"pane below a millisecond", generate.Config{Pane: time.Microsecond}, false},
		{"grace with a fraction of a millisecond", generate.Config{Grace: time.Minute + 1}, false},
		{"jitter near the grace", generate.Config{Jitter: 20 * time.Second}, false},
		{"topic without partitions", generate.Config{Topics: []generate.Topic{{Name: "a"}}}, false},
		{"topic without name", generate.Config{Topics: []generate.Topic{{Partitions: 1}}}, false},
		{"four topics", generate.Config{Topics: slices.Repeat(one, 4)}, false},
		{"large but small", generate.Config{LargeBytes: 100}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.cfg.Validate(); (err == nil) != tt.ok {
				t.Errorf("Validate() = %v, want ok = %v", err, tt.ok)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for name, cfg := range map[string]generate.Config{"bench": generate.Bench(5_000_000, 1), "troubled": troubled(1)} {
		b.Run(name, func(b *testing.B) {
			g := generate.New(cfg)
			b.ReportAllocs()
			for b.Loop() {
				g.Next()
			}
		})
	}
}

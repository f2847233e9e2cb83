package generate_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
)

// wire is an event as it stands in a record.
type wire struct {
	EventID   string `json:"event_id"`
	EventType string `json:"event_type"`
	TraceID   string `json:"trace_id"`
	SessionID string `json:"session_id"`
	UserID    string `json:"user_id"`
	Tenant    string
	App       string
	Stage     string
	Model     string
	Status    string
	Error     *struct{ Type, Message, Stack string }
	LatencyMS *float64 `json:"latency_ms"`
	TTFTMS    *float64 `json:"ttft_ms"`
	Tokens    *struct{ Input, Output int64 }
	Query     string
	Timestamp string
}

func (e wire) at() time.Time {
	at, _ := time.Parse(time.RFC3339, e.Timestamp)
	return at
}

func decode(value []byte) (e wire, ok bool) {
	err := json.Unmarshal(value, &e)
	return e, err == nil
}

// twin is the obvious version of the system: it reads records in the order in
// which they were sent, remembers everything and is slow.
type twin struct {
	pane, grace int64
	large       int
	stream      map[string]int64 // by topic and partition
	newest      int64            // over all partitions
	seen        map[string]bool
	records     map[generate.RecordsKey]int64
	windows     map[int64]*tally
}

type tally struct {
	traffic  map[generate.TrafficKey]generate.Traffic
	latency  map[generate.LatencyKey][]uint32
	ttft     map[generate.LatencyKey][]uint32
	usage    map[generate.UsageKey]generate.Usage
	errors   map[[4]string][]int64 // event times by tenant, app, stage and type
	sessions map[[4]string][]string
	acted    map[generate.TrafficKey]*acted
}

// acted is what people did, and who.
type acted struct {
	count           int64
	users, sessions map[string]bool
}

func newTwin(cfg generate.Config) *twin {
	t := &twin{
		pane: 10_000, grace: 60_000, large: math.MaxInt,
		stream: map[string]int64{}, newest: math.MinInt64, seen: map[string]bool{},
		records: map[generate.RecordsKey]int64{}, windows: map[int64]*tally{},
	}
	if cfg.Pane != 0 {
		t.pane, t.grace = cfg.Pane.Milliseconds(), cfg.Grace.Milliseconds()
	}
	if cfg.LargeBytes > 0 {
		t.large = cfg.LargeBytes
	}
	return t
}

// consume returns an error if the record should have another outcome or comes
// too near to having one.
func (t *twin) consume(r generate.Record) error {
	e, outcome, reason := t.judge(r)
	if outcome != r.Outcome || reason != r.Reason {
		return fmt.Errorf("is said to be %s %s, want %s %s", r.Outcome, r.Reason, outcome, reason)
	}
	t.records[generate.RecordsKey{Topic: r.Topic, Outcome: outcome, Reason: reason}]++
	if outcome == generate.Poison {
		return nil
	}
	at := e.at().UnixMilli()
	partition := fmt.Sprint(r.Topic, r.Partition)
	if outcome == generate.Late {
		if short := at + t.pane + t.grace + 1000 - t.stream[partition]; short > 0 {
			return fmt.Errorf("is late, but not by a second more than a pane and the grace: %d ms short", short)
		} else if short < -(6 * time.Minute).Milliseconds() {
			return fmt.Errorf("is late by far too much: %d ms", -short)
		}
		return nil
	}
	// Whatever another partition has seen, or its watermark: not late.
	t.newest = max(t.newest, at)
	if at-at%t.pane+t.pane <= t.newest-t.grace {
		return fmt.Errorf("is %s, but %d ms behind another partition", outcome, t.newest-at)
	}
	if outcome == generate.Counted {
		return t.count(e, at, slices.Contains([]string{"kotaemon-dialog-events", "user-behaviour"}, r.Topic))
	}
	return nil
}

func (t *twin) judge(r generate.Record) (e wire, outcome, reason string) {
	partition := fmt.Sprint(r.Topic, r.Partition)
	var fields map[string]any
	switch e, ok := decode(r.Value); {
	case len(r.Value) == 0:
		return e, generate.Poison, generate.Empty
	case len(r.Value) >= t.large:
		return e, generate.Poison, generate.TooLarge
	case !json.Valid(r.Value) || json.Unmarshal(r.Value, &fields) != nil:
		return e, generate.Poison, generate.Syntax
	case !ok:
		return e, generate.Poison, generate.WrongType
	case e.EventType == "":
		return e, generate.Poison, generate.MissingField
	case e.at().After(r.Timestamp.Add(5 * time.Minute)):
		return e, generate.Poison, generate.Future
	default:
		at := e.at().UnixMilli()
		stream, known := t.stream[partition]
		if !known {
			stream = math.MinInt64 + t.grace
		}
		t.stream[partition] = max(stream, at)
		id := e.Tenant + "/" + e.TraceID + "/" + e.EventID
		switch end := at - at%t.pane + t.pane; {
		case end <= stream-t.grace:
			return e, generate.Late, ""
		case e.EventID != "" && t.seen[id]:
			return e, generate.Duplicate, ""
		}
		t.seen[id] = true
		return e, generate.Counted, ""
	}
}

func (t *twin) count(e wire, at int64, behaviour bool) error {
	start := at - at%t.pane
	w := t.windows[start]
	if w == nil {
		w = &tally{
			map[generate.TrafficKey]generate.Traffic{}, map[generate.LatencyKey][]uint32{}, map[generate.LatencyKey][]uint32{},
			map[generate.UsageKey]generate.Usage{}, map[[4]string][]int64{}, map[[4]string][]string{},
			map[generate.TrafficKey]*acted{},
		}
		t.windows[start] = w
	}
	if e.EventID != "" {
		if e.UserID == "" || len(e.EventID) != 16 || len(e.TraceID) != 32 || e.Tenant == "" || e.App == "" || e.Stage == "" || e.Model == "" {
			return fmt.Errorf("lacks a field")
		}
	}
	if e.SessionID == "" || len(e.Timestamp) != len("2006-01-02T15:04:05.000Z") {
		return fmt.Errorf("lacks a field")
	}
	traffic := generate.TrafficKey{Tenant: e.Tenant, App: e.App, EventType: e.EventType}
	n := w.traffic[traffic]
	n.Count++
	if (e.Status == "error") != (e.Error != nil) {
		return fmt.Errorf("status and error contradict")
	}
	if e.Error != nil {
		n.Errors++
		group := [4]string{e.Tenant, e.App, e.Stage, e.Error.Type}
		w.errors[group] = append(w.errors[group], at)
		w.sessions[group] = append(w.sessions[group], e.SessionID)
		if strings.TrimSpace(e.Error.Message) == "" || strings.ContainsAny(e.Error.Message, "{}") {
			return fmt.Errorf("has no good error message")
		}
	}
	w.traffic[traffic] = n
	if behaviour {
		a := w.acted[traffic]
		if a == nil {
			a = &acted{users: map[string]bool{}, sessions: map[string]bool{}}
			w.acted[traffic] = a
		}
		a.count++
		a.sessions[e.SessionID] = true
		if e.UserID != "" {
			a.users[e.UserID] = true
		}
	}
	series := generate.LatencyKey{Tenant: e.Tenant, App: e.App, Stage: e.Stage, Model: e.Model}
	if e.LatencyMS != nil {
		w.latency[series] = append(w.latency[series], uint32(math.Round(*e.LatencyMS*10)))
	}
	if e.TTFTMS != nil {
		w.ttft[series] = append(w.ttft[series], uint32(math.Round(*e.TTFTMS*10)))
		if *e.TTFTMS > *e.LatencyMS {
			return fmt.Errorf("has its first token after its last")
		}
	}
	if e.Tokens != nil {
		usage := generate.UsageKey{Tenant: e.Tenant, App: e.App, Model: e.Model}
		u := w.usage[usage]
		w.usage[usage] = generate.Usage{
			Requests: u.Requests + 1, InputTokens: u.InputTokens + e.Tokens.Input, OutputTokens: u.OutputTokens + e.Tokens.Output,
		}
	}
	return nil
}

// compare reports where the truth differs from what the twin has counted.
func (t *twin) compare(tb testing.TB, truth *generate.Truth) {
	tb.Helper()
	differ(tb, "records", truth.Records, t.records)
	if got, want := len(truth.Windows), len(t.windows); got != want {
		tb.Errorf("windows = %d, want %d", got, want)
	}
	for start, want := range t.windows {
		got := truth.Windows[start]
		if got == nil {
			tb.Errorf("no window at %d", start)
			continue
		}
		traffic := map[generate.TrafficKey]generate.Traffic{}
		for k, v := range got.Traffic {
			traffic[k] = *v
		}
		differ(tb, "traffic", traffic, want.traffic)
		usage := map[generate.UsageKey]generate.Usage{}
		for k, v := range got.Usage {
			usage[k] = *v
		}
		differ(tb, "usage", usage, want.usage)
		did, wantDid := map[generate.TrafficKey][3]int{}, map[generate.TrafficKey][3]int{}
		for k, v := range got.Behaviour {
			did[k] = [3]int{int(v.Count), generate.Distinct(v.Users), generate.Distinct(v.Sessions)}
		}
		for k, v := range want.acted {
			wantDid[k] = [3]int{int(v.count), len(v.users), len(v.sessions)}
		}
		differ(tb, "behaviour", did, wantDid)
		compareLatency(tb, got.Latency, want.latency)
		compareLatency(tb, got.TTFT, want.ttft)
		compareErrors(tb, got.Errors, want)
	}
}

func differ[K, V comparable](tb testing.TB, what string, got, want map[K]V) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Errorf("%s: %d keys, want %d", what, len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			tb.Errorf("%s of %v = %v, want %v", what, k, got[k], v)
		}
	}
}

func compareLatency(tb testing.TB, got generate.Table[generate.LatencyKey, *generate.Latency], want map[generate.LatencyKey][]uint32) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Errorf("latency: %d series, want %d", len(got), len(want))
	}
	for k, values := range want {
		l := got[k]
		if l == nil {
			tb.Errorf("latency of %v is missing", k)
			continue
		}
		slices.Sort(values)
		tenths := slices.Sorted(slices.Values(l.Tenths))
		var sum time.Duration
		for _, v := range values {
			sum += time.Duration(v) * 100 * time.Microsecond
		}
		last := time.Duration(values[len(values)-1]) * 100 * time.Microsecond
		if l.Count != int64(len(values)) || l.Sum != sum || l.Max != last || !slices.Equal(tenths, values) {
			tb.Errorf("latency of %v = %d, %v, %v %v; want %d, %v, %v %v", k, l.Count, l.Sum, l.Max, tenths, len(values), sum, last, values)
		}
	}
}

// compareErrors sums over the kinds, which do not stand in the record.
func compareErrors(tb testing.TB, got generate.Table[generate.ErrorKey, *generate.Errors], want *tally) {
	tb.Helper()
	count := map[[4]string]int64{}
	first, last := map[[4]string]int64{}, map[[4]string]int64{}
	sessions := map[[4]string][]string{}
	for k, v := range got {
		group := [4]string{k.Tenant, k.App, k.Stage, k.ErrorType}
		if _, known := first[group]; !known {
			first[group] = math.MaxInt64
		}
		count[group] += v.Count
		first[group] = min(first[group], v.First)
		last[group] = max(last[group], v.Last)
		sessions[group] = append(sessions[group], v.Sessions...)
	}
	if len(count) != len(want.errors) {
		tb.Errorf("errors: %d groups, want %d", len(count), len(want.errors))
	}
	for group, times := range want.errors {
		names := want.sessions[group]
		slices.Sort(names)
		slices.Sort(sessions[group])
		if count[group] != int64(len(times)) || first[group] != slices.Min(times) || last[group] != slices.Max(times) || !slices.Equal(sessions[group], names) {
			tb.Errorf("errors of %v = %d from %d to %d in %v, want %v in %v", group, count[group], first[group], last[group], sessions[group], times, names)
		}
	}
}

package generate

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Truth is what a correct system makes of a stretch of traffic. Events that
// are counted enter the window of their event time; all else is in Records
// only. It encodes to JSON and back without loss. It is not safe for
// concurrent use.
type Truth struct {
	PaneMillis int64                    `json:"pane_ms"`
	Records    Table[RecordsKey, int64] `json:"records"`
	Windows    map[int64]*Measures      `json:"windows"`           // by start, Unix ms
	Undated    *Measures                `json:"undated,omitempty"` // what was not kept by window
}

// Measures are the tables of a window, or of many. A dimension that an event
// does not have is the empty string.
type Measures struct {
	Traffic Table[TrafficKey, *Traffic] `json:"traffic"`
	Latency Table[LatencyKey, *Latency] `json:"latency"` // of all events with latency_ms, failed ones too
	TTFT    Table[LatencyKey, *Latency] `json:"ttft"`    // of all events with ttft_ms
	Errors  Table[ErrorKey, *Errors]    `json:"errors"`
	Usage   Table[UsageKey, *Usage]     `json:"usage"` // of all events with tokens
	// Behaviour is what people say and do: all events of all topics but the first.
	Behaviour Table[TrafficKey, *Behaviour] `json:"behaviour"`
}

// RecordsKey counts records by what became of them.
type RecordsKey struct {
	Topic   string `json:"topic"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
}

// TrafficKey is a series of traffic.
type TrafficKey struct {
	Tenant    string `json:"tenant"`
	App       string `json:"app"`
	EventType string `json:"event_type"`
}

// LatencyKey is a series of latencies.
type LatencyKey struct {
	Tenant string `json:"tenant"`
	App    string `json:"app"`
	Stage  string `json:"stage"`
	Model  string `json:"model"`
}

// ErrorKey is an error group. Kind stands for the fingerprint that a consumer
// makes of the message: messages are of one kind iff they belong in one group.
type ErrorKey struct {
	Tenant    string `json:"tenant"`
	App       string `json:"app"`
	Stage     string `json:"stage"`
	ErrorType string `json:"error_type"`
	Kind      string `json:"kind"`
}

// UsageKey is a series of token usage.
type UsageKey struct {
	Tenant string `json:"tenant"`
	App    string `json:"app"`
	Model  string `json:"model"`
}

// Traffic counts events.
type Traffic struct {
	Count  int64 `json:"count"`
	Errors int64 `json:"errors"`
}

// Latency sums up measurements.
type Latency struct {
	Count  int64         `json:"count"`
	Sum    time.Duration `json:"sum_ns"`
	Max    time.Duration `json:"max_ns"`
	Tenths []uint32      `json:"tenths,omitempty"` // each one, in tenths of a millisecond, unordered
}

// Errors sums up the events of an error group.
type Errors struct {
	Count    int64    `json:"count"`
	First    int64    `json:"first"` // event time, Unix ms
	Last     int64    `json:"last"`
	Sessions []string `json:"sessions,omitempty"` // of each event, unordered; see Distinct
}

// Usage sums up tokens.
type Usage struct {
	Requests     int64 `json:"requests"`
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
}

// Behaviour sums up what people did.
type Behaviour struct {
	Count    int64    `json:"count"`
	Users    []string `json:"users,omitempty"`    // of each event that has one, unordered; see Distinct
	Sessions []string `json:"sessions,omitempty"` // of each event, likewise
}

// NewTruth returns a truth of nothing in windows of the given size.
func NewTruth(pane time.Duration) *Truth {
	return &Truth{
		PaneMillis: pane.Milliseconds(),
		Records:    make(Table[RecordsKey, int64]),
		Windows:    make(map[int64]*Measures),
	}
}

// Total returns the measures of all that was counted.
func (t *Truth) Total() *Measures {
	total := t.Between(math.MinInt64, math.MaxInt64)
	if t.Undated != nil {
		total.Merge(t.Undated)
	}
	return total
}

// Between returns the measures of the windows that start in [from, to), in
// Unix ms. It has nothing for a generator that keeps totals only.
func (t *Truth) Between(from, to int64) *Measures {
	sum := newMeasures()
	for start, m := range t.Windows {
		if start >= from && start < to {
			sum.Merge(m)
		}
	}
	return sum
}

// Starts returns the starts of the windows with events, in order.
func (t *Truth) Starts() []int64 { return slices.Sorted(maps.Keys(t.Windows)) }

// Count returns the number of records of a topic with an outcome; an empty
// string means any.
func (t *Truth) Count(topic, outcome string) int64 {
	var n int64
	for k, count := range t.Records {
		if (topic == "" || topic == k.Topic) && (outcome == "" || outcome == k.Outcome) {
			n += count
		}
	}
	return n
}

// Merge adds what o holds. Both must have windows of one size. o is not
// changed and shares nothing with t afterwards.
func (t *Truth) Merge(o *Truth) {
	if t.PaneMillis != o.PaneMillis {
		panic("BUG: merge of truths with different panes")
	}
	for k, n := range o.Records {
		t.Records[k] += n
	}
	for start, m := range o.Windows {
		t.window(start).Merge(m)
	}
	if o.Undated != nil {
		t.undated().Merge(o.Undated)
	}
}

func (t *Truth) window(start int64) *Measures {
	m := t.Windows[start]
	if m == nil {
		m = newMeasures()
		t.Windows[start] = m
	}
	return m
}

func (t *Truth) undated() *Measures {
	if t.Undated == nil {
		t.Undated = newMeasures()
	}
	return t.Undated
}

// paneStart returns the start of the window that holds at.
func paneStart(at, pane int64) int64 { return at - (at%pane+pane)%pane }

// count adds an event.
func (t *Truth) count(e *event, n *names, totalsOnly bool) {
	var m *Measures
	if totalsOnly {
		m = t.undated()
	} else {
		m = t.window(paneStart(e.at, t.PaneMillis))
	}
	var tenant, app, model string
	if !e.bare {
		tenant, app, model = n.tenants[e.session.tenant], n.apps[e.session.app], n.models[e.model]
	}
	traffic := at(m.Traffic, TrafficKey{tenant, app, e.step.event})
	traffic.Count++
	if e.topic > 0 {
		at(m.Behaviour, TrafficKey{tenant, app, e.step.event}).add(e, totalsOnly)
	}
	series := LatencyKey{tenant, app, e.step.stage, model}
	if e.latency != noMeasure {
		at(m.Latency, series).add(e.latency, totalsOnly)
	}
	if e.ttft != noMeasure {
		at(m.TTFT, series).add(e.ttft, totalsOnly)
	}
	if e.input > 0 {
		at(m.Usage, UsageKey{tenant, app, model}).merge(&Usage{1, int64(e.input), int64(e.output)})
	}
	if e.kind != nil {
		traffic.Errors++
		one := Errors{Count: 1, First: e.at, Last: e.at}
		if !totalsOnly {
			one.Sessions = []string{string(e.appendSession(nil))}
		}
		at(m.Errors, ErrorKey{tenant, app, e.step.stage, e.kind.errorType, e.kind.name}).merge(&one)
	}
}

func newMeasures() *Measures {
	return &Measures{
		Traffic:   make(Table[TrafficKey, *Traffic]),
		Latency:   make(Table[LatencyKey, *Latency]),
		TTFT:      make(Table[LatencyKey, *Latency]),
		Errors:    make(Table[ErrorKey, *Errors]),
		Usage:     make(Table[UsageKey, *Usage]),
		Behaviour: make(Table[TrafficKey, *Behaviour]),
	}
}

// Merge adds what o holds, which is not changed.
func (m *Measures) Merge(o *Measures) {
	merge(m.Traffic, o.Traffic, (*Traffic).merge)
	merge(m.Latency, o.Latency, (*Latency).merge)
	merge(m.TTFT, o.TTFT, (*Latency).merge)
	merge(m.Errors, o.Errors, (*Errors).merge)
	merge(m.Usage, o.Usage, (*Usage).merge)
	merge(m.Behaviour, o.Behaviour, (*Behaviour).merge)
}

// Events returns the number of events and how many of them failed.
func (m *Measures) Events() Traffic {
	var sum Traffic
	for _, t := range m.Traffic {
		sum.merge(t)
	}
	return sum
}

func (t *Traffic) merge(o *Traffic) {
	t.Count += o.Count
	t.Errors += o.Errors
}

func (l *Latency) add(tenths int64, totalsOnly bool) {
	d := time.Duration(tenths) * (time.Millisecond / 10)
	l.Count++
	l.Sum += d
	l.Max = max(l.Max, d)
	if !totalsOnly {
		l.Tenths = append(l.Tenths, uint32(tenths))
	}
}

func (l *Latency) merge(o *Latency) {
	l.Count += o.Count
	l.Sum += o.Sum
	l.Max = max(l.Max, o.Max)
	l.Tenths = append(l.Tenths, o.Tenths...)
}

// Quantiles returns the exact quantiles: for q the smallest measurement that
// at least a share of q is not above. It needs the single values, which a
// generator that keeps totals only does not have; then all are −1.
func (l *Latency) Quantiles(qs ...float64) []time.Duration {
	sorted := slices.Clone(l.Tenths)
	slices.Sort(sorted)
	values := make([]time.Duration, len(qs))
	for i, q := range qs {
		values[i] = -1
		if n := len(sorted); n > 0 {
			rank := int(math.Ceil(q*float64(n))) - 1
			values[i] = time.Duration(sorted[min(max(rank, 0), n-1)]) * (time.Millisecond / 10)
		}
	}
	return values
}

func (e *Errors) merge(o *Errors) {
	if e.Count == 0 {
		e.First, e.Last = o.First, o.Last
	}
	e.Count += o.Count
	e.First = min(e.First, o.First)
	e.Last = max(e.Last, o.Last)
	e.Sessions = append(e.Sessions, o.Sessions...)
}

// Distinct returns the number of different names.
func Distinct(names []string) int {
	seen := make(map[string]bool)
	for _, s := range names {
		seen[s] = true
	}
	return len(seen)
}

func (b *Behaviour) add(e *event, totalsOnly bool) {
	b.Count++
	if totalsOnly {
		return
	}
	b.Sessions = append(b.Sessions, string(e.appendSession(nil)))
	if !e.bare {
		b.Users = append(b.Users, string(e.appendUser(nil)))
	}
}

func (b *Behaviour) merge(o *Behaviour) {
	b.Count += o.Count
	b.Users = append(b.Users, o.Users...)
	b.Sessions = append(b.Sessions, o.Sessions...)
}

func (u *Usage) merge(o *Usage) {
	u.Requests += o.Requests
	u.InputTokens += o.InputTokens
	u.OutputTokens += o.OutputTokens
}

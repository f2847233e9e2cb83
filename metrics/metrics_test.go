package metrics_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"ragstreams/metrics"
	"ragstreams/tables"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// fake is a view with rows by partition and key.
type fake[M any] struct {
	rows    map[int32]map[string]*M
	offsets map[int32]int64
	mark    int64
}

func (f fake[M]) Series(p int32, visit func(string, *M)) error {
	for k, m := range f.rows[p] {
		visit(k, m)
	}
	return nil
}
func (f fake[M]) Offset(p int32) int64 { return f.offsets[p] }
func (f fake[M]) Count(p int32) int {
	n := 0
	for k := range f.rows[p] {
		if tables.IsSeries(k) {
			n++
		}
	}
	return n
}
func (f fake[M]) Watermark() (int64, bool) { return f.mark, f.mark != 0 }

func key(dims ...string) string {
	var raw [][]byte
	for _, d := range dims {
		raw = append(raw, []byte(d))
	}
	return string(tables.AppendKey(nil, raw...))
}

func table[M any](v fake[M], t *tables.Table[M], owned map[int32]int64) metrics.Table[M] {
	return metrics.Table[M]{
		View: v, Table: t, Owned: func() map[int32]int64 { return owned },
		Recovered: func() float64 { return 1 }, Now: func() time.Time { return time.UnixMilli(61_000) },
	}
}

func registry(t *testing.T, cs ...prometheus.Collector) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(cs...)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	return reg
}

func TestTrafficOfOwnedPartitions(t *testing.T) {
	v := fake[tables.Traffic]{
		rows: map[int32]map[string]*tables.Traffic{
			0: {key("acme", "kotaemon", "query"): {Count: 10, Errors: 3}, tables.OverflowKey: {Count: 5, Errors: 1}},
			1: {key("acme", "kotaemon", "answer"): {Count: 7}, tables.OverflowKey: {Count: 2}},
			2: {key("not", "ours", "x"): {Count: 1}},
			4: {key("_overflow", "_overflow", "_overflow"): {Count: 3}},
			3: {key("not", "come", "far enough"): {Count: 1}},
		},
		offsets: map[int32]int64{0: 9, 1: 5, 2: 99, 3: 3}, mark: 60_000,
	}
	owned := map[int32]int64{0: 9, 1: -1, 3: 4, 4: -1}
	reg := registry(t, metrics.Traffic(table(v, &tables.TrafficTable, owned), func() map[string]float64 {
		return map[string]float64{key("acme", "kotaemon", "query"): 2.5, key("not", "ours", "x"): 9, tables.OverflowKey: 0.5}
	}))
	want := `
# HELP rag_events_total Events counted, by whether they succeeded.
# TYPE rag_events_total counter
rag_events_total{app="_overflow",event_type="_overflow",status="error",tenant="_overflow"} 1
rag_events_total{app="_overflow",event_type="_overflow",status="ok",tenant="_overflow"} 9
rag_events_total{app="kotaemon",event_type="answer",status="error",tenant="acme"} 0
rag_events_total{app="kotaemon",event_type="answer",status="ok",tenant="acme"} 7
rag_events_total{app="kotaemon",event_type="query",status="error",tenant="acme"} 3
rag_events_total{app="kotaemon",event_type="query",status="ok",tenant="acme"} 7
# HELP rag_qps Events a second over the newest minute of event time.
# TYPE rag_qps gauge
rag_qps{app="_overflow",event_type="_overflow",tenant="_overflow"} 0.5
rag_qps{app="kotaemon",event_type="answer",tenant="acme"} 0
rag_qps{app="kotaemon",event_type="query",tenant="acme"} 2.5
# HELP analytics_series Series of the table, in partitions owned by this instance.
# TYPE analytics_series gauge
analytics_series{table="traffic"} 3
# HELP analytics_series_overflow_total Events counted in the overflow series because of a limit.
# TYPE analytics_series_overflow_total counter
analytics_series_overflow_total{table="traffic"} 10
# HELP analytics_lag_seconds How far the table's watermark is behind the clock.
# TYPE analytics_lag_seconds gauge
analytics_lag_seconds{table="traffic"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "rag_events_total", "rag_qps", "analytics_series", "analytics_series_overflow_total", "analytics_lag_seconds"); err != nil {
		t.Error(err)
	}
	delete(owned, 0)
	delete(owned, 1)
	delete(owned, 4)
	if n, err := testutil.GatherAndCount(reg, "rag_events_total", "rag_qps"); err != nil || n != 0 {
		t.Errorf("%d series are left after the partitions went, %v", n, err)
	}
}

func latencyOf(ms ...int64) *tables.Latency {
	l := new(tables.Latency)
	for i, v := range ms {
		l.Observe(v*int64(time.Millisecond), "trace-"+string(rune('a'+i)), int64(1000*i))
	}
	return l
}

// gather returns the only series of a histogram.
func gather(t *testing.T, reg *prometheus.Registry, name string) *dto.Metric {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0]
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

func TestHistogramIsClassicAndNative(t *testing.T) {
	l := latencyOf(0, 5, 125, 126, 900, 900, 90_000)
	v := fake[tables.Latency]{rows: map[int32]map[string]*tables.Latency{0: {key("a", "b", "c", "d"): l}}}
	m := gather(t, registry(t, metrics.Latency(table(v, &tables.LatencyTable, map[int32]int64{0: -1}))), "rag_stage_duration_seconds")
	h := m.Histogram
	if h.GetSampleCount() != 7 || math.Abs(h.GetSampleSum()-92.056) > 1e-9 {
		t.Errorf("count %d, sum %g", h.GetSampleCount(), h.GetSampleSum())
	}
	want := map[float64]uint64{0.0078125: 2, 0.125: 3, 0.25: 4, 1: 6, 64: 6}
	for _, b := range h.Bucket {
		if n, ok := want[b.GetUpperBound()]; ok && b.GetCumulativeCount() != n {
			t.Errorf("le %g: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
	}
	var native, count int64
	index := int32(0)
	at := 0
	for _, s := range h.PositiveSpan {
		index += s.GetOffset()
		for range s.GetLength() {
			count += h.PositiveDelta[at]
			native += count
			low, high := math.Exp2(float64(index-1)/16), math.Exp2(float64(index)/16)
			found := int64(0)
			for _, ms := range []float64{5, 125, 126, 900, 900, 90_000} {
				if ms/1000 > low*(1+1e-12) && ms/1000 <= high*(1+1e-12) {
					found++
				}
			}
			if found != count {
				t.Errorf("bucket (%g, %g] has %d, want %d", low, high, count, found)
			}
			index++
			at++
		}
	}
	if native+int64(h.GetZeroCount()) != 7 || h.GetSchema() != 4 {
		t.Errorf("native buckets hold %d and %d at zero, schema %d", native, h.GetZeroCount(), h.GetSchema())
	}
	last := h.Bucket[len(h.Bucket)-1]
	if !math.IsInf(last.GetUpperBound(), 1) || last.Exemplar.GetLabel()[0].GetValue() != "trace-g" || last.Exemplar.GetValue() != 90 {
		t.Errorf("last bucket = %v, want one with the exemplar of the slowest call", last)
	}
}

func TestEveryFormatEncodes(t *testing.T) {
	l := latencyOf(5, 900)
	l.TTFT.Observe(int64(300 * time.Millisecond))
	v := fake[tables.Latency]{rows: map[int32]map[string]*tables.Latency{0: {
		key("bad \xff utf-8", "b", "c", "d"): l, key("only", "counts", "no", "duration"): {},
	}}}
	reg := registry(t, metrics.Latency(table(v, &tables.LatencyTable, map[int32]int64{0: -1})))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []expfmt.Format{
		expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics), expfmt.NewFormat(expfmt.TypeProtoDelim),
	} {
		var out strings.Builder
		enc := expfmt.NewEncoder(&out, format)
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
		if !strings.Contains(out.String(), "rag_time_to_first_token_seconds") {
			t.Errorf("%s has no time to first token", format)
		}
		if format.FormatType() == expfmt.TypeOpenMetrics && !strings.Contains(out.String(), `# {trace_id="trace-b"} 0.9`) {
			t.Errorf("no exemplar in\n%s", out.String())
		}
	}
}

func TestUsage(t *testing.T) {
	v := fake[tables.Usage]{rows: map[int32]map[string]*tables.Usage{0: {
		key("acme", "kotaemon", "gpt"): {Requests: 3, InputTokens: 900, OutputTokens: 40},
		tables.OverflowKey:             {Requests: 2, InputTokens: 1},
	}}, offsets: map[int32]int64{0: 1}}
	reg := registry(t, metrics.Usage(table(v, &tables.UsageTable, map[int32]int64{0: 1})))
	want := `
# HELP analytics_series_overflow_total Events counted in the overflow series because of a limit.
# TYPE analytics_series_overflow_total counter
analytics_series_overflow_total{table="usage"} 2
# HELP rag_model_requests_total Requests to models that told of tokens.
# TYPE rag_model_requests_total counter
rag_model_requests_total{app="_overflow",model="_overflow",tenant="_overflow"} 2
rag_model_requests_total{app="kotaemon",model="gpt",tenant="acme"} 3
# HELP rag_tokens_total Tokens of requests to models, by type: input or output.
# TYPE rag_tokens_total counter
rag_tokens_total{app="_overflow",model="_overflow",tenant="_overflow",type="input"} 1
rag_tokens_total{app="_overflow",model="_overflow",tenant="_overflow",type="output"} 0
rag_tokens_total{app="kotaemon",model="gpt",tenant="acme",type="input"} 900
rag_tokens_total{app="kotaemon",model="gpt",tenant="acme",type="output"} 40
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "rag_model_requests_total", "rag_tokens_total", "analytics_series_overflow_total"); err != nil {
		t.Error(err)
	}
}

// Who was active is told of every series, of those without anybody that nobody was; but
// not when there is no time to tell it of.
func TestBehaviour(t *testing.T) {
	liked, copied := key("acme", "kotaemon", "answer_liked"), key("acme", "kotaemon", "answer_copied")
	v := fake[tables.Behaviour]{rows: map[int32]map[string]*tables.Behaviour{0: {
		liked: {Count: 30}, copied: {Count: 4}, tables.OverflowKey: {Count: 5},
	}}, offsets: map[int32]int64{0: 1}}
	active := map[string]metrics.Active{liked: {Users: 7, Sessions: 9}, tables.OverflowKey: {Users: 1, Sessions: 2}}
	reg := registry(t, metrics.Behaviour(table(v, &tables.BehaviourTable, map[int32]int64{0: 1}), func() map[string]metrics.Active { return active }))
	want := `
# HELP rag_behaviour_active_sessions Distinct sessions, as those users.
# TYPE rag_behaviour_active_sessions gauge
rag_behaviour_active_sessions{app="_overflow",event_type="_overflow",tenant="_overflow"} 2
rag_behaviour_active_sessions{app="kotaemon",event_type="answer_copied",tenant="acme"} 0
rag_behaviour_active_sessions{app="kotaemon",event_type="answer_liked",tenant="acme"} 9
# HELP rag_behaviour_active_users Distinct users over the newest five minutes of event time; above 64 estimated, with a standard error of 2.3 %.
# TYPE rag_behaviour_active_users gauge
rag_behaviour_active_users{app="_overflow",event_type="_overflow",tenant="_overflow"} 1
rag_behaviour_active_users{app="kotaemon",event_type="answer_copied",tenant="acme"} 0
rag_behaviour_active_users{app="kotaemon",event_type="answer_liked",tenant="acme"} 7
# HELP rag_behaviour_events_total What people did, by type of event.
# TYPE rag_behaviour_events_total counter
rag_behaviour_events_total{app="_overflow",event_type="_overflow",tenant="_overflow"} 5
rag_behaviour_events_total{app="kotaemon",event_type="answer_copied",tenant="acme"} 4
rag_behaviour_events_total{app="kotaemon",event_type="answer_liked",tenant="acme"} 30
`
	names := []string{"rag_behaviour_events_total", "rag_behaviour_active_users", "rag_behaviour_active_sessions"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	active = nil
	if n, err := testutil.GatherAndCount(reg, names[1:]...); err != nil || n != 0 {
		t.Errorf("%d gauges of no time, %v", n, err)
	}
}

func TestErrorGroups(t *testing.T) {
	v := fake[tables.Errors]{rows: map[int32]map[string]*tables.Errors{0: {
		key("acme", "kotaemon", "generate", "00ff"): {Count: 4, ErrorType: "TimeoutError"},
		tables.OverflowKey:                          {Count: 9, ErrorType: "any"},
	}}}
	reg := registry(t, metrics.Errors(table(v, &tables.ErrorsTable, map[int32]int64{0: -1})))
	want := `
# HELP rag_error_group_events_total Errors, by group of equal messages.
# TYPE rag_error_group_events_total counter
rag_error_group_events_total{app="_overflow",error_type="_overflow",fingerprint="_overflow",stage="_overflow",tenant="_overflow"} 9
rag_error_group_events_total{app="kotaemon",error_type="TimeoutError",fingerprint="00ff",stage="generate",tenant="acme"} 4
# HELP analytics_series_overflow_total Events counted in the overflow series because of a limit.
# TYPE analytics_series_overflow_total counter
analytics_series_overflow_total{table="errors"} 9
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "rag_error_group_events_total", "analytics_series_overflow_total"); err != nil {
		t.Error(err)
	}
}

func TestRecordsAndWhatIsInFlight(t *testing.T) {
	v := fake[tables.Records]{rows: map[int32]map[string]*tables.Records{
		0: {key("rag-traces", "in", ""): {Count: 10}, key("rag-traces", "poison", "syntax"): {Count: 1}},
		1: {key("rag-traces", "counted", ""): {Count: 6}, key("rag-traces", "duplicate", ""): {Count: 1}},
	}}
	owned := map[int32]int64{0: -1}
	reg := registry(t, metrics.Records(table(v, &tables.RecordsTable, owned), 2))
	want := `
# HELP analytics_records_in_flight Records read that have no outcome yet.
# TYPE analytics_records_in_flight gauge
analytics_records_in_flight{topic="rag-traces"} 2
# HELP analytics_records_in_total Records read from source topics.
# TYPE analytics_records_in_total counter
analytics_records_in_total{topic="rag-traces"} 10
# HELP analytics_records_total Records of source topics, by what became of them.
# TYPE analytics_records_total counter
analytics_records_total{outcome="poison",reason="syntax",topic="rag-traces"} 1
`
	names := []string{"analytics_records_in_flight", "analytics_records_in_total", "analytics_records_total"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	delete(owned, 0)
	owned[1] = -1
	if n, err := testutil.GatherAndCount(reg, "analytics_records_in_flight"); err != nil || n != 0 {
		t.Errorf("in flight is told by more than the owner of partition 0: %d, %v", n, err)
	}
}

func TestObserver(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := metrics.NewObserver(reg, "v1", func() bool { return true })
	o.Committed("g", 30*time.Millisecond, true)
	o.Committed("g", 30*time.Millisecond, false)
	o.EventAge(-time.Second)
	if n, err := testutil.GatherAndCount(reg, "analytics_commit_duration_seconds"); err != nil || n != 2 {
		t.Errorf("%d series of commits, %v, want one a result", n, err)
	}
	if h := gather(t, reg, "analytics_event_age_seconds").Histogram; h.GetSampleCount() != 1 || h.GetSampleSum() != 0 {
		t.Errorf("event age = %v, want one of 0: clocks differ", h)
	}
}

// A label that was never cut is there from the start, as 0.
func TestLabelsCut(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := metrics.NewObserver(reg, "v1", func() bool { return true })
	o.LabelsCut("tenant", 0)
	o.LabelsCut("model", 2)
	o.LabelsCut("model", 3)
	want := `
# HELP analytics_labels_cut_total Values of events that were too long: cut, or left out as a sample (trace_id).
# TYPE analytics_labels_cut_total counter
analytics_labels_cut_total{label="model"} 5
analytics_labels_cut_total{label="tenant"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "analytics_labels_cut_total"); err != nil {
		t.Error(err)
	}
}

func TestReplayed(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := metrics.NewObserver(reg, "v1", func() bool { return true })
	o.Replayed("rag-traces", "syntax", 2)
	o.Replayed("rag-traces", "syntax", 1)
	want := `
# HELP analytics_records_replayed_total Records read from source topics that a replay had sent, by why they had been dead letters or late.
# TYPE analytics_records_replayed_total counter
analytics_records_replayed_total{reason="syntax",topic="rag-traces"} 3
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "analytics_records_replayed_total"); err != nil {
		t.Error(err)
	}
}

func TestDocsNameEveryMetricOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range metrics.Docs() {
		if seen[d.Name] || d.Help == "" || d.Type == "" {
			t.Errorf("%+v", d)
		}
		seen[d.Name] = true
	}
	if !seen["rag_events_total"] || !seen["analytics_build_info"] {
		t.Errorf("docs = %v", seen)
	}
}

func BenchmarkScrape(b *testing.B) {
	v := fake[tables.Latency]{rows: map[int32]map[string]*tables.Latency{0: {}}}
	l := latencyOf(5, 10, 80, 125, 900, 2000)
	for i := range 50_000 {
		v.rows[0][key("tenant", "app", "stage", string(rune(0x4e00+i%20_000))+string(rune('a'+i/20_000)))] = l
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.Latency(table(v, &tables.LatencyTable, map[int32]int64{0: -1})))
	for b.Loop() {
		if _, err := reg.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

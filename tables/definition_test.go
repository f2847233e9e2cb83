package tables_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ragstreams/tables"
)

// TestColumns repeats the contract of each table: whoever changes it breaks
// every dashboard and query built on it.
func TestColumns(t *testing.T) {
	for _, tt := range []struct {
		table   tables.Definition
		name    string
		dims    int
		columns string
	}{
		{tables.TrafficTable.Definition, "traffic", 3,
			"tenant:string, app:string, event_type:string, count:integer, errors:integer, qps:number, error_ratio:number"},
		{tables.LatencyTable.Definition, "latency", 4,
			"tenant:string, app:string, stage:string, model:string, count:integer, sum_seconds:number, avg_seconds:number, " +
				"p50_seconds:number, p90_seconds:number, p95_seconds:number, p99_seconds:number, max_seconds:number"},
		{tables.ErrorsTable.Definition, "errors", 4,
			"tenant:string, app:string, stage:string, fingerprint:string, error_type:string, template:string, count:integer, " +
				"first_seen:time, last_seen:time, sessions:integer, state:string, samples:samples"},
		{tables.UsageTable.Definition, "usage", 3,
			"tenant:string, app:string, model:string, requests:integer, input_tokens:integer, output_tokens:integer"},
		{tables.BehaviourTable.Definition, "behaviour", 3,
			"tenant:string, app:string, event_type:string, count:integer, users:integer, sessions:integer"},
		{tables.RecordsTable.Definition, "records", 3,
			"topic:string, outcome:string, reason:string, count:integer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var columns []string
			for i, c := range tt.table.Columns {
				columns = append(columns, c.Name+":"+c.Type)
				if i < tt.dims && tt.table.Dims[i] != c.Name {
					t.Errorf("dimension %d is %s, its column %s", i, tt.table.Dims[i], c.Name)
				}
				if strings.HasSuffix(c.Name, "_seconds") != (c.Unit == "seconds") {
					t.Errorf("column %s has unit %q", c.Name, c.Unit)
				}
			}
			if got := strings.Join(columns, ", "); got != tt.columns {
				t.Errorf("columns are %s\nwant        %s", got, tt.columns)
			}
			if tt.table.Name != tt.name || len(tt.table.Dims) != tt.dims {
				t.Errorf("name %q with %d dimensions, want %q with %d", tt.table.Name, len(tt.table.Dims), tt.name, tt.dims)
			}
		})
	}
}

func TestGrouped(t *testing.T) {
	d := &tables.ErrorsTable.Definition
	for _, tt := range []struct {
		by   []int
		want string
	}{
		{nil, "count first_seen last_seen sessions state samples"},
		{[]int{2, 0}, "stage tenant count first_seen last_seen sessions state samples"},
		{[]int{3}, "fingerprint error_type template count first_seen last_seen sessions state samples"},
	} {
		var names []string
		for _, i := range d.Grouped(tt.by) {
			names = append(names, d.Columns[i].Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("by %v: %s, want %s", tt.by, got, tt.want)
		}
	}
}

func TestDimsOf(t *testing.T) {
	d := &tables.TrafficTable.Definition
	key := func(dims ...string) string {
		parts := make([][]byte, len(dims))
		for i := range dims {
			parts[i] = []byte(dims[i])
		}
		return string(tables.AppendKey(nil, parts...))
	}
	for _, tt := range []struct {
		key  string
		want []string // nil: an error
	}{
		{key("acme", "chat", ""), []string{"acme", "chat", ""}},
		{tables.OverflowKey, []string{"_overflow", "_overflow", "_overflow"}},
		{tables.ProgressKey, nil},
		{key("acme", "chat"), nil},
		{key("acme", "chat", "query", "more"), nil},
	} {
		got, err := d.DimsOf(tt.key)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("DimsOf(%q): error %v (-want +got):\n%s", tt.key, err, diff)
		}
	}
}

// row joins column names and values.
func row[M any](table tables.Table[M], dims []string, m, ever *M, span tables.Span) map[string]any {
	values := table.Values(dims, m, ever, span)
	if len(values) != len(table.Columns) {
		return map[string]any{"values": len(values)}
	}
	named := map[string]any{}
	for i, c := range table.Columns {
		named[c.Name] = values[i]
	}
	return named
}

func TestTrafficValues(t *testing.T) {
	dims := []string{"acme", "chat", "query"}
	minute := tables.Span{From: 1.7e12, To: 1.7e12 + 60_000}
	got := row(tables.TrafficTable, dims, &tables.Traffic{Count: 30, Errors: 6}, nil, minute)
	want := map[string]any{"tenant": "acme", "app": "chat", "event_type": "query",
		"count": int64(30), "errors": int64(6), "qps": 0.5, "error_ratio": 0.2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	got = row(tables.TrafficTable, dims, &tables.Traffic{}, nil, tables.Span{From: 5, To: 5})
	if got["qps"] != nil || got["error_ratio"] != nil {
		t.Errorf("qps %v and error_ratio %v of nothing, want nil", got["qps"], got["error_ratio"])
	}
}

func TestLatencyValues(t *testing.T) {
	dims := []string{"acme", "chat", "generate", "gpt"}
	var m tables.Latency
	for n := range int64(100) {
		m.Duration.Observe((n + 1) * 1e7) // 10 ms to 1 s
	}
	got := row(tables.LatencyTable, dims, &m, nil, tables.Span{})
	for name, want := range map[string]float64{
		"sum_seconds": 50.5, "avg_seconds": 0.505, "max_seconds": 1,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for name, want := range map[string]float64{
		"p50_seconds": 0.5, "p90_seconds": 0.9, "p95_seconds": 0.95, "p99_seconds": 0.99,
	} {
		if v, ok := got[name].(float64); !ok || math.Abs(v/want-1) > 0.022 {
			t.Errorf("%s = %v, want %v within 2.2 %%", name, got[name], want)
		}
	}
	if got["count"] != int64(100) || got["stage"] != "generate" || got["model"] != "gpt" {
		t.Errorf("row = %v", got)
	}
	got = row(tables.LatencyTable, dims, &tables.Latency{}, nil, tables.Span{})
	want := map[string]any{"tenant": "acme", "app": "chat", "stage": "generate", "model": "gpt",
		"count": int64(0), "sum_seconds": 0.0, "avg_seconds": nil, "p50_seconds": nil, "p90_seconds": nil,
		"p95_seconds": nil, "p99_seconds": nil, "max_seconds": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row of nothing (-want +got):\n%s", diff)
	}
}

func TestUsageValues(t *testing.T) {
	var m tables.Usage
	m.Observe(812, 164)
	m.Observe(3, 0)
	want := map[string]any{"tenant": "acme", "app": "chat", "model": "gpt", "requests": int64(2),
		"input_tokens": int64(815), "output_tokens": int64(164)}
	if diff := cmp.Diff(want, row(tables.UsageTable, []string{"acme", "chat", "gpt"}, &m, nil, tables.Span{})); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	m.Observe(math.MaxInt64, 1)
	if m.InputTokens != math.MaxInt64 || m.OutputTokens != 165 {
		t.Errorf("%+v, want the greatest number of input tokens", m)
	}
}

func TestBehaviourValues(t *testing.T) {
	var m tables.Behaviour
	for _, of := range [][2]uint64{{7, 1}, {7, 2}, {8, 0}, {0, 2}, {0, 0}} {
		m.Observe(of[0], of[1])
	}
	want := map[string]any{"tenant": "acme", "app": "chat", "event_type": "answer_liked",
		"count": int64(5), "users": int64(2), "sessions": int64(2)}
	if diff := cmp.Diff(want, row(tables.BehaviourTable, []string{"acme", "chat", "answer_liked"}, &m, nil, tables.Span{})); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	var counted tables.Behaviour
	if err := counted.DecodeCount(m.Append(nil)); err != nil || counted.Count != 5 || !counted.Users.IsZero() {
		t.Errorf("count alone is %+v, %v", counted, err)
	}
}

func TestErrorsValues(t *testing.T) {
	dims := []string{"acme", "chat", "retrieve", "f00d"}
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	newest := tables.Sample{Time: 2000, Duration: 5, TraceID: "n", Topic: "t", Partition: 1, Offset: 9}
	slowest := tables.Sample{Time: 1500, Duration: 1.5e9, TraceID: "s"}
	var m, ever tables.Errors
	m.Observe(newest, "timeout", "took <n> ms", 1)
	m.Observe(slowest, "timeout", "took <n> ms", 2)
	ever.Observe(tables.Sample{Time: 500}, "timeout", "took <n> ms", 3)
	ever.Merge(&m)

	want := map[string]any{"tenant": "acme", "app": "chat", "stage": "retrieve", "fingerprint": "f00d",
		"error_type": "timeout", "template": "took <n> ms", "count": int64(2), "first_seen": at(500),
		"last_seen": at(2000), "sessions": int64(2), "state": "ongoing", "samples": []tables.Sample{newest, slowest}}
	got := row(tables.ErrorsTable, dims, &m, &ever, tables.Span{From: 1000, To: 3000})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}

	for _, tt := range []struct {
		name string
		span tables.Span
		want string
	}{
		{"seen first before", tables.Span{From: 501, To: 3000}, "ongoing"},
		{"seen first at its start", tables.Span{From: 500, To: 3000}, "new"},
		{"seen first within", tables.Span{From: 0, To: 3000}, "new"},
		{"its end is exclusive", tables.Span{From: 0, To: 500}, "ongoing"},
	} {
		if got := row(tables.ErrorsTable, dims, &m, &ever, tt.span); got["state"] != tt.want {
			t.Errorf("%s: state = %v, want %s", tt.name, got["state"], tt.want)
		}
	}
	if got := row(tables.ErrorsTable, dims, &m, nil, tables.Span{From: 1000, To: 3000}); got["state"] != "new" || got["first_seen"] != at(1500) {
		t.Errorf("with nothing before: state %v, first seen %v, want new and %v", got["state"], got["first_seen"], at(1500))
	}

	overflow, err := tables.ErrorsTable.DimsOf(tables.OverflowKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tenant", "fingerprint", "error_type", "template"} {
		if got := row(tables.ErrorsTable, overflow, &m, &ever, tables.Span{}); got[name] != "_overflow" {
			t.Errorf("%s of the overflow row = %v", name, got[name])
		}
	}
	got = row(tables.ErrorsTable, dims, &tables.Errors{}, &ever, tables.Span{})
	if got["count"] != int64(0) || got["first_seen"] != nil || got["last_seen"] != nil {
		t.Errorf("row of nothing = %v", got)
	}
}

func TestErrorSamplesAreNotRepeated(t *testing.T) {
	var m tables.Errors
	m.Observe(tables.Sample{Time: 1, Duration: 1}, "", "", 0)
	got := row(tables.ErrorsTable, make([]string, 4), &m, nil, tables.Span{})
	if samples := got["samples"].([]tables.Sample); len(samples) != 1 {
		t.Errorf("samples of one error = %+v", samples)
	}
}

func TestSampleJSON(t *testing.T) {
	got, err := json.Marshal([]tables.Sample{{Time: 1_700_000_000_123, Duration: 1.5e9, TraceID: "a", Topic: "t", Partition: 2, Offset: 3}})
	want := `[{"time":"2023-11-14T22:13:20.123Z","duration_seconds":1.5,"trace_id":"a","topic":"t","partition":2,"offset":3}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestRecordsValues(t *testing.T) {
	got := tables.RecordsTable.Values([]string{"rag-traces", "late", "grace"}, &tables.Records{Count: 4}, nil, tables.Span{})
	if diff := cmp.Diff([]any{"rag-traces", "late", "grace", int64(4)}, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

package app

import (
	"testing"
	"time"

	"ragstreams/tables"
	"ragstreams/traces"
	"ragstreams/views"
	"ragstreams/window"
)

// viewOf is a view of a table of two partitions with one series, in the second.
func viewOf[M any, P tables.Measure[M]](t *testing.T, m M) *views.View[M, P] {
	t.Helper()
	v := views.New[M, P](views.Options{Panes: window.Panes{Size: 10_000, Grace: 60_000}, Partitions: 2, Assemblers: 1})
	var row tables.Row[M, P]
	row.Add(0, &m)
	if err := v.Update(1, 0, string(tables.AppendKey(nil, "x")), row.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return v
}

// Where an error was counted is known by its place; a latency only tells when it was.
func TestTraceHint(t *testing.T) {
	sample := func(trace string, offset int64) tables.Sample {
		return tables.Sample{TraceID: trace, Topic: "rag-traces", Partition: 3, Offset: offset}
	}
	r := &readers{
		errors: viewOf[tables.Errors, *tables.Errors](t, tables.Errors{
			Count: 2, Newest: sample("newest", 7), Slowest: sample("both", 5),
		}),
		latency: viewOf[tables.Latency, *tables.Latency](t, tables.Latency{
			Newest: tables.Exemplar{TraceID: "both", Time: 1000}, Slowest: tables.Exemplar{TraceID: "slowest", Time: 2000},
		}),
	}
	for id, want := range map[string]struct {
		at     traces.Place
		around time.Time
	}{
		"newest":  {at: traces.Place{Topic: "rag-traces", Partition: 3, Offset: 7}},
		"both":    {at: traces.Place{Topic: "rag-traces", Partition: 3, Offset: 5}},
		"slowest": {around: time.UnixMilli(2000)},
		"nobody":  {},
	} {
		var at traces.Place
		place, around := r.traceHint(id)
		if place != nil {
			at = *place
		}
		if at != want.at || !around.Equal(want.around) {
			t.Errorf("of %s it knows %s and %s, want %s and %s", id, at, around, want.at, want.around)
		}
	}
}

package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts/rules"
	"ragstreams/grafana"
	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

// BenchmarkEvaluateRules evaluates 1,000 rules over 5,000 series: every rule watches
// one of 500 tenants with ten series of traffic or latency, six minutes of panes each. The
// metric core-% is what one evaluation a second takes of a core.
func BenchmarkEvaluateRules(b *testing.B) {
	for _, kind := range []string{"traffic", "latency"} {
		b.Run(kind, func(b *testing.B) { benchmarkRules(b, kind) })
	}
}

// BenchmarkEvaluateShipped evaluates the shipped rules over 20 tenants with 35 series each
// and two hours of panes. The metric ms-each is what one evaluation of all of them takes;
// those of a group with an interval are evaluated as often as that.
func BenchmarkEvaluateShipped(b *testing.B) {
	const panes = 720
	store := benchmarkTables(b, 20, 12, panes)
	set, err := rules.Parse(map[string][]byte{"shipped.yaml": grafana.Rules})
	if err != nil {
		b.Fatal(err)
	}
	now := benchmarkStart.Add(panes * benchmarkPane)
	b.ReportAllocs()
	for b.Loop() {
		_, faults, err := rules.NewEvaluator().Evaluate(b.Context(), set, rules.Moment{At: now, Now: now, Series: store.Snapshot(now)})
		if err != nil || len(faults) > 0 {
			b.Fatal(err, faults)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms-each")
}

const benchmarkPane = 10 * time.Second

var benchmarkStart = time.UnixMilli(1_764_000_000_000)

// benchmarkTables returns tables of some tenants with so many series each, in each table,
// and so many panes in each of them.
func benchmarkTables(b *testing.B, tenants, each, panes int) *series.Store {
	options := views.Options{Panes: window.Panes{Size: benchmarkPane.Milliseconds(), Grace: 60_000}, Partitions: 1, Assemblers: 1}
	traffic, latency, failed := views.New[tables.Traffic](options), views.New[tables.Latency](options), views.New[tables.Errors](options)
	offset := int64(0)
	for tenant := range tenants {
		for n := range each {
			var row tables.Row[tables.Traffic, *tables.Traffic]
			var slow tables.Row[tables.Latency, *tables.Latency]
			var wrong tables.Row[tables.Errors, *tables.Errors]
			for p := range panes {
				at := benchmarkStart.Add(time.Duration(p) * benchmarkPane).UnixMilli()
				row.Add(at, &tables.Traffic{Count: 100, Errors: int64(n)})
				wrong.Add(at, &tables.Errors{Count: 3, ErrorType: "Timeout"})
				var m tables.Latency
				for i := range int64(20) {
					m.Observe((i+1)*int64(n+1)*1e7, "", at)
				}
				slow.Add(at, &m)
			}
			offset++
			name, kind := fmt.Sprint("tenant-", tenant), fmt.Sprint("kind-", n)
			err := errors.Join(
				traffic.Update(0, offset, string(tables.AppendKey(nil, name, "chat", kind)), row.Append(nil)),
				latency.Update(0, offset, string(tables.AppendKey(nil, name, "chat", kind, "m")), slow.Append(nil)),
				failed.Update(0, offset, string(tables.AppendKey(nil, name, "chat", "generate", kind)), wrong.Append(nil)),
			)
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	return series.New(series.Traffic(traffic), series.Latency(latency), series.Errors(failed))
}

func benchmarkRules(b *testing.B, kind string) {
	const tenants, panes = 500, 36
	store := benchmarkTables(b, tenants, 10, panes)
	var file strings.Builder
	file.WriteString("groups:\n- name: g\n  rules:\n")
	for i := range 1000 {
		tenant := fmt.Sprint("tenant-", i%tenants)
		expr := fmt.Sprintf(`sum by (tenant, app) (rate(rag_events_total{tenant="%[1]s",status="error"}[5m])) / sum by (tenant, app) (rate(rag_events_total{tenant="%[1]s"}[5m])) > 0.5`, tenant)
		if kind == "latency" {
			expr = fmt.Sprintf(`histogram_quantile(0.95, sum by (tenant, app, stage) (rate(rag_stage_duration_seconds{tenant="%s"}[5m]))) > 10`, tenant)
		}
		fmt.Fprintf(&file, "  - {alert: A%d, expr: '%s'}\n", i, expr)
	}
	set, err := rules.Parse(map[string][]byte{"bench.yaml": []byte(file.String())})
	if err != nil {
		b.Fatal(err)
	}
	evaluator := rules.NewEvaluator()
	now := benchmarkStart.Add(panes * benchmarkPane)
	b.ReportAllocs()
	for b.Loop() {
		_, faults, err := evaluator.Evaluate(b.Context(), set, rules.Moment{At: now, Now: now, Series: store.Snapshot(now)})
		if err != nil || len(faults) > 0 {
			b.Fatal(err, faults)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*100, "core-%")
}

package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts/rules"
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

func benchmarkRules(b *testing.B, kind string) {
	const tenants, each, panes, pane = 500, 10, 36, int64(10_000)
	start := time.UnixMilli(1_764_000_000_000)
	options := views.Options{Panes: window.Panes{Size: pane, Grace: 60_000}, Partitions: 1, Assemblers: 1}
	traffic, latency := views.New[tables.Traffic](options), views.New[tables.Latency](options)
	offset := int64(0)
	for tenant := range tenants {
		for n := range each {
			var row tables.Row[tables.Traffic, *tables.Traffic]
			var slow tables.Row[tables.Latency, *tables.Latency]
			for p := range int64(panes) {
				at := start.UnixMilli() + p*pane
				row.Add(at, &tables.Traffic{Count: 100, Errors: int64(n)})
				var m tables.Latency
				for i := range int64(20) {
					m.Observe((i+1)*int64(n+1)*1e7, "", at)
				}
				slow.Add(at, &m)
			}
			offset++
			name := fmt.Sprint("tenant-", tenant)
			key := string(tables.AppendKey(nil, name, "chat", fmt.Sprint("type-", n)))
			if err := traffic.Update(0, offset, key, row.Append(nil)); err != nil {
				b.Fatal(err)
			}
			key = string(tables.AppendKey(nil, name, "chat", fmt.Sprint("stage-", n), "m"))
			if err := latency.Update(0, offset, key, slow.Append(nil)); err != nil {
				b.Fatal(err)
			}
		}
	}
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
	store := series.New(series.Traffic(traffic), series.Latency(latency))
	evaluator := rules.NewEvaluator()
	now := start.Add(panes * time.Duration(pane) * time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		_, faults, err := evaluator.Evaluate(b.Context(), set, rules.Moment{At: now, Now: now, Series: store.Snapshot(now)})
		if err != nil || len(faults) > 0 {
			b.Fatal(err, faults)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*100, "core-%")
}

// Package series shows the tables as a Prometheus would hold them that had scraped
// every series at the end of every pane: the metrics, labels and values of /metrics,
// for PromQL.
//
//	views ─▶ Store ─ Snapshot ─▶ storage.Queryable ─▶ promql.Engine
//
// A series has a sample of 0 at its birth, where the pane begins in which it first
// counted anything, then its running total at the end of every pane, and one at the
// time of the snapshot, in which the pane that is still open counts as far as it has
// come. Nothing is scraped and nothing kept: samples are made of the views when they
// are asked for. So there is no scrape to miss, no counter is ever reset, and what an
// expression says of a time depends on the tables alone.
//
// Of what a view has folded into hours the total is known at the end of each hour
// only. It has a sample every four minutes all the same, so that an instant selector
// finds one.
package series

import (
	"ragstreams/tables"
	"ragstreams/views"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Store is what snapshots are taken of. It is safe for concurrent use.
type Store struct{ sources []Source }

// Source is a table, as metrics.
type Source interface {
	names(visit func(name string))
	snapshot() (snapshotOf, error)
}

// snapshotOf is a Source at one moment.
type snapshotOf interface {
	family(name string) *family
	iterator(m member, b bounds, reuse chunkenc.Iterator) chunkenc.Iterator
}

// New returns a Store of some tables.
func New(sources ...Source) *Store { return &Store{sources} }

// Traffic returns the metrics of the table traffic.
func Traffic(v *views.View[tables.Traffic, *tables.Traffic]) Source {
	total := func(m *tables.Traffic) int64 { return m.Count }
	failed := func(m *tables.Traffic) int64 { return m.Errors }
	ok := func(m *tables.Traffic) int64 { return m.Count - m.Errors }
	return &table[tables.Traffic, *tables.Traffic]{
		view: v, table: &tables.TrafficTable,
		decode: func(m *tables.Traffic, body []byte) error { return tables.DecodeBody(body, m) },
		metrics: []metric[tables.Traffic]{
			{name: tables.MetricEvents, extra: labels.Label{Name: "status", Value: "ok"}, born: total, count: ok, unit: 1},
			{name: tables.MetricEvents, extra: labels.Label{Name: "status", Value: "error"}, born: total, count: failed, unit: 1},
		},
	}
}

// Latency returns the metrics of the table latency.
func Latency(v *views.View[tables.Latency, *tables.Latency]) Source {
	t := &table[tables.Latency, *tables.Latency]{
		view: v, table: &tables.LatencyTable, decode: (*tables.Latency).DecodeHistograms,
	}
	t.addHistogram(tables.MetricDuration, func(m *tables.Latency) *tables.Histogram { return &m.Duration })
	t.addHistogram(tables.MetricTTFT, func(m *tables.Latency) *tables.Histogram { return &m.TTFT })
	return t
}

// Usage returns the metrics of the table usage.
func Usage(v *views.View[tables.Usage, *tables.Usage]) Source {
	requests := func(m *tables.Usage) int64 { return m.Requests }
	input := func(m *tables.Usage) int64 { return m.InputTokens }
	output := func(m *tables.Usage) int64 { return m.OutputTokens }
	return &table[tables.Usage, *tables.Usage]{
		view: v, table: &tables.UsageTable,
		decode: func(m *tables.Usage, body []byte) error { return tables.DecodeBody(body, m) },
		metrics: []metric[tables.Usage]{
			{name: tables.MetricRequests, born: requests, count: requests, unit: 1},
			{name: tables.MetricTokens, extra: labels.Label{Name: "type", Value: tables.TokensInput}, born: requests, count: input, unit: 1},
			{name: tables.MetricTokens, extra: labels.Label{Name: "type", Value: tables.TokensOutput}, born: requests, count: output, unit: 1},
		},
	}
}

// Behaviour returns the metric of the table behaviour that is a counter.
func Behaviour(v *views.View[tables.Behaviour, *tables.Behaviour]) Source {
	count := func(m *tables.Behaviour) int64 { return m.Count }
	return &table[tables.Behaviour, *tables.Behaviour]{
		view: v, table: &tables.BehaviourTable, decode: (*tables.Behaviour).DecodeCount,
		metrics: []metric[tables.Behaviour]{{name: tables.MetricBehaviour, born: count, count: count, unit: 1}},
	}
}

// Errors returns the metrics of the table errors.
func Errors(v *views.View[tables.Errors, *tables.Errors]) Source {
	count := func(m *tables.Errors) int64 { return m.Count }
	return &table[tables.Errors, *tables.Errors]{
		view: v, table: &tables.ErrorsTable, decode: (*tables.Errors).DecodeCount,
		metrics: []metric[tables.Errors]{{name: tables.MetricErrors, born: count, count: count, unit: 1}},
		more: func(dims []string, m *tables.Errors) labels.Label {
			if dims[0] == tables.OverflowLabel {
				return labels.Label{Name: "error_type", Value: tables.OverflowLabel}
			}
			return labels.Label{Name: "error_type", Value: m.ErrorType}
		},
	}
}

// addHistogram adds a histogram, native and classic, as /metrics shows it.
func (t *table[M, P]) addHistogram(name string, of func(*M) *tables.Histogram) {
	born := func(m *M) int64 { return of(m).Count() }
	t.metrics = append(
		t.metrics,
		metric[M]{name: name, born: born, histogram: of},
		metric[M]{name: name + "_count", born: born, count: born, unit: 1},
		metric[M]{name: name + "_sum", born: born, count: func(m *M) int64 { return of(m).Sum() }, unit: 1e-9},
		metric[M]{name: name + "_bucket", extra: labels.Label{Name: labels.BucketLabel, Value: "+Inf"}, born: born, count: born, unit: 1},
	)
	for _, bound := range tables.ClassicBounds {
		le := labels.FormatOpenMetricsFloat(bound)
		t.metrics = append(t.metrics, metric[M]{
			name: name + "_bucket", extra: labels.Label{Name: labels.BucketLabel, Value: le},
			born: born, count: func(m *M) int64 { return of(m).CumulativeLE(bound) }, unit: 1,
		})
	}
}

package series_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/metrics"
	"ragstreams/series"
	"ragstreams/tables"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// values are the values of series by name and labels; those of a native histogram are
// its sum, count and buckets.
type values map[string]string

func (v values) set(name string, of map[string]string, value string) {
	maps.DeleteFunc(of, func(_, value string) bool { return value == "" })
	v[name+labels.FromMap(of).String()] = value
}

// exported returns what /metrics shows.
func exported(t *testing.T, collectors ...prometheus.Collector) values {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collectors...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := values{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "rag_") || family.GetName() == metrics.QPS {
			continue
		}
		for _, m := range family.Metric {
			of := func(more ...string) map[string]string {
				l := map[string]string{}
				for _, pair := range m.Label {
					l[pair.GetName()] = pair.GetValue()
				}
				for i := 0; i < len(more); i += 2 {
					l[more[i]] = more[i+1]
				}
				return l
			}
			if family.GetType() == dto.MetricType_COUNTER {
				all.set(family.GetName(), of(), fmt.Sprint(m.Counter.GetValue()))
				continue
			}
			h := m.Histogram
			all.set(family.GetName()+"_count", of(), fmt.Sprint(float64(h.GetSampleCount())))
			all.set(family.GetName()+"_sum", of(), fmt.Sprintf("%.9f", h.GetSampleSum()))
			for _, b := range h.Bucket {
				le := labels.FormatOpenMetricsFloat(b.GetUpperBound())
				all.set(family.GetName()+"_bucket", of("le", le), fmt.Sprint(float64(b.GetCumulativeCount())))
			}
			all.set(family.GetName()+"_bucket", of("le", "+Inf"), fmt.Sprint(float64(h.GetSampleCount())))
			all.set(family.GetName(), of(), native(h))
		}
	}
	return all
}

func native(h *dto.Histogram) string {
	text := fmt.Sprintf("%v,%.9f,%v", float64(h.GetSampleCount()), h.GetSampleSum(), float64(h.GetZeroCount()))
	index, n, count := int32(0), 0, int64(0)
	for _, span := range h.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			if count += h.PositiveDelta[n]; count != 0 {
				text += fmt.Sprintf(",%d=%v", index, float64(count))
			}
			index++
			n++
		}
	}
	return text
}

// queried returns the newest sample of every series.
func queried(t *testing.T, s *series.Snapshot, now time.Time) values {
	t.Helper()
	q, err := s.Querier(now.UnixMilli(), now.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	all := values{}
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "rag_.+"))
	var it chunkenc.Iterator
	for set.Next() {
		l := set.At().Labels()
		name := l.Get(model.MetricNameLabel)
		of := l.Map()
		delete(of, model.MetricNameLabel)
		it = set.At().Iterator(it)
		switch it.Next() {
		case chunkenc.ValFloat:
			_, v := it.At()
			text := fmt.Sprint(v)
			if strings.HasSuffix(name, "_sum") {
				text = fmt.Sprintf("%.9f", v)
			}
			all.set(name, of, text)
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			all.set(name, of, show(h))
		default:
			t.Errorf("%s has no sample now", l)
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// What rules are evaluated over is what Prometheus scrapes: the same names, labels and
// values.
func TestSeriesAreThoseOfMetrics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	counted, slow, failed := newRig[traffic, *traffic](t), newRig[tables.Latency, *tables.Latency](t), newRig[tables.Errors, *tables.Errors](t)
	used, acted := newRig[tables.Usage, *tables.Usage](t), newRig[tables.Behaviour, *tables.Behaviour](t)
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for range 3000 {
		at := epoch + r.Int64N(3*hour)
		p := r.Int32N(2)
		tenant, app, stage := pick("acme", "glo\"bex", "", tables.OverflowLabel)+pick("", "-2"), pick("chat", ""), pick("generate", "retrieve")
		of := func(dims ...string) string { // of one partition only, as in life
			if r.IntN(40) == 0 {
				return tables.OverflowKey
			}
			return key(append([]string{tenant, fmt.Sprint(app, p)}, dims...)...)
		}
		counted.count(p, of("answer"), at, traffic{Count: 3, Errors: r.Int64N(3)})
		m := tables.Latency{}
		m.Observe(r.Int64N(1e11), "t", at)
		if r.IntN(2) == 0 {
			m.TTFT.Observe(r.Int64N(1e9))
		}
		slow.count(p, of(stage, "gpt"), at, m)
		used.count(p, of("gpt"), at, tables.Usage{Requests: 1, InputTokens: r.Int64N(3), OutputTokens: r.Int64N(1000)})
		did := tables.Behaviour{}
		did.Observe(r.Uint64N(9), r.Uint64N(9))
		acted.count(p, of("like"), at, did)
		kind := pick("Timeout", "Quota")
		failed.count(p, of(stage, kind), at, tables.Errors{Count: 1, ErrorType: kind})
	}
	counted.show(epoch + 2*hour)
	slow.show(epoch + 2*hour)
	failed.show(epoch + 2*hour)
	used.show(epoch + 2*hour)
	acted.show(epoch + 2*hour)
	now := time.UnixMilli(epoch + 3*hour)
	got := queried(t, series.New(series.Traffic(counted.view), series.Latency(slow.view), series.Usage(used.view), series.Behaviour(acted.view), series.Errors(failed.view)).Snapshot(now), now)
	want := exported(t,
		metrics.Traffic(tableOf(counted, &tables.TrafficTable, now), func() map[string]float64 { return nil }),
		metrics.Latency(tableOf(slow, &tables.LatencyTable, now)), metrics.Usage(tableOf(used, &tables.UsageTable, now)),
		metrics.Behaviour(tableOf(acted, &tables.BehaviourTable, now), func() map[string]metrics.Active { return nil }), metrics.Errors(tableOf(failed, &tables.ErrorsTable, now)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-metrics +series):\n%s", diff)
	}
	if names := slices.Sorted(maps.Keys(want)); len(names) < 100 {
		t.Errorf("%d series only: %v", len(names), names)
	}
}

func tableOf[M any, P tables.Measure[M]](r *rig[M, P], table *tables.Table[M], now time.Time) metrics.Table[M] {
	return metrics.Table[M]{
		View: r.view, Table: table, Now: func() time.Time { return now }, Recovered: func() float64 { return 1 },
		Owned: func() map[int32]int64 { return map[int32]int64{0: 0, 1: 0} },
	}
}

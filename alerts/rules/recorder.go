package rules

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// recorder keeps what recording rules gave, in memory: as long as the longest range of
// any rule reaches back, and a sample a second at most. It is a storage.Queryable. Only
// one goroutine may use it at a time.
type recorder struct {
	span   int64                          // milliseconds
	byName map[string]map[uint64]*written // by the hash of the labels
	given  map[*rule]map[uint64]bool      // what a rule gave last time
	since  map[string]int64               // from when on a name was recorded without a hole, in Unix milliseconds
	newest map[string]int64               // when it was last
}

// written is one recorded series.
type written struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// density is the least distance between two samples, but for the newest.
const density = int64(time.Second / time.Millisecond)

func newRecorder() *recorder {
	return &recorder{byName: map[string]map[uint64]*written{}, given: map[*rule]map[uint64]bool{}, since: map[string]int64{}, newest: map[string]int64{}}
}

// keep sets how far back samples are kept, and forgets what no rule of a set gives.
func (r *recorder) keep(s *Set) {
	r.span = (s.reach + lookback).Milliseconds()
	maps.DeleteFunc(r.byName, func(name string, _ map[uint64]*written) bool { return !s.recorded[name] })
	maps.DeleteFunc(r.since, func(name string, _ int64) bool { return !s.recorded[name] })
	maps.DeleteFunc(r.newest, func(name string, _ int64) bool { return !s.recorded[name] })
	maps.DeleteFunc(r.given, func(by *rule, _ map[uint64]bool) bool { return !s.has(by) })
}

// complete reports whether all that a rule asks for was recorded for as long as it looks
// back. Until then it is not known whether its condition has ceased to hold: who records
// begins with nothing.
func (r *recorder) complete(s *Set, by *rule, at int64) bool {
	for name := range by.asks {
		if s.recorded[name] {
			if since, known := r.since[name]; !known || since >= at-by.reach.Milliseconds() {
				return false
			}
		}
	}
	return true
}

// hole returns how far apart two samples are between which something is missing: somebody
// else evaluated, or nobody.
func (r *rule) hole() time.Duration {
	if r.group == nil {
		return time.Minute
	}
	return max(time.Minute, 2*r.group.interval)
}

// add takes in all that a rule gave at a time, in Unix milliseconds.
func (r *recorder) add(by *rule, t int64, v promql.Vector) error {
	name := by.record
	if newest, known := r.newest[name]; known && t < newest { // of the past: nothing is put between what there is
		return nil
	}
	if newest, known := r.newest[name]; !known || t-newest > by.hole().Milliseconds() {
		r.since[name] = t
	}
	r.newest[name] = t
	known := r.byName[name]
	if known == nil {
		known = map[uint64]*written{}
		r.byName[name] = known
	}
	now := make(map[uint64]bool, len(v))
	for _, s := range v {
		hash := s.Metric.Hash()
		if now[hash] {
			return errTwice
		}
		now[hash] = true
		w := known[hash]
		if w == nil {
			w = &written{labels: s.Metric}
			known[hash] = w
		}
		w.add(sample{t, s.F, s.H})
	}
	for hash := range r.given[by] { // others may record under the same name
		if w := known[hash]; w != nil && !now[hash] {
			w.end(t)
		}
	}
	r.given[by] = now
	for hash, w := range known {
		if w.expire(t - r.span); len(w.samples) == 0 {
			delete(known, hash)
		}
	}
	return nil
}

func (w *written) add(s sample) {
	n := len(w.samples)
	switch {
	case n > 0 && s.t <= w.samples[n-1].T(): // the clock went back
		return
	case n > 1 && s.t-w.samples[n-2].T() < density:
		w.samples = w.samples[:n-1]
	}
	w.samples = append(w.samples, s)
}

// end says that the series is no more.
func (w *written) end(t int64) {
	if n := len(w.samples); n > 0 && !value.IsStaleNaN(w.samples[n-1].F()) {
		w.add(sample{t: t, f: math.Float64frombits(value.StaleNaN)})
	}
}

func (w *written) expire(before int64) {
	n := 0
	for n < len(w.samples) && w.samples[n].T() < before {
		n++
	}
	w.samples = slices.Delete(w.samples, 0, n)
}

// sample implements chunks.Sample.
type sample struct {
	t int64
	f float64
	h *histogram.FloatHistogram
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.f }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return s.h }
func (s sample) Copy() chunks.Sample           { return s }

func (s sample) Type() chunkenc.ValueType {
	if s.h != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Querier implements storage.Queryable.
func (r *recorder) Querier(mint, maxt int64) (storage.Querier, error) {
	return recordedQuerier{r, mint, maxt}, nil
}

// both is the tables and what was recorded.
type both struct {
	tables   storage.Queryable
	recorded *recorder
}

// Querier implements storage.Queryable.
func (b both) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := b.tables.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	if len(b.recorded.byName) == 0 {
		return q, nil
	}
	return storage.NewMergeQuerier([]storage.Querier{q, recordedQuerier{b.recorded, mint, maxt}}, nil, storage.ChainedSeriesMerge), nil
}

// recordedQuerier implements storage.Querier.
type recordedQuerier struct {
	*recorder
	mint, maxt int64
}

func (q recordedQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for name, all := range q.byName {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && !m.Matches(name) }) {
			continue
		}
		for _, w := range all {
			if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(w.labels.Get(m.Name)) }) {
				continue
			}
			var in []chunks.Sample
			for _, s := range w.samples {
				if s.T() >= q.mint && s.T() <= q.maxt {
					in = append(in, s)
				}
			}
			found = append(found, storage.NewListSeries(w.labels, in))
		}
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &seriesSet{found: found, at: -1}
}

func (q recordedQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil // PromQL asks for none
}

func (q recordedQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (q recordedQuerier) Close() error { return nil }

// seriesSet is a storage.SeriesSet.
type seriesSet struct {
	found []storage.Series
	at    int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.found) }
func (s *seriesSet) At() storage.Series                { return s.found[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

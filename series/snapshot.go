package series

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Snapshot is a Store as it was at one moment; each of its tables is as it was when
// it was first asked for. It is a storage.Queryable, whatever it is asked between
// having the same answer, and safe for concurrent use.
type Snapshot struct {
	now    int64
	tables map[string]func() (snapshotOf, error) // by the name of a metric
}

// Snapshot returns the Store as it is. No sample is later than now, which need not be
// the time on the clock.
func (s *Store) Snapshot(now time.Time) *Snapshot {
	all := &Snapshot{now: now.UnixMilli(), tables: map[string]func() (snapshotOf, error){}}
	for _, source := range s.sources {
		take := sync.OnceValues(source.snapshot)
		source.names(func(name string) { all.tables[name] = take })
	}
	return all
}

// Querier implements storage.Queryable. The times are Unix milliseconds.
func (s *Snapshot) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{Snapshot: s, mint: mint, maxt: maxt}, nil
}

type querier struct {
	*Snapshot
	mint, maxt int64
	lent       []chunkenc.Iterator // until Close
}

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	b := bounds{q.mint, q.maxt, q.now}
	if hints != nil {
		b.from, b.to = max(b.from, hints.Start), min(b.to, hints.End)
	}
	var found []storage.Series
	err := q.visit(matchers, func(t snapshotOf, m member) {
		found = append(found, &storage.SeriesEntry{
			Lset: m.labels,
			SampleIteratorFn: func(reuse chunkenc.Iterator) chunkenc.Iterator {
				it := t.iterator(m, b, reuse)
				if it != reuse {
					q.lent = append(q.lent, it)
				}
				return it
			},
		})
	})
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	}
	return &set{found: found, at: -1}
}

// visit calls found with every series that all matchers match, in no particular order.
func (s *Snapshot) visit(matchers []*labels.Matcher, found func(t snapshotOf, m member)) error {
	for name := range s.tables {
		if !matches(matchers, model.MetricNameLabel, name) {
			continue
		}
		t, err := s.tables[name]()
		if err != nil {
			return fmt.Errorf("series of %s: %w", name, err)
		}
		t.family(name).visit(matchers, func(m member) { found(t, m) })
	}
	return nil
}

func matches(matchers []*labels.Matcher, name, value string) bool {
	for _, m := range matchers {
		if m.Name == name && !m.Matches(value) {
			return false
		}
	}
	return true
}

func (f *family) visit(matchers []*labels.Matcher, found func(m member)) {
	check := func(m member) {
		for _, x := range matchers {
			if x.Name != model.MetricNameLabel && !x.Matches(m.labels.Get(x.Name)) {
				return
			}
		}
		found(m)
	}
	var least []int // of those that have one of the labels
	chosen := false
	for _, x := range matchers {
		if x.Type == labels.MatchEqual && x.Name != model.MetricNameLabel && x.Value != "" {
			if having := f.having[labels.Label{Name: x.Name, Value: x.Value}]; !chosen || len(having) < len(least) {
				least, chosen = having, true
			}
		}
	}
	if !chosen || f.having == nil { // without an index
		for _, m := range f.members {
			check(m)
		}
		return
	}
	for _, i := range least {
		check(f.members[i])
	}
}

// LabelValues implements storage.LabelQuerier.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := map[string]bool{}
	err := q.visit(matchers, func(_ snapshotOf, m member) {
		if v := m.labels.Get(name); v != "" {
			values[v] = true
		}
	})
	return slices.Sorted(maps.Keys(values)), nil, err
}

// LabelNames implements storage.LabelQuerier.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names := map[string]bool{}
	err := q.visit(matchers, func(_ snapshotOf, m member) {
		m.labels.Range(func(l labels.Label) { names[l.Name] = true })
	})
	return slices.Sorted(maps.Keys(names)), nil, err
}

// Close implements storage.LabelQuerier. Nobody uses an iterator any more.
func (q *querier) Close() error {
	for _, it := range q.lent {
		switch it.(type) {
		case *floats:
			unusedFloats.Put(it)
		case *histograms:
			unusedHistograms.Put(it)
		}
	}
	q.lent = nil
	return nil
}

// set is a storage.SeriesSet.
type set struct {
	found []storage.Series
	at    int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.found) }
func (s *set) At() storage.Series                { return s.found[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

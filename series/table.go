package series

import (
	"slices"
	"strings"
	"sync"

	"ragstreams/tables"
	"ragstreams/views"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// table is the Source of one table.
type table[M any, P tables.Measure[M]] struct {
	view    *views.View[M, P]
	table   *tables.Table[M]
	metrics []metric[M]
	more    func(dims []string, ever *M) labels.Label // besides the dimensions, and always the same; nil: none

	mu    sync.Mutex
	index *index // of the newest snapshot
}

// metric is how a metric is read of a table: a counter or a histogram.
type metric[M any] struct {
	name      string
	extra     labels.Label   // besides the dimensions; Name is empty for none
	born      func(*M) int64 // what makes the series exist, once it is not 0
	count     func(*M) int64
	unit      float64 // of count
	histogram func(*M) *tables.Histogram
}

func (t *table[M, P]) names(visit func(name string)) {
	for i := range t.metrics {
		if i == 0 || t.metrics[i].name != t.metrics[i-1].name {
			visit(t.metrics[i].name)
		}
	}
}

func (t *table[M, P]) snapshot() (snapshotOf, error) {
	s := &taken[M, P]{table: t, rows: t.view.Snapshot()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.index == nil || !t.index.fits(s.rows) {
		x, err := s.newIndex()
		if err != nil {
			return nil, err
		}
		t.index = x
	}
	s.index = t.index
	return s, nil
}

// taken is a table as it was at one moment.
type taken[M any, P tables.Measure[M]] struct {
	*table[M, P]
	rows  *views.Snapshot[M, P]
	index *index
}

// index is how the series of a table are called. It holds for as long as the table has
// the same rows, in the same order.
type index struct {
	keys   []string
	called []called

	mu       sync.Mutex
	families map[string]*family // those that were asked for
}

// called is a set of labels and the rows that have them: one, but for the overflow
// rows, and for dimensions that look alike because they are no UTF-8.
type called struct {
	labels labels.Labels // without the name and what is extra of a metric
	rows   []int
}

// family is all series of one metric.
type family struct {
	members []member
	having  map[labels.Label][]int // members, ascending, by a label that they have
}

// member is one series.
type member struct {
	labels labels.Labels
	metric int // of the table
	rows   []int
}

// fits reports whether an index of other rows holds for these.
func (x *index) fits(rows interface {
	Len() int
	Key(int) string
}) bool {
	if rows.Len() != len(x.keys) {
		return false
	}
	for i, key := range x.keys {
		if rows.Key(i) != key {
			return false
		}
	}
	return true
}

func (s *taken[M, P]) newIndex() (*index, error) {
	x := &index{keys: make([]string, s.rows.Len()), families: map[string]*family{}}
	at := make(map[uint64]int, s.rows.Len()) // of x.called, by the hash of the labels
	for i := range x.keys {
		x.keys[i] = s.rows.Key(i)
		l, err := s.labels(i)
		if err != nil {
			return nil, err
		}
		hash := l.Hash()
		if n, there := at[hash]; there && labels.Equal(x.called[n].labels, l) {
			x.called[n].rows = append(x.called[n].rows, i)
			continue
		}
		at[hash] = len(x.called)
		x.called = append(x.called, called{l, []int{i}})
	}
	return x, nil
}

// labels returns the labels of a row. Empty ones are left out: to PromQL they are not
// there.
func (s *taken[M, P]) labels(row int) (labels.Labels, error) {
	dims, err := s.table.table.DimsOf(s.rows.Key(row))
	if err != nil {
		return labels.EmptyLabels(), err
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	set := func(name, value string) { b.Set(name, strings.ToValidUTF8(value, "\uFFFD")) }
	for i, value := range dims {
		set(s.table.table.Dims[i], value)
	}
	if s.more != nil {
		ever, err := s.rows.History(row, never, func(tables.Span, *M) {})
		if err != nil {
			return labels.EmptyLabels(), err
		}
		if ever != nil {
			l := s.more(dims, ever)
			set(l.Name, l.Value)
		}
	}
	return b.Labels(), nil
}

func (s *taken[M, P]) family(name string) *family {
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if f := x.families[name]; f != nil {
		return f
	}
	f := &family{having: map[labels.Label][]int{}}
	b := labels.NewBuilder(labels.EmptyLabels())
	for n := range s.metrics {
		m := &s.metrics[n]
		if m.name != name {
			continue
		}
		for _, c := range x.called {
			b.Reset(c.labels)
			b.Set(model.MetricNameLabel, name)
			if m.extra.Name != "" {
				b.Set(m.extra.Name, m.extra.Value)
			}
			f.members = append(f.members, member{b.Labels(), n, c.rows})
		}
	}
	for i := range f.members {
		f.members[i].labels.Range(func(l labels.Label) { f.having[l] = append(f.having[l], i) })
	}
	x.families[name] = f
	return f
}

// past is what the rows of a series counted.
type past[M any] struct {
	ever  M             // since they exist
	spans []tables.Span // that end after a time, by their ends
	sums  []*M          // in each
}

func (s *taken[M, P]) past(rows []int, from int64) (past[M], error) {
	var p past[M]
	for _, row := range rows {
		first := len(p.sums)
		ever, err := s.rows.History(row, from, func(span tables.Span, m *M) {
			p.spans, p.sums = append(p.spans, span), append(p.sums, m)
		})
		if err != nil {
			return p, err
		}
		if ever != nil {
			P(&p.ever).Merge(ever)
			continue
		}
		for _, sum := range p.sums[first:] { // its table has forgotten what came before
			P(&p.ever).Merge(sum)
		}
	}
	if len(rows) > 1 {
		p.sort()
	}
	return p, nil
}

func (p *past[M]) sort() {
	order := make([]int, len(p.spans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(p.spans[a].To - p.spans[b].To) })
	spans, sums := make([]tables.Span, len(order)), make([]*M, len(order))
	for i, n := range order {
		spans[i], sums[i] = p.spans[n], p.sums[n]
	}
	p.spans, p.sums = spans, sums
}

func (s *taken[M, P]) iterator(m member, b bounds, reuse chunkenc.Iterator) chunkenc.Iterator {
	metric := &s.metrics[m.metric]
	p, err := s.past(m.rows, b.from)
	if err != nil {
		return failed{chunkenc.NewNopIterator(), err}
	}
	before := metric.born(&p.ever)
	for _, sum := range p.sums {
		before -= metric.born(sum)
	}
	if before <= 0 { // it was born later: what came before was nothing
		for len(p.sums) > 0 && metric.born(p.sums[0]) == 0 {
			p.spans, p.sums = p.spans[1:], p.sums[1:]
		}
		if len(p.sums) == 0 {
			return chunkenc.NewNopIterator()
		}
	}
	times := b.times(p.spans, before <= 0, s.view.Pane())
	if metric.histogram == nil {
		return counter(metric, p, times, reuse)
	}
	return histogramsOf(metric, p, times, reuse)
}

package series

import (
	"cmp"
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
	decode  func(m *M, body []byte) error             // what metrics look at
	more    func(dims []string, ever *M) labels.Label // besides the dimensions, and always the same; nil: none
	spare   sync.Pool                                 // of *M

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
		var ever M
		if err := s.rows.History(row, never, func(part views.Part) error {
			var m M
			if err := tables.DecodeBody(part.Body, P(&m)); err != nil {
				return err
			}
			P(&ever).Merge(&m)
			return nil
		}); err != nil {
			return labels.EmptyLabels(), err
		}
		l := s.more(dims, &ever)
		set(l.Name, l.Value)
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

func (s *taken[M, P]) iterator(m member, b bounds, reuse chunkenc.Iterator) chunkenc.Iterator {
	metric := &s.metrics[m.metric]
	it, p := metric.iterator(reuse)
	if err := s.read(metric, p, m.rows, b.from); err != nil {
		return failed{chunkenc.NewNopIterator(), err}
	}
	unborn := p.born <= 0 // what came before was nothing
	if unborn {
		n := 0
		for n < len(p.spans) && p.spans[n].born == 0 {
			n++
		}
		p.spans = slices.Delete(p.spans, 0, n)
	}
	p.times = b.appendTimes(p.times, p.spans, unborn, s.view.Pane())
	return it
}

// iterator returns an iterator over no samples, and its past to fill.
func (m *metric[M]) iterator(reuse chunkenc.Iterator) (chunkenc.Iterator, *past) {
	if m.histogram != nil {
		it, ok := reuse.(*histograms)
		if !ok {
			it = unusedHistograms.Get().(*histograms)
		}
		it.reset()
		return it, &it.past
	}
	it, ok := reuse.(*floats)
	if !ok {
		it = unusedFloats.Get().(*floats)
	}
	it.reset()
	it.unit = m.unit
	return it, &it.past
}

// read fills p with what some rows counted, in spans that end after from.
func (s *taken[M, P]) read(metric *metric[M], p *past, rows []int, from int64) error {
	m, _ := s.spare.Get().(*M)
	if m == nil {
		m = new(M)
	}
	defer s.spare.Put(m)
	for _, row := range rows {
		if err := s.rows.History(row, from, func(part views.Part) error {
			if err := s.decode(m, part.Body); err != nil {
				return err
			}
			metric.note(p, part, m)
			return nil
		}); err != nil {
			return err
		}
	}
	if len(rows) > 1 {
		slices.SortStableFunc(p.spans, func(a, b part) int { return cmp.Compare(a.To, b.To) })
	}
	p.begin()
	return nil
}

// note adds a part to p that counted m.
func (m *metric[M]) note(p *past, of views.Part, counted *M) {
	x := part{Span: of.Span, inEver: of.InEver, born: m.born(counted), first: len(p.buckets)}
	if m.histogram == nil {
		x.count = m.count(counted)
	} else {
		h := m.histogram(counted)
		x.count, x.zero, x.sum = h.Count(), h.ZeroCount(), h.Sum()
		for i, n := range h.Buckets() {
			p.buckets = append(p.buckets, bucket{i, n})
		}
	}
	x.end = len(p.buckets)
	if of.InSpan {
		p.spans = append(p.spans, x)
	} else {
		p.before = append(p.before, x)
	}
}

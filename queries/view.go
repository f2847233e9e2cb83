package queries

import (
	"slices"

	"ragstreams/tables"
	"ragstreams/views"
)

// Of makes a view readable here, as the table t. A table without windows has
// totals only.
func Of[M any, P tables.Measure[M]](v *views.View[M, P], t *tables.Table[M], windowed bool) Table {
	return viewTable[M, P]{v, t, windowed}
}

type viewTable[M any, P tables.Measure[M]] struct {
	view     *views.View[M, P]
	table    *tables.Table[M]
	windowed bool
}

func (t viewTable[M, P]) Windowed() bool { return t.windowed }

func (t viewTable[M, P]) Definition() *tables.Definition { return &t.table.Definition }
func (t viewTable[M, P]) Pane() int64                    { return t.view.Pane() }
func (t viewTable[M, P]) Watermark() (int64, bool)       { return t.view.Watermark() }

func (t viewTable[M, P]) Recovery() (progress float64, missing string) {
	r := t.view.Recovery()
	return r.Ratio, r.Missing
}

func (t viewTable[M, P]) Rows(q Query) (Answer, error) {
	r := &rowsOf[M, P]{table: t.table, Query: q, groups: map[group]*sums[M]{}}
	ask := views.Query{Total: q.Total, Window: q.Window, From: q.From, To: q.To, Step: q.Step}
	a, err := t.view.Query(ask, r.visit)
	if err == nil {
		err = r.err
	}
	r.end()
	return Answer{Rows: r.rows, HasFrom: a.Ranged, From: a.Span.From, HasTo: a.Ranged || a.HasData, To: a.Span.To, Step: a.Step}, err
}

// rowsOf makes rows of what a view tells.
type rowsOf[M any, P tables.Measure[M]] struct {
	Query
	table  *tables.Table[M]
	rows   []Row
	groups map[group]*sums[M]
	err    error
}

// group is what series have in common that are summed up, and the step.
type group struct {
	key  string // of the dimensions in Query.By
	step int64
}

// sums are those of a group.
type sums[M any] struct {
	dims    []string // of one of its series
	m, ever M
	span    tables.Span
}

// visit takes one line of an answer.
func (r *rowsOf[M, P]) visit(key string, m, ever *M, span tables.Span, step int64) {
	dims, err := r.table.DimsOf(key)
	if err != nil {
		r.err = err
		return
	}
	for i, values := range r.Only {
		if !slices.Contains(values, dims[i]) {
			return
		}
	}
	if r.By == nil {
		r.rows = append(r.rows, Row{Start: step, Values: r.table.Values(dims, m, ever, span)})
		return
	}
	by := make([]string, len(r.By))
	for n, i := range r.By {
		by[n] = dims[i]
	}
	g := group{string(tables.AppendKey(nil, by...)), step}
	s := r.groups[g]
	if s == nil {
		s = &sums[M]{dims: dims, span: span}
		r.groups[g] = s
	}
	P(&s.m).Merge(m)
	if ever == nil { // all that is known of it
		ever = m
	}
	P(&s.ever).Merge(ever)
}

// end makes the rows of the groups.
func (r *rowsOf[M, P]) end() {
	columns := r.table.Grouped(r.By)
	for g, s := range r.groups {
		all := r.table.Values(s.dims, &s.m, &s.ever, s.span)
		values := make([]any, len(columns))
		for n, i := range columns {
			values[n] = all[i]
		}
		r.rows = append(r.rows, Row{Start: g.step, Values: values})
	}
}

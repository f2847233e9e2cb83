package queries

import (
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
	var rows []Row
	ask := views.Query{Total: q.Total, Window: q.Window, From: q.From, To: q.To, Step: q.Step}
	var bad error
	a, err := t.view.Query(ask, func(key string, m, ever *M, span tables.Span, step int64) {
		dims, err := t.table.DimsOf(key)
		if err != nil {
			bad = err
			return
		}
		rows = append(rows, Row{Start: step, Values: t.table.Values(dims, m, ever, span)})
	})
	if err == nil {
		err = bad
	}
	return Answer{Rows: rows, HasFrom: a.Ranged, From: a.Span.From, HasTo: a.Ranged || a.HasData, To: a.Span.To, Step: a.Step}, err
}

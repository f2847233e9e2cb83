package queries

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/internal/answers"
	"ragstreams/tables"
)

// defaultWindow and defaultLimit are what an answer covers when nothing is asked
// for.
const (
	defaultWindow = 5 * time.Minute
	defaultLimit  = 10_000
	maxLimit      = 1_000_000 // some hundred megabytes of JSON, which are written in memory
)

// params is a request for a table, understood.
type params struct {
	query   Query
	columns []tables.Column // of a row of the table, as the query makes it
	shown   []int           // those of columns that are asked for, in order
	sort    int             // one of columns; -1: by step and dimensions
	falling bool            // sort begins with the greatest
	limit   int
	csv     bool
	filter  map[int][]string // by one of columns that is no dimension: the values that match
}

// badParam is a parameter that cannot be used.
type badParam struct{ text, hint string }

func (e badParam) Error() string { return e.text }

// reserved are the parameters that are no columns.
var reserved = []string{"window", "from", "to", "total", "step", "by", "columns", "sort", "limit", "format"}

func parseParams(values url.Values, t Table) (params, error) {
	d := t.Definition()
	p := params{limit: defaultLimit, sort: -1, filter: map[int][]string{}}
	if err := p.rows(values, d); err != nil {
		return p, err
	}
	if err := p.filters(values, d); err != nil {
		return p, err
	}
	if err := p.time(values, t); err != nil {
		return p, err
	}
	if v := values.Get("limit"); v != "" {
		var err error
		if p.limit, err = strconv.Atoi(v); err != nil || p.limit < 1 || p.limit > maxLimit {
			return p, badParam{fmt.Sprintf("limit is %q", v), fmt.Sprintf("give a number of rows from 1 to %d; by, columns and a shorter range make an answer smaller", maxLimit)}
		}
	}
	switch v := values.Get("format"); v {
	case "", "json":
	case "csv":
		p.csv = true
	default:
		return p, badParam{fmt.Sprintf("format is %q", v), "give json or csv"}
	}
	return p, nil
}

// filters reads which rows are wanted: every parameter that is not reserved is a column.
func (p *params) filters(values url.Values, d *tables.Definition) error {
	p.query.Only = map[int][]string{}
	for name := range values {
		if slices.Contains(reserved, name) {
			if len(values[name]) > 1 {
				return badParam{fmt.Sprintf("%s is given %d times", name, len(values[name])), "give it once"}
			}
			continue
		}
		i := slices.IndexFunc(d.Columns, func(c tables.Column) bool { return c.Name == name })
		switch {
		case i < 0:
			return badParam{fmt.Sprintf("unknown parameter %q", name), fmt.Sprintf("did you mean %q?", nearest(name, d))}
		case d.Columns[i].Type != tables.TypeString:
			return badParam{fmt.Sprintf("column %q is no text and cannot be filtered by", name), "filter by " + strings.Join(d.Dims, ", ")}
		case i < len(d.Dims):
			p.query.Only[i] = values[name]
		case p.query.By != nil:
			return badParam{fmt.Sprintf("%s is no dimension, and rows are summed up by others", name), "with by, filter by " + strings.Join(d.Dims, ", ")}
		default:
			p.filter[i] = values[name]
		}
	}
	return nil
}

// time reads of which time rows tell: everything, a range, or the newest part of it; whole, or
// by steps.
func (p *params) time(values url.Values, t Table) (err error) {
	q := &p.query
	if q.Total, err = boolean(values, "total"); err != nil {
		return err
	}
	window, hasWindow, err := duration(values, "window")
	if err != nil {
		return err
	}
	step, hasStep, err := duration(values, "step")
	if err != nil {
		return err
	}
	var hasFrom, hasTo bool
	if q.From, hasFrom, err = instant(values, "from"); err != nil {
		return err
	}
	if q.To, hasTo, err = instant(values, "to"); err != nil {
		return err
	}
	if !t.Windowed() {
		if hasWindow || hasFrom || hasTo || hasStep {
			return badParam{fmt.Sprintf("table %s has no windows", t.Definition().Name), "leave window, from, to and step out: it tells everything since the beginning"}
		}
		q.Total = true
	}
	switch {
	case q.Total && (hasWindow || hasFrom || hasTo):
		return badParam{"total goes with neither window, from nor to", "total is everything since the beginning"}
	case q.Total && hasStep:
		return badParam{"step does not go with total", "give a window or a range"}
	case hasWindow && (hasFrom || hasTo):
		return badParam{"window goes with neither from nor to", "window is the newest part; from and to are any range"}
	case hasFrom != hasTo:
		return badParam{"from and to go together", "give both, such as from=2026-01-02T15:00:00Z&to=2026-01-02T16:00:00Z"}
	case hasFrom && q.To <= q.From:
		return badParam{"to is not after from", "the range from from, inclusive, to to, exclusive, is empty"}
	case window%t.Pane() != 0:
		return badParam{"window is " + values.Get("window"), fmt.Sprintf("give a multiple of the pane, %s", millis(t.Pane()))}
	case step%t.Pane() != 0:
		return badParam{"step is " + values.Get("step"), fmt.Sprintf("give a multiple of the pane, %s", millis(t.Pane()))}
	}
	q.Range, q.Step, q.Window = hasFrom, step, window
	if !hasWindow && !q.Range && !q.Total { // as many panes as cover it
		q.Window = (defaultWindow.Milliseconds() + t.Pane() - 1) / t.Pane() * t.Pane()
	}
	return nil
}

// rows reads what rows there are, and what is shown of them, in which order.
func (p *params) rows(values url.Values, d *tables.Definition) error {
	p.columns = d.Columns
	if values.Has("by") {
		p.query.By = []int{}
		p.columns = nil
		for _, name := range list(values.Get("by")) {
			i := slices.Index(d.Dims, name)
			if i < 0 || slices.Contains(p.query.By, i) {
				return badParam{fmt.Sprintf("by names %q", name), "give some of " + strings.Join(d.Dims, ", ") + ", each once, or nothing for one row"}
			}
			p.query.By = append(p.query.By, i)
		}
		for _, i := range d.Grouped(p.query.By) {
			p.columns = append(p.columns, d.Columns[i])
		}
	}
	column := func(name string) (int, error) {
		i := slices.IndexFunc(p.columns, func(c tables.Column) bool { return c.Name == name })
		if i < 0 {
			var names []string
			for _, c := range p.columns {
				names = append(names, c.Name)
			}
			return i, badParam{fmt.Sprintf("there is no column %q", name), "columns are " + strings.Join(names, ", ")}
		}
		return i, nil
	}
	for _, name := range list(values.Get("columns")) {
		i, err := column(name)
		if err != nil {
			return err
		}
		p.shown = append(p.shown, i)
	}
	if name := values.Get("sort"); name != "" {
		name, p.falling = strings.CutPrefix(name, "-")
		i, err := column(name)
		if err != nil {
			return err
		}
		if p.columns[i].Type == tables.TypeSamples {
			return badParam{"samples have no order", "sort by another column, such as -count"}
		}
		p.sort = i
	}
	return nil
}

// list reads words with commas between.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func boolean(values url.Values, name string) (bool, error) {
	v := values.Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, badParam{fmt.Sprintf("%s is %q", name, v), "give true or false"}
	}
	return b, nil
}

// duration reads a positive duration in milliseconds.
func duration(values url.Values, name string) (ms int64, given bool, err error) {
	v := values.Get(name)
	if v == "" {
		return 0, false, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < time.Millisecond {
		return 0, false, badParam{fmt.Sprintf("%s is %q", name, v), "give a duration such as 30s, 5m or 1h"}
	}
	return d.Milliseconds(), true, nil
}

// instant reads a time.
func instant(values url.Values, name string) (ms int64, given bool, err error) {
	v := values.Get(name)
	if v == "" {
		return 0, false, nil
	}
	t, err := answers.ParseTime(v)
	if err != nil {
		return 0, false, badParam{fmt.Sprintf("%s is %q", name, v), "give a time such as 2026-01-02T15:04:05Z, or Unix seconds"}
	}
	return t.UnixMilli(), true, nil
}

// nearest returns the parameter that a mistyped name is most like.
func nearest(name string, d *tables.Definition) string {
	known := slices.Clone(reserved)
	for _, c := range d.Columns {
		if c.Type == tables.TypeString {
			known = append(known, c.Name)
		}
	}
	return slices.MinFunc(known, func(a, b string) int { return unlike(name, a) - unlike(name, b) })
}

// unlike counts the letters that two words do not share at the start and the end,
// which finds most slips.
func unlike(a, b string) int {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return max(len(a), len(b)) - head - tail
}

package queries

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/internal/answers"
	"ragstreams/tables"
)

// Query selects panes of a table. Without Range and Total it is the newest Window.
type Query struct {
	Window   int64 // milliseconds
	Range    bool
	From, To int64 // Unix milliseconds; rounded outwards to whole panes
	Total    bool  // everything since the beginning
	Step     int64 // milliseconds; 0: one row a series

	// Only selects series: by dimension, the values that match.
	Only map[int][]string
	// By sums series up that agree in these dimensions; nil: each has rows of its own.
	By []int
}

// Row is one row of an answer: the values of the table's columns. Where series are summed
// up these are those that tables.Definition.Grouped tells.
type Row struct {
	Start  int64 // of the step, Unix milliseconds; only with Query.Step
	Values []any
}

// Table is one table as it is read here.
type Table interface {
	Definition() *tables.Definition
	// Pane returns the length of a pane in milliseconds.
	Pane() int64
	// Watermark returns up to when the table is complete, in Unix milliseconds.
	Watermark() (int64, bool)
	// Recovery returns how much was restored, 0 to 1, and what is missing, "" when
	// the table can be read.
	Recovery() (progress float64, missing string)
	// Windowed tells whether the table has windows, or totals only.
	Windowed() bool
	Rows(q Query) (Answer, error)
}

// Answer is what a query covered, and its rows. A total has no beginning, and a
// table without data neither beginning nor end.
type Answer struct {
	Rows           []Row
	From, To       int64 // Unix milliseconds
	HasFrom, HasTo bool
	Step           int64 // milliseconds; whole hours where panes are kept by the hour
}

type tableAPI struct{ o Options }

// windowColumn is added in front by a step.
var windowColumn = tables.Column{Name: "window_start", Type: tables.TypeTime}

// tableInfo is one table in the list of all.
type tableInfo struct {
	Table     string          `json:"table"`
	Watermark *string         `json:"watermark"`
	Lag       *float64        `json:"lag_seconds"`
	Columns   []tables.Column `json:"columns"`
}

func (a tableAPI) list(w http.ResponseWriter, _ *http.Request) {
	list := struct {
		Tables []tableInfo `json:"tables"`
	}{}
	for _, t := range a.o.Tables {
		mark, lag := a.freshness(t)
		list.Tables = append(list.Tables, tableInfo{t.Definition().Name, mark, lag, t.Definition().Columns})
	}
	answers.Write(w, http.StatusOK, list)
}

// freshness returns watermark and lag, nil before there is a watermark. A
// watermark ahead of the clock has no lag.
func (a tableAPI) freshness(t Table) (mark *string, lag *float64) {
	ms, ok := t.Watermark()
	if !ok {
		return nil, nil
	}
	text := answers.Stamp(time.UnixMilli(ms))
	behind := max(0, a.o.Now().Sub(time.UnixMilli(ms)).Seconds())
	return &text, &behind
}

func (a tableAPI) table(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(a.o.Tables, func(t Table) bool { return t.Definition().Name == r.PathValue("table") })
	if i < 0 {
		var names []string
		for _, t := range a.o.Tables {
			names = append(names, t.Definition().Name)
		}
		answers.Fail(w, http.StatusNotFound, fmt.Sprintf("there is no table %q", r.PathValue("table")), "tables are "+strings.Join(names, ", "))
		return
	}
	t := a.o.Tables[i]
	values, err := answers.Query(r)
	if err != nil {
		answers.Fail(w, http.StatusBadRequest, err.Error(), answers.HowToEscape)
		return
	}
	p, err := parseParams(values, t)
	if err != nil {
		refuse(w, err)
		return
	}
	if progress, missing := t.Recovery(); missing != "" {
		w.Header().Set("Retry-After", "1")
		answers.Fail(w, http.StatusServiceUnavailable, fmt.Sprintf("table %s is being restored, %.0f %% done: %s", t.Definition().Name, 100*progress, missing), "try again in a second; see /readyz")
		return
	}
	mark, lag := a.freshness(t) // before the rows: they are at least as new
	got, err := t.Rows(p.query)
	if err != nil {
		answers.Fail(w, http.StatusInternalServerError, "the table cannot be read: "+err.Error(), "see the log")
		return
	}
	rows := slices.DeleteFunc(got.Rows, func(row Row) bool { return !p.matches(row) })
	slices.SortFunc(rows, p.compare)
	truncated := len(rows) > p.limit
	rows = rows[:min(len(rows), p.limit)]
	columns := p.show(rows)
	if p.csv {
		writeCSV(w, columns, rows, mark, truncated)
		return
	}
	head := tableHead{Table: t.Definition().Name, Watermark: mark, Lag: lag, Columns: columns, Truncated: truncated}
	if got.HasFrom {
		head.From = new(answers.Stamp(time.UnixMilli(got.From)))
	}
	if got.HasTo {
		head.To = new(answers.Stamp(time.UnixMilli(got.To)))
	}
	if p.query.Step > 0 {
		head.Step = new(millis(got.Step).Seconds())
	}
	writeJSON(w, head, rows)
}

// refuse answers with what is wrong with a request.
func refuse(w http.ResponseWriter, err error) {
	hint := ""
	if bad := (badParam{}); errors.As(err, &bad) {
		hint = bad.hint
	}
	answers.Fail(w, http.StatusBadRequest, err.Error(), hint)
}

func (p params) matches(row Row) bool {
	for i, values := range p.filter {
		if v, ok := row.Values[i].(string); !ok || !slices.Contains(values, v) {
			return false
		}
	}
	return true
}

// compare orders rows as it is asked for, else by step and then by the columns, the first
// of which are dimensions.
func (p params) compare(a, b Row) int {
	if p.sort >= 0 {
		x, y := a.Values[p.sort], b.Values[p.sort]
		if p.falling && x != nil && y != nil {
			x, y = y, x
		}
		if c := compareValues(x, y); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(a.Start, b.Start); c != 0 {
		return c
	}
	for i := range a.Values {
		if c := compareValues(a.Values[i], b.Values[i]); c != 0 {
			return c
		}
	}
	return 0
}

// compareValues orders values of one column; those that are not there come last.
func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b)
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b)
		}
	}
	switch {
	case a == nil && b != nil:
		return 1
	case a != nil && b == nil:
		return -1
	}
	return 0
}

// show leaves in rows what is asked for, and returns its columns.
func (p params) show(rows []Row) []tables.Column {
	columns := p.columns
	if p.shown != nil {
		columns = nil
		for _, i := range p.shown {
			columns = append(columns, p.columns[i])
		}
		for r := range rows {
			values := make([]any, len(p.shown))
			for n, i := range p.shown {
				values[n] = rows[r].Values[i]
			}
			rows[r].Values = values
		}
	}
	if p.query.Step == 0 {
		return columns
	}
	for r := range rows {
		rows[r].Values = append([]any{time.UnixMilli(rows[r].Start)}, rows[r].Values...)
	}
	return append([]tables.Column{windowColumn}, columns...)
}

type tableHead struct {
	Table     string          `json:"table"`
	Watermark *string         `json:"watermark"`
	Lag       *float64        `json:"lag_seconds"`
	From      *string         `json:"from"`
	To        *string         `json:"to"`
	Step      *float64        `json:"step_seconds,omitempty"`
	Columns   []tables.Column `json:"columns"`
	Truncated bool            `json:"truncated,omitempty"`
}

// writeJSON writes the head and then the rows, whose members are in the order of
// the columns.
func writeJSON(w http.ResponseWriter, head tableHead, rows []Row) {
	var b bytes.Buffer
	data, err := json.Marshal(head)
	if err != nil {
		answers.Fail(w, http.StatusInternalServerError, "the answer cannot be written as JSON: "+err.Error(), "see the log")
		return
	}
	b.Write(data[:len(data)-1])
	b.WriteString(`,"rows":[`)
	names := make([][]byte, len(head.Columns))
	for i, c := range head.Columns {
		names[i], _ = json.Marshal(c.Name) // a string always has a JSON form
	}
	for i, row := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		for j, v := range row.Values {
			b.WriteByte("{,"[min(j, 1)])
			b.Write(names[j])
			b.WriteByte(':')
			if t, ok := v.(time.Time); ok {
				v = answers.Stamp(t)
			}
			data, err := json.Marshal(v)
			if err != nil {
				answers.Fail(w, http.StatusInternalServerError, fmt.Sprintf("column %s cannot be written as JSON: %v", head.Columns[j].Name, err), "see the log")
				return
			}
			b.Write(data)
		}
		b.WriteByte('}')
	}
	b.WriteString("]}\n")
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(b.Bytes())
}

// writeCSV writes RFC 4180 with a header line. A text that a spreadsheet would
// take for a formula gets an apostrophe in front, as OWASP advises. The watermark
// goes into a header of the answer.
func writeCSV(w http.ResponseWriter, columns []tables.Column, rows []Row, mark *string, truncated bool) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if mark != nil {
		h.Set("X-Watermark", *mark)
	}
	if truncated {
		h.Set("X-Truncated", "true")
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.Name
	}
	out.Write(line)
	for _, row := range rows {
		for i, v := range row.Values {
			line[i] = csvText(v)
		}
		out.Write(line)
	}
	out.Flush() // an error means that the reader went away
}

func csvText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r\n", rune(v[0])) {
			return "'" + v
		}
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return answers.Stamp(v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(data)
}

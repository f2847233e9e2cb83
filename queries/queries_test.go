package queries_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/queries"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

var panes = window.Panes{Size: 10_000, Grace: 60_000}

// noon is the start of a pane.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(after time.Duration) int64 { return noon.Add(after).UnixMilli() }

// api is a server over a traffic table with two series and a watermark.
type api struct {
	*testing.T
	view    *views.View[tables.Traffic, *tables.Traffic]
	handler http.Handler
	missing []string
}

func newAPI(t *testing.T) *api { return newAPIOf(t, panes) }

func newAPIOf(t *testing.T, panes window.Panes) *api {
	a := &api{T: t, view: views.New[tables.Traffic](views.Options{Panes: panes, Partitions: 1, Assemblers: 1})}
	a.handler = queries.Handler(queries.Options{
		Tables:  []queries.Table{queries.Of(a.view, &tables.TrafficTable, true)},
		Now:     func() time.Time { return noon.Add(time.Minute) },
		Missing: func() []string { return a.missing },
		Notes:   func() []string { return []string{"a note"} },
	})
	return a
}

func (a *api) row(offset int64, tenant, app, eventType string, total tables.Traffic, open ...tables.Pane[tables.Traffic]) {
	a.Helper()
	row := tables.Row[tables.Traffic, *tables.Traffic]{Total: total}
	for _, p := range open {
		row.Add(p.Start, &p.M)
	}
	key := string(tables.AppendKey(nil, []byte(tenant), []byte(app), []byte(eventType)))
	if err := a.view.Update(0, offset, key, row.Append(nil)); err != nil {
		a.Fatal(err)
	}
}

func pane(after time.Duration, count, errors int64) tables.Pane[tables.Traffic] {
	return tables.Pane[tables.Traffic]{Start: ms(after), M: tables.Traffic{Count: count, Errors: errors}}
}

// full has two series over two panes, and a watermark at 12:00:15.
func full(t *testing.T) *api {
	a := newAPI(t)
	a.row(1, "acme", "kotaemon", "user_query", tables.Traffic{Count: 100, Errors: 1}, pane(0, 6, 3), pane(10*time.Second, 4, 0))
	a.row(2, "=cmd", "kotaemon", "user_query", tables.Traffic{Count: 5}, pane(10*time.Second, 2, 0))
	var p tables.Progress
	p.Observe(0, ms(15*time.Second))
	if err := a.view.Update(0, 3, tables.ProgressKey, p.Append(nil)); err != nil {
		t.Fatal(err)
	}
	a.view.Recovered()
	return a
}

func (a *api) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

type answer struct {
	Table     string
	Watermark *string
	Lag       *float64 `json:"lag_seconds"`
	From, To  *string
	Step      *float64 `json:"step_seconds"`
	Columns   []tables.Column
	Rows      []map[string]any
	Truncated bool
	Error     string
	Hint      string
}

func (a *api) ask(code int, path string) answer {
	a.Helper()
	w := a.get(path)
	if w.Code != code {
		a.Fatalf("GET %s = %d %s, want %d", path, w.Code, w.Body, code)
	}
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		a.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
	return got
}

// counts returns the counts of the rows, in order.
func counts(rows []map[string]any) (list []int) {
	for _, r := range rows {
		list = append(list, int(r["count"].(float64)))
	}
	return list
}

func TestTableAnswer(t *testing.T) {
	got := full(t).ask(200, "/api/tables/traffic")
	if got.Table != "traffic" || *got.Watermark != "2026-03-01T12:00:15.000Z" || *got.Lag != 45 || got.Truncated {
		t.Errorf("head = %+v", got)
	}
	if *got.From != "2026-03-01T11:55:20.000Z" || *got.To != "2026-03-01T12:00:20.000Z" || got.Step != nil {
		t.Errorf("range = %s to %s, want five minutes up to the end of the newest pane", *got.From, *got.To)
	}
	if len(got.Columns) != len(tables.TrafficTable.Columns) || got.Columns[0].Name != "tenant" {
		t.Errorf("columns = %+v", got.Columns)
	}
	if !slices.Equal(counts(got.Rows), []int{2, 10}) {
		t.Fatalf("rows = %v, want those of =cmd and acme, in the order of the dimensions", got.Rows)
	}
	acme := got.Rows[1]
	if acme["errors"] != 3.0 || acme["error_ratio"] != 0.3 || acme["qps"].(float64) != 10.0/300 {
		t.Errorf("row = %v", acme)
	}
}

func TestRanges(t *testing.T) {
	a := full(t)
	for _, tt := range []struct {
		query string
		want  []int
	}{
		{"window=10s", []int{2, 4}},
		{"window=20s", []int{2, 10}},
		{"total=true", []int{7, 110}},
		{"total=true&tenant=acme", []int{110}},
		{"tenant=acme&tenant==cmd", []int{2, 10}},
		{"tenant=nobody", nil},
		{"from=2026-03-01T12:00:00Z&to=2026-03-01T12:00:10Z", []int{6}},
		{"from=2026-03-01T12:00:05Z&to=2026-03-01T12:00:10.001Z", []int{2, 10}}, // panes count whole
		{"from=1772366400&to=1772366410.000", []int{6}},
		{"from=2026-03-01T13:00:00%2B01:00&to=2026-03-01T13:00:10%2B01:00", []int{6}},
		{"from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", nil},
		{"window=20s&step=10s", []int{6, 2, 4}},
	} {
		got := a.ask(200, "/api/tables/traffic?"+tt.query)
		if !slices.Equal(counts(got.Rows), tt.want) {
			t.Errorf("%s: %v, want %v", tt.query, counts(got.Rows), tt.want)
		}
	}
}

// Series are summed up that agree in some dimensions, rows sorted, and columns chosen.
func TestGroupsAndOrder(t *testing.T) {
	a := full(t)
	a.row(5, "acme", "docs", "answer", tables.Traffic{}, pane(0, 1, 1), pane(10*time.Second, 20, 0))
	for query, want := range map[string]string{
		"window=20s&by=":                         `[{"count":33,"error_ratio":0.12121212121212122,"errors":4,"qps":1.65}]`,
		"window=20s&by=tenant":                   `[{"count":2,"error_ratio":0,"errors":0,"qps":0.1,"tenant":"=cmd"},{"count":31,"error_ratio":0.12903225806451613,"errors":4,"qps":1.55,"tenant":"acme"}]`,
		"window=20s&by=app,tenant&columns=count": `[{"count":21},{"count":2},{"count":10}]`,
		"window=20s&by=tenant&tenant=acme&event_type=answer&columns=tenant,count": `[{"count":21,"tenant":"acme"}]`,
		"window=20s&by=&step=10s&columns=count":                                   `[{"count":7,"window_start":"2026-03-01T12:00:00.000Z"},{"count":26,"window_start":"2026-03-01T12:00:10.000Z"}]`,
		"total=true&by=event_type&columns=event_type,count&sort=-count":           `[{"count":117,"event_type":"user_query"},{"count":21,"event_type":"answer"}]`,
		"window=20s&sort=-count&limit=2&columns=count,app":                        `[{"app":"docs","count":21},{"app":"kotaemon","count":10}]`,
		"window=20s&sort=count&limit=1&columns=tenant":                            `[{"tenant":"=cmd"}]`,
		"window=20s&sort=-tenant&columns=tenant,app":                              `[{"app":"docs","tenant":"acme"},{"app":"kotaemon","tenant":"acme"},{"app":"kotaemon","tenant":"=cmd"}]`,
	} {
		got := a.ask(200, "/api/tables/traffic?"+query)
		rows, err := json.Marshal(got.Rows)
		if err != nil || string(rows) != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", query, rows, err, want)
		}
		if len(got.Columns) != len(got.Rows[0]) {
			t.Errorf("%s: columns %v of rows %v", query, got.Columns, got.Rows[0])
		}
	}
}

func TestStepAddsItsStart(t *testing.T) {
	got := full(t).ask(200, "/api/tables/traffic?window=20s&step=10s")
	if got.Columns[0].Name != "window_start" || got.Columns[0].Type != tables.TypeTime {
		t.Errorf("columns = %+v", got.Columns)
	}
	if got.Rows[0]["window_start"] != "2026-03-01T12:00:00.000Z" || got.Rows[2]["window_start"] != "2026-03-01T12:00:10.000Z" {
		t.Errorf("rows = %v", got.Rows)
	}
	if got.Step == nil || *got.Step != 10 {
		t.Errorf("step = %v", got.Step)
	}
	if got.Rows[0]["qps"] != 0.6 {
		t.Errorf("qps = %v, want the count of the step by its length", got.Rows[0]["qps"])
	}
}

// When nothing is asked for, whole panes are told of, however long they are.
func TestNewestFiveMinutesInLongPanes(t *testing.T) {
	for size, want := range map[time.Duration]time.Duration{10 * time.Second: 5 * time.Minute, 4 * time.Minute: 8 * time.Minute, 30 * time.Minute: 30 * time.Minute} {
		a := newAPIOf(t, window.Panes{Size: size.Milliseconds()})
		a.row(1, "acme", "kotaemon", "user_query", tables.Traffic{Count: 1}, pane(0, 1, 0))
		var p tables.Progress
		p.Observe(0, ms(time.Second))
		if err := a.view.Update(0, 2, tables.ProgressKey, p.Append(nil)); err != nil {
			t.Fatal(err)
		}
		a.view.Recovered()
		got := a.ask(200, "/api/tables/traffic")
		from, err1 := time.Parse(time.RFC3339, *got.From)
		to, err2 := time.Parse(time.RFC3339, *got.To)
		if err := errors.Join(err1, err2); err != nil || to.Sub(from) != want {
			t.Errorf("panes of %s: from %s to %s (%v), want %s", size, *got.From, *got.To, err, want)
		}
	}
}

func TestLimitSaysThatItCut(t *testing.T) {
	a := full(t)
	if got := a.ask(200, "/api/tables/traffic?limit=1"); len(got.Rows) != 1 || !got.Truncated {
		t.Errorf("limit=1: %d rows, truncated %v", len(got.Rows), got.Truncated)
	}
	a.ask(200, "/api/tables/traffic?limit=1000000")
	if got := a.ask(200, "/api/tables/traffic?limit=2"); len(got.Rows) != 2 || got.Truncated {
		t.Errorf("limit=2: %d rows, truncated %v", len(got.Rows), got.Truncated)
	}
}

func TestBadRequestsSayWhatIsAccepted(t *testing.T) {
	a := full(t)
	for _, tt := range []struct {
		code int
		path string
		says []string
	}{
		{404, "/api/tables/trafic", []string{`"trafic"`, "traffic"}},
		{404, "/api/nothing", []string{"/api/nothing", "/api/tables"}},
		{400, "/api/tables/traffic?tenat=acme", []string{`"tenat"`, `"tenant"`}},
		{400, "/api/tables/traffic?tenant=acme%&window=5m", []string{`tenant=acme%&window=5m`, `invalid URL escape "%"`, "%25"}},
		{400, "/api/tables/traffic?tenant=acme;x", []string{"tenant=acme;x", "semicolon", "%3B"}},
		{400, "/api/tables/traffic?count=3", []string{`"count"`, "no text", "tenant"}},
		{400, "/api/tables/traffic?window=5", []string{`window is "5"`, "5m"}},
		{400, "/api/tables/traffic?window=0s", []string{`window is "0s"`}},
		{400, "/api/tables/traffic?window=-5s", []string{`window is "-5s"`}},
		{400, "/api/tables/traffic?window=15s", []string{"window is 15s", "10s"}},
		{400, "/api/tables/traffic?window=5m&window=1m", []string{"2 times"}},
		{400, "/api/tables/traffic?step=7s", []string{"step is 7s", "10s"}},
		{400, "/api/tables/traffic?total=true&step=10s", []string{"step", "total"}},
		{400, "/api/tables/traffic?total=maybe", []string{`"maybe"`, "true or false"}},
		{400, "/api/tables/traffic?total=true&window=5m", []string{"total"}},
		{400, "/api/tables/traffic?total=true&from=1772366410&to=1772366420", []string{"total"}},
		{400, "/api/tables/traffic?from=2026-03-01T12:00:00Z", []string{"from and to"}},
		{400, "/api/tables/traffic?to=2026-03-01T12:00:00Z", []string{"from and to"}},
		{400, "/api/tables/traffic?from=yesterday&to=1772366410", []string{`from is "yesterday"`, "Unix seconds"}},
		{400, "/api/tables/traffic?from=1772366410&to=1772366410", []string{"not after"}},
		{400, "/api/tables/traffic?from=1772366410&to=1772366420&window=5m", []string{"window"}},
		{400, "/api/tables/traffic?limit=0", []string{`limit is "0"`, "from 1 to 1000000"}},
		{400, "/api/tables/traffic?limit=1000001", []string{`limit is "1000001"`, "from 1 to 1000000"}},
		{400, "/api/tables/traffic?format=xml", []string{`"xml"`, "csv"}},
		{400, "/api/tables/traffic?by=count", []string{`by names "count"`, "tenant, app, event_type"}},
		{400, "/api/tables/traffic?by=tenant,tenant", []string{`by names "tenant"`, "each once"}},
		{400, "/api/tables/traffic?by=tenant&columns=app", []string{`no column "app"`, "tenant, count"}},
		{400, "/api/tables/traffic?sort=-size", []string{`no column "size"`, "count"}},
	} {
		got := a.ask(tt.code, tt.path)
		for _, part := range tt.says {
			if !strings.Contains(got.Error+" "+got.Hint, part) {
				t.Errorf("GET %s: %q, %q does not say %q", tt.path, got.Error, got.Hint, part)
			}
		}
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/tables/traffic", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST = %d", w.Code)
	}
}

// Rows are filtered by texts that are no dimensions, too, where they are what rows show.
func TestFilterByAText(t *testing.T) {
	view := views.New[tables.Errors](views.Options{Panes: panes, Partitions: 1, Assemblers: 1})
	for i, errorType := range []string{"Timeout", "Refused", "Limit"} {
		var m tables.Errors
		m.Observe(tables.Sample{Time: ms(0), TraceID: "t"}, errorType, "no answer", 0)
		row := tables.Row[tables.Errors, *tables.Errors]{}
		row.Add(ms(0), &m)
		key := string(tables.AppendKey(nil, []byte("acme"), []byte("app"), []byte("generate"), []byte(errorType)))
		if err := view.Update(0, int64(i), key, row.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	view.Recovered()
	a := &api{T: t, handler: queries.Handler(queries.Options{
		Tables: []queries.Table{queries.Of(view, &tables.ErrorsTable, true)},
		Now:    func() time.Time { return noon }, Missing: func() []string { return nil }, Notes: func() []string { return nil },
	})}
	for query, want := range map[string][]string{
		"error_type=Timeout":                       {"Timeout"},
		"error_type=Timeout&error_type=Limit":      {"Limit", "Timeout"},
		"error_type=Timeout&template=other":        nil,
		"error_type=Timeout&fingerprint=Limit":     nil,
		"template=no%20answer&fingerprint=Refused": {"Refused"},
	} {
		var got []string
		for _, row := range a.ask(200, "/api/tables/errors?sort=error_type&"+query).Rows {
			got = append(got, row["error_type"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for query, says := range map[string]string{
		"by=tenant&error_type=Timeout": "error_type is no dimension",
		"sort=-samples":                "samples have no order",
	} {
		if got := a.ask(400, "/api/tables/errors?"+query); !strings.Contains(got.Error, says) {
			t.Errorf("%s: %q, want %q", query, got.Error, says)
		}
	}
}

func TestCSV(t *testing.T) {
	w := full(t).get("/api/tables/traffic?format=csv&total=true")
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/csv") {
		t.Errorf("content type = %s", got)
	}
	if w.Header().Get("X-Watermark") != "2026-03-01T12:00:15.000Z" {
		t.Errorf("no watermark in %v", w.Header())
	}
	lines, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 3 || lines[0][0] != "tenant" || lines[2][0] != "acme" || lines[2][3] != "110" {
		t.Errorf("lines = %q", lines)
	}
	if lines[1][0] != "'=cmd" {
		t.Errorf("tenant = %q: a spreadsheet would run it", lines[1][0])
	}
}

// What a spreadsheet would take for a formula has an apostrophe in front, and nothing else
// has one.
func TestCSVHoldsNoFormulas(t *testing.T) {
	for tenant, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(1)": "'@SUM(1)", "\t=1": "'\t=1", "\n=1": "'\n=1",
		"\r=1": "'=1", // a CR within a line is not written
		"a=1":  "a=1", "a@b": "a@b", " =1": " =1", "'=1": "'=1", "é": "é", "\"=1": "\"=1", "": "",
	} {
		a := newAPI(t)
		a.row(1, tenant, "kotaemon", "user_query", tables.Traffic{Count: 1})
		a.view.Recovered()
		lines, err := csv.NewReader(a.get("/api/tables/traffic?format=csv&total=true&columns=tenant,count").Body).ReadAll()
		if err != nil || len(lines) != 2 || lines[1][0] != want {
			t.Errorf("tenant %q: %q, %v, want %q", tenant, lines, err, want)
		}
	}
}

func TestBeforeItIsRestoredTheAnswerIs503(t *testing.T) {
	a := newAPI(t)
	got := a.ask(503, "/api/tables/traffic")
	if !strings.Contains(got.Error, "restored") || !strings.Contains(got.Error, "%") {
		t.Errorf("error = %q", got.Error)
	}
	a.view.Recovered(views.Changelog)
	a.ask(503, "/api/tables/traffic")
	a.view.Recovered(views.Closed, views.Summed)
	if got := a.ask(200, "/api/tables/traffic"); got.Watermark != nil || len(got.Rows) != 0 || got.From != nil || got.To != nil {
		t.Errorf("an empty table answers %+v", got)
	}
}

func TestReadiness(t *testing.T) {
	a := newAPI(t)
	var got struct {
		Ready    bool
		Missing  []string
		Notes    []string
		Progress map[string]float64 `json:"restore_progress"`
	}
	ask := func(code int) {
		t.Helper()
		w := a.get("/readyz")
		if w.Code != code {
			t.Errorf("/readyz = %d %s, want %d", w.Code, w.Body, code)
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
	}
	ask(503)
	if got.Ready || len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "table traffic") || got.Progress["traffic"] != 0 {
		t.Errorf("readiness = %+v", got)
	}
	a.view.Recovered()
	a.missing = []string{"kafka: away"}
	ask(503)
	if got.Missing[0] != "kafka: away" {
		t.Errorf("readiness = %+v", got)
	}
	a.missing = nil
	ask(200)
	if !got.Ready || got.Notes[0] != "a note" || got.Progress["traffic"] != 1 {
		t.Errorf("readiness = %+v", got)
	}
	if w := a.get("/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("/healthz = %d %q", w.Code, w.Body)
	}
}

func TestListOfTables(t *testing.T) {
	w := full(t).get("/api/tables")
	var got struct{ Tables []answer }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Tables) != 1 || got.Tables[0].Table != "traffic" || *got.Tables[0].Watermark == "" || len(got.Tables[0].Columns) == 0 {
		t.Errorf("tables = %+v", got)
	}
}

// The page must work without a network and without inline code.
func TestConsole(t *testing.T) {
	a := full(t)
	w := a.get("/")
	if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'self'") {
		t.Errorf("/ = %d %v", w.Code, w.Header())
	}
	page := w.Body.String()
	for _, bad := range []string{"http://", "https://", "style=", "onclick", "<style", "<script>"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, file := range []string{"/console.css", "/console.js", "/icon.svg"} {
		if got := a.get(file); got.Code != 200 || !strings.Contains(page, strings.TrimPrefix(file, "/")) {
			t.Errorf("%s = %d", file, got.Code)
		}
	}
	if got := a.get("/uplot/uplot.js"); got.Code != 200 {
		t.Errorf("/uplot/uplot.js = %d", got.Code)
	}
	for _, path := range []string{"/nothing", "/uplot", "/uplot/", "/uplot/%2e/"} {
		if got := a.get(path); got.Code != 404 {
			t.Errorf("%s = %d %s", path, got.Code, got.Body)
		}
	}
}

func TestTotalHasNoBeginning(t *testing.T) {
	got := full(t).ask(200, "/api/tables/traffic?total=true")
	if got.From != nil || got.To == nil || *got.To != "2026-03-01T12:00:20.000Z" {
		t.Errorf("range = %v to %v", got.From, got.To)
	}
}

// A table without windows answers with everything, and refuses to be asked for a
// part.
func TestTableWithoutWindows(t *testing.T) {
	a := full(t)
	a.handler = queries.Handler(queries.Options{
		Tables:  []queries.Table{queries.Of(a.view, &tables.TrafficTable, false)},
		Now:     time.Now,
		Missing: func() []string { return nil }, Notes: func() []string { return nil },
	})
	if got := a.ask(200, "/api/tables/traffic"); !slices.Equal(counts(got.Rows), []int{7, 110}) {
		t.Errorf("rows = %v", got.Rows)
	}
	for _, q := range []string{"window=5m", "step=10s", "from=1&to=2"} {
		if got := a.ask(400, "/api/tables/traffic?"+q); !strings.Contains(got.Error, "no windows") {
			t.Errorf("%s: %q", q, got.Error)
		}
	}
}

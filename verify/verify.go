// Package verify compares what a running program answers over HTTP with the
// ground truth of its traffic. The demo, the end-to-end tests and the benchmark
// use it; it knows the API and the generator, nothing of how tables come about.
package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/generate"
)

// Differences are the lines in which answer and truth differ.
type Differences []string

func (d *Differences) add(format string, args ...any) {
	*d = append(*d, fmt.Sprintf(format, args...))
}

// Answer is what GET /api/tables/{table} returns.
type Answer struct {
	Table     string           `json:"table"`
	Watermark *time.Time       `json:"watermark"`
	Truncated bool             `json:"truncated"`
	Rows      []map[string]any `json:"rows"`
}

// Client asks one program.
type Client struct{ URL string }

// Table asks for a table. A status other than 200 is an error with the answer's
// text.
func (c Client) Table(ctx context.Context, table string, query url.Values) (*Answer, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000000") // the most that is accepted; an answer that is cut is an error
	address := c.URL + "/api/tables/" + table + "?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Error, Hint string }
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
			return nil, fmt.Errorf("GET %s: %s", address, resp.Status)
		}
		return nil, fmt.Errorf("GET %s: %s: %s (%s)", address, resp.Status, problem.Error, problem.Hint)
	}
	a := new(Answer)
	if err := json.NewDecoder(resp.Body).Decode(a); err != nil {
		return nil, fmt.Errorf("GET %s: %w", address, err)
	}
	if a.Truncated {
		return nil, fmt.Errorf("GET %s: the answer was cut", address)
	}
	return a, nil
}

// Outcomes returns the number of records by topic, outcome and reason, without
// the outcome "in", which it returns by topic.
func (c Client) Outcomes(ctx context.Context) (ended generate.Table[generate.RecordsKey, int64], in map[string]int64, err error) {
	a, err := c.Table(ctx, "records", url.Values{"total": {"true"}})
	if err != nil {
		return nil, nil, err
	}
	ended, in = generate.Table[generate.RecordsKey, int64]{}, map[string]int64{}
	for _, r := range a.Rows {
		n := int64(number(r, "count"))
		if text(r, "outcome") == "in" {
			in[text(r, "topic")] += n
		} else {
			ended[generate.RecordsKey{Topic: text(r, "topic"), Outcome: text(r, "outcome"), Reason: text(r, "reason")}] += n
		}
	}
	return ended, in, nil
}

// Await waits until every record of truth has ended with an outcome and every
// counted event is in the tables, or until ctx ends.
func (c Client) Await(ctx context.Context, truth *generate.Truth) error {
	want := truth.Count("", "")
	total := truth.Total()
	counted := total.Events().Count
	var timed, requests, acted int64
	for _, l := range total.Latency {
		timed += l.Count
	}
	for _, u := range total.Usage {
		requests += u.Requests
	}
	for _, b := range total.Behaviour {
		acted += b.Count
	}
	wants := []arrival{
		{"records", "count", want}, {"traffic", "count", counted}, {"latency", "count", timed},
		{"usage", "requests", requests}, {"behaviour", "count", acted}, {"errors", "count", total.Events().Errors},
	}
	for {
		status, done := c.progress(ctx, wants)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not everything arrived in time: %s", status)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// arrival is how much the column of a table is to add up to.
type arrival struct {
	table, column string
	want          int64
}

func (c Client) progress(ctx context.Context, wants []arrival) (string, bool) {
	sum := func(table, column string) (int64, error) {
		a, err := c.Table(ctx, table, url.Values{"total": {"true"}})
		if err != nil {
			return 0, err
		}
		var n int64
		for _, r := range a.Rows {
			if text(r, "outcome") != "in" {
				n += int64(number(r, column))
			}
		}
		return n, nil
	}
	var status []string
	done := true
	for _, t := range wants {
		got, err := sum(t.table, t.column)
		if err != nil {
			return err.Error(), false
		}
		status = append(status, fmt.Sprintf("%s %d of %d", t.table, got, t.want))
		done = done && got >= t.want
	}
	return strings.Join(status, ", "), done
}

// CompareTotals compares outcomes by topic, and totals. Nothing may be under way; see
// Await.
func (c Client) CompareTotals(ctx context.Context, truth *generate.Truth) (Differences, error) {
	var d Differences
	if err := c.compareRecords(ctx, truth, &d); err != nil {
		return nil, err
	}
	err := c.compareMeasures(ctx, &d, "total", truth.Total(), url.Values{"total": {"true"}})
	return d, err
}

// CompareRange compares what was counted between two times in Unix milliseconds, at which
// windows begin: hours, where they are all that is kept. Nothing may be under way.
func (c Client) CompareRange(ctx context.Context, truth *generate.Truth, from, to int64) (Differences, error) {
	var d Differences
	err := c.compareMeasures(ctx, &d, windowName(from), truth.Between(from, to), url.Values{"from": {seconds(from)}, "to": {seconds(to)}})
	return d, err
}

func windowName(start int64) string {
	return "window " + time.UnixMilli(start).UTC().Format("15:04:05")
}

// Compare compares everything: outcomes by topic, totals, and every window, of which none
// may be older than windows are kept. Nothing may be under way.
func (c Client) Compare(ctx context.Context, truth *generate.Truth) (Differences, error) {
	d, err := c.CompareTotals(ctx, truth)
	if err != nil {
		return nil, err
	}
	if truth.Undated != nil || len(truth.Windows) == 0 {
		return d, nil
	}
	starts := truth.Starts()
	pane := truth.PaneMillis
	query := url.Values{
		"from": {seconds(starts[0])}, "to": {seconds(starts[len(starts)-1] + pane)},
		"step": {time.Duration(pane * int64(time.Millisecond)).String()},
	}
	byWindow := map[string]map[int64][]map[string]any{}
	for _, table := range slices.Sorted(maps.Keys(compares)) {
		a, err := c.Table(ctx, table, query)
		if err != nil {
			return nil, err
		}
		byWindow[table] = map[int64][]map[string]any{}
		for _, r := range a.Rows {
			at, err := time.Parse(time.RFC3339Nano, text(r, "window_start"))
			if err != nil {
				return nil, fmt.Errorf("%s: window_start: %w", table, err)
			}
			byWindow[table][at.UnixMilli()] = append(byWindow[table][at.UnixMilli()], r)
		}
		for start := range byWindow[table] {
			if truth.Windows[start] == nil {
				d.add("%s has rows in the window at %d, where nothing happened", table, start)
			}
		}
	}
	for _, start := range starts {
		name := windowName(start)
		m := truth.Windows[start]
		for table, compare := range compares {
			compare(&d, name, m, byWindow[table][start])
		}
	}
	return d, nil
}

func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }

func (c Client) compareRecords(ctx context.Context, truth *generate.Truth, d *Differences) error {
	ended, in, err := c.Outcomes(ctx)
	if err != nil {
		return err
	}
	got := map[generate.RecordsKey]int64{}
	for k, n := range ended {
		if k.Outcome != generate.Poison {
			k.Reason = ""
		}
		got[k] += n
	}
	want := map[generate.RecordsKey]int64{}
	produced := map[string]int64{}
	for k, n := range truth.Records {
		if k.Outcome != generate.Poison {
			k.Reason = ""
		}
		want[k] += n
		produced[k.Topic] += n
	}
	for k, n := range want {
		if got[k] != n {
			d.add("records %v: %d, want %d", k, got[k], n)
		}
	}
	for k, n := range got {
		if want[k] == 0 {
			d.add("records %v: %d, want none", k, n)
		}
	}
	for topic, n := range produced {
		if in[topic] != n {
			d.add("records in of %s: %d, produced %d", topic, in[topic], n)
		}
	}
	return nil
}

// compares are how the rows of a table are compared with measures.
var compares = map[string]func(d *Differences, name string, m *generate.Measures, rows []map[string]any){
	"traffic": compareTraffic, "latency": compareLatency, "usage": compareUsage, "behaviour": compareBehaviour, "errors": compareErrors,
}

func (c Client) compareMeasures(ctx context.Context, d *Differences, name string, m *generate.Measures, query url.Values) error {
	for table, compare := range compares {
		a, err := c.Table(ctx, table, query)
		if err != nil {
			return err
		}
		compare(d, name, m, a.Rows)
	}
	byType := maps.Clone(query)
	byType.Set("by", "event_type")
	a, err := c.Table(ctx, "behaviour", byType)
	if err != nil {
		return err
	}
	compareBehaviour(d, name+", all tenants", ofAllTenants(m), a.Rows)
	return nil
}

// ofAllTenants returns behaviour by event type. People have names within their tenant: the
// same name in two tenants is two people.
func ofAllTenants(m *generate.Measures) *generate.Measures {
	sum := &generate.Measures{Behaviour: generate.Table[generate.TrafficKey, *generate.Behaviour]{}}
	for k, b := range m.Behaviour {
		of := generate.TrafficKey{EventType: k.EventType}
		if sum.Behaviour[of] == nil {
			sum.Behaviour[of] = new(generate.Behaviour)
		}
		all := sum.Behaviour[of]
		all.Count += b.Count
		for _, name := range b.Users {
			all.Users = append(all.Users, k.Tenant+"/"+name)
		}
		for _, name := range b.Sessions {
			all.Sessions = append(all.Sessions, k.Tenant+"/"+name)
		}
	}
	return sum
}

func compareTraffic(d *Differences, name string, m *generate.Measures, rows []map[string]any) {
	got := map[generate.TrafficKey]generate.Traffic{}
	for _, r := range rows {
		k := generate.TrafficKey{Tenant: text(r, "tenant"), App: text(r, "app"), EventType: text(r, "event_type")}
		got[k] = generate.Traffic{Count: int64(number(r, "count")), Errors: int64(number(r, "errors"))}
	}
	for k, want := range m.Traffic {
		if got[k] != *want {
			d.add("%s: traffic %v: %+v, want %+v", name, k, got[k], *want)
		}
	}
	if len(got) != len(m.Traffic) {
		d.add("%s: traffic has %d series, want %d", name, len(got), len(m.Traffic))
	}
}

func compareUsage(d *Differences, name string, m *generate.Measures, rows []map[string]any) {
	got := map[generate.UsageKey]generate.Usage{}
	for _, r := range rows {
		got[generate.UsageKey{Tenant: text(r, "tenant"), App: text(r, "app"), Model: text(r, "model")}] = generate.Usage{
			Requests: int64(number(r, "requests")), InputTokens: int64(number(r, "input_tokens")), OutputTokens: int64(number(r, "output_tokens")),
		}
	}
	for k, want := range m.Usage {
		if got[k] != *want {
			d.add("%s: usage %v: %+v, want %+v", name, k, got[k], *want)
		}
	}
	if len(got) != len(m.Usage) {
		d.add("%s: usage has %d series, want %d", name, len(got), len(m.Usage))
	}
}

// Distinct names are counted exactly up to exactNames, and beyond with a standard error
// of 2.3 %: five times that is allowed, which chance does not reach.
const (
	exactNames    = 64
	distinctError = 5 * 0.023
)

// distinctIs reports whether got may be a count of names that are want.
func distinctIs(got float64, names []string) bool {
	want := float64(generate.Distinct(names))
	if want <= exactNames {
		return got == want
	}
	return math.Abs(got-want) <= distinctError*want
}

func compareBehaviour(d *Differences, name string, m *generate.Measures, rows []map[string]any) {
	got := map[generate.TrafficKey]map[string]any{}
	for _, r := range rows {
		got[generate.TrafficKey{Tenant: text(r, "tenant"), App: text(r, "app"), EventType: text(r, "event_type")}] = r
	}
	for k, want := range m.Behaviour {
		count, users, sessions := number(got[k], "count"), number(got[k], "users"), number(got[k], "sessions")
		if int64(count) != want.Count {
			d.add("%s: behaviour %v: %g events, want %d", name, k, count, want.Count)
		}
		if len(want.Sessions) == 0 { // only totals were kept
			continue
		}
		if !distinctIs(users, want.Users) || !distinctIs(sessions, want.Sessions) {
			d.add("%s: behaviour %v: %g users and %g sessions, want %d and %d within %.1f %%", name, k, users, sessions,
				generate.Distinct(want.Users), generate.Distinct(want.Sessions), 100*distinctError)
		}
	}
	if len(got) != len(m.Behaviour) {
		d.add("%s: behaviour has %d series, want %d", name, len(got), len(m.Behaviour))
	}
}

// quantileError is what the sketch may be off, as a share.
const quantileError = 0.05

func compareLatency(d *Differences, name string, m *generate.Measures, rows []map[string]any) {
	got := map[generate.LatencyKey]map[string]any{}
	for _, r := range rows {
		got[generate.LatencyKey{Tenant: text(r, "tenant"), App: text(r, "app"), Stage: text(r, "stage"), Model: text(r, "model")}] = r
	}
	for k, want := range m.Latency {
		r := got[k]
		if r == nil {
			d.add("%s: latency %v is missing", name, k)
			continue
		}
		count, sum, top := int64(number(r, "count")), number(r, "sum_seconds"), number(r, "max_seconds")
		if count != want.Count || math.Abs(sum-want.Sum.Seconds()) > 1e-6 || math.Abs(top-want.Max.Seconds()) > 1e-9 {
			d.add("%s: latency %v: %d calls, %g s, max %g s, want %d, %g s, max %g s", name, k, count, sum, top, want.Count, want.Sum.Seconds(), want.Max.Seconds())
		}
		if len(want.Tenths) == 0 {
			continue
		}
		for i, exact := range want.Quantiles(0.5, 0.9, 0.95, 0.99) {
			column := []string{"p50_seconds", "p90_seconds", "p95_seconds", "p99_seconds"}[i]
			if v := number(r, column); math.Abs(v-exact.Seconds()) > quantileError*exact.Seconds() {
				d.add("%s: latency %v: %s is %g, want %g within 5 %%", name, k, column, v, exact.Seconds())
			}
		}
	}
	if len(got) != len(m.Latency) {
		d.add("%s: latency has %d series, want %d", name, len(got), len(m.Latency))
	}
}

// compareErrors compares the error groups of each tenant, app, stage and type: as
// many groups as kinds, of the same sizes. Which fingerprint belongs to which
// kind the truth cannot know.
func compareErrors(d *Differences, name string, m *generate.Measures, rows []map[string]any) {
	type where struct{ tenant, app, stage, errorType string }
	got, want := map[where][]string{}, map[where][]string{}
	for _, r := range rows {
		k := where{text(r, "tenant"), text(r, "app"), text(r, "stage"), text(r, "error_type")}
		got[k] = append(got[k], fmt.Sprintf("%d/%s", int64(number(r, "count")), shortTime(text(r, "last_seen"))))
	}
	sessions := map[where]float64{}
	for _, r := range rows {
		sessions[where{text(r, "tenant"), text(r, "app"), text(r, "stage"), text(r, "error_type")}] += number(r, "sessions")
	}
	distinct := map[where]float64{}
	for k, e := range m.Errors {
		w := where{k.Tenant, k.App, k.Stage, k.ErrorType}
		want[w] = append(want[w], fmt.Sprintf("%d/%s", e.Count, time.UnixMilli(e.Last).UTC().Format("15:04:05.000")))
		distinct[w] += float64(generate.Distinct(e.Sessions))
	}
	for k := range want {
		slices.Sort(got[k])
		slices.Sort(want[k])
		if !slices.Equal(got[k], want[k]) {
			d.add("%s: errors %v: groups (count/last seen) %v, want %v", name, k, got[k], want[k])
		}
		if n := distinct[k]; n > 0 && math.Abs(sessions[k]-n) > 0.1*n+1 {
			d.add("%s: errors %v: %g sessions, want %g within 10 %%", name, k, sessions[k], n)
		}
	}
	if len(got) != len(want) {
		d.add("%s: errors of %d kinds of place, want %d", name, len(got), len(want))
	}
}

func shortTime(rfc string) string {
	t, err := time.Parse(time.RFC3339Nano, rfc)
	if err != nil {
		return rfc
	}
	return t.UTC().Format("15:04:05.000")
}

func text(row map[string]any, column string) string {
	s, _ := row[column].(string)
	return s
}

func number(row map[string]any, column string) float64 {
	n, _ := row[column].(float64)
	return n
}

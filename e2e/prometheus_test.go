//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
)

// scrapeJob lets a series go on when its row moves to another instance: the one
// that owns the row exports it, under no name of its own.
const scrapeJob = `metric_relabel_configs:
  - source_labels: [__name__]
    regex: rag_.+|analytics_records_.+
    target_label: instance
    replacement: ""
`

// prometheus is a server that scrapes instances every second.
type prometheus struct {
	t         testing.TB
	url       string
	instances int
}

func startPrometheus(t testing.TB, d *deployment, instances ...*instance) *prometheus {
	t.Helper()
	var targets []string
	for _, i := range instances {
		targets = append(targets, i.address)
	}
	url, err := site.Prometheus(t.Context(), d.name+"-prometheus", scrapeJob, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return &prometheus{t, url, len(instances)}
}

// sample is one series of an answer.
type sample struct {
	labels map[string]string
	values []float64
}

// ask sends a query to an endpoint of the HTTP API.
func (p *prometheus) ask(ctx context.Context, endpoint string, query url.Values) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+endpoint+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("Prometheus answers %s %.200s: %w", resp.Status, body, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("Prometheus answers to %s: %s", query.Get("query"), answer.Error)
	}
	return answer.Data, nil
}

// query returns the series of a PromQL query: at the time to, or, when from is
// not zero, every half second between both.
func (p *prometheus) query(ctx context.Context, promql string, from, to time.Time) ([]sample, error) {
	seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	endpoint, query := "query", url.Values{"query": {promql}, "time": {seconds(to)}}
	if !from.IsZero() {
		endpoint, query = "query_range", url.Values{"query": {promql}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {"0.5"}}
	}
	data, err := p.ask(ctx, endpoint, query)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Result []struct {
			Metric map[string]string
			Value  *[2]any
			Values [][2]any
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("Prometheus answers to %s: %w", promql, err)
	}
	var all []sample
	for _, r := range answer.Result {
		if r.Value != nil {
			r.Values = [][2]any{*r.Value}
		}
		s := sample{labels: r.Metric}
		for _, v := range r.Values {
			text, _ := v[1].(string)
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("Prometheus answers to %s: value %v: %w", promql, v, err)
			}
			s.values = append(s.values, n)
		}
		all = append(all, s)
	}
	return all, nil
}

// counter is a metric of the program: how Prometheus is asked for it, and the
// labels that tell its series apart here.
type counter struct {
	promql string
	labels []string
}

// key names a series.
func (c counter) key(labels map[string]string) string {
	var values []string
	for _, l := range c.labels {
		values = append(values, labels[l])
	}
	return strings.Join(values, "|")
}

// counters are what must agree with the truth.
var counters = map[string]counter{
	"events":  {"rag_events_total", []string{"tenant", "app", "event_type", "status"}},
	"stages":  {"histogram_count(rag_stage_duration_seconds) or rag_stage_duration_seconds_count", []string{"tenant", "app", "stage", "model"}},
	"ttft":    {"histogram_count(rag_time_to_first_token_seconds) or rag_time_to_first_token_seconds_count", []string{"tenant", "app", "stage", "model"}},
	"tokens":  {"rag_tokens_total", []string{"tenant", "app", "model", "type"}},
	"models":  {"rag_model_requests_total", []string{"tenant", "app", "model"}},
	"acts":    {"rag_behaviour_events_total", []string{"tenant", "app", "event_type"}},
	"errors":  {"rag_error_group_events_total", []string{"tenant", "app", "stage"}},
	"records": {`analytics_records_total{outcome!="in"}`, []string{"topic", "outcome"}},
}

// expected returns what the counters must say, by counter and series; a series
// at 0 is left out.
func expected(truth *generate.Truth) map[string]map[string]float64 {
	want := map[string]map[string]float64{}
	add := func(counter string, n int64, labels ...string) {
		if n == 0 {
			return
		}
		if want[counter] == nil {
			want[counter] = map[string]float64{}
		}
		want[counter][strings.Join(labels, "|")] += float64(n)
	}
	total := truth.Total()
	for k, m := range total.Traffic {
		add("events", m.Count-m.Errors, k.Tenant, k.App, k.EventType, "ok")
		add("events", m.Errors, k.Tenant, k.App, k.EventType, "error")
	}
	for k, m := range total.Latency {
		add("stages", m.Count, k.Tenant, k.App, k.Stage, k.Model)
	}
	for k, m := range total.TTFT {
		add("ttft", m.Count, k.Tenant, k.App, k.Stage, k.Model)
	}
	for k, m := range total.Usage {
		add("models", m.Requests, k.Tenant, k.App, k.Model)
		add("tokens", m.InputTokens, k.Tenant, k.App, k.Model, "input")
		add("tokens", m.OutputTokens, k.Tenant, k.App, k.Model, "output")
	}
	for k, m := range total.Behaviour {
		add("acts", m.Count, k.Tenant, k.App, k.EventType)
	}
	for k, m := range total.Errors {
		add("errors", m.Count, k.Tenant, k.App, k.Stage)
	}
	for k, n := range truth.Records {
		add("records", n, k.Topic, k.Outcome)
	}
	return want
}

// read returns what the counters say at a time, in the form of expected.
func (p *prometheus) read(ctx context.Context, at time.Time) (map[string]map[string]float64, error) {
	got := map[string]map[string]float64{}
	for name, c := range counters {
		samples, err := p.query(ctx, c.promql, time.Time{}, at)
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			if s.values[0] == 0 {
				continue
			}
			if got[name] == nil {
				got[name] = map[string]float64{}
			}
			got[name][c.key(s.labels)] += s.values[0]
		}
	}
	return got, nil
}

// settled waits until a scrape of now says what is expected, series by series,
// and returns its time.
func (p *prometheus) settled(want map[string]map[string]float64, limit time.Duration) time.Time {
	p.t.Helper()
	var at time.Time
	eventually(p.t, limit, "Prometheus has scraped the truth", func(ctx context.Context) error {
		at = time.Now()
		got, err := p.read(ctx, at)
		if err != nil {
			return err
		}
		if lines := differ(got, want); len(lines) > 0 {
			return fmt.Errorf("%d differences, such as %s", len(lines), strings.Join(lines[:min(5, len(lines))], "; "))
		}
		return nil
	})
	return at
}

func differ(got, want map[string]map[string]float64) []string {
	var lines []string
	for name := range counters {
		for key, n := range want[name] {
			if got[name][key] != n {
				lines = append(lines, fmt.Sprintf("%s %s is %g, want %g", name, key, got[name][key], n))
			}
		}
		for key, n := range got[name] {
			if _, known := want[name][key]; !known {
				lines = append(lines, fmt.Sprintf("%s %s is %g, want none", name, key, n))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// checkIncrease checks for every series that was there at from that it has risen
// by then as much as the truth, and that the others have risen from nothing.
func (p *prometheus) checkIncrease(from, to time.Time, before, after map[string]map[string]float64) {
	p.t.Helper()
	first, err := p.read(p.t.Context(), from)
	last, err2 := p.read(p.t.Context(), to)
	if err := errors.Join(err, err2); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		present := 0
		for key, n := range after[name] {
			if first[name][key] > 0 {
				present++
			}
			if got, want := last[name][key]-first[name][key], n-before[name][key]; got != want {
				p.t.Errorf("%s %s rose by %g, want %g", name, key, got, want)
			}
		}
		p.t.Logf("%s: %d of %d series were there at the first scrape", name, present, len(after[name]))
		if present*2 < len(after[name]) {
			p.t.Errorf("%s: too few series were there at the first scrape for a proof: %d of %d", name, present, len(after[name]))
		}
	}
}

// checkNeverFell checks that no counter of the program has fallen in any scrape
// between two times.
func (p *prometheus) checkNeverFell(from, to time.Time) {
	p.t.Helper()
	ctx := p.t.Context()
	data, err := p.ask(ctx, "label/__name__/values", url.Values{})
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		p.t.Fatal(err)
	}
	duration := fmt.Sprintf("%ds", int(math.Ceil(to.Sub(from).Seconds())))
	checked := 0
	for _, name := range names {
		if !strings.HasPrefix(name, "rag_") && name != "analytics_records_total" || name == "rag_qps" || strings.HasPrefix(name, "rag_behaviour_active_") {
			continue
		}
		fallen, err := p.query(ctx, fmt.Sprintf("resets(%s[%s]) > 0", name, duration), time.Time{}, to)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, s := range fallen {
			p.t.Errorf("%s%v has fallen %g times", name, s.labels, s.values[0])
		}
		// This Prometheus does not see the resets of native histograms.
		histograms, err := p.query(ctx, "histogram_count("+name+")", from, to)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, s := range histograms {
			if !slices.IsSorted(s.values) {
				p.t.Errorf("the count of %s%v has fallen: %v", name, s.labels, s.values)
			}
		}
		checked++
	}
	if checked < 5 {
		p.t.Errorf("only %d counters to check, of %v", checked, names)
	}
}

// scrapes returns how often an instance was scraped with success.
func (p *prometheus) scrapes(from, to time.Time) float64 {
	p.t.Helper()
	duration := fmt.Sprintf("%ds", int(math.Ceil(to.Sub(from).Seconds())))
	up, err := p.query(p.t.Context(), "sum(sum_over_time(up["+duration+"]))", time.Time{}, to)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(up) == 0 {
		return 0
	}
	return up[0].values[0]
}

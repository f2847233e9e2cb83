//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"ragstreams/grafana/dashboards"
)

// Times that the queries of dashboards look at in the tests: scrapes are a second apart.
const (
	rateInterval = "10s"
	shownSpan    = 20 * time.Second
)

// quiet are the queries whose answers may be all 0 here, with the reason.
var quiet = map[string]string{
	`alerts.json panel "Outbox" A`:                 "RabbitMQ confirms what there is",
	`alerts.json panel "Published again" A`:        "no connection and no instance is lost",
	`alerts.json panel "Blocked" A`:                "RabbitMQ has no alarm",
	`pipeline.json panel "Alerts in the outbox" A`: "RabbitMQ confirms what there is",
	`pipeline.json panel "Something unread" A`:     "what comes is read at once",
	`pipeline.json panel "Not accounted for" A`:    "nothing is lost",
	`pipeline.json panel "Partitions in danger" A`: "the broker has no other, and is there",
	`pipeline.json panel "Partitions in danger" B`: "the broker has no other, and is there",
	`pipeline.json panel "In flight" A`:            "what comes is counted at once",
}

// answer is what Prometheus says to a query of a dashboard.
type answer struct {
	name   string // file and place
	query  dashboards.Query
	series []series
	traces []string // that exemplars lead to
}

// series is one of an answer: its newest value, or a count for a histogram; for a
// variable one of its values, as a label.
type series struct {
	labels map[string]string
	value  float64
	native bool // a histogram
}

// look asks all queries of all dashboards. Its error tells what is wrong with the answers.
func (p *prometheus) look(ctx context.Context) (all []answer, err error) {
	var faults []string
	now := time.Now()
	for _, d := range dashboards.All() {
		values := d.Defaults(rateInterval, shownSpan.String())
		for _, q := range d.Queries() {
			a := answer{name: d.File() + " " + q.Where, query: q}
			if a.series, err = p.answer(ctx, q, dashboards.Expand(q.Expr, values), now); err != nil {
				return nil, fmt.Errorf("%s: %w", a.name, err)
			}
			if q.Exemplars {
				if a.traces, err = p.exemplars(ctx, dashboards.Expand(q.Expr, values), now); err != nil {
					return nil, fmt.Errorf("exemplars of %s: %w", a.name, err)
				}
			}
			if fault := a.fault(); fault != "" {
				faults = append(faults, a.name+" "+fault)
			}
			all = append(all, a)
		}
	}
	if len(faults) > 0 {
		return all, fmt.Errorf("%d of %d answers are wrong:\n%s", len(faults), len(all), strings.Join(faults, "\n"))
	}
	return all, nil
}

// answer asks a query as Grafana would: for the values of a label, for the newest
// moment, or for the time that is shown.
func (p *prometheus) answer(ctx context.Context, q dashboards.Query, expr string, now time.Time) ([]series, error) {
	begin := at(now.Add(-shownSpan))
	switch {
	case q.Label != "":
		data, err := p.ask(ctx, "label/"+q.Label+"/values", url.Values{"match[]": {expr}, "start": {begin}, "end": {at(now)}})
		if err != nil {
			return nil, err
		}
		var values []string
		if err := json.Unmarshal(data, &values); err != nil {
			return nil, err
		}
		var all []series
		for _, v := range values {
			all = append(all, series{labels: map[string]string{q.Label: v}, value: 1})
		}
		return all, nil
	case q.Instant:
		return p.values(ctx, "query", url.Values{"query": {expr}, "time": {at(now)}})
	default:
		return p.values(ctx, "query_range", url.Values{"query": {expr}, "start": {begin}, "end": {at(now)}, "step": {"1"}})
	}
}

// at writes a time for the HTTP API.
func at(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// exemplars returns the trace ids of the exemplars of a query.
func (p *prometheus) exemplars(ctx context.Context, expr string, now time.Time) (traces []string, err error) {
	data, err := p.ask(ctx, "query_exemplars", url.Values{"query": {expr}, "start": {at(now.Add(-shownSpan))}, "end": {at(now)}})
	if err != nil {
		return nil, err
	}
	var found []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, err
	}
	for _, f := range found {
		for _, x := range f.Exemplars {
			if id := x.Labels["trace_id"]; id != "" {
				traces = append(traces, id)
			}
		}
	}
	return traces, nil
}

// values asks a PromQL query and returns the newest value of every series.
func (p *prometheus) values(ctx context.Context, endpoint string, query url.Values) ([]series, error) {
	data, err := p.ask(ctx, endpoint, query)
	if err != nil {
		return nil, err
	}
	var found struct {
		Result []struct {
			Metric     map[string]string
			Value      *point
			Values     []point
			Histogram  *point
			Histograms []point
		}
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("Prometheus answers to %s: %w", query.Get("query"), err)
	}
	var all []series
	for _, r := range found.Result {
		newest := slices.Concat(r.Values, r.Histograms)
		for _, one := range []*point{r.Value, r.Histogram} {
			if one != nil {
				newest = append(newest, *one)
			}
		}
		last := newest[len(newest)-1]
		all = append(all, series{r.Metric, last.value, last.native})
	}
	return all, nil
}

// point is a value at a time, or the count of a native histogram.
type point struct {
	value  float64
	native bool
}

// UnmarshalJSON implements json.Unmarshaler, for [time, "value"] and [time, {"count": …}].
func (p *point) UnmarshalJSON(data []byte) (err error) {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	var text string
	if json.Unmarshal(pair[1], &text) != nil {
		var histogram struct{ Count string }
		if err := json.Unmarshal(pair[1], &histogram); err != nil {
			return err
		}
		text, p.native = histogram.Count, true
	}
	p.value, err = strconv.ParseFloat(text, 64)
	return err
}

// fault returns what is wrong with an answer, or "".
func (a answer) fault() string {
	if len(a.series) == 0 {
		return "has no answer: " + a.query.Expr
	}
	most := math.Inf(-1)
	for _, s := range a.series {
		most = max(most, s.value)
		switch {
		case math.IsNaN(s.value) || math.IsInf(s.value, 0):
			return fmt.Sprintf("gives %g for %v", s.value, s.labels)
		case s.native != a.query.Heatmap:
			return fmt.Sprintf("gives histograms: %v, want them: %v", s.native, a.query.Heatmap)
		case s.value < 0 && !strings.Contains(a.name, "Not accounted for"): // instances and rows are read one after the other
			return fmt.Sprintf("gives %g for %v, which cannot be negative", s.value, s.labels)
		case s.value > 1 && (a.query.Unit == "percentunit" || a.query.Unit == "bool_yes_no"):
			return fmt.Sprintf("gives %g for %v, want at most 1", s.value, s.labels)
		case s.value > 300 && a.query.Unit == "s" && !a.query.Heatmap:
			return fmt.Sprintf("gives %g seconds for %v", s.value, s.labels)
		}
	}
	for _, label := range dashboards.Legends(a.query.Legend) {
		if !slices.ContainsFunc(a.series, func(s series) bool { return s.labels[label] != "" }) { // some events lack it
			return fmt.Sprintf("has no label %s, which the legend %q names", label, a.query.Legend)
		}
	}
	if a.query.Exemplars && len(a.traces) == 0 {
		return "has no exemplars"
	}
	if _, known := quiet[a.name]; most <= 0 && !known {
		return "gives nothing but 0: " + a.query.Expr
	}
	return ""
}

// report writes a table of the answers: to the log, and to the file that E2E_REPORT names.
func report(t testing.TB, answers []answer) {
	t.Helper()
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "dashboard\tquery\tseries\tgreatest\tof")
	for _, a := range answers {
		board, where, _ := strings.Cut(a.name, " ")
		fmt.Fprintf(w, "%s\t%s\t%d", strings.TrimSuffix(board, ".json"), where, len(a.series))
		most := slices.MaxFunc(a.series, func(x, y series) int { return cmp.Compare(x.value, y.value) })
		kind := ""
		if most.native {
			kind = " calls a second"
		}
		fmt.Fprintf(w, "\t%.4g%s\t%s\n", most.value, kind, labelText(most.labels))
	}
	w.Flush()
	t.Logf("%d queries of dashboards\n%s", len(answers), text.String())
	if path := os.Getenv("E2E_REPORT"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(text.Bytes())
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func labelText(labels map[string]string) string {
	var all []string
	for name, value := range labels {
		all = append(all, fmt.Sprintf("%s=%.24q", name, value))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// countedWhole returns an error unless groups of acme have been counted whole though they
// are new: of rates their first errors would be missing. So it is once acme was watched for
// longer than the time that is shown, within which four groups begin.
func countedWhole(answers []answer) error {
	for _, panel := range []string{"New groups", "Most frequent groups"} {
		whole := 0
		for _, a := range answers {
			if a.name != `errors.json panel "`+panel+`" A` {
				continue
			}
			for _, s := range a.series {
				if s.labels["tenant"] == "acme" && s.value == groupSize {
					whole++
				}
			}
		}
		if whole < 2 { // of the newest a part may be counted
			return fmt.Errorf("%s: %d groups of acme have all their %d errors, want two or more", panel, whole, groupSize)
		}
	}
	return nil
}

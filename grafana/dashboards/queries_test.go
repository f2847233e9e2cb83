package dashboards_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ragstreams/grafana/dashboards"
	"ragstreams/metrics"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// metric is what is known of one.
type metric struct {
	kind   metrics.Type
	labels []string
}

// shared are the metrics that are scraped without the label instance: what they are of may
// move.
var shared = regexp.MustCompile(`^(rag_|analytics_records_|analytics_kafka_|analytics_rabbitmq_)`)

// known are the metrics that queries and rules may name: those of the program, and what
// Prometheus and the Go runtime add to them.
func known() map[string]metric {
	all := map[string]metric{
		"process_resident_memory_bytes": {kind: metrics.Gauge, labels: []string{}},
		"process_cpu_seconds_total":     {kind: metrics.Counter, labels: []string{}},
		"go_goroutines":                 {kind: metrics.Gauge, labels: []string{}},
		"up":                            {kind: metrics.Gauge, labels: []string{}},
		"ALERTS":                        {kind: metrics.Gauge, labels: []string{"alertname", "alertstate", "severity"}},
	}
	for _, d := range metrics.Docs() {
		all[d.Name] = metric{kind: d.Type, labels: d.Labels}
	}
	for name, m := range all {
		if !shared.MatchString(name) {
			m.labels = append(slices.Clone(m.labels), "instance", "job")
			all[name] = m
		}
	}
	return all
}

var promQL = parser.NewParser(parser.Options{})

// judge returns what is wrong with an expression: what it names that is not there, and
// what is done to metrics that is not done to their kind.
func judge(expr string, known map[string]metric) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	tree, err := promQL.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(tree, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m, ok := known[v.Name]
		if !ok {
			fault("there is no metric %q", v.Name)
			return nil
		}
		for _, match := range v.LabelMatchers {
			if match.Name != model.MetricNameLabel && !slices.Contains(m.labels, match.Name) {
				fault("%s has no label %s", v.Name, match.Name)
			}
		}
		counted := false
		for _, above := range path {
			switch above := above.(type) {
			case *parser.AggregateExpr:
				for _, label := range above.Grouping {
					if !slices.Contains(m.labels, label) {
						fault("%s is grouped by %s, which it has not", v.Name, label)
					}
				}
			case *parser.Call:
				counted = counted || slices.Contains([]string{"rate", "increase"}, above.Func.Name)
				if strings.HasPrefix(above.Func.Name, "histogram_") && m.kind != metrics.Histogram {
					fault("%s of %s, which is no histogram", above.Func.Name, v.Name)
				}
			}
		}
		if counted && m.kind == metrics.Gauge {
			fault("%s is no counter", v.Name)
		}
		return nil
	})
	return faults
}

func TestQueries(t *testing.T) {
	metrics, asked := known(), map[string]bool{}
	for _, d := range dashboards.All() {
		values := d.Defaults("1m", "1h")
		for _, q := range d.Queries() {
			at := d.File() + ", " + q.Where
			expr := dashboards.Expand(q.Expr, values)
			for _, fault := range judge(expr, metrics) {
				t.Errorf("%s: %s\n%s", at, fault, expr)
			}
			tree, err := promQL.ParseExpr(expr)
			if err != nil {
				continue // told above
			}
			for _, legend := range dashboards.Legends(q.Legend) {
				if !regexp.MustCompile(`\b` + legend + `\b`).MatchString(expr) {
					t.Errorf("%s: the legend %q names %s, which the answer does not have: %s", at, q.Legend, legend, expr)
				}
			}
			parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
				v, ok := n.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				asked[v.Name] = true
				if strings.HasPrefix(q.Where, "panel") {
					narrowed(t, at, d, v, metrics[v.Name].labels)
				}
				return nil
			})
		}
	}
	for name := range metrics {
		if !asked[name] && name != "up" {
			t.Errorf("no dashboard shows %s", name)
		}
	}
}

// narrowed checks that what is selected follows every variable of the dashboard that is
// one of its labels: a panel that does not would show all where others show a part.
func narrowed(t *testing.T, at string, d dashboards.Dashboard, v *parser.VectorSelector, of []string) {
	t.Helper()
	for _, variable := range d.Templating.List {
		if slices.Contains(of, variable.Name) && !slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == variable.Name }) {
			t.Errorf("%s: %s does not follow the variable %s", at, v.Name, variable.Name)
		}
	}
}

// The judge must find what is wrong, or the tests with it prove nothing.
func TestJudge(t *testing.T) {
	metrics := known()
	for expr, want := range map[string]string{
		`sum by (tenant) (rate(rag_events_total[5m]))`:                                   "",
		`histogram_quantile(0.9, sum by (stage) (rate(rag_stage_duration_seconds[5m])))`: "",
		`rag_event_total`:                                  `there is no metric "rag_event_total"`,
		`rag_events_total{stage="a"}`:                      "rag_events_total has no label stage",
		`sum by (instance) (rag_events_total)`:             "rag_events_total is grouped by instance, which it has not",
		`rate(rag_qps[5m])`:                                "rag_qps is no counter",
		`histogram_count(rate(rag_events_total[5m]))`:      "histogram_count of rag_events_total, which is no histogram",
		`sum by (model) (analytics_lag_seconds)`:           "analytics_lag_seconds is grouped by model, which it has not",
		`sum(rag_events_total`:                             "1:21: parse error: unclosed left parenthesis",
		`max by (instance, table) (analytics_lag_seconds)`: "",
	} {
		if got := strings.Join(judge(expr, metrics), "; "); got != want {
			t.Errorf("judge(%s) = %q, want %q", expr, got, want)
		}
	}
}

// ruleFile is a Prometheus rule file.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels              map[string]string
			Annotations         map[string]string
		}
	}
}

// The rules for Prometheus ask for what is there; an alert says what to do.
func TestPrometheusRules(t *testing.T) {
	var file ruleFile
	read(t, filepath.Join("..", "prometheus-rules", "pipeline.yaml"), &file)
	metrics := known()
	alerts := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				level, _, _ := strings.Cut(r.Record, ":")
				metrics[r.Record] = metric{kind: "recorded", labels: strings.Split(level, "_")}
			}
			for _, fault := range judge(r.Expr, metrics) {
				t.Errorf("%s%s: %s", r.Record, r.Alert, fault)
			}
			if r.Alert == "" {
				continue
			}
			alerts++
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: labels %v, annotations %v", r.Alert, r.Labels, r.Annotations)
			}
			if !strings.Contains(readText(t, filepath.Join("..", "..", r.Annotations["runbook_url"])), "`"+r.Alert+"`") {
				t.Errorf("%s: %s does not speak of it", r.Alert, r.Annotations["runbook_url"])
			}
			if !strings.Contains(readText(t, filepath.Join("..", "prometheus-rules", "pipeline.test.yml")), "alertname: "+r.Alert+"\n") {
				t.Errorf("%s has no unit test", r.Alert)
			}
		}
	}
	if alerts == 0 {
		t.Error("no alerts")
	}
}

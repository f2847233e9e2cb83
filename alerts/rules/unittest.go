package rules

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"go.yaml.in/yaml/v3"
)

// unitTests is a file of unit tests, as promtool reads them.
type unitTests struct {
	RuleFiles  []string       `yaml:"rule_files"`
	Interval   model.Duration `yaml:"evaluation_interval"`
	GroupOrder []string       `yaml:"group_eval_order"`
	Fuzzy      bool           `yaml:"fuzzy_compare"`
	Tests      []unitTest     `yaml:"tests"`
}

type unitTest struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"` // between the values of a series
	Series   []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Events []inputEvents `yaml:"input_events"` // promtool knows none
	Alerts []struct {
		At     model.Duration  `yaml:"eval_time"`
		Alert  string          `yaml:"alertname"`
		Firing []expectedAlert `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
	Exprs []exprTest `yaml:"promql_expr_test"`
}

type exprTest struct {
	Expr    string         `yaml:"expr"`
	At      model.Duration `yaml:"eval_time"`
	Samples []struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	} `yaml:"exp_samples"`
}

type expectedAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func (a expectedAlert) String() string {
	return fmt.Sprintf("%s %s", labels.FromMap(a.Labels), labels.FromMap(a.Annotations))
}

// Test runs a file of unit tests, written as for `promtool test rules`, by what
// evaluates rules here: no_data and min_samples mean what they mean here, and so does
// for. It returns what was not as expected, a text each. Where a test has input_events,
// tables makes its series of them.
func Test(ctx context.Context, file string, tables func(begin time.Time) (Tables, error)) (failures []string, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("unit tests: %w", err)
	}
	var tests unitTests
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&tests); err != nil {
		return nil, fmt.Errorf("unit tests of %s: %w", file, err)
	}
	if tests.Interval == 0 {
		tests.Interval = model.Duration(time.Minute)
	}
	files := map[string][]byte{}
	for _, pattern := range tests.RuleFiles {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(file), pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			return nil, fmt.Errorf("unit tests of %s: no rule file matches %q", file, pattern)
		}
		for _, name := range names {
			if files[name], err = os.ReadFile(name); err != nil {
				return nil, fmt.Errorf("unit tests of %s: %w", file, err)
			}
		}
	}
	set, err := Parse(files)
	if err != nil {
		return nil, err
	}
	set.order(tests.GroupOrder)
	for i := range tests.Tests {
		t := &tests.Tests[i]
		name := t.Name
		if name == "" {
			name = fmt.Sprintf("test %d", i+1)
		}
		found, err := t.run(ctx, set, tables, time.Duration(tests.Interval), tests.Fuzzy)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, name, err)
		}
		for _, f := range found {
			failures = append(failures, name+": "+f)
		}
	}
	return failures, nil
}

// order puts some groups first, in this order.
func (s *Set) order(names []string) {
	rank := func(g *group) int {
		if i := slices.Index(names, g.name); i >= 0 {
			return i
		}
		return len(names)
	}
	slices.SortStableFunc(s.groups, func(a, b *group) int { return rank(a) - rank(b) })
}

// testStart is when a test begins: a millisecond after the time that stands for none.
var testStart = time.UnixMilli(1)

// run lets time pass from one evaluation to the next, and looks at what fires at the
// times that are asked for.
func (t *unitTest) run(ctx context.Context, set *Set, tables func(begin time.Time) (Tables, error), interval time.Duration, fuzzy bool) (failures []string, err error) {
	given, err := t.series()
	if err != nil {
		return nil, err
	}
	events, err := t.events(tables)
	if err != nil {
		return nil, err
	}
	var end time.Duration
	for _, c := range t.Alerts {
		end = max(end, time.Duration(c.At))
	}
	for _, c := range t.Exprs {
		end = max(end, time.Duration(c.At))
	}
	slices.SortStableFunc(t.Exprs, func(a, b exprTest) int { return cmp.Compare(a.At, b.At) }) // time does not go back
	evaluator, rows := NewEvaluator(), map[string]*alerts.Row{}
	for at := time.Duration(0); at <= end; at += interval {
		series, err := events.at(at, given)
		if err != nil {
			return nil, err
		}
		m := Moment{At: testStart.Add(at), Now: testStart.Add(at), Series: series, Known: rows, All: true}
		said, faults, err := evaluator.Evaluate(ctx, set, m)
		if err != nil {
			return nil, err
		}
		for _, f := range faults {
			failures = append(failures, fmt.Sprintf("at %s: %v", at, f))
		}
		Take(rows, said, nil)
		last := at + interval // exclusive
		for _, c := range t.Alerts {
			if asked := time.Duration(c.At); asked >= at && asked < last {
				failures = append(failures, checkAlerts(c.At, c.Alert, c.Firing, rows)...)
			}
		}
		for _, c := range t.Exprs {
			if asked := time.Duration(c.At); asked >= at && asked < last {
				series, err := events.at(asked, given)
				if err != nil {
					return nil, err
				}
				o := &round{Moment: m, ctx: ctx, engine: evaluator.engine, series: both{series, evaluator.recorded}}
				got, err := o.query(c.Expr, testStart.Add(asked))
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.Expr, err)
				}
				want := promql.Vector{}
				for _, s := range c.Samples {
					metric := labels.EmptyLabels()
					if s.Labels != "" {
						if metric, err = promQL.ParseMetric(s.Labels); err != nil {
							return nil, fmt.Errorf("labels %q: %w", s.Labels, err)
						}
					}
					want = append(want, promql.Sample{Metric: metric, F: s.Value})
				}
				if w, g := samplesText(want), samplesText(got); !sameSamples(want, got, fuzzy) {
					failures = append(failures, fmt.Sprintf("%s at %s: got %s, want %s", c.Expr, c.At, g, w))
				}
			}
		}
	}
	return failures, nil
}

// series returns the series of the test.
func (t *unitTest) series() (*recorder, error) {
	step := time.Duration(t.Interval)
	if step == 0 {
		step = time.Minute
	}
	r := newRecorder()
	for _, s := range t.Series {
		metric, values, err := promQL.ParseSeriesDesc(s.Series + " " + s.Values)
		if err != nil {
			return nil, fmt.Errorf("series %s: %w", s.Series, err)
		}
		w := &written{labels: metric}
		for i, v := range values {
			if !v.Omitted {
				w.samples = append(w.samples, chunks.Sample(sample{testStart.Add(time.Duration(i) * step).UnixMilli(), v.Value, v.Histogram}))
			}
		}
		name := metric.Get(model.MetricNameLabel)
		if r.byName[name] == nil {
			r.byName[name] = map[uint64]*written{}
		}
		r.byName[name][metric.Hash()] = w
	}
	return r, nil
}

func checkAlerts(at model.Duration, name string, want []expectedAlert, rows map[string]*alerts.Row) []string {
	var wanted, got []string
	for _, a := range want {
		a.Labels = maps.Clone(a.Labels)
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[model.AlertNameLabel] = name
		wanted = append(wanted, a.String())
	}
	for _, row := range rows {
		if row.State == alerts.Firing && row.Name == name {
			got = append(got, expectedAlert{row.Labels, row.Annotations}.String())
		}
	}
	slices.Sort(wanted)
	slices.Sort(got)
	if slices.Equal(wanted, got) {
		return nil
	}
	return []string{fmt.Sprintf("%s at %s: fires\n\t%s\nwant\n\t%s", name, at, list(got), list(wanted))}
}

func list(lines []string) string {
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n\t")
}

func samplesText(v promql.Vector) string {
	var all []string
	for _, s := range v {
		all = append(all, fmt.Sprintf("%s %v", s.Metric, s.F))
	}
	slices.Sort(all)
	return list(all)
}

// sameSamples compares two vectors whatever their order; fuzzy forgives what floating
// point loses.
func sameSamples(a, b promql.Vector, fuzzy bool) bool {
	if len(a) != len(b) {
		return false
	}
	order := func(x, y promql.Sample) int { return labels.Compare(x.Metric, y.Metric) }
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.EqualFunc(a, b, func(x, y promql.Sample) bool {
		near := x.F == y.F || math.IsNaN(x.F) && math.IsNaN(y.F) ||
			fuzzy && math.Abs(x.F-y.F) <= 1e-6*max(math.Abs(x.F), math.Abs(y.F))
		return labels.Equal(x.Metric, y.Metric) && near
	})
}

package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// stand evaluates rules second by second, as the stage of the alerts takes them in.
type stand struct {
	*testing.T
	set       *Set
	evaluator *Evaluator
	tables    *recorder
	now       int64 // seconds
	behind    int64 // seconds that the tables are behind
	rows      map[string]*alerts.Row
	told      []string
	messages  []alerts.Message
	said      int
	faults    []Fault
	given     map[string]*rule
	suppress  func(firing map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor
	repeat    func(labels map[string]string) time.Duration
	past      bool
}

func newStand(t *testing.T, file string) *stand {
	s := &stand{T: t, evaluator: NewEvaluator(), tables: newRecorder(), now: 1_000_000, rows: map[string]*alerts.Row{}}
	s.tables.span = time.Hour.Milliseconds()
	s.load(file)
	return s
}

func (s *stand) load(file string) {
	s.Helper()
	set, err := Parse(map[string][]byte{"test.yaml": []byte(file)})
	if err != nil {
		s.Fatal(err)
	}
	s.set = set
}

// tableRule stands for a table: what gives the series of a name.
func (s *stand) tableRule(name string) *rule {
	if s.given == nil {
		s.given = map[string]*rule{}
	}
	if s.given[name] == nil {
		s.given[name] = &rule{record: name}
	}
	return s.given[name]
}

// values are series, written as PromQL writes them, and their values.
type values map[string]float64

// second lets a second pass at whose end these are all series, and evaluates.
func (s *stand) second(v values) {
	s.Helper()
	s.now++
	byName := map[string]promql.Vector{}
	for name := range s.tables.byName {
		byName[name] = nil
	}
	for text, f := range v {
		metric, err := promQL.ParseMetric(text)
		if err != nil {
			s.Fatal(err)
		}
		name := metric.Get(model.MetricNameLabel)
		byName[name] = append(byName[name], promql.Sample{Metric: metric, F: f})
	}
	for name, vector := range byName {
		if err := s.tables.add(s.tableRule(name), s.now*1000, vector); err != nil {
			s.Fatal(err)
		}
	}
	s.evaluate()
}

func (s *stand) evaluate() {
	s.Helper()
	s.take(s.ask(maps.Clone(s.rows)))
}

// ask returns what an evaluation says of alerts that are known.
func (s *stand) ask(known map[string]*alerts.Row) []Said {
	s.Helper()
	said, faults, err := s.evaluator.Evaluate(s.Context(), s.set, Moment{
		At: time.Unix(s.now-s.behind, 0), Now: time.Unix(s.now, 0), Present: []string{"lag"},
		Series: both{s.tables, newRecorder()}, Known: known,
		Describe: func(a *alerts.About) { a.Lag = alerts.Seconds(time.Second) },
		Suppress: s.suppress, Repeat: s.repeat, Past: s.past,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.faults = faults
	s.said += len(said)
	for i := range said { // as it comes over the wire
		if err := said[i].Decode(said[i].Append(nil)); err != nil {
			s.Fatal(err)
		}
	}
	return said
}

// take takes in what was said, as the stage of the alerts does.
func (s *stand) take(said []Said) {
	Take(s.rows, said, func(key string, tr alerts.Transition, about alerts.About) {
		m := alerts.NewMessage(key, tr, about)
		s.messages = append(s.messages, m)
		s.told = append(s.told, fmt.Sprintf("%d %s %s %s", s.now-1_000_000, key, m.State, m.Reason))
	})
}

func (s *stand) want(told ...string) {
	s.Helper()
	if !slices.Equal(s.told, told) {
		s.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(s.told, "\n\t"), strings.Join(told, "\n\t"))
	}
	s.told = nil
}

const ratio = `
groups:
- name: quality
  labels: {team: rag}
  rules:
  - alert: Errors
    expr: error_ratio > 0.1
    for: 2s
    labels: {severity: page, where: '{{ $labels.tenant }}-x'}
    annotations:
      summary: '{{ $labels.tenant }} fails {{ $value | humanizePercentage }}'
`

func TestFiresAndResolves(t *testing.T) {
	s := newStand(t, ratio)
	acme := `"quality" Errors{severity="page",team="rag",tenant="acme",where="acme-x"}`
	for _, v := range []float64{0, 0.2, 0.3, 0.25, 0.2, 0.1, 0} {
		s.second(values{`error_ratio{tenant="acme"}`: v, `error_ratio{tenant="globex"}`: 0.05})
	}
	s.want("4 "+acme+" firing breached", "6 "+acme+" resolved cleared")
	fired, resolved := s.messages[0], s.messages[1]
	if fired.Annotations["summary"] != "acme fails 25%" || fired.Value != 0.25 || fired.Lag != alerts.Seconds(time.Second) {
		t.Errorf("fired: %+v", fired)
	}
	if fired.Expr != "error_ratio > 0.1" || fired.Severity != "page" || fired.Rule != "Errors" || fired.Group != "quality" {
		t.Errorf("fired: %+v", fired)
	}
	if resolved.Value != 0.1 || resolved.Lasted != alerts.Seconds(2*time.Second) {
		t.Errorf("resolved: %+v", resolved)
	}
	// New were: pending, firing, resolved.
	if s.said != 3 {
		t.Errorf("%d evaluations were sent, want 3", s.said)
	}
}

const causeAndEffect = `
groups:
- name: g
  rules:
  - {alert: Effect, expr: effect > 0}
  - {alert: Cause, expr: cause > 0, for: 1s}
`

// byCause suppresses what is no cause while a cause fires.
func byCause(firing map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor {
	var by []alerts.Suppressor
	for key, labels := range firing {
		if labels["alertname"] == "Cause" {
			by = append(by, alerts.Suppressor{Kind: alerts.Inhibited, By: alerts.Fingerprint(key)})
		}
	}
	return func(_ string, labels map[string]string) []alerts.Suppressor {
		if labels["alertname"] == "Cause" {
			return nil
		}
		return by
	}
}

// What suppresses an alert is what fires after the same evaluation, whatever the order
// of the rules.
func TestSuppress(t *testing.T) {
	s := newStand(t, causeAndEffect)
	s.suppress = byCause
	play := func(script ...[2]float64) {
		for _, v := range script {
			s.second(values{"cause": v[0], "effect": v[1]})
		}
	}
	play([2]float64{1, 0}, [2]float64{1, 1}) // the cause is pending, then both fire
	s.want(`2 "g" Cause{} firing breached`)
	if got := s.rows[`"g" Effect{}`]; got.State != alerts.Firing || len(got.Suppressed) != 1 {
		t.Errorf("the effect: %+v, want it to fire and be seen as suppressed", got.Alert)
	}
	play([2]float64{0, 1}) // the cause is gone, the effect is not
	s.want(`3 "g" Cause{} resolved cleared`, `3 "g" Effect{} firing unsuppressed`)
	play([2]float64{1, 1}, [2]float64{1, 1}, [2]float64{1, 0}, [2]float64{0, 0})
	s.want(`5 "g" Cause{} firing breached`, `6 "g" Effect{} resolved cleared`, `7 "g" Cause{} resolved cleared`)
}

// What begins or ceases to suppress an alert is news, and so is nothing else.
func TestSuppressionIsNews(t *testing.T) {
	s := newStand(t, causeAndEffect)
	var by []alerts.Suppressor
	s.suppress = func(map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor {
		return func(string, map[string]string) []alerts.Suppressor { return by }
	}
	for i, who := range [][]alerts.Suppressor{nil, nil, {{Kind: alerts.Silenced, By: "1"}}, {{Kind: alerts.Silenced, By: "1"}}, {{Kind: alerts.Silenced, By: "2"}}, {}, nil} {
		by = who
		before := s.said
		s.second(values{"effect": 1})
		if news := s.said > before; news != (i == 0 || i == 2 || i == 4 || i == 5) {
			t.Errorf("second %d: news: %v", i, news)
		}
		if got := s.rows[`"g" Effect{}`].Suppressed; !slices.Equal(got, by) {
			t.Errorf("second %d: suppressed by %v, want %v", i, got, by)
		}
	}
	s.want(`1 "g" Effect{} firing breached`)
}

// Of the past only the tables tell.
func TestRulesAboutThePresentAreNotEvaluatedForThePast(t *testing.T) {
	s := newStand(t, "groups: [{name: g, rules: [{alert: Lag, expr: lag > 1}, {alert: X, expr: x > 1}]}]")
	s.second(values{"lag": 2, "x": 2})
	s.want(`1 "g" Lag{} firing breached`, `1 "g" X{} firing breached`)
	s.past = true
	s.second(values{"lag": 0, "x": 0})
	s.want(`2 "g" X{} resolved cleared`)
	s.past = false
	s.second(values{"lag": 0, "x": 0})
	s.want(`3 "g" Lag{} resolved cleared`)
}

func TestRepeat(t *testing.T) {
	s := newStand(t, causeAndEffect)
	s.repeat = func(labels map[string]string) time.Duration {
		if labels["alertname"] == "Effect" {
			return 3 * time.Second
		}
		return 0
	}
	for range 7 {
		s.second(values{"effect": 1, "cause": 1})
	}
	s.want(`1 "g" Effect{} firing breached`, `2 "g" Cause{} firing breached`, `4 "g" Effect{} firing repeated`, `7 "g" Effect{} firing repeated`)
	if m := s.messages[3]; m.Repeat != 2 || m.Previous != alerts.Firing || m.Lasted != alerts.Seconds(6*time.Second) {
		t.Errorf("repeated: %+v", m)
	}
}

// What the table knows of an alert that goes on is kept fresh, once a minute.
func TestActiveAlertsAreRefreshed(t *testing.T) {
	s := newStand(t, strings.Replace(ratio, "for: 2s", "for: 0s", 1))
	for range 200 {
		s.second(values{`error_ratio{tenant="acme"}`: 0.2})
	}
	if len(s.told) != 1 || s.said != 4 {
		t.Errorf("%d told, %d evaluations sent; want 1 and 4", len(s.told), s.said)
	}
}

func TestNoData(t *testing.T) {
	const file = `
groups:
- name: g
  rules:
  - alert: A
    expr: x > 1
    annotations: {no_data: %s}
`
	for _, c := range []struct {
		mode string
		want []string
	}{
		{"ok", []string{`2 "g" A{t="a"} firing breached`, `4 "g" A{t="a"} resolved no_data`}},
		{"keep", []string{`2 "g" A{t="a"} firing breached`, `6 "g" A{t="a"} resolved cleared`}},
		{"firing", []string{
			`1 "g" A{} firing no_data`, `2 "g" A{t="a"} firing breached`, `2 "g" A{} resolved cleared`,
			`4 "g" A{} firing no_data`, `6 "g" A{t="a"} resolved cleared`, `6 "g" A{} resolved cleared`,
		}},
	} {
		t.Run(c.mode, func(t *testing.T) {
			s := newStand(t, fmt.Sprintf(file, c.mode))
			a := func(v float64) values { return values{`x{t="a"}`: v} }
			for _, v := range []values{nil, a(2), a(2), nil, nil, a(0)} {
				s.second(v)
			}
			slices.Sort(s.told)
			slices.Sort(c.want)
			s.want(c.want...)
		})
	}
}

// What is not a number is no data of that element, though others have some.
func TestNoNumberIsNoData(t *testing.T) {
	s := newStand(t, `groups: [{name: g, rules: [{alert: A, expr: part / all > 0.5, annotations: {no_data: firing}}]}]`)
	of := func(part, all float64) values {
		return values{`part{t="a"}`: part, `all{t="a"}`: all, `part{t="b"}`: 0, `all{t="b"}`: 9}
	}
	for _, v := range []values{of(1, 9), of(0, 0), of(9, 9), of(0, 9)} {
		s.second(v)
	}
	s.want(`2 "g" A{t="a"} firing no_data`, `4 "g" A{t="a"} resolved cleared`)
}

// A condition that does not hold is not one without data, however it is written.
func TestClearedIsNotNoData(t *testing.T) {
	for _, c := range []struct {
		expr, reason string
		after        values
	}{
		{"x > 1", "cleared", values{`x{t="a"}`: 1, `y{t="a"}`: 1}},
		{"x > 1", "no_data", values{`x{t="b"}`: 1}},
		{"1 < x", "cleared", values{`x{t="a"}`: 1}},
		{"1 < x", "no_data", nil},
		{"(x > 1)", "no_data", nil},
		{"sum by (t) (x) > 1", "no_data", values{`y{t="a"}`: 9}},
		{"x > on (t) y", "cleared", values{`x{t="a"}`: 1, `y{t="a"}`: 2}},
		{"x > on (t) y", "cleared", values{`x{t="a"}`: 1}}, // nothing to compare with, but there is x
		{"x > 1 and on (t) y > 0", "cleared", values{`x{t="a"}`: 3, `y{t="a"}`: 0}},
		{"x > 1 and on (t) y > 0", "no_data", values{`y{t="a"}`: 5}},
		{"x > 1 unless on (t) z", "cleared", values{`x{t="a"}`: 3, `z{t="a"}`: 0}},
		{"1 < x < 9", "cleared", values{`x{t="a"}`: 1}},
		{"1 < x < 9", "cleared", values{`x{t="a"}`: 10}},
		{"1 < x < 9", "no_data", nil},
		{"2 * 0.5 < x", "cleared", values{`x{t="a"}`: 1}},
		{"2 * 0.5 < x", "no_data", nil},
		{"scalar(y) < x", "cleared", values{`x{t="a"}`: 1, `y{t="a"}`: 2}},
		{"y < on (t) group_right x", "cleared", values{`x{t="a"}`: 1, `y{t="a"}`: 2}},
		{"x > 1", "no_data", values{`x{t="a"}`: math.NaN()}},
		{"x / x > 0.5", "no_data", values{`x{t="a"}`: 0}}, // 0 of 0
		{"x", "cleared", nil},                             // nothing is compared
		{"x > bool 1", "cleared", nil},
		{"x > 1 or y > 100", "cleared", nil},
	} {
		t.Run(c.expr+" "+c.reason, func(t *testing.T) {
			s := newStand(t, "groups: [{name: g, rules: [{alert: A, expr: '"+c.expr+"'}]}]")
			s.second(values{`x{t="a"}`: 3, `y{t="a"}`: 1})
			s.second(c.after)
			s.want(`1 "g" A{t="a"} firing breached`, `2 "g" A{t="a"} resolved `+c.reason)
		})
	}
}

func TestMinSamples(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - alert: Ratio
    expr: sum by (t) (rate(events_total{status="error"}[10s])) / sum by (t) (rate(events_total[10s])) > 0.5
    annotations: {min_samples: "20"}
`)
	count := 0.0
	step := func(errors float64) {
		count += errors
		s.second(values{`events_total{t="a",status="error"}`: count, `events_total{t="a",status="ok"}`: 0})
	}
	for range 15 {
		step(1) // ten in ten seconds
	}
	s.want()
	for range 6 {
		step(4)
	}
	s.want(`19 "g" Ratio{t="a"} firing breached`)
	if n := s.messages[0].Samples; n == nil || *n != 22 {
		t.Errorf("samples = %v, want 22", n)
	}
	if w := s.messages[0].Window; w != alerts.Seconds(10*time.Second) {
		t.Errorf("window = %v", time.Duration(w))
	}
	for range 20 {
		step(1)
	}
	s.want(`28 "g" Ratio{t="a"} resolved no_data`)
}

func TestRulesThatChange(t *testing.T) {
	s := newStand(t, ratio)
	hold := func(seconds int) {
		for range seconds {
			s.second(values{`error_ratio{tenant="acme"}`: 0.2})
		}
	}
	acme := `"quality" Errors{severity="page",team="rag",tenant="acme",where="acme-x"}`
	hold(3)
	s.want("3 " + acme + " firing breached")
	s.load(strings.Replace(ratio, "summary: '", "summary: 'Careful: ", 1))
	hold(2)
	s.want() // a text for people
	s.load(strings.Replace(ratio, "> 0.1", "> 0.15", 1))
	hold(3)
	s.want("6 "+acme+" resolved rule_changed", "8 "+acme+" firing breached")
	s.load(strings.Replace(ratio, "> 0.1", "> 0.5", 1))
	hold(1)
	s.want("9 " + acme + " resolved rule_changed")
	s.load(ratio)
	hold(3)
	s.want("12 " + acme + " firing breached")
	s.load(strings.Replace(ratio, "severity: page", "severity: info", 1))
	hold(3)
	info := strings.Replace(acme, "page", "info", 1)
	s.want("13 "+acme+" resolved rule_changed", "15 "+info+" firing breached")
	s.load("groups: []")
	hold(2)
	s.want("16 " + info + " resolved rule_removed")
}

// Two rules of one name, as for a warning and a page, are two.
func TestRulesOfOneName(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - {alert: A, expr: x > 1, labels: {severity: warning}}
  - {alert: A, expr: x > 2, labels: {severity: page}}
`)
	for _, v := range []float64{0, 2, 3, 2, 0} {
		s.second(values{"x": v})
	}
	const warning, page = ` "g" A{severity="warning"} `, ` "g" A{severity="page"} `
	s.want("2"+warning+"firing breached", "3"+page+"firing breached", "4"+page+"resolved cleared", "5"+warning+"resolved cleared")
}

// A rule that cannot be evaluated says nothing, and its alerts stay as they are.
func TestFaults(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  limit: 2
  rules:
  - {alert: Many, expr: x > 1}
  - {alert: Same, expr: x > 1, labels: {t: one}}
  - {alert: Broken, expr: 'x * on () y > 1'}
  - {alert: Fine, expr: max(x) > 1}
`)
	s.second(values{`x{t="a"}`: 2, "y": 1})
	s.want(`1 "g" Broken{} firing breached`, `1 "g" Fine{} firing breached`, `1 "g" Many{t="a"} firing breached`, `1 "g" Same{t="one"} firing breached`)
	s.second(values{`x{t="a"}`: 2, `x{t="b"}`: 2, "y": 1})
	s.want(`2 "g" Many{t="b"} firing breached`)
	if len(s.faults) != 2 || !strings.Contains(s.faults[0].Error(), `gives the alert "g" Same{t="one"} twice`) || s.faults[1].Rule != "Broken" {
		t.Errorf("faults = %v", s.faults)
	}
	s.second(values{`x{t="a"}`: 2, `x{t="b"}`: 2, `x{t="c"}`: 2, "y": 1})
	s.want()
	if len(s.faults) != 3 || !strings.Contains(s.faults[0].Error(), "gives 3 alerts, the limit of its group is 2") {
		t.Errorf("faults = %v", s.faults)
	}
	s.second(values{`x{t="a"}`: 0})
	s.want(`4 "g" Broken{} resolved no_data`, `4 "g" Fine{} resolved cleared`, `4 "g" Many{t="a"} resolved cleared`,
		`4 "g" Many{t="b"} resolved no_data`, `4 "g" Same{t="one"} resolved cleared`)
}

func TestIntervalAndOffset(t *testing.T) {
	s := newStand(t, `
groups:
- {name: slow, interval: 5s, rules: [{alert: Slow, expr: x > 1}]}
- {name: behind, query_offset: 3s, rules: [{alert: Behind, expr: x > 1}]}
`)
	for _, v := range []float64{0, 2, 0, 0, 0, 2, 2, 2, 2, 2, 2} {
		s.second(values{"x": v})
	}
	s.want(`5 "behind" Behind{} firing breached`, `6 "behind" Behind{} resolved cleared`,
		`9 "behind" Behind{} firing breached`, `10 "slow" Slow{} firing breached`)
}

// The past does not take the interval of what only the present tells.
func TestIntervalOfThePresent(t *testing.T) {
	s := newStand(t, "groups: [{name: g, interval: 10s, rules: [{alert: Lag, expr: lag > 1}, {alert: X, expr: x > 1}]}]")
	s.now += 9
	s.past = true
	s.second(values{"lag": 2, "x": 2})
	s.past = false
	s.evaluate()
	s.want(`10 "g" X{} firing breached`, `10 "g" Lag{} firing breached`)
}

// Who comes out of a backlog of hours repeats nothing on the way.
func TestRepeatIsOfThePresent(t *testing.T) {
	s := newStand(t, causeAndEffect)
	s.repeat = func(map[string]string) time.Duration { return 3 * time.Second }
	s.behind = 3600
	for range 5 {
		s.now++
		s.tables.add(s.tableRule("effect"), (s.now-s.behind)*1000, promql.Vector{{F: 1, Metric: labels.FromStrings(model.MetricNameLabel, "effect")}})
		s.evaluate()
	}
	s.want(`1 "g" Effect{} firing breached`)
	s.past = true
	s.behind = 0
	s.now += 10
	s.second(values{"effect": 1})
	s.want()
	s.past = false
	s.second(values{"effect": 1})
	s.want(`17 "g" Effect{} firing repeated`)
}

// What was recorded with a hole, since others evaluated meanwhile, does not tell that a
// condition has ceased to hold, until the hole is out of sight.
func TestRecordingWithAHole(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - {record: 'r', expr: x}
  - {alert: High, expr: 'avg_over_time(r[10s]) > 4'}
`)
	for range 20 {
		s.second(values{"x": 5})
	}
	s.want(`1 "g" High{} firing breached`)
	s.now += 120
	for range 9 {
		s.second(values{"x": 3})
	}
	s.want()
	for range 3 {
		s.second(values{"x": 3})
	}
	s.want(`152 "g" High{} resolved cleared`)
}

// The past puts nothing between what was recorded, and makes no hole.
func TestRecordingOfThePast(t *testing.T) {
	s := newStand(t, "groups: [{name: g, rules: [{record: r, expr: x}, {alert: High, expr: 'avg_over_time(r[10s]) > 4'}]}]")
	for range 20 {
		s.second(values{"x": 5})
	}
	s.now -= 120
	s.past = true
	s.evaluate()
	s.now += 120
	s.past = false
	for range 12 {
		s.second(values{"x": 3})
	}
	s.want(`1 "g" High{} firing breached`, `25 "g" High{} resolved cleared`)
}

func TestRecordingRules(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - {record: 'tenant:x:sum', expr: sum by (tenant) (x), labels: {by: rule}}
  - {alert: High, expr: 'tenant:x:sum > 5'}
  - {alert: Grew, expr: 'tenant:x:sum - tenant:x:sum offset 3s > 3'}
`)
	for _, v := range []float64{1, 1, 1, 2, 5, 5, 5, 5} {
		s.second(values{`x{tenant="a",app="p"}`: v, `x{tenant="a",app="q"}`: 1})
	}
	s.want(`5 "g" Grew{by="rule",tenant="a"} firing breached`, `5 "g" High{by="rule",tenant="a"} firing breached`,
		`7 "g" Grew{by="rule",tenant="a"} resolved cleared`)
	s.second(nil) // what is not there any more is not remembered for five minutes
	s.want(`9 "g" High{by="rule",tenant="a"} resolved no_data`)
	s.load("groups: []")
	s.second(nil)
	if n := len(s.evaluator.recorded.byName); n != 0 {
		t.Errorf("%d names are kept of rules that are gone", n)
	}
}

// Rules may record under one name, each its own series.
func TestRecordingRulesOfOneName(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - {record: r, expr: sum(x), labels: {window: short}}
  - {record: r, expr: sum(y), labels: {window: long}}
  - {alert: Both, expr: r > 1, for: 2s}
`)
	for range 6 {
		s.second(values{"x": 2, "y": 2})
	}
	s.second(values{"x": 2, "y": 0})
	s.want(`3 "g" Both{window="long"} firing breached`, `3 "g" Both{window="short"} firing breached`, `7 "g" Both{window="long"} resolved cleared`)
}

// Who begins to record knows nothing of the past. What fires by what was recorded is not
// taken for cleared until it does.
func TestAnotherEvaluatorRecordsAnew(t *testing.T) {
	s := newStand(t, `
groups:
- name: alerts
  rules:
  - {alert: High, expr: r > 1}
  - {alert: Grew, expr: r > 2 * (r offset 5s)}
- name: records
  rules:
  - {record: r, expr: sum(x)}
`)
	for i := range 12 {
		v := 2.0
		if i > 8 {
			v = 6
		}
		s.second(values{"x": v})
	}
	s.want(`2 "alerts" High{} firing breached`, `11 "alerts" Grew{} firing breached`)
	s.evaluator = NewEvaluator()
	for range 4 {
		s.second(values{"x": 6})
	}
	s.want() // though there is no r five seconds ago, nor any at first
	for range 4 {
		s.second(values{"x": 6})
	}
	s.want(`19 "alerts" Grew{} resolved cleared`)
}

// A process that goes on where another one stopped says no more than was new.
func TestAnotherEvaluatorGoesOn(t *testing.T) {
	s := newStand(t, ratio)
	acme := `"quality" Errors{severity="page",team="rag",tenant="acme",where="acme-x"}`
	for range 4 {
		s.evaluator = NewEvaluator()
		s.second(values{`error_ratio{tenant="acme"}`: 0.2})
	}
	s.want("3 " + acme + " firing breached")
	s.evaluator = NewEvaluator()
	s.second(nil)
	s.want("5 " + acme + " resolved no_data")
}

// While the tables stand still no time passes for what they show, but it does for how
// far they are behind.
func TestTablesThatStandStill(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - {alert: Behind, expr: max(lag) > 60, for: 5s}
  - {alert: High, expr: x > 1, for: 5s}
- name: seldom
  interval: 5s
  rules:
  - {alert: BehindSeldom, expr: max(lag) > 60, for: 5s}
`)
	s.second(values{"x": 2, "lag": 100})
	for range 8 {
		s.behind++
		s.second(values{"x": 2, "lag": 100})
	}
	s.want(`6 "g" Behind{} firing breached`)
	for range 2 {
		s.behind++
		s.second(values{"x": 2, "lag": 100})
	}
	s.want(`10 "seldom" BehindSeldom{} firing breached`)
	for range 8 {
		s.second(values{"x": 2, "lag": 0})
	}
	s.want(`12 "g" Behind{} resolved cleared`, `15 "seldom" BehindSeldom{} resolved cleared`, `16 "g" High{} firing breached`)
}

func TestLabels(t *testing.T) {
	s := newStand(t, `
groups:
- name: g
  rules:
  - alert: A
    expr: x > 1
    labels: {tenant: '', app: '{{ .Nothing }}', n: '{{ $value }}'}
    annotations: {q: '{{ with query "y" }}{{ . | first | value }}{{ end }}'}
`)
	s.second(values{`x{tenant="a"}`: 2, "y": 7})
	if len(s.messages) != 1 {
		t.Fatalf("messages = %v", s.messages)
	}
	m := s.messages[0]
	if m.Labels["n"] != "2" || m.Labels["tenant"] != "" || !strings.HasPrefix(m.Labels["app"], "<error expanding template:") {
		t.Errorf("labels = %v", m.Labels)
	}
	if m.Annotations["q"] != "7" {
		t.Errorf("annotations = %v", m.Annotations)
	}
	if labels.FromMap(m.Labels).Has("tenant") {
		t.Errorf("labels = %v: an empty one is there", m.Labels)
	}
}

package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// noTables is for tests without events.
func noTables(time.Time) (Tables, error) { panic("BUG: the test has no events") }

func TestUnitTestsOfThePack(t *testing.T) {
	failures, err := Test(t.Context(), strings.Replace(pack, ".yaml", ".test.yml", 1), noTables)
	if err != nil || len(failures) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(failures, "\n"))
	}
}

func TestUnitTestsFail(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("r.yaml", `
groups:
- name: g
  rules:
  - {record: r, expr: sum(x)}
  - {alert: High, expr: r > 1, for: 2m, labels: {severity: page}, annotations: {summary: 'it is {{ $value }}'}}
`)
	head := "rule_files: [r.yaml]\ntests: [{interval: 1m, input_series: [{series: 'x{t=\"a\"}', values: '0 2 _x2 3x10 stale'}], "
	for _, c := range []struct{ test, want string }{
		{"alert_rule_test: [{eval_time: 2m, alertname: High, exp_alerts: []}]", ""},
		{"alert_rule_test: [{eval_time: 3m30s, alertname: High, exp_alerts: [{exp_labels: {severity: page}, exp_annotations: {summary: it is 2}}]}]", ""},
		{"alert_rule_test: [{eval_time: 9m, alertname: High, exp_alerts: [{exp_labels: {severity: page}, exp_annotations: {summary: it is 3}}]}]", ""},
		{"alert_rule_test: [{eval_time: 9m, alertname: High, exp_alerts: []}]", "test 1: High at 9m: fires"},
		{"alert_rule_test: [{eval_time: 9m, alertname: High, exp_alerts: [{exp_labels: {severity: page}}]}]", `summary="it is 3"`},
		{"alert_rule_test: [{eval_time: 2m, alertname: High, exp_alerts: [{exp_labels: {severity: page}}]}]", "fires\n\tnothing"},
		{"alert_rule_test: [{eval_time: 16m, alertname: High, exp_alerts: []}]", ""},
		{"promql_expr_test: [{expr: r, eval_time: 9m, exp_samples: [{labels: r, value: 3}]}]", ""},
		{"promql_expr_test: [{expr: r, eval_time: 9m, exp_samples: [{labels: r, value: 4}]}]", "r at 9m: got"},
		{"promql_expr_test: [{expr: r, eval_time: 9m}]", "want nothing"},
	} {
		failures, err := Test(t.Context(), write("t.yaml", head+c.test+"}]"), noTables)
		got := strings.Join(failures, "\n")
		if err != nil || (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, %q, want %q", c.test, err, got, c.want)
		}
	}
	for _, bad := range []string{"rule_files: [none.yaml]", "rulefiles: []", head + "alerts: []}]", "rule_files: [r.yaml]\ntests: [{input_series: [{series: 'x{', values: '1'}]}]"} {
		if _, err := Test(t.Context(), write("bad.yaml", bad), noTables); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// heard are tables that show what they are told: the sum of the numbers that came, and
// every time.
type heard struct {
	log  []string
	sum  float64
	last time.Time
}

func (h *heard) Take(at time.Time, event []byte) error {
	var e struct{ N float64 }
	if err := json.Unmarshal(event, &e); err != nil {
		return err
	}
	h.note("take", at)
	h.log = append(h.log, fmt.Sprintf("%s: %s", at.Sub(testStart), event))
	h.sum += e.N
	return nil
}

func (h *heard) note(what string, at time.Time) {
	if at.Before(h.last) {
		h.log = append(h.log, fmt.Sprintf("%s at %s after %s", what, at, h.last))
	}
	h.last = at
}

func (h *heard) Series(at time.Time) (Series, error) {
	h.note("series", at)
	r := newRecorder()
	w := &written{labels: labels.FromStrings("__name__", "heard", "from", "events")}
	w.add(sample{t: at.UnixMilli(), f: h.sum})
	r.byName["heard"] = map[uint64]*written{1: w}
	return r, nil
}

// Events come when they are due, in order, and their tables stand beside the series.
func TestInputEvents(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "t.yaml")
	run := func(events string) (*heard, []string, error) {
		t.Helper()
		for name, content := range map[string]string{
			"r.yaml": "groups: [{name: g, rules: [{alert: Many, expr: heard > 3, for: 1m}]}]",
			"t.yaml": `
rule_files: [r.yaml]
tests:
- interval: 1m
  input_series: [{series: given, values: '7x10'}]
  input_events: ` + events + `
  alert_rule_test:
  - {eval_time: 3m, alertname: Many, exp_alerts: []}
  - {eval_time: 4m, alertname: Many, exp_alerts: [{exp_labels: {from: events}}]}
  promql_expr_test:
  - {expr: sum(heard), eval_time: 2m50s, exp_samples: [{labels: '{}', value: 4}]}
  - {expr: sum(heard), eval_time: 2m20s, exp_samples: [{labels: '{}', value: 3}]}
  - {expr: sum(heard) + sum(given), eval_time: 1m, exp_samples: [{labels: '{}', value: 8}]}
`} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		h := &heard{}
		failures, err := Test(t.Context(), file, func(begin time.Time) (Tables, error) {
			if begin != testStart {
				t.Errorf("tables begin at %s", begin)
			}
			return h, nil
		})
		return h, failures, err
	}
	h, failures, err := run("[{at: 2m30s, n: 1, error: {type: T}}, {at: 1m, every: 30s, count: 3, n: 1}]")
	if err != nil || len(failures) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(failures, "\n"))
	}
	if got, want := strings.Join(h.log, "\n"), "1m0s: {\"n\":1}\n1m30s: {\"n\":1}\n2m0s: {\"n\":1}\n2m30s: {\"error\":{\"type\":\"T\"},\"n\":1}"; got != want {
		t.Errorf("heard\n%s\nwant\n%s", got, want)
	}
	for events, want := range map[string]string{
		"[{at: 1m, count: 2}]":               "say how far apart",
		"[{at: 1m}, {at: 1m, every: 2s}]":    "number 2: every without count",
		"[{at: 1m, every: 1s, count: -1}]":   "count is -1",
		"[{at: 1m, n: x}]":                   `event at 1m0s, {"n":"x"}`,
		"[{at: 1m, n: {1: 2}}]":              "fields of the event",
		"[{at: soon}]":                       "soon",
		"[{at: 1m, every: 1s, count: many}]": "many",
	} {
		if _, _, err := run(events); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", events, err, want)
		}
	}
}

package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnitTestsOfThePack(t *testing.T) {
	failures, err := Test(t.Context(), strings.Replace(pack, ".yaml", ".test.yml", 1))
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
		failures, err := Test(t.Context(), write("t.yaml", head+c.test+"}]"))
		got := strings.Join(failures, "\n")
		if err != nil || (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, %q, want %q", c.test, err, got, c.want)
		}
	}
	for _, bad := range []string{"rule_files: [none.yaml]", "rulefiles: []", head + "alerts: []}]", "rule_files: [r.yaml]\ntests: [{input_series: [{series: 'x{', values: '1'}]}]"} {
		if _, err := Test(t.Context(), write("bad.yaml", bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

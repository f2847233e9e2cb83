package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRulesTest(t *testing.T) {
	const good, events = "../../grafana/rules/ragstreams.test.yml", "../../grafana/rules/events.test.yml"
	const pipeline = "../../grafana/prometheus-rules/pipeline.test.yml" // for Prometheus, and means the same here
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yml")
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte("groups: [{name: g, rules: [{alert: A, expr: x > 1}]}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("rule_files: [r.yaml]\ntests: [{input_series: [{series: x, values: '2 2'}], alert_rule_test: [{eval_time: 1m, alertname: A}]}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args      []string
		out, says string
	}{
		{[]string{"rules", "test", good, events, pipeline}, good + ": ok\n" + events + ": ok\n" + pipeline + ": ok\n", ""},
		{[]string{"rules", "test", bad}, bad + ": FAILED test 1: A at 1m: fires", "1 expectations failed"},
		{[]string{"rules", "test"}, "", "usage"},
		{[]string{"rules", "try", good}, "", "usage"},
		{[]string{"rules", "test", filepath.Join(dir, "none")}, "", "no such file"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), environment{stdout: &out, stderr: &out}, tt.args)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(out.String(), tt.out) {
			t.Errorf("%q: %v\n%s", tt.args, err, out.String())
		}
	}
}

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ragstreams/alerts/rules"
)

// Events of a unit test are decoded, counted once and judged as in the program.
func TestTablesOfEvents(t *testing.T) {
	dir := t.TempDir()
	test := func(events, expr string, want float64) ([]string, error) {
		t.Helper()
		for name, content := range map[string]string{
			"r.yaml": "groups: [{name: g, rules: [{alert: A, expr: x > 1}]}]",
			"t.yaml": fmt.Sprintf("rule_files: [r.yaml]\ntests: [{input_events: [%s], promql_expr_test: [{expr: %q, eval_time: 2m, exp_samples: [{labels: '{}', value: %v}]}]}]", events, expr, want),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return rules.Test(t.Context(), filepath.Join(dir, "t.yaml"), TablesOfEvents)
	}
	const total = "sum(rag_events_total)"
	for _, tt := range []struct {
		name, events, expr string
		want               float64
	}{
		{"counted", "{at: 10s, every: 1s, count: 5, event_type: e}", total, 5},
		{"none that is still to come", "{at: 0s, event_type: e}, {at: 2m, event_type: e}, {at: 121s, event_type: e}", total, 2},
		{"a copy is none", "{at: 10s, every: 1s, count: 5, event_type: e, event_id: a}", total, 1},
		{"nor is one that is late", "{at: 1s, every: 50s, count: 3, event_type: e, timestamp: '1970-01-01T00:00:01Z'}, {at: 75s, event_type: e}", total, 3},
		{"nor what comes after a silence in which its pane was closed", "{at: 0s, event_type: e}, {at: 115s, event_type: e, timestamp: '1970-01-01T00:00:05Z'}", total, 1},
		{"errors", "{at: 10s, event_type: e, error: {type: T, message: m 1}}, {at: 20s, event_type: e, error: {type: T, message: m 2}}", "sum(rag_error_group_events_total)", 2},
		{"a latency", "{at: 10s, every: 1s, count: 4, event_type: e, latency_ms: 250}", "sum(rag_stage_duration_seconds_sum)", 1},
		{"at the time that it says", "{at: 30s, event_type: e, timestamp: '1970-01-01T00:00:05Z'}", total[:len(total)-1] + " offset 110s)", 1},
		{"a rate of the present", "{at: 0s, every: 500ms, count: 241, event_type: e}", "sum(rag_qps)", 2},
		{"tokens", "{at: 10s, every: 1s, count: 3, event_type: e, model: m, tokens: {input: 7, output: 2}}", "sum(rag_tokens_total{type='input'})", 21},
		{"what people did", "{at: 10s, every: 1s, count: 3, event_type: e, user_id: u}", "sum(rag_behaviour_events_total)", 3},
		{"who is active", "{at: 10s, every: 1s, count: 3, event_type: e, user_id: u}, {at: 11s, event_type: e, user_id: v}, {at: 115s, event_type: e}", "sum(rag_behaviour_active_users)", 2},
		{"nothing is unread", "{at: 10s, event_type: e}", "sum(analytics_behind)", 0},
	} {
		if failures, err := test(tt.events, tt.expr, tt.want); err != nil || len(failures) > 0 {
			t.Errorf("%s: %v %s", tt.name, err, strings.Join(failures, "\n"))
		}
	}
	for events, want := range map[string]string{
		"{at: 10s, tenant: acme}":                                            "it is no event: missing_field",
		"{at: 10s, event_type: e, tenant: 7}":                                "it is no event: wrong_type",
		"{at: 10s, event_type: e, timestamp: '1970-01-01T00:06:00Z'}":        "it is no event: future",
		"{at: 5s, event_type: e}, {at: 10s, event_type: e, tokens: {in: x}}": "",
	} {
		_, err := test(events, total, 0)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", events, err, want)
		}
	}
}

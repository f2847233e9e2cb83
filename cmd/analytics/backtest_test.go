package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/app"
	"ragstreams/kafka"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBacktestAsATable(t *testing.T) {
	at := func(clock string) time.Time {
		d, err := time.ParseDuration(clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(d)
	}
	resolved, begins, partition := at("10m2.5s"), at("-5m"), int32(3)
	r := &app.BacktestResult{
		Since: at("0s"), Until: at("72h"), ReadFrom: at("-1h"), Step: alerts.Seconds(10 * time.Second), Evaluations: 7,
		Alerts: []app.BacktestAlert{
			{Group: "g", Rule: "ErrorRatio", Labels: map[string]string{"tenant": "acme", "app": "chat"}, Fired: at("5m"), Resolved: &resolved, Lasted: alerts.Seconds(302500 * time.Millisecond), Peak: 0.123456},
			{Group: "g", Rule: "Gone", Fired: at("-5m"), Before: true, Resolved: &resolved, Lasted: alerts.Seconds(602500 * time.Millisecond), Peak: 2},
			{Group: "g", Rule: "Gone", Fired: at("71h"), Lasted: alerts.Seconds(time.Hour)},
		},
		Rules:   []app.BacktestRule{{Group: "g", Rule: "ErrorRatio", Times: 1, Total: alerts.Seconds(302500 * time.Millisecond)}, {Group: "g", Rule: "Gone", Times: 1, Before: 1, StillFiring: 1, Total: alerts.Seconds(time.Hour)}, {Group: "h", Rule: "Never"}},
		Records: app.BacktestRecords{Read: 10, Counted: 4, Duplicate: 3, Late: 2, Poison: 1, HeldUp: 6, WarmUp: 5},
		Notes:   []string{"what one should know"},
		NotCovered: []app.BacktestGap{
			{Topic: "system-logs", Why: "the topic does not exist"},
			{Topic: "rag-traces", Partition: &partition, Begins: &begins, Why: "records before were deleted"},
		},
		Faults: map[string]*app.RuleFaults{"g/Bad": {Times: 2, First: at("10s"), Error: "too much"}},
	}
	var b bytes.Buffer
	if err := writeTable(&b, r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(`From 2026-03-01T12:00:00Z to 2026-03-04T12:00:00Z, rules evaluated every 10s.

FIRED AT              RESOLVED AT           LASTED  PEAK    RULE        LABELS
2026-03-01T12:05:00Z  2026-03-01T12:10:02Z  5m3s    0.1235  ErrorRatio  app=chat tenant=acme
before                2026-03-01T12:10:02Z  10m3s   2       Gone        
2026-03-04T11:00:00Z  still firing          1h0m0s  0       Gone        

RULE        GROUP  TIMES  FOR     
ErrorRatio  g      1      5m3s    
Gone        g      1      1h0m0s  1 from before, 1 still firing
Never       h      0      0s      

Records: 10 read, of them 4 counted, 3 duplicate, 2 late, 1 poison. Before, from 2026-03-01T11:00:00Z on, 5.
HELD UP: 6 came longer after their timestamps than windows take events, or behind others of a clock that is ahead.
NOTE: what one should know
NOT COVERED: system-logs: the topic does not exist
NOT COVERED: rag-traces/3 begins at 2026-03-01T11:55:00Z: records before were deleted
FAILED: g/Bad could not be evaluated 2 of 7 times, first at 2026-03-01T12:00:10Z: too much
`, b.String()); d != "" {
		t.Error(d)
	}
	b.Reset()
	if err := writeTable(&b, &app.BacktestResult{}); err != nil || !strings.Contains(b.String(), "No alert would have fired.\n") {
		t.Errorf("nothing found: %v\n%s", err, b.String())
	}
	b.Reset()
	if err := writeTable(&b, &app.BacktestResult{Faults: r.Faults}); err != nil || !strings.Contains(b.String(), "No alert fired, as far as rules could be evaluated.\n") {
		t.Errorf("nothing evaluated: %v\n%s", err, b.String())
	}
}

// errorsOfThePast is a broker with five minutes of errors, some time ago, and a rule.
func errorsOfThePast(t *testing.T) (env environment, out *bytes.Buffer, rules string) {
	t.Helper()
	broker, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	c := kafka.Config{Brokers: broker.Brokers()}
	if _, err := kafka.EnsureTopics(t.Context(), c, 1, []kafka.Topic{{Name: "rag-traces", Partitions: 1, Create: true}}); err != nil {
		t.Fatal(err)
	}
	client, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for s := range 1200 {
		status := "ok"
		if s >= 300 && s < 600 {
			status = "error"
		}
		records = append(records, &kgo.Record{Topic: "rag-traces", Timestamp: time.Now().Add(time.Duration(s-1200) * time.Second), Value: fmt.Appendf(nil, `{"event_type":"x","tenant":"acme","status":%q}`, status)})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	rules = filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("groups: [{name: g, rules: [{alert: Errors, expr: 'sum by (tenant) (rate(rag_events_total{status=\"error\"}[1m])) > 0.5'}]}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	out = new(bytes.Buffer)
	return environment{stdout: out, stderr: t.Output(), environ: []string{
		"ANALYTICS_KAFKA_BROKERS=" + broker.Brokers()[0], "ANALYTICS_SOURCES=rag-traces", "ANALYTICS_RULES=" + filepath.Join(t.TempDir(), "none"),
	}}, out, rules
}

func TestBacktestAsJSON(t *testing.T) {
	env, out, rules := errorsOfThePast(t)
	args := []string{"rules", "backtest", "--since", "20m", "--rules", rules, "--format", "json", "--step", "5s", "--warm-up", "1m"}
	if err := run(t.Context(), env, args); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Step   float64 `json:"step_seconds"`
		Alerts []struct {
			Rule   string
			Labels map[string]string
			Fired  time.Time  `json:"fired_at"`
			Ended  *time.Time `json:"resolved_at"`
			Lasted float64    `json:"lasted_seconds"`
			Peak   float64
		}
		Rules   []struct{ Times int }
		Records struct{ Read, Counted int64 }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(got.Alerts) != 1 || len(got.Rules) != 1 || got.Rules[0].Times != 1 || got.Step != 5 || got.Records.Counted < 1190 {
		t.Fatalf("%s", out)
	}
	a := got.Alerts[0]
	if a.Rule != "Errors" || a.Labels["tenant"] != "acme" || a.Ended == nil || a.Ended.Sub(a.Fired).Seconds() != a.Lasted || a.Lasted < 280 || a.Lasted > 330 || a.Peak < 0.9 {
		t.Errorf("%s", out)
	}
	// As a table, of a time that is told, until the alert fires.
	out.Reset()
	since, until := a.Fired.Add(-5*time.Minute).Format(time.RFC3339), a.Fired.Add(time.Minute).Format(time.RFC3339)
	if err := run(t.Context(), env, []string{"rules", "backtest", "--since", since, "--until", until, "--rules", rules}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "still firing") || !strings.Contains(out.String(), "tenant=acme") {
		t.Errorf("%s", out)
	}
}

// A backtest of rules that could not be evaluated is no success.
func TestBacktestOfFaults(t *testing.T) {
	env, out, _ := errorsOfThePast(t)
	rules := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(rules, []byte("groups: [{name: g, rules: [{alert: Bad, expr: 'rag_events_total * on () rag_events_total > 1'}]}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), env, []string{"rules", "backtest", "--since", "20m", "--rules", rules, "--step", "1m"})
	if err == nil || !strings.Contains(err.Error(), "alerts may be missing: g/Bad") || !strings.Contains(out.String(), "FAILED: g/Bad") {
		t.Errorf("%v\n%s", err, out)
	}
}

// stopAt ends a context once something is written.
type stopAt struct{ stop context.CancelFunc }

func (s stopAt) Write(b []byte) (int, error) { s.stop(); return len(b), nil }

func TestBacktestIsInterrupted(t *testing.T) {
	env, out, rules := errorsOfThePast(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env.stderr = stopAt{cancel} // the first line of progress
	err := run(ctx, env, []string{"rules", "backtest", "--since", "20m", "--rules", rules})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "was ended at") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "RULE") {
		t.Errorf("what was found until then is not written: %q", out)
	}
}

func TestMistakesOfBacktest(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "--since is \"\": want how long ago, such as 72h"},
		{[]string{"--since", "soon"}, `--since is "soon"`},
		{[]string{"--since", "1h", "--until", "then"}, `--until is "then"`},
		{[]string{"--since", "1h", "--format", "xml"}, "want table or json"},
		{[]string{"--since", "1h", "--warm-up", "-5m"}, "want 0s or more"},
		{[]string{"--since", "1h", "--warm-up", "long"}, "invalid duration"},
		{[]string{"--since", "1h", "more"}, "takes no arguments"},
		{[]string{"--since", "1h"}, "kafka.brokers is empty"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), environment{stdout: &out, stderr: &out}, append([]string{"rules", "backtest"}, tt.args...))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.says)
		}
	}
}

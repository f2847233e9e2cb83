package alerts_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func about() alerts.About {
	n, mark := int64(40), time.UnixMilli(1_764_000_000_123).UTC()
	return alerts.About{
		Group: "quality", Name: "Errors", Labels: map[string]string{"alertname": "Errors", "severity": "page", "tenant": "acme"},
		Annotations: map[string]string{"summary": "too many"}, Expr: "x > 1", Window: alerts.Seconds(5 * time.Minute), Samples: &n,
		ErrorGroups: []alerts.ErrorGroup{{Fingerprint: "00aa", ErrorType: "Timeout", Template: "no answer", Count: 12, Traces: []string{"t1"}, Links: []string{"/api/traces/t1"}}},
		Watermark:   &mark, Lag: alerts.Seconds(1500 * time.Millisecond),
	}
}

func TestRecordsAreRead(t *testing.T) {
	for _, value := range []float64{0.25, math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
		want := alerts.Report{
			Evaluation: alerts.Evaluation{
				At: 1_764_000_000_000, Outcome: alerts.NoData, Value: value,
				Rule:   alerts.Rule{Version: 1 << 63, For: 90 * time.Second, KeepFiring: time.Hour, NoData: alerts.NoDataKeep},
				Repeat: 4 * time.Hour, Suppressed: []alerts.Suppressor{{Kind: alerts.Muted, By: "nights"}},
			}, About: about(),
		}
		var got alerts.Report
		if err := got.Decode(want.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}
	want := alerts.Row{Alert: alerts.Alert{State: alerts.Firing, Version: math.MaxUint64, Evaluated: 5, Started: 1, Fired: 3, Cleared: 4, Told: 3, Tellings: 2,
		Suppressed: []alerts.Suppressor{{Kind: alerts.Silenced, By: "s1"}}}, About: about()}
	var got alerts.Row
	if err := got.Decode(want.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// Who was told by a program that did not note it is told that it was resolved.
func TestRowsWithoutTellings(t *testing.T) {
	for src, told := range map[string]int64{
		`{"format":1,"state":"firing","rule_version":"0","fired":3,"evaluated":5,"about":{}}`:                                            3,
		`{"format":1,"state":"firing","rule_version":"0","fired":3,"evaluated":5,"suppressed":[{"kind":"silence","by":"s"}],"about":{}}`: 0,
		`{"format":1,"state":"pending","rule_version":"0","started":3,"evaluated":5,"about":{}}`:                                         0,
	} {
		var r alerts.Row
		if err := r.Decode([]byte(src)); err != nil || r.Told != told {
			t.Errorf("%s: told at %d (%v), want %d", src, r.Told, err, told)
		}
	}
}

func TestRecordsOfAnotherFormatAreRefused(t *testing.T) {
	for what, decode := range map[string]func([]byte) error{
		"evaluation": new(alerts.Report).Decode, "alert": new(alerts.Row).Decode, "alert message": new(alerts.Message).Decode,
	} {
		for _, src := range []string{``, `{}`, `{"format":2,"version":2}`, `[`, `{"format":1,"version":1,"state":3,"outcome":"x","value":"y"}`} {
			if err := decode([]byte(src)); err == nil || !strings.HasPrefix(err.Error(), what) {
				t.Errorf("%s of %q: %v", what, src, err)
			}
		}
	}
}

// Different alerts have different keys, however odd their labels are.
func TestKey(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range []struct {
		group  string
		labels map[string]string
	}{
		{"g", map[string]string{"alertname": "A"}},
		{"g A{", map[string]string{"alertname": "}"}},
		{"g", map[string]string{"alertname": "A", "a": "1", "b": "2"}},
		{"g", map[string]string{"alertname": "A", "a": `1",b="2`}},
		{"g", map[string]string{"alertname": "A", "a": "1"}},
		{"g", map[string]string{"alertname": "B", "a": "1"}},
	} {
		key := alerts.Key(a.group, a.labels)
		if seen[key] {
			t.Errorf("%v %v: key %s is that of another alert", a.group, a.labels, key)
		}
		seen[key] = true
	}
	if got, want := alerts.Key("g", map[string]string{"b": "2", "alertname": "A", "a": "é"}), `"g" A{a="é",b="2"}`; got != want {
		t.Errorf("key %s, want %s", got, want)
	}
}

func TestMessage(t *testing.T) {
	m := alerts.NewMessage("k", alerts.Transition{
		Fires: true, Reason: alerts.ReasonBreached, At: 9000, Started: 4000, Fired: 9000, Value: 0.5,
	}, about())
	if m.State != "firing" || m.Ended != nil || m.Previous != alerts.Pending || m.Lasted != alerts.Seconds(5*time.Second) {
		t.Errorf("message %+v", m)
	}
	r := alerts.NewMessage("k", alerts.Transition{Reason: alerts.ReasonCleared, At: 20_000, Started: 4000, Fired: 9000}, about())
	if r.State != "resolved" || r.Ended == nil || !r.Ended.Equal(time.UnixMilli(20_000)) || r.Previous != alerts.Firing || r.Lasted != alerts.Seconds(11*time.Second) {
		t.Errorf("message %+v", r)
	}
	if m.ID == r.ID {
		t.Error("both transitions have one id")
	}
	if at := alerts.NewMessage("k", alerts.Transition{Fires: true, At: 5, Started: 5, Fired: 5}, alerts.About{}); at.Previous != alerts.Inactive || at.Lasted != 0 {
		t.Errorf("message %+v", at)
	}
	var back alerts.Message
	if err := back.Decode(m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	var body map[string]any
	if err := json.Unmarshal(m.Append(nil), &body); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{
		"version", "id", "alert", "rule", "group", "state", "reason", "severity", "labels", "annotations", "value", "expr", "window_seconds", "sample_count",
		"started_at", "fired_at", "ended_at", "decided_at", "previous_state", "previous_state_seconds", "error_groups", "watermark", "lag_seconds",
	} {
		if _, there := body[field]; !there {
			t.Errorf("the body has no %s: %v", field, body)
		}
	}
}

func TestRoutingKey(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"_._._._.firing":                          {},
		"page.acme.chat.generate.firing":          {"severity": "page", "tenant": "acme", "app": "chat", "stage": "generate"},
		"page.a-b-c-.d_e-F.1.firing":              {"severity": "page", "tenant": "a.b*c#", "app": "d_e-F", "stage": "1"},
		"p--.M-nchen._._.firing":                  {"severity": "p\x00 ", "tenant": "München"},
		strings.Repeat("x", 48) + "._._._.firing": {"severity": strings.Repeat("x", 300)},
	} {
		m := alerts.NewMessage("k", alerts.Transition{Fires: true}, alerts.About{Labels: labels})
		if got := m.RoutingKey(); got != want || len(got) > 255 {
			t.Errorf("%v: %s, want %s", labels, got, want)
		}
	}
}

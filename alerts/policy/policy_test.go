package policy_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/policy"
)

const example = `
repeat_interval: 2h
inhibit_rules:
- source_matchers: [alertname="Down"]
  target_matchers: ['severity=~"warning|info"']
  equal: [tenant, app]
- source_matchers: [severity="page"]
  target_matchers: [kind="cause"]
time_intervals:
- name: nights
  time_intervals:
  - times: [{start_time: "22:00", end_time: "24:00"}, {start_time: "00:00", end_time: "06:00"}]
    location: Europe/Berlin
- name: weekends
  time_intervals: [{weekdays: [saturday, sunday]}]
- name: office
  time_intervals: [{weekdays: ['monday:friday'], times: [{start_time: "09:00", end_time: "17:00"}]}]
routes:
- matchers: [severity="info", tenant="acme"]
  active_time_intervals: [office]
- matchers: [severity="info"]
  mute_time_intervals: [nights, weekends]
  repeat_interval: 24h
- matchers: [severity="never"]
  repeat_interval: 0s
`

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRepeat(t *testing.T) {
	p := parse(t, example)
	for severity, want := range map[string]time.Duration{"page": 2 * time.Hour, "info": 24 * time.Hour, "never": 0, "": 2 * time.Hour} {
		if got := p.Repeat(map[string]string{"severity": severity}); got != want {
			t.Errorf("severity %q is repeated every %s, want %s", severity, got, want)
		}
	}
	if got := p.Repeat(map[string]string{"severity": "info", "tenant": "acme"}); got != 2*time.Hour {
		t.Errorf("the first route that matches says nothing of it: every %s, want what holds for all", got)
	}
	if got := parse(t, "").Repeat(nil); got != 4*time.Hour {
		t.Errorf("without a policy: every %s, want four hours", got)
	}
}

func TestMuted(t *testing.T) {
	p := parse(t, example)
	info, acme := map[string]string{"severity": "info"}, map[string]string{"severity": "info", "tenant": "acme"}
	for _, tt := range []struct {
		labels map[string]string
		at     string
		want   string
	}{
		{info, "2026-11-27T20:59:59Z", ""}, // Friday, 21:59:59 in Berlin
		{info, "2026-11-27T21:00:00Z", "nights"},
		{info, "2026-11-28T02:00:00+09:00", ""}, // Friday, 18:00 in Berlin
		{info, "2026-11-28T12:00:00Z", "weekends"},
		{info, "2026-11-28T23:30:00Z", "nights weekends"},
		{acme, "2026-11-27T10:00:00Z", ""},
		{acme, "2026-11-27T17:00:00Z", "not office"},
		{acme, "2026-11-28T10:00:00Z", "not office"},
		{map[string]string{"severity": "page"}, "2026-11-28T23:30:00Z", ""},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Muted(tt.labels, at) {
			if got = append(got, s.By); s.Kind != alerts.Muted {
				t.Errorf("kind %s", s.Kind)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v at %s: %v, want %s", tt.labels, tt.at, got, tt.want)
		}
	}
}

func TestMutedAtAnyOfSomeTimes(t *testing.T) {
	p := parse(t, example)
	friday, saturday := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	info := map[string]string{"severity": "info"}
	if by := p.Muted(info, friday, saturday, saturday.Add(time.Hour)); len(by) != 1 || by[0].By != "weekends" {
		t.Errorf("muted by %v, want weekends, once", by)
	}
}

func TestInhibitions(t *testing.T) {
	p := parse(t, example)
	alert := func(text string) map[string]string {
		labels := map[string]string{}
		for _, pair := range strings.Fields(text) {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = value
		}
		return labels
	}
	x := p.Inhibitions(map[string]map[string]string{
		"down":      alert("alertname=Down tenant=acme app=chat severity=page"),
		"down-2":    alert("alertname=Down tenant=acme app=chat severity=info"),
		"down-none": alert("alertname=Down severity=info"),
		"cause":     alert("severity=page kind=cause"),
	})
	for _, tt := range []struct {
		key, labels string
		want        []string // keys
	}{
		{"a", "severity=warning tenant=acme app=chat", []string{"down"}},
		{"a", "severity=info tenant=acme app=chat", []string{"down"}},
		{"a", "severity=page tenant=acme app=chat", nil},
		{"a", "severity=warning tenant=acme app=other", nil},
		{"a", "severity=warning tenant=acme", nil},
		{"a", "severity=warning", []string{"down-none"}}, // both have no tenant and no app
		{"a", "severity=warning tenant=acme app=chat kind=cause", []string{"down", "cause"}},
		{"down-2", "alertname=Down tenant=acme app=chat severity=info", []string{"down"}}, // a source that is a target is inhibited by one that is not,
		{"down-none", "alertname=Down severity=info", nil},                                // but not by itself,
		{"down-3", "alertname=Down severity=info", nil},                                   // nor by one that is both as well
		{"cause", "severity=page kind=cause", []string{"down"}},
	} {
		var want, got []string
		for _, key := range tt.want {
			want = append(want, alerts.Fingerprint(key))
		}
		for _, s := range x.Of(tt.key, alert(tt.labels)) {
			if got = append(got, s.By); s.Kind != alerts.Inhibited {
				t.Errorf("kind %s", s.Kind)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s, %s: inhibited by %v, want %v", tt.key, tt.labels, got, tt.want)
		}
	}
}

// The policy that is shipped speaks of rules that are shipped.
func TestShippedPolicy(t *testing.T) {
	text, err := os.ReadFile("../../grafana/alert-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../../grafana/rules/ragstreams.yaml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(Rag|Analytics)[A-Za-z]+`).FindAllString(string(text), -1)
	if len(named) < 6 {
		t.Errorf("it names %v only", named)
	}
	for _, name := range named {
		if !strings.Contains(string(rules), "alert: "+name+"\n") {
			t.Errorf("it names %s, which is no rule", name)
		}
	}
	p := parse(t, string(text))
	fast := map[string]string{"alertname": "RagErrorBudgetBurnsFast", "tenant": "acme", "app": "chat"}
	slow := map[string]string{"alertname": "RagErrorBudgetBurns", "tenant": "acme", "app": "chat", "severity": "warning"}
	if by := p.Inhibitions(map[string]map[string]string{"fast": fast, "slow": slow}).Of("slow", slow); len(by) != 1 {
		t.Errorf("the slow burn is inhibited by %v", by)
	}
	if got := p.Repeat(slow); got != 12*time.Hour {
		t.Errorf("a warning is repeated every %s", got)
	}
	if by := p.Muted(map[string]string{"severity": "info"}, time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)); len(by) != 1 {
		t.Errorf("on a Saturday info is muted by %v", by)
	}
}

// A thousand targets ask of a thousand sources: what is not alike is not looked at.
func BenchmarkInhibitions(b *testing.B) {
	p, err := policy.Parse("b", []byte("inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=info], equal: [tenant]}]"))
	if err != nil {
		b.Fatal(err)
	}
	firing := map[string]map[string]string{}
	for i := range 1000 {
		tenant := fmt.Sprint(i)
		firing["s"+tenant] = map[string]string{"severity": "page", "tenant": tenant}
		firing["t"+tenant] = map[string]string{"severity": "info", "tenant": tenant}
	}
	b.ReportAllocs()
	for b.Loop() {
		x, n := p.Inhibitions(firing), 0
		for key, labels := range firing {
			n += len(x.Of(key, labels))
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"receivers: []":                                         "known are repeat_interval",
		"repeat_interval: often":                                "often",
		"inhibit_rules: [{target_matchers: [a=b]}]":             "inhibit_rules 1: want source_matchers",
		"inhibit_rules: [{source_matchers: [a=b]}]":             "inhibit_rules 1: want source_matchers",
		"routes: [{repeat_interval: 1h}]":                       "routes 1: want matchers",
		"routes: [{matchers: [a=b], mute_time_intervals: [x]}]": `no time interval is called "x"`,
		"time_intervals: [{name: x}, {name: x}]":                "a name of its own",
		"time_intervals: [{time_intervals: [{months: [may]}]}]": "a name of its own",
		"time_intervals: [{name: x, time_intervals: [{times: [{start_time: '25:00', end_time: '26:00'}]}]}]": "25:00",
		"routes: [{matchers: ['c'], repeat_interval: 2h}]":                                                   "name=~regex",
		"routes: [{matchers: [a=b], mute_time_intervals: [x]}, {active_time_intervals: [y]}]":                `"y"`,
		"time_intervals: [{name: x, time_intervals: [{location: Berlin, times: []}]}]":                       "Berlin",
		"inhibit_rules: [{source_matchers: ['a=~\"(\"'], target_matchers: [a=b], equal: [tenant]}]":          "a=~",
	} {
		if _, err := policy.Parse("test.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "test.yaml") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

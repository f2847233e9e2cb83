package rules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql"
)

const pack = "../../grafana/rules/ragstreams.yaml"

// What is shipped says of every alert how bad it is, what happened, and what to do.
func TestPackIsComplete(t *testing.T) {
	set, err := Load(pack)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range set.groups {
		for _, r := range g.rules {
			if r.alert == "" {
				continue
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.labels["severity"]) {
				t.Errorf("%s: severity %q", r.alert, r.labels["severity"])
			}
			for _, name := range []string{"summary", "description", "runbook_url"} {
				if r.annotations[name] == "" {
					t.Errorf("%s has no %s", r.alert, name)
				}
			}
			if _, err := os.Stat(filepath.Join("..", "..", r.annotations["runbook_url"])); err != nil {
				t.Errorf("%s: %v", r.alert, err)
			}
		}
	}
}

// packStand plays the shipped rules, ten seconds at a time.
type packStand struct {
	*stand
	floats map[string]float64
	counts map[string]*histogram.FloatHistogram
}

func newPackStand(t *testing.T) *packStand {
	file, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	p := &packStand{newStand(t, string(file)), map[string]float64{}, map[string]*histogram.FloatHistogram{}}
	p.now = 1_000_000
	p.tables.span = 12 * time.Hour.Milliseconds()
	return p
}

// pass lets some minutes pass, in which change is called every ten seconds.
func (p *packStand) pass(minutes int, change func()) {
	p.Helper()
	for range minutes * 6 {
		change()
		p.now += 10
		byName := map[string]promql.Vector{}
		add := func(text string, s promql.Sample) {
			metric, err := promQL.ParseMetric(text)
			if err != nil {
				p.Fatal(err)
			}
			s.Metric = metric
			name := metric.Get(model.MetricNameLabel)
			byName[name] = append(byName[name], s)
		}
		for text, v := range p.floats {
			add(text, promql.Sample{F: v})
		}
		for text, h := range p.counts {
			add(text, promql.Sample{H: h.Copy()})
		}
		for name, v := range byName {
			if err := p.tables.add(p.tableRule(name), p.now*1000, v); err != nil {
				p.Fatal(err)
			}
		}
		p.evaluate()
	}
}

// calls counts calls of a stage that took between half of a power of two seconds and it.
func (p *packStand) calls(series string, power int32, n float64) {
	h := p.counts[series]
	if h == nil {
		h = &histogram.FloatHistogram{PositiveSpans: []histogram.Span{{Offset: -10, Length: 20}}, PositiveBuckets: make([]float64, 20)}
		p.counts[series] = h
	}
	h.Count += n
	h.PositiveBuckets[power+10] += n
}

// fired returns the names of the alerts that were told, and what of them.
func (p *packStand) fired() string {
	var told []string
	for _, m := range p.messages {
		told = append(told, m.Rule+" "+m.State)
	}
	p.messages = nil
	slices.Sort(told)
	return strings.Join(slices.Compact(told), ", ")
}

func (p *packStand) wantFired(want string) {
	p.Helper()
	if got := p.fired(); got != want {
		p.Errorf("told %q, want %q", got, want)
	}
}

const (
	okEvents  = `rag_events_total{tenant="acme",app="chat",event_type="answer",status="ok"}`
	badEvents = `rag_events_total{tenant="acme",app="chat",event_type="answer",status="error"}`
	stage     = `{tenant="acme",app="chat",stage="generate",model="m"}`
)

func TestPack(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(p *packStand)
	}{
		{"a calm hour tells nothing", func(p *packStand) {
			p.pass(60, func() {
				p.floats[okEvents] += 100
				p.floats[badEvents] += 0.5
				p.floats["analytics_lag_seconds{table=\"traffic\"}"] = 2
				p.calls("rag_stage_duration_seconds"+stage, 1, 100)
				p.calls("rag_time_to_first_token_seconds"+stage, 0, 100)
			})
			p.wantFired("")
		}},
		{"a third fails", func(p *packStand) {
			p.pass(20, func() { p.floats[okEvents] += 100; p.floats[badEvents] += 0 })
			p.pass(10, func() { p.floats[okEvents] += 20; p.floats[badEvents] += 80 })
			p.wantFired("RagErrorBudgetBurns firing, RagErrorBudgetBurnsFast firing, RagErrorRatioHigh firing")
			p.pass(10, func() { p.floats[okEvents] += 100 })
			p.wantFired("RagErrorBudgetBurnsFast resolved, RagErrorRatioHigh resolved")
		}},
		{"one failure of one call is not enough", func(p *packStand) {
			p.pass(10, func() { p.floats[okEvents] += 0; p.floats[badEvents] += 0.1 })
			p.wantFired("")
		}},
		{"one error group is new, and then is not", func(p *packStand) {
			const group = `rag_error_group_events_total{tenant="acme",app="chat",stage="generate",fingerprint="f",error_type="Timeout"}`
			const first = `rag_error_group_events_total{tenant="acme",app="chat",stage="generate",fingerprint="e",error_type="Quota"}`
			p.pass(62, func() { p.floats[okEvents] += 100; p.floats[first] += 0.1 }) // all is new in a new app: nobody is told
			p.pass(10, func() { p.floats[okEvents] += 100; p.floats[group] += 0.1 })
			p.wantFired("RagNewErrorGroup firing")
			p.pass(60, func() { p.floats[okEvents] += 100; p.floats[group] += 0.1 })
			p.wantFired("RagNewErrorGroup resolved")
			p.pass(5, func() { p.floats[okEvents] += 100; p.floats[group] += 20 })
			p.wantFired("RagErrorGroupSpike firing")
		}},
		{"a stage is slow", func(p *packStand) {
			p.pass(10, func() { p.calls("rag_stage_duration_seconds"+stage, 1, 100) })
			p.pass(5, func() { p.calls("rag_stage_duration_seconds"+stage, 5, 100) })
			p.wantFired("RagStageSlow firing")
			p.pass(10, func() { p.calls("rag_stage_duration_seconds"+stage, 1, 100) })
			p.wantFired("RagStageSlow resolved")
		}},
		{"so is the first token", func(p *packStand) {
			p.pass(10, func() { p.calls("rag_time_to_first_token_seconds"+stage, 4, 100) })
			p.wantFired("RagFirstTokenSlow firing")
		}},
		{"an app goes quiet", func(p *packStand) {
			p.pass(20, func() { p.floats[okEvents] += 100; p.floats[badEvents] += 0 })
			p.pass(8, func() {})
			p.wantFired("RagTrafficGone firing")
			p.pass(8, func() { p.floats[okEvents] += 100 })
			p.wantFired("RagTrafficGone resolved")
		}},
		{"the tables are behind", func(p *packStand) {
			const lag = `analytics_lag_seconds{table="traffic"}`
			p.pass(6, func() { p.floats[lag], p.floats["analytics_behind"] = 900, 1 })
			p.wantFired("AnalyticsBehind firing")
			p.pass(6, func() { p.floats["analytics_behind"] = 0 }) // a quiet night
			p.wantFired("AnalyticsBehind resolved")
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.play(newPackStand(t)) })
	}
}

package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/verify"
)

// live is the program on the clock of the test.
type live struct {
	*past
	verify.Client
	clock atomic.Int64 // Unix milliseconds
	sent  int64
}

func (p *past) live() *live {
	l := &live{past: p}
	l.set(0)
	wall := func() time.Time { return time.UnixMilli(l.clock.Load()).UTC() }
	p.o.Clock = processors.Clock{Wall: wall, Mono: func() time.Duration { return wall().Sub(p.began) }}
	p.o.CreateTopics, p.o.Tick = false, 50*time.Millisecond
	l.Client = start(p.TB.(*testing.T), p.o)
	awaitReady(p.TB.(*testing.T), l.URL)
	return l
}

func (l *live) set(at time.Duration) { l.clock.Store(l.began.Add(at).UnixMilli()) }

// pass writes what is to come until a time, waits until all of it has an outcome, lets
// that time come, and waits until rules were evaluated for it. Before, the program would
// see half of it.
func (l *live) pass(to time.Duration) {
	l.Helper()
	l.sent += int64(len(l.records))
	l.write()
	var evaluated float64
	eventually(l.TB.(*testing.T), func(ctx context.Context) error {
		ended, _, err := l.Outcomes(ctx)
		if err != nil {
			return err
		}
		var n int64
		for _, one := range ended {
			n += one
		}
		if n != l.sent {
			return fmt.Errorf("%d of %d records", n, l.sent)
		}
		samples, err := scrape(ctx, l.Client)
		evaluated = samples["analytics_rule_evaluation_seconds_count"]
		return err
	})
	l.set(to)
	eventually(l.TB.(*testing.T), func(ctx context.Context) error {
		samples, err := scrape(ctx, l.Client)
		if err == nil && samples["analytics_rule_evaluation_seconds_count"] == evaluated {
			err = fmt.Errorf("no evaluation since the %v", evaluated)
		}
		return err
	})
}

// outbox returns what people were told, by alert and state.
func (l *live) outbox() map[string]time.Time {
	l.Helper()
	told := map[string]time.Time{}
	topic := l.o.names().Outbox()
	ends, err := kafka.EndOffsets(l.Context(), l.o.Kafka, topic)
	if err != nil {
		l.Fatal(err)
	}
	for n, end := range ends {
		err := kafka.Read(l.Context(), l.o.Kafka, topic, n, 0, end, func(r kafka.Message) error {
			var m alerts.Message
			if err := m.Decode(r.Value); err != nil {
				return err
			}
			name := m.Rule + " " + m.Labels["tenant"] + " " + m.State
			if _, twice := told[name]; twice {
				l.Errorf("%s is told twice", name)
			}
			told[name] = m.Decided
			return nil
		})
		if err != nil {
			l.Fatal(err)
		}
	}
	return told
}

const liveRules = `
groups:
- name: g
  rules:
  - alert: Errors
    expr: sum by (tenant) (increase(rag_events_total{status="error"}[30s])) > 5
    for: 10s
  - alert: Quiet
    expr: sum by (tenant) (increase(rag_events_total[30s])) < 5
  - alert: Rate
    expr: sum by (tenant) (rag_qps) > 1.5
  - alert: Slow
    expr: histogram_quantile(0.5, sum by (tenant) (rate(rag_stage_duration_seconds[30s]))) > 1
    annotations: {min_samples: "10"}
`

// What a backtest says of some records is what the program said while they came: the
// same alerts, no more than an evaluation apart, and the same outcomes.
func TestBacktestSaysWhatTheProgramSaid(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, liveRules)
	l := p.live()
	const step, steps = 5 * time.Second, 30
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range steps {
		at := time.Duration(i) * step
		for n := range 10 {
			sent := at + time.Duration(n+1)*step/10 - time.Millisecond
			partition := int32(n % 2)
			failing, gone := i >= 8 && i < 16 && n%5 > 0, i >= 18 && i < 26
			for _, tenant := range []string{"acme", "globex"} {
				fields := fmt.Sprintf(`"tenant":%q,"stage":"generate","latency_ms":%d,"status":"ok"`, tenant, 100+rng.IntN(100))
				switch {
				case tenant == "globex" && gone:
					continue
				case tenant == "acme" && failing:
					fields = `"tenant":"acme","stage":"generate","latency_ms":3000,"status":"error"`
				}
				p.event(partition, sent, fields)
				if rng.IntN(10) == 0 {
					p.raw(partition, sent, string(p.records[len(p.records)-1].Value))
				}
			}
			switch rng.IntN(10) {
			case 0:
				p.raw(partition, sent, "no event")
			case 1:
				if at > 2*time.Minute {
					p.raw(partition, sent, fmt.Sprintf(`{"event_type":"x","tenant":"acme","status":"error","timestamp":%q}`, p.began.Add(sent-2*time.Minute).Format(time.RFC3339Nano)))
				}
			}
		}
		l.pass(at + step)
	}
	told := l.outbox()
	ended, _, err := l.Outcomes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := p.test(-time.Second, steps*step, func(b *Backtest) { b.Step = step })
	outcomes := map[string]int64{}
	for k, n := range ended {
		outcomes[k.Outcome] += n
	}
	if want := (BacktestRecords{
		Read: l.sent, Counted: outcomes[generate.Counted], Duplicate: outcomes[generate.Duplicate], Late: outcomes[generate.Late], Poison: outcomes[generate.Poison],
	}); r.Records != want || want.Duplicate == 0 || want.Late == 0 || want.Poison == 0 {
		t.Errorf("records %+v, the program has %+v", r.Records, want)
	}
	found := map[string]time.Time{}
	for _, a := range r.Alerts {
		name := a.Rule + " " + a.Labels["tenant"] + " "
		found[name+alerts.MessageFiring] = a.Fired
		if a.Resolved != nil {
			found[name+alerts.MessageResolved] = *a.Resolved
		}
	}
	for name, at := range told {
		if other, ok := found[name]; !ok || at.Sub(other).Abs() > step {
			t.Errorf("%s: told at %s, a backtest says %s", name, at.Sub(p.began), other.Sub(p.began))
		} else {
			t.Logf("%s at %s and %s", name, at.Sub(p.began), other.Sub(p.began))
		}
		delete(found, name)
	}
	for name, at := range found {
		t.Errorf("%s: not told, a backtest says at %s", name, at.Sub(p.began))
	}
	if len(told) < 8 {
		t.Errorf("only %d are told: %v", len(told), told)
	}
}

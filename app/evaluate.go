package app

import (
	"context"
	"slices"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/policy"
	"ragstreams/alerts/rules"
	"ragstreams/kafka"
	"ragstreams/queries"
)

// Pace of evaluations.
const (
	lookEvery     = 10 * time.Millisecond  // whether the tables have changed
	evaluateEvery = 100 * time.Millisecond // when they have, at most
	evaluateIdle  = time.Second            // when they have not, for silence may alert, too
	// Evaluations may take a fifth of a core; what they take more than that, for a while, is
	// made up for by waiting, but not for longer than ten seconds.
	evaluateShare   = 0.2
	evaluateCredit  = time.Second
	evaluateMostDue = 3 * time.Second
	// evaluatePatience is how far apart two evaluations are between which something was
	// missed, as a multiple of what one takes: it is more than what their share allows.
	evaluatePatience = 10
)

// evaluate evaluates the rules whenever the tables have changed, while this instance is
// the one to do so.
func (a *alerting) evaluate(ctx context.Context) error {
	o := a.stages.o
	sender, err := kafka.NewSender(o.Kafka)
	if err != nil {
		return err
	}
	defer sender.Close()
	a.stages.status.clear(rulesPart)
	var seen int64
	var began, forgot time.Time
	var pace pacer
	for watching := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
		if _, mine := a.stages.owned(o.names().AlertsGroup())[0]; !mine || !a.ready() {
			if watching {
				a.observer.Active(nil, nil)
			}
			watching = false
			continue
		}
		watching = true
		offsets := a.readers.offsets()
		if !pace.ready(time.Now()) || offsets == seen && time.Since(began) < evaluateIdle {
			continue
		}
		seen, began = offsets, time.Now()
		took, err := a.round(ctx, sender)
		if err != nil {
			return err
		}
		pace.took(began, took)
		if time.Since(forgot) >= time.Hour {
			forgot = time.Now()
			if err := a.silencing.forget(ctx); err != nil {
				return err
			}
		}
	}
}

// pacer says when evaluations may begin.
type pacer struct {
	began time.Time     // of the newest
	debt  time.Duration // then: what evaluations took, it included, beyond their share
}

func (p *pacer) ready(now time.Time) bool {
	return now.Sub(p.began) >= evaluateEvery && p.owes(now) <= evaluateCredit
}

// owes returns what is left of the debt.
func (p *pacer) owes(now time.Time) time.Duration {
	return max(0, p.debt-time.Duration(evaluateShare*float64(now.Sub(p.began))))
}

// took notes evaluations that began at a time, and how long they took.
func (p *pacer) took(began time.Time, d time.Duration) {
	p.began, p.debt = began, min(p.owes(began)+d, evaluateMostDue)
}

// ready reports whether everything that rules look at is restored.
func (a *alerting) ready() bool {
	return a.restored.Load() && a.silencing.restored.Load() && !slices.ContainsFunc(a.readers.tables, func(t queries.Table) bool { _, missing := t.Recovery(); return missing != "" })
}

// now returns the time to evaluate for: the clock's, while the tables follow it.
// With a backlog it is the time that the tables have come to.
func (a *alerting) now() (time.Time, bool) {
	now := a.stages.o.Clock.Wall()
	mark, ok := a.readers.watermark()
	if !ok {
		return now, !a.stages.progress.Behind()
	}
	if lag := now.Sub(time.UnixMilli(mark)); lag < a.stages.o.Pane || !a.stages.progress.Behind() {
		return now, true
	}
	return time.UnixMilli(mark), true
}

// round evaluates all rules for the present time, and before it for those that were
// missed, which the pace does not count: there are no more than of a quarter of an hour.
// It returns how long the present took.
func (a *alerting) round(ctx context.Context, sender *kafka.Sender) (took time.Duration, err error) {
	o := a.stages.o
	at, ok := a.now()
	if !ok {
		return 0, nil
	}
	known := a.book.Rows()
	var watermark time.Time
	if ms, ok := a.readers.watermark(); ok {
		watermark = time.UnixMilli(ms)
	}
	covered := a.covered
	said, _, err := covered.Round(rules.Round{
		At: at, Now: o.Clock.Wall(), Mark: watermark, Pane: o.Pane, Patience: max(o.Pane, a.patience), Known: known,
		Evaluate: func(at time.Time, past bool) ([]rules.Said, error) {
			began := time.Now()
			said, err := a.evaluateAt(ctx, at, known, past)
			if !past {
				took = time.Since(began)
			}
			return said, err
		},
	})
	if err != nil {
		return 0, nil // ctx has ended
	}
	if took > 0 {
		a.patience = evaluatePatience * max(took, a.took) // the pace may make up for the one before, too
		a.took = took
	}
	a.observer.Active(countActive(known), a.silencing.count())
	if len(said) > 0 {
		records := make([]kafka.Message, len(said))
		for i := range said {
			records[i] = kafka.Message{Key: []byte(said[i].Key), Value: said[i].Append(nil)}
		}
		if err := sender.Send(ctx, o.names().Evaluations(), records); err != nil {
			a.evaluator.Again()
			return took, err
		}
	}
	a.covered = covered
	return took, nil
}

// evaluateAt evaluates all rules for a time.
func (a *alerting) evaluateAt(ctx context.Context, at time.Time, known map[string]*alerts.Row, past bool) ([]rules.Said, error) {
	o, use := a.stages.o, a.files.current()
	now, suppress := o.Clock.Wall(), a.suppress(use.policy)
	if past {
		now, suppress = at, a.suppress(use.policy, at)
	}
	began := time.Now()
	said, faults, err := a.evaluator.Evaluate(ctx, use.set, rules.Moment{
		At: at, Now: now, Past: past, Present: presentMetrics,
		Series: a.store.Snapshot(at), Known: known, Describe: a.describer(at),
		Repeat: use.policy.Repeat, Suppress: suppress,
	})
	if err != nil {
		return nil, err
	}
	a.observer.Evaluated(time.Since(began))
	told := map[string]bool{}
	for _, f := range faults {
		a.observer.Failed(f.Group, f.Rule)
		if told[f.Error()] = true; !a.faults[f.Error()] {
			o.Logger.Warn("a rule cannot be evaluated, its alerts stay as they are", "group", f.Group, "rule", f.Rule, "error", f.Err)
		}
	}
	a.faults = told
	return said, nil
}

// countActive counts active alerts by state; one that fires but is suppressed is
// suppressed.
func countActive(known map[string]*alerts.Row) map[string]int {
	const suppressed = "suppressed"
	states := map[string]int{alerts.Pending.String(): 0, alerts.Firing.String(): 0, suppressed: 0}
	for _, row := range known {
		switch {
		case row.State == alerts.Firing && len(row.Suppressed) > 0:
			states[suppressed]++
		case row.State != alerts.Inactive:
			states[row.State.String()]++
		}
	}
	return states
}

// suppress returns what says why people are not told of an alert: they silenced it,
// another one explains it, or it is not the time. They go by the clock, whatever time is
// evaluated, for they are about people; of a time that was missed what held then counts, too.
func (a *alerting) suppress(p *policy.Policy, missed ...time.Time) func(firing map[string]map[string]string) func(key string, labels map[string]string) []alerts.Suppressor {
	return func(firing map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor {
		times := append(missed, a.stages.o.Clock.Wall())
		silenced, inhibitions := a.silencing.book.Active(times...), p.Inhibitions(firing)
		return func(key string, labels map[string]string) []alerts.Suppressor {
			return slices.Concat(silenced.Of(labels), inhibitions.Of(key, labels), p.Muted(labels, times...))
		}
	}
}

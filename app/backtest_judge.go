package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/rules"
)

// judge evaluates rules and keeps what became of their alerts.
type judge struct {
	set       *rules.Set
	evaluator *rules.Evaluator
	known     map[string]*alerts.Row // those that are not inactive
	rule      map[string]alerts.Rule // of those
	firing    map[string]*BacktestAlert
	all       []*BacktestAlert
	below     map[[2]string]bool // rules for which a peak is a low
	deadline  time.Time          // when time alone makes a difference to an alert; zero: never

	evaluations int
	faults      map[string]*RuleFaults
}

func newJudge(set *rules.Set) *judge {
	j := &judge{
		set: set, evaluator: rules.NewEvaluator(), known: map[string]*alerts.Row{}, rule: map[string]alerts.Rule{},
		firing: map[string]*BacktestAlert{}, below: map[[2]string]bool{}, faults: map[string]*RuleFaults{},
	}
	for _, a := range set.Alerts() {
		j.below[[2]string{a.Group, a.Name}] = a.Below
	}
	return j
}

// evaluate evaluates all rules for a time that the tables have come to.
func (j *judge) evaluate(ctx context.Context, at time.Time, tables *scratch) error {
	said, faults, err := j.evaluator.Evaluate(ctx, j.set, rules.Moment{
		At: at, Now: at, Present: presentMetrics, Series: tables.store.Snapshot(at), Known: j.known, All: true,
	})
	if err != nil {
		return err
	}
	j.evaluations++
	for _, f := range faults {
		name := fmt.Sprintf("%s/%s", f.Group, f.Rule)
		if j.faults[name] == nil {
			j.faults[name] = &RuleFaults{First: at.UTC(), Error: f.Err.Error()}
		}
		j.faults[name].Times++
	}
	rules.Take(j.known, said, j.told)
	for i := range said {
		j.keep(said[i].Key, &said[i].Report)
	}
	j.deadline = j.due(at)
	return nil
}

// told notes that an alert fires, or no longer does.
func (j *judge) told(key string, t alerts.Transition, about alerts.About) {
	at := time.UnixMilli(t.At).UTC()
	if !t.Fires {
		if one := j.firing[key]; one != nil {
			one.Resolved, one.Reason = &at, t.Reason
		}
		delete(j.firing, key)
		return
	}
	one := &BacktestAlert{Group: about.Group, Rule: about.Name, Labels: maps.Clone(about.Labels), Fired: at, Peak: alerts.Number(math.NaN()), Reason: t.Reason}
	delete(one.Labels, "alertname")
	j.firing[key] = one
	j.all = append(j.all, one)
}

// keep keeps what an evaluation says of an alert that is active.
func (j *judge) keep(key string, said *alerts.Report) {
	if one := j.firing[key]; one != nil && said.Outcome == alerts.Breached {
		one.Peak = peak(one.Peak, alerts.Number(said.Value), j.below[[2]string{one.Group, one.Rule}])
	}
	j.rule[key] = said.Rule
	if j.known[key].State == alerts.Inactive {
		delete(j.known, key)
		delete(j.rule, key)
	}
}

func peak(a, b alerts.Number, below bool) alerts.Number {
	if math.IsNaN(float64(a)) || b < a && below || b > a && !below {
		return b
	}
	return a
}

// due returns when, after a time, an alert has been pending or clear for as long as its
// rule says: the program would have looked at it then. It is zero when there is none.
func (j *judge) due(at time.Time) (first time.Time) {
	for key, row := range j.known {
		rule := j.rule[key]
		var when time.Time
		switch {
		case row.State == alerts.Pending:
			when = time.UnixMilli(row.Started).Add(rule.For)
		case row.Cleared != 0:
			when = time.UnixMilli(row.Cleared).Add(rule.KeepFiring)
		}
		if when.After(at) && (first.IsZero() || when.Before(first)) {
			first = when
		}
	}
	return first
}

// found returns the alerts that fired in a time, and a summary for every rule.
func (j *judge) found(since, until time.Time) (all []BacktestAlert, byRule []BacktestRule) {
	all = []BacktestAlert{}
	at := map[[2]string]int{}
	for _, a := range j.set.Alerts() {
		name := [2]string{a.Group, a.Name}
		if _, twice := at[name]; !twice {
			at[name] = len(byRule)
			byRule = append(byRule, BacktestRule{Group: a.Group, Rule: a.Name})
		}
	}
	for _, one := range j.all {
		end := until
		if one.Resolved != nil {
			end = *one.Resolved
		}
		if !end.After(since) {
			continue
		}
		found := *one
		found.Before = one.Fired.Before(since)
		found.Lasted = alerts.Seconds(end.Sub(later(one.Fired, since)))
		all = append(all, found)
		r := &byRule[at[[2]string{one.Group, one.Rule}]]
		r.Total += found.Lasted
		if found.Before {
			r.Before++
		} else {
			r.Times++
		}
		if one.Resolved == nil {
			r.StillFiring++
		}
	}
	slices.SortStableFunc(all, func(a, b BacktestAlert) int {
		return cmp.Or(a.Fired.Compare(b.Fired), strings.Compare(a.Rule, b.Rule), strings.Compare(fmt.Sprint(a.Labels), fmt.Sprint(b.Labels)))
	})
	return all, byRule
}

package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/rules"
	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/window"
)

// Backtest is a time of the past for which rules are evaluated, as they would have been
// then.
type Backtest struct {
	Since, Until time.Time
	Step         time.Duration // between evaluations; 0: a pane, but no more than a minute
	// WarmUp is how much earlier reading begins; < 0: as far back as the rules look.
	WarmUp time.Duration
	// Progress is told, again and again, how far it is; may be nil.
	Progress func(BacktestProgress)
}

// BacktestProgress is how far a backtest is.
type BacktestProgress struct {
	At      time.Time // time that it has come to
	Part    float64   // of all of it
	Records int64     // read so far
}

// BacktestResult is what a backtest found. It is what `analytics rules backtest` writes
// as JSON.
type BacktestResult struct {
	Since       time.Time              `json:"since"`
	Until       time.Time              `json:"until"` // or when it was ended before
	ReadFrom    time.Time              `json:"read_from"`
	Step        alerts.Seconds         `json:"step_seconds"`
	Alerts      []BacktestAlert        `json:"alerts"` // by the time at which they fired
	Rules       []BacktestRule         `json:"rules"`
	Records     BacktestRecords        `json:"records"`
	NotCovered  []BacktestGap          `json:"not_covered,omitempty"`
	Notes       []string               `json:"notes,omitempty"` // what may be otherwise than it seems
	Evaluations int                    `json:"evaluations"`
	Faults      map[string]*RuleFaults `json:"faults,omitempty"` // by what could not be evaluated
}

// BacktestAlert is an alert from its firing to its being resolved.
type BacktestAlert struct {
	Group    string            `json:"group"`
	Rule     string            `json:"rule"`
	Labels   map[string]string `json:"labels"`
	Fired    time.Time         `json:"fired_at"`
	Before   bool              `json:"before,omitempty"` // it fired before the time that was asked for: then, or sooner
	Resolved *time.Time        `json:"resolved_at"`      // nil: it fires still
	Lasted   alerts.Seconds    `json:"lasted_seconds"`   // of one from before, since then only
	Peak     alerts.Number     `json:"peak"`             // the greatest value while it fired; the smallest, where the rule asks for that
	Reason   alerts.Reason     `json:"reason"`
}

// BacktestRule is how often the alerts of a rule fired, and for how long in all of the
// time that was asked for.
type BacktestRule struct {
	Group       string         `json:"group"`
	Rule        string         `json:"rule"`
	Times       int            `json:"times"`       // in that time
	Before      int            `json:"from_before"` // how many more fired already
	StillFiring int            `json:"still_firing"`
	Total       alerts.Seconds `json:"total_seconds"`
}

// BacktestRecords are the source records of the time that was asked for, by outcome, and
// those that were read before.
type BacktestRecords struct {
	Read      int64 `json:"read"`
	Counted   int64 `json:"counted"`
	Duplicate int64 `json:"duplicate"`
	Late      int64 `json:"late"`
	Poison    int64 `json:"poison"`
	// HeldUp came longer after their timestamps than windows take events: they were held
	// up, or others of their partition are of a clock that is ahead.
	HeldUp int64 `json:"held_up"`
	WarmUp int64 `json:"warm_up"`
}

// BacktestGap is what was asked for and is not there.
type BacktestGap struct {
	Topic     string     `json:"topic"`
	Partition *int32     `json:"partition,omitempty"` // nil: all
	Begins    *time.Time `json:"begins_at,omitempty"` // when the first record came that is left
	Why       string     `json:"why"`
}

// RuleFaults is how often a rule could not be evaluated.
type RuleFaults struct {
	Times int       `json:"times"`
	First time.Time `json:"first"`
	Error string    `json:"error"` // of the first
}

// Bounds of a backtest.
const (
	// backtestTick is the longest time that passes at once. The program commits ten times
	// a second, or once when it is busy.
	backtestTick = time.Second
	// maxBacktestStep is how often alerts are spoken of at least; see alerts.Alert.
	maxBacktestStep = time.Minute
	// backtestMargin is how much earlier evaluations begin than they need to: what fires at
	// the beginning has then fired for a while. It is more than a step.
	backtestMargin = 5 * time.Minute
	progressEvery  = time.Second // of the clock on the wall
)

// validate reports what cannot work.
func (b *Backtest) validate(now time.Time) error {
	switch {
	case !b.Since.Before(b.Until):
		return fmt.Errorf("since, %s, is not before until, %s: give an earlier --since", stamp(b.Since), stamp(b.Until))
	case b.Until.After(now):
		return fmt.Errorf("until, %s, has not come yet: leave --until out for all that there is", stamp(b.Until))
	case b.Step < time.Millisecond || b.Step > maxBacktestStep:
		return fmt.Errorf("step is %s: want 1ms to %s, for a breach that nobody looks at for longer does not count as held", b.Step, maxBacktestStep)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// RunBacktest reads the source topics once more, makes the tables of them in memory, and
// evaluates the rules as time passes there. It sends nothing, joins no group and makes
// no topic. When ctx ends it returns what it has found until then, with the error of ctx.
func RunBacktest(ctx context.Context, o Options, b Backtest) (*BacktestResult, error) {
	return runBacktest(ctx, o, b, progressEvery)
}

func runBacktest(ctx context.Context, o Options, b Backtest, progressEvery time.Duration) (*BacktestResult, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b.Step = cmp.Or(b.Step, min(o.Pane, maxBacktestStep))
	b.Since, b.Until = b.Since.Truncate(time.Millisecond).UTC(), b.Until.Truncate(time.Millisecond).UTC()
	if err := b.validate(time.Now()); err != nil {
		return nil, err
	}
	if o.Rules == "" {
		return nil, errors.New("there are no rules to test: give --rules, or set rules to a pattern of file names")
	}
	set, err := rules.Load(o.Rules)
	if err != nil {
		return nil, err
	}
	if err := Reachable(ctx, o); err != nil {
		return nil, err
	}
	ofTables, ofEvaluations := set.WarmUp()
	evaluateFrom := b.Since.Add(-ofEvaluations - backtestMargin)
	readFrom := evaluateFrom.Add(-ofTables)
	if b.WarmUp >= 0 {
		readFrom = b.Since.Add(-b.WarmUp)
		evaluateFrom = later(evaluateFrom, readFrom)
	}
	playback, err := kafka.OpenPlayback(ctx, o.Kafka, o.Sources, readFrom)
	if err != nil {
		return nil, err
	}
	defer playback.Close()
	var sources []window.Partition
	for _, p := range playback.Partitions() {
		sources = append(sources, window.Partition{Topic: p.Topic, Partition: p.Partition})
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("none of the source topics exists: %s: set sources to those that your services write to", strings.Join(o.Sources, ", "))
	}
	tables, err := newScratch(o, sources, readFrom)
	if err != nil {
		return nil, err
	}
	r := &backtest{Backtest: b, readFrom: readFrom, evaluateFrom: evaluateFrom, tables: tables, playback: playback, judge: newJudge(set), progressEvery: progressEvery}
	return r.run(ctx)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// backtest is one that runs.
type backtest struct {
	Backtest
	readFrom, evaluateFrom time.Time
	tables                 *scratch
	playback               *kafka.Playback
	judge                  *judge

	read   int64
	heldUp int64            // since Since
	before map[string]int64 // outcomes of the records of the warm-up

	progressEvery time.Duration
	told          time.Time // when progress was
}

func (r *backtest) run(ctx context.Context) (*BacktestResult, error) {
	var err error
	at := r.readFrom
	for at.Before(r.Until) && err == nil {
		next := r.next(at)
		if err = r.advance(ctx, next); err == nil {
			at = next
		}
	}
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("backtest, at %s: %w", stamp(at), err)
	}
	result, bad := r.result(at)
	if err = ctx.Err(); err != nil {
		err = fmt.Errorf("the backtest was ended at %s of %s; what is listed is of before: %w", stamp(at), stamp(r.Until), err)
	}
	return result, cmp.Or(bad, err)
}

// next returns the time to let pass to: that of the next evaluation, or sooner.
func (r *backtest) next(at time.Time) time.Time {
	next := after(at, backtestTick)
	for _, sooner := range []time.Time{after(at, r.Step), r.judge.deadline, r.Since, r.Until} {
		if sooner.After(at) && sooner.Before(next) {
			next = sooner
		}
	}
	return next
}

// after returns the first multiple of a step that is after a time.
func after(t time.Time, step time.Duration) time.Time {
	next := t.Truncate(step)
	for !next.After(t) {
		next = next.Add(step)
	}
	return next
}

// advance lets time pass to an evaluation, or to a time between two.
func (r *backtest) advance(ctx context.Context, to time.Time) error {
	r.tables.now = to
	err := r.playback.Until(ctx, to, func(source int, records []kafka.Record) error {
		r.read += int64(len(records))
		if to.After(r.Since) {
			r.heldUp += countBefore(records, to.Add(-r.tables.o.Grace).UnixMilli())
		}
		r.tables.take(source, records)
		return ctx.Err()
	})
	if err == nil {
		err = r.tables.to(to)
	}
	if err != nil {
		return err
	}
	if !to.Before(r.evaluateFrom) && (to.Equal(to.Truncate(r.Step)) || to.Equal(r.Until) || to.Equal(r.judge.deadline)) {
		if err := r.tables.settle(); err != nil {
			return err
		}
		if err := r.judge.evaluate(ctx, to, r.tables); err != nil {
			return err
		}
	}
	if to.Equal(r.Since) {
		if r.before, err = r.tables.counts(); err != nil {
			return err
		}
	}
	r.tell(to)
	return nil
}

// countBefore returns how many records have timestamps before one.
func countBefore(records []kafka.Record, at int64) (n int64) {
	for i := range records {
		if records[i].Timestamp < at {
			n++
		}
	}
	return n
}

// tell tells of the progress, when it is time to.
func (r *backtest) tell(at time.Time) {
	if r.Progress == nil || time.Since(r.told) < r.progressEvery && at.Before(r.Until) {
		return
	}
	r.told = time.Now()
	r.Progress(BacktestProgress{at, float64(at.Sub(r.readFrom)) / float64(r.Until.Sub(r.readFrom)), r.read})
}

func (r *backtest) result(at time.Time) (*BacktestResult, error) {
	out := &BacktestResult{
		Since: r.Since, Until: at.UTC(), ReadFrom: r.readFrom.UTC(), Step: alerts.Seconds(r.Step),
		Evaluations: r.judge.evaluations, Faults: r.judge.faults,
	}
	out.NotCovered, out.Notes = r.gaps(at)
	out.Notes = append(out.Notes, r.totals()...)
	out.Alerts, out.Rules = r.judge.found(r.Since, at)
	counts, err := r.tables.counts()
	if err != nil {
		return nil, err
	}
	before := r.before
	if at.Before(r.Since) { // it was ended in the warm-up
		before = counts
	}
	of := func(outcome string) int64 { return counts[outcome] - before[outcome] }
	out.Records = BacktestRecords{
		Read: of(processors.OutcomeIn), Counted: of(processors.OutcomeCounted), Duplicate: of(processors.OutcomeDuplicate),
		Late: of(processors.OutcomeLate), Poison: of(processors.OutcomePoison), HeldUp: r.heldUp, WarmUp: before[processors.OutcomeIn],
	}
	return out, nil
}

// gaps returns what was asked for, until a time, and is not there, and what is most likely
// all there is.
func (r *backtest) gaps(until time.Time) (gaps []BacktestGap, notes []string) {
	for _, topic := range r.playback.Missing {
		gaps = append(gaps, BacktestGap{Topic: topic, Why: "the topic does not exist"})
	}
	var quiet []string
	for _, p := range r.playback.Partitions() {
		first := time.UnixMilli(p.First).UTC()
		gap := func(begins *time.Time, why string) {
			gaps = append(gaps, BacktestGap{Topic: p.Topic, Partition: &p.Partition, Begins: begins, Why: why})
		}
		switch name := fmt.Sprintf("%s/%d", p.Topic, p.Partition); {
		case !p.Looked:
		case p.First == 0 && p.Open:
			gap(nil, "all that is left is behind an open transaction, which is not waited for")
		case !p.Deleted:
		case p.First == 0 && p.Kept:
			quiet = append(quiet, name+" is empty")
		case p.First == 0:
			gap(nil, "all records were deleted; some may be of this time")
		case !first.After(r.readFrom):
		case p.Kept:
			quiet = append(quiet, name+" begins at "+stamp(first))
		default:
			why := "records before may have been deleted"
			if !first.After(r.Since) {
				why += "; rules look back further than that"
			}
			gap(&first, why)
		}
		if c := p.Cut; c.Offsets > 0 && c.After < until.UnixMilli() {
			after, before := "the beginning", "the end"
			if c.After > 0 {
				after = stamp(time.UnixMilli(c.After))
			}
			if c.Before > 0 {
				before = stamp(time.UnixMilli(c.Before))
			}
			gap(nil, fmt.Sprintf("%d records between %s and %s were deleted before they were read: begin later, or let the topic keep them for longer", c.Offsets, after, before))
		}
	}
	if len(quiet) > 0 {
		notes = append(notes, "topics keep records of this time, so there were no older ones here, unless somebody deleted them: "+strings.Join(quiet, ", "))
	}
	return gaps, notes
}

// totals returns which rules ask for totals, which are smaller here than in the program.
func (r *backtest) totals() (notes []string) {
	for _, a := range r.judge.set.Alerts() {
		if len(a.Totals) > 0 {
			notes = append(notes, fmt.Sprintf("%s asks for totals (%s), which begin with 0 here, at %s: a rate or increase would tell the same whenever it begins",
				a.Name, strings.Join(a.Totals, ", "), stamp(r.readFrom)))
		}
	}
	return notes
}

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

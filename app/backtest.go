package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ragstreams/alerts/rules"
	"ragstreams/kafka"
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

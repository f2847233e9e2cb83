package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// Evaluator evaluates rules. What it knows of alerts is in the table of alerts, so
// that any process may go on where another one stopped; what recording rules gave it
// keeps in memory. It is safe for concurrent use.
type Evaluator struct {
	engine *promql.Engine

	mu       sync.Mutex
	recorded *recorder
	last     map[string]int64 // when a group with an interval was evaluated, in Unix milliseconds
}

// Limits of one expression.
const (
	maxSamples = 10_000_000
	timeout    = 10 * time.Second
	lookback   = 5 * time.Minute // how old the newest sample of a series may be
)

// refresh is how often the table is told of an active alert of which nothing is new.
const refresh = time.Minute

// NewEvaluator returns an Evaluator.
func NewEvaluator() *Evaluator {
	return &Evaluator{
		recorded: newRecorder(), last: map[string]int64{},
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: maxSamples, Timeout: timeout, LookbackDelta: lookback, Parser: promQL,
			EnableAtModifier: true, EnableNegativeOffset: true,
		}),
	}
}

// Moment is what rules are evaluated for.
type Moment struct {
	At     time.Time         // up to where the tables have come
	Now    time.Time         // the clock's, for rules that look at the present only
	Series storage.Queryable // of the tables, as they are
	// Present are metrics of which only the present is known. A rule that asks for
	// nothing else is evaluated for Now: it may be about the tables' standing still.
	Present []string
	// Past says that this is about a time of which only the tables tell. Rules that ask for
	// one of Present are left out.
	Past bool
	// Known is the table of alerts, by key. It may lag behind: what was said already is
	// then said once more.
	Known map[string]*alerts.Row
	// All wants to hear of every alert whose condition holds, news or not.
	All bool
	// Describe adds to what is said of an alert what only others know; nil: nothing.
	Describe func(a *alerts.About)
	// Suppress is told the labels of all alerts that fire, by key, and returns what tells
	// of one alert what keeps people from being told; nil: nothing does.
	Suppress func(firing map[string]map[string]string) func(key string, labels map[string]string) []alerts.Suppressor
	// Repeat returns how long after people were told of an alert they are told again, 0
	// for never; nil: never.
	Repeat func(labels map[string]string) time.Duration
}

// Said is what an evaluation says of the alert with a key.
type Said struct {
	Key string
	alerts.Report
}

// Take takes what was said into the rows of a table, by key, as the stage of the alerts
// will, and calls told, which may be nil, with what people are to be told.
func Take(rows map[string]*alerts.Row, said []Said, told func(key string, t alerts.Transition, about alerts.About)) {
	for i := range said {
		row := new(alerts.Row)
		if before := rows[said[i].Key]; before != nil {
			*row = *before // somebody may hold it
		}
		transitions, _ := row.Take(&said[i].Report)
		rows[said[i].Key] = row
		for _, t := range transitions {
			if told != nil {
				told(said[i].Key, t, row.About)
			}
		}
	}
}

// Fault is a rule that could not be evaluated. Its alerts stay as they are.
type Fault struct {
	Group, Rule string
	Err         error
}

// Error implements error.
func (f Fault) Error() string { return fmt.Sprintf("group %q, rule %q: %v", f.Group, f.Rule, f.Err) }

// Unwrap returns what was wrong.
func (f Fault) Unwrap() error { return f.Err }

// Evaluate evaluates all rules of a set whose groups are due, and says what makes a
// difference to an alert as the table knows it: a breach that is new, or has held for
// long enough; an alert that is active though its condition does not hold, or its rule
// is gone. What is said is ordered by key.
func (e *Evaluator) Evaluate(ctx context.Context, s *Set, m Moment) (said []Said, faults []Fault, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorded.keep(s)
	o := &round{
		Moment: m, ctx: ctx, engine: e.engine, series: both{m.Series, e.recorded},
		held: map[string]bool{}, judged: map[*rule]bool{}, lefts: map[*rule]promql.Vector{}, recorded: e.recorded,
	}
	for _, g := range s.groups {
		if !e.due(g, m) {
			continue
		}
		for _, r := range g.rules {
			if m.Past && slices.ContainsFunc(m.Present, func(name string) bool { return r.asks[name] }) {
				continue
			}
			var bad error
			if r.record != "" {
				bad = o.record(r, e.recorded)
			} else {
				bad = o.alert(r)
			}
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if bad != nil {
				faults = append(faults, Fault{g.name, r.name(), bad})
			}
		}
	}
	for key, row := range m.Known {
		if row.State != alerts.Inactive && !o.held[key] {
			if bad := o.unbreached(s, key, row); bad != nil {
				faults = append(faults, Fault{row.Group, row.Name, bad})
			}
		}
	}
	faults = append(faults, o.tell()...)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(o.said, func(a, b Said) int { return strings.Compare(a.Key, b.Key) })
	return o.said, faults, nil
}

// due reports whether a group's interval has begun since it was last evaluated, by the
// clock: also while the tables stand still. The past has intervals of its own.
func (e *Evaluator) due(g *group, m Moment) bool {
	if g.interval == 0 {
		return true
	}
	now, key := m.Now.UnixMilli()/g.interval.Milliseconds(), fmt.Sprint(m.Past, " ", g.file, "\x00", g.name)
	if last, was := e.last[key]; was && now == last {
		return false
	}
	e.last[key] = now
	return true
}

// Again makes every group due, whatever its interval: what was said was not sent.
func (e *Evaluator) Again() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.last)
}

package rules

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
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

// round is one evaluation of all rules.
type round struct {
	Moment
	ctx      context.Context
	engine   *promql.Engine
	series   storage.Queryable
	held     map[string]bool // keys of alerts whose condition holds
	judged   map[*rule]bool  // rules that were evaluated
	recorded *recorder
	lefts    map[*rule]promql.Vector // what was compared, by those that were asked for it
	verdicts []verdict
	said     []Said
}

// verdict is what the evaluation of a rule says of an alert.
type verdict struct {
	Said
	// complete adds what takes time to find out, and is asked only if the verdict is news;
	// nil: there is nothing.
	complete func(about *alerts.About) error
}

// query evaluates an expression.
func (o *round) query(expr string, at time.Time) (promql.Vector, error) {
	q, err := o.engine.NewInstantQuery(o.ctx, o.series, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(o.ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		return slices.Clone(v), nil // the engine takes its memory back
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("the expression gives a %s: want a vector or a number", result.Value.Type())
}

// at is for when a rule is evaluated.
func (o *round) at(r *rule) time.Time { return o.time(r).Add(-r.group.offset) }

// time is when a rule is evaluated.
func (o *round) time(r *rule) time.Time {
	for name := range r.asks {
		if !slices.Contains(o.Present, name) {
			return o.At
		}
	}
	if len(r.asks) == 0 {
		return o.At
	}
	return o.Now
}

// alert says what is new of the alerts for which the condition of a rule holds.
func (o *round) alert(r *rule) error {
	holds, err := o.query(r.expr, o.at(r))
	if err != nil {
		return err
	}
	if n := r.group.limit; n > 0 && len(holds) > n {
		return fmt.Errorf("it gives %d alerts, the limit of its group is %d", len(holds), n)
	}
	var without promql.Vector
	if r.state.NoData == alerts.NoDataFiring && r.left != "" {
		left, err := o.left(r)
		if err != nil {
			return err
		}
		without = slices.DeleteFunc(slices.Clone(left), func(s promql.Sample) bool { return !noNumber(s) })
		if len(left) == 0 && len(holds) == 0 { // there is nothing at all: an alert of the rule itself
			without = promql.Vector{{F: math.NaN()}}
		}
	}
	list, seen := make([]found, 0, len(holds)+len(without)), map[string]bool{}
	for i, sample := range slices.Concat(holds, without) {
		f := o.find(r, sample)
		if seen[f.key] || o.held[f.key] {
			return fmt.Errorf("it gives the alert %s twice: add a label that tells them apart", f.key)
		}
		if f.outcome = alerts.Breached; i >= len(holds) {
			f.outcome = alerts.NoData
		}
		list, seen[f.key] = append(list, f), true
	}
	for _, f := range list {
		if err := o.judge(r, f); err != nil {
			return err
		}
		o.held[f.key] = true
	}
	o.judged[r] = true
	return nil
}

// left returns what the condition of a rule compares.
func (o *round) left(r *rule) (promql.Vector, error) {
	if left, asked := o.lefts[r]; asked {
		return left, nil
	}
	left, err := o.query(r.left, o.at(r))
	if err == nil {
		o.lefts[r] = left
	}
	return left, err
}

// noNumber reports whether a sample says that there was nothing to make a number of,
// such as the quantile of a histogram that counted nothing.
func noNumber(s promql.Sample) bool { return s.H == nil && math.IsNaN(s.F) }

// found is one element for which a condition holds, or that is no data.
type found struct {
	key     string
	sample  promql.Sample
	from    labels.Labels     // of the element, without a name
	labels  map[string]string // of the alert
	expand  func(text string) string
	samples *int64
	outcome alerts.Outcome
}

func (o *round) find(r *rule, sample promql.Sample) found {
	f := found{sample: sample, from: sample.Metric.DropReserved(func(name string) bool { return name == model.MetricNameLabel }), labels: map[string]string{}}
	f.from.Range(func(l labels.Label) { f.labels[l.Name] = l.Value })
	data := template.AlertTemplateData(maps.Clone(f.labels), nil, "", sample)
	f.expand = func(text string) string {
		if !strings.Contains(text, "{{") {
			return text
		}
		const defs = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
		query := func(_ context.Context, expr string, at time.Time) (promql.Vector, error) { return o.query(expr, at) }
		out, err := template.NewTemplateExpander(o.ctx, defs+text, r.alert, data, model.Time(o.at(r).UnixMilli()), query, nil, nil).Expand()
		if err != nil {
			return fmt.Sprintf("<error expanding template: %v>", err)
		}
		return out
	}
	for name, text := range r.labels {
		f.labels[name] = f.expand(text)
		if f.labels[name] == "" {
			delete(f.labels, name)
		}
	}
	f.labels[model.AlertNameLabel] = r.alert
	f.key = alerts.Key(r.group.name, f.labels)
	return f
}

// judge says of an alert what was found.
func (o *round) judge(r *rule, f found) error {
	e := alerts.Evaluation{At: o.time(r).UnixMilli(), Rule: r.state, Outcome: f.outcome, Value: f.sample.F}
	if f.sample.H != nil {
		e.Value = math.NaN()
	}
	if r.minSamples > 0 && f.outcome == alerts.Breached {
		n, err := o.count(r, f.from)
		if err != nil {
			return err
		}
		if f.samples = n; n != nil && *n < r.minSamples {
			e.Outcome = alerts.NoData
		}
	}
	about := alerts.About{
		Group: r.group.name, Name: r.alert, Labels: f.labels, Expr: r.expr, Window: alerts.Seconds(r.window), Samples: f.samples,
	}
	o.verdicts = append(o.verdicts, verdict{Said{f.key, alerts.Report{Evaluation: e, About: about}}, func(about *alerts.About) (err error) {
		if about.Samples == nil {
			if about.Samples, err = o.count(r, f.from); err != nil {
				return err
			}
		}
		about.Annotations = map[string]string{}
		for name, text := range r.annotations {
			about.Annotations[name] = f.expand(text)
		}
		return nil
	}})
	return nil
}

// count returns of how many events the value was made that an expression has for some
// labels; nil when that is not known.
func (o *round) count(r *rule, of labels.Labels) (*int64, error) {
	var most *int64
	for i := range r.counts {
		c := &r.counts[i]
		until, err := o.query(c.at(0, of), o.at(r))
		if err != nil {
			return nil, err
		}
		if len(until) == 0 {
			continue
		}
		before, err := o.query(c.at(c.span, of), o.at(r))
		if err != nil {
			return nil, err
		}
		n := int64(until[0].F)
		if len(before) > 0 {
			n -= int64(before[0].F)
		}
		if most == nil || n > *most {
			most = &n
		}
	}
	return most, nil
}

// unbreached says of an active alert that its condition does not hold, or that its
// rule is another one now, or gone.
func (o *round) unbreached(s *Set, key string, row *alerts.Row) error {
	e := alerts.Evaluation{At: o.At.UnixMilli(), Outcome: alerts.Withdrawn, Value: math.NaN()}
	named := s.named(row.Group, row.Name)
	if len(named) > 0 {
		r := named[0]
		for _, other := range named {
			if !o.judged[other] {
				return nil // it was not due, or could not be evaluated: nothing is known
			}
			if other.state.Version == row.Version {
				r = other
			}
		}
		e.At = o.time(r).UnixMilli()
		var err error
		if !o.recorded.complete(s, r, o.at(r).UnixMilli()) {
			return nil
		}
		if e.Rule = r.state; r.state.Version == row.Version {
			e.Outcome, e.Value, err = o.missing(r, row)
		} else {
			e.Outcome = alerts.Cleared
		}
		if err != nil {
			return err
		}
	}
	o.verdicts = append(o.verdicts, verdict{Said{key, alerts.Report{Evaluation: e, About: row.About}}, nil})
	return nil
}

// missing tells a condition that does not hold from one with nothing to compare.
func (o *round) missing(r *rule, row *alerts.Row) (alerts.Outcome, float64, error) {
	if r.left == "" {
		return alerts.Cleared, math.NaN(), nil
	}
	left, err := o.left(r)
	if err != nil {
		return 0, 0, err
	}
	for _, sample := range left {
		if r.covers(sample.Metric, row.Labels) && !noNumber(sample) {
			return alerts.Cleared, sample.F, nil
		}
	}
	return alerts.NoData, math.NaN(), nil
}

// covers reports whether an element of the left side has the labels of an alert, but
// for those that the rule adds.
func (r *rule) covers(element labels.Labels, of map[string]string) bool {
	for name, value := range of {
		if _, added := r.labels[name]; added || name == model.AlertNameLabel {
			continue
		}
		if element.Get(name) != value {
			return false
		}
	}
	return true
}

// tell says what is news.
func (o *round) tell() (faults []Fault) {
	suppressors := func(string, map[string]string) []alerts.Suppressor { return nil }
	if o.Suppress != nil {
		suppressors = o.Suppress(o.firing())
	}
	for _, v := range o.verdicts {
		v.Suppressed = suppressors(v.Key, v.Labels)
		// What comes out of a backlog passes hours of its own in no time.
		if o.Repeat != nil && !o.Past && o.Now.Sub(o.At) <= maxMissed {
			v.Repeat = o.Repeat(v.Labels)
		}
		if !o.news(v.Key, v.Evaluation) {
			continue
		}
		if v.complete != nil {
			if err := v.complete(&v.About); err != nil {
				faults = append(faults, Fault{v.Group, v.Name, err})
				continue
			}
		}
		if o.Describe != nil {
			o.Describe(&v.About)
		}
		o.said = append(o.said, v.Said)
	}
	return faults
}

// firing returns the labels of all alerts that fire once the verdicts are taken in, by
// key.
func (o *round) firing() map[string]map[string]string {
	all := map[string]map[string]string{}
	for key, row := range o.Known {
		if row.State == alerts.Firing {
			all[key] = row.Labels
		}
	}
	for _, v := range o.verdicts {
		after := o.known(v.Key)
		if after.Step(v.Evaluation); after.State == alerts.Firing {
			all[v.Key] = v.Labels
		} else {
			delete(all, v.Key)
		}
	}
	return all
}

// known returns an alert as the table has it.
func (o *round) known(key string) alerts.Alert {
	if row := o.Known[key]; row != nil {
		return row.Alert
	}
	return alerts.Alert{}
}

// news reports whether an evaluation makes a difference to what the table knows.
func (o *round) news(key string, e alerts.Evaluation) bool {
	before := o.known(key)
	after := before
	told := after.Step(e)
	if len(told) > 0 || o.All || after.State != alerts.Inactive && e.At-before.Evaluated >= refresh.Milliseconds() {
		return true
	}
	if before.State == alerts.Inactive && after.State == alerts.Inactive {
		return false
	}
	after.Evaluated = before.Evaluated
	return !reflect.DeepEqual(after, before)
}

// record takes in what a recording rule gives.
func (o *round) record(r *rule, into *recorder) error {
	v, err := o.query(r.expr, o.at(r))
	if err != nil {
		return err
	}
	if n := r.group.limit; n > 0 && len(v) > n {
		return fmt.Errorf("it gives %d series, the limit of its group is %d", len(v), n)
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for i := range v {
		b.Reset(v[i].Metric)
		b.Set(model.MetricNameLabel, r.record)
		for name, value := range r.labels {
			b.Set(name, value)
		}
		v[i].Metric = b.Labels()
	}
	return into.add(r, o.at(r).UnixMilli(), v)
}

var errTwice = errors.New("it gives two series with the same labels")

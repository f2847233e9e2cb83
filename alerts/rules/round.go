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
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
)

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

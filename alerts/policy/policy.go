// Package policy says which alerts people are not told of, and how often they are told of
// the others: inhibition, mute times and repeat intervals, in a YAML file whose words are
// those of Alertmanager's configuration.
//
//	repeat_interval: 4h
//	inhibit_rules:
//	- source_matchers: ['alertname="PipelineDown"']
//	  target_matchers: ['severity=~"warning|info"']
//	  equal: [tenant]
//	time_intervals:
//	- name: nights
//	  time_intervals:
//	  - times: [{start_time: "22:00", end_time: "24:00"}, {start_time: "00:00", end_time: "06:00"}]
//	    location: Europe/Berlin
//	routes:
//	- matchers: ['severity="info"']
//	  mute_time_intervals: [nights]
//	  repeat_interval: 24h
//
// Where alerts go is no part of it: that is for the bindings of RabbitMQ to say.
package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/match"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// DefaultRepeat is how often people are told of an alert that goes on firing, as in
// Alertmanager.
const DefaultRepeat = 4 * time.Hour

// Policy does not change. The zero Policy suppresses nothing and repeats nothing.
type Policy struct {
	repeat    time.Duration
	inhibits  []inhibit
	intervals map[string][]timeinterval.TimeInterval
	routes    []route
}

// inhibit says that an alert that fires explains others.
type inhibit struct {
	Source match.Matchers `yaml:"source_matchers"`
	Target match.Matchers `yaml:"target_matchers"`
	Equal  []string       `yaml:"equal"` // labels that both must have alike
}

// route is what holds for some alerts: those that match, and no route before them.
type route struct {
	Matchers match.Matchers  `yaml:"matchers"`
	Mute     []string        `yaml:"mute_time_intervals"`
	Active   []string        `yaml:"active_time_intervals"`
	Repeat   *model.Duration `yaml:"repeat_interval"`
}

// file is the file as it is written.
type file struct {
	Repeat    *model.Duration `yaml:"repeat_interval"`
	Inhibits  []inhibit       `yaml:"inhibit_rules"`
	Intervals []struct {
		Name      string                      `yaml:"name"`
		Intervals []timeinterval.TimeInterval `yaml:"time_intervals"`
	} `yaml:"time_intervals"`
	Routes []route `yaml:"routes"`
}

// Parse reads a file, whose name is for what is said of mistakes: all of them are
// reported together. An empty one is what holds without any: alerts are repeated every
// DefaultRepeat.
func Parse(name string, src []byte) (*Policy, error) {
	var f file
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("alert policy %s: %w; known are repeat_interval, inhibit_rules, time_intervals and routes", name, err)
	}
	p := &Policy{repeat: DefaultRepeat, inhibits: f.Inhibits, routes: f.Routes, intervals: map[string][]timeinterval.TimeInterval{}}
	if f.Repeat != nil {
		p.repeat = time.Duration(*f.Repeat)
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("alert policy %s: "+format, append([]any{name}, args...)...))
	}
	for _, i := range f.Intervals {
		if _, twice := p.intervals[i.Name]; twice || i.Name == "" {
			bad("a time interval is called %q: give each a name of its own", i.Name)
		}
		p.intervals[i.Name] = i.Intervals
	}
	for n, i := range f.Inhibits {
		if i.Source.Len() == 0 || i.Target.Len() == 0 {
			bad("inhibit_rules %d: want source_matchers and target_matchers", n+1)
		}
	}
	for n, r := range f.Routes {
		if r.Matchers.Len() == 0 {
			bad("routes %d: want matchers", n+1)
		}
		for _, used := range slices.Concat(r.Mute, r.Active) {
			if _, known := p.intervals[used]; !known {
				bad("routes %d: no time interval is called %q", n+1, used)
			}
		}
	}
	return p, errors.Join(errs...)
}

// route returns what holds for an alert, nil for nothing in particular.
func (p *Policy) route(labels map[string]string) *route {
	for i := range p.routes {
		if p.routes[i].Matchers.Match(labels) {
			return &p.routes[i]
		}
	}
	return nil
}

// Repeat returns how long after people were told of an alert they are told again; 0 is
// never.
func (p *Policy) Repeat(labels map[string]string) time.Duration {
	if r := p.route(labels); r != nil && r.Repeat != nil {
		return time.Duration(*r.Repeat)
	}
	return p.repeat
}

// Muted returns the time intervals because of which people are not told of an alert at
// any of some times: those of mute_time_intervals that hold, or all of
// active_time_intervals when none of them does.
func (p *Policy) Muted(labels map[string]string, times ...time.Time) (by []alerts.Suppressor) {
	r := p.route(labels)
	if r == nil {
		return nil
	}
	add := func(name string) {
		if s := (alerts.Suppressor{Kind: alerts.Muted, By: name}); !slices.Contains(by, s) {
			by = append(by, s)
		}
	}
	for _, at := range times {
		holds := func(name string) bool {
			return slices.ContainsFunc(p.intervals[name], func(i timeinterval.TimeInterval) bool { return i.ContainsTime(at.UTC()) })
		}
		for _, name := range r.Mute {
			if holds(name) {
				add(name)
			}
		}
		if len(r.Active) > 0 && !slices.ContainsFunc(r.Active, holds) {
			add("not " + strings.Join(r.Active, ", "))
		}
	}
	return by
}

// Inhibitions knows which alerts fire that explain others.
type Inhibitions struct {
	rules   []inhibit
	sources []map[string][]source // by rule, by the values of its equal labels
}

// source is an alert that fires.
type source struct {
	key    string
	target bool // it is one that the rule inhibits, too
}

// Inhibitions takes in the labels of all alerts that fire, by key.
func (p *Policy) Inhibitions(firing map[string]map[string]string) *Inhibitions {
	x := &Inhibitions{rules: p.inhibits, sources: make([]map[string][]source, len(p.inhibits))}
	for n := range x.rules {
		rule := &x.rules[n]
		x.sources[n] = map[string][]source{}
		for key, labels := range firing {
			if rule.Source.Match(labels) {
				values := rule.values(labels)
				x.sources[n][values] = append(x.sources[n][values], source{key, rule.Target.Match(labels)})
			}
		}
		for _, list := range x.sources[n] {
			slices.SortFunc(list, func(a, b source) int { return strings.Compare(a.key, b.key) })
		}
	}
	return x
}

// values returns what tells alerts apart that a rule wants to be alike.
func (i *inhibit) values(labels map[string]string) string {
	var b strings.Builder
	for _, name := range i.Equal {
		fmt.Fprintf(&b, "%q", labels[name])
	}
	return b.String()
}

// Of returns the alerts, one of each rule, because of which people are not told of the
// alert with a key and labels. Alerts that a rule makes both source and target do not inhibit each other,
// and so none itself.
func (x *Inhibitions) Of(key string, labels map[string]string) (by []alerts.Suppressor) {
	for n := range x.rules {
		rule := &x.rules[n]
		if !rule.Target.Match(labels) {
			continue
		}
		both := rule.Source.Match(labels)
		for _, s := range x.sources[n][rule.values(labels)] {
			one := alerts.Suppressor{Kind: alerts.Inhibited, By: alerts.Fingerprint(s.key)}
			if s.key == key || both && s.target {
				continue
			}
			if !slices.Contains(by, one) {
				by = append(by, one)
			}
			break
		}
	}
	return by
}

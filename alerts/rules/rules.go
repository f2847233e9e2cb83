// Package rules reads Prometheus rule files and says of every alert whether its
// condition holds.
//
//	files ─ Load ─▶ Set ─┐
//	series.Snapshot ─────┼─ Evaluator.Evaluate ─▶ evaluations
//	alerts.Book ─────────┘
//
// A file that promtool takes means here what it means in Prometheus. Two annotations
// say more, and are no more than annotations to others:
//
//	no_data: ok | firing | keep   what it means that there is nothing to compare; ok
//	min_samples: "20"             a value made of fewer events is no data
//
// What is evaluated is the tables, not scrapes of them; rules are evaluated as often as
// the tables change, or as the interval of their group says.
package rules

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Annotations that say how a rule is evaluated.
const (
	annotationNoData     = "no_data"
	annotationMinSamples = "min_samples"
)

// Set is the rules of some files. It does not change.
type Set struct {
	groups   []*group
	reach    time.Duration   // how far back any expression looks
	recorded map[string]bool // names of series that rules record
}

type group struct {
	name     string
	file     string
	interval time.Duration // 0: as often as the tables change
	offset   time.Duration // how far behind now it is evaluated
	limit    int           // of the alerts or series of a rule; 0: none
	rules    []*rule
}

type rule struct {
	group       *group
	record      string // name of the series, or
	alert       string // name of the alert
	expr        string
	left        string // of the outermost comparison: what there is no data of when it is empty; "" for none
	below       bool   // that comparison holds for what is small
	state       alerts.Rule
	minSamples  int64
	counts      []counted       // what the value is made of
	window      time.Duration   // the longest range
	reach       time.Duration   // how far back it looks, offsets included
	asks        map[string]bool // the names of metrics
	now         map[string]bool // those of which it asks for the newest sample only
	labels      map[string]string
	annotations map[string]string
}

var promQL = parser.NewParser(parser.Options{})

// Load reads the rule files whose names match a pattern, such as rules/*.yaml; "" is
// no rules. One mistake in one file is an error that names the place, and all of them
// are reported together. A pattern that matches nothing is one, too.
func Load(pattern string) (*Set, error) {
	if pattern == "" {
		return newSet(nil)
	}
	names, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		return nil, fmt.Errorf("rules: pattern %q: %w", pattern, err)
	case len(names) == 0:
		return nil, fmt.Errorf("rules: no file matches %q", pattern)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
	}
	return newSet(files)
}

// Parse is Load for files that were read, by name.
func Parse(files map[string][]byte) (*Set, error) { return newSet(files) }

func newSet(files map[string][]byte) (*Set, error) {
	s := &Set{recorded: map[string]bool{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		parsed, bad := rulefmt.Parse(files[name], false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
		for _, err := range bad {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if len(bad) > 0 {
			continue
		}
		for i := range parsed.Groups {
			g, err := newGroup(name, &parsed.Groups[i])
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: group %q: %w", name, parsed.Groups[i].Name, err))
				continue
			}
			s.groups = append(s.groups, g)
			for _, r := range g.rules {
				s.reach = max(s.reach, r.reach)
				if r.record != "" {
					s.recorded[r.record] = true
				}
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Len returns the number of rules.
func (s *Set) Len() int {
	n := 0
	for _, g := range s.groups {
		n += len(g.rules)
	}
	return n
}

// named returns the alerting rules of a name, in any file.
func (s *Set) named(group, alert string) (all []*rule) {
	for _, g := range s.groups {
		if g.name == group {
			for _, r := range g.rules {
				if r.alert == alert {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

func (s *Set) has(r *rule) bool {
	return slices.ContainsFunc(s.groups, func(g *group) bool { return slices.Contains(g.rules, r) })
}

// name returns what the rule is called.
func (r *rule) name() string { return r.alert + r.record }

func newGroup(file string, from *rulefmt.RuleGroup) (*group, error) {
	g := &group{name: from.Name, file: file, interval: time.Duration(from.Interval), limit: from.Limit}
	if from.QueryOffset != nil {
		g.offset = time.Duration(*from.QueryOffset)
	}
	var errs []error
	for i := range from.Rules {
		r, err := newRule(g, from.Labels, &from.Rules[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %d, %q: %w", i+1, from.Rules[i].Alert+from.Rules[i].Record, err))
			continue
		}
		g.rules = append(g.rules, r)
	}
	return g, errors.Join(errs...)
}

func newRule(g *group, groupLabels map[string]string, from *rulefmt.Rule) (*rule, error) {
	r := &rule{
		group: g, record: from.Record, alert: from.Alert, expr: from.Expr,
		labels: maps.Clone(groupLabels), annotations: maps.Clone(from.Annotations),
	}
	if r.labels == nil {
		r.labels = map[string]string{}
	}
	maps.Copy(r.labels, from.Labels)
	expr, err := promQL.ParseExpr(from.Expr)
	if err != nil {
		return nil, err // it was parsed before
	}
	if left := compared(expr); left != nil {
		r.left = left.String()
		r.below = below(expr)
	}
	r.counts, r.window = counts(expr)
	r.reach, r.asks = looks(expr)
	r.reach += g.offset
	r.now = asksNow(expr)
	r.state = alerts.Rule{For: time.Duration(from.For), KeepFiring: time.Duration(from.KeepFiringFor)}
	if text, given := r.annotations[annotationNoData]; given {
		if err := r.state.NoData.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("annotation %w", err)
		}
	}
	if text, given := r.annotations[annotationMinSamples]; given {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("annotation min_samples is %q: want a whole number", text)
		}
		if n > 0 && len(r.counts) == 0 {
			return nil, errors.New("annotation min_samples: the expression has no range of a counter or histogram whose events could be counted")
		}
		r.minSamples = n
	}
	r.state.Version = r.version()
	return r, nil
}

// version returns what tells this rule from what it was before it was edited. Texts
// for people are no part of it.
func (r *rule) version() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d %d %d %d %d", r.alert, r.expr, r.state.For, r.state.KeepFiring, r.state.NoData, r.minSamples, r.group.offset)
	for _, name := range slices.Sorted(maps.Keys(r.labels)) {
		fmt.Fprintf(h, " %q=%q", name, r.labels[name])
	}
	return h.Sum64()
}

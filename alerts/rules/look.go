package rules

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// Series is where expressions find their series; an alias, so that packages which do
// not import storage can name it.
type Series = storage.Queryable

// Alert is an alerting rule, for people.
type Alert struct {
	Group, Name string
	Expr        string
	Below       bool // it asks whether something is too small
	// Totals are the counters of which it asks for what they have counted since they began,
	// itself or what it makes of recorded series, in order.
	Totals []string
}

// Alerts returns the alerting rules, in the order of the files.
func (s *Set) Alerts() []Alert {
	var all []Alert
	for _, g := range s.groups {
		for _, r := range g.rules {
			if r.alert != "" {
				totals := map[string]bool{}
				s.totals(r, map[*rule]bool{}, totals)
				all = append(all, Alert{g.name, r.alert, r.expr, r.below, slices.Sorted(maps.Keys(totals))})
			}
		}
	}
	return all
}

// totals adds the counters of which a rule asks for the newest sample.
func (s *Set) totals(r *rule, asked map[*rule]bool, found map[string]bool) {
	if asked[r] {
		return
	}
	asked[r] = true
	for name := range r.now {
		if s.recorded[name] {
			for _, g := range s.groups {
				for _, by := range g.rules {
					if by.record == name {
						s.totals(by, asked, found)
					}
				}
			}
		} else if strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_bucket") {
			found[name] = true
		}
	}
}

// asksNow returns the names of the metrics of which an expression asks for the newest
// sample, and for none of before that it could be compared with.
func asksNow(e parser.Expr) map[string]bool {
	now, before := map[string]bool{}, map[string]bool{}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		asks := now
		if v.OriginalOffset != 0 {
			asks = before
		}
		for _, outer := range path {
			switch outer.(type) {
			case *parser.MatrixSelector, *parser.SubqueryExpr:
				return nil
			}
		}
		asks[nameOf(v)] = true
		return nil
	})
	maps.DeleteFunc(now, func(name string, _ bool) bool { return before[name] })
	return now
}

// below reports whether the outermost comparison of an expression holds for what is
// small. One of two bounds, as in 5 < x < 10, is neither.
func below(e parser.Expr) bool {
	for {
		b, ok := unparen(e).(*parser.BinaryExpr)
		switch {
		case !ok:
			return false
		case b.Op == parser.LAND || b.Op == parser.LUNLESS:
			e = b.LHS
		case compared(b.LHS) != nil || compared(b.RHS) != nil:
			return false
		case b.LHS.Type() == parser.ValueTypeScalar: // 5 > x
			return b.Op == parser.GTR || b.Op == parser.GTE
		default:
			return b.Op == parser.LSS || b.Op == parser.LTE
		}
	}
}

func unparen(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// WarmUp returns what must have come before a time for which rules are to say what they
// would have said if they had been evaluated for ever. Of the tables: how far back from
// any evaluation an expression looks. Of evaluations: for how long alerts may have been
// pending, or fire on, and recording rules must have recorded.
func (s *Set) WarmUp() (ofTables, ofEvaluations time.Duration) {
	for _, g := range s.groups {
		for _, r := range g.rules {
			ofEvaluations = max(ofEvaluations, r.state.For+r.state.KeepFiring+s.recordedFor(r, map[*rule]bool{}))
		}
	}
	return s.reach + lookback, ofEvaluations
}

// recordedFor returns for how long must have been recorded what a rule asks for. A rule
// that asks for what it records itself is not followed: it looks back for ever.
func (s *Set) recordedFor(r *rule, asked map[*rule]bool) (longest time.Duration) {
	if asked[r] {
		return 0
	}
	asked[r] = true
	defer delete(asked, r)
	for _, g := range s.groups {
		for _, by := range g.rules {
			if by.record != "" && r.asks[by.record] {
				longest = max(longest, r.reach+lookback+s.recordedFor(by, asked))
			}
		}
	}
	return longest
}

package rules

import (
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
}

// Alerts returns the alerting rules, in the order of the files.
func (s *Set) Alerts() []Alert {
	var all []Alert
	for _, g := range s.groups {
		for _, r := range g.rules {
			if r.alert != "" {
				all = append(all, Alert{g.name, r.alert, r.expr, below(r.expr)})
			}
		}
	}
	return all
}

// below reports whether the outermost comparison of an expression holds for what is
// small.
func below(text string) bool {
	e, err := promQL.ParseExpr(text)
	if err != nil {
		return false
	}
	for {
		b, ok := unparen(e).(*parser.BinaryExpr)
		switch {
		case !ok:
			return false
		case b.Op == parser.LAND || b.Op == parser.LUNLESS:
			e = b.LHS
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

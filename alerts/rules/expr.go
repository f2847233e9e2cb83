package rules

import (
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// compared returns what the outermost comparison of an expression compares, and gives:
// its left side, or its right where the left is a number or the result has the labels of
// the right; nil where there is none. Of A and B, and of A unless B, it is that of A; of
// 5 < A < 10 it is A. A comparison with bool filters nothing, so it is none.
func compared(e parser.Expr) parser.Expr {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return compared(e.Expr)
	case *parser.BinaryExpr:
		switch {
		case e.Op.IsComparisonOperator() && !e.ReturnBool:
			side := e.LHS
			if side.Type() == parser.ValueTypeScalar || e.VectorMatching != nil && e.VectorMatching.Card == parser.CardOneToMany {
				side = e.RHS
			}
			if inner := compared(side); inner != nil {
				return inner
			}
			return side
		case e.Op == parser.LAND || e.Op == parser.LUNLESS:
			return compared(e.LHS)
		}
	}
	return nil
}

// counted is how many events a range of a selector holds: what it counted at its end
// less what it had counted at its beginning.
type counted struct {
	call     string // what makes a number of a sample; "" for counters
	matchers []*labels.Matcher
	span     time.Duration
	offset   time.Duration
}

// counts finds the ranges of counters and histograms in an expression, and the longest
// range of all.
func counts(e parser.Expr) (all []counted, longest time.Duration) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.SubqueryExpr:
			longest = max(longest, n.Range)
		case *parser.MatrixSelector:
			longest = max(longest, n.Range)
			v, ok := n.VectorSelector.(*parser.VectorSelector)
			if !ok || v.Timestamp != nil || v.StartOrEnd != 0 {
				break
			}
			if c, ok := countOf(v); ok {
				c.span, c.offset = n.Range, v.OriginalOffset
				all = append(all, c)
			}
		}
		return nil
	})
	return all, longest
}

// looks returns how far back an expression looks, and for what; "" stands for a name
// that is not told.
func looks(e parser.Expr) (reach time.Duration, names map[string]bool) {
	names = map[string]bool{}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		names[nameOf(v)] = true
		back := v.OriginalOffset
		for _, outer := range path {
			switch outer := outer.(type) {
			case *parser.MatrixSelector:
				back += outer.Range
			case *parser.SubqueryExpr:
				back += outer.Range + outer.OriginalOffset
			}
		}
		reach = max(reach, back)
		return nil
	})
	return reach, names
}

// nameOf returns the name that a selector tells, "" where it tells none.
func nameOf(v *parser.VectorSelector) string {
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// countOf tells how the events of a selector are counted, by what its metric is called.
func countOf(v *parser.VectorSelector) (counted, bool) {
	var c counted
	for _, m := range v.LabelMatchers {
		switch {
		case m.Name != model.MetricNameLabel:
			if m.Name != model.BucketLabel {
				c.matchers = append(c.matchers, m)
			}
			continue
		case m.Type != labels.MatchEqual:
			return c, false
		}
		name := m.Value
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if base, of := strings.CutSuffix(name, part); of {
				name = base + "_count"
				break
			}
		}
		switch {
		case strings.HasSuffix(name, "_total"), strings.HasSuffix(name, "_count"):
		case strings.HasSuffix(name, "_seconds"):
			c.call = "histogram_count"
		default: // a gauge
			return c, false
		}
		c.matchers = append(c.matchers, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	}
	return c, true
}

// at returns the expression of what was counted up to some time before, for the series
// that have all these labels.
func (c *counted) at(before time.Duration, having labels.Labels) string {
	var b strings.Builder
	b.WriteString("sum(")
	if c.call != "" {
		b.WriteString(c.call + "(")
	}
	b.WriteString("{")
	for i, m := range c.matchers {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(m.String())
	}
	having.Range(func(l labels.Label) {
		b.WriteString("," + labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value).String())
	})
	b.WriteString("}")
	if d := c.offset + before; d != 0 {
		b.WriteString(" offset " + model.Duration(d).String())
	}
	if c.call != "" {
		b.WriteString(")")
	}
	b.WriteString(")")
	return b.String()
}

package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"ragstreams/metrics"
)

// labels are those of every metric of the program.
var labels = func() map[string][]string {
	of := map[string][]string{}
	for _, d := range metrics.Docs() {
		of[d.Name] = d.Labels
	}
	return of
}()

// scope holds the labels that the variables of a dashboard narrow down.
type scope []string

// of selects the series of a metric, narrowed down by the matchers and by every
// variable of the dashboard that is a label of it.
func (s scope) of(metric string, matchers ...string) string {
	known, ok := labels[metric]
	if !ok {
		panic("BUG: no metric " + metric)
	}
	for _, label := range s {
		if slices.Contains(known, label) {
			matchers = append(matchers, fmt.Sprintf(`%s=~"$%s"`, label, label))
		}
	}
	if len(matchers) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(matchers, ", ") + "}"
}

// rate is how fast counters rise, a second, or how fast histograms fill.
func rate(series string) string { return "rate(" + series + "[$__rate_interval])" }

// during is by how much counters rose over the time that is shown.
func during(series string) string { return "increase(" + series + "[$__range])" }

// sum adds up all; by adds up those whose labels are equal.
func sum(expr string) string         { return "sum(" + expr + ")" }
func by(labels, expr string) string  { return "sum by (" + labels + ") (" + expr + ")" }
func maxBy(labels, of string) string { return "max by (" + labels + ") (" + of + ")" }

// top keeps the n greatest of an instant, so that a thousand tenants stay readable.
func top(n int, expr string) string { return fmt.Sprintf("topk(%d, %s)", n, expr) }

// quantile is one of the native histograms that expr adds up. Where nothing was
// observed there is none.
func quantile(q float64, expr string) string {
	return fmt.Sprintf("histogram_quantile(%g, %s) >= 0", q, expr)
}

// calls is how many observations a second the native histograms of expr have taken.
func calls(expr string) string { return "histogram_count(" + expr + ")" }

// share is a part of a whole, nothing where the whole is 0.
func share(part, whole string) string { return fmt.Sprintf("%s / (%s > 0)", part, whole) }

// counted is by how much the counters of an error group rose over a time. Other than
// increase it counts the errors that a series begins with, which for a group that is
// new may be all there are: such a series counts whole, if the app was watched before it.
// The counters of tables never fall (a restart and a move leave them as they are).
func counted(groups, events, labels, span string) string {
	now, before := by(labels, groups), by(labels, groups+" offset "+span)
	watched := "group by (tenant, app) (" + events + " offset " + span + ")"
	return fmt.Sprintf("((%s - %s) or (%s and on (tenant, app) %s) or %s)",
		now, before, now, watched, by(labels, "increase("+groups+"["+span+"])"))
}

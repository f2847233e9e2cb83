package app

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/event"
	"ragstreams/tables"
	"ragstreams/views"
)

// describer returns what adds to an alert how fresh the tables are, and the error
// groups that it may be about.
func (a *alerting) describer(at time.Time) func(about *alerts.About) {
	var mark *time.Time
	var lag alerts.Seconds
	if ms, ok := a.readers.watermark(); ok {
		t := time.UnixMilli(ms).UTC()
		mark, lag = &t, alerts.Seconds(max(0, a.stages.o.Clock.Wall().Sub(t)))
	}
	groups := map[alerts.Seconds][]errorGroup{}
	return func(about *alerts.About) {
		about.Watermark, about.Lag = mark, lag
		all, read := groups[about.Window]
		if !read {
			all = a.errorGroups(at, time.Duration(about.Window))
			groups[about.Window] = all
		}
		about.ErrorGroups = nil
		for _, g := range all {
			if len(about.ErrorGroups) < maxErrorGroups && g.has(about.Labels) {
				about.ErrorGroups = append(about.ErrorGroups, g.ErrorGroup)
			}
		}
	}
}

const (
	maxErrorGroups = 3               // of one message
	leastErrorSpan = 5 * time.Minute // that they are looked for in
)

// errorGroup is an error group and its dimensions.
type errorGroup struct {
	dims []string
	alerts.ErrorGroup
}

// errorGroups returns the error groups of the time before, those with the most errors
// first.
func (a *alerting) errorGroups(at time.Time, span time.Duration) []errorGroup {
	var all []errorGroup
	from := at.Add(-max(span, leastErrorSpan)).UnixMilli()
	_, err := a.readers.errors.Query(views.Query{From: from, To: max(from, at.UnixMilli())}, func(key string, m, _ *tables.Errors, _ tables.Span, _ int64) {
		dims, err := tables.ErrorsTable.DimsOf(key)
		if err != nil || key == tables.OverflowKey {
			return
		}
		g := errorGroup{dims, alerts.ErrorGroup{Fingerprint: dims[3], ErrorType: m.ErrorType, Template: m.Template, Count: m.Count}}
		for _, s := range []tables.Sample{m.Newest, m.Slowest} {
			if s.TraceID != "" && !slices.Contains(g.Traces, s.TraceID) {
				g.Traces, g.Links = append(g.Traces, s.TraceID), append(g.Links, traceLink(s))
			}
		}
		all = append(all, g)
	})
	if err != nil {
		a.stages.o.Logger.Warn("error groups cannot be read for an alert", "error", err)
	}
	slices.SortFunc(all, func(a, b errorGroup) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(a.Fingerprint, b.Fingerprint)
	})
	return all
}

// traceLink returns where to read about a trace. It names where an event of it lies, so that
// it is found at once, long after the table has forgotten this sample.
func traceLink(s tables.Sample) string {
	link := "/api/traces/" + url.PathEscape(s.TraceID)
	if s.Topic == "" {
		return link
	}
	at := event.Place{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset}
	return link + "?" + url.Values{"at": {at.String()}}.Encode()
}

// has reports whether an error group has the dimensions that an alert tells of.
func (g *errorGroup) has(labels map[string]string) bool {
	for i, name := range tables.ErrorsTable.Dims {
		if value := labels[name]; value != "" && value != g.dims[i] {
			return false
		}
	}
	return true
}

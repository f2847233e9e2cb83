// Package dashboards describes the Grafana dashboards that are shipped, and writes
// them: the files beside it, which Grafana is provisioned with.
//
//	overview   rate, errors and durations by tenant, app, stage and model; tokens
//	errors     groups of equal errors: new, growing, most frequent
//	behaviour  what people do, and how many do it
//	alerts     what fires, what is told, and how fast
//	pipeline   whether the program itself is well, and what it stands on
//
// A dashboard is a literal: rows of panels, each with a title, a unit, a sentence about
// it and queries. What all have in common is in panel.go (how a kind of panel looks),
// layout.go (places and numbers) and promql.go (queries). A metric that a query names
// must be one of package metrics, and is narrowed down by every variable of the dashboard
// that is a label of it: of does both, so neither can be forgotten.
//
// After a change:
//
//	go generate ./grafana/dashboards
package dashboards

//go:generate go run ./write

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Dashboard is a dashboard as Grafana reads it.
type Dashboard struct {
	dashboard.Dashboard
	// Annotations hold what Prometheus' annotations have beyond Grafana's own schema.
	Annotations annotations `json:"annotations"`
}

// File returns the name of the dashboard's file.
func (d Dashboard) File() string { return (*d.Uid)[len(prefix):] + ".json" }

// JSON returns what its file holds, in the order in which Grafana itself writes it.
func (d Dashboard) JSON() ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", *d.Uid, err)
	}
	var sorted any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber() // as they are
	if err := numbers.Decode(&sorted); err != nil {
		return nil, fmt.Errorf("sort dashboard %s: %w", *d.Uid, err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // PromQL is full of >
	e.SetIndent("", "  ")
	if err := e.Encode(sorted); err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", *d.Uid, err)
	}
	return out.Bytes(), nil
}

// All returns the dashboards, as they are linked.
func All() []Dashboard {
	var all []Dashboard
	for _, b := range []board{overview(), errorGroups(), behaviour(), alerts(), pipeline()} {
		all = append(all, b.build())
	}
	return all
}

const (
	prefix = "ragstreams-" // of uids; they are in links and bookmarks, and must not change
	tag    = "ragstreams"  // by which the dashboards link to each other

	// schema is the version of Grafana 11.0. Later ones bring dashboards up to theirs.
	schema = 39
)

// board is a dashboard as it is described.
type board struct {
	uid       string // without prefix
	title     string
	about     string
	span      string // time that is shown at first, such as 1h
	variables []variable
	rows      []row
}

// row is a headline and the panels below it.
type row struct {
	title  string
	panels []*panel
	closed bool // until somebody clicks on it
}

func (b board) build() Dashboard {
	d := Dashboard{Dashboard: *dashboard.NewDashboard(), Annotations: annotations{[]annotation{told, firing}}}
	d.Uid, d.Title, d.Description = new(prefix+b.uid), new("ragstreams: "+b.title), &b.about
	d.Tags, d.SchemaVersion, d.Editable = []string{tag}, schema, new(false)
	d.GraphTooltip = new(dashboard.DashboardCursorSyncCrosshair)
	d.Time = &dashboard.DashboardDashboardTime{From: "now-" + b.span, To: "now"}
	d.Refresh = new("30s")
	d.Links = []dashboard.DashboardLink{{
		Title: "ragstreams", Type: dashboard.DashboardLinkTypeDashboards, Icon: "external link", Tags: []string{tag},
		IncludeVars: true, KeepTime: true,
	}}
	d.Templating.List = models(b.variables)
	d.Panels = place(b.rows)
	return d
}

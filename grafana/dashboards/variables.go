package dashboards

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// What the provisioned data sources are called.
const (
	prometheusUID    = "ragstreams-prometheus"
	alertmanagerName = "ragstreams alerts" // a panel of alerts asks for it by name
)

// source is the Prometheus that the viewer chooses.
var source = &common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}

// variable is one that the viewer chooses a value of.
type variable struct {
	name, label, about string
	kind               dashboard.VariableType
	query              string // what its values are asked with; of a text its first value
}

// label is a variable of the values that a label has in some series: several may be
// chosen, or all, also those of series without the label.
func label(name, series string) variable {
	return variable{name, strings.ReplaceAll(name, "_", " "), "Which values of the label " + name + " are shown.",
		dashboard.VariableTypeQuery, "label_values(" + series + ", " + name + ")"}
}

// text is a variable that the viewer types.
func text(name, label, about, first string) variable {
	return variable{name, label, about, dashboard.VariableTypeTextbox, first}
}

var (
	datasource = variable{"datasource", "data source", "A Prometheus that scrapes ragstreams, with native histograms.",
		dashboard.VariableTypeDatasource, "prometheus"}
	api = text("api", "ragstreams", "Where links to samples lead: the address of an instance, as your browser reaches it.", "http://localhost:8080")
)

func models(variables []variable) []dashboard.VariableModel {
	var all []dashboard.VariableModel
	for _, v := range variables {
		all = append(all, v.model())
	}
	return all
}

func (v variable) model() dashboard.VariableModel {
	m := dashboard.VariableModel{
		Type: v.kind, Name: v.name, Label: &v.label, Description: &v.about, Hide: new(dashboard.VariableHideDontHide),
		Query: &dashboard.StringOrMap{String: &v.query},
	}
	switch v.kind {
	case dashboard.VariableTypeDatasource:
		m.Current = option("ragstreams", prometheusUID)
	case dashboard.VariableTypeTextbox:
		m.Current = option(v.query, v.query)
		m.Options = []dashboard.VariableOption{*m.Current}
	case dashboard.VariableTypeQuery:
		m.Query = &dashboard.StringOrMap{Map: map[string]any{"qryType": 1, "query": v.query, "refId": "Values"}}
		m.Datasource, m.Current = source, option("All", "$__all")
		m.Multi, m.IncludeAll, m.AllValue = new(true), new(true), new(".*")
		m.Refresh, m.Sort = new(dashboard.VariableRefreshOnTimeRangeChanged), new(dashboard.VariableSortAlphabeticalCaseInsensitiveAsc)
	}
	return m
}

func option(text, value string) *dashboard.VariableOption {
	return &dashboard.VariableOption{
		Selected: new(true), Text: dashboard.StringOrArrayOfString{String: &text}, Value: dashboard.StringOrArrayOfString{String: &value},
	}
}

// annotations are lines in all graphs, for what happened at a time.
type annotations struct {
	List []annotation `json:"list"`
}

// annotation is one kind of them. Its first fields are those of Grafana's schema, the
// others Prometheus'.
type annotation struct {
	dashboard.AnnotationQuery
	Step        string `json:"step"`
	TitleFormat string `json:"titleFormat"`
	TextFormat  string `json:"textFormat"`
	TagKeys     string `json:"tagKeys"`
}

var (
	// The program evaluates rules itself: Prometheus has no ALERTS of them, but how many
	// were told it has.
	told = note("Alerts told", "orange", by("state", "increase("+scope{}.of("analytics_alerts_published_total")+"[$__interval])")+" > 0",
		"ragstreams told of alerts: {{state}}", "Which they are is in the dashboard of alerts.", "state")
	// Rules that Prometheus evaluates: those of the pipeline, and any other.
	firing = note("Alerts of Prometheus", "red", maxBy("alertname, severity", `ALERTS{alertstate="firing", alertname=~"Analytics.*|Rag.*"}`),
		"{{alertname}}", "Fires in Prometheus, severity {{severity}}.", "alertname,severity")
)

func note(name, colour, expr, title, text, tags string) annotation {
	return annotation{
		dashboard.AnnotationQuery{Name: name, Datasource: *source, Enable: true, IconColor: colour, Expr: &expr},
		"30s", title, text, tags,
	}
}

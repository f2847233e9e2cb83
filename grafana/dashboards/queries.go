package dashboards

import (
	"regexp"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// Query is something that a dashboard asks Prometheus.
type Query struct {
	Where     string // such as: panel "Events" A
	Expr      string // PromQL with variables; see Expand
	Label     string // of a variable: the values of this label, in the series of Expr
	Legend    string
	Unit      string // of a panel
	Link      string // that a column of the panel leads to
	Instant   bool   // of the newest moment only, else of the time that is shown
	Heatmap   bool   // the answer must be native histograms
	Exemplars bool   // they are asked for, too
}

// Queries returns all that a dashboard asks: for its variables, annotations and panels.
func (d Dashboard) Queries() []Query {
	var all []Query
	for _, v := range d.Templating.List {
		if v.Type == dashboard.VariableTypeQuery {
			asked := labelValues.FindStringSubmatch(v.Query.Map["query"].(string))
			all = append(all, Query{Where: "variable " + v.Name, Expr: asked[1], Label: asked[2]})
		}
	}
	for _, a := range d.Annotations.List {
		all = append(all, Query{Where: "annotation " + a.Name, Expr: *a.Expr, Legend: a.TitleFormat + a.TextFormat})
	}
	for _, p := range d.Panels {
		switch {
		case p.Panel != nil:
			all = append(all, asked(*p.Panel)...)
		case p.RowPanel != nil:
			for _, inner := range p.RowPanel.Panels {
				all = append(all, asked(inner)...)
			}
		}
	}
	return all
}

// labelValues is how Grafana is told to ask for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

func asked(p dashboard.Panel) []Query {
	var all []Query
	for _, target := range p.Targets {
		t := target.(prometheus.Dataquery)
		one := Query{Where: `panel "` + *p.Title + `" ` + *t.RefId, Expr: t.Expr, Unit: *p.FieldConfig.Defaults.Unit,
			Instant: *t.Instant, Heatmap: *t.Format == prometheus.PromQueryFormatHeatmap, Exemplars: t.Exemplar != nil}
		if t.LegendFormat != nil {
			one.Legend = *t.LegendFormat
		}
		for _, o := range p.FieldConfig.Overrides {
			one.Link = o.Properties[0].Value.([]link)[0].URL
		}
		all = append(all, one)
	}
	return all
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// Legends returns the labels that a legend names.
func Legends(legend string) []string {
	var names []string
	for _, m := range legendLabel.FindAllStringSubmatch(legend, -1) {
		names = append(names, m[1])
	}
	return names
}

var variableUse = regexp.MustCompile(`\$(\w+)|\$\{(\w+)(?::\w+)?\}`)

// Variables returns the names of the variables that a text uses.
func Variables(text string) []string {
	var names []string
	for _, m := range variableUse.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1]+m[2])
	}
	return names
}

// Expand returns a text with values in the place of variables, as Grafana does it. A
// variable without a value stays.
func Expand(text string, values map[string]string) string {
	return variableUse.ReplaceAllStringFunc(text, func(use string) string {
		if v, ok := values[Variables(use)[0]]; ok {
			return v
		}
		return use
	})
}

// Defaults returns the value that each variable has at first, and Grafana's own: spans
// as long as rate and span.
func (d Dashboard) Defaults(rate, span string) map[string]string {
	values := map[string]string{"__rate_interval": rate, "__interval": rate, "__range": span}
	for _, v := range d.Templating.List {
		if values[v.Name] = *v.Current.Value.String; v.Type == dashboard.VariableTypeQuery {
			values[v.Name] = *v.AllValue
		}
	}
	return values
}

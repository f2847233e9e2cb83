package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Units of panels, by Grafana's names for them.
const (
	perSecond = "cps"
	counts    = "short"
	seconds   = "s"
	ratio     = "percentunit"
	bytesUnit = "bytes"
	moment    = "dateTimeAsIso" // of milliseconds
	truth     = "bool_yes_no"
)

// panel is a panel as it is described; place gives it its number and place.
type panel struct {
	dashboard.Panel
	width, height uint32
}

// query is one query of a panel. legend names its series.
type query struct {
	expr, legend string
	exemplars    bool
}

func q(expr, legend string) query { return query{expr: expr, legend: legend} }

// sampled is a query that also asks for exemplars: points that lead to traces.
func sampled(expr, legend string) query { return query{expr, legend, true} }

// newPanel makes what all kinds of panels have in common.
func newPanel(kind, title, unit, about string, width, height uint32, options, custom any) *panel {
	p := &panel{width: width, height: height}
	p.Type, p.Title, p.Description, p.Datasource, p.Options = kind, &title, &about, source, options
	p.FieldConfig = &dashboard.FieldConfigSource{
		Defaults:  dashboard.FieldConfig{Unit: &unit, Custom: custom},
		Overrides: []dashboard.DashboardFieldConfigSourceOverrides{},
	}
	return p
}

// ask adds queries, each as the function changes it.
func (p *panel) ask(queries []query, as func(*prometheus.Dataquery)) *panel {
	for i, one := range queries {
		d := prometheus.Dataquery{
			Expr: one.expr, RefId: new(string(rune('A' + i))), Datasource: source, EditorMode: new(prometheus.QueryEditorModeCode),
			Range: new(true), Instant: new(false), Format: new(prometheus.PromQueryFormatTimeSeries),
		}
		if one.legend != "" {
			d.LegendFormat = &one.legend
		}
		if one.exemplars {
			d.Exemplar = new(true)
		}
		if as != nil {
			as(&d)
		}
		p.Targets = append(p.Targets, variants.Dataquery(d))
	}
	return p
}

// instantly makes a query one of the newest moment.
func instantly(d *prometheus.Dataquery) { d.Range, d.Instant = new(false), new(true) }

// lines shows how series run.
func lines(title, unit, about string, queries ...query) *panel {
	o := timeseries.NewOptions()
	o.Legend = common.VizLegendOptions{DisplayMode: common.LegendDisplayModeList, Placement: common.LegendPlacementBottom, ShowLegend: true, Calcs: []string{}}
	o.Tooltip = common.VizTooltipOptions{Mode: common.TooltipDisplayModeMulti, Sort: common.SortOrderDescending}
	custom := timeseries.NewFieldConfig()
	custom.LineWidth, custom.FillOpacity, custom.ShowPoints = new(1.0), new(8.0), new(common.VisibilityModeNever)
	p := newPanel("timeseries", title, unit, about, 8, 8, o, custom)
	p.FieldConfig.Defaults.Min = new(0.0)
	return p.ask(queries, nil)
}

// stack shows series one upon the other, where their sum means something.
func stack(title, unit, about string, queries ...query) *panel {
	p := lines(title, unit, about, queries...)
	custom := p.FieldConfig.Defaults.Custom.(*timeseries.FieldConfig)
	custom.Stacking, custom.FillOpacity = &common.StackingConfig{Mode: new(common.StackingModeNormal), Group: new("A")}, new(30.0)
	return p
}

// number shows the newest value of one series, with the way it came.
func number(title, unit, about, expr string) *panel {
	return single(title, unit, about, common.BigValueGraphModeArea).ask([]query{q(expr, "")}, nil)
}

// total shows one value of the whole time that is shown.
func total(title, unit, about, expr string) *panel {
	return single(title, unit, about, common.BigValueGraphModeNone).ask([]query{q(expr, "")}, instantly)
}

func single(title, unit, about string, graph common.BigValueGraphMode) *panel {
	o := stat.NewOptions()
	o.GraphMode, o.ReduceOptions, o.Orientation = graph, newest, common.VizOrientationAuto
	return newPanel("stat", title, unit, about, 4, 4, o, nil).colour(plain)
}

var newest = common.ReduceDataOptions{Calcs: []string{"lastNotNull"}, Values: new(false)}

// bars compares values of the whole time that is shown.
func bars(title, unit, about string, queries ...query) *panel {
	o := bargauge.NewOptions()
	o.ReduceOptions, o.Orientation = newest, common.VizOrientationHorizontal
	p := newPanel("bargauge", title, unit, about, 8, 8, o, nil)
	p.FieldConfig.Defaults.Min = new(0.0)
	return p.colour(plain).ask(queries, instantly)
}

// heat shows how the observations of a native histogram are distributed over time.
func heat(title, unit, about string, histogram query) *panel {
	o := heatmap.NewOptions()
	o.Color = heatmap.HeatmapColorOptions{Mode: new(heatmap.HeatmapColorModeScheme), Scheme: "Spectral", Fill: "dark-orange", Exponent: 0.5, Steps: 64, Reverse: true}
	o.YAxis = heatmap.YAxisConfig{Unit: &unit, AxisPlacement: new(common.AxisPlacementLeft)}
	o.Tooltip = heatmap.HeatmapTooltip{Mode: common.TooltipDisplayModeSingle, YHistogram: new(true), ShowColorScale: new(true)}
	p := newPanel("heatmap", title, unit, about, 12, 9, o, &heatmap.FieldConfig{})
	return p.ask([]query{histogram}, func(d *prometheus.Dataquery) { d.Format = new(prometheus.PromQueryFormatHeatmap) })
}

// list shows series as lines of a table, by value; labels are its columns, in this order.
func list(title, unit, about, value string, columns []string, expr string) *panel {
	o := table.NewOptions()
	o.SortBy = []common.TableSortByFieldState{{DisplayName: value, Desc: new(true)}}
	p := newPanel("table", title, unit, about, 24, 9, o, &table.FieldConfig{Align: common.FieldTextAlignmentAuto, Filterable: new(true)})
	order := map[string]int{"Value": len(columns)}
	for i, c := range columns {
		order[c] = i
	}
	p.Transformations = []dashboard.DataTransformerConfig{{Id: "organize", Options: map[string]any{
		"excludeByName": map[string]bool{"Time": true}, "indexByName": order, "renameByName": map[string]string{"Value": value},
	}}}
	return p.ask([]query{q(expr, "")}, func(d *prometheus.Dataquery) {
		instantly(d)
		d.Format = new(prometheus.PromQueryFormatTable)
	})
}

// size changes how large a panel is.
func (p *panel) size(width, height uint32) *panel {
	p.width, p.height = width, height
	return p
}

// most is the end of the scale.
func (p *panel) most(v float64) *panel {
	p.FieldConfig.Defaults.Max = &v
	return p
}

// warn colours values: from here on they are worth a look, from there on they are bad.
func (p *panel) warn(yellow, red float64) *panel {
	return p.colour(dashboard.Threshold{Color: "green"}, dashboard.Threshold{Color: "yellow", Value: &yellow}, dashboard.Threshold{Color: "red", Value: &red})
}

// bad colours values that are bad from here on.
func (p *panel) bad(red float64) *panel {
	return p.colour(dashboard.Threshold{Color: "green"}, dashboard.Threshold{Color: "red", Value: &red})
}

// good colours values that are bad until here.
func (p *panel) good(green float64) *panel {
	return p.colour(dashboard.Threshold{Color: "red"}, dashboard.Threshold{Color: "green", Value: &green})
}

// plain is the colour of values that are neither good nor bad. Without any, Grafana takes
// 80 for bad.
var plain = dashboard.Threshold{Color: "blue"}

func (p *panel) colour(steps ...dashboard.Threshold) *panel {
	p.FieldConfig.Defaults.Thresholds = &dashboard.ThresholdsConfig{Mode: dashboard.ThresholdsModeAbsolute, Steps: steps}
	if p.Type == "stat" {
		p.FieldConfig.Defaults.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdThresholds}
	}
	return p
}

// otherwise is what a panel says when there is nothing to show.
func (p *panel) otherwise(text string) *panel {
	p.FieldConfig.Defaults.NoValue = &text
	return p
}

// link is where a cell leads.
type link struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

// lead makes the cells of a column lead to an address.
func (p *panel) lead(column, title, url string) *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, dashboard.DashboardFieldConfigSourceOverrides{
		Matcher:    dashboard.MatcherConfig{Id: "byName", Options: column},
		Properties: []dashboard.DynamicConfigValue{{Id: "links", Value: []link{{title, url, true}}}},
	})
	return p
}

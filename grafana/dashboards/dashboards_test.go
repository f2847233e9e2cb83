package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ragstreams/grafana/dashboards"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// The files are what the description says.
func TestFiles(t *testing.T) {
	want := []string{}
	for _, d := range dashboards.All() {
		want = append(want, d.File())
		data, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(d.File())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(file), string(data)); diff != "" {
			t.Errorf("%s is not what the program writes: run go generate ./grafana/dashboards\n%.2000s", d.File(), diff)
		}
	}
	got, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

// file is a dashboard as its file has it.
type file struct {
	UID, Title, Description, Refresh string
	SchemaVersion                    int
	Time                             struct{ From, To string }
	Templating                       struct{ List []map[string]any }
	Annotations                      struct{ List []map[string]any }
	Panels                           []filePanel
}

type filePanel struct {
	ID                       int
	Type, Title, Description string
	Collapsed                bool
	GridPos                  struct{ X, Y, W, H int }
	Datasource               *ref
	FieldConfig              struct {
		Defaults struct{ Unit, NoValue string }
	}
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                *ref
	}
	Panels []filePanel
}

// ref names a data source.
type ref struct{ Type, UID string }

var chosen = ref{"prometheus", "${datasource}"}

func files(t *testing.T) map[string]file {
	t.Helper()
	all := map[string]file{}
	for _, d := range dashboards.All() {
		data, err := os.ReadFile(d.File())
		if err != nil {
			t.Fatal(err)
		}
		var f file
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatalf("%s: %v", d.File(), err)
		}
		all[d.File()] = f
	}
	return all
}

// panels returns all panels that are no rows, those in rows included.
func (f file) panels() []filePanel {
	var all []filePanel
	for _, p := range f.Panels {
		if p.Type != "row" {
			all = append(all, p)
		}
		all = append(all, p.Panels...)
	}
	return all
}

// uids are in links and bookmarks of others: one that changes breaks them.
func TestUIDs(t *testing.T) {
	want := map[string]string{
		"overview.json": "ragstreams-overview", "errors.json": "ragstreams-errors", "behaviour.json": "ragstreams-behaviour",
		"alerts.json": "ragstreams-alerts", "pipeline.json": "ragstreams-pipeline",
	}
	got := map[string]string{}
	for name, f := range files(t) {
		got[name] = f.UID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whoever looks at a panel is told what it shows, and in what unit.
func TestPanelsExplainThemselves(t *testing.T) {
	sentence := regexp.MustCompile(`^[A-Z].*\.$`)
	for name, f := range files(t) {
		if !sentence.MatchString(f.Description) || f.Title == "" || f.Refresh == "" || f.Time.To != "now" || f.SchemaVersion < 39 {
			t.Errorf("%s: %+v", name, f)
		}
		for _, p := range f.panels() {
			at := fmt.Sprintf("%s, panel %d %q", name, p.ID, p.Title)
			if p.Title == "" || !sentence.MatchString(p.Description) {
				t.Errorf("%s: description %q, want a sentence", at, p.Description)
			}
			if p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s has no unit", at)
			}
			if p.Type == "alertGroups" {
				continue // it asks an Alertmanager
			}
			if p.Datasource == nil || *p.Datasource != chosen || len(p.Targets) == 0 {
				t.Errorf("%s: data source %v, %d queries", at, p.Datasource, len(p.Targets))
			}
			for _, q := range p.Targets {
				if q.Datasource == nil || *q.Datasource != chosen {
					t.Errorf("%s, query %s: data source %v", at, q.RefID, q.Datasource)
				}
				if q.LegendFormat == "" && (p.Type == "timeseries" || p.Type == "bargauge") {
					t.Errorf("%s, query %s: no legend", at, q.RefID)
				}
			}
		}
	}
}

func TestLayout(t *testing.T) {
	for name, f := range files(t) {
		ids, taken := map[int]string{}, map[[2]int]string{}
		place := func(p filePanel) {
			if other, twice := ids[p.ID]; twice || p.ID < 1 {
				t.Errorf("%s: %q has the number %d of %q", name, p.Title, p.ID, other)
			}
			ids[p.ID] = p.Title
			g := p.GridPos
			if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s: %q is out of the grid: %+v", name, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, full := taken[[2]int{x, y}]; full {
						t.Errorf("%s: %q lies over %q at %d, %d", name, p.Title, other, x, y)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
		for _, p := range f.Panels {
			place(p)
			if len(p.Panels) > 0 != p.Collapsed {
				t.Errorf("%s: the row %q is closed: %v, and holds %d panels", name, p.Title, p.Collapsed, len(p.Panels))
			}
			for _, inner := range p.Panels {
				place(inner)
			}
		}
	}
}

// Every variable that is used is there, and every one that is there is used.
func TestVariablesAreUsed(t *testing.T) {
	own := []string{"__rate_interval", "__interval", "__range", "__data", "__all"} // Grafana's
	for _, d := range dashboards.All() {
		data, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		used := dashboards.Variables(string(data))
		var known []string
		for _, v := range d.Templating.List {
			known = append(known, v.Name)
			if !slices.Contains(used, v.Name) {
				t.Errorf("%s: nothing uses the variable %s", d.File(), v.Name)
			}
		}
		for _, name := range used {
			if !slices.Contains(own, name) && !slices.Contains(known, name) {
				t.Errorf("%s: there is no variable %s", d.File(), name)
			}
		}
		if known[0] != "datasource" {
			t.Errorf("%s: the first variable is %s, want the data source, which the others are asked of", d.File(), known[0])
		}
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"app": "chat", "application": "x", "__range": "1h"}
	for text, want := range map[string]string{
		`m{app=~"$app"}`:            `m{app=~"chat"}`,
		`$application ${app:raw}$`:  `x chat$`,
		`rate(m[$__range])`:         `rate(m[1h])`,
		`$other ${__data.fields.x}`: `$other ${__data.fields.x}`,
	} {
		if got := dashboards.Expand(text, values); got != want {
			t.Errorf("Expand(%s) = %s, want %s", text, got, want)
		}
	}
}

// What dashboards ask for by name is what Grafana is provisioned with.
func TestProvisioning(t *testing.T) {
	var sources struct {
		Datasources []struct {
			Name, UID, Type, URL string
			JSONData             struct {
				Destinations []struct{ Name, URL string } `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}
	read(t, filepath.Join("..", "provisioning", "datasources", "ragstreams.yaml"), &sources)
	byType := map[string]int{}
	for i, s := range sources.Datasources {
		byType[s.Type] = i
	}
	prometheus, alertmanager := sources.Datasources[byType["prometheus"]], sources.Datasources[byType["alertmanager"]]
	if to := prometheus.JSONData.Destinations; len(to) != 1 || to[0].Name != "trace_id" || !strings.HasSuffix(to[0].URL, "/traces/$${__value.raw}") {
		t.Errorf("exemplars lead to %+v", to)
	}
	panels := 0
	for _, d := range dashboards.All() {
		if first := *d.Templating.List[0].Current.Value.String; first != prometheus.UID {
			t.Errorf("%s begins with the data source %s, want %s", d.File(), first, prometheus.UID)
		}
		for _, p := range d.Panels {
			if p.Panel != nil && p.Panel.Type == "alertGroups" {
				panels++
				if asked := p.Panel.Options.(map[string]any)["alertmanager"]; asked != alertmanager.Name {
					t.Errorf("%s asks the Alertmanager %q, want %q", d.File(), asked, alertmanager.Name)
				}
			}
		}
	}
	if panels == 0 {
		t.Error("no panel shows alerts")
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readText(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

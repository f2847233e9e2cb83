// Package arch holds the directions of imports: what may know of what.
package arch

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "ragstreams/"

// allowed lists, for every package, the packages of this module that it may
// import. Imports point to what knows less. A package that is not listed fails
// the test: add it here on purpose.
var allowed = map[string][]string{
	"event":             {},
	"window":            {},
	"fingerprint":       {},
	"generate":          {},
	"grafana":           {},
	"kafka":             {},
	"management":        {},
	"codecs":            {"event"},
	"tables":            {"event", "window"},
	"deadletters":       {"codecs", "event", "window"},
	"deadletters/api":   {"deadletters", "internal/answers"},
	"traces":            {"codecs", "event", "fingerprint"},
	"traces/api":        {"event", "internal/answers", "traces"},
	"processors":        {"alerts", "codecs", "deadletters", "event", "fingerprint", "tables", "window"},
	"views":             {"tables", "window"},
	"metrics":           {"tables"},
	"series":            {"tables", "views", "window"},
	"queries":           {"internal/answers", "views", "tables", "window"},
	"verify":            {"generate"},
	"alerts":            {},
	"alerts/rules":      {"alerts"},
	"alerts/rabbitmq":   {},
	"alerts/match":      {},
	"alerts/policy":     {"alerts", "alerts/match"},
	"alerts/silences":   {"alerts", "alerts/match"},
	"alerts/api":        {"alerts", "alerts/match", "alerts/silences", "internal/answers"},
	"app":               {"alerts", "alerts/api", "alerts/policy", "alerts/rabbitmq", "alerts/rules", "alerts/silences", "codecs", "deadletters", "deadletters/api", "event", "kafka", "management", "metrics", "processors", "queries", "series", "tables", "traces", "traces/api", "views", "window"},
	"cmd/analytics":     {"alerts/api", "alerts/match", "alerts/rules", "alerts/silences", "app", "deadletters", "deadletters/api", "generate", "grafana", "kafka", "metrics", "traces", "traces/api", "verify"},
	"bench":             {"codecs", "event", "generate", "kafka", "tables", "verify", "e2e/servers"},
	"e2e":               {"alerts", "alerts/rabbitmq", "deadletters/api", "generate", "grafana/dashboards", "internal/deploy", "internal/scenario", "kafka", "traces/api", "verify", "e2e/servers"},
	"e2e/servers":       {},
	"internal/answers":  {},
	"internal/arch":     {},
	"internal/deploy":   {},
	"internal/scenario": {"alerts", "alerts/api", "alerts/match", "alerts/rules", "alerts/silences", "app", "codecs", "deadletters", "deadletters/api", "kafka", "metrics", "processors", "queries", "series", "tables", "views", "window"},

	"grafana/dashboards":       {"metrics"},
	"grafana/dashboards/write": {"grafana/dashboards"},
}

// only lists the packages outside the module that few may use.
var only = map[string][]string{
	"github.com/lovoo/goka":                          {"processors", "kafka", "views", "alerts", "app", "bench"},
	"github.com/IBM/sarama":                          {"kafka", "bench"},
	"github.com/rabbitmq/amqp091-go":                 {"alerts/rabbitmq", "bench", "e2e"},
	"github.com/prometheus/client_golang/prometheus": {"metrics", "app", "internal/scenario"},
	"github.com/twmb/franz-go/pkg/kfake":             {"kafka"},
	"github.com/prometheus/prometheus":               {"alerts/rules", "series"},
	"go.yaml.in/yaml/v3":                             {"cmd/analytics", "alerts/rules", "alerts/policy", "alerts/rabbitmq", "internal/deploy"},
	"github.com/prometheus/alertmanager":             {"alerts/match", "alerts/policy"},
	"github.com/grafana/grafana-foundation-sdk":      {"grafana/dashboards"},
}

func TestImportDirections(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "data") {
			return filepath.SkipDir
		}
		ctx := build.Default
		ctx.BuildTags = []string{"e2e"}
		p, err := ctx.ImportDir(path, 0)
		if err != nil { // no Go files here
			return nil
		}
		seen++
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		check(t, filepath.ToSlash(rel), p.Imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Errorf("only %d packages were found", seen)
	}
}

func check(t *testing.T, pkg string, imports []string) {
	may, listed := allowed[pkg]
	if !listed {
		t.Errorf("package %s is not listed", pkg)
		return
	}
	for _, imp := range imports {
		if dep, ours := strings.CutPrefix(imp, module); ours && !slices.Contains(may, dep) {
			t.Errorf("%s imports %s; allowed: %v", pkg, dep, may)
		}
		for outside, users := range only {
			if (imp == outside || strings.HasPrefix(imp, outside+"/")) && !slices.Contains(users, pkg) {
				t.Errorf("%s imports %s; only %v may", pkg, imp, users)
			}
		}
	}
}

package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// shippedRules are all rule files that are shipped.
var shippedRules = []string{"grafana/rules/ragstreams.yaml", "grafana/prometheus-rules/pipeline.yaml"}

// Whoever is told of an alert finds what to do: its runbook is there, and names it. And
// neither a runbook nor a guide names an alert that is gone.
func TestRunbooks(t *testing.T) {
	alerts := map[string]bool{}
	for _, name := range shippedRules {
		var file struct {
			Groups []struct {
				Rules []struct {
					Alert       string
					Annotations map[string]string
				}
			}
		}
		if err := yaml.Unmarshal([]byte(readText(t, name)), &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := len(alerts)
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if r.Alert == "" {
					continue
				}
				alerts[r.Alert] = true
				text, err := os.ReadFile(filepath.Join(root, r.Annotations["runbook_url"]))
				if err != nil || !strings.Contains(string(text), "`"+r.Alert+"`") {
					t.Errorf("%s of %s: its runbook %q does not name it (%v)", r.Alert, name, r.Annotations["runbook_url"], err)
				}
			}
		}
		if len(alerts) == before {
			t.Errorf("%s has no alerts", name)
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d runbooks, %v", len(files), err)
	}
	for _, file := range append(files, filepath.Join(root, "docs", "operations.md"), filepath.Join(root, Guide)) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`((?:Analytics|Rag)[A-Z]\\w+)`").FindAllSubmatch(text, -1) {
			if !alerts[string(m[1])] {
				t.Errorf("%s speaks of %s, and there is no such alert", filepath.Base(file), m[1])
			}
		}
	}
	rules, err := filepath.Glob(filepath.Join(root, "grafana", "*rules", "*.yaml"))
	if err != nil || len(rules) != len(shippedRules) {
		t.Errorf("%v are shipped (%v), and %v are looked at", rules, err, shippedRules)
	}
}

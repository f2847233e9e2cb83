package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ragstreams/metrics"
)

var rewrite = flag.Bool("rewrite", false, "write the generated tables into the README and the example configuration")

// The tables of the README say what the code does: they are written from it.
func TestREADME(t *testing.T) {
	s, err := load(t, "", "ANALYTICS_KAFKA_BROKERS=127.0.0.1:9092", "ANALYTICS_INSTANCE=host")
	if err != nil {
		t.Fatal(err)
	}
	var config, list, example strings.Builder
	config.WriteString("\n| key | variable | default | |\n|---|---|---|---|\n")
	example.WriteString("# Every key, with its default. Each is also an environment variable: kafka.brokers is\n# ANALYTICS_KAFKA_BROKERS.\n")
	for _, one := range allSettings {
		def, help := one.text(s), one.help
		switch one.key {
		case "kafka.brokers", "instance":
			def = ""
		}
		if one.later {
			help += " (accepted, no effect yet)"
		}
		shown := ""
		if def != "" {
			shown = "`" + def + "`"
		}
		fmt.Fprintf(&config, "| `%s` | `%s` | %s | %s |\n", one.key, one.env(), shown, help)
		value := def
		if one.key == "kafka.brokers" {
			value = "127.0.0.1:9092"
		}
		fmt.Fprintf(&example, "\n# %s\n", help)
		if value == "" {
			fmt.Fprintf(&example, "# %s:\n", one.key)
		} else {
			fmt.Fprintf(&example, "%s: %q\n", one.key, value)
		}
	}
	config.WriteString("\n")
	list.WriteString("\n| metric | type | labels | |\n|---|---|---|---|\n")
	for _, d := range metrics.Docs() {
		fmt.Fprintf(&list, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, strings.Join(d.Labels, ", "), d.Help)
	}
	list.WriteString("\n")

	path := filepath.Join("..", "..", "README.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(data), "configuration", config.String())
	want = between(t, want, "metrics", list.String())
	same(t, path, want)
	same(t, filepath.Join("..", "..", "analytics.example.yaml"), example.String())
}

// The example must be a configuration that works.
func TestExampleConfiguration(t *testing.T) {
	s, err := loadSettings(filepath.Join("..", "..", "analytics.example.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := load(t, "", "ANALYTICS_KAFKA_BROKERS=127.0.0.1:9092")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range allSettings {
		if one.text(s) != one.text(defaults) {
			t.Errorf("%s is %q in the example, %q by default", one.key, one.text(s), one.text(defaults))
		}
	}
}

// between replaces what stands between two comments.
func between(t *testing.T, text, name, with string) string {
	t.Helper()
	start, end := "<!-- "+name+": written by the tests -->\n", "<!-- end of "+name+" -->"
	before, rest, ok := strings.Cut(text, start)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the README has no place for %s", name)
	}
	return before + start + with + end + after
}

// same compares a file with what it should hold, or writes it.
func same(t *testing.T, path, want string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says: run go test ./cmd/analytics -run README -rewrite", filepath.Base(path))
	}
}

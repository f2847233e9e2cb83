package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ragstreams/metrics"
)

var rewrite = flag.Bool("rewrite", false, "write the reference of configuration and metrics, and the example configuration")

// What the references say is what the code does: they are written from it.
func TestReference(t *testing.T) {
	s, err := load(t, "", "ANALYTICS_KAFKA_BROKERS=127.0.0.1:9092", "ANALYTICS_INSTANCE=host")
	if err != nil {
		t.Fatal(err)
	}
	var config, list, example strings.Builder
	config.WriteString("# Configuration\n\nA YAML file (`analytics run --config FILE`), and over it the environment. Keys may be nested in the file. An unknown key is an error; `analytics check` tries a configuration out. [An example](../analytics.example.yaml) has every key with its default.\n\n" +
		"| key | variable | default | |\n|---|---|---|---|\n")
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
	list.WriteString("# Metrics\n\nWhat `/metrics` shows. Each series of `rag_*` and `analytics_records*` is told by the instance that owns it, and each of `analytics_kafka_*` and `analytics_rabbitmq_*` by the one that watches: [drop the `instance` label](operations.md#several-instances) of those when several run, so that a move leaves one series. Histograms are classic and native at once; those of stages have exemplars with `trace_id`.\n\n" +
		"| metric | type | labels | |\n|---|---|---|---|\n")
	docs := metrics.Docs()
	slices.SortStableFunc(docs, func(a, b metrics.Doc) int { return -strings.Compare(a.Name[:4], b.Name[:4]) }) // rag_* first
	for _, d := range docs {
		fmt.Fprintf(&list, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, strings.Join(d.Labels, ", "), d.Help)
	}
	same(t, filepath.Join("..", "..", "docs", "configuration.md"), config.String())
	same(t, filepath.Join("..", "..", "docs", "metrics.md"), list.String())
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
		t.Errorf("%s is not what the code says: run go test ./cmd/analytics -run Reference -rewrite", filepath.Base(path))
	}
}

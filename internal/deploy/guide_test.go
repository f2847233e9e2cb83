package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestFenced(t *testing.T) {
	const tick = "```"
	for text, want := range map[string]string{
		"none": "[]",
		"a\n" + tick + "sh\nls\n  " + tick + "\n" + tick + "\nb": "[{sh  ls\n  " + tick + "\n 3}]",
		tick + "yaml own/a.yaml\n" + tick + "\n":                 "[{yaml own/a.yaml  2}]",
		tick + "\nls\n" + tick + "\n":                            "[] line 1: want a block",
		tick + "sh a b\n" + tick + "\n":                          "[] line 1: want a block",
		tick + "sh\n" + tick + "sh\n":                            "[] line 2: a block of line 2 ends",
		tick + "sh\nls\n":                                        "[] line 2: the block does not end",
	} {
		blocks, err := fenced(text)
		got := fmt.Sprint(blocks)
		if err != nil {
			got += " " + err.Error()
		}
		if !strings.HasPrefix(got, want) || err == nil && got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// What the guide names outside of its blocks is there: addresses, queues, the data source,
// the files that it leads to. The README leads to it.
func TestGuideNames(t *testing.T) {
	text, _, err := ReadGuide(root)
	if err != nil {
		t.Fatal(err)
	}
	c := compose(t)
	published := map[string]bool{}
	for _, s := range c.Services {
		for _, p := range s.Ports {
			published[strings.Join(strings.Split(p, ":")[:2], ":")] = true
		}
	}
	addresses := regexp.MustCompile(`\b127\.0\.0\.1:\d+`).FindAllString(text, -1)
	for _, a := range addresses {
		if !published[a] {
			t.Errorf("%s is published by no service", a)
		}
	}
	if len(addresses) < 5 {
		t.Errorf("addresses are %v", addresses)
	}
	kafka := strings.Split(c.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"], ",")
	for _, listener := range []string{"INTERNAL://kafka:9092", "HOST://127.0.0.1:9094"} {
		_, address, _ := strings.Cut(listener, "://")
		if !strings.Contains(text, "`"+address+"`") || !strings.Contains(strings.Join(kafka, " "), listener) {
			t.Errorf("Kafka advertises %v, and the guide should say %s", kafka, address)
		}
	}

	var d definitions
	read(t, "deploy/rabbitmq/definitions.json", &d)
	known := map[string]bool{}
	for _, q := range d.Queues {
		known[q.Name] = true
	}
	for _, e := range d.Exchanges {
		known[e.Name] = true
	}
	named := regexp.MustCompile("`((?:alerts\\.|error_event)\\w*)`").FindAllStringSubmatch(text, -1)
	for _, m := range named {
		if !known[m[1]] {
			t.Errorf("RabbitMQ has no %s", m[1])
		}
	}
	if len(named) < 3 {
		t.Errorf("queues and exchanges are %v", named)
	}

	var sources struct {
		Datasources []struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(readText(t, "grafana/provisioning/datasources/ragstreams.yaml")), &sources); err != nil {
		t.Fatal(err)
	}
	if name := sources.Datasources[0].Name; !strings.Contains(text, "data source `"+name+"`") {
		t.Errorf("the guide does not speak of the data source %s", name)
	}
	var shipped struct{ Providers []struct{ Folder string } }
	if err := yaml.Unmarshal([]byte(readText(t, "grafana/provisioning/dashboards/ragstreams.yaml")), &shipped); err != nil {
		t.Fatal(err)
	}
	if folder := shipped.Providers[0].Folder; !strings.Contains(text, "dashboards in the folder `"+folder+"`") {
		t.Errorf("the guide does not speak of the folder %s", folder)
	}
	for _, m := range regexp.MustCompile("`(Rag\\w+|ANALYTICS_\\w+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(readText(t, "grafana/rules/ragstreams.yaml"), "alert: "+m[1]+"\n") && c.Services["analytics"].Environment[m[1]] == "" {
			t.Errorf("%s is no alert that is shipped and no setting of analytics", m[1])
		}
	}
	variables := []string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=$`).FindAllStringSubmatch(readText(t, ".env.example"), -1) {
		variables = append(variables, m[1])
	}
	if len(variables) != 2 || !strings.Contains(text, "Fill in both passwords in `.env`") {
		t.Errorf("%v are to be filled in", variables)
	}

	links := regexp.MustCompile(`\]\(([^)#]+)(?:#([^)]*))?\)`).FindAllStringSubmatch(text, -1)
	for _, m := range links {
		target, err := os.ReadFile(filepath.Join(root, "docs", m[1]))
		if err != nil {
			t.Errorf("link: %v", err)
		}
		if heading := "\n## " + strings.ReplaceAll(m[2], "-", " ") + "\n"; m[2] != "" && !strings.Contains(strings.ToLower(string(target)), heading) {
			t.Errorf("link: %s has no heading %s", m[1], m[2])
		}
	}
	if len(links) < 5 {
		t.Errorf("links are %v", links)
	}
	if !strings.Contains(readText(t, "README.md"), "]("+Guide+")") {
		t.Errorf("README.md does not lead to %s", Guide)
	}
}

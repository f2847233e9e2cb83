package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ragstreams/alerts/rabbitmq"

	"github.com/google/go-cmp/cmp"
)

// needed returns what options need, a line for every operation, in order.
func needed(t *testing.T, o Options) ([]string, Access) {
	t.Helper()
	a, err := NeededAccess(o, []string{"traces"})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, g := range a.Kafka {
		for _, op := range g.Operations {
			lines = append(lines, strings.Join([]string{string(g.Role), string(g.Resource), string(g.Pattern), g.Name, string(op)}, " "))
		}
	}
	slices.Sort(lines)
	return lines, a
}

// bare are options of which nothing is on that can be off.
func bare() Options {
	o := DefaultOptions()
	o.Sources, o.HTTPListen = []string{"traces"}, ""
	o.Watch.Lag, o.Watch.Cluster = false, false
	return o
}

// What is not configured is not needed, and what is turned on adds just what it uses.
func TestNeededAccessDependsOnOptions(t *testing.T) {
	without, a := needed(t, bare())
	if a.RabbitMQ != nil || a.Monitor || len(a.Watched) > 0 {
		t.Errorf("without RabbitMQ: %+v", a)
	}
	rules := func(o *Options) { o.Rules = "rules/*.yaml" }
	ofRules := []string{
		"create topic LITERAL analytics-alert-evaluations Create",
		"create topic LITERAL analytics-alerts-outbox Create",
		"create topic LITERAL analytics-alerts-table Create",
		"create topic LITERAL analytics-silences Create",
		"run group LITERAL analytics-alerts Read",
		"run topic LITERAL analytics-alert-evaluations DescribeConfigs",
		"run topic LITERAL analytics-alert-evaluations Read",
		"run topic LITERAL analytics-alert-evaluations Write",
		"run topic LITERAL analytics-alerts-outbox DescribeConfigs",
		"run topic LITERAL analytics-alerts-outbox Write",
		"run topic LITERAL analytics-alerts-table DescribeConfigs",
		"run topic LITERAL analytics-alerts-table Read",
		"run topic LITERAL analytics-alerts-table Write",
		"run topic LITERAL analytics-silences DescribeConfigs",
		"run topic LITERAL analytics-silences Read",
		"run topic LITERAL analytics-silences Write",
		"run transactional-id PREFIXED analytics-alerts- Write",
	}
	for _, tt := range []struct {
		name   string
		change func(o *Options)
		more   []string
	}{
		{"HTTP", func(o *Options) { o.HTTPListen = "127.0.0.1:8080" }, []string{
			"run topic LITERAL analytics-dlq Read", "run topic LITERAL analytics-late Read",
		}},
		{"source topics are made", func(o *Options) { o.CreateTopics = true }, []string{"create topic LITERAL traces Create"}},
		{"lag", func(o *Options) { o.Watch.Lag = true }, []string{"run group LITERAL analytics-watch Read"}},
		{"cluster", func(o *Options) { o.Watch.Cluster = true }, []string{"run group LITERAL analytics-watch Read"}},
		{"groups of others", func(o *Options) { o.Watch.Lag, o.Watch.Groups = true, []string{"billing", "analytics-assemble"} }, []string{
			"run group LITERAL analytics-watch Read", "run group LITERAL billing Describe",
		}},
		{"groups of others, without lag", func(o *Options) { o.Watch.Groups = []string{"billing"} }, nil},
		{"RabbitMQ without rules", func(o *Options) { o.AMQP.URL = "amqp://ana@host/" }, nil},
		{"rules", rules, ofRules},
		{"rules and RabbitMQ", func(o *Options) { rules(o); o.AMQP.URL = "amqp://ana@host/" }, append(slices.Clone(ofRules),
			"run group LITERAL analytics-alerts-publisher Read", "run topic LITERAL analytics-alerts-outbox Read")},
		// The ids of traces-eu begin as those of traces do.
		{"another source", func(o *Options) { o.Sources = []string{"traces-eu", "traces"} }, []string{
			"inspect group LITERAL analytics-ingest-traces-eu Describe",
			"inspect topic LITERAL traces-eu DescribeConfigs", "inspect topic LITERAL traces-eu Read",
			"replay group LITERAL analytics-ingest-traces-eu Describe",
			"replay topic LITERAL traces-eu Read", "replay topic LITERAL traces-eu Write",
			"run group LITERAL analytics-ingest-traces-eu Read",
			"run topic LITERAL traces-eu Read",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := bare()
			tt.change(&o)
			got, _ := needed(t, o)
			want := append(slices.Clone(without), tt.more...)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of what is always needed, the kinds of topics, one each.
func TestNeededAccess(t *testing.T) {
	o := bare()
	o.Prefix = "team."
	got, _ := needed(t, o)
	for name, want := range map[string]string{
		"topic LITERAL team.events":                     "create Create, inspect Describe, replay Describe, run Delete, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.progress":                   "create Create, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.dlq":                        "create Create, inspect Read, replay Read, run DescribeConfigs, run Write",
		"topic LITERAL team.late":                       "create Create, inspect Read, replay Read, run DescribeConfigs, run Write",
		"topic LITERAL team.errors-partials":            "create Create, run Delete, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.errors-table":               "create Create, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.errors-windows":             "create Create, run Delete, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.errors-hours":               "create Create, run Delete, run DescribeConfigs, run Read, run Write",
		"topic LITERAL team.records-windows":            "", // it has none
		"topic LITERAL traces":                          "generate Create, generate Write, inspect DescribeConfigs, inspect Read, replay Read, replay Write, run Read",
		"group LITERAL team.assemble":                   "inspect Describe, replay Describe, run Read",
		"group LITERAL team.errors":                     "run Read",
		"group LITERAL team.errors-history":             "run Read",
		"group LITERAL team.ingest-traces":              "inspect Describe, replay Describe, run Read",
		"transactional-id PREFIXED team.errors-":        "run Write",
		"transactional-id PREFIXED team.ingest-traces-": "run Write",
	} {
		var is []string
		for _, line := range got {
			role, rest, _ := strings.Cut(line, " ")
			if op, of := strings.CutPrefix(rest, name+" "); of {
				is = append(is, role+" "+op)
			}
		}
		if is := strings.Join(is, ", "); is != want {
			t.Errorf("%s: %q, want %q", name, is, want)
		}
	}
	topics := 0
	for _, line := range got {
		if strings.Contains(line, " PREFIXED ") && !strings.Contains(line, "transactional-id") {
			t.Errorf("%s: it would be that of other deployments, too", line)
		}
		if strings.HasPrefix(line, "create topic") {
			topics++
		}
	}
	if want := len(ownTopics(&o)); topics != want {
		t.Errorf("%d topics may be made, want %d", topics, want)
	}
}

func TestNeededAccessToRabbitMQ(t *testing.T) {
	o := bare()
	o.Rules, o.AMQP.URL = "rules/*.yaml", "amqp://ana:secret@host/acme"
	o.Watch.RabbitMQ.URL, o.Watch.RabbitMQ.Username = "http://ben:secret@host", ""
	o.Topology = filepath.Join(t.TempDir(), "topology.yaml")
	if _, err := NeededAccess(o, nil); err == nil || !strings.Contains(err.Error(), o.Topology) {
		t.Errorf("without the file of the topology: %v", err)
	}
	if err := os.WriteFile(o.Topology, []byte(`queues: [{name: pages, bind: ["#"]}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, a := needed(t, o)
	want := rabbitmq.Permissions{
		Vhost: "acme", User: "ana",
		Configure: `^(error_event|error_event\.unrouted|pages)$`, Write: `^(error_event|error_event\.unrouted|pages)$`, Read: `^(error_event|error_event\.unrouted)$`,
	}
	if diff := cmp.Diff(&want, a.RabbitMQ); diff != "" || !a.Monitor || a.MonitorUser != "ben" {
		t.Errorf("monitor %v %q; permissions (-want +got):\n%s", a.Monitor, a.MonitorUser, diff)
	}
	o.Watch.RabbitMQ.Username = "carl"
	if _, a = needed(t, o); a.MonitorUser != "carl" || strings.Contains(fmt.Sprintf("%+v %+v", a, *a.RabbitMQ), "secret") {
		t.Errorf("%+v", a)
	}
}

package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts/rabbitmq"
	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/tables"
)

// Check looks at cluster and topics without changing anything. It returns what
// it found, line by line, and an error when the program would not run.
func Check(ctx context.Context, o Options) ([]string, error) {
	lines := []string{"configuration: ok"}
	if o.Rules != "" {
		read, err := readRules(o.Rules, o.AlertPolicy)
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("rules: %d in %s", read.set.Len(), o.Rules))
	}
	if o.Topology != "" {
		topology, err := readTopology(o.Topology)
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("queues: %d in %s", len(topology.Queues), o.Topology))
	}
	if err := Reachable(ctx, o); err != nil {
		return lines, err
	}
	lines = append(lines, "Kafka: reached at "+strings.Join(o.Kafka.Brokers, ","))
	topics := append(ownTopics(&o), sourceTopics(&o)...)
	created := map[string]bool{}
	for i := range topics {
		created[topics[i].Name] = topics[i].Create
		topics[i].Create, topics[i].Optional = false, true
	}
	counts, err := kafka.EnsureTopics(ctx, o.Kafka, o.Replication, topics)
	for _, t := range topics {
		switch n := counts[t.Name]; {
		case n > 0:
			lines = append(lines, fmt.Sprintf("topic %s: %d partitions", t.Name, n))
		case created[t.Name]:
			lines = append(lines, fmt.Sprintf("topic %s: missing, will be created", t.Name))
		default:
			lines = append(lines, fmt.Sprintf("topic %s: missing; it is read as soon as it appears", t.Name))
		}
	}
	if err != nil {
		return lines, advise(fmt.Errorf("topics: %w", err))
	}
	return append(lines, "ready to run"), nil
}

// advise adds to what Kafka does not let this user do how to find out what is needed.
func advise(err error) error {
	if kafka.IsUnauthorized(err) {
		return fmt.Errorf("%w\n`analytics check --acls` prints all that this user needs", err)
	}
	return err
}

// Reachable reports whether Kafka answers before people think that nothing happens.
func Reachable(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return kafka.Reachable(ctx, o.Kafka)
}

// flow is a stage as it looks from outside: its group, and the topics that its transactions
// join.
type flow struct {
	stage   string // what it is, in a word
	group   string
	in      string
	changes string // changelog of its table; "": it has none
	out     []string
}

// flows are all stages, in the order in which records go through them.
func (o *Options) flows() (all []flow) {
	n := o.names()
	for _, s := range o.Sources {
		all = append(all, flow{"ingest", n.IngestGroup(s), s, "", []string{n.Events(), n.Progress(), n.Late(), n.DLQ(), n.Partials(tables.RecordsTable.Name)}})
	}
	assemble := flow{"assemble", n.AssembleGroup(), n.Events(), "", []string{n.Late()}}
	for _, table := range processors.TableNames {
		assemble.out = append(assemble.out, n.Partials(table))
	}
	all = append(all, assemble)
	for _, table := range processors.TableNames {
		f := flow{"table", n.TableGroup(table), n.Partials(table), n.Table(table), nil}
		if slices.Contains(processors.Windowed, table) {
			f.out = []string{n.Windows(table)}
		}
		all = append(all, f)
	}
	for _, table := range processors.Windowed {
		all = append(all, flow{"history", n.HistoryGroup(table), n.Windows(table), "", []string{n.Hours(table)}})
	}
	if o.Rules != "" {
		all = append(all, flow{"alerts", n.AlertsGroup(), n.Evaluations(), n.Alerts(), []string{n.Outbox()}})
	}
	return all
}

// Topology describes groups and topics, as `analytics topology` prints them.
func Topology(o Options) string {
	n := o.names()
	var b strings.Builder
	section := func(group, in string, out ...string) {
		fmt.Fprintf(&b, "group %s\n  reads   %s\n", group, in)
		for _, topic := range out {
			fmt.Fprintf(&b, "  writes  %s\n", topic)
		}
		b.WriteByte('\n')
	}
	for _, f := range o.flows() {
		out := f.out
		if f.changes != "" {
			out = append([]string{f.changes + " (changelog)"}, out...)
		}
		section(f.group, f.in, out...)
	}
	if o.Rules != "" {
		if o.AMQP.URL != "" {
			section(n.PublisherGroup(), n.Outbox(), "RabbitMQ, exchange "+rabbitmq.Exchange)
		}
		fmt.Fprintf(&b, "without a group, every instance reads and writes %s, and whoever evaluates rules writes %s\n\n", n.Silences(), n.Evaluations())
	}
	if o.Watch.any() {
		fmt.Fprintf(&b, "group %s\n  reads nothing; its member with the first partition of %s measures lag and servers\n\n", n.WatchGroup(), n.Progress())
	}
	fmt.Fprintf(&b, "pane %s, grace %s, %d partitions, transactions at most %s apart without a backlog\n", o.Pane, o.Grace, o.Partitions, o.CommitInterval)
	return b.String()
}

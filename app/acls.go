package app

import (
	"cmp"
	"slices"
	"strings"

	"ragstreams/alerts/rabbitmq"
	"ragstreams/processors"
)

// Access is the least that has to be granted for a deployment. Nothing in it can be taken
// away without something being refused.
type Access struct {
	Kafka []Grant // by role, resource, pattern and name
	// RabbitMQ is what the user of amqp.url needs; nil: nothing is published.
	RabbitMQ *rabbitmq.Permissions
	// Monitor says that RabbitMQ's management API is asked, by the user MonitorUser, who needs
	// the tag monitoring.
	Monitor     bool
	MonitorUser string
	// Watched are the groups of others whose lag is measured. Which topics they read is known
	// to them only.
	Watched []string
}

// Grant is what Kafka's access control has to allow for one resource.
type Grant struct {
	Role       Role
	Resource   Resource
	Pattern    Pattern
	Name       string // or what names begin with
	Operations []Operation
	Why        string // but for DescribeConfigs of own topics, whose settings are checked
}

// Role is something that is done by somebody who may be given access for it alone.
type Role string

// Roles.
const (
	RoleRun      Role = "run"
	RoleCreate   Role = "create"
	RoleInspect  Role = "inspect"
	RoleReplay   Role = "replay"
	RoleGenerate Role = "generate"
)

// Roles are all roles.
var Roles = []Role{RoleRun, RoleCreate, RoleInspect, RoleReplay, RoleGenerate}

// For tells what a role is for.
func (r Role) For() string {
	return map[Role]string{
		RoleRun:      "analytics run, with what it answers over HTTP but replays; analytics check",
		RoleCreate:   "analytics run, where it is to make topics: with run, unless all of them are there",
		RoleInspect:  "analytics trace, rules backtest, dlq list and dlq show, by somebody with a user of his own",
		RoleReplay:   "analytics dlq replay, by somebody with a user of his own; replays over HTTP are sent by the user of analytics run, who then needs Write on these topics",
		RoleGenerate: "analytics generate, which writes traffic for trials",
	}[r]
}

// Resource is a kind of what Kafka controls access to, as kafka-acls.sh calls it.
type Resource string

// Resources.
const (
	ResourceTopic           Resource = "topic"
	ResourceGroup           Resource = "group"
	ResourceTransactionalID Resource = "transactional-id"
)

// Pattern is how the name of a grant is meant.
type Pattern string

// Patterns.
const (
	PatternLiteral  Pattern = "LITERAL"
	PatternPrefixed Pattern = "PREFIXED"
)

// Operation is what is allowed, as kafka-acls.sh calls it.
type Operation string

// Operations. OpRead, OpWrite and OpDelete imply OpDescribe.
const (
	OpRead            Operation = "Read"
	OpWrite           Operation = "Write"
	OpCreate          Operation = "Create"
	OpDelete          Operation = "Delete"
	OpDescribe        Operation = "Describe"
	OpDescribeConfigs Operation = "DescribeConfigs"
)

// NeededAccess tells what a deployment needs. It connects to nothing. traffic is the topics
// that `analytics generate` would write.
//
// Topics and groups are named in full, for all of them are known, and another deployment may
// have a prefix that begins like this one's. Transactional ids end with the names of
// instances, which are not known, so they are granted by the group that they begin with.
func NeededAccess(o Options, traffic []string) (Access, error) {
	var a Access
	if o.Rules != "" && o.AMQP.URL != "" {
		cfg := o.AMQP
		var err error
		if cfg.Topology, err = readTopology(o.Topology); err != nil {
			return a, err
		}
		needed, err := cfg.Permissions()
		if err != nil {
			return a, err
		}
		a.RabbitMQ = &needed
	}
	if o.Watch.RabbitMQ.URL != "" {
		a.Monitor, a.MonitorUser = true, o.Watch.RabbitMQ.User()
	}
	if o.Watch.Lag {
		own := o.groups()
		a.Watched = slices.DeleteFunc(slices.Clone(o.Watch.Groups), func(group string) bool { return slices.Contains(own, group) })
	}
	var g grants
	g.run(&o, a.Watched)
	g.create(&o)
	g.lookAt(&o)
	g.role = RoleGenerate
	for _, topic := range traffic {
		g.topic(topic, "traffic", OpWrite)
		g.topic(topic, "made where it is missing", OpCreate)
	}
	a.Kafka = g.least()
	return a, nil
}

// grants gathers what is needed.
type grants struct {
	role Role // of what is added next
	list []Grant
}

func (g *grants) topic(name, why string, ops ...Operation) {
	g.add(ResourceTopic, PatternLiteral, name, why, ops)
}

func (g *grants) group(name, why string, ops ...Operation) {
	g.add(ResourceGroup, PatternLiteral, name, why, ops)
}

func (g *grants) add(r Resource, p Pattern, name, why string, ops []Operation) {
	i := slices.IndexFunc(g.list, func(one Grant) bool {
		return one.Role == g.role && one.Resource == r && one.Pattern == p && one.Name == name
	})
	if i < 0 {
		i = len(g.list)
		g.list = append(g.list, Grant{Role: g.role, Resource: r, Pattern: p, Name: name})
	}
	to := &g.list[i]
	for _, op := range ops {
		if !slices.Contains(to.Operations, op) {
			to.Operations = append(to.Operations, op)
		}
	}
	if why != "" && !slices.Contains(strings.Split(to.Why, "; "), why) {
		to.Why = strings.TrimPrefix(to.Why+"; "+why, "; ")
	}
}

// run adds what the program itself needs.
func (g *grants) run(o *Options, watched []string) {
	g.role = RoleRun
	n := o.names()
	for _, f := range o.flows() {
		g.topic(f.in, f.stage+" reads", OpRead)
		for _, topic := range f.out {
			g.topic(topic, f.stage+" writes", OpWrite)
		}
		if f.changes != "" {
			g.topic(f.changes, f.stage+" and views", OpRead, OpWrite)
		}
		g.group(f.group, f.stage, OpRead)
		g.add(ResourceTransactionalID, PatternPrefixed, f.group+"-", f.stage, []Operation{OpWrite})
	}
	g.topic(n.Progress(), "every instance reads", OpRead)
	for _, table := range processors.Windowed {
		g.topic(n.Hours(table), "views", OpRead)
	}
	for _, t := range ownTopics(o) {
		if t.Forever {
			g.topic(t.Name, "purged", OpDelete)
		}
		g.topic(t.Name, "", OpDescribeConfigs)
	}
	if o.Rules != "" {
		g.topic(n.Evaluations(), "rules", OpWrite)
		g.topic(n.Silences(), "silences", OpRead, OpWrite)
		if o.AMQP.URL != "" {
			g.topic(n.Outbox(), "publisher reads", OpRead)
			g.group(n.PublisherGroup(), "publisher", OpRead)
		}
	}
	if o.Watch.any() {
		g.group(n.WatchGroup(), "election", OpRead)
	}
	for _, group := range watched {
		g.group(group, "lag", OpDescribe)
	}
	if o.HTTPListen != "" {
		g.topic(n.DLQ(), "shown over HTTP", OpRead)
		g.topic(n.Late(), "shown over HTTP", OpRead)
	}
}

// create adds what makes topics.
func (g *grants) create(o *Options) {
	g.role = RoleCreate
	for _, t := range append(ownTopics(o), sourceTopics(o)...) {
		if t.Create {
			g.topic(t.Name, "made where it is missing", OpCreate)
		}
	}
}

// lookAt adds what people need who look at records, or replay them.
func (g *grants) lookAt(o *Options) {
	n := o.names()
	for _, role := range []Role{RoleInspect, RoleReplay} {
		g.role = role
		for _, topic := range o.Sources {
			g.topic(topic, "originals", OpRead)
			g.group(n.IngestGroup(topic), "what is late", OpDescribe)
		}
		g.topic(n.DLQ(), "dead letters", OpRead)
		g.topic(n.Late(), "late records", OpRead)
		g.topic(n.Events(), "what is late", OpDescribe)
		g.group(n.AssembleGroup(), "what is late", OpDescribe)
	}
	for _, topic := range o.Sources {
		g.topic(topic, "replays", OpWrite)
	}
	g.role = RoleInspect
	for _, topic := range o.Sources {
		g.topic(topic, "a backtest tells what may have been deleted", OpDescribeConfigs)
	}
}

// least returns the grants in order, without what others imply.
func (g *grants) least() (list []Grant) {
	for _, one := range g.list {
		covered := func(by Grant) bool {
			return by.Role == one.Role && by.Resource == one.Resource && by.Pattern == PatternPrefixed && by.Name != one.Name &&
				strings.HasPrefix(one.Name, by.Name) && !slices.ContainsFunc(one.Operations, func(op Operation) bool { return !slices.Contains(by.Operations, op) })
		}
		if slices.ContainsFunc(g.list, covered) {
			continue
		}
		if slices.ContainsFunc(one.Operations, Operation.describes) {
			one.Operations = slices.DeleteFunc(one.Operations, func(op Operation) bool { return op == OpDescribe })
		}
		slices.SortFunc(one.Operations, func(a, b Operation) int { return a.rank() - b.rank() })
		list = append(list, one)
	}
	slices.SortStableFunc(list, func(a, b Grant) int {
		return cmp.Or(a.Role.rank()-b.Role.rank(), a.Resource.rank()-b.Resource.rank(), strings.Compare(a.Name, b.Name))
	})
	return list
}

// describes reports whether an operation implies Describe.
func (op Operation) describes() bool { return op == OpRead || op == OpWrite || op == OpDelete }

func (op Operation) rank() int {
	return slices.Index([]Operation{OpRead, OpWrite, OpCreate, OpDelete, OpDescribe, OpDescribeConfigs}, op)
}

func (r Role) rank() int { return slices.Index(Roles, r) }

func (r Resource) rank() int {
	return slices.Index([]Resource{ResourceTopic, ResourceGroup, ResourceTransactionalID}, r)
}

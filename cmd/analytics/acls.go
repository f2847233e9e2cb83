package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"ragstreams/app"
)

// aclFlags are the flags of check that are about what has to be granted.
type aclFlags struct {
	on                      *bool
	principal, role, format *string
}

func newACLFlags(fs *flag.FlagSet) aclFlags {
	return aclFlags{
		on:        fs.Bool("acls", false, "connect to nothing, and print the least that this configuration needs of Kafka's access control, and of RabbitMQ's permissions"),
		principal: fs.String("principal", "", "with --acls: `TYPE:NAME` for whom it is; empty: the user of kafka.sasl.username, or User:analytics; with certificates it is what brokers make of their subject"),
		role:      fs.String("role", "", "with --acls: `ROLES` to print, separated by commas, of "+roleNames()+"; empty: all as text, run and create as commands"),
		format:    fs.String("format", "text", "with --acls: `text`, or commands: kafka-acls.sh and rabbitmqctl as they are to be run"),
	}
}

func roleNames() string {
	var names []string
	for _, r := range app.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// unused reports flags that say something of --acls without it.
func (f aclFlags) unused() error {
	if !*f.on && (*f.principal != "" || *f.role != "" || *f.format != "text") {
		return errors.New("check: --principal, --role and --format are for --acls")
	}
	return nil
}

// write prints what the configuration needs.
func (f aclFlags) write(w io.Writer, s *settings) error {
	a, err := app.NeededAccess(s.app, s.trafficNames())
	if err != nil {
		return err
	}
	p := aclPrinter{Access: a, w: w, principal: *f.principal, brokers: strings.Join(s.app.Kafka.Brokers, ",")}
	if p.principal == "" {
		p.principal = "User:" + cmp.Or(s.app.Kafka.Security.Username, "analytics")
	}
	if kind, name, _ := strings.Cut(p.principal, ":"); kind == "" || name == "" {
		return fmt.Errorf("--principal is %q: want a type and a name, such as User:analytics", p.principal)
	}
	roles, section := app.Roles, p.text
	switch *f.format {
	case "text":
	case "commands":
		roles, section = []app.Role{app.RoleRun, app.RoleCreate}, p.commands
	default:
		return fmt.Errorf("--format is %q: want text or commands", *f.format)
	}
	if *f.role != "" {
		roles = nil
		for name := range strings.SplitSeq(*f.role, ",") {
			role := app.Role(strings.TrimSpace(name))
			if !slices.Contains(app.Roles, role) {
				return fmt.Errorf("--role holds %q: want some of %s", name, roleNames())
			}
			roles = append(roles, role)
		}
	}
	for i, role := range roles {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := section(role); err != nil {
			return err
		}
	}
	return nil
}

// trafficNames are the topics that generate writes.
func (s *settings) trafficNames() (names []string) {
	for _, t := range trafficTopics(s.app.Sources) {
		names = append(names, t.Name)
	}
	return names
}

// aclPrinter prints what has to be granted, one role at a time.
type aclPrinter struct {
	app.Access
	w                  io.Writer
	principal, brokers string
}

func (p *aclPrinter) grants(role app.Role) (list []app.Grant) {
	for _, g := range p.Kafka {
		if g.Role == role {
			list = append(list, g)
		}
	}
	return list
}

// text prints an entry a line.
func (p *aclPrinter) text(role app.Role) error {
	fmt.Fprintf(p.w, "[%s] %s: %s\n", role, p.principal, role.For())
	w := tabwriter.NewWriter(p.w, 0, 4, 2, ' ', 0)
	for _, g := range p.grants(role) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Resource, g.Pattern, g.Name, joined(g.Operations), g.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if role == app.RoleRun {
		fmt.Fprintln(p.w, "# Read, Write and Delete imply Describe. DescribeConfigs is for a look, at the start, at the settings of topics.")
		p.others()
	}
	return nil
}

func joined(ops []app.Operation) string {
	var names []string
	for _, op := range ops {
		names = append(names, string(op))
	}
	return strings.Join(names, ",")
}

// others prints what the program needs that is no entry of Kafka's, and what is not known.
func (p *aclPrinter) others() {
	if len(p.Watched) > 0 {
		fmt.Fprintf(p.w, "# What %s read is known to them only: grant Read on these topics, if it is nothing of the above; Describe does without the lag in seconds.\n", strings.Join(p.Watched, ", "))
	}
	if r := p.RabbitMQ; r != nil {
		if r.User == "" {
			fmt.Fprintln(p.w, "# USER is whom RabbitMQ takes the certificate of amqp.tls.cert_file for.")
		}
		fmt.Fprintf(p.w, "rabbitmqctl set_permissions -p %s %s %s %s %s\n", quoted(r.Vhost), quoted(cmp.Or(r.User, "USER")), quoted(r.Configure), quoted(r.Write), quoted(r.Read))
	}
	if p.Monitor {
		p.monitor(cmp.Or(p.MonitorUser, "USER"))
	}
}

// monitor prints what the user needs who asks RabbitMQ's management API: without permissions
// in a virtual host, and be they empty, he is shown none of its queues.
func (p *aclPrinter) monitor(user string) {
	fmt.Fprintln(p.w, "# This takes the place of other tags of the user.")
	fmt.Fprintf(p.w, "rabbitmqctl set_user_tags %s monitoring\n", quoted(user))
	fmt.Fprintf(p.w, "# Queues are shown of virtual hosts that %s has permissions for, and be they empty ones.\n", user)
	vhost := "/"
	if p.RabbitMQ != nil {
		if p.RabbitMQ.User == p.MonitorUser {
			return
		}
		vhost = p.RabbitMQ.Vhost
	}
	fmt.Fprintf(p.w, "rabbitmqctl set_permissions -p %s %s '^$' '^$' '^$'\n", quoted(vhost), quoted(user))
}

// commands prints what is to be run. What is granted alike is in one command, for each
// takes seconds.
func (p *aclPrinter) commands(role app.Role) error {
	fmt.Fprintf(p.w, "# %s: %s\n", role, role.For())
	if role == app.RoleRun {
		fmt.Fprintln(p.w, "# admin.properties is the login of somebody who may alter access control.")
	}
	left := p.grants(role)
	for len(left) > 0 {
		first := left[0]
		alike := func(g app.Grant) bool {
			return g.Resource == first.Resource && g.Pattern == first.Pattern && slices.Equal(g.Operations, first.Operations)
		}
		fmt.Fprintf(p.w, "kafka-acls.sh --bootstrap-server %s --command-config admin.properties --add --allow-principal %s", quoted(p.brokers), quoted(p.principal))
		fmt.Fprintf(p.w, " \\\n  --resource-pattern-type %s", strings.ToLower(string(first.Pattern)))
		for _, op := range first.Operations {
			fmt.Fprintf(p.w, " --operation %s", op)
		}
		for _, g := range left {
			if alike(g) {
				fmt.Fprintf(p.w, " \\\n  --%s %s", g.Resource, quoted(g.Name))
			}
		}
		fmt.Fprintln(p.w)
		left = slices.DeleteFunc(left, alike)
	}
	if role == app.RoleRun {
		p.others()
	}
	return nil
}

// quoted returns a word as a shell takes it unchanged.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@+%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

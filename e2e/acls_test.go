//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts/rabbitmq"
	"ragstreams/e2e/servers"
	"ragstreams/generate"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// grant is a line of `analytics check --acls`.
type grant struct {
	resource, pattern, name string
	operations              []string
}

// needed returns what the program says that somebody needs for some roles: of Kafka, and the
// commands for RabbitMQ.
func (d *deployment) needed(env []string, user, roles string) (grants []grant, commands []string) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), binary, "check", "--acls", "--principal", "User:"+user, "--role", roles)
	cmd.Env = slices.Concat(d.env, env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("analytics check --acls: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "secret") {
		d.t.Errorf("it tells a password:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || line[0] == '[' || line[0] == '#':
		case words[0] == "rabbitmqctl":
			commands = append(commands, line)
		case len(words) >= 4:
			grants = append(grants, grant{words[0], words[1], words[2], strings.Split(words[3], ",")})
		default:
			d.t.Errorf("not understood: %s", line)
		}
	}
	return grants, commands
}

// allow lets a user do what is granted, which must be new to him.
func (d *deployment) allow(user string, grants ...grant) {
	d.t.Helper()
	principal, n := "User:"+user, 0
	before, err := d.allowed(d.t.Context(), principal)
	if err != nil {
		d.t.Fatal(err)
	}
	for len(grants) > 0 {
		first := grants[0]
		alike := func(g grant) bool {
			return g.resource == first.resource && g.pattern == first.pattern && slices.Equal(g.operations, first.operations)
		}
		var names []string
		for _, g := range grants {
			if alike(g) {
				names = append(names, g.name)
			}
		}
		n += d.create(principal, first, names)
		grants = slices.DeleteFunc(slices.Clone(grants), alike)
	}
	eventually(d.t, 10*time.Second, "the broker knows what is allowed", func(ctx context.Context) error {
		known, err := d.allowed(ctx, principal)
		if err == nil && known < before+n {
			err = fmt.Errorf("it knows %d, want %d", known, before+n)
		}
		return err
	})
}

// create makes what is alike for several names, and returns how many operations these are.
func (d *deployment) create(principal string, g grant, names []string) int {
	d.t.Helper()
	b := kadm.NewACLs().Allow(principal).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral)
	if g.pattern == "PREFIXED" {
		b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	switch g.resource {
	case "topic":
		b.Topics(names...)
	case "group":
		b.Groups(names...)
	case "transactional-id":
		b.TransactionalIDs(names...)
	}
	var operations []kadm.ACLOperation
	for _, name := range g.operations {
		op, err := kmsg.ParseACLOperation(name)
		if err != nil {
			d.t.Fatal(err)
		}
		operations = append(operations, op)
	}
	results, err := d.admin.CreateACLs(d.t.Context(), b.Operations(operations...))
	if err != nil || len(results) != len(operations)*len(names) {
		d.t.Fatalf("%+v for %v: %d made, %v", g, names, len(results), err)
	}
	for _, r := range results {
		if r.Err != nil {
			d.t.Fatalf("%+v for %v: %v", g, names, r.Err)
		}
	}
	return len(results)
}

// allowed returns how many operations a principal is allowed.
func (d *deployment) allowed(ctx context.Context, principal string) (n int, err error) {
	filter := kadm.NewACLs().Allow(principal).AllowHosts().AnyResource().ResourcePatternType(kadm.ACLPatternAny).Operations()
	found, err := d.admin.DescribeACLs(ctx, filter)
	for _, one := range found {
		n += len(one.Described)
		err = errors.Join(err, one.Err)
	}
	return n, err
}

// decision is something that a broker with KAFKA_AUDIT allowed or denied.
type decision struct {
	user, operation, resource, name string
}

// audit is what a broker with KAFKA_AUDIT has decided.
type audit struct {
	t       testing.TB
	log     string
	read    int64
	allowed map[decision]bool
	denied  map[decision]string // the request
}

var audited = regexp.MustCompile(`Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ on resource = (\w+):LITERAL:(\S+) for request = (\w+)`)

// refresh takes in what was decided since the last time.
func (a *audit) refresh() {
	a.t.Helper()
	file, err := os.Open(a.log)
	if err != nil {
		a.t.Fatal(err)
	}
	defer file.Close()
	news, err := io.ReadAll(io.NewSectionReader(file, a.read, math.MaxInt64-a.read))
	if err != nil {
		a.t.Fatal(err)
	}
	news = news[:bytes.LastIndexByte(news, '\n')+1]
	a.read += int64(len(news))
	// As `check --acls` calls them.
	resources := map[string]string{"Topic": "topic", "Group": "group", "TransactionalId": "transactional-id"}
	for _, line := range audited.FindAllStringSubmatch(string(news), -1) {
		what := decision{line[1], strings.ToLower(strings.ReplaceAll(line[3], "_", "")), cmp.Or(resources[line[4]], line[4]), line[5]}
		if line[2] == "Allowed" {
			a.allowed[what] = true
		} else {
			a.denied[what] = line[6]
		}
	}
}

// unused returns what was granted to a user and never made use of.
func (a *audit) unused(user string, grants []grant) (list []string) {
	a.t.Helper()
	a.refresh()
	for _, g := range grants {
		for _, op := range g.operations {
			want := decision{user, strings.ToLower(op), g.resource, g.name}
			used := a.allowed[want]
			for done := range a.allowed {
				begins := strings.HasPrefix(done.name, g.name)
				done.name = g.name
				used = used || g.pattern == "PREFIXED" && begins && done == want
			}
			if !used {
				list = append(list, fmt.Sprintf("%s on %s %s", op, g.resource, g.name))
			}
		}
	}
	return list
}

// justEnough checks that a user was denied nothing, and has used all that was granted.
func (a *audit) justEnough(d *deployment, user string, grants []grant) {
	a.t.Helper()
	for _, what := range a.unused(user, grants) {
		a.t.Errorf("%s needs not: %s", user, what)
	}
	a.nothingDenied(d, user)
}

// nothingDenied checks that a user of a deployment was denied nothing.
func (a *audit) nothingDenied(d *deployment, user string) {
	a.t.Helper()
	a.refresh()
	for what, request := range a.denied {
		// Who asks for all transactions is told those that he may see.
		left := request == "ListTransactions" && !strings.HasPrefix(what.name, d.prefix)
		if what.user == user && !left {
			a.t.Errorf("%s is missing for %s: %s on %s %s", user, request, what.operation, what.resource, what.name)
		}
	}
}

// as runs a command as a user of Kafka who has what the program says that is needed for a
// role.
func (d *deployment) as(user, role string, seen *audit, env []string, commands ...[]string) {
	d.t.Helper()
	env = slices.Concat(d.env, saslOn(d.broker, "SCRAM-SHA-512", user, user+"-secret"), env)
	grants, _ := d.needed(env, user, role)
	d.allow(user, grants...)
	for _, args := range commands {
		cmd := exec.CommandContext(d.t.Context(), binary, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			d.t.Errorf("%s, analytics %v: %v\n%.2000s", user, args, err, out)
		}
	}
	seen.justEnough(d, user, grants)
}

// words returns the words of a command as a shell sees them.
func words(t testing.TB, command string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", `rabbitmqctl() { printf '%s\n' "$@"; }; `+command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// least is a deployment with everything on, whose users have exactly what
// `analytics check --acls` prints.
type least struct {
	*alarm
	rules, topology string // files
	billing         string // the group of somebody else
	grants          []grant
	permissions     []string // command, by words
	seen            *audit
}

// newLeast starts servers that let nobody do anything but what is granted, and grants what
// is printed.
func newLeast(t *testing.T) *least {
	var rabbit *servers.RabbitMQ
	var starting errgroup.Group
	starting.Go(func() (err error) {
		rabbit, err = site.RabbitMQ(t.Context(), "rabbitmq-acls")
		return err
	})
	own := ownBroker(t, "kafka-acls", "", "KAFKA_SECURE=1", "KAFKA_AUDIT=1",
		"KAFKA_USERS=admin:admin-secret,analytics:analytics-secret,looker:looker-secret,replayer:replayer-secret,writer:writer-secret,minimal:minimal-secret")
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	endsWith(t, rabbit)
	url, err := rabbit.Vhost(t.Context(), "least")
	for _, user := range []string{"analytics", "monitor"} {
		err = errors.Join(err, rabbit.Put(t.Context(), "users/"+user, `{"password": "`+user+`-secret", "tags": ""}`))
	}
	l := &least{rules: filepath.Join(t.TempDir(), "rules.yaml"), topology: filepath.Join(t.TempDir(), "topology.yaml")}
	queues := `queues: [{name: pages, bind: ["page.#"], delivery_limit: 3, dead_letter: pages.dead}]`
	err = errors.Join(err, os.WriteFile(l.rules, []byte(errorRules("10m")), 0o644), os.WriteFile(l.topology, []byte(queues), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	d := newDeploymentWithout(t, own, []int32{2, 2, 2},
		"ANALYTICS_KAFKA_PARTITIONS=2", "ANALYTICS_KAFKA_CREATE_TOPICS=true", "ANALYTICS_LIMITS_RECORD_BYTES=600000",
		"ANALYTICS_WINDOW_IDLE_TIMEOUT=10m", // what is late would be different from the truth
		"ANALYTICS_RETENTION_PANES=2m", "ANALYTICS_RETENTION_HOURS=1h",
		"ANALYTICS_RULES="+l.rules, "ANALYTICS_AMQP_TOPOLOGY="+l.topology,
		fmt.Sprintf("ANALYTICS_AMQP_URL=amqp://analytics:analytics-secret@127.0.0.1:%d/least", rabbit.Port),
		fmt.Sprintf("ANALYTICS_WATCH_RABBITMQ_URL=http://monitor:monitor-secret@127.0.0.1:%d", rabbit.Port+1), "ANALYTICS_WATCH_INTERVAL=1s",
	)
	l.alarm, l.billing = &alarm{deployment: d, rabbit: rabbit, url: url}, d.name+"-billing"
	d.env = append(d.env, "ANALYTICS_WATCH_GROUPS="+l.billing)
	d.env = append(d.env, saslOn(own, "SCRAM-SHA-512", "analytics", "analytics-secret")...)
	l.seen = &audit{t: t, log: filepath.Join(own.Dir, "0", "log"), allowed: map[decision]bool{}, denied: map[decision]string{}}
	var commands []string
	l.grants, commands = d.needed(nil, "analytics", "run,create")
	d.allow("analytics", l.grants...)
	for _, line := range commands {
		if err := rabbit.Ctl(t.Context(), words(t, line)...); err != nil {
			t.Fatal(err)
		}
	}
	if len(commands) != 3 {
		t.Fatalf("%d commands for RabbitMQ, want permissions, and what the monitor needs: %q", len(commands), commands)
	}
	l.permissions = words(t, commands[0])
	return l
}

// TestLeastAccess: everything works for a user who has exactly what `analytics check --acls`
// prints, from topics that are not there yet to the deletion of what is old; and nothing of
// it is without use.
func TestLeastAccess(t *testing.T) {
	l := newLeast(t)
	// Six hours of events: more than is kept.
	const n, step = 6000, 6 * time.Hour / 6000
	g := generate.New(generate.Config{
		Seed: 1, Step: step, Start: startOf(n, step), Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: l.topics,
	})
	one, w := l.instance("a").start(), l.traffic()
	one.ready(time.Minute)
	w.all(g, n/2)
	one.totals(g.Truth()) // or all hours might be in one record, which is kept
	one.stop()
	one.start()
	w.all(g, n/2)
	one.totals(g.Truth())
	one.ready(time.Minute)

	l.useEverything(one)
	l.operate()
	l.onlyWatchTables()
	eventually(t, time.Minute, "all that was granted is used", func(context.Context) error {
		if left := l.seen.unused("analytics", l.grants); len(left) > 0 {
			return errors.New(strings.Join(left, ", "))
		}
		return nil
	})
	l.seen.justEnough(l.deployment, "analytics", l.grants)

	// Replays over HTTP are sent by the program's user.
	if status, answer := one.replay(); !strings.Contains(answer, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("a replay over HTTP that is not granted: %d %s", status, answer)
	}
	for _, topic := range l.topics {
		l.allow("analytics", grant{"topic", "LITERAL", topic.Name, []string{"Write"}})
	}
	if status, answer := one.replay(); status != http.StatusOK || strings.Contains(answer, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("a replay over HTTP that is granted: %d %s", status, answer)
	}
	one.ready(10 * time.Second)
	one.stop()
	t.Run("RabbitMQ", func(t *testing.T) { l.leastPermissions(t) })
}

// useEverything has an instance do what it does only when there is reason to.
func (l *least) useEverything(one *instance) {
	l.t.Helper()
	l.fail("acme", 20)
	l.inbox("pages").await(l.t, 30*time.Second, "acme", "firing")
	analytics(l.t, "silence", "add", "--url", one.URL, "--by", "ana", "--comment", "deploy", "--for", "1h", "tenant=acme")
	for _, path := range []string{"/api/dlq", "/api/dlq?topic=late", "/api/traces/" + l.trace()} {
		if status, body, err := one.get(l.t.Context(), path); err != nil || status != http.StatusOK {
			l.t.Errorf("%s: %d %.500s %v", path, status, body, err)
		}
	}
	check := exec.CommandContext(l.t.Context(), binary, "check")
	check.Env = l.env
	if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), "ready to run") {
		l.t.Errorf("analytics check: %v\n%s", err, out)
	}
	l.watchedBy(one, l.billing)
	// Dead letters that are cut, so that a replay reads the originals.
	for _, topic := range l.topics {
		large := &kgo.Record{Topic: topic.Name, Value: make([]byte, 700_000)}
		if err := l.client.ProduceSync(l.t.Context(), large).FirstErr(); err != nil {
			l.t.Fatal(err)
		}
	}
	eventually(l.t, 30*time.Second, "large records are dead letters", func(ctx context.Context) error {
		status, body, err := one.get(ctx, "/api/dlq?reason=too_large")
		if err == nil && (status != http.StatusOK || strings.Count(body, `"too_large"`) < len(l.topics)) {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
}

// trace returns the id of a trace.
func (l *least) trace() string { return fmt.Sprintf("%032x", l.n) }

// operate does what operators do, as users of their own.
func (l *least) operate() {
	l.t.Helper()
	l.as("looker", "inspect", l.seen, nil,
		[]string{"trace", l.trace()}, []string{"rules", "backtest", "--since", "1m"},
		[]string{"dlq", "list"}, []string{"dlq", "list", "--late"}, []string{"dlq", "show", "0", "0"})
	l.as("replayer", "replay", l.seen, nil,
		[]string{"dlq", "replay", "--by", "ana", "--reason", "too_large", "--force"}, []string{"dlq", "replay", "--by", "ana", "--late", "--dry-run"})
	l.as("writer", "generate", l.seen, []string{"ANALYTICS_SOURCES=" + l.name + "-x," + l.name + "-y," + l.name + "-z"}, []string{"generate", "--events", "100"})
}

// onlyWatchTables runs a deployment whose topics somebody else has made, with rules and
// nothing around it, for a user who has no more than it needs.
func (l *least) onlyWatchTables() {
	l.t.Helper()
	const n, step = 2000, 10 * time.Millisecond
	d := newDeploymentOn(l.t, l.broker, []int32{2}, "ANALYTICS_KAFKA_PARTITIONS=2", "ANALYTICS_RULES="+l.rules,
		"ANALYTICS_WATCH_LAG=false", "ANALYTICS_WATCH_CLUSTER=false")
	maker := d.instance("a").start()
	maker.ready(time.Minute)
	maker.stop()
	user := saslOn(l.broker, "SCRAM-SHA-512", "minimal", "minimal-secret")
	grants, commands := d.needed(user, "minimal", "run")
	d.allow("minimal", grants...)
	if len(commands) > 0 {
		l.t.Errorf("RabbitMQ is not used, and yet: %q", commands)
	}
	g := generate.New(generate.Config{Seed: 1, Step: step, Start: startOf(n, step), Topics: d.topics})
	d.traffic().all(g, n)
	one := d.instance("a", user...).start()
	one.agree(g.Truth(), time.Minute)
	one.ready(time.Minute)
	one.stop()
	l.seen.nothingDenied(d, "minimal")
}

// replay asks an instance to replay what was too large.
func (i *instance) replay() (status int, answer string) {
	i.t.Helper()
	ask := strings.NewReader(`{"reason": "too_large", "by": "ana", "force": true}`)
	resp, err := http.Post(i.URL+"/api/dlq/replay", "application/json", ask)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// leastPermissions checks that what publishes can do so with the permissions of a printed
// command, and that without any name in them something is refused, and told with that name.
func (l *least) leastPermissions(t *testing.T) {
	// set_permissions -p VHOST USER CONFIGURE WRITE READ
	user, kinds := l.permissions[3], []string{"configure", "write", "read"}
	var names [3][]string
	for i, expression := range l.permissions[4:] {
		inner := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(expression, "^"), "$"), "()")
		names[i] = strings.Split(inner, "|")
	}
	file, err := os.ReadFile(l.topology)
	if err != nil {
		t.Fatal(err)
	}
	queues, err := rabbitmq.ParseTopology(l.topology, file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(vhost string, names [3][]string) error {
		t.Helper()
		granted := map[string]string{}
		for i, kind := range kinds {
			granted[kind] = "^(" + strings.Join(names[i], "|") + ")$"
		}
		return l.publishAs(t, user, vhost, granted, queues)
	}
	if told := try("all", names); told != nil {
		t.Errorf("with what is printed: %v", told)
	}
	for i, kind := range kinds {
		for n, name := range names[i] {
			left := names
			left[i] = slices.Delete(slices.Clone(names[i]), n, n+1)
			told := try(fmt.Sprintf("%s-%d", kind, n), left)
			name = strings.ReplaceAll(name, `\`, "")
			if !errors.Is(told, rabbitmq.ErrRefused) || !strings.Contains(told.Error(), "'"+name+"' in vhost") {
				t.Errorf("without %s on %s: %v", kind, name, told)
			}
		}
	}
}

// publishAs declares everything in a virtual host that is new, publishes a message that no
// queue is bound for, and returns what was refused.
func (l *least) publishAs(t *testing.T, user, vhost string, granted map[string]string, queues rabbitmq.Topology) error {
	t.Helper()
	url, err := l.rabbit.Vhost(t.Context(), vhost)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(granted)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.rabbit.Put(t.Context(), "permissions/"+vhost+"/"+user, string(body)); err != nil {
		t.Fatal(err)
	}
	var told error
	note := func(err error) { told = errors.Join(told, err) }
	p, err := rabbitmq.New(rabbitmq.Config{
		URL: strings.Replace(url, "guest:guest@", user+":"+user+"-secret@", 1), Declare: true, Topology: queues,
		Observer: rabbitmq.Observer{
			Confirmed: func(*rabbitmq.Message) {}, Blocked: func(bool) {}, Republished: func(*rabbitmq.Message, string) {},
			Unrouted:  func(string) { note(errors.New("a message is in no queue")) },
			Connected: func(_ bool, err error) { note(err) }, Declared: note,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	note(p.Publish(ctx, []rabbitmq.Message{{Key: "a", ID: "1", RoutingKey: "nobody.wants.to.know.this"}}, func(int) {}))
	return told
}

// totals waits until everything of truth has arrived, and compares what is kept for ever.
func (i *instance) totals(truth *generate.Truth) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), time.Minute)
	defer cancel()
	if err := i.Await(ctx, truth); err != nil {
		i.t.Fatalf("instance %s: %v", i.name, err)
	}
	differences, err := i.CompareTotals(ctx, truth)
	if err != nil {
		i.t.Fatalf("instance %s: %v", i.name, err)
	}
	for _, line := range differences {
		i.t.Errorf("instance %s: %s", i.name, line)
	}
}

// watchedBy waits until an instance measures lag, that of a group of somebody else, too, and
// RabbitMQ's queues.
func (d *deployment) watchedBy(i *instance, group string) {
	d.t.Helper()
	begin := kadm.Offsets{}
	begin.AddOffset(d.topics[0].Name, 0, 0, -1)
	if err := d.admin.CommitAllOffsets(d.t.Context(), group, begin); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, 30*time.Second, "servers are watched", func(ctx context.Context) error {
		got, err := i.watched(ctx)
		if err != nil {
			return err
		}
		records, _, age := lagOf(got, group)
		_, partitions, _ := lagOf(got, d.prefix+"assemble")
		if records == 0 || age == 0 || partitions == 0 || got["kafka_brokers"][""] != 1 || got["rabbitmq_up"][""] != 1 || len(got["rabbitmq_queue_messages_ready"]) == 0 {
			return fmt.Errorf("lag of %s is %g records, %g s; %v", group, records, age, got)
		}
		return nil
	})
}

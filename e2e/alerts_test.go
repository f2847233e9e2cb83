//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/kafka"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// alarm is a deployment that watches its tables, and a RabbitMQ that it tells.
type alarm struct {
	*deployment
	rabbit  *servers.RabbitMQ
	url     string   // of it, for those who are told
	n       int      // events sent
	tenants []string // of burst
}

// newAlarm makes one with a RabbitMQ of its own.
func newAlarm(t *testing.T, rules string, env ...string) *alarm {
	t.Helper()
	rabbit := ownRabbitMQ(t, "rabbitmq-"+strings.ToLower(filepath.Base(strings.TrimPrefix(t.Name(), "Test"))))
	return newAlarmOn(t, rabbit, rabbit.URL, rules, env...)
}

func newAlarmOn(t *testing.T, rabbit *servers.RabbitMQ, url, rules string, env ...string) *alarm {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	env = append([]string{"ANALYTICS_RULES=" + file, "ANALYTICS_AMQP_URL=" + url, "ANALYTICS_WINDOW_PANE=2s"}, env...)
	return &alarm{deployment: newDeployment(t, []int32{2}, env...), rabbit: rabbit, url: url}
}

// ownRabbitMQ starts a node that ends with the test.
func ownRabbitMQ(t *testing.T, name string, env ...string) *servers.RabbitMQ {
	t.Helper()
	rabbit, err := site.RabbitMQ(t.Context(), name, env...)
	if err != nil {
		t.Fatal(err)
	}
	endsWith(t, rabbit)
	return rabbit
}

// endsWith ends a node with a test.
func endsWith(t *testing.T, rabbit *servers.RabbitMQ) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = rabbit.Kill() // it would take its time, for data that nobody needs; it may be down
		if err := rabbit.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// fail sends errors of a tenant, now.
func (a *alarm) fail(tenant string, n int) {
	a.t.Helper()
	var records []*kgo.Record
	for range n {
		a.n++
		value, err := json.Marshal(map[string]any{
			"event_id": fmt.Sprint(a.name, a.n), "trace_id": fmt.Sprintf("%032x", a.n), "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
			"event_type": "llm_call", "tenant": tenant, "app": "chat", "stage": "generate", "status": "error", "latency_ms": 12,
			"error": map[string]string{"type": "Timeout", "message": "no answer from the model"},
		})
		if err != nil {
			a.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: a.topics[0].Name, Partition: int32(a.n % 2), Value: value})
	}
	if err := a.client.ProduceSync(a.t.Context(), records...).FirstErr(); err != nil {
		a.t.Fatal(err)
	}
}

// burst makes the alerts of n tenants that are new fire, now, and returns their names.
func (a *alarm) burst(n int) []string {
	a.t.Helper()
	for range n {
		tenant := fmt.Sprintf("t%d", len(a.tenants))
		a.tenants = append(a.tenants, tenant)
		a.fail(tenant, 20)
	}
	return slices.Clone(a.tenants[len(a.tenants)-n:])
}

// inbox is a monitoring service: a durable queue, acknowledged message by message. It
// reconnects.
type inbox struct {
	url, queue string
	keys       []string

	mu  sync.Mutex
	got []amqp.Delivery
}

func (a *alarm) inbox(queue string, keys ...string) *inbox {
	a.t.Helper()
	b := &inbox{url: a.url, queue: queue, keys: keys}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := b.consume(ctx, func() {
				select {
				case ready <- nil:
				default:
				}
			})
			if err != nil && ctx.Err() == nil {
				a.t.Log("inbox", queue+":", err)
			}
			pause(ctx, 2*time.Second)
		}
	}()
	a.t.Cleanup(func() { cancel(); <-done })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		a.t.Fatal("no queue ", queue)
	}
	return b
}

func (b *inbox) consume(ctx context.Context, ready func()) error {
	conn, err := amqp.Dial(b.url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if len(b.keys) > 0 {
		if _, err := ch.QueueDeclare(b.queue, true, false, false, false, nil); err != nil {
			return err
		}
		for _, key := range b.keys {
			if err := ch.QueueBind(b.queue, key, "error_event", false, nil); err != nil {
				return err
			}
		}
	}
	deliveries, err := ch.ConsumeWithContext(ctx, b.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	ready()
	for d := range deliveries {
		b.mu.Lock()
		b.got = append(b.got, d)
		b.mu.Unlock()
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	return nil
}

// messages returns what has come.
func (b *inbox) messages() []amqp.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// states returns the states told of a tenant, without the second copies of an id.
func (b *inbox) states(tenant string) (states []string) {
	seen := map[string]bool{}
	for _, d := range b.messages() {
		if words := strings.Split(d.RoutingKey, "."); words[1] == tenant && !seen[d.MessageId] {
			seen[d.MessageId] = true
			states = append(states, words[4])
		}
	}
	return states
}

func (b *inbox) await(t testing.TB, limit time.Duration, tenant string, states ...string) {
	t.Helper()
	eventually(t, limit, "alerts of "+tenant, func(context.Context) error {
		if got := b.states(tenant); !slices.Equal(got, states) {
			return fmt.Errorf("told %v, want %v", got, states)
		}
		return nil
	})
}

// errorRules breach for as long as their range after a burst of errors.
func errorRules(span string) string { return strings.Replace(errorRule, "10s", span, 1) }

const errorRule = `
groups:
- name: errors
  rules:
  - alert: Errors
    expr: sum by (tenant, app, stage) (increase(rag_error_group_events_total[10s])) > 5
    labels: {severity: page}
    annotations: {summary: '{{ $labels.tenant }} has {{ $value | humanize }} errors'}
`

func TestAlertReachesRabbitMQ(t *testing.T) {
	a := newAlarm(t, errorRules("10s"))
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.fail("acme", 1)
	a.fail("starter", 20)
	unrouted := a.inbox("error_event.unrouted")
	unrouted.await(t, 30*time.Second, "starter", "firing")
	byTenant := a.inbox("acme-only", "*.acme.#")
	bySeverity := a.inbox("pages", "page.#")
	a.fail("acme", 20)
	byTenant.await(t, 20*time.Second, "acme", "firing")
	d := byTenant.messages()[0]
	if d.RoutingKey != "page.acme.chat.generate.firing" || d.DeliveryMode != amqp.Persistent || d.ContentType != "application/json" ||
		d.Type != "ragstreams.alert.v1" || d.AppId != "ragstreams" || d.MessageId == "" || time.Since(d.Timestamp) > time.Minute {
		t.Errorf("message: %+v", d)
	}
	for name := range d.Headers {
		if strings.HasPrefix(name, "x-") {
			t.Errorf("header %s", name)
		}
	}
	var body struct {
		ID, Rule, State, Reason, Severity, Expr string
		Labels, Annotations                     map[string]string
		Samples                                 int64 `json:"sample_count"`
		Groups                                  []struct {
			Type   string   `json:"error_type"`
			Traces []string `json:"trace_ids"`
			Links  []string
			Count  int64
		} `json:"error_groups"`
	}
	if err := json.Unmarshal(d.Body, &body); err != nil {
		t.Fatal(err)
	}
	if body.ID != d.MessageId || body.Rule != "Errors" || body.State != "firing" || body.Reason != "breached" || body.Severity != "page" ||
		body.Labels["tenant"] != "acme" || !strings.HasPrefix(body.Annotations["summary"], "acme has ") || body.Samples < 6 {
		t.Errorf("body: %s", d.Body)
	}
	if len(body.Groups) != 1 || body.Groups[0].Type != "Timeout" || len(body.Groups[0].Links) == 0 || !strings.HasPrefix(body.Groups[0].Links[0], "/api/traces/0000") {
		t.Errorf("error groups: %s", d.Body)
	}
	byTenant.await(t, 40*time.Second, "acme", "firing", "resolved")
	bySeverity.await(t, 10*time.Second, "acme", "firing", "resolved")
	bySeverity.await(t, 10*time.Second, "starter", "resolved") // the queue was not there before

	// What fires stays told across a kill, once.
	a.fail("initech", 20)
	bySeverity.await(t, 20*time.Second, "initech", "firing")
	a.kill(one)
	for range 3 {
		a.fail("initech", 20)
		pause(t.Context(), time.Second)
	}
	one.start().ready(time.Minute)
	for range 5 {
		a.fail("initech", 20)
		pause(t.Context(), time.Second)
	}
	bySeverity.await(t, time.Second, "initech", "firing")
	bySeverity.await(t, 40*time.Second, "initech", "firing", "resolved")
	if copies := a.checkTold(bySeverity, "acme", "initech"); copies > 0 {
		t.Errorf("%d messages came twice, though neither RabbitMQ nor an instance ended with one in hand", copies)
	}
}

// outbox returns the messages of the outbox by alert, in order: what must be told.
func (a *alarm) outbox() map[string][]string {
	a.t.Helper()
	all := map[string][]string{}
	cfg := kafka.Config{Brokers: a.broker.Addresses()}
	ends, err := kafka.EndOffsets(a.t.Context(), cfg, a.prefix+"alerts-outbox")
	if err != nil {
		a.t.Fatal(err)
	}
	for p, end := range ends {
		err := kafka.Read(a.t.Context(), cfg, a.prefix+"alerts-outbox", p, 0, end, func(m kafka.Message) error {
			var body struct{ ID string }
			if err := json.Unmarshal(m.Value, &body); err != nil {
				return err
			}
			all[string(m.Key)] = append(all[string(m.Key)], body.ID)
			return nil
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
	return all
}

// checkTold checks that of some tenants, or of all when none is named, an inbox has every
// message of the outbox, in order, and nothing else. It returns how many came again.
func (a *alarm) checkTold(b *inbox, tenants ...string) (copies int) {
	a.t.Helper()
	got := map[string][]string{}
	seen := map[string]bool{}
	for _, d := range b.messages() {
		if len(tenants) > 0 && !slices.Contains(tenants, strings.Split(d.RoutingKey, ".")[1]) {
			continue
		}
		var body struct{ Alert string }
		if err := json.Unmarshal(d.Body, &body); err != nil {
			a.t.Fatal(err)
		}
		if seen[d.MessageId] {
			copies++
			continue
		}
		seen[d.MessageId] = true
		got[body.Alert] = append(got[body.Alert], d.MessageId)
	}
	for alert, want := range a.outbox() {
		if len(tenants) == 0 || slices.ContainsFunc(tenants, func(tenant string) bool { return strings.Contains(alert, `tenant="`+tenant+`"`) }) {
			if !slices.Equal(got[alert], want) {
				a.t.Errorf("%s: told %v, want %v", alert, got[alert], want)
			}
			delete(got, alert)
		}
	}
	for alert, ids := range got {
		a.t.Errorf("invented: %s %v", alert, ids)
	}
	return copies
}

// RabbitMQ stops, is killed, and comes back, and so does the instance that publishes,
// while alerts fire and are resolved: everyone is told everything, in order.
func TestAlertsSurviveEverything(t *testing.T) {
	a := newAlarm(t, errorRules("30s")) // longer than any time in which nobody evaluates
	one, two := a.instance("a").start(), a.instance("b").start()
	one.ready(time.Minute)
	two.ready(time.Minute)
	a.fail("first", 20)
	a.inbox("error_event.unrouted").await(t, 30*time.Second, "first", "firing")
	pages := a.inbox("pages", "page.#")
	a.burst(20)
	pause(t.Context(), 500*time.Millisecond)
	if err := a.rabbit.Kill(); err != nil {
		t.Fatal(err)
	}
	a.burst(20)
	pause(t.Context(), 15*time.Second) // those of before are resolved meanwhile
	if err := a.rabbit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.burst(20)
	a.kill(one)
	pause(t.Context(), 3*time.Second)
	a.burst(20)
	one.start().ready(time.Minute)
	two.signal(syscall.SIGTERM)
	a.burst(20)
	for _, tenant := range a.tenants {
		pages.await(t, 90*time.Second, tenant, "firing", "resolved")
	}
	// A copy is what was in the air when RabbitMQ or the instance died, or could not be
	// committed: never more than a window and what the dead one had in hand.
	if copies := a.checkTold(pages, a.tenants...); copies > 64 {
		t.Errorf("%d of %d messages came twice", copies, len(pages.messages()))
	} else {
		t.Logf("%d of %d messages came twice", copies, len(pages.messages()))
	}
}

// kill ends an instance as a power cut would.
func (a *alarm) kill(i *instance) {
	a.t.Helper()
	if err := i.Kill(); err != nil {
		a.t.Fatal(err)
	}
}

// What is shipped is taken by Prometheus, too, and means the same there.
func TestPromtoolTakesTheRules(t *testing.T) {
	need(t, "prometheus")
	for folder, name := range map[string]string{"rules": "ragstreams", "prometheus-rules": "pipeline"} {
		for _, args := range [][]string{{"check", "rules", name + ".yaml"}, {"test", "rules", name + ".test.yml"}} {
			cmd := exec.CommandContext(t.Context(), "promtool", args...)
			cmd.Dir = filepath.Join(site.Root, "grafana", folder)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("promtool %v: %v: %s", args, err, out)
			}
		}
	}
}

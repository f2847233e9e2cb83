//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// kill ends an instance as a power cut would.
func (a *alarm) kill(i *instance) {
	a.t.Helper()
	if err := i.Kill(); err != nil {
		a.t.Fatal(err)
	}
}

// onVhost makes a deployment with a virtual host of its own, and declares the exchange
// there: queues can be bound before the first alert.
func onVhost(t *testing.T, node *servers.RabbitMQ, span string, env ...string) *alarm {
	t.Helper()
	url, err := node.Vhost(t.Context(), strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]))
	if err != nil {
		t.Fatal(err)
	}
	a := newAlarmOn(t, node, url, errorRules(span), env...)
	a.declareExchange()
	return a
}

// administer does something to the virtual host.
func (a *alarm) administer(do func(ch *amqp.Channel) error) {
	a.t.Helper()
	conn, err := amqp.Dial(a.url)
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		err = do(ch)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// declareExchange declares the exchange as the program does.
func (a *alarm) declareExchange() {
	a.t.Helper()
	a.administer(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("error_event", amqp.ExchangeTopic, true, false, false, false, amqp.Table{"alternate-exchange": "error_event.unrouted"})
	})
}

// queue makes a durable queue that nobody reads yet.
func (a *alarm) queue(name string, args amqp.Table, keys ...string) {
	a.t.Helper()
	a.administer(func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return err
		}
		for _, key := range keys {
			if err := ch.QueueBind(name, key, "error_event", false, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// wire puts a proxy before RabbitMQ, and returns the configuration of an instance that
// goes through it.
func (a *alarm) wire() (*servers.Wire, string) {
	a.t.Helper()
	w, err := a.rabbit.Wire()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(w.Close)
	return w, "ANALYTICS_AMQP_URL=" + strings.Replace(a.url, fmt.Sprintf("127.0.0.1:%d", a.rabbit.Port), w.Address, 1)
}

// allTold waits until the alerts of all bursts are told to fire and to be resolved, and
// checks it against the outbox. It returns how many messages came again.
func (a *alarm) allTold(b *inbox, limit time.Duration) (copies int) {
	a.t.Helper()
	a.decided(limit, 2*len(a.tenants))
	a.awaitTold(b, limit, a.tenants, "firing", "resolved")
	return a.checkTold(b)
}

// awaitTold waits until an inbox was told these states of each tenant, and no others.
func (a *alarm) awaitTold(b *inbox, limit time.Duration, tenants []string, states ...string) {
	a.t.Helper()
	deadline := time.Now().Add(limit)
	for _, tenant := range tenants {
		b.await(a.t, time.Until(deadline), tenant, states...)
	}
}

// decided waits until there are so many transitions in the outbox.
func (a *alarm) decided(limit time.Duration, want int) {
	a.t.Helper()
	eventually(a.t, limit, fmt.Sprint(want, " transitions"), func(ctx context.Context) error {
		n := 0
		for _, ids := range a.outbox() {
			n += len(ids)
		}
		if n != want {
			pause(ctx, time.Second/2) // it is much to read
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// wantCopies checks how many messages came again.
func wantCopies(t *testing.T, copies, least, most int) {
	t.Helper()
	t.Logf("%d messages came again", copies)
	if copies < least || copies > most {
		t.Errorf("%d messages came again, want %d to %d", copies, least, most)
	}
}

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/e2e/servers"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestDelivery: what may happen to RabbitMQ, to the way there and to those who publish,
// one thing at a time. After each, everyone was told every transition of the outbox, in
// the order of its alert, and nothing else; and a message came again only where a
// connection or a publisher ended between its arrival and the commit, and was counted.
//
// The tests mostly wait, so they run at the same time, each with a deployment of its own
// and a virtual host, or a node where that is what something happens to.
func TestDelivery(t *testing.T) {
	node := ownRabbitMQ(t, "rabbitmq-delivery", "RABBITMQ_SECURE=1")
	for _, tt := range []struct {
		name string
		test func(t *testing.T, node *servers.RabbitMQ)
	}{
		{"Stopped", rabbitStopped},
		{"Killed", rabbitKilled},
		{"CutMidFrame", cutMidFrame},
		{"HalfOpen", halfOpen},
		{"QueueFull", queueFull},
		{"ExchangeDeleted", exchangeDeleted},
		{"PublisherKilled", publisherKilled},
		{"PublisherKilledConfirmed", publisherKilledConfirmed},
		{"Rolling", rollingPublishers},
		{"Blocked", blocked},
		{"Certificates", certificates},
		{"ConflictingExchange", conflictingExchange},
		{"ConflictingQueue", conflictingQueue},
		{"Pika", pika},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, node)
		})
	}
}

// RabbitMQ is away for a minute in which a hundred alerts fire and are resolved. The
// program waits without memory, and nothing is told twice.
func rabbitStopped(t *testing.T, _ *servers.RabbitMQ) {
	a := newAlarm(t, errorRules("20s"))
	a.declareExchange()
	pages := a.inbox("pages", "page.#")
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing") // there is a connection
	if err := a.rabbit.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	one.reaches(10*time.Second, connected, is(0)) // it is known before there is an alert
	a.burst(100)
	one.notes(time.Minute, "RabbitMQ cannot be reached", "connection refused")
	a.decided(time.Minute, 202)
	before := one.value(resident, "")
	pause(t.Context(), time.Until(since.Add(time.Minute)))
	after := one.value(resident, "")
	t.Logf("%.1f MiB with 202 transitions that wait, %.1f MiB at the end of the minute", before/(1<<20), after/(1<<20))
	if after > 1.25*before+16<<20 {
		t.Errorf("it has %g bytes in memory, and had %g", after, before)
	}
	one.reaches(time.Minute, waiting, func(n float64) bool { return n >= 201 })
	if err := a.rabbit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCopies(t, a.allTold(pages, time.Minute), 0, 0)
	if n := one.value(republished, ""); n > 0 {
		t.Errorf("%g messages are said to come again, though none was sent before", n)
	}
	one.reaches(time.Minute, waiting, is(0))
	one.stop()
}

// RabbitMQ is killed when it has messages whose confirmation did not arrive.
func rabbitKilled(t *testing.T, _ *servers.RabbitMQ) {
	a := newAlarm(t, errorRules("20s"))
	a.declareExchange()
	a.queue("pages", nil, "page.#")
	wire, via := a.wire()
	one := a.instance("a", via).start()
	one.ready(time.Minute)
	a.burst(1)
	one.reaches(time.Minute, published, is(1))
	held := a.hold(wire, 20)
	if err := a.rabbit.Kill(); err != nil {
		t.Fatal(err)
	}
	one.reaches(time.Minute, connected, is(0))
	if err := wire.Release(); err != nil {
		t.Fatal(err)
	}
	if err := a.rabbit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody read before, so that nothing comes again but what was published again.
	copies := a.allTold(a.inbox("pages"), time.Minute)
	wantCopies(t, copies, held, int(one.value(republished, "")))
	one.stop()
}

// hold makes n alerts fire, waits until RabbitMQ has confirmed what was published of them
// and the publisher does not know, and returns how many messages those are.
func (a *alarm) hold(wire *servers.Wire, n int) int {
	a.t.Helper()
	wire.Hold()
	a.burst(n)
	eventually(a.t, time.Minute, "a confirmation that is held back", func(context.Context) error {
		if wire.Held() == 0 {
			return errors.New("no message was published")
		}
		return nil
	})
	pause(a.t.Context(), 2*time.Second) // the others gather behind the first
	held := 0
	eventually(a.t, time.Minute, "messages whose confirmation is held back", func(ctx context.Context) error {
		before := wire.Published()
		if err := wire.Pass(); err != nil {
			return err
		}
		pause(ctx, 500*time.Millisecond)
		held = wire.Held()
		if sent := wire.Published() - before; held < n/3 || held < sent {
			return fmt.Errorf("%d of %d", held, sent)
		}
		return nil
	})
	a.t.Logf("%d messages are in the queue, and their publisher does not know", held)
	return held
}

// The connection is cut within a frame, at places of all kinds.
func cutMidFrame(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "20s")
	pages := a.inbox("pages", "page.#")
	wire, via := a.wire()
	one := a.instance("a", via).start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing")
	for n, cut := range []struct {
		frame byte
		after int
	}{
		{servers.MethodFrame, 1}, {servers.MethodFrame, 20}, {servers.HeaderFrame, 7}, {servers.HeaderFrame, 60},
		{servers.BodyFrame, 3}, {servers.BodyFrame, 300}, {servers.BodyFrame, 1 << 20}, // all but the last byte
	} {
		wire.CutIn(cut.frame, cut.after)
		burst := a.burst(2)
		eventually(t, time.Minute, fmt.Sprintf("frame %d is cut after %d bytes", cut.frame, cut.after), func(context.Context) error {
			if wire.Cuts() != n+1 {
				return errors.New("no message was published")
			}
			return nil
		})
		eventually(t, time.Minute, "they fire", func(context.Context) error {
			for _, tenant := range burst {
				if states := pages.states(tenant); len(states) == 0 || states[0] != "firing" {
					return fmt.Errorf("%s: %v", tenant, states)
				}
			}
			return nil
		})
	}
	copies := a.allTold(pages, time.Minute)
	wantCopies(t, copies, 0, int(one.value(republished, `reason="unconfirmed"`)))
	if n := wire.Accepted(); n < 8 || n > 16 {
		t.Errorf("%d connections for 7 that were cut", n)
	}
	one.stop()
}

// The connection is there and nothing arrives, for longer than heartbeats allow; nor do
// new connections get an answer.
func halfOpen(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "20s")
	pages := a.inbox("pages", "page.#")
	wire, via := a.wire()
	one := a.instance("a", via).start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing")
	wire.Silence()
	before, since := wire.Accepted(), time.Now()
	a.burst(10)
	one.reaches(45*time.Second, connected, is(0))
	t.Logf("the half-open connection was given up after %s", time.Since(since).Round(100*time.Millisecond))
	eventually(t, time.Minute, "it does not wait for a connection that is silent, either", func(context.Context) error {
		if n := wire.Accepted() - before; n < 2 {
			return fmt.Errorf("it has tried %d", n)
		}
		return nil
	})
	stopping := time.Now()
	one.stop()
	if took := time.Since(stopping); took > 8*time.Second { // less than a dial may take
		t.Errorf("it took %s to stop", took)
	}
	one.start()
	wire.Heal()
	one.ready(time.Minute)
	wantCopies(t, a.allTold(pages, time.Minute), 0, 0) // what was sent has not arrived
	one.stop()
}

// A queue is full and refuses. What it refuses waits, in order, and nobody else waits for
// it. The broker does not tell who refused, so that another queue for the same messages
// gets them again and again.
func queueFull(t *testing.T, node *servers.RabbitMQ) {
	const room = 5
	a := onVhost(t, node, "20s")
	keys := func(tenants ...string) []string {
		for i, tenant := range tenants {
			tenants[i] = "*." + tenant + ".#"
		}
		return tenants
	}
	a.queue("small", amqp.Table{"x-max-length": int32(room), "x-overflow": "reject-publish"}, keys("t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7")...)
	all := a.inbox("all", keys("t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7")...)
	others := a.inbox("others", keys("t8", "t9", "t10")...)
	one := a.instance("a").start()
	one.ready(time.Minute)
	since := time.Now()
	crowd := a.burst(room + 3)
	eventually(t, time.Minute, "messages are refused", func(ctx context.Context) error {
		n, err := one.metric(ctx, republished, `reason="nack"`)
		if err == nil && n < 3 {
			err = fmt.Errorf("%g", n)
		}
		return err
	})
	free := a.burst(3)
	a.awaitTold(others, time.Minute, free, "firing", "resolved")
	took := time.Since(since)
	refused := one.value(republished, `reason="nack"`)
	t.Logf("%g times a message was refused in %s", refused, took.Round(time.Second))
	if most := float64(len(crowd)) * (8 + took.Seconds()/4); refused > most {
		t.Errorf("%g times a message was refused in %s, want %g at most", refused, took, most)
	}
	small := a.inbox("small")
	a.awaitTold(small, time.Minute, crowd, "firing", "resolved")
	a.awaitTold(all, time.Minute, crowd, "firing", "resolved")
	if copies := a.checkTold(small, crowd...) + a.checkTold(others, free...); copies > 0 {
		t.Errorf("%d messages came again to a queue that refuses, or that nobody shares", copies)
	}
	wantCopies(t, a.checkTold(all, crowd...), 3, int(one.value(republished, `reason="nack"`)))
	if n := one.value(republished, "") - one.value(republished, `reason="nack"`); n > 0 {
		t.Errorf("%g messages were published again, though no connection was lost", n)
	}
	one.stop()
}

// The exchange is deleted while alerts fire. It is there again with the next message, but
// the bindings went with it: until somebody binds again, messages are in the queue of
// those that nobody wanted.
func exchangeDeleted(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "20s")
	pages := a.inbox("pages", "page.#")
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(3), "firing")
	// Whoever reads both sees all, in order.
	a.administer(func(ch *amqp.Channel) error { return ch.QueueBind("pages", "", "error_event.unrouted", false, nil) })
	a.administer(func(ch *amqp.Channel) error { return ch.ExchangeDelete("error_event", false, false) })
	unrouted := a.inbox("error_event.unrouted")
	lost := a.burst(5)
	a.awaitTold(pages, time.Minute, lost, "firing")
	a.awaitTold(unrouted, time.Minute, lost, "firing")
	a.administer(func(ch *amqp.Channel) error { return ch.QueueBind("pages", "page.#", "error_event", false, nil) })
	seen := len(unrouted.messages())
	bound := a.burst(2)
	// A channel that was closed for a missing exchange has taken none of its messages.
	wantCopies(t, a.allTold(pages, time.Minute), 0, 0)
	for _, tenant := range bound {
		if states := unrouted.states(tenant); len(states) > 0 {
			t.Errorf("%s was unrouted, though a queue is bound again: %v", tenant, states)
		}
	}
	t.Logf("%d of %d messages went unrouted until a queue was bound again", seen, len(pages.messages()))
	one.stop()
}

// A publisher is killed when its messages are in the queue, and it does not know.
func publisherKilled(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "30s") // longer than nobody evaluates
	pages := a.inbox("pages", "page.#")
	wire, via := a.wire()
	one := a.instance("a", via).start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing")
	held := a.hold(wire, 20)
	a.kill(one)
	if err := wire.Release(); err != nil {
		t.Fatal(err)
	}
	one.start().ready(time.Minute)
	copies := a.allTold(pages, time.Minute)
	wantCopies(t, copies, held, int(one.value(republished, `reason="takeover"`)))
	one.stop()
}

// A publisher is killed when it knows what is in the queue and cannot commit that, for
// Kafka is away. The other instance takes over.
func publisherKilledConfirmed(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "30s")
	pages := a.inbox("pages", "page.#")
	proxies, err := a.broker.Proxies(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxies.Close)
	wire, via := a.wire()
	one := a.instance("a", via, "ANALYTICS_KAFKA_BROKERS="+proxies.Address).start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing")
	held := a.hold(wire, 20)
	if err := proxies.Cut(); err != nil {
		t.Fatal(err)
	}
	known := one.value(published, "")
	if err := wire.Release(); err != nil {
		t.Fatal(err)
	}
	one.reaches(time.Minute, published, is(known+float64(held)))
	a.kill(one)
	two := a.instance("b").start()
	two.ready(time.Minute)
	copies := a.allTold(pages, time.Minute)
	wantCopies(t, copies, held, int(two.value(republished, `reason="takeover"`)))
	two.stop()
}

// Two instances are stopped and killed in turn while alerts fire, each with messages in
// the queue that it does not know of, and for so long that what it published and
// evaluated moves to the other.
func rollingPublishers(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "30s", "ANALYTICS_KAFKA_LEAVE_ON_STOP=true")
	pages := a.inbox("pages", "page.#")
	type publisher struct {
		*instance
		wire *servers.Wire
	}
	var both []publisher
	for _, name := range []string{"a", "b"} {
		wire, via := a.wire()
		both = append(both, publisher{a.instance(name, via).start(), wire})
	}
	for _, p := range both {
		p.ready(time.Minute)
	}
	held, counted := 0, 0.0
	for round := range 4 {
		p := both[round%2]
		p.wire.Hold()
		a.burst(10)
		eventually(t, time.Minute, "it has published something", func(context.Context) error {
			if p.wire.Held() == 0 {
				return errors.New("nothing")
			}
			return nil
		})
		counted += p.value(republished, "")
		if round < 2 {
			p.stop()
		} else {
			a.kill(p.instance)
		}
		held += p.wire.Held()
		a.burst(10)
		pause(t.Context(), 8*time.Second) // longer than a session
		a.burst(10)
		if err := p.wire.Release(); err != nil {
			t.Fatal(err)
		}
		p.start().ready(time.Minute)
	}
	copies := a.allTold(pages, time.Minute)
	for _, p := range both {
		counted += p.value(republished, "")
		p.stop()
	}
	t.Logf("%d messages were in the queue when their publisher ended", held)
	wantCopies(t, copies, held, int(counted))
}

// RabbitMQ raises an alarm and takes nothing, for longer than confirmations are waited
// for.
func blocked(t *testing.T, _ *servers.RabbitMQ) {
	a := newAlarm(t, errorRules("20s"))
	a.declareExchange()
	pages := a.inbox("pages", "page.#")
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.awaitTold(pages, time.Minute, a.burst(1), "firing")
	if err := a.rabbit.Ctl(t.Context(), "set_vm_memory_high_watermark", "0.00001"); err != nil {
		t.Fatal(err)
	}
	waits := a.burst(10)
	one.reaches(time.Minute, blockedNow, is(1))
	pause(t.Context(), 35*time.Second)
	if n := one.value(blockedNow, ""); n != 1 {
		t.Error("it is not blocked any more, though the alarm goes on")
	}
	for _, tenant := range waits {
		if states := pages.states(tenant); len(states) > 0 {
			t.Errorf("%s was told %v in spite of the alarm", tenant, states)
		}
	}
	if err := a.rabbit.Ctl(t.Context(), "set_vm_memory_high_watermark", "0.4"); err != nil {
		t.Fatal(err)
	}
	one.reaches(time.Minute, blockedNow, is(0))
	wantCopies(t, a.allTold(pages, time.Minute), 0, 0)
	if n := one.value(republished, ""); n > 0 {
		t.Errorf("%g messages were published again: the connection was given up", n)
	}
	one.stop()
}

// RabbitMQ takes clients with certificates only, which are their login. A certificate
// that is wrong is told of, and what was to be published waits for the right one.
func certificates(t *testing.T, node *servers.RabbitMQ) {
	a := onVhost(t, node, "20s", "ANALYTICS_KAFKA_LEAVE_ON_STOP=true")
	pages := a.inbox("pages", "page.#")
	url := fmt.Sprintf("ANALYTICS_AMQP_URL=amqps://127.0.0.1:%d/certificates", node.Port+2)
	login := func(authority, name string) []string {
		return []string{
			url, "ANALYTICS_AMQP_TLS_CA_FILE=" + authority,
			"ANALYTICS_AMQP_TLS_CERT_FILE=" + node.Dir + "/tls/" + name + ".pem", "ANALYTICS_AMQP_TLS_KEY_FILE=" + node.Dir + "/tls/" + name + ".key",
		}
	}
	ca := node.Dir + "/tls/ca.pem"
	foreign := append(login(ca, "analytics"), // of Kafka's authority, whom RabbitMQ does not know
		"ANALYTICS_AMQP_TLS_CERT_FILE="+tlsFile("analytics.pem"), "ANALYTICS_AMQP_TLS_KEY_FILE="+tlsFile("analytics.key"))
	for _, tt := range []struct {
		name string
		env  []string
		fire int // alerts, once it is known
		want []string
	}{
		{"server", login(tlsFile("ca.pem"), "analytics"), 0, []string{"certificate signed by unknown authority", "amqp.tls.ca_file"}},
		{"foreign", foreign, 0, []string{"unknown certificate authority", "amqp.tls.cert_file"}},
		{"stranger", login(ca, "stranger"), 0, []string{"RabbitMQ refuses", "not allowed"}},
		{"none", []string{url, "ANALYTICS_AMQP_TLS_CA_FILE=" + ca}, 3, []string{"certificate required", "amqp.tls.cert_file"}},
	} {
		i := a.instance(tt.name, tt.env...).start()
		i.ready(time.Minute)
		i.notes(time.Minute, tt.want...) // there is no alert yet
		a.burst(tt.fire)
		a.decided(time.Minute, tt.fire)
		i.stop()
	}
	good := a.instance("good", login(ca, "analytics")...).start()
	good.ready(time.Minute)
	a.burst(1)
	wantCopies(t, a.allTold(pages, time.Minute), 0, 0)
	good.stop()
}

// Something with our name is there, and is something else. That is told of and not tried
// again and again; all else goes on. Once it is gone, everything arrives.
func conflictingExchange(t *testing.T, node *servers.RabbitMQ) {
	conflict(t, node, "exchange error_event", func(ch *amqp.Channel) error {
		if err := ch.ExchangeDelete("error_event", false, false); err != nil {
			return err
		}
		return ch.ExchangeDeclare("error_event", amqp.ExchangeFanout, true, false, false, false, nil)
	}, func(ch *amqp.Channel) error { return ch.ExchangeDelete("error_event", false, false) })
}

func conflictingQueue(t *testing.T, node *servers.RabbitMQ) {
	conflict(t, node, "queue error_event.unrouted", func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("error_event.unrouted", true, false, false, false, amqp.Table{"x-max-length": int32(7)})
		return err
	}, func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete("error_event.unrouted", false, false, false)
		return err
	})
}

func conflict(t *testing.T, node *servers.RabbitMQ, what string, declare, mend func(ch *amqp.Channel) error) {
	a := onVhost(t, node, "20s")
	a.administer(declare)
	wire, via := a.wire()
	one := a.instance("a", via).start()
	one.ready(time.Minute)
	a.burst(5)
	one.notes(time.Minute, what, "PRECONDITION_FAILED", "RabbitMQ refuses", "mend the configuration, or what is declared there")
	a.burst(1)
	pause(t.Context(), 15*time.Second)
	if n := wire.Accepted(); n != 1 {
		t.Errorf("it has connected %d times in 15 s, want once", n)
	}
	if n := one.value("rag_error_group_events_total", ""); n != 6*20 {
		t.Errorf("%g events were counted meanwhile, want all %d", n, 6*20)
	}
	a.administer(mend)
	a.declareExchange()
	pages := a.inbox("pages", "page.#")
	wantCopies(t, a.allTold(pages, 90*time.Second), 0, 0)
	eventually(t, time.Minute, "nothing is wrong any more", func(ctx context.Context) error {
		_, body, err := one.get(ctx, "/readyz")
		if err == nil && strings.Contains(body, "RabbitMQ") {
			err = errors.New(body)
		}
		return err
	})
	one.stop()
}

// pikaVersion is the version of the package that is tested.
const pikaVersion = "pika==1.3.2"

// pikaRules give a tenant with many errors two alerts.
const pikaRules = errorRule + `
  - alert: ManyErrors
    expr: sum by (tenant, app, stage) (increase(rag_error_group_events_total[10s])) > 15
    labels: {severity: critical}
`

// Monitoring services in Python have a queue each, one for a tenant and one for a
// severity. They acknowledge by hand, and break off with a message in hand.
func pika(t *testing.T, node *servers.RabbitMQ) {
	py := python(t, pikaVersion, "testdata/pika_monitor.py")
	url, err := node.Vhost(t.Context(), "pika")
	if err != nil {
		t.Fatal(err)
	}
	a := newAlarmOn(t, node, url, strings.ReplaceAll(pikaRules, "10s", "20s"))
	a.declareExchange()
	queues := map[string]string{"acme-only": "*.acme.#", "critical-only": "critical.#"} // and their keys
	for queue, key := range queues {
		py("", "bind", a.url, queue, key)
	}
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.fail("acme", 20)
	a.fail("umbrella", 20)
	a.fail("initech", 10) // not that many
	a.decided(time.Minute, 10)
	want := map[string]map[string]bool{"acme-only": {}, "critical-only": {}}
	for alert, ids := range a.outbox() {
		for _, id := range ids {
			if strings.Contains(alert, `tenant="acme"`) {
				want["acme-only"][id] = true
			}
			if strings.Contains(alert, "ManyErrors") {
				want["critical-only"][id] = true
			}
		}
	}
	for queue := range queues {
		if n := len(want[queue]); n != 4 {
			t.Errorf("%d messages are for %s, want 4", n, queue)
		}
		lines := slices.Collect(strings.Lines(py("", "consume", a.url, queue, fmt.Sprint(len(want[queue])))))
		for n, line := range lines {
			checkPika(t, queue, line, want[queue], n == 0)
		}
		for id := range want[queue] {
			t.Errorf("%s was not told %s", queue, id)
		}
	}
	one.stop()
}

// checkPika checks a message as pika has it, and takes its id out of those that are wanted.
func checkPika(t *testing.T, queue, line string, want map[string]bool, again bool) {
	t.Helper()
	var m struct {
		RoutingKey   string `json:"routing_key"`
		Redelivered  bool
		MessageID    string `json:"message_id"`
		Type         string
		AppID        string `json:"app_id"`
		Timestamp    int64
		ContentType  string `json:"content_type"`
		DeliveryMode int    `json:"delivery_mode"`
		Headers      map[string]string
		Body         struct {
			ID, Rule, State, Severity string
			Labels                    map[string]string
			Decided                   time.Time `json:"decided_at"`
		}
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	b := m.Body
	if !want[m.MessageID] || b.ID != m.MessageID || m.Redelivered != again {
		t.Errorf("%s was told %s, which is none of its messages, or for a second time", queue, line)
	}
	delete(want, m.MessageID)
	if m.Type != "ragstreams.alert.v1" || m.AppID != "ragstreams" || m.ContentType != "application/json" || m.DeliveryMode != 2 ||
		m.Timestamp != b.Decided.Unix() || time.Since(b.Decided) > 5*time.Minute {
		t.Errorf("properties: %s", line)
	}
	if m.RoutingKey != strings.Join([]string{b.Severity, b.Labels["tenant"], "chat", "generate", b.State}, ".") ||
		m.Headers["state"] != b.State || m.Headers["severity"] != b.Severity || m.Headers["alertname"] != b.Rule {
		t.Errorf("routing key, headers and body differ: %s", line)
	}
}

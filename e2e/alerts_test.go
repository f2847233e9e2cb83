//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

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
		t.Fatalf("error groups: %s", d.Body)
	}
	if link := body.Groups[0].Links[0]; !strings.Contains(link, "-rag-traces%2F") {
		t.Errorf("the link %s does not say where the trace lies", link)
	} else if status, text, err := one.get(t.Context(), link); err != nil || status != 200 || !strings.Contains(text, body.Groups[0].Traces[0]) {
		t.Errorf("the link %s leads to %d %s (%v)", link, status, text, err)
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

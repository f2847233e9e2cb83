//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/e2e/servers"
	"ragstreams/generate"
	"ragstreams/kafka"
)

// chaosRules come and go with the counts of each tenant, whatever the time of the events
// is, and what holds at rest is known from the truth.
const chaosRules = `
groups:
- name: chaos
  rules:
  - alert: Odd
    expr: sum by (tenant) (rag_error_group_events_total) % 6 >= 3
    labels: {severity: page}
  - alert: Held
    expr: sum by (tenant) (rag_events_total) % 4000 >= 2000
    for: 2s
    keep_firing_for: 3s
    labels: {severity: warning}
`

// bells are RabbitMQ and the one who is told, in a run of chaos.
type bells struct {
	*alarm
	pages *inbox
}

// ring declares what is told, and who listens.
func (c *chaos) ring(node *servers.RabbitMQ) {
	c.t.Helper()
	url, err := node.Vhost(c.t.Context(), c.d.name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.bells = &bells{alarm: &alarm{deployment: c.d, rabbit: node, url: url}}
	c.bells.declareExchange()
	c.bells.pages = c.bells.inbox("chaos", "#")
}

// chaosRuleFile writes the rules.
func chaosRuleFile(dir string) (string, error) {
	file := filepath.Join(dir, "rules.yaml")
	return file, os.WriteFile(file, []byte(chaosRules), 0o644)
}

func (c *chaos) killRabbit(ctx context.Context) error {
	c.note("kill -9 RabbitMQ")
	if err := c.bells.rabbit.Kill(); err != nil {
		return err
	}
	return c.returnRabbit(ctx)
}

func (c *chaos) stopRabbit(ctx context.Context) error {
	c.note("stop RabbitMQ")
	if err := c.bells.rabbit.Stop(ctx); err != nil {
		return err
	}
	return c.returnRabbit(ctx)
}

func (c *chaos) returnRabbit(ctx context.Context) error {
	if err := pause(ctx, c.random(500*time.Millisecond, 15*time.Second)); err != nil {
		return err
	}
	c.note("start RabbitMQ")
	return c.bells.rabbit.Start(ctx)
}

// alarmRabbit has RabbitMQ believe that its memory is full: it takes no more messages.
func (c *chaos) alarmRabbit(ctx context.Context) error {
	c.note("RabbitMQ raises an alarm")
	if err := c.bells.rabbit.Ctl(ctx, "set_vm_memory_high_watermark", "0.00001"); err != nil {
		return err
	}
	err := pause(ctx, c.random(time.Second, 20*time.Second))
	c.note("the alarm is over")
	return errors.Join(err, c.bells.rabbit.Ctl(ctx, "set_vm_memory_high_watermark", "0.4"))
}

// wires are the ways of all instances to RabbitMQ: only some of them publish.
func (c *chaos) wires(do func(*servers.Wire)) {
	for _, s := range c.subjects {
		do(s.wire)
	}
}

func (c *chaos) cutRabbit(ctx context.Context) error {
	c.note("connections to RabbitMQ are cut within the next message")
	frame, after := []byte{servers.MethodFrame, servers.HeaderFrame, servers.BodyFrame}[c.intN(3)], 1+c.intN(40)
	c.wires(func(w *servers.Wire) { w.CutIn(frame, after) })
	return pause(ctx, c.random(0, 3*time.Second))
}

func (c *chaos) silenceRabbit(ctx context.Context) error {
	c.note("connections to RabbitMQ are half open")
	c.wires((*servers.Wire).Silence)
	err := pause(ctx, c.random(time.Second, 30*time.Second)) // heartbeats end after 20
	c.note("connections to RabbitMQ are as they were")
	c.wires((*servers.Wire).Heal)
	return err
}

func (c *chaos) holdConfirms(ctx context.Context) error {
	c.note("RabbitMQ's confirms are held back")
	c.wires((*servers.Wire).Hold)
	err := pause(ctx, c.random(time.Second, 15*time.Second))
	c.note("RabbitMQ's confirms come again")
	c.wires(func(w *servers.Wire) { err = errors.Join(err, w.Release()) })
	return err
}

// firing returns the alerts that fire, as an instance tells, by name and tenant.
func (s *subject) firing(ctx context.Context) ([]string, error) {
	status, body, err := s.get(ctx, "/api/v2/alerts")
	if err != nil || status != 200 {
		return nil, fmt.Errorf("alerts of instance %s: status %d: %w", s.name, status, err)
	}
	var list []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return nil, err
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Labels["alertname"]+" "+a.Labels["tenant"])
	}
	slices.Sort(names)
	return names, nil
}

// mustFire returns the alerts that fire at rest, by the truth.
func mustFire(truth *generate.Truth) []string {
	events, failed := map[string]int64{}, map[string]int64{}
	total := truth.Total()
	for key, m := range total.Traffic {
		events[key.Tenant] += m.Count
	}
	for key, m := range total.Errors {
		failed[key.Tenant] += m.Count
	}
	var names []string
	for tenant, n := range events {
		if n%4000 >= 2000 {
			names = append(names, "Held "+tenant)
		}
		if failed[tenant]%6 >= 3 {
			names = append(names, "Odd "+tenant)
		}
	}
	slices.Sort(names)
	return names
}

// checkBells checks that at rest exactly those alerts fire that must, on every instance;
// that what was decided is a sequence of firings and resolutions of each alert; and that
// all of it was told, once by its ids and in order, and nothing else.
func (c *chaos) checkBells(truth *generate.Truth) {
	c.t.Helper()
	want := mustFire(truth)
	for _, s := range c.subjects {
		eventually(c.t, time.Minute, "instance "+s.name+" has the alerts that are due", func(ctx context.Context) error {
			got, err := s.firing(ctx)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("%v fire, want %v", got, want)
			}
			return err
		})
	}
	decided, err := c.bells.decisions(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	transitions := 0
	var fire []string
	ids := map[string]bool{}
	for key, list := range decided {
		transitions += len(list)
		for i, m := range list {
			if ids[m.ID] {
				c.t.Errorf("%s: message %s was decided twice", key, m.ID)
			}
			ids[m.ID] = true
			if fires := i%2 == 0; (m.State == alerts.MessageFiring) != fires || !fires && !m.Fired.Equal(list[i-1].Fired) {
				c.t.Errorf("%s: transition %d is %s of %s: want firing and resolved in turn", key, i, m.State, m.Fired)
			}
		}
		if last := list[len(list)-1]; last.State == alerts.MessageFiring {
			fire = append(fire, last.Rule+" "+last.Labels["tenant"])
		}
	}
	if slices.Sort(fire); !slices.Equal(fire, want) {
		c.t.Errorf("people were told that %v fire, want %v", fire, want)
	}
	eventually(c.t, 2*time.Minute, "all is told", func(context.Context) error {
		told := c.bells.pages.ids()
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(ids)), func(id string) bool { return told[id] })
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d messages are missing, such as %s", len(missing), len(ids), missing[0])
		}
		return nil
	})
	copies := c.bells.checkTold(c.bells.pages)
	c.t.Logf("%d transitions of %d alerts, %d messages came again", transitions, len(decided), copies)
	if least := len(c.faults); transitions < least {
		c.t.Errorf("%d transitions are too few for a proof, want %d", transitions, least)
	}
}

// decisions returns the messages of the outbox by alert, in order.
func (a *alarm) decisions(ctx context.Context) (map[string][]alerts.Message, error) {
	all := map[string][]alerts.Message{}
	cfg := kafka.Config{Brokers: a.broker.Addresses()}
	ends, err := kafka.EndOffsets(ctx, cfg, a.prefix+"alerts-outbox")
	if err != nil {
		return nil, err
	}
	for p, end := range ends {
		err := kafka.Read(ctx, cfg, a.prefix+"alerts-outbox", p, 0, end, func(r kafka.Message) error {
			var m alerts.Message
			if err := m.Decode(r.Value); err != nil {
				return err
			}
			all[string(r.Key)] = append(all[string(r.Key)], m)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ids returns the ids that have come.
func (b *inbox) ids() map[string]bool {
	all := map[string]bool{}
	for _, d := range b.messages() {
		all[d.MessageId] = true
	}
	return all
}

// through returns the address of RabbitMQ by way of a wire.
func (b *bells) through(w *servers.Wire) string {
	return strings.Replace(b.url, fmt.Sprintf("127.0.0.1:%d", b.rabbit.Port), w.Address, 1)
}

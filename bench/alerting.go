package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ragstreams/generate"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	alertRate      = 20_000           // events a second beside the breaches
	breaches       = 100              // that are measured
	breachErrors   = 5                // errors of a tenant that were never seen before; the last is one too many
	breachPatience = 10 * time.Second // until the last message must be there
)

// breachRule fires at the last error of a breach.
var breachRule = fmt.Sprintf(`
groups:
- name: bench
  rules:
  - alert: Breach
    expr: sum by (tenant) (increase(rag_error_group_events_total{tenant=~"breach-.*"}[5m])) >= %d
    labels: {severity: page}
`, breachErrors)

// alertDelays measures, under a steady load and with the rules that are shipped, how
// long it takes from producing the event that breaches a rule until a consumer of
// RabbitMQ has the message, and returns the document.
func (p *program) alertDelays(ctx context.Context, o options) (_ string, err error) {
	version, err := p.site.KafkaVersion()
	if err != nil {
		return "", err
	}
	shipped, err := os.ReadFile(filepath.Join(p.site.Root, "grafana", "rules", "ragstreams.yaml"))
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{"shipped.yaml": shipped, "breach.yaml": []byte(breachRule)} {
		if err := os.WriteFile(filepath.Join(p.site.Dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	rabbit, err := p.site.RabbitMQ(ctx, "rabbitmq")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rabbit.Stop(context.WithoutCancel(ctx))) }()
	prefix := fmt.Sprintf("alerts-%d-", time.Now().UnixMilli())
	one, err := p.started(ctx, prefix, "ANALYTICS_RULES="+filepath.Join(p.site.Dir, "*.yaml"), "ANALYTICS_AMQP_URL="+rabbit.URL)
	if err != nil {
		return "", err
	}
	all, err := p.c.measureAlerts(ctx, rabbit.URL, o)
	if err != nil {
		return "", errors.Join(fmt.Errorf("%w; the program's log ends with\n%s", err, one.Tail(20)), one.Kill())
	}
	if err := one.Stop(30 * time.Second); err != nil {
		return "", err
	}
	fmt.Printf("\n%s", alertTable(all))
	return alertDocument(o, version, all), p.c.forget(ctx, prefix)
}

func (c *cluster) measureAlerts(ctx context.Context, url string, o options) ([]time.Duration, error) {
	producer, err := c.producer()
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	told, closeReceiver, err := receive(url)
	if err != nil {
		return nil, err
	}
	defer closeReceiver()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cfg := generate.Bench(0, o.seed)
	cfg.Topics[0].Name, cfg.TotalsOnly = latencyTopic, true
	load := steady{generator: generate.New(cfg), producer: producer}
	fmt.Printf("%s events a second for %s, and %d breaches\n", thousands(alertRate), o.alerts, breaches)
	loaded := make(chan error, 1)
	go func() {
		err := load.run(ctx, alertRate, latencyWarmUp+o.alerts+breachPatience, false)
		loaded <- err
		stop(err)
	}()
	began := map[string]time.Time{}
	r := rand.New(rand.NewPCG(o.seed, 3))
	each := o.alerts / breaches
	// The first opens the connection to RabbitMQ, and is not measured.
	next := time.Now().Add(latencyWarmUp / 2)
	for n := range breaches + 1 {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Until(next.Add(time.Duration(r.Int64N(int64(each)))))):
		}
		tenant := fmt.Sprintf("breach-%d", n)
		began[tenant] = time.Now()
		if err := breach(ctx, producer, tenant, n); err != nil {
			return nil, err
		}
		if next = next.Add(each); n == 0 {
			next = next.Add(latencyWarmUp / 2)
		}
	}
	var all []time.Duration
	for patience := time.After(breachPatience); len(all) < breaches; {
		select {
		case t := <-told:
			if t.tenant != "breach-0" {
				all = append(all, t.at.Sub(began[t.tenant]))
			}
		case <-patience:
			return nil, fmt.Errorf("%d of %d breaches were told within %s of the last", len(all), breaches, breachPatience)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	slices.Sort(all)
	return all, <-loaded
}

// breach sends the errors of a tenant.
func breach(ctx context.Context, producer *kgo.Client, tenant string, n int) error {
	var records []*kgo.Record
	for i := range breachErrors {
		value, err := json.Marshal(map[string]any{
			"event_id": fmt.Sprint(tenant, "-", i), "trace_id": fmt.Sprintf("%032x", n*breachErrors+i), "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
			"event_type": "llm_call_completed", "tenant": tenant, "app": "chat", "stage": "generate", "model": "m", "status": "error", "latency_ms": 30_000,
			"error": map[string]string{"type": "Timeout", "message": "no answer from the model"},
		})
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Topic: latencyTopic, Partition: int32(n % 4), Value: value})
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce a breach: %w", err)
	}
	return nil
}

// telling is a message that has come.
type telling struct {
	tenant string
	at     time.Time
}

// receive consumes what fires, as a monitoring service would.
func receive(url string) (<-chan telling, func(), error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	const queue, exchange, unrouted = "bench", "error_event", "error_event.unrouted"
	_, err = ch.QueueDeclare(queue, true, false, false, false, nil)
	// As the program declares it.
	err = errors.Join(err, ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, amqp.Table{"alternate-exchange": unrouted}),
		ch.QueueBind(queue, "page.#", exchange, false, nil))
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	told := make(chan telling, 2*breaches)
	go func() {
		for d := range deliveries {
			var m struct {
				State  string
				Labels map[string]string
			}
			at := time.Now()
			if json.Unmarshal(d.Body, &m) == nil && m.State == "firing" && d.Ack(false) == nil {
				told <- telling{m.Labels["tenant"], at}
			}
		}
	}()
	return told, func() { conn.Close() }, nil
}

// alertTable is the delays in Markdown.
func alertTable(all []time.Duration) string {
	d := delays{all: all}
	text := "| events/s | breaches | p50 ms | p90 ms | p99 ms | max ms |\n|---|---|---|---|---|---|\n"
	text += fmt.Sprintf("| %s | %d |", thousands(alertRate), len(all))
	for _, q := range []float64{0.5, 0.9, 0.99, 1} {
		text += fmt.Sprintf(" %.1f |", float64(d.quantile(q).Microseconds())/1000)
	}
	return text + "\n"
}

func alertDocument(o options, kafka string, all []time.Duration) string {
	date, where := machine(kafka)
	return fmt.Sprintf(`# Latency of alerts

Written by `+"`make bench-alerts`"+` on %s:

`+"```sh\n"+`go run ./bench -alerts %s -seed %d -out %s
`+"```"+`

%s

From producing the event that breaches a rule until a consumer of RabbitMQ has the message:
three transactions until it is counted, the evaluation of all rules, the transaction of the
alert's state, and a durable queue lie between. Beside the breaches, each of a tenant that was
never seen before, come %s events a second; the rules that are shipped are evaluated, too.

%s`, date, o.alerts, o.seed, o.out, where, thousands(alertRate), alertTable(all))
}

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"

	amqp "github.com/rabbitmq/amqp091-go"
)

// showcase is a deployment with a bit of everything that dashboards show.
type showcase struct {
	*alarm
	n    int // events of its own
	news int // error groups of its own
}

// showcaseRules: an alert that fires for every burst of errors, one that is pending, and
// a rule that fails.
const showcaseRules = `
groups:
- name: showcase
  rules:
  - alert: Errors
    expr: sum by (tenant, app, fingerprint) (increase(rag_error_group_events_total[10s])) >= 10
    labels: {severity: page}
  - alert: Traffic
    expr: sum by (tenant) (rag_events_total) > 0
    for: 1h
  - alert: Impossible
    expr: rag_events_total * on (tenant) rag_events_total > 0
`

// Every query of every dashboard gives an answer, and one that makes sense.
func TestDashboards(t *testing.T) {
	s := newShowcase(t)
	one := s.instance("a").start()
	t.Setenv("PROMETHEUS_RULES", filepath.Join(site.Root, "grafana", "prometheus-rules", "pipeline.yaml"))
	prom := startPrometheus(t, s.deployment, one)
	one.ready(time.Minute)
	analytics(t, "silence", "add", "--url", one.URL, "--by", "ana", "--comment", "showcase", "--for", "1h", "tenant=acme")
	eventually(t, 20*time.Second, "there is a connection to RabbitMQ", func(ctx context.Context) error {
		_, text, err := one.get(ctx, "/metrics")
		if err == nil && !strings.Contains(text, "\nanalytics_amqp_connected 1\n") {
			err = errors.New("analytics_amqp_connected is not 1")
		}
		return err
	})
	s.receive()
	stop := s.begin()
	var answers []answer
	eventually(t, 60*time.Second, "every query of every dashboard is answered", func(context.Context) (err error) {
		if out, err := s.dlq(nil, "replay", "--force", "--limit", "5"); err != nil { // they come back, as poison
			return fmt.Errorf("%w\n%s", err, out)
		}
		if answers, err = prom.look(t.Context()); err != nil { // to its end, so that what it finds is told
			return err
		}
		return countedWhole(answers)
	})
	prom.evaluates("ragstreams-dependencies", "AnalyticsGroupFallsBehind")
	one.showsGroups("acme", "globex", "initech")
	one.checkLinks(answers)
	one.checkTraces(answers)
	stop()
	report(t, answers)
}

// evaluates checks that all rules of Prometheus are evaluated without a fault, and that a
// rule of a group is among them.
func (p *prometheus) evaluates(group, rule string) {
	p.t.Helper()
	eventually(p.t, 30*time.Second, "all rules are evaluated", func(ctx context.Context) error {
		data, err := p.ask(ctx, "rules", nil)
		if err != nil {
			return err
		}
		var answer struct {
			Groups []struct {
				Name  string
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			return err
		}
		found := false
		for _, g := range answer.Groups {
			for _, r := range g.Rules {
				found = found || g.Name == group && r.Name == rule
				if r.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		if !found {
			return fmt.Errorf("no %s in %s", rule, data)
		}
		return nil
	})
}

func newShowcase(t *testing.T) *showcase {
	rabbit := ownRabbitMQ(t, "rabbitmq-dashboards")
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte(showcaseRules), 0o644); err != nil {
		t.Fatal(err)
	}
	d := newDeployment(t, []int32{2, 2, 2}, append(slices.Clone(short),
		"ANALYTICS_RULES="+rules, "ANALYTICS_AMQP_URL="+rabbit.URL, "ANALYTICS_LIMITS_ERROR_GROUPS_PER_TENANT=30",
		fmt.Sprintf("ANALYTICS_WATCH_RABBITMQ_URL=http://guest:guest@127.0.0.1:%d", rabbit.Port+1), "ANALYTICS_WATCH_INTERVAL=1s")...)
	return &showcase{alarm: &alarm{deployment: d, rabbit: rabbit, url: rabbit.URL}}
}

// begin sends traffic until stop is called.
func (s *showcase) begin() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	g := generate.New(shorten(generate.Config{
		Seed: 1, Tenants: 3, Models: 2, ErrorRate: 0.1, Duplicates: 0.05, Late: 0.02, Poison: 0.02, Topics: s.topics,
	}))
	w := s.traffic()
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			for range 10 {
				w.send(g.NextAt(time.Now()))
			}
			if i%20 == 0 { // once a second
				for _, tenant := range []string{"acme", "globex", "initech", strings.Repeat("long", 100)} {
					s.emit(w, tenant, "")
				}
				s.emit(w, "noisy", s.newMessage())
				s.emit(w, "noisy", s.newMessage())
			}
			if i%100 == 10 { // every five seconds
				for _, tenant := range []string{"acme", "globex", "initech"} {
					message := s.newMessage()
					for range groupSize {
						s.emit(w, tenant, message)
					}
				}
			}
			pause(ctx, 50*time.Millisecond)
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return func() {
		cancel()
		<-done
		w.flush()
	}
}

// showsGroups checks that the alerts of tenants are in the answer to what Grafana's panel
// of alerts asks its Alertmanager.
func (i *instance) showsGroups(tenants ...string) {
	i.t.Helper()
	eventually(i.t, 20*time.Second, "the alerts are shown", func(ctx context.Context) error {
		status, text, err := i.get(ctx, "/api/v2/alerts/groups?silenced=true&inhibited=true&active=true")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %s (%w)", status, text, err)
		}
		for _, tenant := range tenants {
			if !strings.Contains(text, `"tenant":"`+tenant+`"`) {
				return fmt.Errorf("no alert of %s in %.500s", tenant, text)
			}
		}
		return nil
	})
}

// checkLinks follows a link of every table of error groups, which must lead to the group.
func (i *instance) checkLinks(answers []answer) {
	i.t.Helper()
	followed := 0
	for _, a := range answers {
		at := slices.IndexFunc(a.series, func(s series) bool { return s.labels["tenant"] == "acme" && s.labels["fingerprint"] != "" })
		if a.query.Link == "" || at < 0 {
			continue
		}
		path := strings.TrimPrefix(a.query.Link, "${api:raw}")
		for name, value := range a.series[at].labels {
			path = strings.ReplaceAll(path, "${__data.fields."+name+"}", url.QueryEscape(value))
		}
		status, text, err := i.get(i.t.Context(), path)
		var table struct{ Rows []map[string]any }
		if err := errors.Join(err, json.Unmarshal([]byte(text), &table)); err != nil || status != http.StatusOK {
			i.t.Errorf("%s leads to %s, which answers %d %s (%v)", a.name, path, status, text, err)
			continue
		}
		if len(table.Rows) != 1 || table.Rows[0]["fingerprint"] != a.series[at].labels["fingerprint"] || !strings.Contains(text, "trace_id") {
			i.t.Errorf("%s leads to %s, which shows %s, want the group with sample traces", a.name, path, text)
		}
		followed++
	}
	if followed < 2 {
		i.t.Errorf("%d links were followed, want one of each table", followed)
	}
}

// checkTraces follows an exemplar of every query that asked for some: to the page that the
// data source links to, and to what that page shows.
func (i *instance) checkTraces(answers []answer) {
	i.t.Helper()
	for _, a := range answers {
		if len(a.traces) == 0 {
			continue
		}
		id := url.PathEscape(a.traces[0])
		for _, path := range []string{"/traces/" + id, "/api/traces/" + id} {
			if status, text, err := i.get(i.t.Context(), path); err != nil || status != http.StatusOK {
				i.t.Errorf("an exemplar of %s leads to %s, which answers %d %.200s (%v)", a.name, path, status, text, err)
			}
		}
	}
}

// receive has a queue that nobody reads and one whose messages are not acknowledged, for
// globex, and takes away the one for what no queue is bound for, as of initech.
func (s *showcase) receive() {
	s.t.Helper()
	conn, err := amqp.Dial(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, queue := range []string{"waiting", "held"} {
		_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
		if err := errors.Join(err, ch.QueueBind(queue, "*.globex.#", "error_event", false, nil)); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := ch.Consume("held", "", false, false, false, false, nil); err != nil {
		s.t.Fatal(err)
	}
	if _, err := ch.QueueDelete("error_event.unrouted", false, false, false); err != nil {
		s.t.Fatal(err)
	}
}

// groupSize is how many errors each new group has.
const groupSize = 10

// newMessage returns an error message like none before. It has neither digits nor
// anything else that is taken out of templates.
func (s *showcase) newMessage() string {
	s.news++
	word := strings.Map(func(digit rune) rune { return digit - '0' + 'm' }, fmt.Sprintf("%04d", s.news))
	return "no answer from " + word
}

// emit sends an event of a tenant, which has failed if there is a message.
func (s *showcase) emit(w *traffic, tenant, message string) {
	s.n++
	now := time.Now()
	e := map[string]any{
		"event_id": fmt.Sprint(s.name, s.n), "timestamp": now.UTC().Format(time.RFC3339Nano), "event_type": "llm_call_completed",
		"trace_id": fmt.Sprintf("%032x", s.n), "tenant": tenant, "app": "chat", "stage": "generate", "status": "ok", "latency_ms": 12,
	}
	if message != "" {
		e["status"], e["error"] = "error", map[string]string{"type": "Timeout", "message": message}
	}
	value, err := json.Marshal(e)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.send(generate.Record{Topic: s.topics[0].Name, Partition: int32(s.n % 2), Value: value, Timestamp: now, Outcome: generate.Counted})
}

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/internal/deploy"
	"ragstreams/verify"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// composition is docker-compose.yml without Docker: its programs with the environment that
// it gives them, on servers of the test.
type composition struct {
	*deploy.Compose
	t        *testing.T
	replace  *strings.Replacer // of addresses and paths within containers
	own      string            // folder in place of own/
	login    map[string]string
	rabbit   *servers.RabbitMQ
	kafka    *servers.Kafka
	address  string // of analytics
	analytic *instance
}

func compose(t *testing.T) *composition {
	t.Helper()
	file, err := deploy.Read(site.Root)
	if err != nil {
		t.Fatal(err)
	}
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	c := &composition{
		Compose: file, t: t, own: t.TempDir(), login: map[string]string{"RABBITMQ_USER": "ragstreams", "RABBITMQ_PASSWORD": "s3cret"}, address: fmt.Sprintf("127.0.0.1:%d", port),
		kafka: ownBroker(t, "kafka-"+t.Name(), "auto.create.topics.enable=false\n"), rabbit: ownRabbitMQ(t, "rabbitmq-"+t.Name()),
	}
	pairs := []string{
		"kafka:9092", c.kafka.Address, "0.0.0.0:8080", c.address,
		"rabbitmq:5672", fmt.Sprintf("127.0.0.1:%d", c.rabbit.Port), "rabbitmq:15672", fmt.Sprintf("127.0.0.1:%d", c.rabbit.Port+1),
	}
	if err := os.Mkdir(filepath.Join(c.own, "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.replace = strings.NewReplacer(append(pairs, "/etc/ragstreams", c.mounted())...)
	c.importDefinitions()
	return c
}

// mounted returns a folder with what is mounted in analytics, which is all below
// /etc/ragstreams: it leads to the files of the repository, but what is in own/ is of the
// test.
func (c *composition) mounted() string {
	c.t.Helper()
	mounts, err := c.Services["analytics"].Mounts()
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	for _, m := range mounts {
		within, inside := strings.CutPrefix(m.Target, "/etc/ragstreams/")
		source, at := filepath.Join(c.Root, m.Source), filepath.Join(dir, within)
		if strings.HasPrefix(m.Source, "./own/") {
			source = filepath.Join(c.own, strings.TrimPrefix(m.Source, "./own/"))
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(source, at)); err != nil || !inside {
			c.t.Fatalf("%+v: %v", m, err)
		}
	}
	return dir
}

// importDefinitions makes the user that the image of RabbitMQ makes when it starts, and
// imports as that user what is mounted.
func (c *composition) importDefinitions() {
	c.t.Helper()
	user, password := c.login["RABBITMQ_USER"], c.login["RABBITMQ_PASSWORD"]
	for _, args := range [][]string{{"add_user", user, password}, {"set_user_tags", user, "administrator"}, {"set_permissions", user, ".*", ".*", ".*"}} {
		if err := c.rabbit.Ctl(c.t.Context(), args...); err != nil {
			c.t.Fatal(err)
		}
	}
	path, err := c.HostPath(c.Services["rabbitmq-definitions"], "/definitions.json")
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer body.Close()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/api/definitions", c.rabbit.Port+1), body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		c.t.Fatalf("definitions: %s %s", res.Status, text)
	}
}

// environ is the environment of a service, and nothing else.
func (c *composition) environ(service string) []string {
	c.t.Helper()
	environ, err := c.Services[service].Environ(c.login)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range environ {
		environ[i] = c.replace.Replace(environ[i])
	}
	return environ
}

// program starts the program as a service does.
func (c *composition) program(service string) *servers.Program {
	c.t.Helper()
	p := site.Program("compose-"+service, binary, c.environ(service), c.Services[service].Command...)
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if p.Running() {
			if err := p.Kill(); err != nil {
				c.t.Error(err)
			}
		}
		if c.t.Failed() {
			c.t.Logf("last lines of the log of %s:\n%s", service, p.Tail(40))
		}
	})
	return p
}

// watch has a program of the service analytics asked.
func (c *composition) watch(p *servers.Program) {
	c.analytic = &instance{Program: p, Client: verify.Client{URL: "http://" + c.address}, t: c.t, name: "analytics", address: c.address}
}

// healthcheck asks as the container is asked.
func (c *composition) healthcheck(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, binary, c.Services["analytics"].Healthcheck.Test[2:]...)
	cmd.Env = c.environ("analytics")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// What docker-compose.yml describes works: analytics gets healthy, RabbitMQ has what it
// publishes to, traffic is counted, and an alert is in the queues that it is for.
func TestCompose(t *testing.T) {
	c := compose(t)
	if err := c.healthcheck(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("analytics is healthy before it has started: %v", err)
	}
	analytics := c.program("analytics")
	eventually(t, time.Minute, "analytics is healthy", c.healthcheck)
	c.watch(analytics)
	status, body, err := c.analytic.get(t.Context(), "/readyz")
	if err != nil || status != http.StatusOK || strings.Contains(body, "RabbitMQ") || strings.Contains(body, "exchange") {
		t.Errorf("%d %s, %v; want nothing of RabbitMQ: it has what is declared", status, body, err)
	}

	// Errors first: the rule wants them for a minute.
	c.fail(30)
	traffic := c.program("traffic")
	eventually(t, time.Minute, "traffic is counted", func(ctx context.Context) error {
		n, err := c.analytic.sum(ctx, "traffic", "count", map[string][]string{"total": {"true"}})
		if err == nil && n < 100 {
			err = fmt.Errorf("%v events", n)
		}
		return err
	})
	if err := traffic.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	for _, queue := range []string{"alerts.critical", "alerts.all"} {
		c.told(queue, "RagErrorRatioHigh", "critical.acme.chat.", 2*time.Minute)
	}
	eventually(t, 30*time.Second, "the queues are watched", func(ctx context.Context) error {
		got, err := c.analytic.watched(ctx)
		if err != nil {
			return err
		}
		for _, queue := range []string{"alerts.critical /", "alerts.all /", "alerts.dead /", "error_event.unrouted /"} {
			if _, ok := got["rabbitmq_queue_messages_ready"][queue]; !ok || got["rabbitmq_up"][""] != 1 {
				return fmt.Errorf("no %s in %v", queue, got["rabbitmq_queue_messages_ready"])
			}
		}
		return nil
	})
	if strings.Contains(analytics.Log(), "s3cret") {
		t.Errorf("the log holds a password:\n%s", analytics.Log())
	}
	if err := analytics.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if code, err := analytics.Wait(ctx); code != 0 || err != nil {
		t.Errorf("analytics ends with %d, %v", code, err)
	}
}

// Prometheus takes its configuration, and the rules that it leads to.
func TestComposePrometheus(t *testing.T) {
	file, err := deploy.Read(site.Root)
	if err != nil {
		t.Fatal(err)
	}
	s := file.Services["prometheus"]
	config, err := file.HostPath(s, "/etc/prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := file.HostPath(s, "/etc/prometheus/rules")
	if err != nil || rules == "" {
		t.Fatal("no rules are mounted", err)
	}
	moved := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(moved, []byte(strings.ReplaceAll(string(text), "/etc/prometheus/rules", rules)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", moved).CombinedOutput()
	if err != nil || !regexp.MustCompile(`\b[1-9]\d* rules found`).Match(out) {
		t.Errorf("promtool says %v:\n%s", err, out)
	}
}

// fail sends errors of a tenant to the first source topic.
func (c *composition) fail(n int) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka.Addresses()...))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for i := range n {
		value, err := json.Marshal(map[string]any{
			"event_id": fmt.Sprint("compose-", i), "timestamp": time.Now().UTC().Format(time.RFC3339Nano), "event_type": "llm_call", "tenant": "acme", "app": "chat",
			"stage": "generate", "status": "error", "error": map[string]string{"type": "Timeout", "message": "no answer from the model"},
		})
		if err != nil {
			c.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: "rag-traces", Value: value})
	}
	if err := client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// told waits for an alert of a name in a queue, whose routing key begins with a text.
func (c *composition) told(queue, name, key string, limit time.Duration) {
	c.t.Helper()
	conn, err := amqp.Dial(c.rabbit.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		c.t.Fatal(err)
	}
	var keys []string
	eventually(c.t, limit, name+" is in "+queue, func(context.Context) error {
		for {
			d, ok, err := ch.Get(queue, true)
			switch {
			case err != nil:
				return err
			case !ok:
				return fmt.Errorf("there were %v", keys)
			}
			keys = append(keys, d.RoutingKey)
			if strings.Contains(string(d.Body), name) && strings.HasPrefix(d.RoutingKey, key) {
				return nil
			}
		}
	})
}

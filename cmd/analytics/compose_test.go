package main

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ragstreams/internal/deploy"
)

// composed returns the settings of a service of docker-compose.yml, and the service.
func composed(t *testing.T, c *deploy.Compose, name string) (*settings, *deploy.Service) {
	t.Helper()
	s := c.Services[name]
	environ, err := s.Environ(map[string]string{"RABBITMQ_USER": "ragstreams", "RABBITMQ_PASSWORD": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := loadSettings("", environ)
	if err != nil {
		t.Fatal(err)
	}
	return got, s
}

// What docker-compose.yml tells the program is known to it, and leads to what is there.
func TestCompose(t *testing.T) {
	c, err := deploy.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	run, service := composed(t, c, "analytics")
	o := &run.app
	for name, pattern := range map[string]string{
		"grafana/rules/ragstreams.yaml": o.Rules, "own/rules/any.yaml": o.Rules, "grafana/alert-policy.yaml": o.AlertPolicy,
	} {
		at, err := service.Within(name)
		if found, bad := path.Match(pattern, at); err != nil || bad != nil || !found {
			t.Errorf("%s is at %q, and %s is read (%v)", name, at, pattern, errors.Join(err, bad))
		}
	}
	kafka := c.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"]
	if len(o.Kafka.Brokers) != 1 || !slices.Contains(strings.Split(kafka, ","), "INTERNAL://"+o.Kafka.Brokers[0]) {
		t.Errorf("brokers are %v, and Kafka advertises %s", o.Kafka.Brokers, kafka)
	}
	for address, port := range map[string]string{o.AMQP.URL: "5672", o.Watch.RabbitMQ.URL: "15672"} {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() != c.Services["rabbitmq"].Hostname || u.Port() != port {
			t.Errorf("RabbitMQ is asked at %s (%v), want port %s of the service", address, err, port)
		}
	}
	if user := "ragstreams:s3cret"; !strings.Contains(o.AMQP.URL, user+"@") || o.Watch.RabbitMQ.Username+":"+o.Watch.RabbitMQ.Password != user {
		t.Errorf("the login is not that of .env: %s, %+v", o.AMQP.URL, o.Watch.RabbitMQ)
	}
	host, port, _ := strings.Cut(o.HTTPListen, ":")
	if host != "0.0.0.0" || !slices.Contains(service.Ports, "127.0.0.1:"+port+":"+port) {
		t.Errorf("it listens on %s, and %v is published", o.HTTPListen, service.Ports)
	}

	traffic, _ := composed(t, c, "traffic")
	if !slices.Equal(traffic.app.Kafka.Brokers, o.Kafka.Brokers) || !slices.Equal(traffic.app.Sources, o.Sources) || !o.CreateTopics {
		t.Errorf("traffic goes to %v of %v, and %v of %v are read, and made: %v", traffic.app.Sources, traffic.app.Kafka.Brokers, o.Sources, o.Kafka.Brokers, o.CreateTopics)
	}
}

// Commands of docker-compose.yml are subcommands, with flags that they have.
func TestComposeCommands(t *testing.T) {
	c, err := deploy.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	ask := func(args []string) {
		t.Helper()
		asked[strings.Join(args, " ")] = true
		var out bytes.Buffer
		// Flags are read up to -h, which ends it.
		if err := run(t.Context(), environment{&out, &out, nil}, append(slices.Clone(args), "-h")); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("analytics %v: %v\n%s", args, err, out.String())
		}
	}
	for name, s := range c.Services {
		if s.Build == "" {
			continue
		}
		if len(s.Command) == 0 || len(s.Entrypoint) > 0 {
			t.Errorf("%s runs %v %v, want a subcommand", name, s.Entrypoint, s.Command)
			continue
		}
		ask(s.Command)
		if test := s.Healthcheck.Test; len(test) > 0 {
			if len(test) < 3 || test[0] != "CMD" || test[1] != "/analytics" {
				t.Errorf("%s is asked by %v", name, test)
				continue
			}
			ask(test[2:])
		}
	}
	want := []string{"generate --events 0 --rate 50", "healthcheck", "run"}
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, want) {
		t.Errorf("commands are %q, want %q", got, want)
	}
}

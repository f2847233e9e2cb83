package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const brokers = "ANALYTICS_KAFKA_BROKERS=127.0.0.1:9092"

func load(t *testing.T, file string, environ ...string) (*settings, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "analytics.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadSettings(path, environ)
}

func TestEnvironmentAloneIsEnough(t *testing.T) {
	s, err := load(t, "", brokers, "HOME=/", "ANALYTICS_SOURCES=a, b", "ANALYTICS_WINDOW_GRACE=90s", "ANALYTICS_INSTANCE=i1",
		"ANALYTICS_KAFKA_CREATE_TOPICS=true", "ANALYTICS_KAFKA_START=2025-01-02T03:04:05Z")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.app.Sources, "|"); got != "a|b" {
		t.Errorf("sources = %s", got)
	}
	if s.app.Grace != 90*time.Second || s.app.Instance != "i1" || !s.app.CreateTopics || s.app.Start.Time.Year() != 2025 {
		t.Errorf("options = %+v", s.app)
	}
}

func TestEnvironmentGoesBeforeTheFile(t *testing.T) {
	file := "kafka:\n  brokers: [a:1, b:2]\n  partitions: 8\nwindow.grace: 5s\nsources: [x]\n"
	s, err := load(t, file, "ANALYTICS_KAFKA_PARTITIONS=2")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.app.Kafka.Brokers) != 2 || s.app.Partitions != 2 || s.app.Grace != 5*time.Second || s.app.Sources[0] != "x" {
		t.Errorf("options = %+v", s.app)
	}
}

// One mistake a test: the message names the key, the value and what is accepted.
func TestMistakesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		environ    []string
		want       []string
	}{
		{"no brokers", "", nil, []string{"kafka.brokers is empty", "host:port"}},
		{"broker without port", "", []string{"ANALYTICS_KAFKA_BROKERS=kafka"}, []string{"kafka.brokers", `"kafka"`, "host:port"}},
		{"unknown key", "kafka:\n  broker: a:1\n", nil, []string{"analytics.yaml:2", `"kafka.broker"`, `"kafka.brokers"`}},
		{"unknown section", "kafak:\n  brokers: a:1\n", nil, []string{`"kafak"`, "did you mean"}},
		{"unknown variable", "", []string{brokers, "ANALYTICS_WINDOW_GRAZE=1s"}, []string{"ANALYTICS_WINDOW_GRAZE", "ANALYTICS_WINDOW_GRACE"}},
		{"not a duration", "", []string{brokers, "ANALYTICS_WINDOW_GRACE=60"}, []string{"ANALYTICS_WINDOW_GRACE", `window.grace is "60"`, "30s"}},
		{"not a number", "kafka.partitions: many\n", []string{brokers}, []string{":1:", `kafka.partitions is "many"`, "whole number"}},
		{"not a boolean", "", []string{brokers, "ANALYTICS_KAFKA_CREATE_TOPICS=ja"}, []string{`"ja"`, "true or false"}},
		{"out of range", "", []string{brokers, "ANALYTICS_KAFKA_PARTITIONS=0"}, []string{"kafka.partitions is 0", "1 to 1024"}},
		{"labels too short", "", []string{brokers, "ANALYTICS_LIMITS_LABEL_BYTES=15"}, []string{"limits.label_bytes is 15", "16 to 4096"}},
		{"labels too long", "", []string{brokers, "ANALYTICS_LIMITS_LABEL_BYTES=4097"}, []string{"limits.label_bytes is 4097", "16 to 4096"}},
		{"error groups", "", []string{brokers, "ANALYTICS_LIMITS_ERROR_GROUPS_PER_TENANT=-1"}, []string{"limits.error_groups_per_tenant is -1", "0 (no limit) or more"}},
		{"pane that does not fit an hour", "", []string{brokers, "ANALYTICS_WINDOW_PANE=7s"}, []string{"window.pane is 7s", "part of an hour"}},
		{"hours that end before panes", "", []string{brokers, "ANALYTICS_RETENTION_HOURS=1h"}, []string{"retention.hours is 1h0m0s", "retention.panes, 2h0m0s"}},
		{"start", "", []string{brokers, "ANALYTICS_KAFKA_START=newest"}, []string{`kafka.start is "newest"`, "earliest", "latest"}},
		{"log level", "", []string{brokers, "ANALYTICS_LOG_LEVEL=loud"}, []string{`log.level is "loud"`, "debug"}},
		{"mechanism", "", []string{brokers, "ANALYTICS_KAFKA_SASL_MECHANISM=GSSAPI"}, []string{`"GSSAPI"`, "SCRAM-SHA-512"}},
		{"TLS files without TLS", "", []string{brokers, "ANALYTICS_KAFKA_TLS_CA_FILE=ca.pem"}, []string{"TLS is off"}},
		{"AMQP address", "", []string{brokers, "ANALYTICS_AMQP_URL=http://rabbit"}, []string{"amqp.url", "amqp://"}},
		{"rules", "", []string{brokers, "ANALYTICS_RULES=[x"}, []string{"rules is", "rules/*.yaml"}},
		{"address", "", []string{brokers, "ANALYTICS_HTTP_LISTEN=8080"}, []string{`http.listen is "8080"`, "127.0.0.1:8080"}},
		{"not YAML", "a: [", []string{brokers}, []string{"is not YAML"}},
		{"a list", "- a\n", []string{brokers}, []string{"want keys and values"}},
		{"keys under a value", "kafka:\n  brokers:\n    a: 1\n", nil, []string{"kafka.brokers", "plain value"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, tt.environ...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	_, err := load(t, "kafka.partitions: many\nx: 1\n", "ANALYTICS_WINDOW_GRACE=60")
	if err == nil || strings.Count(err.Error(), "\n") < 2 {
		t.Errorf("error = %v, want three lines", err)
	}
}

// What text says of a setting, set must take, for every setting.
func TestSettingsReadWhatTheyShow(t *testing.T) {
	s, err := load(t, "", brokers)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range allSettings {
		before := one.text(s)
		if err := one.set(s, before); err != nil || one.text(s) != before {
			t.Errorf("%s: %q becomes %q, %v", one.key, before, one.text(s), err)
		}
		if one.help == "" {
			t.Errorf("%s has no help", one.key)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Second: "10s", time.Minute: "1m", 2*time.Hour + 5*time.Second: "2h0m5s", 0: "0s",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%d = %s, want %s", d, got, want)
		}
	}
}

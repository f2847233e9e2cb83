//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"
)

func tlsFile(name string) string { return filepath.Join(broker.Dir, "tls", name) }

// sasl is the configuration of a user with a password.
func sasl(mechanism, user, password string) []string {
	return saslOn(broker, mechanism, user, password)
}

func saslOn(on *servers.Kafka, mechanism, user, password string) []string {
	return []string{
		fmt.Sprintf("ANALYTICS_KAFKA_BROKERS=127.0.0.1:%d", on.Port+20),
		"ANALYTICS_KAFKA_TLS_ENABLED=true", "ANALYTICS_KAFKA_TLS_CA_FILE=" + filepath.Join(on.Dir, "tls", "ca.pem"),
		"ANALYTICS_KAFKA_SASL_MECHANISM=" + mechanism,
		"ANALYTICS_KAFKA_SASL_USERNAME=" + user, "ANALYTICS_KAFKA_SASL_PASSWORD=" + password,
	}
}

// TestSecurity: every way to log in works, with the least permissions; what a
// broker refuses ends the program with a reason.
func TestSecurity(t *testing.T) {
	for name, env := range map[string][]string{
		"SCRAM-SHA-256": sasl("SCRAM-SHA-256", "analytics", "analytics-secret"),
		"SCRAM-SHA-512": sasl("SCRAM-SHA-512", "analytics", "analytics-secret"),
		"PLAIN":         sasl("PLAIN", "analytics", "analytics-secret"),
		"mTLS": {
			fmt.Sprintf("ANALYTICS_KAFKA_BROKERS=127.0.0.1:%d", broker.Port+30),
			"ANALYTICS_KAFKA_TLS_ENABLED=true", "ANALYTICS_KAFKA_TLS_CA_FILE=" + tlsFile("ca.pem"),
			"ANALYTICS_KAFKA_TLS_CERT_FILE=" + tlsFile("analytics.pem"), "ANALYTICS_KAFKA_TLS_KEY_FILE=" + tlsFile("analytics.key"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeployment(t, []int32{2})
			grants, _ := d.needed(env, "analytics", "run,create")
			d.allow("analytics", grants...)
			g := generate.New(generate.Config{Seed: 1, Step: time.Millisecond, Start: startOf(2000, time.Millisecond), Topics: d.topics})
			d.traffic().all(g, 2000)
			a := d.instance("a", env...).start()
			a.agree(g.Truth(), 40*time.Second)
			a.stop()
		})
	}
	for _, tt := range []struct {
		name string
		env  []string
		want []string // in the log, in any case
	}{
		{"wrong password", sasl("SCRAM-SHA-512", "analytics", "wrong"), []string{"sasl", "authenti"}},
		{"wrong PLAIN password", sasl("PLAIN", "analytics", "wrong"), []string{"sasl", "authenti"}},
		{"no permissions", sasl("SCRAM-SHA-512", "stranger", "stranger-secret"), []string{"not authorised", "analytics-events", "analytics check --acls"}},
		{"unknown authority", append(sasl("PLAIN", "analytics", "analytics-secret"), "ANALYTICS_KAFKA_TLS_CA_FILE="+tlsFile("analytics.pem")),
			[]string{"certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDeployment(t, []int32{2})
			log := strings.ToLower(d.instance("a", tt.env...).start().ends(20 * time.Second))
			for _, want := range tt.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %q:\n%s", want, log)
				}
			}
			if strings.Contains(log, "analytics-secret") || strings.Contains(log, "stranger-secret") {
				t.Errorf("the log holds a password:\n%s", log)
			}
		})
	}
}

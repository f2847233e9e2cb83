//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ragstreams/e2e/servers"
)

// What all tests share: one broker, which also has the encrypted listeners, and
// the binary. Each test has topics and a prefix of its own.
var (
	site   *servers.Site
	broker *servers.Kafka
	binary string
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests that run at the same time wait for most of theirs.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if site, err = servers.Open("ragstreams-e2e"); err != nil {
		return 1, err
	}
	defer func() {
		if closing := site.Close(); err == nil {
			err = closing
		}
		if code == 0 && err == nil && os.Getenv("E2E_KEEP") == "" {
			err = os.RemoveAll(site.Dir)
		} else {
			fmt.Fprintln(os.Stderr, "e2e: logs are in", site.Dir)
		}
	}()
	var flags []string
	if os.Getenv("E2E_RACE") != "" {
		flags = append(flags, "-race")
	}
	if binary, err = site.Build(ctx, "./cmd/analytics", flags...); err != nil {
		return 1, err
	}
	broker, err = site.Kafka(ctx, "kafka", "KAFKA_SECURE=1", "KAFKA_PROXIED=1",
		"KAFKA_USERS=admin:admin-secret,analytics:analytics-secret,stranger:stranger-secret")
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// ownBroker starts a broker with settings of its own, for a test that does to it
// what the others would not survive.
func ownBroker(t testing.TB, name, settings string, env ...string) *servers.Kafka {
	t.Helper()
	extra := filepath.Join(t.TempDir(), "broker.properties")
	if err := os.WriteFile(extra, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := site.Kafka(t.Context(), name, append(env, "KAFKA_EXTRA="+extra)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return k
}

// need installs a tool that is missing.
func need(t testing.TB, tool string) {
	t.Helper()
	script := filepath.Join(site.Root, "e2e", "servers", "install.sh")
	if out, err := exec.CommandContext(t.Context(), script, tool).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v %s", script, tool, err, out)
	}
}

// eventually asks check again and again until it returns nil. When limit has
// passed the test ends with what it returned last.
func eventually(t testing.TB, limit time.Duration, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

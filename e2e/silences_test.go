//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// amtool runs Alertmanager's command against an instance.
func amtool(t testing.TB, i *instance, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "amtool", append(args, "--alertmanager.url", i.URL)...)
	var stderr strings.Builder // it warns of our version
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("amtool %v: %v\n%s%s", args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// shows waits until amtool finds an alert of a tenant on an instance, with some flags.
func (i *instance) shows(tenant string, flags ...string) {
	i.t.Helper()
	eventually(i.t, 20*time.Second, fmt.Sprintf("alert of %s is shown, %v", tenant, flags), func(context.Context) error {
		out := amtool(i.t, i, append([]string{"alert", "query", "-o", "json", "tenant=" + tenant}, flags...)...)
		var list []struct{ Labels map[string]string }
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].Labels["tenant"] != tenant {
			return fmt.Errorf("amtool shows %s (%v)", out, err)
		}
		return nil
	})
}

// analytics runs the program against an instance.
func analytics(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("analytics %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Silences hold on every instance and across restarts, whoever made them where; what is
// silenced is seen, and told once it is not; an alert that explains others inhibits them.
func TestSilences(t *testing.T) {
	need(t, "amtool")
	policy := filepath.Join(t.TempDir(), "policy.yml")
	const inhibit = `
repeat_interval: 20s
inhibit_rules:
- source_matchers: [tenant=cause]
  target_matchers: [tenant=effect]
`
	if err := os.WriteFile(policy, []byte(inhibit), 0o644); err != nil {
		t.Fatal(err)
	}
	a := newAlarm(t, errorRules("10m"), "ANALYTICS_ALERTS_POLICY="+policy)
	one, two := a.instance("a").start(), a.instance("b").start()
	one.ready(time.Minute)
	two.ready(time.Minute)
	a.fail("first", 20) // which declares the exchange
	a.inbox("error_event.unrouted").await(t, 30*time.Second, "first", "firing")
	pages := a.inbox("pages", "page.#")

	acme := analytics(t, "silence", "add", "--url", two.URL, "--by", "ana", "--comment", "deploy", "--for", "1h", "tenant=acme")
	globex := amtool(t, one, "silence", "add", "--author", "ben", "--comment", "known", "--duration", "1h", "tenant=globex")
	for _, tenant := range []string{"acme", "globex", "initech", "cause"} {
		a.fail(tenant, 20)
	}
	pages.await(t, 20*time.Second, "initech", "firing")
	pages.await(t, 20*time.Second, "cause", "firing")
	a.fail("effect", 20)
	for _, i := range []*instance{one, two} {
		i.shows("acme", "--silenced")
		i.shows("globex", "--silenced")
		i.shows("effect", "--inhibited")
		i.shows("initech", "--active")
	}

	// The instances end, one by one and all at once; who is silenced stays it.
	for _, i := range []*instance{one, two} {
		a.kill(i)
	}
	for _, i := range []*instance{one, two} {
		i.start().ready(time.Minute)
	}
	one.shows("acme", "--silenced")
	pages.await(t, time.Second, "acme")
	pages.await(t, time.Second, "globex")
	pages.await(t, time.Second, "effect")

	analytics(t, "silence", "expire", "--url", one.URL, "--by", "ana", "--comment", "done", acme)
	amtool(t, two, "silence", "expire", globex)
	pages.await(t, 20*time.Second, "acme", "firing")
	pages.await(t, 20*time.Second, "globex", "firing")
	var said struct {
		Reason string
		Repeat int
	}
	for _, d := range pages.messages() {
		if strings.Contains(d.RoutingKey, ".acme.") {
			if err := json.Unmarshal(d.Body, &said); err != nil || said.Reason != "unsuppressed" {
				t.Errorf("told: %s (%v)", d.Body, err)
			}
		}
	}
	history := analytics(t, "silence", "list", "--all", "--url", two.URL)
	for _, want := range []string{acme + "  expired", "created by ana: deploy", "expired by ana: done", "created by ben: known", "expired by someone at 127.0.0.1"} {
		if !strings.Contains(history, want) {
			t.Errorf("the silences do not tell %q:\n%s", want, history)
		}
	}

	// What goes on is told again.
	pages.await(t, 60*time.Second, "initech", "firing", "firing")

	// A policy that changes is read: nothing inhibits the effect any more.
	if err := os.WriteFile(policy, []byte("repeat_interval: 1h"), 0o644); err != nil {
		t.Fatal(err)
	}
	pages.await(t, 40*time.Second, "effect", "firing")
	if copies := a.checkTold(pages, "acme", "globex", "effect"); copies > 0 {
		t.Logf("%d messages came twice, from before the kills", copies)
	}
}

package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/metrics"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ruleFolder is rule files that change.
type ruleFolder struct {
	*testing.T
	dir   string
	files *ruleFiles
	reg   *prometheus.Registry
}

const oneRule, twoRules, badRule = "groups: [{name: g, rules: [{alert: A, expr: x > 1}]}]",
	"groups: [{name: g, rules: [{alert: A, expr: x > 1}, {alert: B, expr: x > 2}]}]", "groups: [{name: g, rules: [{alert: A, expr: 'x >'}]}]"

func newRuleFolder(t *testing.T) *ruleFolder {
	t.Helper()
	f := &ruleFolder{T: t, dir: t.TempDir(), reg: prometheus.NewRegistry()}
	f.write("a.yaml", oneRule)
	o := &Options{Logger: slog.New(slog.DiscardHandler)}
	f.files = &ruleFiles{
		pattern: filepath.Join(f.dir, "*.yaml"), observer: metrics.NewAlerts(f.reg),
		stages: &stages{o: o, notes: newStatus(), status: newStatus()},
	}
	if err := f.files.open(); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *ruleFolder) write(name, content string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o644); err != nil {
		f.Fatal(err)
	}
}

// want checks how many rules are in use, and what is said of the newest files.
func (f *ruleFolder) want(rules int, fault string) {
	f.Helper()
	if n := f.files.current().set.Len(); n != rules {
		f.Errorf("%d rules, want %d", n, rules)
	}
	notes := strings.Join(f.files.stages.notes.missing(), "\n")
	if (notes == "") != (fault == "") || !strings.Contains(notes, fault) {
		f.Errorf("notes %q, want %q", notes, fault)
	}
	ok := "1"
	if fault != "" {
		ok = "0"
	}
	if err := testutil.GatherAndCompare(f.reg, strings.NewReader(`
# HELP analytics_rules_reload_success Whether the newest rule files could be used; 0: those before are in use.
# TYPE analytics_rules_reload_success gauge
analytics_rules_reload_success `+ok+"\n"), "analytics_rules_reload_success"); err != nil {
		f.Error(err)
	}
}

// Files are taken in all together or not at all.
func TestRulesAreReadAgain(t *testing.T) {
	f := newRuleFolder(t)
	f.want(1, "")
	f.write("b.yaml", twoRules)
	f.write("c.yaml", badRule)
	if err := f.files.reload("test"); err == nil {
		t.Error("a mistake is no error")
	}
	f.want(1, "c.yaml")
	f.write("c.yaml", twoRules)
	if err := f.files.reload("test"); err != nil {
		t.Error(err)
	}
	f.want(5, "")
}

// The policy is read with the rules: a mistake in it keeps those before, too.
func TestPolicyIsReadWithRules(t *testing.T) {
	f := newRuleFolder(t)
	f.files.policy = filepath.Join(f.dir, "policy.yml")
	if err := f.files.open(); err == nil {
		t.Error("a policy that is not there is no error")
	}
	repeat := func() time.Duration { return f.files.current().policy.Repeat(nil) }
	f.write("policy.yml", "repeat_interval: 1h")
	if err := f.files.open(); err != nil || repeat() != time.Hour {
		t.Errorf("read: every %s (%v)", repeat(), err)
	}
	seen := f.files.digest()
	f.write("policy.yml", "repeat_intervals: 2h")
	if f.files.digest() == seen {
		t.Error("a policy that changes is not seen")
	}
	f.write("b.yaml", twoRules)
	if err := f.files.reload("test"); err == nil || repeat() != time.Hour {
		t.Errorf("a mistake: every %s (%v)", repeat(), err)
	}
	f.want(1, "policy.yml")
	f.write("policy.yml", "repeat_interval: 2h")
	if err := f.files.reload("test"); err != nil || repeat() != 2*time.Hour || string(f.files.current().policyText) != "repeat_interval: 2h" {
		t.Errorf("mended: every %s (%v)", repeat(), err)
	}
	f.want(3, "")
}

func TestRulesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newRuleFolder(t)
		ctx, cancel := context.WithCancel(t.Context())
		asked, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); _ = f.files.watch(ctx, asked) }()
		after := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		f.write("a.yaml", twoRules)
		after(rulesInterval + 1)
		f.want(1, "") // it may still be written
		after(rulesInterval)
		f.want(2, "")
		f.write("a.yaml", badRule)
		after(2 * rulesInterval)
		f.want(2, "a.yaml")
		f.write("a.yaml", oneRule)
		asked <- struct{}{} // sooner than that
		synctest.Wait()
		f.want(1, "")
		if err := os.Remove(filepath.Join(f.dir, "a.yaml")); err != nil {
			t.Fatal(err)
		}
		after(2 * rulesInterval)
		f.want(1, "no file matches")
		cancel()
		<-done
	})
}

func TestRulesAreReadAgainByRequest(t *testing.T) {
	f := newRuleFolder(t)
	ask := func(files *ruleFiles) (int, string) {
		w := httptest.NewRecorder()
		files.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/-/reload", nil))
		return w.Code, w.Body.String()
	}
	f.write("a.yaml", twoRules)
	if code, body := ask(f.files); code != 200 || body != "2 rules are in use\n" {
		t.Errorf("%d %s", code, body)
	}
	f.write("a.yaml", badRule)
	if code, body := ask(f.files); code != 422 || !strings.Contains(body, "a.yaml") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(nil); code != 422 || !strings.Contains(body, "no rules are configured") {
		t.Errorf("%d %s", code, body)
	}
}

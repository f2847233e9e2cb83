//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ragstreams/internal/deploy"
)

// docker does what the guide asks of docker, on servers of the test.
const docker = `#!/usr/bin/env bash
# docker compose exec|run [flags] SERVICE COMMAND
set -euo pipefail
how=$2
shift 2
while [[ $1 == -* ]]; do
    [[ $1 != -e ]] || { export "$2"; shift; }
    shift
done
service=$1
shift
case "$service $how $1" in
    "kafka exec /opt/kafka/bin/kafka-console-producer.sh") exec java $KAFKA_HEAP_OPTS -cp "$JARS/*" org.apache.kafka.tools.ConsoleProducer "${@:2}" ;;
    "rabbitmq exec rabbitmqctl") exec "$RABBITMQ" ctl "$RABBITMQ_DIR" "${@:2}" ;;
    "analytics exec /analytics") shift ;;
    "analytics run "*) ;;
    *) echo "no $how of $service: $*" >&2; exit 1 ;;
esac
[[ $1 != silence ]] || set -- "$1" "$2" --url "$ANALYTICS" "${@:3}"
exec "$BINARY" "$@"
`

// beginner is who goes through the guide.
type beginner struct {
	*composition
	environ []string
	text    string
	blocks  []deploy.Block
}

func newBeginner(t *testing.T) *beginner {
	t.Helper()
	need(t, "java")
	r := &beginner{composition: compose(t)}
	var err error
	if r.text, r.blocks, err = deploy.ReadGuide(site.Root); err != nil {
		t.Fatal(err)
	}
	scripts := filepath.Join(site.Root, "e2e", "servers")
	jars, err := exec.CommandContext(t.Context(), filepath.Join(scripts, "kafka.sh"), "jars").Output()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	r.environ = append(r.composition.environ("analytics"), "HOME="+os.Getenv("HOME"), "PATH="+bin+":"+os.Getenv("PATH"), "BINARY="+binary, "ANALYTICS=http://"+r.address,
		"JARS="+strings.TrimSpace(string(jars)), "RABBITMQ="+filepath.Join(scripts, "rabbitmq.sh"), "RABBITMQ_DIR="+r.rabbit.Dir)
	return r
}

// block returns the only block that holds a text.
func (r *beginner) block(text string) string {
	r.t.Helper()
	var found []string
	for _, b := range r.blocks {
		if strings.Contains(b.Text, text) {
			found = append(found, b.Text)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("%d blocks of the guide hold %q", len(found), text)
	}
	return found[0]
}

// do does what the block says that holds a text, and returns what it prints.
func (r *beginner) do(ctx context.Context, text string) (string, error) {
	script := strings.ReplaceAll(r.replace.Replace(r.block(text)), "127.0.0.1:8080", r.address)
	cmd := exec.CommandContext(ctx, "sh", "-ec", script)
	cmd.Env = r.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return string(out), err
}

// check does it and wants what is printed to match all expressions.
func (r *beginner) check(ctx context.Context, text string, want ...string) error {
	out, err := r.do(ctx, text)
	for _, expr := range want {
		if err == nil && !regexp.MustCompile(expr).MatchString(out) {
			err = fmt.Errorf("no %s in %s", expr, out)
		}
	}
	return err
}

// once does it once.
func (r *beginner) once(text string, want ...string) {
	r.t.Helper()
	if err := r.check(r.t.Context(), text, want...); err != nil {
		r.t.Fatal(err)
	}
}

// see does it until there is what the guide says.
func (r *beginner) see(limit time.Duration, text string, want ...string) {
	r.t.Helper()
	begin := time.Now()
	eventually(r.t, limit, text, func(ctx context.Context) error { return r.check(ctx, text, want...) })
	r.t.Logf("%s: after %s", text, time.Since(begin).Round(time.Millisecond))
}

// write writes the files that the guide has people write in a folder of own/.
func (r *beginner) write(folder string) {
	r.t.Helper()
	n := 0
	for _, b := range r.blocks {
		if name, ok := strings.CutPrefix(b.File, "own/"+folder+"/"); ok {
			n++
			if err := os.WriteFile(filepath.Join(r.own, folder, name), []byte(b.Text), 0o644); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	if n == 0 {
		r.t.Fatalf("the guide writes nothing to own/%s", folder)
	}
}

// Whoever goes through the guide sees what it says, within the time that it says.
func TestGuide(t *testing.T) {
	t.Parallel()
	r := newBeginner(t)
	r.watch(r.program("analytics"))
	eventually(t, time.Minute, "analytics is healthy", r.healthcheck)

	r.once(`"trace_id":"guide-1"`, `^>*$`)
	r.see(10*time.Second, "/api/tables/traffic?", `"tenant":"me","app":"guide","event_type":"llm_call_completed","count":1,"errors":0`, `"trace_id":"guide-1","found":true`)

	r.write("rules")
	r.once("rules test", `^\S+/own/guide\.test\.yml: ok\n$`)
	r.see(30*time.Second, "rules backtest", `No alert would have fired\.`, `GuideErrorRatioHigh +guide +0`)
	eventually(t, 10*time.Second, "the rule is in use", func(ctx context.Context) error {
		_, text, err := r.analytic.get(ctx, "/metrics")
		if err == nil && strings.Contains(text, "\nanalytics_rules_reload_success 0\n") {
			err = errors.New("rule files are refused")
		}
		if err == nil && !strings.Contains(r.analytic.Log(), "rules are read again") {
			err = errors.New("rules were not read again")
		}
		return err
	})
	r.once("seq 40", `^$`)
	r.see(40*time.Second, "/api/v2/alerts?", `"alertname":"GuideErrorRatioHigh"`, `alerts\.all\t[1-9]`)
	r.see(30*time.Second, "rules backtest", `GuideErrorRatioHigh +guide +1`)
	r.once("silence add", `^[0-9a-f-]{36}\n`, `active +\{?alertname="GuideErrorRatioHigh"`, `by me: trying the guide`)
	r.see(10*time.Second, "/api/v2/alerts?", `"state":"suppressed"`)
	if key := regexp.MustCompile("routing key is `([^`]+)`").FindStringSubmatch(r.text); key == nil {
		t.Error("the guide says no routing key")
	} else {
		r.told("alerts.all", "GuideErrorRatioHigh", key[1], 10*time.Second)
	}
	r.told("alerts.critical", "RagErrorRatioHigh", "critical.me.guide.", time.Minute)

	for _, m := range regexp.MustCompile(`http://127\.0\.0\.1:8080(/[^\s',]*)`).FindAllStringSubmatch(r.text, -1) {
		if status, body, err := r.analytic.get(t.Context(), m[1]); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s, %v", m[1], status, body, err)
		}
	}
}

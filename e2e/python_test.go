//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
)

// kafkaPython is the version of the package that is tested.
const kafkaPython = "kafka-python==3.0.12"

// python installs a package and returns a function that runs a script with it.
func python(t testing.TB, pkg, script string) func(stdin string, args ...string) string {
	t.Helper()
	run := func(stdin, name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
		}
		return stdout.String()
	}
	venv := filepath.Join(site.Dir, "python")
	run("", "python3", "-m", "venv", venv)
	run("", filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", pkg)
	return func(stdin string, args ...string) string {
		t.Helper()
		return run(stdin, filepath.Join(venv, "bin", "python"), append([]string{script}, args...)...)
	}
}

// TestKafkaPythonUnchanged: a Kotaemon-like service sends without keys and reads
// the side topics, with the library it has.
func TestKafkaPythonUnchanged(t *testing.T) {
	py := python(t, kafkaPython, "testdata/kafka_python.py")
	d := newDeployment(t, []int32{1})
	topic := d.topics[0].Name
	truth := generate.NewTruth(10 * time.Second)
	var lines []string
	send := func(outcome, reason, line string) {
		lines = append(lines, line)
		truth.Records[generate.RecordsKey{Topic: topic, Outcome: outcome, Reason: reason}]++
	}
	side := map[string]string{} // value → topic
	const n = 500
	start := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	query := func(i int, at time.Time) string {
		return fmt.Sprintf(`{"event_type":"user_query","session_id":"sess-%d","query":"如何重置密码?","timestamp":%q}`, i, at.UTC().Format(time.RFC3339))
	}
	for i := range n {
		at := start.Add(time.Duration(i) * time.Second)
		send(generate.Counted, "", query(i, at))
		pane := at.Truncate(10 * time.Second).UnixMilli()
		if truth.Windows[pane] == nil {
			truth.Windows[pane] = &generate.Measures{
				Traffic: generate.Table[generate.TrafficKey, *generate.Traffic]{{EventType: "user_query"}: {}},
			}
		}
		truth.Windows[pane].Traffic[generate.TrafficKey{EventType: "user_query"}].Count++
		if i%100 == 99 {
			late := query(i, at.Add(-2*time.Minute))
			send(generate.Late, "", late)
			side[late] = d.prefix + "late"
			poison := fmt.Sprintf("Traceback (most recent call last): %d", i)
			send(generate.Poison, generate.Syntax, poison)
			side[poison] = d.prefix + "dlq"
		}
	}
	if got := strings.TrimSpace(py(strings.Join(lines, "\n")+"\n", "produce", broker.Address, topic)); got != fmt.Sprint(len(lines)) {
		t.Fatalf("kafka-python has sent %s records, want %d", got, len(lines))
	}
	a := d.instance("a").start()
	a.agree(truth, 30*time.Second)

	out := py("", "consume", broker.Address, fmt.Sprint(len(side)), d.prefix+"late", d.prefix+"dlq")
	for line := range strings.Lines(out) {
		var r struct {
			Topic   string
			Keyed   bool
			Value   []byte
			Headers map[string]string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if want := side[string(r.Value)]; want != r.Topic || r.Keyed || r.Headers["source_topic"] != topic || r.Headers["reason"] == "" {
			t.Errorf("kafka-python read %s, want it on %q, without a key, with its source and a reason", line, want)
		}
		delete(side, string(r.Value))
	}
	for value, topic := range side {
		t.Errorf("kafka-python did not find %q on %s", value, topic)
	}
	a.stop()
}

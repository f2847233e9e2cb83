package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// acls runs check --acls with a configuration of everything.
func acls(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return aclsWith(t, nil, args...)
}

// aclsWith runs it with more variables.
func aclsWith(t *testing.T, more []string, args ...string) (string, error) {
	t.Helper()
	topology := filepath.Join(t.TempDir(), "topology.yaml")
	if err := os.WriteFile(topology, []byte(`queues: [{name: "ana's", bind: ["#"]}]`), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	environ := append([]string{
		"ANALYTICS_INSTANCE=a", "ANALYTICS_SOURCES=traces,logs", "ANALYTICS_KAFKA_PREFIX=team-", "ANALYTICS_KAFKA_BROKERS=192.0.2.1:9092,192.0.2.2:9092",
		"ANALYTICS_KAFKA_SASL_MECHANISM=PLAIN", "ANALYTICS_KAFKA_SASL_USERNAME=ana", "ANALYTICS_KAFKA_SASL_PASSWORD=secret1",
		"ANALYTICS_RULES=not-there/*.yaml", "ANALYTICS_AMQP_URL=amqp://ben:secret2@192.0.2.3/", "ANALYTICS_AMQP_TOPOLOGY=" + topology,
		"ANALYTICS_WATCH_RABBITMQ_URL=http://192.0.2.3:15672", "ANALYTICS_WATCH_RABBITMQ_USERNAME=carl", "ANALYTICS_WATCH_RABBITMQ_PASSWORD=secret3",
		"ANALYTICS_WATCH_GROUPS=billing",
	}, more...)
	err := run(t.Context(), environment{&out, &out, environ}, append([]string{"check", "--acls"}, args...))
	if strings.Contains(out.String(), "secret") {
		t.Errorf("%v tells a password:\n%s", args, out.String())
	}
	return out.String(), err
}

// What is printed is for people who grant it: an entry a line, by role, without a connection.
func TestACLs(t *testing.T) {
	out, err := acls(t)
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	lines := map[string]bool{}
	for line := range strings.Lines(out) {
		lines[strings.Join(strings.Fields(line), " ")] = true
		if line[0] == '[' {
			sections = append(sections, line[:strings.Index(line, "]")+1])
		}
	}
	if want := []string{"[run]", "[create]", "[inspect]", "[replay]", "[generate]"}; !slices.Equal(sections, want) {
		t.Errorf("sections %v, want %v", sections, want)
	}
	for _, want := range []string{
		"[run] User:ana: analytics run, with what it answers over HTTP but replays; analytics check",
		"topic LITERAL team-events Read,Write,Delete,DescribeConfigs ingest writes; assemble reads; purged",
		"topic LITERAL traces Read ingest reads",
		"topic LITERAL traces Write,Create traffic; made where it is missing",
		"group LITERAL billing Describe lag",
		"transactional-id PREFIXED team-ingest-traces- Write ingest",
		`rabbitmqctl set_permissions -p / ben '^(ana'\''s|error_event|error_event\.unrouted)$' '^(ana'\''s|error_event|error_event\.unrouted)$' '^(error_event|error_event\.unrouted)$'`,
		"rabbitmqctl set_user_tags carl monitoring",
		"rabbitmqctl set_permissions -p / carl '^$' '^$' '^$'",
	} {
		if !lines[want] {
			t.Errorf("no line is %s in\n%s", want, out)
		}
	}
	out, err = acls(t, "--role", "replay,create", "--principal", "User:CN=ana,O=team")
	if err != nil || !strings.HasPrefix(out, "[replay] User:CN=ana,O=team: ") || !strings.Contains(out, "\n\n[create] ") || strings.Contains(out, "[run]") || strings.Contains(out, "rabbitmqctl") {
		t.Errorf("%v:\n%s", err, out)
	}
	// One user for both must not lose with the second command what the first gave.
	out, err = aclsWith(t, []string{"ANALYTICS_WATCH_RABBITMQ_USERNAME=ben"}, "--role", "run")
	if err != nil || strings.Count(out, "rabbitmqctl set_permissions") != 1 || !strings.Contains(out, "rabbitmqctl set_user_tags ben monitoring") {
		t.Errorf("%v:\n%s", err, out)
	}
	// The other one is shown the queues of the virtual host that alerts go to.
	out, err = aclsWith(t, []string{"ANALYTICS_AMQP_URL=amqp://ben:secret@rabbit/team"}, "--role", "run")
	if want := `rabbitmqctl set_permissions -p team carl '^$' '^$' '^$'`; err != nil || !strings.Contains(out, want) {
		t.Errorf("%v, want %s in\n%s", err, want, out)
	}
	for want, args := range map[string][]string{
		`--role holds "admin": want some of run, create`:  {"--role", "run,admin"},
		`--format is "yaml": want text or commands`:       {"--format", "yaml"},
		`--principal is "ana": want a type and a name`:    {"--principal", "ana"},
		"takes no arguments, but got":                     {"run"},
		"--principal, --role and --format are for --acls": {"--acls=false", "--role", "run"},
		"flag provided but not defined: -principals":      {"--principals", "x"},
	} {
		if _, err := acls(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

// The commands are what a shell takes, and grant what the text says.
func TestACLCommands(t *testing.T) {
	script, err := acls(t, "--format", "commands", "--role", "run,create,inspect,replay,generate")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir() // commands that only tell what they are asked for
	for _, name := range []string{"kafka-acls.sh", "rabbitmqctl"} {
		tell := "#!/bin/sh\necho " + name + "\nprintf '%s\\n' \"$@\"\necho\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(tell), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	told, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, told, script)
	}
	var got []string
	for call := range strings.SplitSeq(strings.TrimSpace(string(told)), "\n\n") {
		words := strings.Split(call, "\n")
		if words[0] == "rabbitmqctl" {
			got = append(got, strings.Join(words, " "))
			continue
		}
		got = append(got, granted(t, words)...)
	}
	text, err := acls(t)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || line[0] == '[' || line[0] == '#':
		case words[0] == "rabbitmqctl": // as the shell has it
			want = append(want, strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(line), `'\''`, `"`), "'", ""))
		default:
			want = append(want, strings.Join(words[:4], " "))
		}
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], `"`, "'")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the commands grant\n%s\nand the text says\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Each starts a Java machine.
	if n := strings.Count(script, "kafka-acls.sh "); n > 20 {
		t.Errorf("there are %d commands", n)
	}
	// What only operators need is not granted unasked.
	if script, err = acls(t, "--format", "commands"); err != nil || strings.Count(script, "--topic traces") != 1 || !strings.Contains(script, "--operation Create") {
		t.Errorf("%v\n%s", err, script)
	}
}

// granted returns what a call of kafka-acls.sh grants, as lines of the text begin.
func granted(t *testing.T, words []string) (lines []string) {
	t.Helper()
	head := []string{"kafka-acls.sh", "--bootstrap-server", "192.0.2.1:9092,192.0.2.2:9092", "--command-config", "admin.properties", "--add", "--allow-principal", "User:ana", "--resource-pattern-type"}
	if len(words) < len(head)+3 || !slices.Equal(words[:len(head)], head) {
		t.Fatalf("command %v", words)
	}
	pattern := strings.ToUpper(words[len(head)])
	var operations []string
	for pair := range slices.Chunk(words[len(head)+1:], 2) {
		if pair[0] == "--operation" {
			operations = append(operations, pair[1])
			continue
		}
		lines = append(lines, strings.Join([]string{strings.TrimPrefix(pair[0], "--"), pattern, pair[1], strings.Join(operations, ",")}, " "))
	}
	return lines
}

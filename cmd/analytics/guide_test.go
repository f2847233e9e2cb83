package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ragstreams/alerts/match"
	"ragstreams/alerts/rules"
	"ragstreams/codecs"
	"ragstreams/event"
	"ragstreams/internal/deploy"
	"ragstreams/metrics"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// guide is docs/guide.md, and what it stands on.
type guide struct {
	*deploy.Compose
	t       *testing.T
	text    string
	blocks  []deploy.Block
	service *deploy.Service // analytics
	run     *settings       // of analytics
	own     string          // folder with the files that the guide has people write
}

func readGuide(t *testing.T) *guide {
	t.Helper()
	root := filepath.Join("..", "..")
	c, err := deploy.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{Compose: c, t: t, own: t.TempDir()}
	if g.text, g.blocks, err = deploy.ReadGuide(root); err != nil {
		t.Fatal(err)
	}
	g.run, g.service = composed(t, c, "analytics")
	for _, b := range g.blocks {
		if b.File != "" {
			g.write(b.File, b.Text)
		}
	}
	return g
}

// write writes a file of the repository, elsewhere.
func (g *guide) write(name, text string) {
	g.t.Helper()
	at := filepath.Join(g.own, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
		g.t.Fatal(err)
	}
}

// of returns the blocks of a language.
func (g *guide) of(language string) (blocks []deploy.Block) {
	g.t.Helper()
	for _, b := range g.blocks {
		if b.Language == language {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 {
		g.t.Fatalf("the guide has no %s", language)
	}
	return blocks
}

// What the guide asks of the program, README.md offers.
func TestGuideAddresses(t *testing.T) {
	g := readGuide(t)
	readme, err := os.ReadFile(filepath.Join(g.Root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`http://127\.0\.0\.1:8080(/[^\s',?]*)`).FindAllStringSubmatch(g.text, -1)
	for _, m := range asked {
		if dir := strings.TrimSuffix(path.Dir(m[1]), "/"); !strings.Contains(string(readme), "`"+m[1]+"`") && !strings.Contains(string(readme), "`"+dir+"/") {
			t.Errorf("README.md knows nothing at %s", m[1])
		}
	}
	if len(asked) < 5 {
		t.Errorf("%v are asked", asked)
	}
}

// No block of the guide is of a kind that no test reads.
func TestGuideBlocks(t *testing.T) {
	for _, b := range readGuide(t).blocks {
		switch b.Language + path.Ext(b.File) {
		case "sh", "promql", "json.json", "yaml.yaml", "yaml.yml":
		default:
			t.Errorf("line %d: %s %s is read by no test", b.Line, b.Language, b.File)
		}
	}
}

// Commands of the guide are there, with their flags, services, profiles and paths; and what
// they send is events of its tenant and app.
func TestGuideCommands(t *testing.T) {
	g := readGuide(t)
	events := 0
	for _, b := range g.of("sh") {
		commands, err := simpleCommands(b.Text)
		if err != nil {
			t.Errorf("line %d: %v", b.Line, err)
		}
		for _, words := range commands {
			switch words[0] {
			case "for": // for i in $(seq 40); do
				if !slices.Equal(words[:3], []string{"for", "i", "in"}) || len(words) != 4 || !regexp.MustCompile(`^\$\(seq \d+\)$`).MatchString(words[3]) {
					t.Errorf("line %d: %q", b.Line, words)
				}
			case "echo":
				events++
				g.event(words[1])
			case "curl": // what is asked: TestGuideAddresses, and TestGuide of e2e
				if len(words) != 2 {
					t.Errorf("line %d: %q", b.Line, words)
				}
			case "cp":
				if _, err := os.Stat(filepath.Join(g.Root, words[1])); err != nil || words[2] != ".env" {
					t.Errorf("line %d: %q: %v", b.Line, words, err)
				}
			case "docker":
				g.docker(words)
			default:
				t.Errorf("line %d: %q is known by no test", b.Line, words)
			}
		}
	}
	if events < 2 {
		t.Errorf("%d events are sent", events)
	}
	spans := regexp.MustCompile("`((?:docker compose|analytics) [^`]+)`").FindAllStringSubmatch(g.text, -1)
	for _, m := range spans {
		if words := strings.Fields(m[1]); words[0] == "docker" {
			g.docker(words)
		} else {
			g.asked(words[1:])
		}
	}
	if len(spans) < 3 {
		t.Errorf("commands in the text are %v", spans)
	}
}

// event checks what is sent: it must be of the tenant and app that all else looks for.
func (g *guide) event(line string) {
	g.t.Helper()
	var decoder codecs.JSON
	var e event.Event
	if poison := decoder.Decode([]byte(line), &e); poison != nil {
		g.t.Errorf("%s is poison: %+v", line, poison)
	}
	if string(e.Tenant) != "me" || string(e.App) != "guide" || e.Duration <= 0 {
		g.t.Errorf("%s is the event %+v, want one of me and guide, with a duration", line, e)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["timestamp"] != nil || fields["event_id"] != nil {
		g.t.Errorf("%s can be sent once only, or at one time (%v)", line, err)
	}
}

// docker checks docker compose ….
func (g *guide) docker(words []string) {
	g.t.Helper()
	wrong := func(why string, args ...any) {
		g.t.Helper()
		g.t.Errorf("%s: %s", strings.Join(words, " "), fmt.Sprintf(why, args...))
	}
	// With value, or without.
	flags := map[string][]string{"up": {"--build", "--detach"}, "ps": {}, "down": {"--volumes"}, "exec": {"-T", "-e="}, "run": {"--rm", "--no-deps"}}
	if len(words) < 3 || words[1] != "compose" {
		wrong("want docker compose")
		return
	}
	args := words[2:]
	if args[0] == "--profile" {
		profile := args[1]
		args = args[2:]
		known := false
		for _, s := range g.Services {
			known = known || slices.Contains(s.Profiles, profile)
		}
		if !known {
			wrong("there is no profile %s", profile)
		}
	}
	sub := args[0]
	may, ok := flags[sub]
	if !ok {
		wrong("%s is known by no test", sub)
		return
	}
	for args = args[1:]; len(args) > 0 && strings.HasPrefix(args[0], "-"); args = args[1:] {
		switch {
		case slices.Contains(may, args[0]):
		case slices.Contains(may, args[0]+"=") && len(args) > 1:
			args = args[1:]
		default:
			wrong("flag %s", args[0])
		}
	}
	if sub != "exec" && sub != "run" {
		if len(args) > 0 {
			wrong("%v is known by no test", args)
		}
		return
	}
	if len(args) < 2 || g.Services[args[0]] == nil {
		wrong("%v is no command of a service", args)
		return
	}
	name, command := args[0], args[1:]
	switch {
	case name == "analytics" && sub == "run":
		g.asked(command)
	case name == "analytics" && command[0] == g.service.Healthcheck.Test[1]:
		g.asked(command[1:])
	case name == "kafka" && len(command) == 5:
		producer, server, topic := command[0], command[2], command[4]
		health := strings.Join(g.Services["kafka"].Healthcheck.Test, " ")
		if producer != "/opt/kafka/bin/kafka-console-producer.sh" || !strings.Contains(health, path.Dir(producer)+"/") || command[1] != "--bootstrap-server" || command[3] != "--topic" ||
			!slices.Contains(g.run.app.Kafka.Brokers, server) || !slices.Contains(g.run.app.Sources, topic) {
			wrong("want a producer for %v and one of %v", g.run.app.Kafka.Brokers, g.run.app.Sources)
		}
	case name == "rabbitmq" && slices.Equal(command, []string{"rabbitmqctl", "list_queues", "name", "messages"}):
	default:
		wrong("%v is known by no test", command)
	}
}

// asked checks a command of the program: it runs unit tests of rules, and has others read
// their flags.
func (g *guide) asked(args []string) {
	g.t.Helper()
	var out bytes.Buffer
	if len(args) == 3 && args[0] == "rules" && args[1] == "test" {
		args = slices.Clone(args)
		args[2] = g.file(args[2])
		if err := run(g.t.Context(), environment{&out, &out, nil}, args); err != nil || out.String() != args[2]+": ok\n" {
			g.t.Errorf("analytics %v: %v\n%s", args, err, out.String())
		}
		return
	}
	if err := run(g.t.Context(), environment{&out, &out, nil}, append(slices.Clone(args), "-h")); !errors.Is(err, flag.ErrHelp) {
		g.t.Errorf("analytics %v: %v\n%s", args, err, out.String())
	}
	for i, arg := range args {
		switch {
		case i > 0 && args[i-1] == "--rules":
			at, err := g.service.Within("own/rules/guide.yaml")
			if found, bad := path.Match(arg, at); err != nil || bad != nil || !found {
				g.t.Errorf("analytics %v: own rules are at %s (%v)", args, at, errors.Join(err, bad))
			}
		case strings.HasPrefix(arg, "alertname="):
			m, err := match.Parse(arg)
			if err != nil || !strings.Contains(g.rules(), "alert: "+strings.TrimPrefix(arg, "alertname=")+"\n") {
				g.t.Errorf("analytics %v: there is no such alert, %v, %v", args, m, err)
			}
		}
	}
}

// file returns where a file of analytics is that the guide has people write.
func (g *guide) file(within string) string {
	g.t.Helper()
	at, err := g.HostPath(g.service, within)
	if err != nil || at == "" {
		g.t.Fatalf("%s is not mounted (%v)", within, err)
	}
	name, err := filepath.Rel(g.Root, at)
	if err != nil {
		g.t.Fatal(err)
	}
	return filepath.Join(g.own, name)
}

// rules are those of the guide.
func (g *guide) rules() (text string) {
	for _, b := range g.of("yaml") {
		if path.Ext(b.File) == ".yaml" {
			text += b.Text
		}
	}
	return text
}

// simpleCommands splits a text for a shell into commands and their words, as far as the
// guide goes: pipes, loops, quotes, lines that go on.
func simpleCommands(text string) (commands [][]string, err error) {
	var words []string
	var word strings.Builder
	in, begun, depth := byte(0), false, 0
	endWord := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	end := func() {
		endWord()
		if len(words) > 0 && words[0] == "do" {
			words = words[1:]
		}
		if len(words) > 0 && words[0] != "done" {
			commands = append(commands, words)
		}
		words = nil
	}
	text = strings.ReplaceAll(text, "\\\n", " ")
	for i := range len(text) {
		switch c := text[i]; {
		case in != 0 && c == in:
			in = 0
		case in != 0 || depth > 0 && c != ')' && c != '(':
			word.WriteByte(c)
		case c == '\'' || c == '"':
			in, begun = c, true
		case c == '(':
			depth++
			word.WriteByte(c)
		case c == ')':
			depth--
			word.WriteByte(c)
		case c == ' ':
			endWord()
		case c == '|' || c == ';' || c == '\n':
			end()
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if end(); in != 0 || depth != 0 {
		return nil, fmt.Errorf("a quote or a parenthesis is not closed")
	}
	return commands, nil
}

func TestSimpleCommands(t *testing.T) {
	got, err := simpleCommands("for i in $(seq 4 5); do\n  echo 'a b' \"c\" ''\ndone |\n  cat -T \\\n    x\nls\n")
	want := `[["for" "i" "in" "$(seq 4 5)"] ["echo" "a b" "c" ""] ["cat" "-T" "x"] ["ls"]]`
	if text := fmt.Sprintf("%q", got); err != nil || text != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
	for _, text := range []string{"echo 'a", "echo $(a"} {
		if _, err := simpleCommands(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// The rule of the guide is one of the program, beside those that are shipped, from where
// compose mounts it; and its unit test finds when the rule says something else.
func TestGuideRules(t *testing.T) {
	g := readGuide(t)
	shipped, err := os.ReadFile(filepath.Join(g.Root, "grafana", "rules", "ragstreams.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"grafana/rules/ragstreams.yaml": shipped}
	var rule, test string
	for _, b := range g.of("yaml") {
		at, err := g.service.Within(b.File)
		read, bad := path.Match(g.run.app.Rules, at)
		if isTest := strings.HasSuffix(b.File, ".test.yml"); err != nil || bad != nil || at == "" || read == isTest {
			t.Errorf("%s is at %q, and %s is read (%v)", b.File, at, g.run.app.Rules, errors.Join(err, bad))
		} else if isTest {
			test = b.File
		} else {
			rule, files[b.File] = b.File, []byte(b.Text)
		}
	}
	if _, err := rules.Parse(files); err != nil || rule == "" || test == "" {
		t.Fatalf("rule %s, test %s: %v", rule, test, err)
	}
	for from, to := range map[string]string{"> 0.2": "> 0.4", `, status="error"`: "", `app="guide"`: `app="gide"`} {
		g.write(rule, strings.ReplaceAll(g.rules(), from, to))
		var out bytes.Buffer
		if err := run(t.Context(), environment{&out, &out, nil}, []string{"rules", "test", filepath.Join(g.own, test)}); err == nil || !strings.Contains(out.String(), "FAILED") {
			t.Errorf("with %q for %q the unit test says %v\n%s", to, from, err, out.String())
		}
	}
}

// Queries of the guide ask for metrics that there are, by labels that they have, and are
// those of its dashboard, which is for a data source that is provisioned.
func TestGuideDashboard(t *testing.T) {
	g := readGuide(t)
	labels := map[string][]string{}
	for _, d := range metrics.Docs() {
		labels[d.Name] = d.Labels
	}
	queries := map[string]bool{}
	for _, b := range g.of("promql") {
		expr := strings.TrimSpace(b.Text)
		queries[expr] = true
		tree, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(expr, "$__rate_interval", "1m"))
		if err != nil {
			t.Errorf("line %d: %v", b.Line, err)
			continue
		}
		parser.Inspect(tree, func(n parser.Node, path []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			has, known := labels[v.Name]
			if !known {
				t.Errorf("line %d: there is no metric %s", b.Line, v.Name)
			}
			var asked []string
			for _, m := range v.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					asked = append(asked, m.Name)
				}
			}
			for _, above := range path {
				if a, ok := above.(*parser.AggregateExpr); ok {
					asked = append(asked, a.Grouping...)
				}
			}
			for _, label := range asked {
				if !slices.Contains(has, label) {
					t.Errorf("line %d: %s has no label %s", b.Line, v.Name, label)
				}
			}
			return nil
		})
	}

	sources, err := os.ReadFile(filepath.Join(g.Root, "grafana", "provisioning", "datasources", "ragstreams.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	var board struct {
		UID, Title, Refresh string
		SchemaVersion       int
		Time                struct{ From, To string }
		Panels              []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Datasource  source
			FieldConfig struct {
				Defaults  map[string]any
				Overrides []any
			}
			Targets []struct{ RefID, LegendFormat, Expr string }
		}
	}
	b := g.of("json")[0]
	decoder := json.NewDecoder(strings.NewReader(b.Text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&board); err != nil || board.UID == "" || board.Title == "" || board.SchemaVersion != 39 || len(board.Panels) != len(queries) {
		t.Fatalf("%v: %+v", err, board)
	}
	for i, p := range board.Panels {
		if p.Type != "timeseries" || p.ID != i+1 || p.GridPos.X != 8*i || p.GridPos.W != 8 || p.Datasource.Type != "prometheus" || !strings.Contains(string(sources), "\n    uid: "+p.Datasource.UID+"\n") {
			t.Errorf("panel %+v", p)
		}
		target := p.Targets[0]
		legend := strings.Trim(target.LegendFormat, "{}")
		if !queries[target.Expr] || !strings.Contains(target.Expr, "by ("+legend+")") {
			t.Errorf("panel %s asks what the guide does not say, or shows %s of it: %s", p.Title, target.LegendFormat, target.Expr)
		}
		delete(queries, target.Expr)
	}
	if len(queries) > 0 {
		t.Errorf("no panel asks %v", queries)
	}
	// Where it is written, Grafana looks for own dashboards: TestGrafana of internal/deploy.
	if at, err := g.Services["grafana"].Within(b.File); err != nil || path.Dir(at) != "/etc/grafana/own" {
		t.Errorf("%s is at %q, %v", b.File, at, err)
	}
}

package deploy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts/rabbitmq"
	"ragstreams/metrics"

	"go.yaml.in/yaml/v3"
)

var root = filepath.Join("..", "..")

func compose(t *testing.T) *Compose {
	t.Helper()
	c, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read decodes a YAML or JSON file of the repository, which must hold nothing else.
func read(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data)) // JSON is YAML
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// each calls check for every service.
func each(t *testing.T, check func(t *testing.T, c *Compose, s *Service)) {
	c := compose(t)
	for name, s := range c.Services {
		t.Run(name, func(t *testing.T) { check(t, c, s) })
	}
}

func TestImagesArePinned(t *testing.T) {
	version := regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?$`)
	each(t, func(t *testing.T, _ *Compose, s *Service) {
		switch {
		case s.Build == "." && strings.HasSuffix(s.Image, ":local"): // made here
		case s.Build != "" || !version.MatchString(s.Image):
			t.Errorf("image is %q, want one with its whole version", s.Image)
		}
	})
	c := compose(t)
	if a, b := c.Services["rabbitmq"].Image, c.Services["rabbitmq-definitions"].Image; a != b {
		t.Errorf("definitions of %s are imported by %s", a, b)
	}
	script, err := os.ReadFile(filepath.Join(root, "e2e", "servers", "kafka.sh"))
	if err != nil {
		t.Fatal(err)
	}
	tested := regexp.MustCompile(`(?m)^version=(\S+)$`).FindSubmatch(script)
	if tested == nil || c.Services["kafka"].Image != "apache/kafka:"+string(tested[1]) {
		t.Errorf("Kafka is %s, and tested is %s", c.Services["kafka"].Image, tested)
	}
}

// What is published is published on this machine only, each port once, and something
// listens there.
func TestPorts(t *testing.T) {
	listens := map[string][]string{
		"kafka": {"9094"}, "rabbitmq": {"5672", "15672"}, "analytics": {"8080"}, "prometheus": {"9090"}, "grafana": {"3000"},
	}
	seen := map[string]bool{}
	for name, s := range compose(t).Services {
		var ports []string
		for _, p := range s.Ports {
			parts := strings.Split(p, ":")
			if len(parts) != 3 || parts[0] != "127.0.0.1" || seen[parts[1]] {
				t.Errorf("%s publishes %s, want 127.0.0.1:port:port, and each once", name, p)
				continue
			}
			seen[parts[1]] = true
			ports = append(ports, parts[2])
		}
		if !slices.Equal(ports, listens[name]) {
			t.Errorf("%s publishes %v, want %v", name, ports, listens[name])
		}
	}
}

// Passwords come from .env alone, which has no others than those that are used.
func TestVariables(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(string(example), -1) {
		known[m[1]] = m[2]
	}
	used, err := Variables(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(used) == 0 {
		t.Fatal("no variables are found")
	}
	names := map[string]bool{}
	for _, v := range used {
		names[v.Name] = true
		if _, ok := known[v.Name]; !ok || v.Operator != ":?" || v.Text == "" {
			t.Errorf("%+v: want ${…:?what to do} and a line in .env.example", v)
		}
	}
	for name, value := range known {
		if !names[name] {
			t.Errorf(".env.example has %s, which is not used", name)
		}
		if strings.Contains(name, "PASSWORD") && value != "" {
			t.Errorf(".env.example has a value for %s", name)
		}
	}
	each(t, func(t *testing.T, _ *Compose, s *Service) {
		for name, value := range s.Environment {
			if regexp.MustCompile(`PASS|SECRET|TOKEN`).MatchString(name) && !regexp.MustCompile(`^\$\{\w+_PASSWORD:\?[^}]+\}$`).MatchString(value) {
				t.Errorf("%s is %q, want a variable", name, value)
			}
		}
	})
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil || !slices.Contains(strings.Split(string(ignored), "\n"), ".env") {
		t.Errorf(".gitignore does not have .env (%v)", err)
	}
}

// Files that are mounted exist, and cannot be written; volumes have a name.
func TestMounts(t *testing.T) {
	volumes := map[string]bool{}
	each(t, func(t *testing.T, c *Compose, s *Service) {
		mounts, err := s.Mounts()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			if !strings.HasPrefix(m.Source, "./") {
				volumes[m.Source] = true
				if _, ok := c.Volumes[m.Source]; !ok {
					t.Errorf("volume %s is not declared", m.Source)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(root, m.Source)); err != nil || !m.ReadOnly {
				t.Errorf("%+v: want what exists, read-only (%v)", m, err)
			}
		}
	})
	for name := range compose(t).Volumes {
		if !volumes[name] {
			t.Errorf("volume %s is not used", name)
		}
	}
}

// Who waits for a service to be healthy waits for one that can tell. All that goes on
// running is bounded and started again.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, c *Compose, s *Service) {
		for name, d := range s.DependsOn {
			on, ok := c.Services[name]
			switch {
			case !ok:
				t.Errorf("it waits for %s, which is no service", name)
			case d.Condition == "service_healthy" && len(on.Healthcheck.Test) > 0:
			case d.Condition == "service_completed_successfully" && on.Restart == "on-failure":
			default:
				t.Errorf("it waits for %s until %s, which that never is", name, d.Condition)
			}
		}
		for _, text := range []string{s.Healthcheck.Interval, s.Healthcheck.Timeout, s.Healthcheck.StartPeriod, s.Healthcheck.StartInterval, s.StopGracePeriod} {
			if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0) {
				t.Errorf("time %q: %v", text, err)
			}
		}
		memory := regexp.MustCompile(`^\d+[mg]$`).MatchString(s.Deploy.Resources.Limits.Memory)
		if once := s.Restart == "on-failure"; !once && (!memory || s.Restart != "unless-stopped") || len(s.Logging) == 0 {
			t.Errorf("memory %q, restart %q, logging %v: want bounds, and that it is started again", s.Deploy.Resources.Limits.Memory, s.Restart, s.Logging)
		}
	})
	for _, name := range []string{"kafka", "rabbitmq-definitions"} {
		if _, ok := compose(t).Services["analytics"].DependsOn[name]; !ok {
			t.Errorf("analytics does not wait for %s", name)
		}
	}
}

// Health is asked for where there is an answer.
func TestHealthchecks(t *testing.T) {
	c := compose(t)
	for name, want := range map[string][]string{
		"kafka":      {"CMD-SHELL", "KAFKA_HEAP_OPTS=-Xmx64m /opt/kafka/bin/kafka-broker-api-versions.sh --bootstrap-server kafka:9092"},
		"rabbitmq":   {"CMD", "rabbitmq-diagnostics", "-q", "check_port_connectivity"},
		"analytics":  {"CMD", "/analytics", "healthcheck"},
		"prometheus": {"CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/ready"},
		"grafana":    {"CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/api/health"},
	} {
		if got := c.Services[name].Healthcheck.Test; !slices.Equal(got, want) {
			t.Errorf("%s is asked by %q, want %q", name, got, want)
		}
	}
}

// The program runs with no rights, from a file system that it cannot write to.
func TestHardening(t *testing.T) {
	c := compose(t)
	for _, name := range []string{"analytics", "traffic"} {
		s := c.Services[name]
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Build != "." {
			t.Errorf("%s: %+v", name, s)
		}
	}
	dockerfile := readText(t, "Dockerfile")
	stages := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile, -1)
	if len(stages) != 2 || !strings.HasPrefix(stages[1][1], "gcr.io/distroless/static-debian12:nonroot") || !strings.Contains(dockerfile, "\nUSER 65532:65532\n") {
		t.Errorf("stages %v: want two, the last without a shell and root", stages)
	}
	if !strings.Contains(dockerfile, "CGO_ENABLED=0 go build ") || !strings.Contains(dockerfile, `ENTRYPOINT ["/analytics"]`) {
		t.Error("the program is not static, or not at /analytics")
	}
	needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)(\.\d+)?$`).FindStringSubmatch(readText(t, "go.mod"))
	if image := stages[0][1]; needed == nil || !strings.HasPrefix(image, "golang:"+needed[1]+".") || image < "golang:"+needed[1]+needed[2] {
		t.Errorf("it is built by %s, and go.mod wants %v", stages[0][1], needed)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// All that is built or embedded is in the context of the image.
func TestBuildContext(t *testing.T) {
	var left []string
	for line := range strings.Lines(readText(t, ".dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !strings.HasPrefix(line, "**/") {
			left = append(left, line)
		}
	}
	if !slices.Contains(left, ".env") || !slices.Contains(left, ".git") {
		t.Errorf("passwords or history are sent to the builder: %v", left)
	}
	// What the program imports, from its own files.
	needed, todo := map[string]bool{}, []string{"cmd/analytics"}
	imports := regexp.MustCompile(`(?m)^\s*(?:\w+ )?"ragstreams/([^"]+)"$`)
	for len(todo) > 0 {
		dir := todo[0]
		todo = todo[1:]
		if needed[dir] {
			continue
		}
		needed[dir] = true
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no Go files in %s: %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range imports.FindAllSubmatch(source, -1) {
				todo = append(todo, string(m[1]))
			}
		}
	}
	for dir := range needed {
		if top, _, _ := strings.Cut(dir, "/"); slices.Contains(left, top) {
			t.Errorf("%s is needed and not sent to the builder", dir)
		}
	}
	if len(needed) < 10 {
		t.Errorf("only %d packages were found: %v", len(needed), slices.Sorted(maps.Keys(needed)))
	}
}

// Listeners of Kafka are advertised where clients reach them.
func TestKafka(t *testing.T) {
	s := compose(t).Services["kafka"]
	listeners := func(name string) map[string]string {
		all := map[string]string{}
		for one := range strings.SplitSeq(s.Environment[name], ",") {
			name, address, ok := strings.Cut(one, "://")
			if !ok {
				t.Fatalf("%s: %q is no listener", name, one)
			}
			all[name] = address
		}
		return all
	}
	want := map[string]string{"INTERNAL": ":9092", "CONTROLLER": ":9093", "HOST": ":9094"}
	if got := listeners("KAFKA_LISTENERS"); !maps.Equal(got, want) {
		t.Errorf("listeners are %v, want %v", got, want)
	}
	want = map[string]string{"INTERNAL": s.Hostname + ":9092", "HOST": strings.TrimSuffix(s.Ports[0], ":9094")}
	if got := listeners("KAFKA_ADVERTISED_LISTENERS"); !maps.Equal(got, want) {
		t.Errorf("advertised are %v, want %v", got, want)
	}
	for name, want := range map[string]string{
		"KAFKA_CONTROLLER_QUORUM_VOTERS":  s.Environment["KAFKA_NODE_ID"] + "@" + s.Hostname + ":9093",
		"KAFKA_LOG_DIRS":                  strings.TrimPrefix(s.Volumes[0], "kafka:"),
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
	} {
		if s.Environment[name] != want {
			t.Errorf("%s is %q, want %q", name, s.Environment[name], want)
		}
	}
	for _, listener := range []string{"INTERNAL", "CONTROLLER", "HOST"} {
		if !strings.Contains(s.Environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"], listener+":PLAINTEXT") {
			t.Errorf("listener %s has no protocol", listener)
		}
	}
	if id, err := base64.RawURLEncoding.Strict().DecodeString(s.Environment["CLUSTER_ID"]); err != nil || len(id) != 16 {
		t.Errorf("CLUSTER_ID is %x, %v, want 16 bytes", id, err)
	}
}

// definitions are what RabbitMQ imports.
type definitions struct {
	Vhosts    []struct{ Name string }
	Exchanges []struct {
		Name, Vhost, Type string
		Durable           bool
		AutoDelete        bool `yaml:"auto_delete"`
		Internal          bool
		Arguments         map[string]any
	}
	Queues []struct {
		Name, Vhost string
		Durable     bool
		AutoDelete  bool `yaml:"auto_delete"`
		Arguments   map[string]any
	}
	Bindings []struct {
		Source, Vhost, Destination string
		DestinationType            string `yaml:"destination_type"`
		RoutingKey                 string `yaml:"routing_key"`
		Arguments                  map[string]any
	}
	Policies []struct {
		Name, Vhost, Pattern string
		ApplyTo              string `yaml:"apply-to"`
		Priority             int
		Definition           map[string]any
	}
}

// The definitions are what the program would declare itself, and nothing in them hangs in
// the air. There are no users in them, and so no passwords.
func TestDefinitions(t *testing.T) {
	const name = "deploy/rabbitmq/definitions.json"
	var d definitions
	read(t, name, &d)
	if !json.Valid([]byte(readText(t, name))) {
		t.Errorf("%s is no JSON", name)
	}
	exchanges, queues, bound := map[string]string{}, map[string]bool{}, map[string][]string{}
	for _, e := range d.Exchanges {
		exchanges[e.Name] = fmt.Sprint(e.Type, " ", e.Arguments)
		if !e.Durable || e.AutoDelete || e.Internal || e.Vhost != "/" {
			t.Errorf("exchange %+v: want a durable one of /", e)
		}
	}
	want := map[string]string{
		rabbitmq.Exchange: "topic map[alternate-exchange:" + rabbitmq.Unrouted + "]",
		rabbitmq.Unrouted: "fanout map[]",
		"alerts.dead":     "fanout map[]",
	}
	if !maps.Equal(exchanges, want) {
		t.Errorf("exchanges are %v, want %v", exchanges, want)
	}
	for _, q := range d.Queues {
		queues[q.Name] = true
		if !q.Durable || q.AutoDelete || q.Vhost != "/" {
			t.Errorf("queue %+v: want a durable one of /", q)
		}
		switch {
		case q.Name == rabbitmq.Unrouted && len(q.Arguments) == 0: // as it is declared
		case q.Name != rabbitmq.Unrouted && len(q.Arguments) == 1 && q.Arguments["x-queue-type"] == string(rabbitmq.Quorum):
		default:
			t.Errorf("queue %s has arguments %v", q.Name, q.Arguments)
		}
	}
	for _, b := range d.Bindings {
		if exchanges[b.Source] == "" || !queues[b.Destination] || b.DestinationType != "queue" || b.Vhost != "/" || len(b.Arguments) > 0 {
			t.Errorf("binding %+v: want one of an exchange and a queue that there are", b)
		}
		bound[b.Destination] = append(bound[b.Destination], b.Source+" "+b.RoutingKey)
	}
	wantBound := map[string][]string{
		rabbitmq.Unrouted: {rabbitmq.Unrouted + " "},
		"alerts.critical": {rabbitmq.Exchange + " critical.#"},
		"alerts.all":      {rabbitmq.Exchange + " #"},
		"alerts.dead":     {"alerts.dead "},
	}
	if fmt.Sprint(bound) != fmt.Sprint(wantBound) {
		t.Errorf("bindings are %v, want %v", bound, wantBound)
	}
	bounded := map[string]int{}
	for _, p := range d.Policies {
		pattern := regexp.MustCompile(p.Pattern)
		for q := range queues {
			if pattern.MatchString(q) && p.Definition["max-length"] != nil {
				bounded[q]++
			}
		}
		if dead, ok := p.Definition["dead-letter-exchange"]; ok && exchanges[fmt.Sprint(dead)] == "" || p.ApplyTo != "queues" {
			t.Errorf("policy %+v: want one for queues, and dead letters that go to an exchange that there is", p)
		}
	}
	for q := range queues {
		if bounded[q] != 1 {
			t.Errorf("%d policies bound the queue %s, want one", bounded[q], q)
		}
	}
	s := compose(t).Services["rabbitmq-definitions"]
	mounts, err := s.Mounts()
	if err != nil || len(mounts) != 1 || mounts[0].Source != "./"+name || !strings.HasSuffix(s.Command[0], " import "+mounts[0].Target) || !strings.Contains(s.Command[0], "--host="+compose(t).Services["rabbitmq"].Hostname+" ") {
		t.Errorf("%v, %v: %q does not import %s", mounts, err, s.Command, name)
	}
}

// scraping is the configuration of Prometheus.
type scraping struct {
	Global struct {
		ScrapeInterval     string `yaml:"scrape_interval"`
		EvaluationInterval string `yaml:"evaluation_interval"`
	}
	RuleFiles     []string `yaml:"rule_files"`
	ScrapeConfigs []struct {
		JobName              string                       `yaml:"job_name"`
		StaticConfigs        []struct{ Targets []string } `yaml:"static_configs"`
		MetricRelabelConfigs []struct {
			SourceLabels []string `yaml:"source_labels"`
			Regex        string
			TargetLabel  string `yaml:"target_label"`
			Replacement  *string
		} `yaml:"metric_relabel_configs"`
	} `yaml:"scrape_configs"`
}

// Prometheus scrapes the port that analytics listens on, evaluates rules that there are,
// and takes the instance from what moves between instances, and from nothing else.
func TestPrometheus(t *testing.T) {
	c := compose(t)
	s, analytics := c.Services["prometheus"], c.Services["analytics"]
	var config scraping
	read(t, "deploy/prometheus.yml", &config)
	var file string
	for _, arg := range s.Command {
		if v, ok := strings.CutPrefix(arg, "--config.file="); ok {
			file = v
		}
	}
	if at, err := c.HostPath(s, file); err != nil || at != filepath.Join(root, "deploy", "prometheus.yml") {
		t.Errorf("Prometheus reads %s, which is %q, %v", file, at, err)
	}
	if len(config.ScrapeConfigs) != 1 || len(config.ScrapeConfigs[0].StaticConfigs) != 1 {
		t.Fatalf("scrape configuration %+v", config.ScrapeConfigs)
	}
	_, port, _ := strings.Cut(analytics.Environment["ANALYTICS_HTTP_LISTEN"], ":")
	if got := config.ScrapeConfigs[0].StaticConfigs[0].Targets; !slices.Equal(got, []string{"analytics:" + port}) {
		t.Errorf("targets are %v, want analytics:%s", got, port)
	}
	for _, pattern := range config.RuleFiles {
		at, err := c.HostPath(s, pattern)
		if err != nil || at == "" {
			t.Fatalf("rules at %s: %q, %v", pattern, at, err)
		}
		files, err := filepath.Glob(at)
		if err != nil || len(files) == 0 {
			t.Errorf("no rules at %s: %v", at, err)
		}
		for _, file := range files {
			var rules struct{ Groups []struct{ Name string } }
			data, err := os.ReadFile(file)
			if err := yaml.Unmarshal(data, &rules); err != nil || len(rules.Groups) == 0 {
				t.Errorf("%s holds no rules: %v", file, err)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	relabel := config.ScrapeConfigs[0].MetricRelabelConfigs
	if len(relabel) != 1 || relabel[0].TargetLabel != "instance" || relabel[0].Replacement == nil || *relabel[0].Replacement != "" || !slices.Equal(relabel[0].SourceLabels, []string{"__name__"}) {
		t.Fatalf("relabelling is %+v", relabel)
	}
	moves := regexp.MustCompile("^(?:" + relabel[0].Regex + ")$")
	for _, m := range metrics.Docs() {
		want := strings.HasPrefix(m.Name, "rag_") || strings.HasPrefix(m.Name, "analytics_records") || strings.HasPrefix(m.Name, "analytics_kafka_") || strings.HasPrefix(m.Name, "analytics_rabbitmq_")
		if moves.MatchString(m.Name) != want {
			t.Errorf("%s loses its instance: %v, want %v", m.Name, !want, want)
		}
	}
	for name, text := range map[string]string{"scrape": config.Global.ScrapeInterval, "evaluation": config.Global.EvaluationInterval} {
		if d, err := time.ParseDuration(text); err != nil || d < time.Second {
			t.Errorf("%s interval is %q, %v", name, text, err)
		}
	}
}

// Grafana finds its provisioning, and the addresses in it are those of the services.
func TestGrafana(t *testing.T) {
	c := compose(t)
	s := c.Services["grafana"]
	environ := map[string]string{}
	files := 0
	err := filepath.WalkDir(filepath.Join(root, "grafana", "provisioning"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, m := range variable.FindAllStringSubmatch(string(data), -1) {
			if m[1] != "$" {
				environ[m[2]] = s.Environment[m[2]]
			}
		}
		return err
	})
	if err != nil || files < 2 {
		t.Fatalf("%d files, %v", files, err)
	}
	address := func(service, port string) string { return "http://" + service + ":" + port }
	want := map[string]string{
		"PROMETHEUS_URL": address("prometheus", "9090"), "RAGSTREAMS_API_URL": address("analytics", "8080"),
		"RAGSTREAMS_URL": "http://" + strings.TrimSuffix(c.Services["analytics"].Ports[0], ":8080"),
	}
	if !maps.Equal(environ, want) {
		t.Errorf("provisioning gets %v, want %v", environ, want)
	}
	for name, value := range environ {
		u, err := url.Parse(value)
		if err != nil || name != "RAGSTREAMS_URL" && c.Services[u.Hostname()] == nil {
			t.Errorf("%s is %q, which is no service (%v)", name, value, err)
		}
	}
	names := map[string]bool{}
	for file, folder := range map[string]string{
		"grafana/provisioning/dashboards/ragstreams.yaml": filepath.Join(root, "grafana", "dashboards"),
		"deploy/grafana-own.yaml":                         filepath.Join(root, "own", "dashboards"),
	} {
		if at, err := s.Within(file); err != nil || !strings.HasPrefix(at, "/etc/grafana/provisioning/dashboards/") {
			t.Errorf("%s is at %q, %v, where Grafana does not look", file, at, err)
		}
		var providers struct {
			APIVersion int `yaml:"apiVersion"`
			Providers  []struct {
				Name, Folder, Type string
				DisableDeletion    bool `yaml:"disableDeletion"`
				AllowUIUpdates     bool `yaml:"allowUiUpdates"`
				Options            struct{ Path string }
			}
		}
		read(t, file, &providers)
		if len(providers.Providers) != 1 || names[providers.Providers[0].Name] {
			t.Errorf("%s: want one provider, with a name of its own: %+v", file, providers.Providers)
		}
		for _, p := range providers.Providers {
			names[p.Name] = true
			if at, err := c.HostPath(s, p.Options.Path); err != nil || at != folder || p.Type != "file" || p.AllowUIUpdates {
				t.Errorf("dashboards of %s are read from %s, which is %q, %v; %+v", file, p.Options.Path, at, err, p)
			}
		}
	}
	if at, err := c.HostPath(s, "/etc/grafana/provisioning/datasources"); err != nil || at != filepath.Join(root, "grafana", "provisioning", "datasources") {
		t.Errorf("Grafana reads data sources from %q, %v", at, err)
	}
}

func TestExpand(t *testing.T) {
	variables := map[string]string{"A": "1", "B": "2"}
	for text, want := range map[string]string{
		"plain": "plain", "${A}-${B:?set it}": "1-2", "$${A} $$B": "${A} $B", "${A:?say ${}": "1",
	} {
		if got, err := expand(text, variables); err != nil || got != want {
			t.Errorf("%q becomes %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := expand("${A} ${C:?set it}", variables); err == nil {
		t.Errorf("a variable that is not set becomes %q", got)
	}
}

func TestWithin(t *testing.T) {
	s := &Service{Volumes: []string{"data:/data", "./a/rules:/etc/rules/a:ro", "./a/one.yaml:/etc/one.yaml:ro"}}
	for name, want := range map[string]string{
		"a/rules": "/etc/rules/a", "a/rules/x.yaml": "/etc/rules/a/x.yaml", "a/one.yaml": "/etc/one.yaml",
		"a/rules2/x.yaml": "", "a": "", "data": "", "b/rules": "",
	} {
		if got, err := s.Within(name); err != nil || got != want {
			t.Errorf("%s is at %q, %v, want %q", name, got, err, want)
		}
	}
}

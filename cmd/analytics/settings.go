package main

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ragstreams/app"
	"ragstreams/kafka"
)

// settings is what the command line tool can be configured with: the options of
// the program, and what belongs to the process.
type settings struct {
	app       app.Options
	logLevel  string
	logFormat string
	dataDir   string
}

// setting is one key of the configuration. The table of all of them is the only
// place where keys are named: the file, the environment and the documentation
// are read from it.
type setting struct {
	key   string
	value func(s *settings) any // a pointer: *string, *bool, *int, *int32, *time.Duration, *[]string
	help  string
	// check reports what is wrong with a value that parses; optional.
	check func(s *settings) error
	// later says that the key has no effect yet.
	later bool
}

// env returns the environment variable of a key.
func (s setting) env() string {
	return "ANALYTICS_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// startFlag adapts kafka.start, which is a word or a time.
type startFlag struct{ start *kafka.Start }

func (f startFlag) String() string {
	switch {
	case !f.start.Time.IsZero():
		return f.start.Time.Format(time.RFC3339)
	case f.start.Latest:
		return "latest"
	}
	return "earliest"
}

func (f startFlag) Set(v string) error {
	switch v {
	case "earliest":
		*f.start = kafka.Start{}
	case "latest":
		*f.start = kafka.Start{Latest: true}
	default:
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return fmt.Errorf("want earliest, latest or a time such as 2026-01-02T15:04:05Z")
		}
		*f.start = kafka.Start{Time: t}
	}
	return nil
}

var allSettings = []setting{
	{key: "kafka.brokers", value: func(s *settings) any { return &s.app.Kafka.Brokers }, help: "addresses to connect to first, `host:port`"},
	{key: "kafka.prefix", value: func(s *settings) any { return &s.app.Prefix }, help: "begins the names of own topics and groups; another prefix is another deployment"},
	{key: "kafka.partitions", value: func(s *settings) any { return &s.app.Partitions }, help: "partitions of own topics; cannot be changed later"},
	{key: "kafka.replication", value: func(s *settings) any { return &s.app.Replication }, help: "replicas of own topics; -1 is the cluster's default"},
	{key: "kafka.create_topics", value: func(s *settings) any { return &s.app.CreateTopics }, help: "also make source topics that are missing; own topics are always made"},
	{key: "kafka.start", value: func(s *settings) any { return startFlag{&s.app.Start} }, help: "where a new deployment begins: `earliest`, `latest` or an RFC 3339 time"},
	{key: "kafka.sessions", value: func(s *settings) any { return &s.app.Sessions }, help: "members that a process contributes to the group of each source topic and of assemble"},
	{key: "kafka.commit_interval", value: func(s *settings) any { return &s.app.CommitInterval }, help: "longest time between two transactions under load; with a backlog it is at least a second, but no more than a quarter of the session timeout"},
	{key: "kafka.session_timeout", value: func(s *settings) any { return &s.app.SessionTimeout }, help: "silence after which an instance loses its partitions, and a transaction its hold"},
	{key: "kafka.leave_on_stop", value: func(s *settings) any { return &s.app.LeaveOnStop }, help: "hand partitions over at once when stopped: for instances that do not come back"},
	{key: "kafka.metadata_interval", value: func(s *settings) any { return &s.app.MetadataInterval }, help: "how often source topics and their partitions are looked for"},
	{key: "kafka.tls.enabled", value: func(s *settings) any { return &s.app.Kafka.Security.TLS }, help: "connect with TLS"},
	{key: "kafka.tls.ca_file", value: func(s *settings) any { return &s.app.Kafka.Security.CAFile }, help: "PEM file of the authorities to trust; empty: the system's"},
	{key: "kafka.tls.cert_file", value: func(s *settings) any { return &s.app.Kafka.Security.CertFile }, help: "PEM client certificate for mutual TLS"},
	{key: "kafka.tls.key_file", value: func(s *settings) any { return &s.app.Kafka.Security.KeyFile }, help: "PEM key of the client certificate"},
	{key: "kafka.tls.server_name", value: func(s *settings) any { return &s.app.Kafka.Security.ServerName }, help: "name expected in the broker's certificate; empty: its address"},
	{key: "kafka.sasl.mechanism", value: func(s *settings) any { return &s.app.Kafka.Security.Mechanism }, help: "`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`"},
	{key: "kafka.sasl.username", value: func(s *settings) any { return &s.app.Kafka.Security.Username }, help: "SASL user"},
	{key: "kafka.sasl.password", value: func(s *settings) any { return &s.app.Kafka.Security.Password }, help: "SASL password"},
	{key: "instance", value: func(s *settings) any { return &s.app.Instance }, help: "stable name of this process, of its own; empty: the host's name"},
	{key: "sources", value: func(s *settings) any { return &s.app.Sources }, help: "source topics"},
	{key: "behaviour.sources", value: func(s *settings) any { return &s.app.BehaviourSources }, help: "those of the source topics whose events tell what people did; the table `behaviour` counts them"},
	{key: "window.pane", value: func(s *settings) any { return &s.app.Pane }, help: "smallest window, a part of an hour"},
	{key: "window.grace", value: func(s *settings) any { return &s.app.Grace }, help: "how long after its end a window takes late events"},
	{key: "window.max_future", value: func(s *settings) any { return &s.app.MaxFuture }, help: "an event further ahead of the clock is poison"},
	{key: "window.idle_timeout", value: func(s *settings) any { return &s.app.IdleTimeout }, help: "silence after which a source partition holds nobody back"},
	{key: "limits.record_bytes", value: func(s *settings) any { return &s.app.MaxRecord }, help: "largest source record"},
	{key: "limits.label_bytes", value: func(s *settings) any { return &s.app.MaxLabel }, help: "longest tenant, app, stage, event type, model and error type; longer ones are cut, and share a series with what is equal up to there"},
	{key: "limits.series", value: func(s *settings) any { return &s.app.MaxSeries }, help: "series of each table; more share an overflow series; 0: no limit"},
	{key: "limits.series_per_tenant", value: func(s *settings) any { return &s.app.MaxSeriesPerTenant }, help: "series of one tenant in each table but `errors`; 0: no limit"},
	{key: "limits.error_groups_per_tenant", value: func(s *settings) any { return &s.app.MaxErrorGroups }, help: "error groups of one tenant; more share an overflow series; 0: no limit"},
	{key: "retention.panes", value: func(s *settings) any { return &s.app.PaneRetention }, help: "how long closed windows are kept one by one"},
	{key: "retention.hours", value: func(s *settings) any { return &s.app.HourRetention }, help: "how long they are kept by the hour"},
	{key: "retention.series", value: func(s *settings) any { return &s.app.Forget }, help: "silence after which a series and its totals are forgotten; 0: never"},
	{key: "http.listen", value: func(s *settings) any { return &s.app.HTTPListen }, help: "address of console, API and metrics"},
	{key: "http.content", value: func(s *settings) any { return &s.app.HTTPContent }, help: "let the API show what records hold, such as prompts, answers and user ids, to whoever reaches it; of the commands, `analytics dlq` shows it always, and `analytics trace` with `--content --format json`"},
	{key: "log.level", value: func(s *settings) any { return &s.logLevel }, help: "`debug`, `info`, `warn` or `error`", check: oneOf("log.level", func(s *settings) string { return s.logLevel }, "debug", "info", "warn", "error")},
	{key: "log.format", value: func(s *settings) any { return &s.logFormat }, help: "`text` or `json`", check: oneOf("log.format", func(s *settings) string { return s.logFormat }, "text", "json")},
	{key: "data_dir", value: func(s *settings) any { return &s.dataDir }, help: "folder for what is kept on disk", later: true},
	{key: "rules", value: func(s *settings) any { return &s.app.Rules }, help: "pattern of the names of Prometheus rule files, such as `rules/*.yaml`; empty: no alerts", check: checkGlob},
	{key: "alerts.policy", value: func(s *settings) any { return &s.app.AlertPolicy }, help: "YAML file with inhibition rules, mute times and repeat intervals; empty: what goes on firing is told again every 4h"},
	{key: "amqp.url", value: func(s *settings) any { return &s.app.AMQP.URL }, help: "RabbitMQ that alerts are published to, `amqp://` or `amqps://`; empty: they stay in the outbox topic", check: checkAMQP},
	{key: "amqp.declare", value: func(s *settings) any { return &s.app.AMQP.Declare }, help: "declare the exchanges `error_event` and `error_event.unrouted` and the queue of the latter; false: they must be there"},
	{key: "amqp.topology", value: func(s *settings) any { return &s.app.Topology }, help: "YAML file with queues and bindings to declare as well; empty: receivers declare their own"},
	{key: "amqp.format", value: func(s *settings) any { return (*string)(&s.app.AlertFormat) }, help: "body of the messages: `ragstreams`, `cloudevents` (structured JSON) or `alertmanager` (its webhook, version 4)"},
	{key: "amqp.tls.ca_file", value: func(s *settings) any { return &s.app.AMQP.CAFile }, help: "PEM file of the authorities to trust; empty: the system's"},
	{key: "amqp.tls.cert_file", value: func(s *settings) any { return &s.app.AMQP.CertFile }, help: "PEM client certificate; without a user in the URL it is the login, too"},
	{key: "amqp.tls.key_file", value: func(s *settings) any { return &s.app.AMQP.KeyFile }, help: "PEM key of the client certificate"},
	{key: "amqp.tls.server_name", value: func(s *settings) any { return &s.app.AMQP.ServerName }, help: "name expected in the server's certificate; empty: its address"},
	{key: "watch.interval", value: func(s *settings) any { return &s.app.Watch.Interval }, help: "how often one of the instances measures what the keys below say"},
	{key: "watch.lag", value: func(s *settings) any { return &s.app.Watch.Lag }, help: "measure how far own consumer groups are behind in every partition, in records and in seconds"},
	{key: "watch.groups", value: func(s *settings) any { return &s.app.Watch.Groups }, help: "other consumer groups for which that is measured, too, in the topics of which they have committed something"},
	{key: "watch.cluster", value: func(s *settings) any { return &s.app.Watch.Cluster }, help: "count Kafka's brokers, and the partitions without a leader or with a replica that is not in sync"},
	{key: "watch.rabbitmq.url", value: func(s *settings) any { return &s.app.Watch.RabbitMQ.URL }, help: "RabbitMQ's management API, `http://` or `https://`, that is asked for queues and connections; empty: it is not"},
	{key: "watch.rabbitmq.username", value: func(s *settings) any { return &s.app.Watch.RabbitMQ.Username }, help: "its user, with the tag `monitoring`; empty: the one in the URL"},
	{key: "watch.rabbitmq.password", value: func(s *settings) any { return &s.app.Watch.RabbitMQ.Password }, help: "its password"},
	{key: "watch.rabbitmq.ca_file", value: func(s *settings) any { return &s.app.Watch.RabbitMQ.CAFile }, help: "PEM file of the authorities to trust; empty: the system's"},
	{key: "watch.rabbitmq.queues", value: func(s *settings) any { return &s.app.Watch.RabbitMQ.Queues }, help: "regular expression for the names of the queues to show"},
}

func oneOf(key string, get func(*settings) string, accepted ...string) func(*settings) error {
	return func(s *settings) error {
		for _, a := range accepted {
			if get(s) == a {
				return nil
			}
		}
		return fmt.Errorf("%s is %q: want %s", key, get(s), strings.Join(accepted, ", "))
	}
}

func checkGlob(s *settings) error {
	if _, err := filepath.Match(s.app.Rules, ""); err != nil {
		return fmt.Errorf("rules is %q: want a file name pattern such as rules/*.yaml", s.app.Rules)
	}
	return nil
}

func checkAMQP(s *settings) error {
	if s.app.AMQP.URL == "" {
		return nil
	}
	u, err := url.Parse(s.app.AMQP.URL)
	if err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
		return fmt.Errorf("amqp.url: want amqp://user:password@host:port/vhost or amqps://…")
	}
	return nil
}

// set parses a value given as text. Lists are separated by commas.
func (s setting) set(to *settings, text string) error {
	bad := func(want string) error { return fmt.Errorf("%s is %q: want %s", s.key, text, want) }
	switch v := s.value(to).(type) {
	case *string:
		*v = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad("true or false")
		}
		*v = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return bad("a whole number")
		}
		*v = n
	case *int32:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return bad("a whole number")
		}
		*v = int32(n)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return bad("a duration such as 100ms, 30s or 2h")
		}
		*v = d
	case *[]string:
		*v = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*v = append(*v, part)
			}
		}
	case startFlag:
		if err := v.Set(text); err != nil {
			return bad(strings.TrimPrefix(err.Error(), "want "))
		}
	default:
		panic(fmt.Sprintf("BUG: setting %s has type %T", s.key, v))
	}
	return nil
}

// text returns the value as set would take it.
func (s setting) text(of *settings) string {
	switch v := s.value(of).(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case *int:
		return strconv.Itoa(*v)
	case *int32:
		return strconv.Itoa(int(*v))
	case *time.Duration:
		return shortDuration(*v)
	case *[]string:
		return strings.Join(*v, ",")
	case startFlag:
		return v.String()
	}
	panic("BUG: setting " + s.key + " has no text")
}

// shortDuration writes 1h0m0s as 1h.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// validate checks everything, and returns what is wrong with each key.
func (s *settings) validate() []error {
	var errs []error
	for _, one := range allSettings {
		if one.check != nil {
			if err := one.check(s); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if s.app.HTTPListen != "" {
		if _, _, err := net.SplitHostPort(s.app.HTTPListen); err != nil {
			errs = append(errs, fmt.Errorf("http.listen is %q: want host:port, such as 127.0.0.1:8080", s.app.HTTPListen))
		}
	}
	for _, b := range s.app.Kafka.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("kafka.brokers holds %q: want host:port", b))
		}
	}
	if err := s.app.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

package app

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/rabbitmq"
	"ragstreams/kafka"
	"ragstreams/management"
	"ragstreams/processors"
	"ragstreams/window"
)

// Options is everything that a running program can be told. Kafka.Brokers is
// required; DefaultOptions fills the rest.
type Options struct {
	Kafka       kafka.Config
	Replication int // of own topics; -1: the cluster's default
	// CreateTopics also makes missing source topics; own topics are always made.
	CreateTopics bool
	Prefix       string // of own topics and groups
	// Partitions of every own topic that holds data. It can not be changed later.
	Partitions int32
	Start      kafka.Start
	// Instance is this process's stable name. Two processes must not share one.
	Instance       string
	CommitInterval time.Duration
	SessionTimeout time.Duration
	// LeaveOnStop hands the partitions over when the process is stopped: for
	// instances that do not come back.
	LeaveOnStop bool
	// Sessions is how many members a process contributes to the group of each
	// source topic and of assemble, so that one works while another commits.
	Sessions int

	Sources []string // source topics
	// BehaviourSources are those of Sources whose events tell what people did. The others
	// named here are ignored.
	BehaviourSources []string

	Pane        time.Duration
	Grace       time.Duration
	MaxFuture   time.Duration
	IdleTimeout time.Duration
	BehindAfter time.Duration // see window.Source
	AheadLimit  time.Duration // see processors.IngestConfig
	MaxRecord   int           // bytes of one source record
	MaxLabel    int           // bytes of one dimension or error type

	MaxSeries          int           // of each table
	MaxSeriesPerTenant int           // but in errors
	MaxErrorGroups     int           // of one tenant: its series in errors
	Forget             time.Duration // silence after which a series is forgotten
	PaneRetention      time.Duration // how long closed panes are kept one by one
	HourRetention      time.Duration // how long they are kept by the hour

	// MetadataInterval is how often source topics are looked for.
	MetadataInterval time.Duration
	Tick             time.Duration
	// PurgeInterval is how often repartition topics are cut: often enough that what
	// lies there stays small beside the source topics.
	PurgeInterval time.Duration

	Rules       string // pattern of the names of rule files; "": no alerts
	AlertPolicy string // name of a file, see package policy; "": none
	// ReloadRules makes the rule files be read again, with every value; may be nil.
	ReloadRules <-chan struct{}
	AlertFormat alerts.Format   // of the body of what is published
	AMQP        rabbitmq.Config // where alerts go; without a URL they stay in the outbox
	Topology    string          // name of a file, see rabbitmq.Topology; "": none

	Watch Watch // what is measured of other servers

	HTTPListen string // "" serves nothing
	// HTTPContent lets HTTP show what records hold: prompts, answers, names. Without it
	// HTTP shows no more than tables and metrics do.
	HTTPContent bool
	Logger      *slog.Logger
	// OnListen is told the HTTP address once it is bound.
	OnListen func(addr string)
	// Version is what the build information metric shows.
	Version string
	// Clock is replaced in tests.
	Clock processors.Clock
}

// DefaultSources are the topics that RAG services write.
var DefaultSources = []string{"rag-traces", "kotaemon-dialog-events", "user-behaviour", "system-logs"}

// DefaultBehaviour are those of them in which people do something.
var DefaultBehaviour = []string{"kotaemon-dialog-events", "user-behaviour"}

// DefaultOptions returns the options of `analytics run` without configuration.
func DefaultOptions() Options {
	return Options{
		Kafka:              kafka.Config{ClientID: "ragstreams"},
		Replication:        -1,
		Prefix:             processors.DefaultPrefix,
		Partitions:         4,
		CommitInterval:     100 * time.Millisecond,
		SessionTimeout:     10 * time.Second,
		Sessions:           2,
		Sources:            DefaultSources,
		BehaviourSources:   DefaultBehaviour,
		Pane:               10 * time.Second,
		Grace:              time.Minute,
		MaxFuture:          5 * time.Minute,
		IdleTimeout:        30 * time.Second,
		BehindAfter:        time.Hour,
		AheadLimit:         5 * time.Minute,
		MaxRecord:          1 << 20,
		MaxLabel:           processors.DefaultLabelBytes,
		MaxSeries:          200_000,
		MaxSeriesPerTenant: 50_000,
		MaxErrorGroups:     1000,
		Forget:             35 * 24 * time.Hour,
		PaneRetention:      2 * time.Hour,
		HourRetention:      35 * 24 * time.Hour,
		MetadataInterval:   10 * time.Second,
		Tick:               time.Second,
		PurgeInterval:      30 * time.Second,
		AlertFormat:        alerts.FormatOwn,
		AMQP:               rabbitmq.Config{Declare: true},
		Watch:              Watch{Interval: 15 * time.Second, Lag: true, Cluster: true, RabbitMQ: management.Config{Queues: ".*"}},
		HTTPListen:         "127.0.0.1:8080",
		Logger:             slog.New(slog.DiscardHandler),
		Clock:              processors.SystemClock(),
	}
}

// Validate reports every setting that cannot work, each with what is accepted.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(o.Kafka.Brokers) > 0, "kafka.brokers is empty: give at least one host:port")
	check(o.Prefix != "", "kafka.prefix is empty: own topics need a prefix")
	check(o.Partitions > 0 && o.Partitions <= 1024, "kafka.partitions is %d: want 1 to 1024", o.Partitions)
	check(o.Replication == -1 || o.Replication > 0, "kafka.replication is %d: want a positive number, or -1 for the cluster's default", o.Replication)
	check(o.Instance != "", "instance is empty: give this process a stable name of its own")
	check(o.CommitInterval >= 10*time.Millisecond && o.CommitInterval <= 10*time.Second, "kafka.commit_interval is %s: want 10ms to 10s", o.CommitInterval)
	check(o.SessionTimeout >= time.Second && o.SessionTimeout <= 5*time.Minute, "kafka.session_timeout is %s: want 1s to 5m", o.SessionTimeout)
	check(o.CommitInterval < o.SessionTimeout, "kafka.commit_interval is %s: want less than kafka.session_timeout, %s", o.CommitInterval, o.SessionTimeout)
	check(o.Sessions > 0 && o.Sessions <= 64, "kafka.sessions is %d: want 1 to 64", o.Sessions)
	check(len(o.Sources) > 0, "sources is empty: name at least one topic")
	check(o.Pane >= time.Millisecond && o.Pane <= time.Hour && time.Hour%o.Pane == 0, "window.pane is %s: want a part of an hour, such as 10s", o.Pane)
	check(o.Grace >= 0 && o.Grace <= 24*time.Hour, "window.grace is %s: want 0s to 24h", o.Grace)
	check(o.MaxFuture >= 0, "window.max_future is %s: want 0s or more", o.MaxFuture)
	check(o.IdleTimeout > 0, "window.idle_timeout is %s: want more than 0s", o.IdleTimeout)
	check(o.MaxRecord > 0 && o.MaxRecord <= 64<<20, "limits.record_bytes is %d: want 1 to 67108864", o.MaxRecord)
	check(o.MaxLabel >= processors.MinLabelBytes && o.MaxLabel <= processors.MaxLabelBytes, "limits.label_bytes is %d: want %d to %d", o.MaxLabel, processors.MinLabelBytes, processors.MaxLabelBytes)
	check(o.MaxSeries >= 0, "limits.series is %d: want 0 (no limit) or more", o.MaxSeries)
	check(o.MaxSeriesPerTenant >= 0, "limits.series_per_tenant is %d: want 0 (no limit) or more", o.MaxSeriesPerTenant)
	check(o.MaxErrorGroups >= 0, "limits.error_groups_per_tenant is %d: want 0 (no limit) or more", o.MaxErrorGroups)
	check(o.PaneRetention >= 10*o.Pane, "retention.panes is %s: want at least ten panes, %s", o.PaneRetention, 10*o.Pane)
	check(o.HourRetention >= o.PaneRetention, "retention.hours is %s: want at least as long as retention.panes, %s", o.HourRetention, o.PaneRetention)
	check(o.Forget == 0 || o.Forget > o.Grace+o.Pane, "retention.series is %s: want 0 (for ever) or more than pane and grace", o.Forget)
	check(slices.Contains(alerts.Formats, o.AlertFormat), "amqp.format is %q: want %s, %s or %s", o.AlertFormat, alerts.FormatOwn, alerts.FormatCloudEvents, alerts.FormatAlertmanager)
	check(o.Watch.Interval >= time.Second && o.Watch.Interval <= 10*time.Minute, "watch.interval is %s: want 1s to 10m", o.Watch.Interval)
	check(o.Watch.RabbitMQ.URL != "" || o.Watch.RabbitMQ.Username == "" && o.Watch.RabbitMQ.Password == "", "watch.rabbitmq.url is empty: a login alone leads nowhere; give the address of the management API")
	seen := map[string]bool{}
	for _, s := range o.Sources {
		check(s != "" && !seen[s], "sources: %q is given twice or empty", s)
		seen[s] = true
	}
	if o.Watch.RabbitMQ.URL != "" {
		if _, err := management.New(o.Watch.RabbitMQ); err != nil {
			errs = append(errs, fmt.Errorf("watch.rabbitmq.%w", err))
		}
	}
	if err := o.Kafka.Security.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("kafka.security: %w", err))
	}
	return errors.Join(errs...)
}

func (o *Options) panes() window.Panes {
	return window.Panes{Size: o.Pane.Milliseconds(), Grace: o.Grace.Milliseconds()}
}

func (o *Options) names() processors.Names { return processors.Names{Prefix: o.Prefix} }

// readers are the consumer groups of all stages, and what they read.
func (o *Options) readers() []kafka.Reader {
	n := o.names()
	var all []kafka.Reader
	add := func(group, topic string, start kafka.Start) {
		all = append(all, kafka.Reader{Group: group, Topics: []string{topic}, Start: start})
	}
	add(n.AssembleGroup(), n.Events(), kafka.Start{})
	for _, topic := range o.Sources {
		add(n.IngestGroup(topic), topic, o.Start)
	}
	for _, table := range processors.TableNames {
		add(n.TableGroup(table), n.Partials(table), kafka.Start{})
	}
	for _, table := range processors.Windowed {
		add(n.HistoryGroup(table), n.Windows(table), kafka.Start{})
	}
	if o.Rules != "" {
		add(n.AlertsGroup(), n.Evaluations(), kafka.Start{})
		if o.AMQP.URL != "" {
			add(n.PublisherGroup(), n.Outbox(), kafka.Start{})
		}
	}
	return all
}

// groups are the consumer groups of all stages.
func (o *Options) groups() (groups []string) {
	for _, r := range o.readers() {
		groups = append(groups, r.Group)
	}
	return groups
}

// Package metrics shows the tables to Prometheus. Its collectors read at scrape:
// the table is the only copy of a number, so a series that leaves the table, or
// the instance, leaves the scrape as well.
//
// Every instance keeps all of every table, but exports only the rows of the
// partitions that it owns, and those only from where their owner restored them:
// so a series is exported by one instance at a time, and does not fall when it
// moves. The shipped scrape configuration drops the instance label from rag_*,
// so that a move leaves one continuous series.
package metrics

import (
	"strings"

	"ragstreams/tables"

	"github.com/prometheus/client_golang/prometheus"
)

// Type is what kind of metric a name stands for.
type Type string

// Types of metrics.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Doc describes one metric to the reader.
type Doc struct {
	Name   string
	Type   Type
	Labels []string
	Help   string
}

// metric is a Doc that values can be made of.
type metric struct {
	Doc
	desc *prometheus.Desc
}

// docs is the table of all metrics, in the order of the documentation.
var docs []*metric

func define(name string, t Type, help string, labels ...string) *metric {
	m := &metric{Doc{name, t, labels, help}, prometheus.NewDesc(name, help, labels, nil)}
	docs = append(docs, m)
	return m
}

// Names of metrics that rules may ask for, too.
const (
	QPS            = "rag_qps"
	ActiveUsers    = "rag_behaviour_active_users"
	ActiveSessions = "rag_behaviour_active_sessions"
	Lag            = "analytics_lag_seconds"
	Behind         = "analytics_behind"
)

// Metrics of the product, by series of the tables.
var (
	events         = define(tables.MetricEvents, Counter, "Events counted, by whether they succeeded.", "tenant", "app", "event_type", "status")
	qps            = define(QPS, Gauge, "Events a second over the newest minute of event time.", "tenant", "app", "event_type")
	duration       = define(tables.MetricDuration, Histogram, "How long stages took, failed calls included.", "tenant", "app", "stage", "model")
	ttft           = define(tables.MetricTTFT, Histogram, "Time to the first token, of calls that told it.", "tenant", "app", "stage", "model")
	requests       = define(tables.MetricRequests, Counter, "Requests to models that told of tokens.", "tenant", "app", "model")
	tokens         = define(tables.MetricTokens, Counter, "Tokens of requests to models, by type: input or output.", "tenant", "app", "model", "type")
	behaviour      = define(tables.MetricBehaviour, Counter, "What people did, by type of event.", "tenant", "app", "event_type")
	activeUsers    = define(ActiveUsers, Gauge, "Distinct users over the newest five minutes of event time; above 64 estimated, with a standard error of 2.3 %.", "tenant", "app", "event_type")
	activeSessions = define(ActiveSessions, Gauge, "Distinct sessions, as those users.", "tenant", "app", "event_type")
	errorEvents    = define(tables.MetricErrors, Counter, "Errors, by group of equal messages.", "tenant", "app", "stage", "fingerprint", "error_type")
)

// Metrics of the program itself.
var (
	records       = define("analytics_records_total", Counter, "Records of source topics, by what became of them.", "topic", "outcome", "reason")
	recordsIn     = define("analytics_records_in_total", Counter, "Records read from source topics.", "topic")
	inFlight      = define("analytics_records_in_flight", Gauge, "Records read that have no outcome yet.", "topic")
	lag           = define(Lag, Gauge, "How far the table's watermark is behind the clock.", "table")
	behind        = define(Behind, Gauge, "Whether any source partition is not read to its end, or nobody tells.")
	seriesCount   = define("analytics_series", Gauge, "Series of the table, in partitions owned by this instance.", "table")
	overflow      = define("analytics_series_overflow_total", Counter, "Events counted in the overflow series because of a limit.", "table")
	labelsCut     = define("analytics_labels_cut_total", Counter, "Values of events that were too long: cut, or left out as a sample (trace_id).", "label")
	replayed      = define("analytics_records_replayed_total", Counter, "Records read from source topics that a replay had sent, by why they had been dead letters or late.", "topic", "reason")
	restoreRatio  = define("analytics_restore_progress_ratio", Gauge, "How much of the table this instance has read since it started.", "table")
	eventAge      = define("analytics_event_age_seconds", Histogram, "Age of the newest event of a transaction when assemble commits it.")
	commitSeconds = define("analytics_commit_duration_seconds", Histogram, "How long commits took, flush included.", "group", "result")
	buildInfo     = define("analytics_build_info", Gauge, "Always 1; the labels tell what was built.", "version", "go_version")
)

// Docs lists every metric.
func Docs() []Doc {
	list := make([]Doc, len(docs))
	for i, m := range docs {
		list[i] = m.Doc
	}
	return list
}

// value makes a counter or gauge. Label values come from events: bytes that are
// no UTF-8 must not break the scrape.
func (m *metric) value(v float64, labels ...string) prometheus.Metric {
	t := prometheus.CounterValue
	if m.Type == Gauge {
		t = prometheus.GaugeValue
	}
	return prometheus.MustNewConstMetric(m.desc, t, v, valid(labels)...)
}

func valid(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
}

// Package processors is the topology: one file a stage, each a goka group.
//
//	source topics ─▶ ingest ─▶ analytics-events ─▶ assemble ─▶ analytics-<table>-partials ─▶ table ─▶ analytics-<table>-table
//	                   ├─▶ analytics-dlq               └─▶ analytics-late                     └─▶ analytics-<table>-windows
//	                   ├─▶ analytics-late
//	                   └─▶ analytics-progress
//
//	analytics-<table>-windows ─▶ history ─▶ analytics-<table>-hours
//
//	tables ─ rules ─▶ analytics-alert-evaluations ─▶ alerts ─▶ analytics-alerts-table
//	                                                    └─▶ analytics-alerts-outbox
//
// Nothing is emitted per event. Between two commits a stage gathers; when its
// transport flushes, what was gathered leaves as a few records, in the same
// transaction as the offsets of what was read. A stage's memory is therefore void
// when a transaction aborts: its tasks are closed and built again from what is
// durable.
//
// The package decides what is counted, where and when; it neither connects to
// Kafka nor reads clocks but those it is given. The transport satisfies Output
// and Rows, and calls the methods of tasks from one goroutine at a time.
package processors

import (
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"ragstreams/codecs"
	"ragstreams/deadletters"
	"ragstreams/tables"
)

// Output sends records in the open transaction. A partition of -1 lets the key
// choose. The slices are kept until the commit.
type Output interface {
	Send(topic string, partition int32, key, value []byte, headers ...codecs.Header)
}

// Rows reads and writes the rows of one table partition. Both sides keep the values
// that they are given, and neither changes them.
type Rows interface {
	Set(key string, value []byte)
	Delete(key string)
	// Len is how many All visits.
	Len() int
	All(visit func(key string, value []byte) bool)
}

// Names are the names of own topics and groups. They are state: another prefix
// is another deployment.
type Names struct{ Prefix string }

// DefaultPrefix begins the names of all own topics and groups.
const DefaultPrefix = "analytics-"

// Events is the repartition topic between ingest and assemble.
func (n Names) Events() string { return n.Prefix + "events" }

// Progress is the compacted topic of what ingest reports of source partitions.
func (n Names) Progress() string { return n.Prefix + "progress" }

// DLQ is the topic of poison records, bytes unchanged.
func (n Names) DLQ() string { return n.Prefix + "dlq" }

// Late is the topic of late records.
func (n Names) Late() string { return n.Prefix + "late" }

// Partials is the repartition topic between assemble and a table.
func (n Names) Partials(table string) string { return n.Prefix + table + "-partials" }

// Windows is the topic of a table's closed windows.
func (n Names) Windows(table string) string { return n.Prefix + table + "-windows" }

// Hours is the topic of a table's closed windows, summed up by the hour.
func (n Names) Hours(table string) string { return n.Prefix + table + "-hours" }

// Table is the changelog of a table; goka derives it from the group's name.
func (n Names) Table(table string) string { return n.TableGroup(table) + "-table" }

// Evaluations is the topic of what rules say of alerts.
func (n Names) Evaluations() string { return n.Prefix + "alert-evaluations" }

// Alerts is the changelog of the table of alerts.
func (n Names) Alerts() string { return n.AlertsGroup() + "-table" }

// Silences is the compacted topic of what people do not want to be told.
func (n Names) Silences() string { return n.Prefix + "silences" }

// Outbox is the topic of what people are to be told of alerts.
func (n Names) Outbox() string { return n.Prefix + "alerts-outbox" }

// AlertsGroup is the consumer group that owns the table of alerts.
func (n Names) AlertsGroup() string { return n.Prefix + "alerts" }

// PublisherGroup is the consumer group that reads the outbox.
func (n Names) PublisherGroup() string { return n.Prefix + "alerts-publisher" }

// WatchGroup is the consumer group that elects the instance which measures lag and
// servers. It commits nothing.
func (n Names) WatchGroup() string { return n.Prefix + "watch" }

// IngestGroup is the consumer group that reads one source topic.
func (n Names) IngestGroup(source string) string { return n.Prefix + "ingest-" + source }

// AssembleGroup is the consumer group that reads Events.
func (n Names) AssembleGroup() string { return n.Prefix + "assemble" }

// TableGroup is the consumer group that owns a table.
func (n Names) TableGroup(table string) string { return n.Prefix + table }

// HistoryGroup is the consumer group that sums a table's windows up by the hour.
func (n Names) HistoryGroup(table string) string { return n.Prefix + table + "-history" }

// TableNames are the tables, each a stage of its own.
var TableNames = []string{
	tables.TrafficTable.Name, tables.LatencyTable.Name, tables.UsageTable.Name, tables.BehaviourTable.Name,
	tables.ErrorsTable.Name, tables.RecordsTable.Name,
}

// Windowed are those of TableNames that have windows, and a history.
var Windowed = TableNames[:len(TableNames)-1]

// Clock tells the time. Wall is what timestamps are compared with; Mono never
// jumps and measures silence.
type Clock struct {
	Wall func() time.Time
	Mono func() time.Duration
}

// SystemClock is the clock of this machine.
func SystemClock() Clock {
	start := time.Now()
	return Clock{Wall: time.Now, Mono: func() time.Duration { return time.Since(start) }}
}

// maxSent is what every record that a stage gathers or diverts stays below, half
// of what a broker takes by default: one that it refuses would be sent again for
// ever. Rows are the exception; see TableTask.Flush.
const maxSent = 512 << 10

// maxRecord is the size from which a record that is being gathered is sent before
// its commit. What is added to it last may go beyond, with labels at their longest
// (MaxLabelBytes) by:
//
//	packed record   25 KiB: a series of 5 labels, an error group (error type and
//	                template), an event of 180 bytes, and the head with its report
//	batch, windows  30 KiB: the key of a series, 4 labels, and a partial of latency,
//	                2 histograms of 661 buckets at 10 bytes; one of errors has a
//	                sketch of 1.5 KiB, error type, template and 2 samples: 7 KiB
const maxRecord = 400 << 10

// NoPane is the pane of partials that belong to no window: they go straight into
// the running total.
const NoPane int64 = -1

// Outcomes of a source record, as in analytics_records_total. Each record ends
// with exactly one of them; outcomeIn counts what came in.
const (
	OutcomeIn        = "in"
	OutcomeCounted   = "counted"
	OutcomeDuplicate = "duplicate"
	OutcomeLate      = "late"
	OutcomePoison    = "poison"
)

// Reasons of late records: before which time they came too late.
const (
	lateStreamTime = "stream_time"               // of their source partition
	lateWatermark  = deadletters.ReasonWatermark // of all sources
)

// knownReason returns a reason for which a record may be on a side topic, or "other": a
// header may hold anything, and labels are a closed set.
func knownReason(reason string) string {
	if slices.Contains(codecs.Reasons, codecs.Reason(reason)) || reason == lateStreamTime || reason == lateWatermark {
		return reason
	}
	return "other"
}

// counts gathers what happened to records until the next flush.
type counts map[count]int64

type count struct{ topic, outcome, reason string }

// target is the series of the records table that a count belongs to.
func (k count) target(partitions int32) target {
	return targetOf(partitions, k.topic, k.outcome, k.reason)
}

// originHeaders build the record headers of a dead letter or late record.
func originHeaders(topic string, partition int32, offset, timestamp int64, more ...codecs.Header) []codecs.Header {
	h := []codecs.Header{
		{Key: deadletters.HeaderTopic, Value: []byte(topic)},
		{Key: deadletters.HeaderPartition, Value: strconv.AppendInt(nil, int64(partition), 10)},
		{Key: deadletters.HeaderOffset, Value: strconv.AppendInt(nil, offset, 10)},
		{Key: deadletters.HeaderTimestamp, Value: strconv.AppendInt(nil, timestamp, 10)},
	}
	return append(h, more...)
}

// partitionOf returns the partition of a table where a key's row lives: goka's
// hash, so that goka's own look-ups find it.
func partitionOf(key string, n int32) int32 {
	h := fnv.New32a()
	h.Write([]byte(key))
	v := int32(h.Sum32())
	if v < 0 {
		v = -v
	}
	return max(v, 0) % n // the one number without a positive twin goes to 0
}

package processors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"
)

// driver runs the whole topology without a broker, on a clock of its own: what a
// stage sends is a record in a log, and the next stage reads it there. One source
// topic with any number of partitions, one partition of everything else.
type driver struct {
	t        *testing.T
	names    processors.Names
	panes    window.Panes
	wall     time.Time
	mono     time.Duration
	logs     map[string][]sent // by topic
	source   int64             // offset of the next source record
	cut      map[string]int64  // values that were too long, by label
	replayed map[string]int64  // records that a replay had sent, by topic and reason

	progress  *processors.Progress
	ingest    []*ingester
	assemble  *reader[*processors.AssembleTask]
	traffic   *reader[*processors.TableTask[tables.Traffic, *tables.Traffic]]
	records   *reader[*processors.TableTask[tables.Records, *tables.Records]]
	expected  []window.Partition
	configure []func(*processors.IngestConfig)
	stages    struct {
		ingest   *processors.Ingest
		assemble *processors.Assemble
	}
}

type sent struct {
	key, value []byte
	headers    []codecs.Header
	at         int64 // the record's timestamp
}

func (s sent) header(key string) string {
	for _, h := range s.headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Send implements processors.Output.
func (d *driver) Send(topic string, _ int32, key, value []byte, headers ...codecs.Header) {
	d.logs[topic] = append(d.logs[topic], sent{key, value, headers, at("13:00:00").Add(d.mono).UnixMilli()})
}

type ingester struct {
	task     *processors.IngestTask
	metadata string
}

// reader is a task with its place in its input.
type reader[T any] struct {
	task     T
	next     int
	metadata string
}

// rows are the rows of a table partition.
type rows map[string][]byte

func (r rows) Set(key string, value []byte) { r[key] = value }
func (r rows) Delete(key string)            { delete(r, key) }
func (r rows) Len() int                     { return len(r) }
func (r rows) All(visit func(key string, value []byte) bool) {
	for k, v := range r {
		if !visit(k, v) {
			return
		}
	}
}

// newDriver starts the topology over n source partitions.
func newDriver(t *testing.T, n int32, configure ...func(*processors.IngestConfig)) *driver {
	d := &driver{
		t: t, names: processors.Names{Prefix: "analytics-"}, panes: window.Panes{Size: 10_000, Grace: 60_000},
		wall: at("13:00:00"), logs: map[string][]sent{}, cut: map[string]int64{}, replayed: map[string]int64{},
	}
	d.configure = configure
	d.progress = processors.NewProgress(d.panes, d.clock())
	for p := range n {
		d.expected = append(d.expected, window.Partition{Topic: "rag-traces", Partition: p})
		d.ingest = append(d.ingest, &ingester{})
	}
	d.progress.Expect(d.expected)
	d.startStages()
	d.startIngest()
	d.startAssemble()
	d.traffic = startTable[tables.Traffic](d, "traffic", processors.TableConfig{}, rows{})
	d.records = startTable[tables.Records](d, "records", processors.TableConfig{}, rows{})
	return d
}

func (d *driver) clock() processors.Clock {
	return processors.Clock{Wall: func() time.Time { return d.wall }, Mono: func() time.Duration { return d.mono }}
}

// startStages makes the stages anew, as a program with other settings would.
func (d *driver) startStages() {
	ingest := processors.IngestConfig{
		Names: d.names, Topic: "rag-traces", EventPartitions: 1, RecordPartitions: 1, Panes: d.panes,
		MaxFuture: 5 * time.Minute, IdleAfter: 30 * time.Second, BehindAfter: time.Hour, AheadLimit: 5 * time.Minute,
		Progress: d.progress, Clock: d.clock(),
		LabelsCut: func(label string, n int64) { d.cut[label] += n },
		Replayed:  func(topic, reason string, n int64) { d.replayed[topic+"/"+reason] += n },
	}
	for _, c := range d.configure {
		c(&ingest)
	}
	d.stages.ingest = processors.NewIngest(ingest, d)
	d.stages.assemble = processors.NewAssemble(processors.AssembleConfig{
		Names: d.names, TablePartitions: 1, Panes: d.panes, Clock: d.clock(),
		Expected: func() []window.Partition { return d.expected },
		Read: func(_ context.Context, _ int32, from, to int64, visit func(int64, []byte) error) error {
			for i := from; i < to; i++ {
				if err := visit(i, d.logs[d.names.Events()][i].value); err != nil {
					return err
				}
			}
			return nil
		},
	}, d)
}

// startIngest begins again with what is durable of every source partition.
func (d *driver) startIngest() {
	for p, in := range d.ingest {
		if in.task != nil {
			in.task.Close()
		}
		var err error
		if in.task, err = d.stages.ingest.Assign(int32(p), in.metadata, nil); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *driver) startAssemble() {
	var next int64
	metadata := ""
	if d.assemble != nil {
		next, metadata = int64(d.assemble.next), d.assemble.metadata
		d.assemble.task.Close()
	}
	task, err := d.stages.assemble.Assign(d.t.Context(), 0, next, metadata)
	if err != nil {
		d.t.Fatal(err)
	}
	d.assemble = &reader[*processors.AssembleTask]{task: task, next: int(next), metadata: metadata}
}

func startTable[M any, P tables.Measure[M]](d *driver, name string, cfg processors.TableConfig, r rows) *reader[*processors.TableTask[M, P]] {
	cfg.Names, cfg.Table, cfg.Partitions, cfg.Assemblers, cfg.Panes = d.names, name, 1, 1, d.panes
	task, err := processors.NewTable[M, P](cfg, d).Assign(0, r)
	if err != nil {
		d.t.Fatal(err)
	}
	return &reader[*processors.TableTask[M, P]]{task: task}
}

// at is a time of day.
func at(clock string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-03-01 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// event writes one event to a source partition: its time of day, its id, and more
// JSON members.
func (d *driver) event(partition int32, clock, id string, more ...string) {
	members := []string{`"event_type":"user_query"`, fmt.Sprintf(`"timestamp":%q`, at(clock).Format(time.RFC3339Nano))}
	if id != "" {
		members = append(members, fmt.Sprintf(`"event_id":%q`, id))
	}
	d.raw(partition, []byte("{"+strings.Join(append(members, more...), ",")+"}"))
}

func (d *driver) raw(partition int32, value []byte) {
	d.ingest[partition].task.Process([]codecs.Record{{Offset: d.source, Timestamp: d.wall.UnixMilli(), Value: value}})
	d.source++
}

// flow commits every stage once, in order. atEnd says that all source partitions
// were read to their end.
func (d *driver) flow(atEnd bool) {
	d.t.Helper()
	for _, in := range d.ingest {
		in.metadata = flush(d, in.task, atEnd)
	}
	for _, r := range d.logs[d.names.Progress()] {
		if err := d.progress.Record(r.key, r.value, r.at); err != nil {
			d.t.Fatal(err)
		}
	}
	delete(d.logs, d.names.Progress())
	events := d.logs[d.names.Events()]
	for ; d.assemble.next < len(events); d.assemble.next++ {
		d.assemble.task.Process(int64(d.assemble.next), events[d.assemble.next].at, events[d.assemble.next].value)
	}
	d.assemble.metadata = flush(d, d.assemble.task, false)
	drain(d, "traffic", d.traffic)
	drain(d, "records", d.records)
}

type task interface {
	Flush(atEnd bool) (string, error)
}

func flush(d *driver, t task, atEnd bool) string {
	d.t.Helper()
	metadata, err := t.Flush(atEnd)
	if err != nil {
		d.t.Fatal(err)
	}
	return metadata
}

func drain[M any, P tables.Measure[M]](d *driver, table string, r *reader[*processors.TableTask[M, P]]) {
	log := d.logs[d.names.Partials(table)]
	for ; r.next < len(log); r.next++ {
		r.task.Process(int64(r.next), log[r.next].value)
	}
	flush(d, r.task, false)
}

// windows returns the closed windows of traffic as "HH:MM:SS event_type count".
func (d *driver) windows() []string {
	var out []string
	for _, r := range d.logs[d.names.Windows("traffic")] {
		in, err := tables.NewBatchReader(r.value)
		if err != nil {
			d.t.Fatal(err)
		}
		for in.Next() {
			var m tables.Traffic
			if err := tables.DecodeBody(in.Body, &m); err != nil {
				d.t.Fatal(err)
			}
			dims, err := tables.TrafficTable.DimsOf(string(in.Key))
			if err != nil {
				d.t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s %s %d", time.UnixMilli(in.Pane).UTC().Format("15:04:05"), dims[2], m.Count))
		}
	}
	slices.Sort(out)
	return out
}

// outcomes returns the records table as "outcome/reason count".
func (d *driver) outcomes() string {
	var out []string
	d.records.task.Visit(func(key string, row *tables.Row[tables.Records, *tables.Records]) {
		dims, err := tables.RecordsTable.DimsOf(key)
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s/%s", dims[1], dims[2]), "/")+fmt.Sprintf(" %d", row.Sum().Count))
	})
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (d *driver) wantOutcomes(want string) {
	d.t.Helper()
	if got := d.outcomes(); got != want {
		d.t.Errorf("outcomes: %s\nwant:     %s", got, want)
	}
}

func (d *driver) wantWindows(want ...string) {
	d.t.Helper()
	if got := d.windows(); !slices.Equal(got, want) {
		d.t.Errorf("closed windows: %q\nwant:           %q", got, want)
	}
}

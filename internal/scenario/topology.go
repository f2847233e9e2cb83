package scenario

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"ragstreams/app"
	"ragstreams/codecs"
	"ragstreams/metrics"
	"ragstreams/processors"
	"ragstreams/queries"
	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Topology is a World without a broker: all stages and views in one goroutine, on
// the scenario's clock. A topic is a slice; what a stage sends is there at once,
// and the next stage reads it when it settles. Every flush is a commit.
type Topology struct {
	given Given
	names processors.Names
	panes window.Panes
	wall  time.Time
	start time.Time

	logs     map[topicPartition][]logged
	progress *processors.Progress
	reported int // of the progress topic
	readers  []reader
	views    []view
	handler  http.Handler
	watch    *watch // nil without rules
}

type topicPartition struct {
	topic     string
	partition int32
}

type logged struct {
	key, value []byte
	headers    []codecs.Header
	timestamp  int64
}

// reader is a task on one partition, and what is durable of it.
type reader struct {
	from     topicPartition
	next     int
	metadata string
	task     task
	assign   func(next int, metadata string) (task, error)
}

type task interface {
	Process(offset int64, r logged)
	Flush(atEnd bool) (string, error)
	Close()
}

// NewTopology starts a topology with nothing in it.
func NewTopology(g Given) (*Topology, error) {
	t := &Topology{
		given: g, names: processors.Names{Prefix: processors.DefaultPrefix},
		panes: window.Panes{Size: g.Pane.Milliseconds(), Grace: g.Grace.Milliseconds()},
		logs:  map[topicPartition][]logged{},
	}
	t.progress = processors.NewProgress(t.panes, t.clock())
	t.progress.Expect(t.expected())
	for _, s := range g.Sources {
		ingest := processors.NewIngest(processors.IngestConfig{
			Names: t.names, Topic: s.Topic, EventPartitions: g.Partitions, RecordPartitions: g.Partitions, Panes: t.panes,
			MaxFuture: g.MaxFuture, IdleAfter: g.Idle, BehindAfter: time.Hour, AheadLimit: 5 * time.Minute,
			LabelBytes: 256, Behaviour: slices.Contains(app.DefaultBehaviour, s.Topic), Progress: t.progress, Clock: t.clock(),
		}, t)
		for p := range s.Partitions {
			t.read(s.Topic, p, func(_ int, metadata string) (task, error) {
				one, err := ingest.Assign(p, metadata, nil)
				return ingestTask{one}, err
			})
		}
	}
	assemble := processors.NewAssemble(processors.AssembleConfig{
		Names: t.names, TablePartitions: g.Partitions, Panes: t.panes, Clock: t.clock(), Expected: t.expected,
		Read: t.readAgain(t.names.Events()),
	}, t)
	for p := range g.Partitions {
		t.read(t.names.Events(), p, func(next int, metadata string) (task, error) {
			one, err := assemble.Assign(context.Background(), p, int64(next), metadata)
			return eventsTask{one}, err
		})
	}
	registry := prometheus.NewRegistry()
	traffic := addTable(t, &tables.TrafficTable, true)
	latency, failed := addTable(t, &tables.LatencyTable, true), addTable(t, &tables.ErrorsTable, true)
	usage, behaviour := addTable(t, &tables.UsageTable, true), addTable(t, &tables.BehaviourTable, true)
	registry.MustRegister(
		metrics.Traffic(exported(t, traffic, &tables.TrafficTable), func() map[string]float64 { return nil }),
		metrics.Latency(exported(t, latency, &tables.LatencyTable)),
		metrics.Usage(exported(t, usage, &tables.UsageTable)),
		metrics.Behaviour(exported(t, behaviour, &tables.BehaviourTable), func() map[string]metrics.Active { return nil }),
		metrics.Errors(exported(t, failed, &tables.ErrorsTable)),
		metrics.Records(exported(t, addTable(t, &tables.RecordsTable, false), &tables.RecordsTable), g.Partitions),
	)
	var all []queries.Table
	for _, v := range t.views {
		all = append(all, v.table)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	none := func() []string { return nil }
	mux.Handle("/", queries.Handler(queries.Options{Tables: all, Now: t.clock().Wall, Missing: none, Notes: none}))
	letters := t.lettersHandler()
	mux.Handle("/api/dlq", letters)
	mux.Handle("/api/dlq/", letters)
	if g.Rules != "" {
		if err := t.addAlerts(series.New(series.Traffic(traffic), series.Latency(latency), series.Errors(failed))); err != nil {
			return nil, err
		}
		mux.Handle("/api/v2/", t.alertsHandler())
	}
	t.handler = mux
	return t, t.Restart(context.Background())
}

func (t *Topology) clock() processors.Clock {
	return processors.Clock{
		Wall: func() time.Time { return t.wall },
		Mono: func() time.Duration { return t.wall.Sub(t.start) },
	}
}

func (t *Topology) expected() []window.Partition {
	var all []window.Partition
	for _, s := range t.given.Sources {
		for p := range s.Partitions {
			all = append(all, window.Partition{Topic: s.Topic, Partition: p})
		}
	}
	return all
}

func (t *Topology) read(topic string, partition int32, assign func(next int, metadata string) (task, error)) {
	t.readers = append(t.readers, reader{from: topicPartition{topic, partition}, assign: assign})
}

// readAgain returns what reads records of a topic for a stage that remembers.
func (t *Topology) readAgain(topic string) func(ctx context.Context, partition int32, from, to int64, visit func(int64, []byte) error) error {
	return func(_ context.Context, partition int32, from, to int64, visit func(int64, []byte) error) error {
		for i, r := range t.logs[topicPartition{topic, partition}][from:to] {
			if err := visit(from+int64(i), r.value); err != nil {
				return err
			}
		}
		return nil
	}
}

// ingestTask reads records one by one.
type ingestTask struct{ *processors.IngestTask }

func (i ingestTask) Process(offset int64, r logged) {
	i.IngestTask.Process([]codecs.Record{{Offset: offset, Timestamp: r.timestamp, Key: r.key, Value: r.value, Headers: r.headers}})
}

// batchTask reads what our own stages send.
type batchTask[T interface {
	Process(offset int64, value []byte)
	Flush(atEnd bool) (string, error)
	Close()
}] struct{ of T }

// eventsTask reads what ingest sends.
type eventsTask struct{ *processors.AssembleTask }

func (e eventsTask) Process(offset int64, r logged) {
	e.AssembleTask.Process(offset, r.timestamp, r.value)
}

func (b batchTask[T]) Process(offset int64, r logged)   { b.of.Process(offset, r.value) }
func (b batchTask[T]) Flush(atEnd bool) (string, error) { return b.of.Flush(atEnd) }
func (b batchTask[T]) Close()                           { b.of.Close() }

// view is the read side of a table, and how far its topics were read.
type view struct {
	table queries.Table
	feed  func() error
}

func addTable[M any, P tables.Measure[M]](t *Topology, def *tables.Table[M], windowed bool) *views.View[M, P] {
	g := t.given
	v := views.New[M, P](views.Options{Panes: t.panes, Partitions: g.Partitions, Assemblers: int(g.Partitions), Trim: def.Trim})
	v.Recovered()
	cfg := processors.TableConfig{
		Names: t.names, Table: def.Name, Partitions: g.Partitions, Assemblers: g.Partitions, Panes: t.panes, TotalsOnly: !windowed,
	}
	if windowed {
		cfg.MaxSeries, cfg.MaxPerTenant = g.Series, g.SeriesPerTenant
	}
	stage := processors.NewTable[M, P](cfg, t)
	changelog, windows, hours := t.names.Table(def.Name), t.names.Windows(def.Name), t.names.Hours(def.Name)
	history := processors.NewHistory[M, P](processors.HistoryConfig{Names: t.names, Table: def.Name, Read: t.readAgain(windows)}, t)
	for p := range g.Partitions {
		t.read(t.names.Partials(def.Name), p, func(int, string) (task, error) {
			one, err := stage.Assign(p, rows{t, topicPartition{changelog, p}})
			return batchTask[*processors.TableTask[M, P]]{one}, err
		})
		if windowed {
			t.read(windows, p, func(next int, metadata string) (task, error) {
				one, err := history.Assign(context.Background(), p, int64(next), metadata)
				return batchTask[*processors.HistoryTask[M, P]]{one}, err
			})
		}
	}
	next := map[topicPartition]int{}
	feed := func(topic string, take func(partition int32, offset int, r logged) error) error {
		for p := range g.Partitions {
			at := topicPartition{topic, p}
			for ; next[at] < len(t.logs[at]); next[at]++ {
				if err := take(p, next[at], t.logs[at][next[at]]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	t.views = append(t.views, view{queries.Of(v, def, windowed), func() error {
		err := feed(windows, func(p int32, offset int, r logged) error { return v.Windows(p, int64(offset), r.value) })
		if err == nil {
			err = feed(hours, func(p int32, _ int, r logged) error { return v.Hours(p, r.value) })
		}
		if err != nil {
			return err
		}
		return feed(changelog, func(p int32, offset int, r logged) error { return v.Update(p, int64(offset), string(r.key), r.value) })
	}})
	return v
}

// rows are those of a changelog.
type rows struct {
	t  *Topology
	at topicPartition
}

func (r rows) Set(key string, value []byte) { r.t.Send(r.at.topic, r.at.partition, []byte(key), value) }
func (r rows) Delete(key string)            { r.t.Send(r.at.topic, r.at.partition, []byte(key), nil) }

func (r rows) Len() (n int) {
	r.All(func(string, []byte) bool { n++; return true })
	return n
}

func (r rows) All(visit func(key string, value []byte) bool) {
	all := map[string][]byte{}
	for _, l := range r.t.logs[r.at] {
		if l.value == nil {
			delete(all, string(l.key))
		} else {
			all[string(l.key)] = l.value
		}
	}
	for k, v := range all {
		if !visit(k, v) {
			return
		}
	}
}

func exported[M any, P tables.Measure[M]](t *Topology, v *views.View[M, P], def *tables.Table[M]) metrics.Table[M] {
	return metrics.Table[M]{
		View: v, Table: def, Now: t.clock().Wall,
		Owned: func() map[int32]int64 {
			all := map[int32]int64{}
			for p := range t.given.Partitions {
				all[p] = -1
			}
			return all
		},
		Recovered: func() float64 { return 1 },
	}
}

// Send implements processors.Output.
func (t *Topology) Send(topic string, partition int32, key, value []byte, headers ...codecs.Header) {
	at := topicPartition{topic, max(partition, 0)} // < 0: by the key
	t.logs[at] = append(t.logs[at], logged{key, value, headers, t.wall.UnixMilli()})
}

// SetClock implements World.
func (t *Topology) SetClock(now time.Time) {
	if t.start.IsZero() {
		t.start = now
	}
	t.wall = now
}

// Produce sends a record to a source topic.
func (t *Topology) Produce(_ context.Context, r Record) error {
	at := topicPartition{r.Topic, r.Partition}
	t.logs[at] = append(t.logs[at], logged{nil, r.Value, nil, r.Timestamp.UnixMilli()})
	return nil
}

// Settle implements World.
func (t *Topology) Settle(ctx context.Context) error {
	const enough = 100
	for range enough {
		moved, err := t.flow()
		if err == nil && !moved && t.watch != nil {
			moved, err = t.evaluate(ctx)
		}
		if err != nil {
			return err
		}
		if !moved {
			return nil
		}
	}
	return fmt.Errorf("not settled after %d rounds of commits", enough)
}

// flow lets every task read what there is and commit. It reports whether anything
// was sent.
func (t *Topology) flow() (moved bool, err error) {
	before := t.sent()
	for i := range t.readers {
		r := &t.readers[i]
		for log := t.logs[r.from]; r.next < len(log); r.next++ {
			r.task.Process(int64(r.next), log[r.next])
		}
		if r.metadata, err = r.task.Flush(true); err != nil {
			return false, fmt.Errorf("flush %s/%d: %w", r.from.topic, r.from.partition, err)
		}
	}
	reports := t.logs[topicPartition{t.names.Progress(), 0}]
	for ; t.reported < len(reports); t.reported++ {
		if err := t.progress.Record(reports[t.reported].key, reports[t.reported].value, reports[t.reported].timestamp); err != nil {
			return false, err
		}
	}
	for _, v := range t.views {
		if err := v.feed(); err != nil {
			return false, err
		}
	}
	return t.sent() > before, nil
}

func (t *Topology) sent() int {
	n := 0
	for _, log := range t.logs {
		n += len(log)
	}
	return n
}

// Restart implements World: every task begins again with what is durable.
func (t *Topology) Restart(context.Context) error {
	for i := range t.readers {
		r := &t.readers[i]
		if r.task != nil {
			r.task.Close()
		}
		var err error
		if r.task, err = r.assign(r.next, r.metadata); err != nil {
			return err
		}
	}
	return nil
}

// Get implements World.
func (t *Topology) Get(ctx context.Context, path string) (status int, body string, err error) {
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return w.Code, w.Body.String(), nil
}

// Post implements World.
func (t *Topology) Post(ctx context.Context, path, body string) (status int, answer string, err error) {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	t.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String(), nil
}

// Read implements World.
func (t *Topology) Read(_ context.Context, topic string) ([]Message, error) {
	var all []Message
	for p := range t.given.Partitions {
		for _, l := range t.logs[topicPartition{t.names.Prefix + topic, p}] {
			m := Message{Partition: p, Value: l.value, Headers: map[string]string{}}
			for _, h := range l.headers {
				m.Headers[h.Key] = string(h.Value)
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// Close implements World.
func (t *Topology) Close() error { return nil }

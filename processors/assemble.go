package processors

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ragstreams/codecs"
	"ragstreams/deadletters"
	"ragstreams/fingerprint"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/lovoo/goka"
)

// AssembleConfig describes the assemble stage.
type AssembleConfig struct {
	Names           Names
	TablePartitions int32 // of every table
	Panes           window.Panes
	// Expected returns the source partitions that exist now: another slice when they are
	// others.
	Expected func() []window.Partition
	// Read reads committed records of the events topic again.
	Read  func(ctx context.Context, partition int32, from, to int64, visit func(offset int64, value []byte) error) error
	Clock Clock
	// EventAge is told, at every flush with events, how far the newest of them is
	// behind the clock.
	EventAge func(age time.Duration)
}

// watermarkInterval is how often a watermark that moved is sent to the tables
// when no pane closes.
const watermarkInterval = time.Second

// Assemble sees all events of a trace in one place: it drops duplicates, judges
// what is late for all sources, and folds the rest into partials by series and
// pane.
type Assemble struct {
	cfg   AssembleConfig
	out   Output
	tasks tasks[*AssembleTask]
}

// NewAssemble returns the stage for one session, whose output is out.
func NewAssemble(cfg AssembleConfig, out Output) *Assemble {
	return &Assemble{cfg: cfg, out: out}
}

// Graph returns the goka group.
func (a *Assemble) Graph() *goka.GroupGraph {
	raw := codecs.Raw{}
	n := a.cfg.Names
	edges := []goka.Edge{
		goka.Input(goka.Stream(n.Events()), raw, func(ctx goka.Context, msg any) {
			if record, ok := msg.([]byte); ok {
				a.tasks.of(n.Events(), ctx.Partition()).Process(ctx.Offset(), ctx.Timestamp().UnixMilli(), record)
			}
		}),
		goka.Output(goka.Stream(n.Late()), raw),
	}
	for _, table := range TableNames {
		edges = append(edges, goka.Output(goka.Stream(n.Partials(table)), raw))
	}
	return goka.DefineGroup(goka.Group(n.AssembleGroup()), edges...)
}

// assembleMetadata is the format of the metadata of assemble's offsets: watermark,
// horizon, start of the newest pane that was closed, size of the panes.
const assembleMetadata = "assemble2 %d %d %d %d"

// Assign starts work on a partition from offset. The ids of the open panes and
// the reports of the sources are read again from the horizon; nothing is emitted
// for what was counted before.
func (a *Assemble) Assign(ctx context.Context, partition int32, offset int64, metadata string) (*AssembleTask, error) {
	watermark, horizon, closed, pane := window.None, offset, window.None, a.cfg.Panes.Size
	if metadata != "" {
		if _, err := fmt.Sscanf(metadata, assembleMetadata, &watermark, &horizon, &closed, &pane); err != nil {
			return nil, fmt.Errorf("metadata %q of the committed offset: %w; was the group used by another program?", metadata, err)
		}
	}
	if ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }; pane != a.cfg.Panes.Size {
		return nil, fmt.Errorf("window.pane is %s, but this deployment has panes of %s: set it back, or start under another kafka.prefix", ms(a.cfg.Panes.Size), ms(pane))
	}
	t := &AssembleTask{
		stage: a, partition: partition, next: offset,
		watermark: window.NewWatermark(a.cfg.Panes, watermark), closed: closed,
		seen:   newSeen(),
		newest: window.None, sentClose: window.None, sentMark: window.None,
		known: map[string]int32{}, errors: map[errorCell]*tables.Errors{}, counts: counts{},
	}
	t.out.traffic, t.out.latency = t.batches(tables.TrafficTable.Name), t.batches(tables.LatencyTable.Name)
	t.out.usage, t.out.behaviour = t.batches(tables.UsageTable.Name), t.batches(tables.BehaviourTable.Name)
	t.out.errors, t.out.records = t.batches(tables.ErrorsTable.Name), t.batches(tables.RecordsTable.Name)
	err := a.cfg.Read(ctx, partition, horizon, offset, func(at int64, value []byte) error {
		return t.remember(at, value)
	})
	if err != nil {
		return nil, fmt.Errorf("read the ids of open panes again: %w", err)
	}
	a.tasks.add(partition, t)
	return t, nil
}

// AssembleTask is the work on one partition of the events topic.
type AssembleTask struct {
	stage     *Assemble
	partition int32
	next      int64 // offset after the last record read
	watermark *window.Watermark
	expected  []window.Partition // by the watermark
	// closed is the start of the newest pane that was ever closed: a grace that is
	// made longer opens none of them again, for their ids are forgotten.
	closed int64
	seen   *seen
	packed codecs.Packed
	event  codecs.PackedEvent

	known    map[string]int32 // where series has raw dimensions
	series   []series
	cells    []cell
	sent     int     // cells and error groups, since the last flush
	resolved []int32 // scratch: series by the dimensions of a record
	key      []byte  // scratch
	errors   map[errorCell]*tables.Errors
	counts   counts
	out      struct{ traffic, latency, usage, behaviour, errors, records *batches }

	newest    int64 // event time since the last flush; window.None when nothing came
	sentMark  int64 // watermark last sent to the tables
	sentClose int64 // pane it closed
	sentAt    time.Duration
}

// series is what the dimensions of an event lead to: one series of each table.
type series struct {
	dims    string // raw
	traffic target // and of behaviour, which has the same dimensions
	latency target
	usage   target
	cell    int32 // the newest in cells; none
}

// cell is what was gathered for one series and pane since the cells were sent.
type cell struct {
	series  int32
	before  int32 // the one before of the same series; none
	pane    int64
	traffic tables.Traffic
	latency tables.Latency
	usage   tables.Usage
	// behaviour is nil in most.
	behaviour *tables.Behaviour
}

const none int32 = -1

// maxCells bounds the memory of what is gathered. There are more series and panes in
// a transaction only where few events share one, and little is lost when what was
// gathered is sent.
const maxCells = 10_000

// maxErrorCells does so for error groups, which take a kilobyte each: producers may put
// names into messages, and every one is a group.
const maxErrorCells = 2_000

// fullCells is how many cells that were sent make a transaction full.
const fullCells = maxCells

type errorCell struct {
	key  string
	pane int64
}

// remember takes in a record that was processed before.
func (t *AssembleTask) remember(offset int64, value []byte) error {
	if err := t.packed.Open(value); err != nil {
		return err
	}
	if p := &t.packed; p.HasReport {
		t.watermark.Remember(window.Partition{Topic: p.Topic, Partition: p.Partition}, windowReport(p.Report))
	}
	for e := &t.event; t.packed.Next(e); {
		start := t.stage.cfg.Panes.Start(e.Time)
		if e.HasID && !t.seen.has(e.ID) && start > t.closed {
			t.seen.add(start, offset, e)
		}
	}
	return t.packed.Err()
}

// Process counts the events of one record, then takes in its report: the events
// of a record were accepted before what it reports came to be. sent is the record's
// timestamp, in Unix milliseconds.
func (t *AssembleTask) Process(offset, sent int64, value []byte) {
	t.Take(offset, sent, value)
	t.Advance()
}

// Take is Process, but for the watermark, which stays where it is until Advance or
// Flush: where very many partitions report at once it need not be looked for after each.
func (t *AssembleTask) Take(offset, sent int64, value []byte) {
	if err := t.packed.Open(value); err != nil {
		panic(fmt.Sprintf("BUG: %s/%d at %d: %v", t.stage.cfg.Names.Events(), t.partition, offset, err))
	}
	t.next = offset + 1
	p := &t.packed
	t.resolved = t.resolved[:0]
	for range p.Dims {
		t.resolved = append(t.resolved, none)
	}
	var counted, duplicate, late int64
	mark := t.watermark.Value()
	for e := &t.event; p.Next(e); {
		start := t.stage.cfg.Panes.Start(e.Time)
		switch {
		case e.HasID && t.seen.has(e.ID):
			duplicate++
			continue
		case start <= t.closed:
			late++
			t.late(e, mark)
			continue
		}
		counted++
		t.newest = max(t.newest, e.Time)
		t.seen.add(start, offset, e)
		s := t.resolved[e.Dims]
		if s == none {
			s = t.seriesOf(p.Dims[e.Dims])
			t.resolved[e.Dims] = s
		}
		t.count(s, start, e)
	}
	if err := p.Err(); err != nil {
		panic(fmt.Sprintf("BUG: %s/%d at %d: %v", t.stage.cfg.Names.Events(), t.partition, offset, err))
	}
	t.tally(OutcomeCounted, "", counted)
	t.tally(OutcomeDuplicate, "", duplicate)
	t.tally(OutcomeLate, lateWatermark, late)
	if p.HasReport {
		t.watermark.Report(window.Partition{Topic: p.Topic, Partition: p.Partition}, windowReport(p.Report), sent, t.stage.cfg.Clock.Mono())
	}
}

func (t *AssembleTask) tally(outcome, reason string, n int64) {
	if n > 0 {
		t.counts[count{t.packed.Topic, outcome, reason}] += n
	}
}

// Advance moves the watermark and forgets what it closes.
func (t *AssembleTask) Advance() {
	before := t.watermark.Value()
	if now := t.stage.cfg.Expected(); !sameSlice(now, t.expected) {
		t.watermark.Expect(now)
		t.expected = now
	}
	w := t.watermark.Advance(t.stage.cfg.Clock.Mono())
	if w == before {
		return
	}
	if through := t.stage.cfg.Panes.ClosedThrough(w); through > t.closed {
		t.closed = through
		t.seen.expire(through)
	}
}

// sameSlice reports whether two slices are the same memory.
func sameSlice[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// seriesOf returns where series has what raw dimensions lead to.
func (t *AssembleTask) seriesOf(raw []byte) int32 {
	at, known := t.known[string(raw)]
	if known {
		return at
	}
	if len(t.series) >= maxInterned {
		t.forget()
	}
	at = int32(len(t.series))
	dims := string(raw)
	d := codecs.SplitDims(dims)
	t.key = tables.AppendKey(t.key[:0], d.Tenant, d.App, d.EventType)
	trafficEnd := len(t.key)
	t.key = tables.AppendKey(t.key, d.Tenant, d.App, d.Stage, d.Model)
	latencyEnd := len(t.key)
	t.key = tables.AppendKey(t.key, d.Tenant, d.App, d.Model)
	keys, n := string(t.key), t.stage.cfg.TablePartitions
	t.known[dims] = at
	t.series = append(t.series, series{
		dims: dims, cell: none,
		traffic: targetOfKey(n, keys[:trafficEnd]), latency: targetOfKey(n, keys[trafficEnd:latencyEnd]), usage: targetOfKey(n, keys[latencyEnd:]),
	})
	return at
}

func (t *AssembleTask) count(s int32, start int64, e *codecs.PackedEvent) {
	c := t.cell(s, start)
	c.traffic.Count++
	if e.Error {
		c.traffic.Errors++
		t.countError(s, start, e)
	}
	if e.HasDuration {
		c.latency.Observe(e.Duration, string(e.TraceID), e.Time)
	}
	if e.HasTTFT {
		c.latency.TTFT.Observe(e.TTFT)
	}
	if e.InputTokens|e.OutputTokens != 0 {
		c.usage.Observe(e.InputTokens, e.OutputTokens)
	}
	if t.packed.Behaviour {
		if c.behaviour == nil {
			c.behaviour = new(tables.Behaviour)
		}
		c.behaviour.Observe(e.User, e.Session)
	}
}

// cell returns the cell of a series and pane, made when new. There are few panes of
// a series, and the newest is asked for most.
func (t *AssembleTask) cell(s int32, pane int64) *cell {
	for i := t.series[s].cell; i != none; i = t.cells[i].before {
		if t.cells[i].pane == pane {
			return &t.cells[i]
		}
	}
	if len(t.cells) == maxCells {
		t.sendCells()
	}
	t.cells = append(t.cells, cell{series: s, before: t.series[s].cell, pane: pane})
	t.series[s].cell = int32(len(t.cells) - 1)
	return &t.cells[len(t.cells)-1]
}

// forget forgets all series; what was gathered is sent.
func (t *AssembleTask) forget() {
	t.sendCells()
	clear(t.known)
	clear(t.series)
	t.series = t.series[:0]
	for i := range t.resolved {
		t.resolved[i] = none
	}
}

// sendCells adds what was gathered by series and pane to what goes to the tables.
func (t *AssembleTask) sendCells() {
	for i := range t.cells {
		c := &t.cells[i]
		s := &t.series[c.series]
		t.out.traffic.add(s.traffic, c.pane, &c.traffic)
		if !c.latency.IsZero() {
			t.out.latency.add(s.latency, c.pane, &c.latency)
		}
		if !c.usage.IsZero() {
			t.out.usage.add(s.usage, c.pane, &c.usage)
		}
		if c.behaviour != nil {
			t.out.behaviour.add(s.traffic, c.pane, c.behaviour)
		}
		s.cell = none
	}
	t.sent += len(t.cells)
	clear(t.cells)
	t.cells = t.cells[:0]
}

// sendErrors is sendCells for error groups.
func (t *AssembleTask) sendErrors() {
	for k, m := range t.errors {
		t.out.errors.add(targetOfKey(t.stage.cfg.TablePartitions, k.key), k.pane, m)
	}
	t.sent += len(t.errors)
	clear(t.errors)
}

func (t *AssembleTask) countError(s int32, start int64, e *codecs.PackedEvent) {
	g, d := &t.packed.Groups[e.Group], codecs.SplitDims(t.series[s].dims)
	t.key = tables.AppendKey(t.key[:0], d.Tenant, d.App, d.Stage, fingerprint.Format(g.Fingerprint))
	k := errorCell{string(t.key), start}
	m := t.errors[k]
	if m == nil {
		if len(t.errors) == maxErrorCells {
			t.sendErrors()
		}
		m = new(tables.Errors)
		t.errors[k] = m
	}
	m.Observe(tables.Sample{
		Time: e.Time, Duration: e.Duration, TraceID: string(e.TraceID),
		Topic: t.packed.Topic, Partition: t.packed.Partition, Offset: e.Offset,
	}, g.Type, g.Template, e.Session)
}

// lateNote is the value of a record on the late topic whose original was already
// packed: where it lies in the source.
type lateNote struct {
	Topic      string `json:"source_topic"`
	Partition  int32  `json:"source_partition"`
	Offset     int64  `json:"source_offset"`
	EventTime  string `json:"event_time"`
	Reason     string `json:"reason"`
	LatenessMs int64  `json:"lateness_ms"`
}

func (t *AssembleTask) late(e *codecs.PackedEvent, mark int64) {
	lateness := max(0, t.stage.cfg.Panes.Lateness(e.Time, mark))
	note, err := json.Marshal(lateNote{
		t.packed.Topic, t.packed.Partition, e.Offset,
		time.UnixMilli(e.Time).UTC().Format(time.RFC3339Nano), lateWatermark, lateness,
	})
	if err != nil {
		panic("BUG: encode a late note: " + err.Error())
	}
	t.stage.out.Send(t.stage.cfg.Names.Late(), t.partition, nil, note,
		originHeaders(t.packed.Topic, t.packed.Partition, e.Offset, e.Time,
			codecs.Header{Key: deadletters.HeaderReason, Value: []byte(lateWatermark)},
			codecs.Header{Key: deadletters.HeaderLateness, Value: fmt.Append(nil, lateness)})...)
}

// Flush sends what was gathered, and the watermark when it is due.
func (t *AssembleTask) Flush(bool) (string, error) {
	t.Advance()
	c := &t.stage.cfg
	mark, now := t.watermark.Value(), c.Clock.Mono()
	if t.newest != window.None && c.EventAge != nil {
		c.EventAge(c.Clock.Wall().Sub(time.UnixMilli(t.newest)))
	}
	t.newest = window.None
	due := window.None
	if mark != window.None && (t.closed != t.sentClose || mark != t.sentMark && now-t.sentAt >= watermarkInterval) {
		due = mark
		t.sentMark, t.sentClose, t.sentAt = mark, t.closed, now
	}
	t.sendCells()
	t.sendErrors()
	t.sent = 0
	for k, n := range t.counts {
		t.out.records.add(k.target(c.TablePartitions), NoPane, &tables.Records{Count: n})
	}
	clear(t.counts)
	for _, b := range []*batches{t.out.traffic, t.out.latency, t.out.usage, t.out.behaviour, t.out.errors, t.out.records} {
		b.flush(due)
	}
	return fmt.Sprintf(assembleMetadata, mark, t.seen.horizon(t.next), t.closed, c.Panes.Size), nil
}

// Paused implements the transport's task: assemble never waits.
func (t *AssembleTask) Paused() bool { return false }

// MaxRecords implements the transport's task: one record holds no more than
// ingest took at once.
func (t *AssembleTask) MaxRecords() int { return 0 }

// Full implements the transport's task. What was gathered is no longer combined, so
// a larger transaction takes more memory and saves nothing here.
func (t *AssembleTask) Full() bool { return t.sent >= fullCells }

// Close implements the transport's task.
func (t *AssembleTask) Close() { t.stage.tasks.remove(t.partition, t) }

func (t *AssembleTask) batches(table string) *batches {
	c := &t.stage.cfg
	return newBatches(t.stage.out, c.Names.Partials(table), c.TablePartitions, t.partition)
}

// Horizon returns the offset of the events topic below which assemble will never
// read again, from the metadata of its committed offset.
func Horizon(metadata string) (int64, bool) {
	_, horizon, ok := parseAssemble(metadata)
	return horizon, ok
}

// ClosedThrough returns the start of the newest pane that takes no more events, from the
// metadata of assemble's committed offset; window.None: all take them.
func ClosedThrough(metadata string) (closed int64, ok bool) {
	closed, _, ok = parseAssemble(metadata)
	return closed, ok
}

func parseAssemble(metadata string) (closed, horizon int64, ok bool) {
	var watermark, pane int64
	_, err := fmt.Sscanf(metadata, assembleMetadata, &watermark, &horizon, &closed, &pane)
	return closed, horizon, err == nil
}

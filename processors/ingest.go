package processors

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ragstreams/codecs"
	"ragstreams/deadletters"
	"ragstreams/event"
	"ragstreams/fingerprint"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/lovoo/goka"
	"github.com/zeebo/xxh3"
)

// IngestConfig describes the ingest stage of one source topic.
type IngestConfig struct {
	Names            Names
	Topic            string
	EventPartitions  int32 // of the events topic
	RecordPartitions int32 // of the records table
	Panes            window.Panes
	MaxFuture        time.Duration // an event further ahead of the clock is poison
	IdleAfter        time.Duration
	BehindAfter      time.Duration // read to the end and this far behind the greatest stream time: idle
	AheadLimit       time.Duration // reading pauses this far ahead of the slowest unread partition
	MaxBytes         int           // of one source record
	LabelBytes       int           // of a dimension or error type; 0: DefaultLabelBytes
	Behaviour        bool          // the events of the topic tell what people did
	Progress         *Progress
	Clock            Clock
	// LabelsCut is told, at every flush, how many values of one of Labels were too
	// long since the last one. Optional; tasks of several sessions call it at once.
	// A flush whose transaction aborts is done again, so a value may be told of
	// twice.
	LabelsCut func(label string, n int64)
	// Replayed is told likewise how many records a replay had sent, by why each had been
	// on a side topic.
	Replayed func(topic, reason string, n int64)
}

// reportInterval is how often a partition reports when nothing changes.
const reportInterval = time.Second

// Ingest decodes the records of one source topic, judges their lateness and
// packs them by trace.
type Ingest struct {
	cfg   IngestConfig
	out   Output
	tasks tasks[*IngestTask]
}

// NewIngest returns the stage for one session, whose output is out.
func NewIngest(cfg IngestConfig, out Output) *Ingest {
	cfg.LabelBytes = cmp.Or(cfg.LabelBytes, DefaultLabelBytes)
	return &Ingest{cfg: cfg, out: out}
}

// Graph returns the goka group.
func (g *Ingest) Graph() *goka.GroupGraph {
	raw := codecs.Raw{}
	n := g.cfg.Names
	return goka.DefineGroup(goka.Group(n.IngestGroup(g.cfg.Topic)),
		goka.Input(goka.Stream(g.cfg.Topic), raw, func(ctx goka.Context, _ any) {
			task := g.tasks.of(g.cfg.Topic, ctx.Partition())
			task.Process(task.polled())
		}),
		goka.Output(goka.Stream(n.Events()), raw),
		goka.Output(goka.Stream(n.Progress()), raw),
		goka.Output(goka.Stream(n.DLQ()), raw),
		goka.Output(goka.Stream(n.Late()), raw),
		goka.Output(goka.Stream(n.Partials(tables.RecordsTable.Name)), raw),
	)
}

// Assign starts work on a partition. metadata is what the last Flush before the
// committed offset returned. Each message that goka gets stands for what polled
// then returns; see the transport.
func (g *Ingest) Assign(partition int32, metadata string, polled func() []codecs.Record) (*IngestTask, error) {
	streamTime, newest := window.None, window.None
	if metadata != "" {
		if _, err := fmt.Sscanf(metadata, ingestMetadata, &streamTime, &newest); err != nil {
			return nil, fmt.Errorf("metadata %q of the committed offset: %w; was the group used by another program?", metadata, err)
		}
	}
	c := g.cfg
	t := &IngestTask{
		stage: g, partition: partition, polled: polled,
		source: window.NewSource(streamTime, newest, c.IdleAfter, c.BehindAfter.Milliseconds(), c.Clock.Mono()),
		json:   codecs.JSON{MaxBytes: c.MaxBytes},
		labels: labels{max: c.LabelBytes},
		dests:  make([]codecs.PackedWriter, c.EventPartitions),
		serial: make([]uint64, c.EventPartitions),
		dims:   map[string]int32{}, groups: map[uint64][]numbered{}, counts: counts{}, replays: map[string]int64{},
		records: newBatches(g.out, c.Names.Partials(tables.RecordsTable.Name), c.RecordPartitions, 0),
		stride:  firstStride,
	}
	for i := range t.dests {
		t.serial[i] = 1
		t.dests[i].Reset(c.Topic, partition, c.Behaviour)
	}
	g.tasks.add(partition, t)
	return t, nil
}

// ingestMetadata is the format of the metadata of ingest's offsets: stream time
// and newest time.
const ingestMetadata = "ingest1 %d %d"

// StreamTime returns how far a source partition had come, from the metadata of ingest's
// committed offset.
func StreamTime(metadata string) (streamTime int64, ok bool) {
	var newest int64
	_, err := fmt.Sscanf(metadata, ingestMetadata, &streamTime, &newest)
	return streamTime, err == nil
}

// IngestTask is the work on one source partition.
type IngestTask struct {
	stage     *Ingest
	partition int32
	polled    func() []codecs.Record
	source    *window.Source
	json      codecs.JSON
	labels    labels

	event  event.Event
	record *codecs.Record
	packed codecs.PackedEvent
	key    []byte

	dests   []codecs.PackedWriter
	serial  []uint64         // of the record under construction, by destination
	dims    map[string]int32 // where numbers has that of the first destination
	numbers []numbered
	groups  map[uint64][]numbered
	counts  counts
	records *batches
	in      int64            // records since the last flush
	replays map[string]int64 // of those, sent by a replay; by reason
	clock   int64            // wall clock of the records in hand
	now     time.Duration    // monotonic clock of the same
	stride  stride

	reported   window.Report
	reportedAt time.Duration
	hasReport  bool
}

// numbered is the number of dimensions or of an error group in the record under
// construction for one destination; another record makes it void.
type numbered struct {
	record  uint64 // serial number of the record that number belongs to
	number  int
	slowest int64 // ns, of the record's events with a trace id
}

// maxInterned bounds the memory of dimensions seen; when there are more, all are
// forgotten. Where there are so many, few come twice in a transaction.
const maxInterned = 10_000

// Process takes in source records that were polled together.
func (t *IngestTask) Process(records []codecs.Record) {
	t.clock = t.stage.cfg.Clock.Wall().UnixMilli()
	t.now = t.stage.cfg.Clock.Mono()
	before := t.source.StreamTime
	for i := range records {
		t.record = &records[i]
		t.one()
		if before == window.None {
			before = t.source.StreamTime
		}
	}
	span := int64(0)
	if before != window.None {
		span = t.source.StreamTime - before
	}
	t.stride.took(len(records), span, t.stage.cfg.AheadLimit.Milliseconds())
	// What is left of the last record would keep all that was fetched with it.
	t.record, t.packed = nil, codecs.PackedEvent{}
	t.event.Reset()
}

func (t *IngestTask) one() {
	t.in++
	r, e := t.record, &t.event
	if _, mark := deadletters.CutMark(r.Headers); mark != nil {
		t.replays[knownReason(mark.Reason)]++
	}
	if poison := t.json.Decode(r.Value, e); poison != nil {
		t.poison(poison)
		return
	}
	at := r.Timestamp
	if e.HasTime {
		at = e.Time
	}
	if ahead := at - t.clock; ahead > t.stage.cfg.MaxFuture.Milliseconds() {
		t.poison(&codecs.Poison{Reason: codecs.ReasonFuture, Detail: fmt.Sprintf(
			"event time %s is %s ahead of the clock; up to %s is accepted", time.UnixMilli(at).UTC().Format(time.RFC3339Nano),
			time.Duration(ahead)*time.Millisecond, t.stage.cfg.MaxFuture)})
		return
	}
	if !t.stage.cfg.Panes.Accepts(at, t.source.StreamTime) {
		t.late(at)
		return
	}
	t.source.Event(at, t.clock, t.now)
	t.pack(at)
}

// pack adds the event in hand to the record of the partition where its trace is
// assembled.
func (t *IngestTask) pack(at int64) {
	e := &t.event
	route := e.RoutingKey()
	dest := t.destination(route)
	w := &t.dests[dest]
	if w.Size() > maxRecord {
		t.send(dest, nil)
	}
	p := &t.packed
	*p = codecs.PackedEvent{
		Offset: t.record.Offset, Time: at, Error: e.Error,
		HasDuration: e.HasDuration, Duration: e.Duration, HasTTFT: e.HasTTFT, TTFT: e.TTFT,
		InputTokens: e.InputTokens, OutputTokens: e.OutputTokens,
	}
	if len(e.ID) > 0 {
		p.HasID, p.ID = true, t.id(e.Tenant, route, e.ID)
	}
	behaviour := t.stage.cfg.Behaviour
	if e.Error || behaviour {
		t.people(e, behaviour)
	}
	t.labels.limit(e) // identity and route are those of whole values
	d := t.dimensions(e, w, dest)
	p.Dims = d.number
	if e.Error {
		p.Group = t.group(e, w, dest)
	}
	if len(e.TraceID) > 0 && (e.Error || e.HasDuration && e.Duration > d.slowest) {
		p.TraceID = e.TraceID
		d.slowest = max(d.slowest, e.Duration)
	}
	w.Add(p)
}

// people hashes whose event it is: the session, and the user where that is to be known. The
// same name in two tenants is two people, who must not be one where tenants are summed up.
func (t *IngestTask) people(e *event.Event, user bool) {
	seed := uint64(0)
	if len(e.Tenant) > 0 {
		seed = xxh3.Hash(e.Tenant)
	}
	if len(e.SessionID) > 0 {
		t.packed.Session = xxh3.HashSeed(e.SessionID, seed)
	}
	if len(e.UserID) > 0 && user {
		t.packed.User = xxh3.HashSeed(e.UserID, seed)
	}
}

func (t *IngestTask) destination(route []byte) int {
	if len(route) == 0 {
		return int(uint64(t.record.Offset) % uint64(len(t.dests)))
	}
	return int(EventPartition(route, int32(len(t.dests))))
}

// EventPartition returns which of n partitions of the events topic the events of a
// routing key go to; it must not be empty.
func EventPartition(route []byte, n int32) int32 { return int32(xxh3.Hash(route) % uint64(n)) }

// id hashes what makes an event the same event.
func (t *IngestTask) id(tenant, route, id []byte) codecs.ID {
	k := strconv.AppendInt(t.key[:0], int64(len(tenant)), 10)
	k = append(append(k, ':'), tenant...)
	k = strconv.AppendInt(k, int64(len(route)), 10)
	k = append(append(k, ':'), route...)
	k = append(k, id...)
	t.key = k
	return xxh3.Hash128(k).Bytes()
}

func (t *IngestTask) dimensions(e *event.Event, w *codecs.PackedWriter, dest int) *numbered {
	k := t.key[:0]
	for _, d := range [...][]byte{e.Tenant, e.App, e.Stage, e.Type, e.Model} {
		k = append(append(k, byte(len(d)), byte(len(d)>>8)), d...)
	}
	t.key = k
	at, known := t.dims[string(k)]
	if !known {
		if len(t.dims) >= maxInterned {
			clear(t.dims)
			t.numbers = t.numbers[:0]
		}
		at = int32(len(t.numbers))
		t.dims[string(k)] = at
		t.numbers = append(t.numbers, make([]numbered, len(t.dests))...)
	}
	n := &t.numbers[int(at)+dest]
	if n.record != t.serial[dest] {
		*n = numbered{t.serial[dest], w.AddDims(e.Tenant, e.App, e.Stage, e.Type, e.Model), -1}
	}
	return n
}

func (t *IngestTask) group(e *event.Event, w *codecs.PackedWriter, dest int) int {
	template := fingerprint.AppendTemplate(nil, e.ErrorMessage)
	frames := fingerprint.AppendFrames(nil, e.ErrorStack)
	print := fingerprint.Of(e.ErrorType, e.Stage, template, frames)
	g := t.groups[print]
	if g == nil {
		if len(t.groups) >= maxInterned {
			clear(t.groups)
		}
		g = make([]numbered, len(t.dests))
		t.groups[print] = g
	}
	n := &g[dest]
	if n.record != t.serial[dest] {
		*n = numbered{t.serial[dest], w.AddGroup(print, e.ErrorType, template), 0}
	}
	return n.number
}

// send hands the record of one destination to the output and begins another.
func (t *IngestTask) send(dest int, report *codecs.Report) {
	w := &t.dests[dest]
	t.stage.out.Send(t.stage.cfg.Names.Events(), int32(dest), nil, w.Append(make([]byte, 0, w.Size()+64), report))
	t.serial[dest]++
	w.Reset(t.stage.cfg.Topic, t.partition, t.stage.cfg.Behaviour)
}

func (t *IngestTask) poison(p *codecs.Poison) {
	r := t.record
	t.counts[count{t.stage.cfg.Topic, OutcomePoison, string(p.Reason)}]++
	detail := shorten([]byte(strings.ToValidUTF8(p.Detail, "\uFFFD")), maxDetail)
	headers := originHeaders(t.stage.cfg.Topic, t.partition, r.Offset, r.Timestamp,
		codecs.Header{Key: deadletters.HeaderReason, Value: []byte(p.Reason)}, codecs.Header{Key: deadletters.HeaderDetail, Value: detail})
	t.divert(t.stage.cfg.Names.DLQ(), headers)
}

func (t *IngestTask) late(at int64) {
	r := t.record
	t.counts[count{t.stage.cfg.Topic, OutcomeLate, lateStreamTime}]++
	headers := originHeaders(t.stage.cfg.Topic, t.partition, r.Offset, r.Timestamp,
		codecs.Header{Key: deadletters.HeaderReason, Value: []byte(lateStreamTime)},
		codecs.Header{Key: deadletters.HeaderEventTime, Value: strconv.AppendInt(nil, at, 10)},
		codecs.Header{Key: deadletters.HeaderLateness, Value: strconv.AppendInt(nil, t.stage.cfg.Panes.Lateness(at, t.source.StreamTime), 10)})
	t.divert(t.stage.cfg.Names.Late(), headers)
}

// divert sends the record in hand to a side topic: key, value and headers
// unchanged, unless they are too large, ours after them. Side topics have as many
// partitions as the events topic; records of one source partition stay in order.
func (t *IngestTask) divert(topic string, ours []codecs.Header) {
	r := t.record
	s := newSideRecord(r.Key, r.Value, r.Headers, ours)
	s.fit()
	headers := make([]codecs.Header, 0, len(s.theirs)+len(s.ours))
	for _, h := range s.theirs {
		headers = append(headers, codecs.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	// Clones of nil are nil.
	t.stage.out.Send(topic, t.partition%t.stage.cfg.EventPartitions, bytes.Clone(s.key), bytes.Clone(s.value), append(headers, s.ours...)...)
}

// Flush sends what was gathered, and the report after it.
func (t *IngestTask) Flush(atEnd bool) (string, error) {
	c := &t.stage.cfg
	now := c.Clock.Mono()
	t.source.Judge(atEnd, c.Progress.Greatest(), now)
	var report *codecs.Report
	due := !t.hasReport || t.source.Report != t.reported || now-t.reportedAt >= reportInterval
	if due {
		report = &codecs.Report{
			StreamTime: t.source.StreamTime, NewestTime: t.source.NewestTime,
			HasTime: t.source.StreamTime != window.None, State: uint8(t.source.State),
		}
		t.reported, t.reportedAt, t.hasReport = t.source.Report, now, true
		key := fmt.Sprintf("%s/%d", c.Topic, t.partition)
		t.stage.out.Send(c.Names.Progress(), 0, []byte(key), codecs.AppendReport(nil, *report))
	}
	for dest := range t.dests {
		if due || t.dests[dest].Events() > 0 {
			t.send(dest, report)
		}
	}
	if t.in > 0 {
		t.counts[count{c.Topic, OutcomeIn, ""}] = t.in
		t.in = 0
	}
	for k, n := range t.counts {
		t.records.add(k.target(c.RecordPartitions), NoPane, &tables.Records{Count: n})
	}
	t.records.flush(window.None)
	clear(t.counts)
	t.labels.tell(c.LabelsCut)
	for reason, n := range t.replays {
		if c.Replayed != nil {
			c.Replayed(c.Topic, reason, n)
		}
	}
	clear(t.replays)
	return fmt.Sprintf(ingestMetadata, t.source.StreamTime, t.source.NewestTime), nil
}

// Paused reports whether the partition is so far ahead of the slowest one still
// being read that it must wait: catching up then drops nothing, and what is open
// stays bounded.
func (t *IngestTask) Paused() bool {
	slowest := t.stage.cfg.Progress.Slowest()
	return slowest != window.None && t.source.State == window.Unread &&
		t.source.StreamTime > slowest+t.stage.cfg.AheadLimit.Milliseconds()
}

// MaxRecords implements the transport's task.
func (t *IngestTask) MaxRecords() int { return int(t.stride) }

// Full implements the transport's task: MaxRecords bounds what ingest gathers.
func (t *IngestTask) Full() bool { return false }

// Close implements the transport's task.
func (t *IngestTask) Close() { t.stage.tasks.remove(t.partition, t) }

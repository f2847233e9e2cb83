package codecs

import (
	"encoding/binary"
	"fmt"
)

// Packed events are what ingest sends to one partition of the repartition topic
// at a commit: the events of one source partition, tens of bytes each, in one
// record. Strings that repeat are sent once a record, by number.
//
//	version, topic, partition, base offset, base time, what it has,
//	report, dimensions, error groups, events
//
// Assemble reads reports after the events, wherever they stand.

// packedVersion changes with the format. A record of another version stops the
// processor: the topic must be drained by the program that wrote it.
const packedVersion = 2

// ID identifies an event among those that can still be accepted: a hash of
// tenant, routing key and event id.
type ID [16]byte

// Dims are the dimensions of an event, as numbered in a packed record.
type Dims struct {
	Tenant, App, Stage, EventType, Model string
}

// ErrorGroup is what the events of one error group share.
type ErrorGroup struct {
	Fingerprint uint64
	Type        string
	Template    string
}

// PackedEvent is one event between ingest and assemble.
type PackedEvent struct {
	Dims        int // number of its dimensions in the record
	Offset      int64
	Time        int64 // event time, Unix milliseconds
	HasID       bool
	ID          ID
	Error       bool
	Group       int    // number of its error group in the record, when Error
	User        uint64 // hash of the user id, 0 for none; only of behaviour
	Session     uint64 // hash of the session id, 0 for none; only of behaviour and errors
	TraceID     []byte // only of events that may serve as a sample
	HasDuration bool
	HasTTFT     bool
	Duration    int64 // ns, when HasDuration
	TTFT        int64 // ns, when HasTTFT

	InputTokens  int64 // 0 when unknown
	OutputTokens int64 // likewise
}

// Report is what ingest reports of the source partition; see window.Report.
type Report struct {
	StreamTime, NewestTime int64
	HasTime                bool
	State                  uint8
}

const (
	flagID = 1 << iota
	flagError
	flagTrace
	flagDuration
	flagTTFT
	flagSession
	flagUser
	flagTokens
)

// What a record has.
const (
	hasReport = 1 << iota
	hasBehaviour
)

// PackedWriter builds packed records for one destination. Reset before use.
type PackedWriter struct {
	topic      string
	partition  int32
	behaviour  bool
	baseOffset int64
	baseTime   int64
	n          int
	dims       []byte
	dimCount   int
	groups     []byte
	groupCount int
	events     []byte
}

// Reset begins a record for a source partition. behaviour says that its events tell what
// people did.
func (w *PackedWriter) Reset(topic string, partition int32, behaviour bool) {
	*w = PackedWriter{topic: topic, partition: partition, behaviour: behaviour, dims: w.dims[:0], groups: w.groups[:0], events: w.events[:0]}
}

// Events returns how many events were added.
func (w *PackedWriter) Events() int { return w.n }

// Size returns about how many bytes the record has.
func (w *PackedWriter) Size() int { return len(w.dims) + len(w.groups) + len(w.events) }

// AddDims adds dimensions and returns their number.
func (w *PackedWriter) AddDims(tenant, app, stage, eventType, model []byte) int {
	for _, d := range [...][]byte{tenant, app, stage, eventType, model} {
		w.dims = binary.AppendUvarint(w.dims, uint64(len(d)))
		w.dims = append(w.dims, d...)
	}
	w.dimCount++
	return w.dimCount - 1
}

// AddGroup adds an error group and returns its number.
func (w *PackedWriter) AddGroup(fingerprint uint64, errorType, template []byte) int {
	w.groups = binary.BigEndian.AppendUint64(w.groups, fingerprint)
	w.groups = binary.AppendUvarint(w.groups, uint64(len(errorType)))
	w.groups = append(w.groups, errorType...)
	w.groups = binary.AppendUvarint(w.groups, uint64(len(template)))
	w.groups = append(w.groups, template...)
	w.groupCount++
	return w.groupCount - 1
}

// Add adds an event. Its numbers must come from this record.
func (w *PackedWriter) Add(e *PackedEvent) {
	if w.n == 0 {
		w.baseOffset, w.baseTime = e.Offset, e.Time
	}
	w.n++
	var flags byte
	b := append(w.events, 0)
	at := len(b) - 1
	b = binary.AppendUvarint(b, uint64(e.Dims))
	b = binary.AppendUvarint(b, uint64(e.Offset-w.baseOffset))
	b = binary.AppendVarint(b, e.Time-w.baseTime)
	if e.HasID {
		flags |= flagID
		b = append(b, e.ID[:]...)
	}
	if e.HasDuration {
		flags |= flagDuration
		b = binary.AppendUvarint(b, uint64(e.Duration))
	}
	if e.HasTTFT {
		flags |= flagTTFT
		b = binary.AppendUvarint(b, uint64(e.TTFT))
	}
	if len(e.TraceID) > 0 {
		flags |= flagTrace
		b = binary.AppendUvarint(b, uint64(len(e.TraceID)))
		b = append(b, e.TraceID...)
	}
	if e.Error {
		flags |= flagError
		b = binary.AppendUvarint(b, uint64(e.Group))
	}
	if e.Session != 0 {
		flags |= flagSession
		b = binary.BigEndian.AppendUint64(b, e.Session)
	}
	if e.User != 0 {
		flags |= flagUser
		b = binary.BigEndian.AppendUint64(b, e.User)
	}
	if e.InputTokens|e.OutputTokens != 0 {
		flags |= flagTokens
		b = binary.AppendUvarint(b, uint64(e.InputTokens))
		b = binary.AppendUvarint(b, uint64(e.OutputTokens))
	}
	b[at] = flags
	w.events = b
}

// Append appends the whole record, with the report when there is one.
func (w *PackedWriter) Append(dst []byte, report *Report) []byte {
	dst = append(dst, packedVersion)
	dst = binary.AppendUvarint(dst, uint64(len(w.topic)))
	dst = append(dst, w.topic...)
	dst = binary.AppendUvarint(dst, uint64(w.partition))
	dst = binary.AppendUvarint(dst, uint64(w.baseOffset))
	dst = binary.AppendVarint(dst, w.baseTime)
	var has byte
	if report != nil {
		has |= hasReport
	}
	if w.behaviour {
		has |= hasBehaviour
	}
	dst = append(dst, has)
	if report != nil {
		dst = AppendReport(dst, *report)
	}
	dst = binary.AppendUvarint(dst, uint64(w.dimCount))
	dst = append(dst, w.dims...)
	dst = binary.AppendUvarint(dst, uint64(w.groupCount))
	dst = append(dst, w.groups...)
	dst = binary.AppendUvarint(dst, uint64(w.n))
	return append(dst, w.events...)
}

// AppendReport appends a report; it is also the value of a progress record.
func AppendReport(dst []byte, r Report) []byte {
	dst = append(dst, r.State)
	if !r.HasTime {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = binary.AppendVarint(dst, r.StreamTime)
	return binary.AppendVarint(dst, r.NewestTime-r.StreamTime)
}

// DecodeReport reads a report.
func DecodeReport(data []byte) (Report, error) {
	d := reader{data: data}
	r := d.report()
	return r, d.err
}

func (r *reader) report() Report {
	report := Report{State: r.byte()}
	if r.byte() == 1 {
		report.HasTime = true
		report.StreamTime = r.varint()
		report.NewestTime = report.StreamTime + r.varint()
	}
	return report
}

// Packed reads one packed record. Use Open, then Next until it returns false,
// then Err.
type Packed struct {
	Topic     string
	Partition int32
	Behaviour bool // the events tell what people did
	HasReport bool
	Report    Report
	Dims      [][]byte // each five strings, for SplitDims; part of the record
	Groups    []ErrorGroup
	Events    int // in the record

	left       int
	baseOffset int64
	baseTime   int64
	in         reader
}

// Open reads everything but the events. p can be used again.
func (p *Packed) Open(data []byte) error {
	if len(data) == 0 || data[0] != packedVersion {
		return fmt.Errorf("packed events: version %d, this program reads %d: drain the topic with the program that wrote it", first(data), packedVersion)
	}
	in := reader{data: data[1:]}
	p.Topic = in.string()
	p.Partition = int32(in.uvarint())
	p.baseOffset = int64(in.uvarint())
	p.baseTime = in.varint()
	has := in.byte()
	p.Behaviour = has&hasBehaviour != 0
	if p.HasReport = has&hasReport != 0; p.HasReport {
		p.Report = in.report()
	}
	clear(p.Dims) // they keep the record that they came from in memory
	p.Dims = p.Dims[:0]
	for range min(in.uvarint(), uint64(len(in.data))) {
		before := in.data
		for range 5 {
			in.bytes(in.uvarint())
		}
		p.Dims = append(p.Dims, before[:len(before)-len(in.data)])
	}
	p.Groups = p.Groups[:0]
	for range min(in.uvarint(), uint64(len(in.data))) {
		p.Groups = append(p.Groups, ErrorGroup{Fingerprint: in.uint64(), Type: in.string(), Template: in.string()})
	}
	p.Events = int(in.uvarint())
	p.left, p.in = p.Events, in
	return p.Err()
}

// SplitDims reads one element of Packed.Dims. The dimensions are parts of raw.
func SplitDims(raw string) Dims {
	var dims [5]string
	for i := range dims {
		n, size := binary.Uvarint([]byte(raw[:min(len(raw), binary.MaxVarintLen64)]))
		raw = raw[size:]
		dims[i], raw = raw[:n], raw[n:]
	}
	return Dims{Tenant: dims[0], App: dims[1], Stage: dims[2], EventType: dims[3], Model: dims[4]}
}

func first(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	return int(data[0])
}

// Next reads the next event into e and reports whether there was one. TraceID
// points into the record.
func (p *Packed) Next(e *PackedEvent) bool {
	if p.left == 0 || p.in.err != nil {
		return false
	}
	p.left--
	in := &p.in
	flags := in.byte()
	*e = PackedEvent{Dims: int(in.uvarint())}
	e.Offset = p.baseOffset + int64(in.uvarint())
	e.Time = p.baseTime + in.varint()
	if e.HasID = flags&flagID != 0; e.HasID {
		copy(e.ID[:], in.bytes(16))
	}
	e.HasDuration, e.HasTTFT = flags&flagDuration != 0, flags&flagTTFT != 0
	if e.HasDuration {
		e.Duration = int64(in.uvarint())
	}
	if e.HasTTFT {
		e.TTFT = int64(in.uvarint())
	}
	if flags&flagTrace != 0 {
		e.TraceID = in.bytes(in.uvarint())
	}
	if e.Error = flags&flagError != 0; e.Error {
		e.Group = int(in.uvarint())
	}
	if flags&flagSession != 0 {
		e.Session = in.uint64()
	}
	if flags&flagUser != 0 {
		e.User = in.uint64()
	}
	if flags&flagTokens != 0 {
		e.InputTokens, e.OutputTokens = int64(in.uvarint()), int64(in.uvarint())
	}
	// As unsigned numbers: one that is too large for an int is negative.
	if uint(e.Dims) >= uint(len(p.Dims)) || e.Error && uint(e.Group) >= uint(len(p.Groups)) {
		in.fail("an event: its dimensions are not in the record")
	}
	return in.err == nil
}

// Err returns the first error of reading.
func (p *Packed) Err() error {
	if p.in.err != nil {
		return fmt.Errorf("packed events: %w", p.in.err)
	}
	return nil
}

package tables

import (
	"encoding/binary"
	"fmt"
)

// maxPartitions bounds the assemble partitions a record may speak of, so that a
// corrupt number cannot ask for memory. No Kafka cluster gives one topic more.
const maxPartitions = 1 << 16

// BatchHeader says who sent a batch, and how far the sender has come.
type BatchHeader struct {
	Assemble     int32 // partition of the sender
	Watermark    int64 // Unix milliseconds; holds once this batch is applied
	HasWatermark bool  // false: the batch says nothing about time

	// Closed tells what the watermark is of: of closed panes, all of which that end by it
	// are in the batch or were sent before. Otherwise it is of events, and of closed panes
	// it tells nothing. So it was in all batches before there were hours.
	Closed bool
}

// What stands in front of a watermark.
const (
	noWatermark = iota
	ofEvents
	ofClosed
)

// BatchWriter packs the partials for one partition of a table into one record of
// its repartition topic:
//
//	version assemble kind-of-watermark [watermark] { key pane body }
//
// Call Reset before the first Add. The writer keeps its memory across Resets.
type BatchWriter struct {
	header BatchHeader
	buf    []byte // what comes behind the header, behind room for it
	pane   int64
	n      int
}

// headerRoom is more than the bytes of a header.
const headerRoom = 2 + 2*binary.MaxVarintLen64

// Reset begins a new batch; what Bytes returned before is overwritten.
func (w *BatchWriter) Reset(h BatchHeader) {
	var room [headerRoom]byte
	w.header, w.pane, w.n, w.buf = h, 0, 0, append(w.buf[:0], room[:]...)
}

// Mark makes the batch tell a watermark of events.
func (w *BatchWriter) Mark(watermark int64) {
	w.header.Watermark, w.header.HasWatermark, w.header.Closed = watermark, true, false
}

// MarkClosed makes the batch tell that with it all closed panes that end by end are sent.
func (w *BatchWriter) MarkClosed(end int64) {
	w.header.Watermark, w.header.HasWatermark, w.header.Closed = end, true, true
}

// Add appends the partial of series key in the pane that starts at pane. Any
// pointer to a measure is a partial.
func (w *BatchWriter) Add(key string, pane int64, partial interface{ Append([]byte) []byte }) {
	w.begin(key, pane)
	w.buf = appendBody(w.buf, partial)
}

// AddBody is Add for a measure that is encoded.
func (w *BatchWriter) AddBody(key string, pane int64, body []byte) {
	w.begin(key, pane)
	w.buf = appendBytes(w.buf, body)
}

func (w *BatchWriter) begin(key string, pane int64) {
	w.buf = appendString(w.buf, key)
	w.buf = appendSigned(w.buf, pane-w.pane) // mostly the same pane as before
	w.pane = pane
	w.n++
}

// Len returns the number of partials since Reset.
func (w *BatchWriter) Len() int { return w.n }

// Size returns about how many bytes the record has, and never less.
func (w *BatchWriter) Size() int { return len(w.buf) }

// Bytes returns the record so far. It is valid until the next call.
func (w *BatchWriter) Bytes() []byte {
	var room [headerRoom]byte
	head := appendCount(append(room[:0], Version), int64(w.header.Assemble))
	switch {
	case !w.header.HasWatermark:
		head = append(head, noWatermark)
	case w.header.Closed:
		head = appendSigned(append(head, ofClosed), w.header.Watermark)
	default:
		head = appendSigned(append(head, ofEvents), w.header.Watermark)
	}
	begin := headerRoom - len(head)
	copy(w.buf[begin:], head)
	return w.buf[begin:]
}

// BatchReader iterates over the partials of a batch:
//
//	r, err := NewBatchReader(record)
//	for r.Next() { … r.Key, r.Pane, r.Body … }
//	err = r.Err()
type BatchReader struct {
	Header BatchHeader

	// The current partial, valid until the record's memory is reused.
	Key  []byte
	Pane int64
	Body []byte // see DecodeBody

	d decoder
}

// NewBatchReader reads the header of a batch, whose bytes it does not copy.
func NewBatchReader(src []byte) (*BatchReader, error) {
	r := &BatchReader{d: decoder{src: src}}
	r.d.version()
	r.Header.Assemble = int32(r.d.below(maxPartitions - 1))
	if kind := r.d.below(ofClosed); kind != noWatermark {
		r.Header.Watermark, r.Header.HasWatermark, r.Header.Closed = r.d.varint(), true, kind == ofClosed
	}
	return r, r.Err()
}

// Next moves to the next partial. It returns false at the end and at the first
// corrupt byte; Err tells which.
func (r *BatchReader) Next() bool {
	if len(r.d.src) == 0 {
		return false
	}
	r.Key = r.d.bytes()
	r.Pane += r.d.varint()
	r.Body = r.d.bytes()
	return r.d.err == nil
}

// Err returns what ended the iteration early, or nil.
func (r *BatchReader) Err() error {
	if r.d.err != nil {
		return fmt.Errorf("read batch: %w", r.d.err)
	}
	return nil
}

// Package deadletters knows the records of the two side topics, the dead letters and the
// late records: what is in one, where its original lies, whether it would be counted if it
// was sent again, and how that is done so that it can be traced.
//
//	side topic ─ Parse ─▶ Letter ─ original ─▶ Record ─ Judge ─▶ Verdict
//	                                              └─ Mark ─▶ source topic, same partition
//
// A replay is no second way into the tables: what it sends is read, checked for
// duplicates and counted as any record of a source topic, and comes to a side topic again
// if it has to.
//
// The package holds the rules. It reads and sends through small interfaces and connects to
// nothing.
package deadletters

import (
	"context"
	"time"

	"ragstreams/event"
)

// Header is one record header. It is an alias, so that the transport's is the same type.
type Header = struct {
	Key   string
	Value []byte
}

// Record is a record of a side topic or a source topic. Nil and empty keys and values are
// told apart.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // Unix milliseconds, Kafka's
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Place returns where the record lies.
func (r *Record) Place() Place {
	return Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// Place is where a record lies.
type Place = event.Place

// Log reads what Kafka holds. All that it hands on is committed.
type Log interface {
	// Spans returns, by partition, which offsets of a topic hold what came since a time;
	// zero: all that there is.
	Spans(ctx context.Context, topic string, since time.Time) (Spans, error)
	// Read visits the records of a span in order, and returns the first error of visit.
	Read(ctx context.Context, topic string, partition int32, s Span, visit func(Record) error) error
	// At returns the record of a place, or why there is none.
	At(ctx context.Context, p Place) (r Record, why string, err error)
}

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
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
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
func (r *Record) Place() Place { return Place{r.Topic, r.Partition, r.Offset} }

// Place is where a record lies.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String writes a place such as rag-traces/0@17.
func (p Place) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// ParsePlace reads what String writes.
func ParsePlace(text string) (p Place, err error) {
	rest, offset := cutLast(text, '@')
	topic, partition := cutLast(rest, '/')
	n, err1 := strconv.ParseInt(partition, 10, 32)
	p.Offset, err = strconv.ParseInt(offset, 10, 64)
	if p.Topic, p.Partition = topic, int32(n); topic == "" || errors.Join(err1, err) != nil || n < 0 || p.Offset < 0 {
		return Place{}, fmt.Errorf("%q is no place of a record: want TOPIC/PARTITION@OFFSET", text)
	}
	return p, nil
}

// cutLast parts a text at the last of its separators.
func cutLast(s string, sep byte) (before, after string) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

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

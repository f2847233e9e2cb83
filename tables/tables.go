// Package tables defines what the system remembers: one file per table, each
// with its measure, how two measures merge, how they are written as bytes, and
// the columns shown to people.
//
//	dims ── AppendKey ──▶ key          the series
//	events ─ Observe ──▶ measure       one series, one pane      Traffic, Latency, Errors, Usage, Behaviour, Records
//	measures ─ Batch ──▶ record        assemble → table partition
//	batch ─ Edit.Add ──▶ Row           open panes + running total  the table's value
//	Edit.Close ─ Batch ▶ record        <table>-windows, immutable
//	measure ─ Values ──▶ columns       HTTP, SQL, CSV
//
// Everything here is a plain value: it does not know which topic fed it, who
// reads it or what time it is. Times are event times in Unix milliseconds and
// durations are nanoseconds, unless a name says otherwise. Nothing here is safe
// for concurrent writes; a value that nobody writes may be read by many.
//
// Every format is state on disk: see Version before changing a field.
package tables

import "fmt"

// Version opens every row, batch and progress record. It covers the
// bodies of the measures inside, so it must rise with any change of any of them.
const Version = 3

// Measure is what a table keeps per series and pane: M is a plain struct, P its
// pointer. Merge is associative and commutative and the zero M changes nothing,
// so measures combine in any order: across records, partitions and panes. What
// does not depend on order is written to the same bytes, however it was reached.
type Measure[M any] interface {
	*M

	// Merge folds from into the receiver. It leaves from as it was and keeps
	// no reference into it.
	Merge(from *M)

	// Append adds the measure's bytes to dst. They end themselves and carry no
	// version: the row or batch around them does.
	Append(dst []byte) []byte

	// Decode replaces the receiver by the measure at the front of src and
	// returns what follows it. It retains nothing of src, and may use the
	// receiver's memory again, so no plain copy of the receiver may be in use.
	// After an error the receiver's content is undefined.
	Decode(src []byte) (rest []byte, err error)

	// Clone returns a deep copy.
	Clone() M

	// IsZero reports whether nothing was ever counted.
	IsZero() bool
}

// DecodeBody reads m from a body that holds one measure and nothing else, as
// BatchReader yields it.
func DecodeBody[M any, P Measure[M]](body []byte, m P) error {
	d := decoder{src: body}
	d.measure(m)
	if err := d.end(); err != nil {
		return fmt.Errorf("decode %T: %w", *m, err)
	}
	return nil
}

package tables

// Records counts what became of the records of one source topic: the balance
// of everything read against counted, duplicate, late and poison.
type Records struct {
	Count int64
}

// Merge implements Measure.
func (r *Records) Merge(from *Records) { r.Count += from.Count }

// Append implements Measure.
func (r *Records) Append(dst []byte) []byte { return appendCount(dst, r.Count) }

// Decode implements Measure.
func (r *Records) Decode(src []byte) ([]byte, error) {
	d := decoder{src: src}
	r.Count = d.count()
	return d.src, d.err
}

// Clone implements Measure.
func (r *Records) Clone() Records { return *r }

// IsZero implements Measure.
func (r *Records) IsZero() bool { return r.Count == 0 }

// RecordsTable shows that nothing was dropped in silence.
var RecordsTable = Table[Records]{
	Definition: Definition{
		Name: "records",
		Dims: []string{"topic", "outcome", "reason"},
		Columns: []Column{
			{"topic", TypeString, ""},
			{"outcome", TypeString, ""},
			{"reason", TypeString, ""},
			{"count", TypeInteger, ""},
		},
	},
	values: func(row []any, m, _ *Records, _ Span) []any {
		return append(row, m.Count)
	},
}

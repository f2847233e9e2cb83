package tables

// Traffic counts the events of one tenant, app and event type.
type Traffic struct {
	Count  int64 // all events, the failed ones included
	Errors int64 // events with status error
}

// Merge implements Measure.
func (t *Traffic) Merge(from *Traffic) {
	t.Count += from.Count
	t.Errors += from.Errors
}

// Append implements Measure.
func (t *Traffic) Append(dst []byte) []byte {
	return appendCount(appendCount(dst, t.Count), t.Errors)
}

// Decode implements Measure.
func (t *Traffic) Decode(src []byte) ([]byte, error) {
	d := decoder{src: src}
	*t = Traffic{Count: d.count(), Errors: d.count()}
	return d.src, d.err
}

// Clone implements Measure.
func (t *Traffic) Clone() Traffic { return *t }

// IsZero implements Measure.
func (t *Traffic) IsZero() bool { return *t == Traffic{} }

// TrafficTable shows how much is asked of the system, and how much of it fails.
var TrafficTable = Table[Traffic]{
	Definition: Definition{
		Name: "traffic",
		Dims: []string{"tenant", "app", "event_type"},
		Columns: []Column{
			{"tenant", TypeString, ""},
			{"app", TypeString, ""},
			{"event_type", TypeString, ""},
			{"count", TypeInteger, ""},
			{"errors", TypeInteger, ""},
			{"qps", TypeNumber, "per_second"},
			{"error_ratio", TypeNumber, "ratio"},
		},
	},
	values: func(row []any, m, _ *Traffic, span Span) []any {
		return append(row, m.Count, m.Errors,
			ratio(float64(m.Count), span.Seconds()),
			ratio(float64(m.Errors), float64(m.Count)))
	},
}

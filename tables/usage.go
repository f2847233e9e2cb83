package tables

// Usage is what was asked of one model by one tenant and app. Sums of tokens stay at
// the greatest number once they are there.
type Usage struct {
	Requests     int64 // events that told of tokens
	InputTokens  int64
	OutputTokens int64
}

// Observe counts a request that told of some tokens.
func (u *Usage) Observe(input, output int64) { u.Merge(&Usage{1, input, output}) }

// Merge implements Measure.
func (u *Usage) Merge(from *Usage) {
	u.Requests += from.Requests
	u.InputTokens = addSaturating(u.InputTokens, from.InputTokens)
	u.OutputTokens = addSaturating(u.OutputTokens, from.OutputTokens)
}

// Append implements Measure.
func (u *Usage) Append(dst []byte) []byte {
	return appendCount(appendCount(appendCount(dst, u.Requests), u.InputTokens), u.OutputTokens)
}

// Decode implements Measure.
func (u *Usage) Decode(src []byte) ([]byte, error) {
	d := decoder{src: src}
	*u = Usage{Requests: d.count(), InputTokens: d.count(), OutputTokens: d.count()}
	return d.src, d.err
}

// Clone implements Measure.
func (u *Usage) Clone() Usage { return *u }

// IsZero implements Measure.
func (u *Usage) IsZero() bool { return *u == Usage{} }

// UsageTable shows who uses which model, and how much.
var UsageTable = Table[Usage]{
	Definition: Definition{
		Name: "usage",
		Dims: []string{"tenant", "app", "model"},
		Columns: []Column{
			{"tenant", TypeString, ""},
			{"app", TypeString, ""},
			{"model", TypeString, ""},
			{"requests", TypeInteger, ""},
			{"input_tokens", TypeInteger, ""},
			{"output_tokens", TypeInteger, ""},
		},
	},
	values: func(row []any, m, _ *Usage, _ Span) []any {
		return append(row, m.Requests, m.InputTokens, m.OutputTokens)
	},
}

package tables

import (
	"cmp"
	"fmt"
)

// MaxTraceID is the longest trace id kept, in bytes: those of OpenTelemetry have
// 32. A longer one is left out, since one cut short would point nowhere.
const MaxTraceID = 64

// Latency is how long one stage of one tenant and app took, with one model.
type Latency struct {
	Duration Histogram // of every call
	TTFT     Histogram // time to first token, of the calls that had one

	Slowest Exemplar // the call with the longest duration
	Newest  Exemplar // the call with the latest event time
}

// Exemplar is one call that stands for many. The zero Exemplar is none.
type Exemplar struct {
	Value   int64  // duration in nanoseconds
	TraceID string // at most MaxTraceID bytes
	Time    int64  // Unix milliseconds
}

// Observe counts a call of ns nanoseconds at event time at in Unix milliseconds.
// Only a call with a trace id of at most MaxTraceID bytes can become an exemplar;
// the string may be kept. A time to first token goes to TTFT.Observe beside.
func (l *Latency) Observe(ns int64, traceID string, at int64) {
	l.Duration.Observe(ns)
	if keptTraceID(traceID) == "" {
		return
	}
	e := Exemplar{Value: clampDuration(ns), TraceID: traceID, Time: at}
	if beats(e, l.Slowest, bySlowness) {
		l.Slowest = e
	}
	if beats(e, l.Newest, byNewness) {
		l.Newest = e
	}
}

// keptTraceID returns id, or nothing when it is too long to be kept.
func keptTraceID(id string) string {
	if len(id) > MaxTraceID {
		return ""
	}
	return id
}

// beats reports whether a takes the place of b: it is greater by order, which
// tells any two different values apart, or b is none. So the winner of many does
// not depend on the order in which they meet.
func beats[T comparable](a, b T, order func(a, b T) int) bool {
	var none T
	return a != none && (b == none || order(a, b) > 0)
}

func bySlowness(a, b Exemplar) int {
	return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(a.Time, b.Time), cmp.Compare(a.TraceID, b.TraceID))
}

func byNewness(a, b Exemplar) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bySlowness(a, b))
}

// Merge implements Measure.
func (l *Latency) Merge(from *Latency) {
	l.Duration.Merge(&from.Duration)
	l.TTFT.Merge(&from.TTFT)
	if beats(from.Slowest, l.Slowest, bySlowness) {
		l.Slowest = from.Slowest
	}
	if beats(from.Newest, l.Newest, byNewness) {
		l.Newest = from.Newest
	}
}

// What the byte before the exemplars says.
const (
	hasSlowest   = 1 << iota
	slowestIsMax // its value is Duration.Max, and not written
	hasNewest    // other than Slowest; without it they are the same
)

// Append implements Measure:
//
//	duration ttft flags [ trace-id time [value] ] [ trace-id time value ]
func (l *Latency) Append(dst []byte) []byte {
	dst = l.Duration.Append(dst)
	dst = l.TTFT.Append(dst)
	var flags byte
	if l.Slowest != (Exemplar{}) {
		flags |= hasSlowest
		if l.Slowest.Value == l.Duration.Max() {
			flags |= slowestIsMax
		}
	}
	if l.Newest != l.Slowest {
		flags |= hasNewest
	}
	dst = append(dst, flags)
	if flags&hasSlowest != 0 {
		dst = l.Slowest.append(dst)
		if flags&slowestIsMax == 0 {
			dst = appendSigned(dst, l.Slowest.Value)
		}
	}
	if flags&hasNewest != 0 {
		dst = l.Newest.append(dst)
		dst = appendSigned(dst, l.Newest.Value)
	}
	return dst
}

// Decode implements Measure.
func (l *Latency) Decode(src []byte) ([]byte, error) {
	*l = Latency{Duration: l.Duration, TTFT: l.TTFT}
	d := decoder{src: src}
	d.measure(&l.Duration)
	d.measure(&l.TTFT)
	flags := d.below(hasSlowest | slowestIsMax | hasNewest)
	if flags&hasSlowest != 0 {
		l.Slowest.decode(&d)
		if flags&slowestIsMax != 0 {
			l.Slowest.Value = l.Duration.Max()
		} else {
			l.Slowest.Value = d.varint()
		}
	}
	l.Newest = l.Slowest
	if flags&hasNewest != 0 {
		l.Newest.decode(&d)
		l.Newest.Value = d.varint()
	}
	return d.src, d.err
}

// DecodeHistograms reads the histograms of a body, and leaves out all behind them.
func (l *Latency) DecodeHistograms(body []byte) error {
	d := decoder{src: body}
	d.measure(&l.Duration)
	d.measure(&l.TTFT)
	if d.err != nil {
		return fmt.Errorf("decode histograms of latency: %w", d.err)
	}
	return nil
}

// trimLatency leaves out the exemplars, three quarters of a pane with one call: they
// go with the running totals.
func trimLatency(dst, body []byte) ([]byte, error) {
	d := decoder{src: body}
	d.skipHistogram()
	d.skipHistogram()
	if d.err != nil {
		return dst, fmt.Errorf("trim latency: %w", d.err)
	}
	dst = append(dst, body[:len(body)-len(d.src)]...)
	return append(dst, 0), nil
}

// append writes all but the value.
func (e *Exemplar) append(dst []byte) []byte {
	return appendSigned(appendTraceID(dst, e.TraceID), e.Time)
}

// decode reads what append wrote.
func (e *Exemplar) decode(d *decoder) { e.TraceID, e.Time = d.traceID(), d.varint() }

// Clone implements Measure.
func (l *Latency) Clone() Latency {
	c := *l
	c.Duration, c.TTFT = l.Duration.Clone(), l.TTFT.Clone()
	return c
}

// IsZero implements Measure.
func (l *Latency) IsZero() bool {
	return l.Duration.IsZero() && l.TTFT.IsZero() && l.Slowest == Exemplar{} && l.Newest == Exemplar{}
}

// LatencyTable shows how slow which stage is.
var LatencyTable = Table[Latency]{
	Definition: Definition{
		Name: "latency",
		Dims: []string{"tenant", "app", "stage", "model"},
		Columns: []Column{
			{"tenant", TypeString, ""},
			{"app", TypeString, ""},
			{"stage", TypeString, ""},
			{"model", TypeString, ""},
			{"count", TypeInteger, ""},
			{"sum_seconds", TypeNumber, "seconds"},
			{"avg_seconds", TypeNumber, "seconds"},
			{"p50_seconds", TypeNumber, "seconds"},
			{"p90_seconds", TypeNumber, "seconds"},
			{"p95_seconds", TypeNumber, "seconds"},
			{"p99_seconds", TypeNumber, "seconds"},
			{"max_seconds", TypeNumber, "seconds"},
		},
	},
	Trim: trimLatency,
	values: func(row []any, m, _ *Latency, _ Span) []any {
		h := &m.Duration
		sum := seconds(float64(h.Sum()))
		row = append(row, h.Count(), sum)
		if h.IsZero() {
			return append(row, nil, nil, nil, nil, nil, nil)
		}
		row = append(row, sum/float64(h.Count()))
		for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			row = append(row, seconds(h.Quantile(q)))
		}
		return append(row, seconds(float64(h.Max())))
	},
}

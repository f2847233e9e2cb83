package series

import (
	"math"
	"slices"
	"sync"
	"time"

	"ragstreams/tables"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// never as the beginning of a history is behind all of it.
const never int64 = math.MaxInt64

// bounds are the times of samples, in Unix milliseconds: from and to are inclusive,
// and so is now, the time of the snapshot.
type bounds struct{ from, to, now int64 }

// sampleTime is the time of a sample and how many of the spans it counts.
type sampleTime struct {
	t     int64
	spans int
}

// coarse is how far apart samples are among hours: below the five minutes that an
// instant selector looks back.
const coarse = int64(4 * time.Minute / time.Millisecond)

// appendTimes adds to list when there are samples of a series that counted something in
// spans, which are ordered by their ends; born says that nothing came before them.
func (b bounds) appendTimes(list []sampleTime, spans []part, born bool, pane int64) []sampleTime {
	if born && len(spans) == 0 {
		return list
	}
	add := func(t int64, n int) {
		if t >= b.from && t <= b.to {
			list = append(list, sampleTime{t, n})
		}
	}
	fine := int64(math.MinInt64) // where panes begin
	for _, s := range spans {
		if s.To-s.From > pane {
			fine = s.To
		}
	}
	t := b.from
	if born {
		t = max(t, spans[0].From)
	}
	n := 0
	for {
		step := pane
		if t < fine {
			step = coarse
		}
		t = ceil(t, step)
		if t > min(b.to, b.now) {
			break
		}
		for n < len(spans) && spans[n].To <= t {
			n++
		}
		add(t, n)
		t++
	}
	if len(list) > 0 && list[len(list)-1].t == b.now || b.now > b.to {
		return list
	}
	for n < len(spans) && spans[n].From < b.now {
		n++
	}
	if n > 0 || !born {
		add(b.now, n)
	}
	return list
}

// ceil rounds t up to a multiple of size.
func ceil(t, size int64) int64 {
	if r := t % size; r > 0 {
		return t + size - r
	} else {
		return t - r
	}
}

// cursor walks over the times of samples. It is the part of an iterator that does not
// depend on what the samples are.
type cursor struct {
	times []sampleTime
	at    int
	kind  chunkenc.ValueType
}

// Next implements chunkenc.Iterator.
func (c *cursor) Next() chunkenc.ValueType {
	if c.at+1 >= len(c.times) {
		c.at = len(c.times)
		return chunkenc.ValNone
	}
	c.at++
	return c.kind
}

// milliseconds keeps vet from taking Seek for that of io.Seeker.
type milliseconds = int64

// Seek implements chunkenc.Iterator.
func (c *cursor) Seek(t milliseconds) chunkenc.ValueType {
	c.at = max(c.at, 0)
	for c.at < len(c.times) && c.times[c.at].t < t {
		c.at++
	}
	if c.at == len(c.times) {
		return chunkenc.ValNone
	}
	return c.kind
}

// AtT implements chunkenc.Iterator.
func (c *cursor) AtT() int64 { return c.times[c.at].t }

// AtST implements chunkenc.Iterator: no start is told.
func (c *cursor) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (c *cursor) Err() error { return nil }

// past is the part of an iterator that knows what a series counted: the total at the
// current sample, to which spans are added as it goes. Its memory is used again for other
// series.
type past struct {
	cursor
	spans   []part   // ascending by their ends
	before  []part   // in no span
	buckets []bucket // of all of them
	added   int      // of spans, to the total

	born, count, zero, sum int64
	low                    int
	counts                 []int64 // of bucket low+k
}

// part is what was counted in a span, or before all of them: by a counter, or by a
// histogram.
type part struct {
	tables.Span
	inEver                 bool // it is part of what the series counted since it exists
	born, count, zero, sum int64
	first, end             int // of past.buckets
}

// bucket is the count of a bucket of a histogram.
type bucket struct {
	i int
	n int64
}

// reset forgets everything about a series.
func (p *past) reset() {
	p.times, p.at = p.times[:0], -1
	p.spans, p.before, p.buckets, p.added = p.spans[:0], p.before[:0], p.buckets[:0], 0
	p.born, p.count, p.zero, p.sum = 0, 0, 0, 0
	p.low, p.counts = 0, p.counts[:0]
}

// begin makes the total what it was before the first span: what the series counted since
// it exists, without the spans.
func (p *past) begin() {
	low, high := math.MaxInt, math.MinInt
	for _, parts := range [][]part{p.before, p.spans} {
		for i := range parts {
			if own := p.buckets[parts[i].first:parts[i].end]; len(own) > 0 {
				low, high = min(low, own[0].i), max(high, own[len(own)-1].i)
			}
		}
	}
	if low <= high {
		p.low, p.counts = low, slices.Grow(p.counts, high-low+1)[:high-low+1]
		clear(p.counts)
	}
	for i := range p.before {
		p.add(&p.before[i], 1)
	}
	for i := range p.spans {
		if x := &p.spans[i]; !x.inEver { // otherwise it was not added, either
			p.add(x, -1)
		}
	}
	// A series that was forgotten and came back has spans from before: it begins with them.
	p.count, p.zero, p.sum = max(0, p.count), max(0, p.zero), max(0, p.sum)
	for i := range p.counts {
		p.counts[i] = max(0, p.counts[i])
	}
}

// add adds a part to the total, or takes it away.
func (p *past) add(x *part, sign int64) {
	p.born += sign * x.born
	p.count = addSaturating(p.count, sign*x.count)
	p.zero += sign * x.zero
	p.sum = addSaturating(p.sum, sign*x.sum)
	for _, b := range p.buckets[x.first:x.end] {
		p.counts[b.i-p.low] += sign * b.n
	}
}

// addSaturating adds numbers of which one may be a sum of durations, which stays at its
// top once there: so a total may be less than its parts, but it must not fall for that.
func addSaturating(a, b int64) int64 {
	switch c := a + b; {
	case b > 0 && c < a:
		return math.MaxInt64
	case b < 0 && c > a:
		return math.MinInt64
	default:
		return c
	}
}

// advance adds what was counted up to the current sample.
func (p *past) advance() sampleTime {
	s := p.times[p.at]
	for ; p.added < s.spans; p.added++ {
		p.add(&p.spans[p.added], 1)
	}
	return s
}

// floats iterates over the samples of a counter.
type floats struct {
	past
	floatsOnly
	unit float64
}

// Iterators of queriers that were closed, for their memory.
var (
	unusedFloats     = sync.Pool{New: func() any { return &floats{past: past{cursor: cursor{kind: chunkenc.ValFloat}}} }}
	unusedHistograms = sync.Pool{New: func() any { return &histograms{past{cursor: cursor{kind: chunkenc.ValFloatHistogram}}} }}
)

// At implements chunkenc.Iterator.
func (it *floats) At() (int64, float64) {
	s := it.advance()
	return s.t, float64(max(it.count, 0)) * it.unit
}

// floatsOnly is the part of an iterator that has no histograms.
type floatsOnly struct{}

// AtHistogram implements chunkenc.Iterator.
func (floatsOnly) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("BUG: the samples are floats")
}

// AtFloatHistogram implements chunkenc.Iterator.
func (floatsOnly) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	panic("BUG: the samples are floats")
}

// histograms iterates over the samples of a histogram.
type histograms struct{ past }

// AtFloatHistogram implements chunkenc.Iterator.
func (it *histograms) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	s := it.advance()
	if h == nil {
		h = &histogram.FloatHistogram{}
	}
	spans, buckets := h.PositiveSpans[:0], h.PositiveBuckets[:0]
	next := 0 // after the last bucket
	for k, n := range it.counts {
		if n == 0 {
			continue
		}
		i := it.low + k
		if i != next || len(spans) == 0 {
			spans = append(spans, histogram.Span{Offset: int32(i - next)})
		}
		spans[len(spans)-1].Length++
		buckets = append(buckets, float64(n))
		next = i + 1
	}
	*h = histogram.FloatHistogram{
		// Samples never fall. The first may be compared with one of another series.
		CounterResetHint: histogram.NotCounterReset,
		Schema:           tables.Schema,
		ZeroThreshold:    tables.ZeroThreshold,
		Count:            float64(it.count),
		ZeroCount:        float64(it.zero),
		Sum:              time.Duration(max(it.sum, 0)).Seconds(),
		PositiveSpans:    spans,
		PositiveBuckets:  buckets,
	}
	if it.at == 0 {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return s.t, h
}

// AtHistogram implements chunkenc.Iterator.
func (it *histograms) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("BUG: the samples are float histograms")
}

// At implements chunkenc.Iterator.
func (it *histograms) At() (int64, float64) { panic("BUG: a histogram has no floats") }

// failed is an iterator over nothing, because of an error.
type failed struct {
	chunkenc.Iterator
	err error
}

// Err implements chunkenc.Iterator.
func (f failed) Err() error { return f.err }

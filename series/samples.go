package series

import (
	"math"
	"slices"
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

// times returns when there are samples of a series that counted something in spans,
// which are ordered by their ends; born says that nothing came before them.
func (b bounds) times(spans []tables.Span, born bool, pane int64) []sampleTime {
	var list []sampleTime
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

func (c *cursor) reset(times []sampleTime) { c.times, c.at = times, -1 }

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

// floats iterates over the samples of a counter.
type floats struct {
	cursor
	floatsOnly
	totals []int64 // after as many spans as the index says
	unit   float64
}

func counter[M any](m *metric[M], p past[M], times []sampleTime, reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*floats)
	if !ok {
		it = &floats{cursor: cursor{kind: chunkenc.ValFloat}}
	}
	it.reset(times)
	it.unit = m.unit
	n := len(p.sums)
	it.totals = slices.Grow(it.totals[:0], n+1)[:n+1]
	it.totals[n] = m.count(&p.ever)
	for i, sum := range slices.Backward(p.sums) {
		// The sum of durations stays at its top once there; a total must not fall for that.
		it.totals[i] = max(it.totals[i+1]-m.count(sum), 0)
	}
	return it
}

// At implements chunkenc.Iterator.
func (it *floats) At() (int64, float64) {
	s := it.times[it.at]
	return s.t, float64(it.totals[s.spans]) * it.unit
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

// histograms iterates over the samples of a histogram. It holds the total of the
// current one, and adds spans as it goes.
type histograms struct {
	cursor
	deltas []*tables.Histogram
	added  int // of deltas

	count, zero, sum int64
	low              int
	counts           []int64 // of bucket low+k
}

func histogramsOf[M any](m *metric[M], p past[M], times []sampleTime, reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*histograms)
	if !ok {
		it = &histograms{cursor: cursor{kind: chunkenc.ValFloatHistogram}}
	}
	it.reset(times)
	ever := m.histogram(&p.ever)
	it.count, it.zero, it.sum = 0, 0, 0
	it.low, it.counts = 0, it.counts[:0]
	for i := range ever.Buckets() { // all others have no other buckets
		if len(it.counts) == 0 {
			it.low = i
		}
		n := i - it.low + 1
		it.counts = slices.Grow(it.counts, n-len(it.counts))[:n]
	}
	clear(it.counts)
	it.add(ever, 1)
	it.added, it.deltas = 0, it.deltas[:0]
	for _, sum := range p.sums {
		h := m.histogram(sum)
		it.deltas = append(it.deltas, h)
		it.add(h, -1)
	}
	return it
}

func (it *histograms) add(h *tables.Histogram, sign int64) {
	it.count += sign * h.Count()
	it.zero += sign * h.ZeroCount()
	it.sum += sign * h.Sum()
	for i, n := range h.Buckets() {
		it.counts[i-it.low] += sign * n
	}
}

// AtFloatHistogram implements chunkenc.Iterator.
func (it *histograms) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	s := it.times[it.at]
	for ; it.added < s.spans; it.added++ {
		it.add(it.deltas[it.added], 1)
	}
	if h == nil {
		h = &histogram.FloatHistogram{}
	}
	*h = histogram.FloatHistogram{
		// Samples never fall. The first may be compared with one of another series.
		CounterResetHint: histogram.NotCounterReset,
		Schema:           tables.Schema,
		ZeroThreshold:    tables.ZeroThreshold,
		Count:            float64(it.count),
		ZeroCount:        float64(it.zero),
		// The sum of durations stays at its top once there.
		Sum:             time.Duration(max(it.sum, 0)).Seconds(),
		PositiveSpans:   h.PositiveSpans[:0],
		PositiveBuckets: h.PositiveBuckets[:0],
	}
	if it.at == 0 {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	next := 0 // after the last bucket
	for k, n := range it.counts {
		if n == 0 {
			continue
		}
		i := it.low + k
		if last := len(h.PositiveSpans) - 1; last >= 0 && i == next {
			h.PositiveSpans[last].Length++
		} else {
			offset := i
			if last >= 0 {
				offset = i - next
			}
			h.PositiveSpans = append(h.PositiveSpans, histogram.Span{Offset: int32(offset), Length: 1})
		}
		h.PositiveBuckets = append(h.PositiveBuckets, float64(n))
		next = i + 1
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

package metrics

import (
	"math"
	"time"

	"ragstreams/tables"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// histogram is a table's histogram as a metric, classic and native at once.
type histogram struct {
	metric    *metric
	labels    []string
	h         *tables.Histogram
	exemplars []tables.Exemplar
}

// Desc implements prometheus.Metric.
func (h histogram) Desc() *prometheus.Desc { return h.metric.desc }

// Write implements prometheus.Metric.
func (h histogram) Write(out *dto.Metric) error {
	out.Label = prometheus.MakeLabelPairs(h.metric.desc, valid(h.labels))
	d := &dto.Histogram{
		SampleCount:   proto.Uint64(uint64(h.h.Count())),
		SampleSum:     proto.Float64(time.Duration(h.h.Sum()).Seconds()),
		Schema:        proto.Int32(tables.Schema),
		ZeroThreshold: proto.Float64(tables.ZeroThreshold),
		ZeroCount:     proto.Uint64(uint64(h.h.ZeroCount())),
	}
	h.classic(d)
	h.native(d)
	out.Histogram = d
	return nil
}

func (h histogram) classic(d *dto.Histogram) {
	before := math.Inf(-1)
	for _, bound := range tables.ClassicBounds {
		b := &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(uint64(h.h.CumulativeLE(bound)))}
		b.Exemplar = h.exemplar(before, bound)
		d.Bucket = append(d.Bucket, b)
		before = bound
	}
	if x := h.exemplar(before, math.Inf(1)); x != nil {
		d.Bucket = append(d.Bucket, &dto.Bucket{
			UpperBound: proto.Float64(math.Inf(1)), CumulativeCount: proto.Uint64(uint64(h.h.Count())), Exemplar: x,
		})
	}
}

// exemplar returns the newest exemplar in (low, high], nil when there is none.
func (h histogram) exemplar(low, high float64) *dto.Exemplar {
	var best *tables.Exemplar
	for i := range h.exemplars {
		x := &h.exemplars[i]
		v := time.Duration(x.Value).Seconds()
		if x.TraceID != "" && v > low && v <= high && (best == nil || x.Time > best.Time) {
			best = x
		}
	}
	if best == nil {
		return nil
	}
	return exemplarOf(best)
}

func exemplarOf(x *tables.Exemplar) *dto.Exemplar {
	id := valid([]string{x.TraceID})[0]
	return &dto.Exemplar{
		Label:     []*dto.LabelPair{{Name: proto.String("trace_id"), Value: proto.String(id)}},
		Value:     proto.Float64(time.Duration(x.Value).Seconds()),
		Timestamp: timestamppb.New(time.UnixMilli(x.Time)),
	}
}

// native writes the buckets as spans and deltas between neighbours, as the
// exposition format wants them.
func (h histogram) native(d *dto.Histogram) {
	next := 0 // index after the last bucket
	var last int64
	for i, n := range h.h.Buckets() {
		if len(d.PositiveSpan) == 0 || i != next {
			offset := i
			if len(d.PositiveSpan) > 0 {
				offset = i - next
			}
			d.PositiveSpan = append(d.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(offset)), Length: proto.Uint32(0)})
		}
		span := d.PositiveSpan[len(d.PositiveSpan)-1]
		*span.Length++
		d.PositiveDelta = append(d.PositiveDelta, n-last)
		next, last = i+1, n
	}
	if len(d.PositiveSpan) == 0 && h.h.ZeroCount() == 0 { // says that it is native though it is empty
		d.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	for i := range h.exemplars {
		if h.exemplars[i].TraceID != "" {
			d.Exemplars = append(d.Exemplars, exemplarOf(&h.exemplars[i]))
		}
	}
}

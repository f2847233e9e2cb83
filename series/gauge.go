package series

import (
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// gauge is the Source of a metric of which only the present is known.
type gauge struct {
	name string
	dims []string
	read func(visit func(values []string, v float64))
}

// Gauge returns a metric with labels of these names. read visits every series that
// there is now; the values of its labels are in the same order. A Snapshot has no past
// of it: its value holds from the time of the snapshot on.
func Gauge(name string, dims []string, read func(visit func(values []string, v float64))) Source {
	return &gauge{name, dims, read}
}

func (g *gauge) names(visit func(name string)) { visit(g.name) }

func (g *gauge) snapshot() (snapshotOf, error) {
	s := &gauges{}
	b := labels.NewBuilder(labels.EmptyLabels())
	g.read(func(values []string, v float64) {
		b.Reset(labels.EmptyLabels())
		b.Set(model.MetricNameLabel, g.name)
		for i, value := range values {
			b.Set(g.dims[i], strings.ToValidUTF8(value, "\uFFFD"))
		}
		s.all.members = append(s.all.members, member{labels: b.Labels(), metric: len(s.values)})
		s.values = append(s.values, v)
	})
	return s, nil
}

// gauges are the values of a gauge at one moment.
type gauges struct {
	all    family
	values []float64 // by the metric of a member
}

func (s *gauges) family(string) *family { return &s.all }

func (s *gauges) iterator(m member, b bounds, _ chunkenc.Iterator) chunkenc.Iterator {
	if b.now > b.to {
		return chunkenc.NewNopIterator()
	}
	return &gaugeSample{cursor: cursor{times: []sampleTime{{t: b.to}}, at: -1, kind: chunkenc.ValFloat}, v: s.values[m.metric]}
}

// gaugeSample iterates over one sample.
type gaugeSample struct {
	cursor
	floatsOnly
	v float64
}

// At implements chunkenc.Iterator.
func (it *gaugeSample) At() (int64, float64) { return it.AtT(), it.v }

package metrics

import (
	"runtime"
	"time"

	"ragstreams/tables"

	"github.com/prometheus/client_golang/prometheus"
)

// Observer takes in what happens between scrapes. It is safe for concurrent use.
type Observer struct {
	commits *prometheus.HistogramVec
	age     prometheus.Observer
	cut     *prometheus.CounterVec
	again   *prometheus.CounterVec
}

// NewObserver registers its metrics, those that say what was built, and whether any
// source is behind.
func NewObserver(reg prometheus.Registerer, version string, isBehind func() bool) *Observer {
	age := newHistogramVec(eventAge)
	o := &Observer{commits: newHistogramVec(commitSeconds), age: age.WithLabelValues(),
		cut: newCounterVec(labelsCut), again: newCounterVec(replayed)}
	unread := collector(func(ch chan<- prometheus.Metric) { ch <- behind.value(truth(isBehind())) })
	build := collector(func(ch chan<- prometheus.Metric) { ch <- buildInfo.value(1, version, runtime.Version()) })
	reg.MustRegister(o.commits, age, o.cut, o.again, unread, build)
	return o
}

func newCounterVec(m *metric) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func newHistogramVec(m *metric) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: m.Name, Help: m.Help, Buckets: tables.ClassicBounds, NativeHistogramBucketFactor: 1.1,
		NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}, m.Labels)
}

// Committed notes how long a transaction took and whether it held.
func (o *Observer) Committed(group string, took time.Duration, held bool) {
	result := "committed"
	if !held {
		result = "aborted"
	}
	o.commits.WithLabelValues(group, result).Observe(took.Seconds())
}

// LabelsCut counts values of a label that were too long. A label first named with
// 0 is shown from the start, so that its first increase is seen. It counts what
// this instance did, and a value again when its transaction is done again.
func (o *Observer) LabelsCut(label string, n int64) { o.cut.WithLabelValues(label).Add(float64(n)) }

// Replayed counts records of a source topic that a replay had sent. It counts as LabelsCut
// does.
func (o *Observer) Replayed(topic, reason string, n int64) {
	o.again.WithLabelValues(topic, reason).Add(float64(n))
}

// EventAge notes how old the newest event of a transaction was at its commit.
func (o *Observer) EventAge(age time.Duration) { o.age.Observe(max(0, age.Seconds())) }

package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Observer takes in what happens between scrapes. It is safe for concurrent use.
type Observer struct {
	commits *prometheus.HistogramVec
	age     prometheus.Observer
}

// NewObserver registers its metrics, and those that say what was built.
func NewObserver(reg prometheus.Registerer, version string) *Observer {
	age := newHistogramVec(eventAge)
	o := &Observer{commits: newHistogramVec(commitSeconds), age: age.WithLabelValues()}
	build := collector(func(ch chan<- prometheus.Metric) { ch <- buildInfo.value(1, version, runtime.Version()) })
	reg.MustRegister(o.commits, age, build)
	return o
}

func newHistogramVec(m *metric) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: m.Name, Help: m.Help, Buckets: classicBounds, NativeHistogramBucketFactor: 1.1,
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

// EventAge notes how old the newest event of a transaction was at its commit.
func (o *Observer) EventAge(age time.Duration) { o.age.Observe(max(0, age.Seconds())) }

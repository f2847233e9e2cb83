package metrics

import (
	"fmt"
	"slices"
	"time"

	"ragstreams/tables"

	"github.com/prometheus/client_golang/prometheus"
)

// View is what is read of one table.
type View[M any] interface {
	// Series calls visit with what each series of a partition, and its overflow
	// row, counted since it exists.
	Series(partition int32, visit func(key string, sum *M)) error
	// Offset returns up to where the changelog of a partition was read.
	Offset(partition int32) int64
	// Count returns the number of series of a partition.
	Count(partition int32) int
	Watermark() (ms int64, ok bool)
}

// Table says how to read one table.
type Table[M any] struct {
	View  View[M]
	Table *tables.Table[M]
	// Owned returns the partitions that this instance owns for certain, each with
	// the changelog offset at which it was restored.
	Owned func() map[int32]int64
	// Recovered returns how much of the table was read since the start, 0 to 1.
	Recovered func() float64
	Now       func() time.Time
}

// owned returns the partitions to export: those owned whose view has come as far
// as their owner had restored. A view behind that might show less than the owner
// before did.
func (t Table[M]) owned() []int32 {
	var list []int32
	for p, offset := range t.Owned() {
		if t.View.Offset(p) >= offset {
			list = append(list, p)
		}
	}
	return list
}

// read visits every series to export, with its labels. The overflow rows of all
// partitions are one series; it comes last. A series of a tenant who calls
// everything as the overflow row is called joins it. It returns the number of
// series and the overflow, nil when there is none. A row that cannot be read
// fails the scrape.
func read[M any, P tables.Measure[M]](t Table[M], ch chan<- prometheus.Metric, visit func(dims []string, sum *M)) (count int, over *M) {
	overflowDims, err := t.Table.DimsOf(tables.OverflowKey)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	failed := func(err error) {
		ch <- prometheus.NewInvalidMetric(seriesCount.desc, fmt.Errorf("table %s: %w", t.Table.Name, err))
	}
	for _, p := range t.owned() {
		count += t.View.Count(p)
		err := t.View.Series(p, func(key string, sum *M) {
			dims, err := t.Table.DimsOf(key)
			switch {
			case err != nil:
				failed(err)
			case slices.Equal(dims, overflowDims):
				if over == nil {
					over = new(M)
				}
				P(over).Merge(sum)
			default:
				visit(dims, sum)
			}
		})
		if err != nil {
			failed(err)
		}
	}
	if over != nil {
		visit(overflowDims, over)
	}
	return count, over
}

// self sends what every table tells of itself.
func self[M any](t Table[M], ch chan<- prometheus.Metric, count int, over float64) {
	name := t.Table.Name
	ch <- seriesCount.value(float64(count), name)
	ch <- overflow.value(over, name)
	ch <- restoreRatio.value(t.Recovered(), name)
	if mark, ok := t.View.Watermark(); ok {
		ch <- lag.value(max(0, t.Now().Sub(time.UnixMilli(mark)).Seconds()), name)
	}
}

// collector is one table as a prometheus.Collector. It describes nothing: the
// registry then checks what it collects, not what it promised.
type collector func(ch chan<- prometheus.Metric)

func (c collector) Describe(chan<- *prometheus.Desc)    {}
func (c collector) Collect(ch chan<- prometheus.Metric) { c(ch) }

// valueOf returns the value of a series, by its labels, from values by key.
func valueOf[V any](values map[string]V, labels []string) V {
	if v, ok := values[string(tables.AppendKey(nil, labels...))]; ok || labels[0] != tables.OverflowLabel {
		return v
	}
	return values[tables.OverflowKey]
}

// Traffic exports the table traffic. rate returns the events a second of every
// series that had any in the newest minute, by key, or nil when there is no minute
// to speak of.
func Traffic(t Table[tables.Traffic], rate func() map[string]float64) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		var shown [][3]string
		count, over := read(t, ch, func(d []string, m *tables.Traffic) {
			shown = append(shown, [3]string{d[0], d[1], d[2]})
			ch <- events.value(float64(m.Count-m.Errors), d[0], d[1], d[2], "ok")
			ch <- events.value(float64(m.Errors), d[0], d[1], d[2], "error")
		})
		if rates := rate(); rates != nil {
			for _, d := range shown {
				ch <- qps.value(valueOf(rates, d[:]), d[0], d[1], d[2])
			}
		}
		n := 0.0
		if over != nil {
			n = float64(over.Count)
		}
		self(t, ch, count, n)
	})
}

// Latency exports the table latency.
func Latency(t Table[tables.Latency]) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		count, over := read(t, ch, func(d []string, m *tables.Latency) {
			if !m.Duration.IsZero() {
				exemplars := []tables.Exemplar{m.Newest}
				if m.Slowest != m.Newest {
					exemplars = append(exemplars, m.Slowest)
				}
				ch <- histogram{duration, append([]string(nil), d...), &m.Duration, exemplars}
			}
			if !m.TTFT.IsZero() {
				ch <- histogram{ttft, append([]string(nil), d...), &m.TTFT, nil}
			}
		})
		n := 0.0
		if over != nil {
			n = float64(over.Duration.Count())
		}
		self(t, ch, count, n)
	})
}

// Usage exports the table usage.
func Usage(t Table[tables.Usage]) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		count, over := read(t, ch, func(d []string, m *tables.Usage) {
			ch <- requests.value(float64(m.Requests), d[0], d[1], d[2])
			ch <- tokens.value(float64(m.InputTokens), d[0], d[1], d[2], tables.TokensInput)
			ch <- tokens.value(float64(m.OutputTokens), d[0], d[1], d[2], tables.TokensOutput)
		})
		n := 0.0
		if over != nil {
			n = float64(over.Requests)
		}
		self(t, ch, count, n)
	})
}

// Active is how many were active in a series of behaviour.
type Active struct{ Users, Sessions int64 }

// Behaviour exports the table behaviour. active returns who was active in the newest five
// minutes by the key of every series that had anybody, or nil when there is no such time.
func Behaviour(t Table[tables.Behaviour], active func() map[string]Active) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		now := active()
		count, over := read(t, ch, func(d []string, m *tables.Behaviour) {
			ch <- behaviour.value(float64(m.Count), d[0], d[1], d[2])
			if now == nil {
				return
			}
			a := valueOf(now, d)
			ch <- activeUsers.value(float64(a.Users), d[0], d[1], d[2])
			ch <- activeSessions.value(float64(a.Sessions), d[0], d[1], d[2])
		})
		n := 0.0
		if over != nil {
			n = float64(over.Count)
		}
		self(t, ch, count, n)
	})
}

// Errors exports the table errors.
func Errors(t Table[tables.Errors]) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		count, over := read(t, ch, func(d []string, m *tables.Errors) {
			errorType := m.ErrorType
			if d[0] == tables.OverflowLabel {
				errorType = tables.OverflowLabel
			}
			ch <- errorEvents.value(float64(m.Count), d[0], d[1], d[2], d[3], errorType)
		})
		n := 0.0
		if over != nil {
			n = float64(over.Count)
		}
		self(t, ch, count, n)
	})
}

// Outcomes of the table records that are not outcomes: what came in.
const outcomeIn = "in"

// Records exports the table records: what became of every record.
func Records(t Table[tables.Records], partitions int32) prometheus.Collector {
	return collector(func(ch chan<- prometheus.Metric) {
		count, _ := read(t, ch, func(d []string, m *tables.Records) {
			if d[1] == outcomeIn {
				ch <- recordsIn.value(float64(m.Count), d[0])
			} else {
				ch <- records.value(float64(m.Count), d[0], d[1], d[2])
			}
		})
		self(t, ch, count, 0)
		// What is in flight needs all partitions; one instance tells it.
		if _, mine := t.Owned()[0]; !mine {
			return
		}
		flight := map[string]int64{}
		for p := range partitions {
			err := t.View.Series(p, func(key string, m *tables.Records) {
				if d, err := t.Table.DimsOf(key); err == nil {
					if d[1] == outcomeIn {
						flight[d[0]] += m.Count
					} else {
						flight[d[0]] -= m.Count
					}
				}
			})
			if err != nil {
				ch <- prometheus.NewInvalidMetric(inFlight.desc, err)
				return
			}
		}
		for topic, n := range flight {
			// The partitions are read one after the other, so an outcome may be seen
			// before the record that it belongs to.
			ch <- inFlight.value(float64(max(n, 0)), topic)
		}
	})
}

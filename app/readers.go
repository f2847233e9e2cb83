package app

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"ragstreams/codecs"
	"ragstreams/kafka"
	"ragstreams/metrics"
	"ragstreams/queries"
	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"

	"github.com/lovoo/goka"
	"github.com/prometheus/client_golang/prometheus"
)

// readers is the read side: a view of every table, what feeds it, and what shows
// it.
type readers struct {
	stages    *stages
	members   []member
	tables    []queries.Table
	read      map[string]reading  // by table
	histories map[string]*history // by table with windows
	traffic   *views.View[tables.Traffic, *tables.Traffic]
	latency   *views.View[tables.Latency, *tables.Latency]
	usage     *views.View[tables.Usage, *tables.Usage]
	behaviour *views.View[tables.Behaviour, *tables.Behaviour]
	errors    *views.View[tables.Errors, *tables.Errors]
}

// reading is how far a view has come.
type reading interface {
	Watermark() (ms int64, ok bool)
	Partitions() int32
	Offset(partition int32) int64
}

// watermark returns the least watermark of all tables, false while one has none.
func (r *readers) watermark() (least int64, ok bool) {
	least = math.MaxInt64
	for _, v := range r.read {
		mark, ok := v.Watermark()
		if !ok {
			return 0, false
		}
		least = min(least, mark)
	}
	return least, true
}

// visitLags visits how far every table is behind the clock, in seconds.
func (r *readers) visitLags(visit func(labels []string, v float64)) {
	now := r.stages.o.Clock.Wall()
	for name, v := range r.read {
		if mark, ok := v.Watermark(); ok {
			visit([]string{name}, max(0, now.Sub(time.UnixMilli(mark)).Seconds()))
		}
	}
}

// visitBehind visits whether any source partition is not read to its end.
func (r *readers) visitBehind(visit func(labels []string, v float64)) {
	v := 0.0
	if r.stages.progress.Behind() {
		v = 1
	}
	visit(nil, v)
}

// visitRates visits the events a second of every series, as the metric shows them.
func (r *readers) visitRates(visit func(labels []string, v float64)) {
	for key, v := range rate(r.stages.o, r.traffic) {
		if dims, err := tables.TrafficTable.DimsOf(key); err == nil {
			visit(dims, v)
		}
	}
}

// visitActive returns what visits a number of every series of behaviour, as the metric
// shows it.
func (r *readers) visitActive(of func(metrics.Active) int64) func(visit func(labels []string, v float64)) {
	return func(visit func(labels []string, v float64)) {
		for key, a := range active(r.stages.o, r.behaviour) {
			if dims, err := tables.BehaviourTable.DimsOf(key); err == nil {
				visit(dims, float64(of(a)))
			}
		}
	}
}

// presentMetrics are metrics of which only the present is known.
var presentMetrics = []string{metrics.QPS, metrics.ActiveUsers, metrics.ActiveSessions, metrics.Lag, metrics.Behind}

// series returns what rules look at.
func (r *readers) series() *series.Store {
	users, sessions := func(a metrics.Active) int64 { return a.Users }, func(a metrics.Active) int64 { return a.Sessions }
	return series.New(
		series.Traffic(r.traffic), series.Latency(r.latency), series.Usage(r.usage), series.Behaviour(r.behaviour), series.Errors(r.errors),
		series.Gauge(metrics.QPS, tables.TrafficTable.Dims, r.visitRates),
		series.Gauge(metrics.ActiveUsers, tables.BehaviourTable.Dims, r.visitActive(users)),
		series.Gauge(metrics.ActiveSessions, tables.BehaviourTable.Dims, r.visitActive(sessions)),
		series.Gauge(metrics.Lag, []string{"table"}, r.visitLags), series.Gauge(metrics.Behind, nil, r.visitBehind),
	)
}

// offsets returns a number that changes whenever a table has changed.
func (r *readers) offsets() (sum int64) {
	for _, v := range r.read {
		for p := range v.Partitions() {
			sum += v.Offset(p)
		}
	}
	return sum
}

// newReaders makes the views and registers their metrics.
func newReaders(s *stages, reg prometheus.Registerer) *readers {
	r := &readers{stages: s, read: map[string]reading{}, histories: map[string]*history{}}
	r.traffic = addView(r, &tables.TrafficTable, true)
	r.latency = addView(r, &tables.LatencyTable, true)
	r.usage = addView(r, &tables.UsageTable, true)
	r.behaviour = addView(r, &tables.BehaviourTable, true)
	r.errors = addView(r, &tables.ErrorsTable, true)
	records := addView(r, &tables.RecordsTable, false)
	reg.MustRegister(
		metrics.Traffic(exported(s, r.traffic, &tables.TrafficTable), func() map[string]float64 { return rate(s.o, r.traffic) }),
		metrics.Latency(exported(s, r.latency, &tables.LatencyTable)),
		metrics.Usage(exported(s, r.usage, &tables.UsageTable)),
		metrics.Behaviour(exported(s, r.behaviour, &tables.BehaviourTable), func() map[string]metrics.Active { return active(s.o, r.behaviour) }),
		metrics.Errors(exported(s, r.errors, &tables.ErrorsTable)),
		metrics.Records(exported(s, records, &tables.RecordsTable), s.o.Partitions),
	)
	return r
}

func addView[M any, P tables.Measure[M]](r *readers, t *tables.Table[M], windowed bool) *views.View[M, P] {
	v := newView[M, P](r.stages.o, t)
	r.tables = append(r.tables, queries.Of(v, t, windowed))
	r.read[t.Name] = v
	r.members = append(r.members, viewMember(r.stages, v, t.Name))
	if !windowed {
		v.Recovered(views.Closed, views.Summed)
		return v
	}
	n, h := r.stages.o.names(), &history{kept: v.Kept}
	r.histories[t.Name] = h
	r.members = append(r.members,
		batchesMember(r.stages, "windows of "+t.Name, n.Windows(t.Name), views.Closed, v, v.Windows, &h.windows),
		batchesMember(r.stages, "hours of "+t.Name, n.Hours(t.Name), views.Summed, v, func(p int32, _ int64, value []byte) error { return v.Hours(p, value) }, &h.hours))
	return v
}

func newView[M any, P tables.Measure[M]](o *Options, t *tables.Table[M]) *views.View[M, P] {
	return views.New[M, P](views.Options{
		Panes: o.panes(), Partitions: o.Partitions, Assemblers: int(o.Partitions),
		Retention: o.PaneRetention, HourRetention: o.HourRetention, Trim: t.Trim,
	})
}

// viewMember feeds a view with the changelog.
func viewMember[M any, P tables.Measure[M]](s *stages, v *views.View[M, P], table string) member {
	part := "view of " + table
	return member{part, func(ctx context.Context) error {
		ends, err := kafka.EndOffsets(ctx, s.o.Kafka, s.o.names().Table(table))
		if err != nil {
			return fmt.Errorf("open view of %s: %w", table, err)
		}
		var recovered atomic.Bool
		update := func(p int32, offset int64, key string, value []byte) error {
			if !recovered.Load() && offset < ends[p] {
				v.Restoring(views.Changelog, p, offset+1, ends[p])
			}
			return v.Update(p, offset, key, value)
		}
		return s.follow(ctx, s.o.names().Table(table), update, func() {
			recovered.Store(true)
			v.Recovered(views.Changelog)
			s.status.clear(part)
		})
	}}
}

// follow hands every committed record of a table's changelog to update, through a goka
// view, and calls recovered when those that are there have been. goka keeps the offsets
// only.
func (s *stages) follow(ctx context.Context, changelog string, update func(partition int32, offset int64, key string, value []byte) error, recovered func()) error {
	var opened kafka.Opened
	defer opened.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	view, err := goka.NewView(s.o.Kafka.Brokers, goka.Table(changelog), codecs.Raw{},
		goka.WithViewConsumerSaramaBuilder(opened.Consumers(s.o.Kafka, 2*s.o.SessionTimeout)),
		goka.WithViewTopicManagerBuilder(opened.TopicManagers(s.o.Kafka)),
		goka.WithViewStorageBuilder(kafka.ViewStorage()),
		goka.WithViewHasher(kafka.Hasher),
		goka.WithViewLogger(kafka.GokaLogger(s.o.Logger)),
		goka.WithViewCallback(kafka.SkipControl(update)),
	)
	if err != nil {
		return fmt.Errorf("open view of %s: %w", changelog, err)
	}
	go func() {
		select {
		case <-view.WaitRunning():
			recovered()
		case <-ctx.Done():
		}
	}()
	return view.Run(ctx)
}

// recovering is a view that is told how far it has come.
type recovering interface {
	Restoring(s views.Stream, partition int32, read, end int64)
	Recovered(streams ...views.Stream)
}

// batchesMember feeds a view with the batches of a topic, closed panes or hours, and notes
// where in it hours begin.
func batchesMember(s *stages, part, topic string, stream views.Stream, v recovering, take func(partition int32, offset int64, value []byte) error, begins *hourOffsets) member {
	return member{part, func(ctx context.Context) error {
		var bad error
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		err := kafka.Follower{
			Config: s.o.Kafka, Topics: []string{topic},
			Visit: func(m kafka.Message) {
				err := take(m.Partition, m.Offset, m.Value)
				if err == nil {
					err = begins.note(m.Partition, m.Offset, m.Value)
				}
				if err != nil && bad == nil {
					bad = fmt.Errorf("%s: partition %d, offset %d: %w", part, m.Partition, m.Offset, err)
					stop()
				}
			},
			CaughtUp: func() { v.Recovered(stream); s.status.clear(part) },
			Progress: func(p int32, read, end int64) { v.Restoring(stream, p, read, end) },
		}.Run(ctx)
		if bad != nil {
			return bad
		}
		return err
	}}
}

func exported[M any, P tables.Measure[M]](s *stages, v *views.View[M, P], t *tables.Table[M]) metrics.Table[M] {
	group := s.o.names().TableGroup(t.Name)
	return metrics.Table[M]{
		View: v, Table: t, Now: s.o.Clock.Wall,
		Owned:     func() map[int32]int64 { return s.owned(group) },
		Recovered: func() float64 { return v.Recovery().Ratio },
	}
}

// What gauges are taken over: the newest time that is closed, or a pane when that is
// longer.
const (
	rateWindow   = time.Minute     // of rag_qps
	activeWindow = 5 * time.Minute // of those who are active
)

// recentFor is how long after it ended that time is still shown: a rate of hours ago is
// none, and the watermark stands still through a quiet night.
const recentFor = 5 * time.Minute

// rate returns events a second by series, nil when there is no such minute.
func rate(o *Options, v *views.View[tables.Traffic, *tables.Traffic]) map[string]float64 {
	return recent(o, v, rateWindow, func(m *tables.Traffic, seconds float64) float64 { return float64(m.Count) / seconds })
}

// active returns who was active by series, nil when there is no such time.
func active(o *Options, v *views.View[tables.Behaviour, *tables.Behaviour]) map[string]metrics.Active {
	return recent(o, v, activeWindow, func(m *tables.Behaviour, _ float64) metrics.Active {
		return metrics.Active{Users: m.Users.Count(), Sessions: m.Sessions.Count()}
	})
}

// recent returns what of says of every series that counted something in the newest time
// that is closed, nil when that is long ago.
func recent[M any, P tables.Measure[M], V any](o *Options, v *views.View[M, P], length time.Duration, of func(m *M, seconds float64) V) map[string]V {
	mark, ok := v.Watermark()
	if !ok {
		return nil
	}
	p := o.panes()
	through := p.ClosedThrough(mark)
	if through == window.None {
		return nil
	}
	span := max(length.Milliseconds(), p.Size)
	end := through + p.Size
	if o.Clock.Wall().UnixMilli()-end > (recentFor + o.Grace).Milliseconds() {
		return nil
	}
	values := map[string]V{}
	_, err := v.Query(views.Query{From: end - span, To: end}, func(key string, m, _ *M, span tables.Span, _ int64) {
		values[key] = of(m, span.Seconds())
	})
	if err != nil {
		o.Logger.Error("what is shown of the newest time cannot be read", "error", err)
		return nil
	}
	return values
}

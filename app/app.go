// Package app assembles the program: topics, stages, views, metrics and HTTP. It
// is used by the command and by end-to-end tests alike; it touches neither
// flags, nor the environment, nor signals.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"ragstreams/kafka"
	"ragstreams/metrics"
	"ragstreams/processors"
	"ragstreams/queries"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// Run runs until ctx ends (nil), or until something fails that only a person
// can mend. While Kafka cannot be reached it waits.
func Run(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o.Kafka.Logger = o.Logger
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	group, ctx := errgroup.WithContext(ctx)
	r := &run{o: &o, group: group, ctx: ctx, status: newStatus()}
	progress := processors.NewProgress(o.panes(), o.Clock)
	observer := metrics.NewObserver(registry, o.Version, progress.Behind)
	r.sources = &sources{
		topics: o.Sources, interval: o.MetadataInterval, log: o.Logger,
		look: func(ctx context.Context, topics []string) (map[string]int32, error) {
			return kafka.PartitionCounts(ctx, o.Kafka, topics)
		},
	}
	r.stages = &stages{
		o: &o, progress: progress, sources: r.sources, status: r.status,
		notes: newStatus(), sessions: map[string]map[int]*kafka.Session{}, observe: observer.Committed, eventAge: observer.EventAge, cut: observer.LabelsCut, replayed: observer.Replayed,
	}
	for _, label := range processors.Labels {
		observer.LabelsCut(label, 0)
	}
	readers := newReaders(r.stages, registry)
	members := append(readers.members, member{"purge", func(ctx context.Context) error { return purge(ctx, r.stages, readers.histories) }})
	var watch *alerting
	if o.Rules != "" {
		a, err := newAlerting(r.stages, readers, registry)
		if err != nil {
			return err
		}
		members, watch = append(members, a.members()...), a
	}
	if o.Watch.any() {
		members = append(members, watchMember(&o, metrics.NewDependencies(registry), r.status))
	}
	r.status.set(kafkaPart, "not reached yet")
	if o.HTTPListen != "" {
		l, err := listen(o.HTTPListen)
		if err != nil {
			return err
		}
		if o.OnListen != nil {
			o.OnListen(l.Addr().String())
		}
		found, done, err := tracesHandler(&o, readers)
		if err != nil {
			return err
		}
		defer done()
		group.Go(func() error { return serve(ctx, l, handler(r, readers, watch, found, registry)) })
	}
	group.Go(func() error { return r.start(members) })
	group.Go(func() error { r.tellReady(readers.tables); return nil })
	return advise(group.Wait())
}

// handler serves console, tables, alerts, dead letters, traces, health and metrics; watch is nil
// without rules.
func handler(r *run, views *readers, watch *alerting, traces http.Handler, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, Registry: registry, ErrorLog: slog.NewLogLogger(r.o.Logger.Handler(), slog.LevelError),
	}))
	mux.Handle("/api/v2/", alertsHandler(watch, r.o))
	letters := deadLettersHandler(r.o)
	mux.Handle("/api/dlq", letters)
	mux.Handle("/api/dlq/", letters)
	var files *ruleFiles
	if watch != nil {
		files = watch.files
	}
	mux.Handle("POST /-/reload", files)
	mux.Handle("GET /api/stream", queries.Stream(mux))
	mux.Handle("/api/traces/", traces)
	mux.Handle("/", queries.Handler(queries.Options{
		Tables: views.tables, Now: r.o.Clock.Wall, Missing: r.status.missing,
		Notes: func() []string {
			var notes []string
			for _, topic := range r.sources.missing() {
				notes = append(notes, "source topic "+topic+" does not exist; it is read as soon as it appears")
			}
			return append(notes, r.stages.notes.missing()...)
		},
	}))
	return mux
}

// run is one running program.
type run struct {
	o       *Options
	group   *errgroup.Group
	ctx     context.Context
	status  *status
	sources *sources
	stages  *stages
	outage  outage
}

// tellReady logs, once, when everything is restored and works.
func (r *run) tellReady(all []queries.Table) {
	started := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		restored := !slices.ContainsFunc(all, func(t queries.Table) bool { _, missing := t.Recovery(); return missing != "" })
		if restored && len(r.status.missing()) == 0 {
			r.o.Logger.Info("ready", "after", time.Since(started).Round(time.Millisecond))
			return
		}
	}
}

// sourcesPart is the part that looks for source topics.
const sourcesPart = "source topics"

// start starts every part, each under a supervisor, once Kafka is there.
func (r *run) start(readers []member) error {
	if err := r.makeTopics(); err != nil || r.ctx.Err() != nil {
		return err
	}
	r.group.Go(func() error {
		ask := func(ctx context.Context) error { return r.within(ctx, kafka.Reachable) }
		return presence{ask, r.o.Logger, r.status, &r.outage}.Run(r.ctx)
	})
	progress := r.stages.progress
	r.sources.changed = progress.Expect
	start := r.o.Start
	r.sources.appear = func(topic string) {
		for _, m := range r.stages.ingest(topic, r.sources.count(topic), start) {
			r.supervise(m)
		}
	}
	// Until the first look nobody knows what ingest there must be. A topic that
	// appears after it is read from its beginning.
	r.sources.looked = func() {
		start = kafka.Start{}
		r.status.clear(sourcesPart)
	}
	r.supervise(member{"progress", func(ctx context.Context) error {
		return kafka.Follower{
			Config: r.o.Kafka, Topics: []string{r.o.names().Progress()},
			Visit: func(m kafka.Message) {
				if err := progress.Record(m.Key, m.Value, m.Timestamp); err != nil {
					r.o.Logger.Error("progress record is not understood", "error", err)
				}
			},
			CaughtUp: func() { r.status.clear("progress") },
		}.Run(ctx)
	}})
	for _, m := range slices.Concat(r.stages.assemble(), r.stages.tables(), readers) {
		r.supervise(m)
	}
	r.supervise(member{sourcesPart, r.sources.Run})
	var own []string
	for _, t := range ownTopics(r.o) {
		own = append(own, t.Name)
	}
	r.supervise(member{hangingPart, hanging{
		list: func(ctx context.Context) ([]kafka.Held, error) {
			return kafka.HeldBack(ctx, r.o.Kafka, own, r.o.groups())
		},
		limit: hangingAfter(r.o.SessionTimeout), log: r.o.Logger, status: r.status,
	}.Run})
	return nil
}

// makeTopics waits for Kafka, makes the topics that are missing and checks the
// others. Only what Kafka answers ends the program: a broker that goes away is
// waited for.
func (r *run) makeTopics() error {
	for {
		if err := r.awaitKafka(); err != nil || r.ctx.Err() != nil {
			return err
		}
		_, err := kafka.EnsureTopics(r.ctx, r.o.Kafka, r.o.Replication, append(ownTopics(r.o), sourceTopics(r.o)...))
		switch {
		case err == nil || r.ctx.Err() != nil:
			return nil
		case r.within(r.ctx, kafka.Reachable) == nil:
			return fmt.Errorf("topics: %w", err)
		}
	}
}

// supervise starts a part.
func (r *run) supervise(m member) {
	r.status.set(m.name, "starting")
	s := supervisor{name: m.name, run: m.run, log: r.o.Logger, status: r.status, reachable: r.whole, outage: &r.outage}
	r.group.Go(func() error { return s.Run(r.ctx) })
}

// within asks Kafka something that must not take long.
func (r *run) within(ctx context.Context, ask func(context.Context, kafka.Config) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return ask(ctx, r.o.Kafka)
}

// whole reports whether all brokers answer: what a part needs may lie on any.
func (r *run) whole(ctx context.Context) error { return r.within(ctx, kafka.Whole) }

// awaitKafka returns when a broker answers, with a line every few seconds until
// then; or at once when the broker refuses us.
func (r *run) awaitKafka() error {
	for {
		err := r.within(r.ctx, kafka.Reachable)
		switch {
		case r.ctx.Err() != nil:
			return nil
		case err == nil:
			r.status.clear(kafkaPart)
			return nil
		case kafka.IsFatal(err):
			return err
		}
		r.status.set(kafkaPart, err.Error())
		r.o.Logger.Warn("Kafka cannot be reached, trying again", "error", err)
		select {
		case <-r.ctx.Done():
			return nil
		case <-time.After(3 * time.Second):
		}
	}
}

package app

import (
	"context"
	"sync/atomic"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/rabbitmq"
	"ragstreams/alerts/rules"
	"ragstreams/alerts/silences"
	"ragstreams/kafka"
	"ragstreams/metrics"
	"ragstreams/processors"
	"ragstreams/series"

	"github.com/prometheus/client_golang/prometheus"
)

// alerting watches the tables: it evaluates the rules, keeps the state of every alert,
// and publishes what people are to be told. Rules are evaluated where the first
// partition of the evaluations is owned.
type alerting struct {
	stages    *stages
	readers   *readers
	store     *series.Store
	files     *ruleFiles
	book      *alerts.Book
	restored  atomic.Bool // book
	silencing *silencing
	evaluator *rules.Evaluator
	topology  rabbitmq.Topology
	observer  *metrics.Alerts
	covered   rules.Coverage
	patience  time.Duration   // see rules.Coverage
	took      time.Duration   // the evaluation of the newest present
	faults    map[string]bool // of the last evaluation, which are logged
}

// newAlerting loads the rules. A mistake in them ends the program when it starts.
func newAlerting(s *stages, r *readers, reg prometheus.Registerer) (*alerting, error) {
	observer := metrics.NewAlerts(reg, alerts.MessageFiring, alerts.MessageResolved)
	files := &ruleFiles{pattern: s.o.Rules, policy: s.o.AlertPolicy, stages: s, observer: observer}
	if err := files.open(); err != nil {
		return nil, err
	}
	topology, err := readTopology(s.o.Topology)
	if err != nil {
		return nil, err
	}
	return &alerting{
		topology: topology,
		stages:   s, readers: r, files: files, observer: observer, book: alerts.NewBook(), evaluator: rules.NewEvaluator(),
		silencing: &silencing{stages: s, book: silences.NewBook()},
		store:     r.series(),
	}, nil
}

// members returns the parts of alerting.
func (a *alerting) members() []member {
	n := a.stages.o.names()
	list := []member{
		{n.AlertsGroup() + "-0", func(ctx context.Context) error {
			return a.stages.runSession(ctx, n.AlertsGroup(), n.Evaluations(), n.Alerts(), 0, false, func(out processors.Output) stage {
				s := processors.NewAlerts(processors.AlertsConfig{Names: n, Clock: a.stages.o.Clock, Refused: func(err error) {
					a.stages.o.Logger.Warn("an evaluation is left out", "error", err)
				}}, out)
				return stage{s.Graph(), func(_ context.Context, as kafka.Assignment) (kafka.Task, error) {
					return s.Assign(as.Partition, as.Rows)
				}}
			})
		}},
		{bookPart, a.follow},
		{silencesPart, a.silencing.follow},
		{rulesPart, a.evaluate},
		{rulesPart + " files", func(ctx context.Context) error { return a.files.watch(ctx, a.stages.o.ReloadRules) }},
	}
	if a.stages.o.AMQP.URL != "" {
		list = append(list, member{publisherPart, a.publish}, member{outboxPart, a.measureOutbox})
	}
	return list
}

// Parts of the program.
const (
	bookPart      = "view of alerts"
	rulesPart     = "rules"
	publisherPart = "alerts to RabbitMQ"
)

// follow keeps the book.
func (a *alerting) follow(ctx context.Context) error {
	update := func(_ int32, _ int64, key string, value []byte) error { return a.book.Update(key, value) }
	return a.stages.follow(ctx, a.stages.o.names().Alerts(), update, func() {
		a.restored.Store(true)
		a.stages.status.clear(bookPart)
	})
}

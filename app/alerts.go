package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/policy"
	"ragstreams/alerts/rabbitmq"
	"ragstreams/alerts/rules"
	"ragstreams/alerts/silences"
	"ragstreams/kafka"
	"ragstreams/metrics"
	"ragstreams/processors"
	"ragstreams/queries"
	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"

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

// readTopology reads the queues that are declared; "" is none.
func readTopology(name string) (t rabbitmq.Topology, err error) {
	if name == "" {
		return t, nil
	}
	src, err := os.ReadFile(name)
	if err != nil {
		return t, fmt.Errorf("topology: %w", err)
	}
	return rabbitmq.ParseTopology(name, src)
}

// Pace of evaluations.
const (
	lookEvery     = 10 * time.Millisecond  // whether the tables have changed
	evaluateEvery = 100 * time.Millisecond // when they have, at most
	evaluateIdle  = time.Second            // when they have not, for silence may alert, too
	// evaluateShare bounds what evaluations take of a core: the next begins so many times
	// as long after the last as that took.
	evaluateShare = 5
)

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
		list = append(list, member{publisherPart, a.publish}, member{"outbox", a.measureOutbox})
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

// evaluate evaluates the rules whenever the tables have changed, while this instance is
// the one to do so.
func (a *alerting) evaluate(ctx context.Context) error {
	o := a.stages.o
	sender, err := kafka.NewSender(o.Kafka)
	if err != nil {
		return err
	}
	defer sender.Close()
	a.stages.status.clear(rulesPart)
	var seen int64
	var began, next, forgot time.Time
	for watching := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
		if _, mine := a.stages.owned(o.names().AlertsGroup())[0]; !mine || !a.ready() {
			if watching {
				a.observer.Active(nil, nil)
			}
			watching = false
			continue
		}
		watching = true
		offsets := a.readers.offsets()
		if time.Now().Before(next) || offsets == seen && time.Since(began) < evaluateIdle {
			continue
		}
		seen, began = offsets, time.Now()
		if err := a.round(ctx, sender); err != nil {
			return err
		}
		next = began.Add(max(evaluateEvery, evaluateShare*time.Since(began)))
		if time.Since(forgot) >= time.Hour {
			forgot = time.Now()
			if err := a.silencing.forget(ctx); err != nil {
				return err
			}
		}
	}
}

// ready reports whether everything that rules look at is restored.
func (a *alerting) ready() bool {
	return a.restored.Load() && a.silencing.restored.Load() && !slices.ContainsFunc(a.readers.tables, func(t queries.Table) bool { _, missing := t.Recovery(); return missing != "" })
}

// now returns the time to evaluate for: the clock's, while the tables follow it.
// With a backlog it is the time that the tables have come to.
func (a *alerting) now() (time.Time, bool) {
	now := a.stages.o.Clock.Wall()
	mark, ok := a.readers.watermark()
	if !ok {
		return now, !a.stages.progress.Behind()
	}
	if lag := now.Sub(time.UnixMilli(mark)); lag < a.stages.o.Pane || !a.stages.progress.Behind() {
		return now, true
	}
	return time.UnixMilli(mark), true
}

// markEvery is how often the table is told what the evaluations cover.
const markEvery = 5 * time.Second

// round evaluates all rules for the present time, and before it for those that were
// missed.
func (a *alerting) round(ctx context.Context, sender *kafka.Sender) error {
	o := a.stages.o
	at, ok := a.now()
	if !ok {
		return nil
	}
	now, known := o.Clock.Wall(), a.book.Rows()
	var records []kafka.Message
	say := func(said []rules.Said) {
		for i := range said {
			records = append(records, kafka.Message{Key: []byte(said[i].Key), Value: said[i].Append(nil)})
		}
	}
	covered := a.covered
	if mark := known[alerts.MarkKey]; mark != nil && covered.Until.UnixMilli() < mark.Evaluated {
		covered.Until = time.UnixMilli(mark.Evaluated)
	}
	var mark time.Time
	if ms, ok := a.readers.watermark(); ok {
		mark = time.UnixMilli(ms)
	}
	for _, t := range covered.Round(at, mark, now, o.Pane) {
		said, err := a.evaluateAt(ctx, t, known, true)
		if err != nil {
			return nil // ctx has ended
		}
		rules.Take(known, said, nil)
		say(said)
	}
	said, err := a.evaluateAt(ctx, at, known, false)
	if err != nil {
		return nil // ctx has ended
	}
	say(said)
	a.observer.Active(countActive(known), a.silencing.count())
	if mark := known[alerts.MarkKey]; !covered.Until.IsZero() && (mark == nil || covered.Until.Sub(time.UnixMilli(mark.Evaluated)) >= markEvery) {
		mark := alerts.Mark(covered.Until.UnixMilli())
		records = append(records, kafka.Message{Key: []byte(alerts.MarkKey), Value: mark.Append(nil)})
	}
	if len(records) > 0 {
		if err := sender.Send(ctx, o.names().Evaluations(), records); err != nil {
			return err
		}
	}
	a.covered = covered
	return nil
}

// evaluateAt evaluates all rules for a time.
func (a *alerting) evaluateAt(ctx context.Context, at time.Time, known map[string]*alerts.Row, past bool) ([]rules.Said, error) {
	o, use := a.stages.o, a.files.current()
	now, suppress := o.Clock.Wall(), a.suppress(use.policy)
	if past {
		now, suppress = at, a.suppress(use.policy, at)
	}
	began := time.Now()
	said, faults, err := a.evaluator.Evaluate(ctx, use.set, rules.Moment{
		At: at, Now: now, Past: past, Present: presentMetrics,
		Series: a.store.Snapshot(at), Known: known, Describe: a.describer(at),
		Repeat: use.policy.Repeat, Suppress: suppress,
	})
	if err != nil {
		return nil, err
	}
	a.observer.Evaluated(time.Since(began))
	told := map[string]bool{}
	for _, f := range faults {
		a.observer.Failed(f.Group, f.Rule)
		if told[f.Error()] = true; !a.faults[f.Error()] {
			o.Logger.Warn("a rule cannot be evaluated, its alerts stay as they are", "group", f.Group, "rule", f.Rule, "error", f.Err)
		}
	}
	a.faults = told
	return said, nil
}

// countActive counts active alerts by state; one that fires but is suppressed is
// suppressed.
func countActive(known map[string]*alerts.Row) map[string]int {
	const suppressed = "suppressed"
	states := map[string]int{alerts.Pending.String(): 0, alerts.Firing.String(): 0, suppressed: 0}
	for _, row := range known {
		switch {
		case row.State == alerts.Firing && len(row.Suppressed) > 0:
			states[suppressed]++
		case row.State != alerts.Inactive:
			states[row.State.String()]++
		}
	}
	return states
}

// suppress returns what says why people are not told of an alert: they silenced it,
// another one explains it, or it is not the time. They go by the clock, whatever time is
// evaluated, for they are about people; of a time that was missed what held then counts, too.
func (a *alerting) suppress(p *policy.Policy, missed ...time.Time) func(firing map[string]map[string]string) func(key string, labels map[string]string) []alerts.Suppressor {
	return func(firing map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor {
		times := append(missed, a.stages.o.Clock.Wall())
		silenced, inhibitions := a.silencing.book.Active(times...), p.Inhibitions(firing)
		return func(key string, labels map[string]string) []alerts.Suppressor {
			return slices.Concat(silenced.Of(labels), inhibitions.Of(key, labels), p.Muted(labels, times...))
		}
	}
}

// describer returns what adds to an alert how fresh the tables are, and the error
// groups that it may be about.
func (a *alerting) describer(at time.Time) func(about *alerts.About) {
	var mark *time.Time
	var lag alerts.Seconds
	if ms, ok := a.readers.watermark(); ok {
		t := time.UnixMilli(ms).UTC()
		mark, lag = &t, alerts.Seconds(max(0, a.stages.o.Clock.Wall().Sub(t)))
	}
	groups := map[alerts.Seconds][]errorGroup{}
	return func(about *alerts.About) {
		about.Watermark, about.Lag = mark, lag
		all, read := groups[about.Window]
		if !read {
			all = a.errorGroups(at, time.Duration(about.Window))
			groups[about.Window] = all
		}
		about.ErrorGroups = nil
		for _, g := range all {
			if len(about.ErrorGroups) < maxErrorGroups && g.has(about.Labels) {
				about.ErrorGroups = append(about.ErrorGroups, g.ErrorGroup)
			}
		}
	}
}

const (
	maxErrorGroups = 3               // of one message
	leastErrorSpan = 5 * time.Minute // that they are looked for in
)

// errorGroup is an error group and its dimensions.
type errorGroup struct {
	dims []string
	alerts.ErrorGroup
}

// errorGroups returns the error groups of the time before, those with the most errors
// first.
func (a *alerting) errorGroups(at time.Time, span time.Duration) []errorGroup {
	var all []errorGroup
	from := at.Add(-max(span, leastErrorSpan)).UnixMilli()
	_, err := a.readers.errors.Query(views.Query{From: from, To: max(from, at.UnixMilli())}, func(key string, m, _ *tables.Errors, _ tables.Span, _ int64) {
		dims, err := tables.ErrorsTable.DimsOf(key)
		if err != nil || key == tables.OverflowKey {
			return
		}
		g := errorGroup{dims, alerts.ErrorGroup{Fingerprint: dims[3], ErrorType: m.ErrorType, Template: m.Template, Count: m.Count}}
		for _, s := range []tables.Sample{m.Newest, m.Slowest} {
			if s.TraceID != "" && !slices.Contains(g.Traces, s.TraceID) {
				g.Traces, g.Links = append(g.Traces, s.TraceID), append(g.Links, "/api/traces/"+s.TraceID)
			}
		}
		all = append(all, g)
	})
	if err != nil {
		a.stages.o.Logger.Warn("error groups cannot be read for an alert", "error", err)
	}
	slices.SortFunc(all, func(a, b errorGroup) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(a.Fingerprint, b.Fingerprint)
	})
	return all
}

// has reports whether an error group has the dimensions that an alert tells of.
func (g *errorGroup) has(labels map[string]string) bool {
	for i, name := range tables.ErrorsTable.Dims {
		if value := labels[name]; value != "" && value != g.dims[i] {
			return false
		}
	}
	return true
}

// measureOutbox measures, where rules are evaluated, what waits to be published.
func (a *alerting) measureOutbox(ctx context.Context) error {
	o := a.stages.o
	n := o.names()
	a.stages.status.clear("outbox")
	for tick := time.Tick(5 * time.Second); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		if _, mine := a.stages.owned(n.AlertsGroup())[0]; !mine {
			a.observer.Outbox(0)
			continue
		}
		ends, err := kafka.EndOffsets(ctx, o.Kafka, n.Outbox())
		if err != nil {
			return err
		}
		done, err := kafka.GroupOffsets(ctx, o.Kafka, n.PublisherGroup(), n.Outbox())
		if err != nil {
			return err
		}
		var left int64
		for p, end := range ends {
			left += end - max(done[p].Offset, 0)
		}
		a.observer.Outbox(left)
	}
}

// refusedPause is how long a publisher waits after RabbitMQ refused what is configured.
const refusedPause = time.Minute

// waits tells people why messages are not published.
func waits(reason error) string {
	const what = "messages wait in the outbox: "
	if errors.Is(reason, rabbitmq.ErrRefused) {
		return what + reason.Error()
	}
	return "RabbitMQ cannot be reached; " + what + reason.Error()
}

// publish hands the outbox on to RabbitMQ.
func (a *alerting) publish(ctx context.Context) error {
	o := a.stages.o
	cfg := o.AMQP
	cfg.Logger, cfg.Topology = o.Logger, a.topology
	var sent map[string]alerts.Message // by id
	cfg.Observer = rabbitmq.Observer{
		Confirmed: func(m *rabbitmq.Message) {
			told := sent[m.ID]
			a.observer.Published(told.State, o.Clock.Wall().Sub(told.Decided))
		},
		Unrouted:    func(string) { a.observer.Unrouted(1) },
		Republished: func(_ *rabbitmq.Message, why string) { a.observer.Republished(why, 1) },
		Connected: func(is bool, reason error) {
			a.observer.Connected(is)
			if is {
				a.stages.notes.clear(publisherPart)
			} else {
				a.stages.notes.set(publisherPart, waits(reason))
			}
		},
		Blocked: a.observer.Blocked,
	}
	publisher, err := rabbitmq.New(cfg)
	if err != nil {
		return err
	}
	defer publisher.Close()
	// Nothing is published while RabbitMQ refuses what is configured.
	rest := func(ctx context.Context, err error) error {
		if !errors.Is(err, rabbitmq.ErrRefused) {
			return err
		}
		o.Logger.Error("alerts cannot be published; it is tried again in a minute", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(refusedPause):
		}
		return nil // what is not done comes again
	}
	return kafka.Delivery{
		Config: o.Kafka, Group: o.names().PublisherGroup(), Topic: o.names().Outbox(), Instance: o.Instance,
		Timeout: o.SessionTimeout, LeaveOnStop: o.LeaveOnStop,
		OnReady: func() { a.stages.status.clear(publisherPart) },
		Again:   func(n int) { a.observer.Republished("takeover", n) },
		Deliver: func(ctx context.Context, records []kafka.Message, done func(i int)) error {
			sent = map[string]alerts.Message{}
			held := map[string]bool{} // keys with a message that is not understood
			var messages []rabbitmq.Message
			var index []int // of records
			for i, r := range records {
				var m alerts.Message
				if err := m.Decode(r.Value); err != nil || held[string(r.Key)] {
					// It waits for a program that does, and so does what comes behind it.
					if held[string(r.Key)] = true; err != nil {
						a.stages.notes.set("outbox", fmt.Sprintf("a message is not understood and waits, with those behind it of the same alert: partition %d, offset %d: %v", r.Partition, r.Offset, err))
					}
					continue
				}
				sent[m.ID] = m
				index = append(index, i)
				body, contentType, kind := o.AlertFormat.Body(&m, r.Value)
				messages = append(messages, rabbitmq.Message{
					Key: m.Key, ID: m.ID, Correlation: alerts.Fingerprint(m.Key), RoutingKey: m.RoutingKey(), Type: kind,
					ContentType: contentType, Time: m.Decided, Body: body,
					Headers: map[string]string{"state": m.State, "severity": m.Severity, "alertname": m.Rule},
				})
			}
			return rest(ctx, publisher.Publish(ctx, messages, func(i int) { done(index[i]) }))
		},
		Idle: func(ctx context.Context) error { return rest(ctx, publisher.Publish(ctx, nil, nil)) },
	}.Run(ctx)
}

package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ragstreams/kafka"
	"ragstreams/management"
	"ragstreams/metrics"
)

// Watch says what of the servers that the program stands on is measured.
type Watch struct {
	Interval time.Duration // how often
	Lag      bool          // of consumer groups: own ones, and those in Groups
	Groups   []string
	Cluster  bool              // brokers and replicas of Kafka
	RabbitMQ management.Config // queues and connections; without a URL they are not
}

// any tells whether there is anything to look at.
func (w *Watch) any() bool { return w.Lag || w.Cluster || w.RabbitMQ.URL != "" }

// watchPart is the part that measures.
const watchPart = "watch"

// maxPatience is how long a look may take: what does not answer by then is not up.
const maxPatience = 10 * time.Second

// watchMember returns the part that looks at Kafka and RabbitMQ, in the instance that is
// elected to: in two, every sum over groups or queues would be twice as large. They have
// a group of their own to elect it, and not the owner of some partition: then a stage that
// stands still would take the numbers away that say so.
func watchMember(o *Options, observer *metrics.Dependencies, st *status) member {
	election := kafka.Election{
		Config: o.Kafka, Group: o.names().WatchGroup(), Topic: o.names().Progress(), SessionTimeout: o.SessionTimeout,
		Lead: func(ctx context.Context) {
			cluster, err := kafka.NewWatcher(o.Kafka)
			if err != nil {
				o.Logger.Error("Kafka is not watched", "error", err)
				return
			}
			defer cluster.Close()
			w := watching{interval: o.Watch.Interval, lease: o.SessionTimeout, log: o.Logger, observer: observer}
			w.kafka = func(ctx context.Context) (*metrics.Kafka, error) { return lookAtKafka(ctx, o, cluster) }
			if o.Watch.RabbitMQ.URL != "" {
				look, done := lookAtRabbitMQ(o.Watch.RabbitMQ)
				defer done()
				w.rabbit = look
			}
			w.run(ctx)
		},
	}
	return member{watchPart, func(ctx context.Context) error {
		st.clear(watchPart)
		return candidate(ctx, election.Run, o.Logger)
	}}
}

// refusedElection is how long a process waits that may not take part.
const refusedElection = time.Minute

// candidate takes part in the election until ctx ends. That nothing is measured is said,
// and is no reason to end the program.
func candidate(ctx context.Context, run func(ctx context.Context) error, log *slog.Logger) error {
	for {
		err := run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		log.Error("this instance measures neither lag nor servers", "error", err, "hint", "analytics check --acls prints what this user needs")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(refusedElection):
		}
	}
}

// lookAtKafka asks what is configured. With an error there may be an answer all the same,
// of which a part is missing.
func lookAtKafka(ctx context.Context, o *Options, w *kafka.Watcher) (*metrics.Kafka, error) {
	k := &metrics.Kafka{}
	health, err := w.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	if o.Watch.Cluster {
		counts := metrics.Health(health)
		k.Health = &counts
	}
	if !o.Watch.Lag {
		return k, nil
	}
	lags, err := w.Lag(ctx, o.watched())
	for _, l := range lags {
		k.Lags = append(k.Lags, metrics.GroupLag(l))
	}
	k.At = o.Clock.Wall()
	return k, err
}

// watched are the groups whose lag is measured, each once.
func (o *Options) watched() []kafka.Reader {
	readers := o.readers()
	for _, group := range o.Watch.Groups {
		if !slices.ContainsFunc(readers, func(r kafka.Reader) bool { return r.Group == group }) {
			readers = append(readers, kafka.Reader{Group: group})
		}
	}
	return readers
}

// lookAtRabbitMQ returns what asks the management API, again and again. Where it cannot be
// asked, for a certificate that is gone since the program began, say, that is its answer, until
// the certificate is there: Kafka is watched all the same.
func lookAtRabbitMQ(c management.Config) (look func(ctx context.Context) (*metrics.RabbitMQ, error), done func()) {
	var client *management.Client
	look = func(ctx context.Context) (_ *metrics.RabbitMQ, err error) {
		if client == nil {
			if client, err = management.New(c); err != nil {
				return nil, err
			}
		}
		state, err := client.Read(ctx)
		if err != nil {
			return nil, err
		}
		r := &metrics.RabbitMQ{Connections: state.Connections}
		for _, q := range state.Queues {
			r.Queues = append(r.Queues, metrics.Queue(q))
		}
		return r, nil
	}
	return look, func() {
		if client != nil {
			client.Close()
		}
	}
}

// watching looks again and again while this instance is the one that does.
type watching struct {
	interval time.Duration
	// lease is how long nothing may be heard of Kafka before another instance may have
	// been elected.
	lease    time.Duration
	kafka    func(ctx context.Context) (*metrics.Kafka, error)
	rabbit   func(ctx context.Context) (*metrics.RabbitMQ, error) // nil: it is not looked at
	observer *metrics.Dependencies
	log      *slog.Logger

	heard            time.Time // of Kafka
	ofKafka, ofQueue complaint
}

func (w *watching) run(ctx context.Context) {
	defer w.observer.Forget()
	w.heard = time.Now()
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look asks both at once: one that is silent must not keep the other's numbers old.
func (w *watching) look(term context.Context) {
	ctx, cancel := context.WithTimeout(term, min(w.interval, maxPatience))
	defer cancel()
	var both sync.WaitGroup
	var k *metrics.Kafka
	var r *metrics.RabbitMQ
	var kafkaErr, rabbitErr error
	both.Go(func() { k, kafkaErr = w.kafka(ctx) })
	if w.rabbit != nil {
		both.Go(func() { r, rabbitErr = w.rabbit(ctx) })
	}
	both.Wait()
	if term.Err() != nil { // what was not answered says nothing
		return
	}
	w.observer.Kafka(k)
	w.ofKafka.say(w.log, "Kafka", kafkaErr)
	if k != nil {
		w.heard = time.Now()
	}
	switch {
	case w.rabbit == nil:
	case time.Since(w.heard) > w.lease:
		w.observer.ForgetRabbitMQ()
	default:
		w.observer.RabbitMQ(r)
		w.ofQueue.say(w.log, "RabbitMQ", rabbitErr)
	}
}

// complaint says now and then that something cannot be measured, and once that it can.
type complaint struct {
	said time.Time // zero: all is well
}

const complaintInterval = 5 * time.Minute

func (c *complaint) say(log *slog.Logger, what string, err error) {
	switch {
	case err == nil && !c.said.IsZero():
		c.said = time.Time{}
		log.Info(what + " is measured again")
	case err != nil && time.Since(c.said) >= complaintInterval:
		c.said = time.Now()
		log.Warn(what+" cannot be measured, or not all of it", "error", err)
	}
}

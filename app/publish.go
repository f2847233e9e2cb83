package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/rabbitmq"
	"ragstreams/kafka"
)

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

// measureOutbox measures, where rules are evaluated, what waits to be published.
func (a *alerting) measureOutbox(ctx context.Context) error {
	o := a.stages.o
	n := o.names()
	a.stages.status.clear(outboxPart)
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

// Parts of what is told to people.
const (
	topologyPart = "queues" // that are declared
	outboxPart   = "outbox"
)

// waits tells people why messages are not published.
func waits(reason error) string {
	const what = "messages wait in the outbox: "
	if errors.Is(reason, rabbitmq.ErrRefused) {
		return what + reason.Error()
	}
	return "RabbitMQ cannot be reached; " + what + reason.Error()
}

// publish hands the outbox on to RabbitMQ.
func (a *alerting) publish(ctx context.Context) (err error) {
	o := a.stages.o
	p := &publishing{alerting: a}
	cfg := o.AMQP
	cfg.Logger, cfg.Topology, cfg.Observer = o.Logger, a.topology, p.tell()
	if p.publisher, err = rabbitmq.New(cfg); err != nil {
		return err
	}
	defer p.publisher.Close()
	return kafka.Delivery{
		Config: o.Kafka, Group: o.names().PublisherGroup(), Topic: o.names().Outbox(), Instance: o.Instance,
		Timeout: o.SessionTimeout, LeaveOnStop: o.LeaveOnStop,
		OnReady: func() { a.stages.status.clear(publisherPart) },
		Again:   func(n int) { a.observer.Republished("takeover", n) },
		Deliver: p.deliver,
		Idle: func(ctx context.Context) error {
			a.stages.notes.clear(outboxPart)
			return p.send(ctx, nil, nil)
		},
	}.Run(ctx)
}

// publishing is the publisher at work.
type publishing struct {
	*alerting
	publisher *rabbitmq.Publisher
	sent      map[string]alerts.Message // those last delivered, by id
}

// tell measures what becomes of messages, and tells people why they wait.
func (p *publishing) tell() rabbitmq.Observer {
	notes, told := p.stages.notes, p.observer
	return rabbitmq.Observer{
		Confirmed: func(m *rabbitmq.Message) {
			one := p.sent[m.ID]
			told.Published(one.State, p.stages.o.Clock.Wall().Sub(one.Decided))
		},
		Unrouted:    func(string) { told.Unrouted(1) },
		Republished: func(_ *rabbitmq.Message, why string) { told.Republished(why, 1) },
		Connected: func(is bool, reason error) {
			told.Connected(is)
			if is {
				notes.clear(publisherPart)
			} else {
				notes.set(publisherPart, waits(reason))
			}
		},
		Blocked: told.Blocked,
		Declared: func(err error) {
			if err == nil {
				notes.clear(topologyPart)
			} else {
				notes.set(topologyPart, "alerts are published, but "+err.Error())
			}
		},
	}
}

// deliver publishes some records of the outbox, and calls done for each that RabbitMQ has.
// What is not understood waits for a program that does, and so does what comes behind it
// with its key.
func (p *publishing) deliver(ctx context.Context, records []kafka.Message, done func(i int)) error {
	p.sent = map[string]alerts.Message{}
	held := map[string]bool{} // keys with a message that is not understood
	var messages []rabbitmq.Message
	var index []int // of records
	for i, r := range records {
		if held[string(r.Key)] {
			continue
		}
		var m alerts.Message
		if err := m.Decode(r.Value); err != nil {
			held[string(r.Key)] = true
			p.stages.notes.set(outboxPart, fmt.Sprintf("a message is not understood and waits, with those behind it of the same alert: partition %d, offset %d: %v", r.Partition, r.Offset, err))
			continue
		}
		p.sent[m.ID] = m
		index = append(index, i)
		body, contentType, kind := p.stages.o.AlertFormat.Body(&m, r.Value)
		messages = append(messages, rabbitmq.Message{
			Key: m.Key, ID: m.ID, Correlation: alerts.Fingerprint(m.Key), RoutingKey: m.RoutingKey(), Type: kind,
			ContentType: contentType, Time: m.Decided, Body: body,
			Headers: map[string]string{"state": m.State, "severity": m.Severity, "alertname": m.Rule},
		})
	}
	if len(held) == 0 {
		p.stages.notes.clear(outboxPart)
	}
	return p.send(ctx, messages, func(i int) { done(index[i]) })
}

// send publishes. When RabbitMQ refuses what is configured, it waits for somebody to mend
// that; what is not done comes again.
func (p *publishing) send(ctx context.Context, messages []rabbitmq.Message, done func(i int)) error {
	err := p.publisher.Publish(ctx, messages, done)
	if !errors.Is(err, rabbitmq.ErrRefused) {
		return err
	}
	p.stages.o.Logger.Error("alerts cannot be published; it is tried again in a minute", "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(refusedPause):
	}
	return nil
}

// Package rabbitmq publishes messages to a topic exchange of RabbitMQ: each at least
// once, those of one alert in order, and none is taken for delivered before the broker
// has confirmed it.
//
//	Publish ─▶ window of unconfirmed messages ─▶ link (channel in confirm mode) ─▶ exchange
//	   ▲──── confirmed ──────┘        ◀── ack, nack, return, blocked, closed ──┘
//
// A message that was refused (nack), or whose connection ended before it was confirmed,
// is published again under the same message-id. So the receiver may see an id twice when
// a connection was cut, and never misses one.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Message is what is published.
type Message struct {
	Key         string // of the alert: messages of one key stay in order
	ID          string // message-id
	Correlation string // correlation-id: the same for all messages of an alert
	RoutingKey  string
	Type        string
	ContentType string
	Time        time.Time // AMQP keeps whole seconds
	Headers     map[string]string
	Body        []byte
}

// Why a message is published again.
const (
	Nack        = "nack"        // it was refused
	Unconfirmed = "unconfirmed" // the connection was lost: it may have arrived
)

// Observer is told what happens, from the goroutine of Publish. All fields are required.
type Observer struct {
	Confirmed   func(m *Message)
	Unrouted    func(id string) // no queue was bound for it, not even for the unrouted
	Republished func(m *Message, why string)
	Connected   func(is bool, reason error)
	Blocked     func(is bool)
	Declared    func(err error) // what of the topology was refused, nil for nothing; once for every connection
}

// Publisher publishes over one connection, which it opens with the first call of Publish,
// and again whenever it is lost. It is not safe for concurrent use.
type Publisher struct {
	cfg     Config
	dial    func(ctx context.Context) (link, error)
	link    link // nil: not connected
	retry   backoff
	blocked bool
	resting map[string]*rest // keys whose last message was refused
}

// rest is how long a message that was refused, and those of its alert behind it, are not
// tried again.
type rest struct {
	until time.Time
	retry backoff
}

// link is a channel in confirm mode.
type link interface {
	// publish sends a message, which the broker will answer under the number, from 1. The
	// end of ctx ends only what has taken too long by then.
	publish(ctx context.Context, m *Message) (number uint64, err error)
	// events tells what the broker says. The event closed is the last.
	events() <-chan event
	close()
}

// event is what the broker says.
type event struct {
	kind   eventKind
	number uint64 // of the message: ack, nack
	id     string // of the message: returned
	reason error  // closed, blocked
}

type eventKind uint8

const (
	ack eventKind = iota
	nack
	returned // comes before its ack: nobody wants it
	blocked
	unblocked
	closed
)

// ErrRefused is what errors wrap that no repetition mends: the broker refuses what is
// configured, such as an exchange that exists with other properties.
var ErrRefused = errors.New("RabbitMQ refuses")

// drain is how long a Publish that is to end waits for what it has published: what is
// not confirmed by then will be published again.
const drain = 2 * time.Second

// New returns a Publisher. It does not connect yet.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	return &Publisher{cfg: cfg, dial: cfg.dial, resting: map[string]*rest{}}, nil
}

// Close ends the connection.
func (p *Publisher) Close() {
	if p.link != nil {
		p.link.close()
		p.link = nil
	}
}

// Publish publishes messages and calls confirmed with the index of each that the broker
// took, from this goroutine. It returns nil when it took all, or when nothing is left but
// what it does not take now, such as for a full queue: others need not wait for that, and
// it is to be published again, before what is newer of its alert. It returns the error
// of ctx when that ends first, and one that wraps ErrRefused when trying on makes no
// sense. While the broker cannot be reached it tries again, for ever.
//
// Without messages it sees to the connection: whoever calls it now and then knows that it
// is there, or why it is not, before there is something to publish.
func (p *Publisher) Publish(ctx context.Context, messages []Message, confirmed func(i int)) error {
	b := newBatch(messages)
	for {
		if p.link == nil {
			if err := p.connect(ctx); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := p.run(ctx, b, confirmed)
		switch {
		case ctx.Err() != nil:
			if len(b.flying) > 0 {
				p.giveUp(b)
			}
			return ctx.Err()
		case err == nil:
			return nil
		case deniesAccess(err): // as it will again, on the next connection
			err = refusal(err)
			p.lost(b, err)
			return err
		}
		p.lost(b, err)
	}
}

// lost gives up the connection: what was not confirmed on it is published again.
func (p *Publisher) lost(b *batch, err error) {
	p.cfg.Logger.Warn("the connection to RabbitMQ is lost; what was not confirmed is published again", "error", err, "unconfirmed", len(b.flying))
	p.cfg.Observer.Connected(false, err)
	p.giveUp(b)
}

// giveUp closes the connection, whose answers nobody waits for any more.
func (p *Publisher) giveUp(b *batch) {
	p.Close()
	for _, i := range b.flying {
		p.cfg.Observer.Republished(&b.messages[i], Unconfirmed)
	}
	b.landAll()
}

// connect tries until there is a connection.
func (p *Publisher) connect(ctx context.Context) error {
	for {
		l, err := p.dial(ctx)
		switch {
		case err == nil:
			p.link, p.blocked = l, false
			p.cfg.Observer.Blocked(false)
			p.cfg.Logger.Info("connected to RabbitMQ")
			p.cfg.Observer.Connected(true, nil)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		p.cfg.Observer.Connected(false, err)
		if errors.Is(err, ErrRefused) {
			return err
		}
		wait := p.retry.next()
		p.cfg.Logger.Warn("RabbitMQ cannot be reached, trying again", "error", err, "in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// patience is how long run waits at most for what was refused to be tried again.
const patience = 100 * time.Millisecond

// run publishes over the connection until nothing is left that can be published now
// (nil), or the connection is lost.
func (p *Publisher) run(ctx context.Context, b *batch, confirmed func(i int)) error {
	if err := p.hear(b, confirmed); err != nil {
		return err
	}
	late := time.NewTimer(p.cfg.ConfirmTimeout)
	defer late.Stop()
	done := ctx.Done()
	var end, tired <-chan time.Time
	for b.left > 0 {
		if end == nil && !p.blocked {
			if err := p.send(ctx, b); err != nil {
				return err
			}
		}
		switch {
		case len(b.flying) > 0 || p.blocked && end == nil:
			tired = nil
		case end != nil:
			return nil
		case tired == nil:
			tired = time.After(patience)
		}
		select {
		case <-done:
			done, end = nil, time.After(drain)
		case <-end:
			return nil
		case <-tired:
			return nil
		case <-late.C:
			if len(b.flying) > 0 && !p.blocked {
				return fmt.Errorf("nothing was confirmed for %s", p.cfg.ConfirmTimeout)
			}
			late.Reset(p.cfg.ConfirmTimeout)
		case e := <-p.link.events():
			late.Reset(p.cfg.ConfirmTimeout)
			if e.kind == closed {
				return e.reason
			}
			p.take(e, b, confirmed)
		}
	}
	return nil
}

// hear takes in what the broker has said while nobody listened: over a connection that
// has ended since nothing is sent, which might be taken for having arrived.
func (p *Publisher) hear(b *batch, confirmed func(i int)) error {
	for {
		select {
		case e := <-p.link.events():
			if e.kind == closed {
				return e.reason
			}
			p.take(e, b, confirmed)
		default:
			return nil
		}
	}
}

// send fills the window of unconfirmed messages.
func (p *Publisher) send(ctx context.Context, b *batch) error {
	for len(b.flying) < p.cfg.InFlight {
		i, ok := b.next(p.rests)
		if !ok {
			return nil
		}
		number, err := p.link.publish(ctx, &b.messages[i])
		b.fly(i, number) // also after an error, without a number: nobody knows how far it came
		if err != nil {
			return err
		}
	}
	return nil
}

// rests reports whether nothing of an alert is published now.
func (p *Publisher) rests(key string) bool {
	r := p.resting[key]
	return r != nil && time.Now().Before(r.until)
}

// take takes in what the broker says of messages.
func (p *Publisher) take(e event, b *batch, confirmed func(i int)) {
	switch e.kind {
	case ack:
		if i, ok := b.land(e.number); ok {
			p.retry.reset()
			delete(p.resting, b.messages[i].Key)
			b.left--
			p.cfg.Observer.Confirmed(&b.messages[i])
			confirmed(i)
		}
	case nack:
		i, ok := b.land(e.number)
		if !ok {
			break
		}
		b.wait(i)
		m := &b.messages[i]
		if p.resting[m.Key] == nil {
			p.resting[m.Key] = &rest{}
			p.cfg.Logger.Warn("RabbitMQ does not take a message, such as for a full queue; it is published again, until it does", "message_id", m.ID, "routing_key", m.RoutingKey)
		}
		r := p.resting[m.Key]
		r.until = time.Now().Add(r.retry.next())
		p.cfg.Observer.Republished(m, Nack)
	case returned:
		p.cfg.Observer.Unrouted(e.id)
		p.cfg.Logger.Warn("no queue is bound for a message", "message_id", e.id)
	case blocked, unblocked:
		p.blocked = e.kind == blocked
		p.cfg.Observer.Blocked(p.blocked)
		p.cfg.Logger.Warn("RabbitMQ told whether it takes messages", "blocked", p.blocked, "reason", e.reason)
	}
}

// batch is what one Publish has to publish.
type batch struct {
	messages []Message
	left     int             // not confirmed
	waiting  []int           // to be published, ascending
	flying   map[uint64]int  // published and not confirmed, by number
	keys     map[string]bool // of those that fly
}

func newBatch(messages []Message) *batch {
	b := &batch{messages: messages, left: len(messages), flying: map[uint64]int{}, keys: map[string]bool{}}
	for i := range messages {
		b.waiting = append(b.waiting, i)
	}
	return b
}

// next takes the first message that waits and may be published: of one alert there is
// never more than one unconfirmed, so that what is refused cannot be overtaken.
func (b *batch) next(rests func(key string) bool) (int, bool) {
	passed := map[string]bool{} // a rest may end while this looks
	for n, i := range b.waiting {
		key := b.messages[i].Key
		if !b.keys[key] && !passed[key] && !rests(key) {
			b.waiting = slices.Delete(b.waiting, n, n+1)
			return i, true
		}
		passed[key] = true
	}
	return 0, false
}

func (b *batch) fly(i int, number uint64) {
	b.flying[number] = i
	b.keys[b.messages[i].Key] = true
}

// land takes a message that was answered; one of an earlier Publish is none of ours.
func (b *batch) land(number uint64) (i int, ok bool) {
	if i, ok = b.flying[number]; ok {
		delete(b.flying, number)
		delete(b.keys, b.messages[i].Key)
	}
	return i, ok
}

// wait lets a message wait again, in its place.
func (b *batch) wait(i int) {
	n, _ := slices.BinarySearch(b.waiting, i)
	b.waiting = slices.Insert(b.waiting, n, i)
}

func (b *batch) landAll() {
	for number := range b.flying {
		if i, ok := b.land(number); ok {
			b.wait(i)
		}
	}
}

// backoff is how long to wait before something is tried again: full jitter over a
// time that doubles with every failure.
type backoff struct{ failures int }

// Bounds of a pause.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

func (b *backoff) next() time.Duration {
	most := min(leastPause<<min(b.failures, 10), mostPause)
	b.failures++
	return leastPause/2 + rand.N(most)
}

func (b *backoff) reset() { b.failures = 0 }

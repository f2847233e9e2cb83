package rabbitmq

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// channel is a link over AMQP 0-9-1.
type channel struct {
	conn *amqp.Connection
	raw  io.Closer // what conn writes to
	ch   *amqp.Channel
	out  chan event
	end  chan struct{} // closed by close
	once sync.Once

	mu         sync.Mutex // also while a message is published, for its answer may come before its number
	unanswered map[uint64]*amqp.DeferredConfirmation
}

func open(conn *amqp.Connection, raw io.Closer, inFlight int) (*channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	c := &channel{conn: conn, raw: raw, ch: ch, out: make(chan event), end: make(chan struct{}), unanswered: map[uint64]*amqp.DeferredConfirmation{}}
	// The library gives up on who does not listen, so each of these has room for all that
	// may come while Publish does something else.
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 2*inFlight))
	returns := ch.NotifyReturn(make(chan amqp.Return, 2*inFlight))
	chClosed, connClosed := ch.NotifyClose(make(chan *amqp.Error, 1)), conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	go func() {
		for {
			var e event
			select {
			case <-c.end:
				return
			case r, open := <-returns:
				if !open {
					returns = nil
					continue
				}
				e = event{kind: returned, id: r.MessageId}
			case a, open := <-confirms:
				if !open {
					confirms = nil
					continue
				}
				e = c.answer(a.DeliveryTag)
			case b, open := <-blocks:
				if !open {
					blocks = nil
					continue
				}
				e = event{kind: unblocked, reason: errors.New(b.Reason)}
				if b.Active {
					e.kind = blocked
				}
			case reason := <-chClosed:
				e = event{kind: closed, reason: closing(reason)}
			case reason := <-connClosed:
				e = event{kind: closed, reason: closing(reason)}
				// Who still writes to a broker that has fallen silent waits for as long as the
				// network likes, and the library waits for that.
				c.raw.Close()
			}
			if e.kind == closed {
				c.last(confirms)
			}
			c.tell(e)
			if e.kind == closed {
				return
			}
		}
	}()
	return c, nil
}

// last tells of the confirmations that came before the end: they are true. Afterwards the
// library closes the channel that they come by.
func (c *channel) last(confirms <-chan amqp.Confirmation) {
	for confirms != nil {
		select {
		case <-c.end:
			return
		case a, open := <-confirms:
			if !open {
				return
			}
			if e := c.answer(a.DeliveryTag); e.kind == ack {
				c.tell(e)
			}
		}
	}
}

// answer returns what the broker has said of a message. The library tells of answers in
// the order of messages, and takes one that was refused for confirmed when that was told
// before its turn and a later confirmation covers it. What it notes for each message by
// itself is true.
func (c *channel) answer(number uint64) event {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := event{kind: nack, number: number}
	if said := c.unanswered[number]; said != nil && said.Acked() {
		e.kind = ack
	}
	delete(c.unanswered, number)
	return e
}

// tell tells an event, unless nobody listens any more.
func (c *channel) tell(e event) {
	select {
	case c.out <- e:
	case <-c.end:
	}
}

// errClosed is why a channel ended of which the library tells no reason.
var errClosed = errors.New("the connection was closed")

func closing(reason *amqp.Error) error {
	if reason == nil {
		return errClosed
	}
	return reason
}

func (c *channel) publish(ctx context.Context, m *Message) (uint64, error) {
	headers := amqp.Table{}
	for k, v := range m.Headers {
		headers[k] = v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	written := make(chan struct{})
	defer close(written)
	defer context.AfterFunc(ctx, func() { c.closeUnless(written) })()
	sent, err := c.ch.PublishWithDeferredConfirm(Exchange, m.RoutingKey, true, false, amqp.Publishing{
		MessageId: m.ID, CorrelationId: m.Correlation, Type: m.Type, AppId: AppID, ContentType: m.ContentType,
		DeliveryMode: amqp.Persistent, Timestamp: m.Time, Headers: headers, Body: m.Body,
	})
	if err != nil {
		return 0, err
	}
	c.unanswered[sent.DeliveryTag] = sent
	return sent.DeliveryTag, nil
}

// closeUnless closes the connection if a message is not written soon: a broker that has
// raised an alarm reads nothing, and whoever writes waits for as long.
func (c *channel) closeUnless(written <-chan struct{}) {
	select {
	case <-written:
	case <-time.After(drain):
		c.raw.Close()
	}
}

func (c *channel) events() <-chan event { return c.out }

func (c *channel) close() {
	c.once.Do(func() {
		close(c.end)
		// A connection that is half open would be waited for.
		go func() {
			c.conn.CloseDeadline(time.Now().Add(dialTimeout))
			c.raw.Close()
		}()
	})
}

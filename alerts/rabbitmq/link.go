package rabbitmq

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// channel is a link over AMQP 0-9-1.
type channel struct {
	conn *amqp.Connection
	ch   *amqp.Channel
	out  chan event
	end  chan struct{} // closed by close
	once sync.Once
}

func open(conn *amqp.Connection, inFlight int) (*channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	c := &channel{conn: conn, ch: ch, out: make(chan event), end: make(chan struct{})}
	// The library waits for whoever listens, so each of these has room for all that may
	// come while Publish does something else.
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
				e = event{kind: nack, number: a.DeliveryTag}
				if a.Ack {
					e.kind = ack
				}
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
			}
			if e.kind == closed && confirms != nil { // what came before is true
				for a := range confirms {
					if a.Ack {
						c.tell(event{kind: ack, number: a.DeliveryTag})
					}
				}
			}
			c.tell(e)
			if e.kind == closed {
				return
			}
		}
	}()
	return c, nil
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
	number := c.ch.GetNextPublishSeqNo()
	headers := amqp.Table{}
	for k, v := range m.Headers {
		headers[k] = v
	}
	return number, c.ch.PublishWithContext(ctx, Exchange, m.RoutingKey, true, false, amqp.Publishing{
		MessageId: m.ID, CorrelationId: m.Correlation, Type: m.Type, AppId: AppID, ContentType: m.ContentType,
		DeliveryMode: amqp.Persistent, Timestamp: m.Time, Headers: headers, Body: m.Body,
	})
}

func (c *channel) events() <-chan event { return c.out }

func (c *channel) close() {
	c.once.Do(func() {
		close(c.end)
		// A connection that is half open would be waited for.
		go c.conn.CloseDeadline(time.Now().Add(dialTimeout))
	})
}

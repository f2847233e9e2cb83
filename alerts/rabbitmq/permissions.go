package rabbitmq

import (
	"cmp"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Permissions are the least that a user needs to publish with a Config. The regular
// expressions name each exchange and queue in full; what matches none of them is `^$`.
type Permissions struct {
	Vhost string
	// User is the one in the URL; "": the login is the certificate, and RabbitMQ's settings
	// say which user that is.
	User                   string
	Configure, Write, Read string
}

// Permissions returns them. It connects to nothing, and reads no files.
func (c *Config) Permissions() (Permissions, error) {
	uri, err1 := amqp.ParseURI(c.URL)
	address, err2 := url.Parse(c.URL)
	if err1 != nil || err2 != nil { // which tell the password
		return Permissions{}, errors.New("amqp.url: want amqp://user:password@host:port/vhost or amqps://…")
	}
	p := Permissions{Vhost: uri.Vhost, User: uri.Username}
	if c.byCertificate(address) {
		p.User = ""
	}
	var a access
	a.write(Exchange) // to publish
	if c.Declare {
		a.declares(Unrouted)
		a.binds(Unrouted, Unrouted)
		a.declares(Exchange)
		a.diverts(Exchange, Unrouted)
	}
	for i := range c.Topology.Queues {
		c.Topology.Queues[i].access(&a)
	}
	p.Configure, p.Write, p.Read = oneOf(a.configured), oneOf(a.written), oneOf(a.readable)
	return p, nil
}

// access is the names of exchanges and queues that RabbitMQ asks a permission for.
type access struct{ configured, written, readable []string }

func (a *access) declares(name string) { a.configured = append(a.configured, name) }
func (a *access) write(name string)    { a.written = append(a.written, name) }
func (a *access) read(name string)     { a.readable = append(a.readable, name) }

// binds is for a queue that is bound to an exchange.
func (a *access) binds(queue, exchange string) {
	a.write(queue)
	a.read(exchange)
}

// diverts is for the declaration of an exchange or queue that leaves to another exchange
// what it does not keep.
func (a *access) diverts(from, to string) {
	a.read(from)
	a.write(cmp.Or(to, "amq.default")) // which is how RabbitMQ calls the exchange without a name
}

// access notes what declare asks for.
func (q *Queue) access(a *access) {
	if q.DeadLetter != "" {
		a.declares(q.DeadLetter)
		a.binds(q.DeadLetter, q.DeadLetter)
	}
	a.declares(q.Name)
	to, diverts := q.arguments()[deadLetterArg].(string)
	if diverts {
		a.diverts(q.Name, to)
	}
	a.binds(q.Name, Exchange)
}

// oneOf returns a regular expression for names and nothing else.
func oneOf(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	for i := range names {
		names[i] = regexp.QuoteMeta(names[i])
	}
	switch len(names) {
	case 0:
		return "^$"
	case 1:
		return "^" + names[0] + "$"
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Exchange is where messages are published: a durable topic exchange.
const Exchange = "error_event"

// Unrouted is the exchange, and its queue, for messages that no queue is bound for.
const Unrouted = "error_event.unrouted"

// AppID tells receivers who published.
const AppID = "ragstreams"

// Config says how to reach RabbitMQ and what is there. URL is required.
type Config struct {
	URL string // amqp://user:password@host:port/vhost, or amqps://…

	// For amqps. Without files the system's authorities are trusted and no certificate
	// is shown. A certificate without a user in the URL is also the login (EXTERNAL).
	CAFile, CertFile, KeyFile string
	ServerName                string // expected in the server's certificate; empty: the host of URL

	// Declare declares the exchanges and the queue above. Otherwise they are left to
	// others, and the exchange must be there.
	Declare bool
	// Topology is declared, too, whether Declare is set or not. What of it is refused is told
	// to the Observer, and keeps nothing from being published.
	Topology Topology

	InFlight       int           // most messages that are not confirmed; default 64
	ConfirmTimeout time.Duration // after which a silent connection is given up; default 30 s
	Logger         *slog.Logger
	Observer       Observer
}

// Times of a connection.
const (
	dialTimeout = 10 * time.Second
	heartbeat   = 10 * time.Second
)

func (c *Config) fill() error {
	if c.InFlight == 0 {
		c.InFlight = 64
	}
	if c.ConfirmTimeout == 0 {
		c.ConfirmTimeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if _, err := amqp.ParseURI(c.URL); err != nil {
		return fmt.Errorf("amqp.url: want amqp://user:password@host:port/vhost or amqps://…: %w", err)
	}
	_, err := c.tls()
	return err
}

func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("amqp.tls.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("amqp.tls.ca_file %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("amqp.tls.cert_file and amqp.tls.key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// dial opens a connection and a channel, and declares what is published to.
func (c *Config) dial(ctx context.Context) (link, error) {
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	uri, err := amqp.ParseURI(c.URL)
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(c.URL) // ParseURI puts guest where there is no user
	if err != nil {
		return nil, err
	}
	var raw net.Conn
	release := func() bool { return true }
	defer func() { release() }()
	cfg := amqp.Config{
		Heartbeat: heartbeat, TLSClientConfig: secure, Vhost: uri.Vhost,
		Properties: amqp.Table{"product": AppID, "connection_name": AppID + " alerts"},
		Dial: func(network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
			if err == nil { // until the connection is open; its heartbeats watch it then
				err = conn.SetDeadline(time.Now().Add(dialTimeout))
				release = context.AfterFunc(ctx, func() { conn.Close() }) // whoever waits for an answer is told
				raw = conn
			}
			return conn, err
		},
	}
	if c.byCertificate(address) {
		cfg.SASL = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	conn, err := amqp.DialConfig(c.URL, cfg)
	if err != nil {
		return nil, refusal(advise(err))
	}
	if err := c.declare(conn); err != nil {
		conn.Close()
		return nil, err
	}
	l, err := open(conn, raw, c.InFlight)
	if err != nil {
		conn.Close()
		return nil, refusal(err)
	}
	return l, nil
}

// byCertificate tells whether the certificate is the login.
func (c *Config) byCertificate(address *url.URL) bool {
	return address.User == nil && c.CertFile != ""
}

// advise adds what to do about certificates that are not taken, by us or by the broker.
// They are tried again: files are read anew for every connection.
func advise(err error) error {
	var ours *tls.CertificateVerificationError
	switch {
	case errors.As(err, &ours):
		return fmt.Errorf("%w: amqp.tls.ca_file must hold the authority of RabbitMQ's certificate, and amqp.tls.server_name, or the host of amqp.url, be a name in it", err)
	case strings.Contains(err.Error(), "remote error: tls: "): // under TLS 1.3 it comes as text, after the handshake
		return fmt.Errorf("%w: RabbitMQ must trust the authority of the certificate in amqp.tls.cert_file, which it may demand", err)
	}
	return err
}

// declare makes or checks exchanges and queues, each on a channel of its own: the
// broker closes the channel of one that it refuses.
func (c *Config) declare(conn *amqp.Connection) error {
	with := func(what string, f func(ch *amqp.Channel) error) error {
		ch, err := conn.Channel()
		if err != nil {
			return fmt.Errorf("%s: %w", what, refusal(err))
		}
		defer ch.Close()
		if err := f(ch); err != nil {
			return fmt.Errorf("%s: %w", what, refusal(err))
		}
		return nil
	}
	if err := c.declareOwn(with); err != nil || len(c.Topology.Queues) == 0 {
		return err
	}
	var errs []error
	for i := range c.Topology.Queues {
		q := &c.Topology.Queues[i]
		errs = append(errs, with("queue "+q.Name, q.declare))
	}
	err := errors.Join(errs...)
	if err != nil {
		c.Logger.Error("queues of the topology are not as they should be", "error", err)
	}
	if c.Observer.Declared != nil {
		c.Observer.Declared(err)
	}
	return nil
}

func (c *Config) declareOwn(with func(what string, f func(ch *amqp.Channel) error) error) error {
	if !c.Declare {
		return with("exchange "+Exchange, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(Exchange, amqp.ExchangeTopic, true, false, false, false, nil)
		})
	}
	return errors.Join(
		with("exchange "+Unrouted, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(Unrouted, amqp.ExchangeFanout, true, false, false, false, nil)
		}),
		with("queue "+Unrouted, func(ch *amqp.Channel) error {
			if _, err := ch.QueueDeclare(Unrouted, true, false, false, false, nil); err != nil {
				return err
			}
			return ch.QueueBind(Unrouted, "", Unrouted, false, nil)
		}),
		with("exchange "+Exchange, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(Exchange, amqp.ExchangeTopic, true, false, false, false, amqp.Table{"alternate-exchange": Unrouted})
		}),
	)
}

// refusal wraps ErrRefused when the broker says that something is wrong with what we
// ask for.
func refusal(err error) error {
	var said *amqp.Error
	if !errors.As(err, &said) {
		return err
	}
	if deniesAccess(said) {
		return fmt.Errorf("%w: %w: `analytics check --acls` prints the permissions that are needed", ErrRefused, err)
	}
	switch said.Code {
	case amqp.AccessRefused, amqp.NotFound, amqp.ResourceLocked, amqp.PreconditionFailed, amqp.NotAllowed:
		return fmt.Errorf("%w: %w: mend the configuration, or what is declared there", ErrRefused, err)
	}
	return err
}

// deniesAccess reports whether the broker says that the user, whom it knows, has no permission.
func deniesAccess(err error) bool {
	var said *amqp.Error
	return errors.As(err, &said) && (said.Code == amqp.AccessRefused || said.Code == amqp.NotAllowed) && strings.Contains(said.Reason, "access to ")
}

package servers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Wire is a proxy to a RabbitMQ that knows where the frames of AMQP begin and end, so
// that what happens to a message is not left to chance: it may hold back what the broker
// confirms, or cut a connection within a frame. Its methods are safe for concurrent use.
type Wire struct {
	Address string // host:port for clients

	listener net.Listener
	broker   string

	mu          sync.Mutex
	connections map[*wireConn]bool
	accepted    int
	published   int // messages that have begun to pass
	holding     bool
	held        int // messages whose confirms are held back
	cutIn       byte
	cutAfter    int
	cuts        int
	silent      bool
}

// wireConn is one connection of a client.
type wireConn struct {
	client, broker net.Conn // broker is nil on one that was opened in silence
	silent         bool     // nothing arrives any more

	published uint64          // tag of the newest message
	open      map[uint64]bool // tags that are neither confirmed nor refused
	held      []byte          // frames for the client
}

// Types of frames.
const (
	MethodFrame = 1 // of a message the first: where it goes
	HeaderFrame = 2 // then its properties
	BodyFrame   = 3 // then what it says
)

// Wire opens a proxy to the node.
func (r *RabbitMQ) Wire() (*Wire, error) { return newWire(fmt.Sprintf("127.0.0.1:%d", r.Port)) }

func newWire(broker string) (*Wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a proxy to %s: %w", broker, err)
	}
	w := &Wire{Address: l.Addr().String(), listener: l, broker: broker, connections: map[*wireConn]bool{}}
	go w.accept()
	return w, nil
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // it is closed
		}
		w.mu.Lock()
		w.accepted++
		c := &wireConn{client: client, silent: w.silent, open: map[uint64]bool{}}
		w.mu.Unlock()
		if !c.silent {
			if c.broker, err = net.DialTimeout("tcp", w.broker, 5*time.Second); err != nil {
				client.Close()
				continue
			}
		}
		w.mu.Lock()
		w.connections[c] = true
		w.mu.Unlock()
		go w.requests(c)
		if c.broker != nil {
			go w.answers(c)
		}
	}
}

// requests passes on what a client sends.
func (w *Wire) requests(c *wireConn) {
	in := bufio.NewReader(c.client)
	if c.broker == nil {
		_, _ = io.Copy(io.Discard, in)
		w.end(c)
		return
	}
	hello := make([]byte, 8) // the only thing that is no frame
	if _, err := io.ReadFull(in, hello); err != nil {
		w.end(c)
		return
	}
	if _, err := c.broker.Write(hello); err != nil {
		w.end(c)
		return
	}
	inMessage := false // the frames of a method other than publish are let through
	for {
		f, err := readFrame(in)
		if err != nil {
			w.end(c) // the client's end is seen, even in silence
			return
		}
		pass := len(f)
		w.mu.Lock()
		switch {
		case c.silent:
			pass = 0
		case f.is(basicPublish):
			inMessage = true
			c.published++
			c.open[c.published] = true
			w.published++
		case f[0] == MethodFrame:
			inMessage = false
		}
		if inMessage && w.cutIn == f[0] && !c.silent {
			pass, w.cutIn = min(w.cutAfter, len(f)-1), 0
			w.cuts++
		}
		w.mu.Unlock()
		if _, err := c.broker.Write(f[:pass]); err != nil && !w.isSilent(c) || pass > 0 && pass < len(f) {
			w.end(c)
			return
		}
	}
}

// answers passes on what the broker sends.
func (w *Wire) answers(c *wireConn) {
	in := bufio.NewReader(c.broker)
	for {
		f, err := readFrame(in)
		if err != nil {
			if !w.isSilent(c) { // the broker's end is not seen in silence
				w.end(c)
			}
			return
		}
		w.mu.Lock()
		answered := c.answered(f)
		pass := !c.silent
		if pass && w.holding && answered > 0 {
			pass = false
			c.held = append(c.held, f...)
			w.held += answered
		}
		w.mu.Unlock()
		if pass {
			if _, err := c.client.Write(f); err != nil {
				w.end(c)
				return
			}
		}
	}
}

// answered takes in a frame of the broker, and returns how many messages it confirms or
// refuses.
func (c *wireConn) answered(f frame) (n int) {
	if !f.is(basicAck) && !f.is(basicNack) {
		return 0
	}
	tag, multiple := binary.BigEndian.Uint64(f[11:19]), f[19]&1 == 1
	for t := range c.open {
		if t == tag || multiple && t < tag {
			delete(c.open, t)
			n++
		}
	}
	return n
}

func (w *Wire) isSilent(c *wireConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.silent
}

// end closes both sides of a connection.
func (w *Wire) end(c *wireConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked(c)
}

func (w *Wire) endLocked(c *wireConn) {
	delete(w.connections, c)
	c.client.Close()
	if c.broker != nil {
		c.broker.Close()
	}
}

// Hold keeps back what the broker says of messages from now on, until Release. All else
// passes.
func (w *Wire) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding, w.held = true, 0
}

// Release lets what was held back go, and all that comes.
func (w *Wire) Release() error { return w.pass(false) }

// Pass lets what was held back go, and holds back what comes.
func (w *Wire) Pass() error { return w.pass(true) }

func (w *Wire) pass(holdOn bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding, w.held = holdOn, 0
	var errs []error
	for c := range w.connections {
		if len(c.held) > 0 {
			_, err := c.client.Write(c.held)
			errs = append(errs, err)
			c.held = nil
		}
	}
	return errors.Join(errs...)
}

// Held returns of how many messages the broker has answered what is held back.
func (w *Wire) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// Published returns how many messages have begun to pass to the broker.
func (w *Wire) Published() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.published
}

// Accepted returns how many connections clients have opened.
func (w *Wire) Accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accepted
}

// CutIn lets so many bytes, one at least, of the next frame of a message of a type pass,
// and then cuts its connection.
func (w *Wire) CutIn(frame byte, after int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutIn, w.cutAfter = frame, after
}

// Cuts returns how often CutIn has cut a connection.
func (w *Wire) Cuts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts
}

// Silence keeps all connections open, and nothing arrives any more on either side, not
// even that the other has closed. New ones are like that, too.
func (w *Wire) Silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
	for c := range w.connections {
		c.silent = true
	}
}

// Heal ends the silence for new connections; old ones are cut, for they lack something.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = false
	for c := range w.connections {
		if c.silent {
			w.endLocked(c)
		}
	}
}

// Close ends the proxy and all connections.
func (w *Wire) Close() {
	w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.connections {
		w.endLocked(c)
	}
}

// frame is one of AMQP 0-9-1, as it is sent: type, channel (2), size (4), payload, end.
type frame []byte

// Methods, by class and number.
const (
	basicPublish = 60<<16 | 40
	basicAck     = 60<<16 | 80
	basicNack    = 60<<16 | 120
)

func (f frame) is(method uint32) bool {
	return f[0] == MethodFrame && len(f) >= 12 && binary.BigEndian.Uint32(f[7:11]) == method
}

func readFrame(r io.Reader) (frame, error) {
	f := make(frame, 7, 512)
	if _, err := io.ReadFull(r, f); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(f[3:7])
	if size > 1<<20 {
		return nil, fmt.Errorf("a frame of %d bytes: not AMQP", size)
	}
	f = append(f, make([]byte, size+1)...)
	if _, err := io.ReadFull(r, f[7:]); err != nil {
		return nil, err
	}
	return f, nil
}

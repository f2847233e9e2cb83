package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// broker is a double of RabbitMQ at the publisher's edge. What it does with a message
// is decided by fate.
type broker struct {
	mu       sync.Mutex
	arrived  []string // ids, in the order in which they were enqueued
	dials    int
	links    []*edge
	fate     func(m *Message, nth int) fate // nth time that this id comes
	seen     map[string]int
	refuse   error // of dialling
	inFlight int   // most at once
}

// fate is what becomes of a message.
type fate struct {
	lose   bool          // it never arrives
	answer eventKind     // ack or nack; a message that is not acknowledged does not arrive
	after  time.Duration // of the answer; < 0: never
	cut    bool          // then the connection ends
	why    error         // for which it ends
	fail   bool          // publishing itself fails, though the message may arrive
	unwant bool          // no queue is bound for it
}

func newBroker() *broker {
	return &broker{seen: map[string]int{}, fate: func(*Message, int) fate { return fate{} }}
}

// edge is one connection.
type edge struct {
	b        *broker
	out      chan event
	number   uint64
	pending  int
	isClosed bool
}

func (b *broker) dial(ctx context.Context) (link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.refuse != nil {
		return nil, b.refuse
	}
	e := &edge{b: b, out: make(chan event, 10_000)}
	b.links = append(b.links, e)
	return e, nil
}

func (e *edge) publish(_ context.Context, m *Message) (uint64, error) {
	b := e.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.isClosed {
		return 0, errors.New("closed")
	}
	e.number++
	number := e.number
	f := b.fate(m, b.seen[m.ID])
	b.seen[m.ID]++
	if f.answer == ack && !f.lose {
		b.arrived = append(b.arrived, m.ID)
	}
	e.pending++
	b.inFlight = max(b.inFlight, e.pending)
	if f.unwant {
		e.out <- event{kind: returned, id: m.ID}
	}
	if f.after >= 0 {
		time.AfterFunc(f.after, func() { e.answer(event{kind: f.answer, number: number, reason: f.why}, f.cut) })
	}
	if f.fail {
		return number, errors.New("broken pipe")
	}
	return number, nil
}

func (e *edge) answer(a event, cut bool) {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	if e.isClosed {
		return
	}
	if !cut {
		e.pending--
		e.out <- a
		return
	}
	e.isClosed = true
	e.out <- event{kind: closed, reason: cmp.Or(a.reason, errors.New("connection reset"))}
}

func (e *edge) events() <-chan event { return e.out }

func (e *edge) close() {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	e.isClosed = true
}

// watch is what a Publisher told.
type watch struct {
	confirmed   []string
	unrouted    []string
	republished map[string][]string // why, by id
	blocked     []bool
	connected   []bool
}

func newPublisher(t *testing.T, b *broker) (*Publisher, *watch) {
	t.Helper()
	w := &watch{republished: map[string][]string{}}
	p, err := New(Config{URL: "amqp://127.0.0.1:1/", InFlight: 4, ConfirmTimeout: 5 * time.Second, Observer: Observer{
		Confirmed:   func(m *Message) { w.confirmed = append(w.confirmed, m.ID) },
		Unrouted:    func(id string) { w.unrouted = append(w.unrouted, id) },
		Republished: func(m *Message, why string) { w.republished[m.ID] = append(w.republished[m.ID], why) },
		Connected:   func(is bool, _ error) { w.connected = append(w.connected, is) },
		Blocked:     func(is bool) { w.blocked = append(w.blocked, is) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.dial = b.dial
	return p, w
}

// some returns n messages of alerts a, b and c, in turn.
func some(n int) []Message {
	list := make([]Message, n)
	for i := range list {
		key := string("abc"[i%3])
		list[i] = Message{Key: key, ID: fmt.Sprint(key, i)}
	}
	return list
}

// publishAll publishes until everything is confirmed, as what reads an outbox does.
func publishAll(ctx context.Context, p *Publisher, messages []Message, confirmed func(i int)) error {
	done := make([]bool, len(messages))
	for {
		var left []Message
		var index []int
		for i, m := range messages {
			if !done[i] {
				left, index = append(left, m), append(index, i)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if err := p.Publish(ctx, left, func(i int) { done[index[i]] = true; confirmed(index[i]) }); err != nil {
			return err
		}
	}
}

// checkOrder checks that the messages of each alert arrived in order, where a second
// copy may come only while the one after it has not.
func checkOrder(t *testing.T, arrived []string) {
	t.Helper()
	last := map[byte]int{}
	for _, id := range arrived {
		n := 0
		fmt.Sscan(id[1:], &n)
		if n < last[id[0]] {
			t.Fatalf("%s arrived after %c%d: %v", id, id[0], last[id[0]], arrived)
		}
		last[id[0]] = n
	}
}

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		p, w := newPublisher(t, b)
		done := map[int]int{}
		if err := p.Publish(t.Context(), some(20), func(i int) { done[i]++ }); err != nil {
			t.Fatal(err)
		}
		if len(b.arrived) != 20 || len(w.confirmed) != 20 || len(done) != 20 {
			t.Errorf("%d arrived, %d confirmed, %d done, want 20 each", len(b.arrived), len(w.confirmed), len(done))
		}
		checkOrder(t, b.arrived)
		if err := p.Publish(t.Context(), some(5), func(int) {}); err != nil || b.dials != 1 {
			t.Errorf("%v, %d connections, want one for both", err, b.dials)
		}
	})
}

// However the broker answers, every message arrives, in the order of its alert, and
// none twice unless its connection ended before it was confirmed.
func TestAnyFate(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			b := newBroker()
			uncertain := map[string]bool{} // the publisher cannot know whether they arrived
			b.fate = func(m *Message, _ int) fate {
				f := fate{after: time.Duration(r.IntN(50)) * time.Millisecond}
				switch r.IntN(12) {
				case 0:
					f.answer = nack
				case 1:
					f.cut = true
				case 2:
					f.cut, f.lose = true, true
				case 3:
					f.after, f.lose = -1, r.IntN(2) == 0 // the confirm is lost: a timeout
				case 4:
					f.fail = true
				}
				return f
			}
			p, w := newPublisher(t, b)
			messages := some(1 + r.IntN(60))
			done := map[int]int{}
			if err := publishAll(t.Context(), p, messages, func(i int) { done[i]++ }); err != nil {
				t.Fatal(err)
			}
			for id, whys := range w.republished {
				if slices.Contains(whys, Unconfirmed) {
					uncertain[id] = true
				}
			}
			times := map[string]int{}
			for _, id := range b.arrived {
				times[id]++
			}
			for i, m := range messages {
				if times[m.ID] == 0 || done[i] != 1 {
					t.Fatalf("seed %d: %s arrived %d times, was done %d times", seed, m.ID, times[m.ID], done[i])
				}
				if times[m.ID] > 1 && !uncertain[m.ID] {
					t.Fatalf("seed %d: %s arrived %d times, and nobody was told", seed, m.ID, times[m.ID])
				}
			}
			checkOrder(t, b.arrived)
			if b.inFlight > 4 {
				t.Errorf("seed %d: %d unconfirmed at once, want 4 at most", seed, b.inFlight)
			}
		})
	}
}

// A message that is refused, such as by a full queue, is not overtaken by the next of
// its alert, and holds up no other.
func TestRefusedMessageIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		full := time.Now().Add(time.Minute)
		b.fate = func(m *Message, _ int) fate {
			if m.Key == "a" && time.Now().Before(full) {
				return fate{answer: nack}
			}
			return fate{}
		}
		p, w := newPublisher(t, b)
		begin := time.Now()
		if err := p.Publish(t.Context(), some(9), func(int) {}); err != nil || time.Since(begin) > time.Second {
			t.Fatalf("%v after %v: others must not wait for what is refused", err, time.Since(begin))
		}
		if err := publishAll(t.Context(), p, []Message{some(9)[0], some(9)[3], some(9)[6]}, func(int) {}); err != nil {
			t.Fatal(err)
		}
		if want := []string{"b1", "c2", "b4", "c5", "b7", "c8"}; !slices.Equal(slices.Sorted(slices.Values(b.arrived[:6])), slices.Sorted(slices.Values(want))) {
			t.Errorf("arrived first: %v, want %v", b.arrived[:6], want)
		}
		checkOrder(t, b.arrived)
		if len(w.republished) != 1 || slices.ContainsFunc(w.republished["a0"], func(why string) bool { return why != Nack }) {
			t.Errorf("republished %v, want only a0, for nacks", w.republished)
		}
		if n := b.seen["a0"]; n > 60 {
			t.Errorf("a0 was tried %d times in a minute", n)
		}
	})
}

func TestNobodyWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		b.fate = func(m *Message, _ int) fate { return fate{unwant: m.ID == "b1"} }
		p, w := newPublisher(t, b)
		if err := p.Publish(t.Context(), some(3), func(int) {}); err != nil || !slices.Equal(w.unrouted, []string{"b1"}) {
			t.Errorf("%v; unrouted %v, want b1", err, w.unrouted)
		}
	})
}

// While the broker says that it takes nothing, nothing is sent, however long.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		p, w := newPublisher(t, b)
		if err := p.Publish(t.Context(), some(1), func(int) {}); err != nil {
			t.Fatal(err)
		}
		b.links[0].out <- event{kind: blocked, reason: errors.New("low on memory")}
		begin := time.Now()
		time.AfterFunc(10*time.Minute, func() { b.links[0].out <- event{kind: unblocked} })
		b.fate = func(*Message, int) fate {
			if took := time.Since(begin); took > 0 && took < 10*time.Minute {
				t.Errorf("published after %v", took)
			}
			return fate{}
		}
		messages := some(9)
		if err := p.Publish(t.Context(), messages, func(int) {}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.blocked, []bool{false, true, false}) || b.dials != 1 { // the first: it has just connected
			t.Errorf("blocked %v, %d connections", w.blocked, b.dials)
		}
	})
}

// Without messages there is a connection all the same, and it is known when it is lost.
// What was never sent over it is not said to come again.
func TestLostWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		p, w := newPublisher(t, b)
		if err := p.Publish(t.Context(), nil, nil); err != nil || b.dials != 1 {
			t.Fatalf("%v, %d connections, want one", err, b.dials)
		}
		for n := range 3 {
			go b.links[n].answer(event{}, true)
			synctest.Wait()
			messages := some(n) // none, too
			if err := p.Publish(t.Context(), messages, func(int) {}); err != nil || b.dials != n+2 {
				t.Errorf("%v, %d connections, want %d", err, b.dials, n+2)
			}
		}
		if len(b.arrived) != 3 || len(w.republished) > 0 {
			t.Errorf("%v arrived, %v republished; want 3, and none", b.arrived, w.republished)
		}
		if !slices.Equal(w.connected, []bool{true, false, true, false, true, false, true}) {
			t.Errorf("connected: %v", w.connected)
		}
	})
}

// What is published when the end is near is waited for, and what was not confirmed is
// not taken for delivered.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		b.fate = func(m *Message, _ int) fate {
			if m.ID == "b1" {
				return fate{after: -1}
			}
			return fate{after: time.Second}
		}
		p, w := newPublisher(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		var done []int
		begin := time.Now()
		err := p.Publish(ctx, some(6), func(i int) { done = append(done, i) })
		if !errors.Is(err, context.Canceled) || !slices.Equal(slices.Sorted(slices.Values(done)), []int{0, 2}) {
			t.Errorf("%v, done %v; want 0 and 2, which were on their way", err, done)
		}
		if took := time.Since(begin); took > 500*time.Millisecond+drain {
			t.Errorf("it took %v", took)
		}
		if !slices.Equal(w.republished["b1"], []string{Unconfirmed}) {
			t.Errorf("republished %v: nobody is told that b1 may come twice", w.republished)
		}
		// The answers that come later are none of the next Publish.
		b.fate = func(*Message, int) fate { return fate{} }
		done = nil
		if err := p.Publish(t.Context(), some(3), func(i int) { done = append(done, i) }); err != nil || len(done) != 3 {
			t.Errorf("%v, done %v", err, done)
		}
	})
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		b.refuse = errors.New("connection refused")
		p, _ := newPublisher(t, b)
		time.AfterFunc(10*time.Minute, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.refuse = nil
		})
		if err := p.Publish(t.Context(), some(3), func(int) {}); err != nil {
			t.Fatal(err)
		}
		if b.dials < 60 || b.dials > 400 {
			t.Errorf("%d connections were tried in ten minutes", b.dials)
		}
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		b.refuse = fmt.Errorf("exchange error_event: %w", ErrRefused)
		p, _ := newPublisher(t, b)
		if err := p.Publish(t.Context(), some(3), func(int) {}); !errors.Is(err, ErrRefused) || b.dials != 1 {
			t.Errorf("%v after %d connections, want ErrRefused after one", err, b.dials)
		}
	})
}

// Who may not publish is told once, and not after connection upon connection.
func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		said := &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - access to exchange 'error_event' in vhost '/' refused for user 'analytics'"}
		b.fate = func(*Message, int) fate { return fate{lose: true, after: 50 * time.Millisecond, cut: true, why: said} }
		p, w := newPublisher(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Publish(ctx, some(3), func(int) { t.Error("a message is taken for confirmed") })
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "'error_event'") || !strings.Contains(err.Error(), "check --acls") || b.dials != 1 {
			t.Errorf("%v after %d connections, want ErrRefused with the exchange after one", err, b.dials)
		}
		if !slices.Equal(w.connected, []bool{true, false}) {
			t.Errorf("of the connection it is told %d times, want that it is there and that it ended", len(w.connected))
		}
		b.fate = func(*Message, int) fate { return fate{} } // it is granted
		if err := p.Publish(t.Context(), some(3), func(int) {}); err != nil || len(b.arrived) != 3 {
			t.Errorf("%v, %d arrived, want 3", err, len(b.arrived))
		}
	})
}

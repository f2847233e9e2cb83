package rabbitmq

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// wireBroker speaks as much AMQP as a link needs. It answers each publish with the next
// of its answers, which may be empty.
type wireBroker struct {
	t       *testing.T
	conn    net.Conn
	answers [][]byte
	deaf    func() // optional: called with the first message, of which nothing more is read
}

// startWireBroker returns the address of one that takes a single connection.
func startWireBroker(t *testing.T, b *wireBroker) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b.t, b.conn = t, conn
		b.serve()
	}()
	return "amqp://" + l.Addr().String()
}

// dialWireBroker returns a link to one.
func dialWireBroker(t *testing.T, b *wireBroker) link {
	t.Helper()
	c := Config{URL: startWireBroker(t, b)}
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	l, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// Arguments of the broker's methods, by those of the client that they answer.
var replies = map[uint32]struct {
	method uint32
	args   string
}{
	10<<16 | 11: {10<<16 | 30, "\x00\x10\x00\x02\x00\x00\x00\x00"}, // start-ok: tune
	10<<16 | 40: {10<<16 | 41, "\x00"},                             // connection.open
	10<<16 | 50: {10<<16 | 51, ""},                                 // connection.close
	20<<16 | 10: {20<<16 | 11, "\x00\x00\x00\x00"},                 // channel.open
	20<<16 | 40: {20<<16 | 41, ""},                                 // channel.close
	40<<16 | 10: {40<<16 | 11, ""},                                 // exchange.declare
	85<<16 | 10: {85<<16 | 11, ""},                                 // confirm.select
}

func (b *wireBroker) serve() {
	hello := make([]byte, 8)
	if _, err := io.ReadFull(b.conn, hello); err != nil {
		return
	}
	b.send(0, 10<<16|10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US")
	for {
		head := make([]byte, 7)
		if _, err := io.ReadFull(b.conn, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(b.conn, payload); err != nil {
			return
		}
		if head[0] == 2 && b.deaf != nil { // the properties of a message
			b.deaf()
			<-b.t.Context().Done()
			return
		}
		channel := binary.BigEndian.Uint16(head[1:])
		if head[0] == 3 && len(b.answers) > 0 { // the body of a message
			if _, err := b.conn.Write(forChannel(channel, b.answers[0])); err != nil {
				return
			}
			b.answers = b.answers[1:]
		}
		if head[0] != 1 {
			continue
		}
		if reply, ok := replies[binary.BigEndian.Uint32(payload)]; ok {
			b.send(channel, reply.method, reply.args)
		}
	}
}

func (b *wireBroker) send(channel uint16, method uint32, args string) {
	if _, err := b.conn.Write(forChannel(channel, wireMethod(method, args))); err != nil {
		b.t.Log(err)
	}
}

// wireMethod returns a frame for channel 0.
func wireMethod(method uint32, args string) []byte {
	f := binary.BigEndian.AppendUint32([]byte{1, 0, 0}, uint32(4+len(args)))
	return append(append(binary.BigEndian.AppendUint32(f, method), args...), 0xce)
}

// forChannel puts the channel into every frame.
func forChannel(channel uint16, frames []byte) []byte {
	frames = slices.Clone(frames)
	for at := 0; at < len(frames); at += 8 + int(binary.BigEndian.Uint32(frames[at+3:])) {
		binary.BigEndian.PutUint16(frames[at+1:], channel)
	}
	return frames
}

// wireAck and wireNack answer one message, or all up to one that were not answered yet.
func wireAck(number uint64, multiple bool) []byte { return wireAnswer(60<<16|80, number, multiple) }
func wireNack(number uint64) []byte               { return wireAnswer(60<<16|120, number, false) }

func wireAnswer(method uint32, number uint64, multiple bool) []byte {
	args := string(binary.BigEndian.AppendUint64(nil, number))
	if multiple {
		return wireMethod(method, args+"\x01")
	}
	return wireMethod(method, args+"\x00")
}

// In whatever order the broker answers, each message gets its own answer: one that was
// refused is not confirmed by what confirms all up to a later one.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers [][]byte // to each of four messages
		want    string   // a for ack, n for nack, by number
	}{
		{"one by one", [][]byte{wireAck(1, false), wireNack(2), wireAck(3, false), wireAck(4, false)}, "anaa"},
		{"a confirmation covers a refusal before it", [][]byte{nil, wireNack(2), nil, wireAck(4, true)}, "anaa"},
		{"two refusals, and two that cover them", [][]byte{nil, wireNack(2), wireAck(3, true), slices.Concat(wireNack(4))}, "anan"},
		{"the newest is refused first", [][]byte{nil, nil, nil, slices.Concat(wireNack(4), wireNack(3), wireAck(2, true))}, "aann"},
		{"a refusal covers", [][]byte{nil, nil, wireAck(2, false), wireAnswer(60<<16|120, 4, true)}, "nann"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := dialWireBroker(t, &wireBroker{answers: tt.answers})
			for n := range tt.answers {
				number, err := l.publish(t.Context(), &Message{ID: fmt.Sprint(n), Body: []byte("it fires")})
				if err != nil || number != uint64(n+1) {
					t.Fatalf("message %d has number %d, %v", n, number, err)
				}
			}
			got := []byte(strings.Repeat("?", len(tt.answers)))
			for range tt.answers {
				select {
				case e := <-l.events():
					if e.number < 1 || e.number > uint64(len(got)) || got[e.number-1] != '?' || e.kind > nack {
						t.Fatalf("event %+v after %s", e, got)
					}
					got[e.number-1] = "an"[e.kind]
				case <-time.After(5 * time.Second):
					t.Fatalf("answers %s, and nothing more", got)
				}
			}
			if string(got) != tt.want {
				t.Errorf("answers %s, want %s", got, tt.want)
			}
		})
	}
}

// publishLarge publishes a message that is more than a socket takes.
func publishLarge(ctx context.Context, l link) (ended <-chan error) {
	end := make(chan error, 1)
	go func() {
		_, err := l.publish(ctx, &Message{ID: "large", Body: make([]byte, 64<<20)})
		end <- err
	}()
	return end
}

// A broker that reads nothing, as in an alarm, holds up nobody who is to end.
func TestPublishEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := dialWireBroker(t, &wireBroker{deaf: cancel})
	select {
	case err := <-publishLarge(ctx, l):
		if err == nil {
			t.Error("it was sent to a broker that does not read")
		}
	case <-time.After(drain + 10*time.Second):
		t.Error("it waits for ever")
	}
}

// A broker that falls silent with a socket that is full is given up once its heartbeats
// are missed: whoever writes to it is told, and need not be told to stop.
func TestSilentBrokerIsGivenUp(t *testing.T) {
	t.Parallel()
	l := dialWireBroker(t, &wireBroker{deaf: func() {}})
	ended := publishLarge(t.Context(), l)
	for range 2 { // the write, and the link
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it was sent to a broker that does not read")
			}
		case e := <-l.events():
			if e.kind != closed {
				t.Errorf("event %+v", e)
			}
		case <-time.After(6 * heartbeat):
			t.Fatal("it waits for ever")
		}
	}
}

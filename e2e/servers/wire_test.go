package servers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// makeFrame returns a frame of channel 1.
func makeFrame(kind byte, payload []byte) frame {
	f := binary.BigEndian.AppendUint32([]byte{kind, 0, 1}, uint32(len(payload)))
	return append(append(f, payload...), 0xce)
}

func method(id uint32, args ...byte) frame {
	return makeFrame(MethodFrame, append(binary.BigEndian.AppendUint32(nil, id), args...))
}

// confirm is an ack or nack.
func confirm(id uint32, tag uint64, multiple bool) frame {
	args := binary.BigEndian.AppendUint64(nil, tag)
	if multiple {
		return method(id, append(args, 1)...)
	}
	return method(id, append(args, 0)...)
}

var hello = []byte("AMQP\x00\x00\x09\x01")

// dialWire returns a proxy and both ends of a connection through it, past the hello.
func dialWire(t *testing.T) (w *Wire, client, broker net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if w, err = newWire(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if client, err = net.Dial("tcp", w.Address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if broker, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	send(t, client, hello)
	receives(t, broker, hello)
	return w, client, broker
}

func send(t *testing.T, to net.Conn, frames ...[]byte) {
	t.Helper()
	if _, err := to.Write(slices.Concat(frames...)); err != nil {
		t.Fatal(err)
	}
}

// receives checks what comes next.
func receives(t *testing.T, at net.Conn, want ...[]byte) {
	t.Helper()
	all := slices.Concat(want...)
	got := make([]byte, len(all))
	at.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := io.ReadFull(at, got); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("received %x, %v; want %x", got[:n], err, all)
	}
}

// receivesNothing checks that nothing comes for a moment, not even the end.
func receivesNothing(t *testing.T, at net.Conn) {
	t.Helper()
	at.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := at.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("received %d bytes, %v; want nothing", n, err)
	}
}

func ends(t *testing.T, at net.Conn) {
	t.Helper()
	at.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := at.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("received %d bytes, %v; want the end", n, err)
	}
}

var (
	publishes = slices.Concat(method(basicPublish, 1, 2, 3), makeFrame(HeaderFrame, make([]byte, 14)), makeFrame(BodyFrame, []byte("it fires")))
	beat      = makeFrame(8, nil)
)

func TestWireHoldsConfirms(t *testing.T) {
	w, client, broker := dialWire(t)
	w.Hold()
	send(t, client, publishes, publishes, publishes, publishes)
	receives(t, broker, publishes, publishes, publishes, publishes)
	acks := [][]byte{confirm(basicAck, 2, true), confirm(basicNack, 4, false)}
	send(t, broker, acks[0], acks[1], beat)
	receives(t, client, beat) // all else passes
	if w.Held() != 3 || w.Published() != 4 {
		t.Errorf("%d of %d messages held back, want 3 of 4", w.Held(), w.Published())
	}
	if err := w.Pass(); err != nil {
		t.Fatal(err)
	}
	receives(t, client, acks...)
	last := confirm(basicAck, 3, false)
	send(t, broker, last)
	receivesNothing(t, client)
	if w.Held() != 1 {
		t.Errorf("%d messages held back, want the last", w.Held())
	}
	if err := w.Release(); err != nil {
		t.Fatal(err)
	}
	receives(t, client, last)
	send(t, broker, last, beat)
	receives(t, client, last, beat)
}

func TestWireCutsInAFrame(t *testing.T) {
	for _, tt := range []struct {
		frame       byte
		after, want int // bytes
	}{
		{MethodFrame, 1, 1},
		{HeaderFrame, 9, len(method(basicPublish, 1, 2, 3)) + 9},
		{BodyFrame, 1 << 20, len(publishes) - 1},
	} {
		w, client, broker := dialWire(t)
		w.CutIn(tt.frame, tt.after)
		send(t, client, method(10<<16|11, 1, 2), beat) // of no message
		receives(t, broker, method(10<<16|11, 1, 2), beat)
		send(t, client, publishes, publishes)
		receives(t, broker, publishes[:tt.want])
		ends(t, broker)
		ends(t, client)
		if w.Cuts() != 1 {
			t.Errorf("frame %d: %d cuts", tt.frame, w.Cuts())
		}
	}
}

func TestWireSilence(t *testing.T) {
	w, client, broker := dialWire(t)
	w.Silence()
	send(t, client, beat, publishes)
	send(t, broker, beat)
	receivesNothing(t, client)
	receivesNothing(t, broker)
	broker.Close()
	receivesNothing(t, client) // not even the end
	later, err := net.Dial("tcp", w.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	send(t, later, hello)
	receivesNothing(t, later)
	w.Heal()
	ends(t, client)
	ends(t, later)
	if w.Accepted() != 2 || w.Published() != 0 {
		t.Errorf("%d connections, %d messages published; want 2, and none", w.Accepted(), w.Published())
	}
}

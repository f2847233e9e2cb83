package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network, whose time may be that of a bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { close(p); return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// dial sends the beginning of a request, and returns its connection.
func (p pipes) dial(t *testing.T, request string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p <- server
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	return client
}

// A client that keeps its body back is given up, and an answer may take as long as it will,
// whether there was a body or not.
func TestSlowRequestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, ended := make(pipes), make(chan error)
		ends := make(chan string, 1)
		go func() {
			ended <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				began := time.Now()
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					ends <- fmt.Sprintf("after %s: %v", time.Since(began), err)
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(time.Hour):
				}
				fmt.Fprintf(w, "after %s", time.Since(began))
			}))
		}()
		l.dial(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{")
		if why := <-ends; !strings.HasPrefix(why, "after 30s: ") {
			t.Errorf("a body that is not sent ends %s", why)
		}
		for _, request := range []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			res, err := http.ReadResponse(bufio.NewReader(l.dial(t, request)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(res.Body); string(body) != "after 1h0m0s" {
				t.Errorf("%.4s: the answer came %s, want an hour", request, body)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

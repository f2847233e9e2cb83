package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What is wrong with certificates comes with what to do about it, and stays what it was.
func TestAdvice(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"unknown server", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "amqp.tls.ca_file"},
		{"unknown client, TLS 1.3", &amqp.Error{Code: amqp.FrameError, Reason: "remote error: tls: unknown certificate authority"}, "amqp.tls.cert_file"},
		{"no client certificate, TLS 1.2", &net.OpError{Op: "remote error", Err: tls.AlertError(116)}, "amqp.tls.cert_file"},
		{"another reason", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := advise(tt.err)
			if !errors.Is(got, tt.err) || !strings.Contains(got.Error(), tt.want) || tt.want == "" && got != tt.err {
				t.Errorf("%v, want %v and advice on %q", got, tt.err, tt.want)
			}
		})
	}
}

// A broker that takes the connection and says nothing holds up nobody who is to end.
func TestDialEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{URL: "amqp://" + l.Addr().String()}
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.ReadFull(conn, make([]byte, 8))
		}
		if err != nil {
			t.Error(err)
		}
		cancel() // it waits for an answer
		<-t.Context().Done()
	}()
	began := time.Now()
	if _, err := c.dial(ctx); err == nil || time.Since(began) > dialTimeout/2 {
		t.Errorf("%v after %v, want an error at once", err, time.Since(began))
	}
}

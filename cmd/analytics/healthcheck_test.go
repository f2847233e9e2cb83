package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func healthcheck(t *testing.T, listen string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	env := environment{&out, &out, []string{"ANALYTICS_HTTP_LISTEN=" + listen, "ANALYTICS_INSTANCE=a"}}
	err := run(t.Context(), env, append([]string{"healthcheck"}, args...))
	return out.String(), err
}

func TestHealthcheck(t *testing.T) {
	status, body := http.StatusOK, `{"ready":true}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	_, port, _ := strings.Cut(address, ":")
	for _, listen := range []string{address, "0.0.0.0:" + port, ":" + port} {
		if out, err := healthcheck(t, listen); err != nil || out != "ready\n" {
			t.Errorf("%s: %q, %v, want that it is ready", listen, out, err)
		}
	}
	status, body = http.StatusServiceUnavailable, `{"ready":false,"missing":["kafka: not reached yet","rules: starting"]}`
	if _, err := healthcheck(t, address); err == nil || err.Error() != "not ready: kafka: not reached yet; rules: starting" {
		t.Errorf("error is %v, want what is missing", err)
	}
	body = "no JSON"
	if _, err := healthcheck(t, address); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") {
		t.Errorf("error is %v, want the status", err)
	}
	s.Close()
	if _, err := healthcheck(t, address); err == nil || !strings.Contains(err.Error(), "it does not answer") {
		t.Errorf("error is %v, want that nobody answers", err)
	}
}

// An instance that takes the question and says nothing is not healthy.
func TestHealthcheckOfSilence(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer s.Close()
	defer close(end)
	_, err := healthcheck(t, strings.TrimPrefix(s.URL, "http://"), "--timeout", "50ms")
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("error is %v, want that the time is over", err)
	}
}

func TestOwnAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", "0.0.0.0:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080",
		"[::]:8080": "[::1]:8080", "10.0.0.7:80": "10.0.0.7:80", "": "", "127.0.0.1:0": "",
	} {
		if got, err := ownAddress(listen); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is reached at %q, %v, want %q", listen, got, err, want)
		}
	}
}

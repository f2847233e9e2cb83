package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/api"
	"ragstreams/alerts/silences"
)

func TestSilence(t *testing.T) {
	book := silences.NewBook()
	server := httptest.NewServer(api.Handler(api.Options{
		Alerts: func() map[string]*alerts.Row { return nil }, Silences: book, Missing: func() string { return "" }, Now: time.Now,
		Save: func(_ context.Context, changes []silences.Change) error {
			for _, c := range changes {
				if err := book.Update(c.Key, c.Append(nil)); err != nil {
					return err
				}
			}
			return nil
		},
	}))
	defer server.Close()
	analytics := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), environment{&out, &out, nil}, append([]string{"silence"}, args...))
		return out.String(), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := analytics(args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	id := strings.TrimSpace(must("add", "tenant=acme", "--url", server.URL+"/", `alertname=~"Slow.*"`, "--for", "2h", "--by", "ana", "--comment", "deploy of the index"))
	s := book.Get(id)
	if s == nil || s.Matchers.String() != `{alertname=~"Slow.*",tenant="acme"}` || s.Ends.Sub(s.Starts) < 2*time.Hour-time.Minute || s.State(time.Now()) != silences.Active {
		t.Fatalf("%s: silence %+v", id, s)
	}
	start := time.Now().Add(time.Hour).Truncate(time.Second)
	later := strings.TrimSpace(must("add", "--url", server.URL, "--start", start.Format(time.RFC3339), "--by", "ana", "--comment", "night", "tenant=acme"))
	if s := book.Get(later); !s.Starts.Equal(start) || !s.Ends.Equal(start.Add(time.Hour)) {
		t.Errorf("silence %+v, want it at %s", s, start)
	}
	if out := must("list", "--url", server.URL); !strings.Contains(out, id+"  active") || !strings.Contains(out, later+"  pending") || !strings.Contains(out, "created by ana: deploy of the index") {
		t.Errorf("list:\n%s", out)
	}
	must("expire", "--url", server.URL, "--by", "ben", "--comment", "done", id, later)
	if out := must("list", "--url", server.URL); strings.Contains(out, id) {
		t.Errorf("what is over is listed:\n%s", out)
	}
	if out := must("list", "--all", "--url", server.URL); !strings.Contains(out, id+"  expired") || !strings.Contains(out, "expired by ben: done") {
		t.Errorf("list of all:\n%s", out)
	}
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	for want, args := range map[string][]string{
		"want add, list or expire":   {"drop"},
		"name=~regex":                {"add", "--url", server.URL, "tenant"},
		"say why":                    {"add", "--url", server.URL, "--by", "ana", "tenant=acme"},
		"say which alerts":           {"add", "--url", server.URL, "--by", "ana", "--comment", "x"},
		"start is \"noon\"":          {"add", "--url", server.URL, "--start", "noon", "tenant=acme"},
		"no silence is named":        {"expire", "--url", server.URL},
		"no silence x":               {"expire", "--url", server.URL, "x"},
		"the silence is over":        {"expire", "--url", server.URL, id},
		"404 page not found":         {"list", "--url", elsewhere.URL},
		"is --url right?":            {"list", "--url", "http://127.0.0.1:1"},
		"want the address":           {"list", "--url", "http://[::1"},
		"takes no arguments, but":    {"list", "--url", server.URL, "x"},
		"flag provided but not defi": {"add", "--ur", "x"},
	} {
		if out, err := analytics(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q\n%s", args, err, want, out)
		}
	}
}

// Package api serves traces over HTTP:
//
//	GET /api/traces/{trace_id}  all events of a trace, in steps, and what was searched for them
//
// It takes at= (a place such as rag-traces/0@17, or a time, near which the trace lies),
// margin= (how long nothing of it may come) and after= (the next of an answer, to search what
// is older).
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/traces"
)

// Options says what is served. All functions are required.
type Options struct {
	Finder *traces.Finder
	// Hint returns what tables know of a trace: where an event of it lies, or when it was.
	Hint    func(id string) (at *traces.Place, around time.Time)
	Content bool // answers show what records hold, which may be personal
}

// Bounds of what one instance does for those who ask: a search reads as fast as it can.
const (
	maxSearches   = 4 // at once
	searchTimeout = 40 * time.Second
)

// Handler serves the path of the package.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	searching := make(chan struct{}, maxSearches)
	mux.HandleFunc("GET /api/traces/{trace_id}", func(w http.ResponseWriter, r *http.Request) {
		select {
		case searching <- struct{}{}:
			defer func() { <-searching }()
		default:
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d searches for traces run on this instance", maxSearches), "try again when one has ended, or use analytics trace")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), searchTimeout)
		defer cancel()
		o.trace(w, r.WithContext(ctx))
	})
	mux.HandleFunc("/api/traces/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			fail(w, http.StatusMethodNotAllowed, r.Method+" is not offered", "use GET")
			return
		}
		fail(w, http.StatusNotFound, fmt.Sprintf("there is nothing at %s", r.URL.Path), "give a trace id: /api/traces/{trace_id}")
	})
	return mux
}

func (o Options) trace(w http.ResponseWriter, r *http.Request) {
	ask := traces.Ask{ID: r.PathValue("trace_id"), Content: o.Content}
	err := traces.CheckID(ask.ID)
	if err == nil {
		err = parse(&ask, r.URL.Query())
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error(), "parameters are at, margin and after; see README.md")
		return
	}
	if ask.At == nil && ask.Around.IsZero() && ask.Below == nil {
		ask.At, ask.Around = o.Hint(ask.ID)
	}
	found, err := o.Finder.Find(r.Context(), ask)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusGatewayTimeout, err.Error(), "give at, a time near which the trace was")
	case err != nil:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, err.Error(), "see /readyz, and try again")
	case len(found.Events) == 0:
		missing := struct {
			problem
			*Answer
		}{problem{fmt.Sprintf("there is no event of trace %s in what was searched", ask.ID), "the sources keep events for a time; "}, NewAnswer(ask.ID, found)}
		missing.Hint += "all of what they have was searched"
		if found.Next != nil {
			missing.Hint = "search what is older, with search.next as after, or give at, a time near which it was"
		}
		answer(w, http.StatusNotFound, missing)
	default:
		answer(w, http.StatusOK, NewAnswer(ask.ID, found))
	}
}

// parse reads the parameters of a request.
func parse(ask *traces.Ask, q url.Values) (err error) {
	for name, values := range q {
		switch {
		case !slices.Contains([]string{"at", "margin", "after"}, name):
			return fmt.Errorf("unknown parameter %q", name)
		case len(values) > 1:
			return fmt.Errorf("%s is given %d times: give it once", name, len(values))
		}
	}
	return Parse(ask, q.Get("at"), q.Get("margin"), q.Get("after"))
}

// Parse reads what a request, or a command, says of where to look.
func Parse(ask *traces.Ask, at, margin, after string) (err error) {
	if at != "" {
		if place, ok := parsePlace(at); ok {
			ask.At = &place
		} else if ask.Around, err = parseTime(at); err != nil {
			return err
		}
	}
	if margin != "" {
		if ask.Margin, err = time.ParseDuration(margin); err != nil || ask.Margin <= 0 || ask.Margin > 24*time.Hour {
			return fmt.Errorf("margin is %q: give a duration such as 2m, up to 24h", margin)
		}
	}
	if after != "" {
		ask.Below, err = ParseCursor(after)
	}
	return err
}

// parsePlace reads a place such as rag-traces/0@17.
func parsePlace(text string) (traces.Place, bool) {
	rest, offset, found1 := cutLast(text, "@")
	topic, partition, found2 := cutLast(rest, "/")
	o, err1 := strconv.ParseInt(offset, 10, 64)
	p, err2 := strconv.ParseInt(partition, 10, 32)
	ok := found1 && found2 && topic != "" && err1 == nil && err2 == nil && o >= 0 && p >= 0
	return traces.Place{Topic: topic, Partition: int32(p), Offset: o}, ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// parseTime reads a time as RFC 3339 or Unix seconds.
func parseTime(text string) (time.Time, error) {
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e11 {
		return time.UnixMilli(int64(math.Round(s * 1000))), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("at is %q: give a place such as rag-traces/0@17, a time such as 2026-01-02T15:04:05Z, or Unix seconds", text)
	}
	return t, nil
}

// problem is the body of every error.
type problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

func fail(w http.ResponseWriter, code int, text, hint string) { answer(w, code, problem{text, hint}) }

func answer(w http.ResponseWriter, code int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic("BUG: an answer has no JSON form: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write(append(data, '\n'))
}

// Package api serves traces over HTTP:
//
//	GET /api/traces/{trace_id}  all events of a trace, in steps, and what was searched for them
//
// It takes at= (a place such as rag-traces/0@17, or a time, near which the trace lies),
// margin= (how long nothing of it may come) and after= (the next of an answer, to search what
// is older).
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"ragstreams/event"
	"ragstreams/internal/answers"
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
			answers.Fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d searches for traces run on this instance", maxSearches), "try again when one has ended, or use analytics trace")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), searchTimeout)
		defer cancel()
		o.trace(w, r.WithContext(ctx))
	})
	mux.HandleFunc("/api/traces/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			answers.Fail(w, http.StatusMethodNotAllowed, r.Method+" is not offered", "use GET")
			return
		}
		answers.Fail(w, http.StatusNotFound, fmt.Sprintf("there is nothing at %s", r.URL.Path), "give a trace id: /api/traces/{trace_id}")
	})
	return mux
}

func (o Options) trace(w http.ResponseWriter, r *http.Request) {
	ask, err := o.parse(r)
	if err != nil {
		answers.Fail(w, http.StatusBadRequest, err.Error(), paramsHint)
		return
	}
	if ask.At == nil && ask.Around.IsZero() && ask.Below == nil {
		ask.At, ask.Around = o.Hint(ask.ID)
		if ask.At != nil && !slices.Contains(o.Finder.Log.Topics(), ask.At.Topic) {
			ask.At = nil // it was one of the sources
		}
	}
	found, err := o.Finder.Find(r.Context(), ask)
	if other := (traces.NotSource{}); errors.As(err, &other) {
		answers.Fail(w, http.StatusBadRequest, err.Error(), paramsHint)
		return
	}
	if err == nil && len(found.Events) > 0 {
		answers.Write(w, http.StatusOK, NewAnswer(ask.ID, found))
		return
	}
	code, about := http.StatusNotFound, answers.Problem{
		Error: fmt.Sprintf("there is no event of trace %s in what was searched", ask.ID),
		Hint:  "the sources keep events for a time; ",
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code, about = http.StatusGatewayTimeout, answers.Problem{Error: err.Error()}
	case err != nil:
		w.Header().Set("Retry-After", "1")
		code, about = http.StatusServiceUnavailable, answers.Problem{Error: err.Error(), Hint: "see /readyz, and try again; "}
	}
	switch {
	case len(found.Events) > 0:
		about.Hint += "the rest lies around " + found.Events[0].Place.String() + ": give that as at"
	case found.Next != nil:
		about.Hint += "search on, with search.next as after, or give at, a time near which it was"
	case err != nil:
		about.Hint += "give at, a time near which it was"
	case found.Stopped == traces.StoppedBudget:
		about.Hint += "not all around at was searched: give a smaller margin"
	case found.Held:
		about.Hint += "all of what they have was searched, but not what lies behind an open transaction: try again when it has ended"
	default:
		about.Hint += "all of what they have was searched"
	}
	answers.Write(w, code, struct {
		answers.Problem
		*Answer
	}{about, NewAnswer(ask.ID, found)})
}

// paramsHint tells what may be asked.
const paramsHint = "parameters are at, a place or a time near which the trace was; margin, how long nothing of it may come, such as 2m; after, the next of an answer before"

// parse reads a request.
func (o Options) parse(r *http.Request) (ask traces.Ask, err error) {
	ask = traces.Ask{ID: r.PathValue("trace_id"), Content: o.Content}
	q, err := answers.Query(r)
	if err := cmp.Or(traces.CheckID(ask.ID), err); err != nil {
		return ask, err
	}
	for name, values := range q {
		switch {
		case !slices.Contains([]string{"at", "margin", "after"}, name):
			return ask, fmt.Errorf("unknown parameter %q", name)
		case len(values) > 1:
			return ask, fmt.Errorf("%s is given %d times: give it once", name, len(values))
		}
	}
	return ask, Parse(&ask, q.Get("at"), q.Get("margin"), q.Get("after"))
}

// Parse reads what a request, or a command, says of where to look.
func Parse(ask *traces.Ask, at, margin, after string) (err error) {
	if at != "" {
		if place, bad := event.ParsePlace(at); bad == nil {
			ask.At = &place
		} else if ask.Around, err = answers.ParseTime(at); err != nil {
			return fmt.Errorf("at is %q: give a place such as rag-traces/0@17, a time such as 2026-01-02T15:04:05Z, or Unix seconds", at)
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

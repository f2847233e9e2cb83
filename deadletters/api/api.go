// Package api serves the dead letters and the late records over HTTP:
//
//	GET  /api/dlq                       what lies there, what came last first; no values
//	GET  /api/dlq/{partition}/{offset}  one of them, with its value if Options say so
//	POST /api/dlq/replay                sends originals to their source topics once more
//
// The first takes reason=, source_topic=, from=, to= (when it came there), limit= and cursor=,
// all take topic=late for the late records. What a replay is asked for is its body; see
// Wish. Its answer, and that of the list, has columns and rows, as tables have.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ragstreams/deadletters"
	"ragstreams/internal/answers"
)

// Options says what is served. Open and the names are required.
type Options struct {
	// Open returns a box for one request, which is closed with it.
	Open      func() (box *deadletters.Box, close func(), err error)
	DLQ, Late string // names of the topics
	Content   bool   // answers show what records hold, which may be personal
}

// Bounds of requests and answers.
const (
	defaultLimit  = 100  // of a list
	maxLimit      = 1000 // likewise
	defaultReplay = 1000 // letters of one request
	maxReplay     = 10_000
	maxBody       = 2 << 20
)

// Handler serves the paths of the package.
func Handler(o Options) http.Handler {
	s := &server{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/dlq", s.list)
	mux.HandleFunc("GET /api/dlq/{partition}/{offset}", s.show)
	mux.HandleFunc("POST /api/dlq/replay", s.replay)
	only := func(method string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			answers.Fail(w, http.StatusMethodNotAllowed, r.Method+" is not offered", "use "+method)
		}
	}
	mux.HandleFunc("/api/dlq", only(http.MethodGet))
	mux.HandleFunc("/api/dlq/replay", only(http.MethodPost))
	mux.HandleFunc("/api/dlq/{partition}/{offset}", only(http.MethodGet))
	mux.HandleFunc("/api/dlq/", func(w http.ResponseWriter, r *http.Request) {
		answers.Fail(w, http.StatusNotFound, fmt.Sprintf("there is nothing at %s", r.URL.Path), "see /api/dlq, /api/dlq/{partition}/{offset} and /api/dlq/replay")
	})
	return mux
}

type server struct {
	Options
	replaying sync.Mutex // held by the one that runs
}

// topic returns the topic of a name.
func (s *server) topic(name string) (string, error) {
	switch name {
	case "", "dlq":
		return s.DLQ, nil
	case "late":
		return s.Late, nil
	}
	return "", badParam{fmt.Sprintf("topic is %q", name), "give dlq or late"}
}

// badParam is a parameter that cannot be used.
type badParam struct{ text, hint string }

func (e badParam) Error() string { return e.text }

// with runs a request with a box and answers with its error, if there is one.
func (s *server) with(w http.ResponseWriter, serve func(box *deadletters.Box) error) {
	box, done, err := s.Open()
	if err == nil {
		defer done()
		err = serve(box)
	}
	if err != nil {
		fail(w, err)
	}
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	var bad badParam
	var wish deadletters.BadWish
	switch {
	case errors.As(err, &bad):
		answers.Fail(w, http.StatusBadRequest, bad.text, bad.hint)
	case errors.As(err, &wish):
		answers.Fail(w, http.StatusBadRequest, err.Error(), "see docs/operations.md, \"Dead letters and late records\"")
	case errors.Is(err, deadletters.ErrNone):
		answers.Fail(w, http.StatusNotFound, err.Error(), "GET /api/dlq lists them")
	default:
		w.Header().Set("Retry-After", "1")
		answers.Fail(w, http.StatusServiceUnavailable, err.Error(), "try again in a second; see /readyz")
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	s.with(w, func(box *deadletters.Box) error {
		q, err := answers.Query(r)
		if err != nil {
			return badParam{err.Error(), answers.HowToEscape}
		}
		if err := known(q, "topic", "reason", "source_topic", "from", "to", "limit", "cursor"); err != nil {
			return err
		}
		topic, err := s.topic(q.Get("topic"))
		if err != nil {
			return err
		}
		f, err := filter(q.Get("reason"), q.Get("source_topic"), q.Get("from"), q.Get("to"))
		if err != nil {
			return err
		}
		limit, err := count("limit", q.Get("limit"), defaultLimit, maxLimit)
		if err != nil {
			return err
		}
		left, err := cursor(q.Get("cursor"))
		if err != nil {
			return err
		}
		entries, next, err := box.List(r.Context(), topic, f, left, limit)
		if err != nil {
			return err
		}
		list := NewList(topic, entries, next)
		if !s.Content {
			list.hide()
		}
		answers.Write(w, http.StatusOK, list)
		return nil
	})
}

// known refuses parameters that are mistyped.
func known(q url.Values, names ...string) error {
	for name, values := range q {
		if !slices.Contains(names, name) {
			return badParam{fmt.Sprintf("unknown parameter %q", name), "parameters are " + strings.Join(names, ", ")}
		}
		if len(values) > 1 {
			return badParam{fmt.Sprintf("%s is given %d times", name, len(values)), "give it once"}
		}
	}
	return nil
}

func filter(reason, source, from, to string) (f deadletters.Filter, err error) {
	f.Reason, f.SourceTopic = reason, source
	if f.Since, err = instant("from", from); err != nil {
		return f, err
	}
	if f.Until, err = instant("to", to); err != nil {
		return f, err
	}
	if !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, badParam{"to is not after from", "the range from from, inclusive, to to, exclusive, is empty"}
	}
	return f, nil
}

// instant reads a time; zero when there is none.
func instant(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := answers.ParseTime(text)
	if err != nil {
		return t, badParam{fmt.Sprintf("%s is %q", name, text), "give a time such as 2026-01-02T15:04:05Z, or Unix seconds"}
	}
	return t, nil
}

func count(name, text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badParam{fmt.Sprintf("%s is %q", name, text), fmt.Sprintf("give a number from 1 to %d", most)}
	}
	return n, nil
}

func cursor(text string) (deadletters.Spans, error) {
	if text == "" {
		return nil, nil
	}
	spans, err := deadletters.ParseSpans(text)
	if err != nil {
		return nil, badParam{err.Error(), "give the next of the answer before"}
	}
	return spans, nil
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	s.with(w, func(box *deadletters.Box) error {
		q, err := answers.Query(r)
		if err != nil {
			return badParam{err.Error(), answers.HowToEscape}
		}
		if err := known(q, "topic"); err != nil {
			return err
		}
		topic, err := s.topic(q.Get("topic"))
		if err != nil {
			return err
		}
		partition, err1 := strconv.ParseInt(r.PathValue("partition"), 10, 32)
		offset, err2 := strconv.ParseInt(r.PathValue("offset"), 10, 64)
		if errors.Join(err1, err2) != nil || partition < 0 || offset < 0 {
			return badParam{fmt.Sprintf("%s/%s is no place of a record", r.PathValue("partition"), r.PathValue("offset")), "give two numbers, a partition and an offset"}
		}
		shown, err := box.Show(r.Context(), topic, deadletters.At{Partition: int32(partition), Offset: offset})
		if err != nil {
			return err
		}
		one := NewShown(shown)
		if !s.Content {
			one.hide()
		}
		answers.Write(w, http.StatusOK, one)
		return nil
	})
}

// Wish is the body of a request for a replay. Without partition and offset it is about all
// that match the filter, as in a list.
type Wish struct {
	Topic       string `json:"topic,omitempty"` // dlq or late
	Reason      string `json:"reason,omitempty"`
	SourceTopic string `json:"source_topic,omitempty"`
	From        string `json:"from,omitempty"`
	To          string `json:"to,omitempty"`
	Partition   *int32 `json:"partition,omitempty"`
	Offset      *int64 `json:"offset,omitempty"`
	Limit       int    `json:"limit,omitempty"`
	Cursor      string `json:"cursor,omitempty"` // next of the answer before, with its replay
	Replay      string `json:"replay,omitempty"` // id; "": a new one
	By          string `json:"by,omitempty"`     // who wants it
	DryRun      bool   `json:"dry_run,omitempty"`
	Force       bool   `json:"force,omitempty"`
	// Value, or ValueBase64, is sent instead of the original's.
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// body reads what a request says, which is one object and nothing else: what is mistyped
// must not send.
func body(w http.ResponseWriter, r *http.Request) (*Wish, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, badParam{"read the body: " + err.Error(), fmt.Sprintf("send it at once, and at most %d bytes; `analytics dlq replay --value-file` sends larger values", maxBody)}
	}
	var in *Wish // stays nil with null
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(&in)
	if err == nil && in == nil {
		err = errors.New("it is null")
	}
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = errors.New("there is something behind the object")
	}
	if err != nil {
		return nil, badParam{"read the body: " + err.Error(), `give a JSON object such as {"reason":"too_large","by":"ana","dry_run":true}`}
	}
	return in, nil
}

// wish reads and understands a request.
func (s *server) wish(w http.ResponseWriter, r *http.Request) (out deadletters.Wish, err error) {
	in, err := body(w, r)
	if err != nil {
		return out, err
	}
	if out.Topic, err = s.topic(in.Topic); err != nil {
		return out, err
	}
	if out.Filter, err = filter(in.Reason, in.SourceTopic, in.From, in.To); err != nil {
		return out, err
	}
	if (in.Partition == nil) != (in.Offset == nil) {
		return out, badParam{"partition and offset go together", "give both for one record, or neither"}
	}
	if in.Partition != nil {
		out.At = &deadletters.At{Partition: *in.Partition, Offset: *in.Offset}
	}
	if in.Limit < 0 || in.Limit > maxReplay {
		return out, badParam{fmt.Sprintf("limit is %d", in.Limit), fmt.Sprintf("give a number from 1 to %d; cursor goes on from there", maxReplay)}
	}
	out.Limit = cmp.Or(in.Limit, defaultReplay)
	if out.Left, err = cursor(in.Cursor); err != nil {
		return out, err
	}
	switch {
	case in.Value != nil && in.ValueBase64 != nil:
		return out, badParam{"value and value_base64 are both given", "give one of them"}
	case in.Value != nil:
		out.Value, out.Mended = []byte(*in.Value), true
	case in.ValueBase64 != nil:
		out.Value, out.Mended = in.ValueBase64, true
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	out.ID, out.By, out.DryRun, out.Force = in.Replay, cmp.Or(in.By, "someone at "+host), in.DryRun, in.Force
	return out, nil
}

func (s *server) replay(w http.ResponseWriter, r *http.Request) {
	// A page of another site can send a form, but not this type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answers.Fail(w, http.StatusUnsupportedMediaType, "the body is no JSON", "want Content-Type: application/json")
		return
	}
	// Whoever is slow to say what it wants keeps nobody else waiting.
	wish, err := s.wish(w, r)
	if err != nil {
		fail(w, err)
		return
	}
	if !s.replaying.TryLock() {
		answers.Fail(w, http.StatusConflict, "another replay runs on this instance", "try again when it has ended")
		return
	}
	defer s.replaying.Unlock()
	s.with(w, func(box *deadletters.Box) error { return s.run(r.Context(), w, box, wish) })
}

func (s *server) run(ctx context.Context, w http.ResponseWriter, box *deadletters.Box, wish deadletters.Wish) error {
	var outcomes []deadletters.Outcome
	result, err := box.Replay(ctx, wish, func(o deadletters.Outcome) { outcomes = append(outcomes, o) })
	if result == nil || errors.Is(err, deadletters.ErrNone) {
		return err
	}
	body := NewResult(wish.Topic, result, outcomes)
	if !s.Content {
		body.hide()
	}
	switch {
	case err != nil:
		body.Problem = &answers.Problem{Error: err.Error(), Hint: "what was done until then is told here: go on with this replay and its next as cursor"}
		answers.Write(w, http.StatusBadGateway, body)
	case wish.At != nil && result.Failures() > 0:
		answers.Fail(w, statusOf(outcomes[0].Verdict), outcomes[0].Why, "nothing was sent: mend the cause, or give the value to send")
	default:
		answers.Write(w, http.StatusOK, body)
	}
	return nil
}

// statusOf returns how a request for one record ends that failed.
func statusOf(v deadletters.Verdict) int {
	switch v {
	case deadletters.OriginGone:
		return http.StatusGone
	case deadletters.SendFailed:
		return http.StatusBadGateway
	}
	return http.StatusConflict
}

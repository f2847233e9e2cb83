package queries

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ragstreams/internal/answers"
)

// Bounds of a Stream.
const (
	streamEvery   = time.Second // between two looks at a path
	maxStreams    = 64          // at once; each asks its paths once a second
	maxPaths      = 16          // of a stream
	streamTimeout = 10 * time.Second
)

// followed are the paths that a Stream takes: answers in JSON that cost little.
var followed = []string{"/api/tables", "/api/tables/{table}", "/api/v2/alerts", "/api/v2/alerts/groups", "/readyz"}

// follows reports what a Stream cannot follow: it would stay open and say nothing.
func follows(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return badParam{fmt.Sprintf("path is %q: %v", address, err), answers.HowToEscape}
	}
	table, ofTable := strings.CutPrefix(u.Path, "/api/tables/")
	ofTable = ofTable && !strings.Contains(table, "/") && path.Clean(u.Path) == u.Path // it is no ..
	switch {
	case u.Scheme != "" || u.Host != "" || !ofTable && !slices.Contains(followed, u.Path):
		return badParam{fmt.Sprintf("path is %q", address), "paths are " + strings.Join(followed, ", ") + ", with parameters or without"}
	case ofTable && u.Query().Get("format") == "csv":
		return badParam{fmt.Sprintf("path is %q", address), "leave format out: a stream tells JSON"}
	}
	return nil
}

// Stream returns what follows answers of get, as server-sent events (the HTML standard's
// "Server-sent events"). Each parameter path is what one would GET, its query included:
//
//	GET /api/stream?path=%2Fapi%2Ftables%2Ftraffic%3Fwindow%3D5m&path=%2Freadyz
//
//	event: update
//	data: {"path":"/api/tables/traffic?window=5m","status":200,"body":{…}}
//
// All paths are asked at once and then every second, and an update is sent when an answer
// is another one than before. A stream ends with the request's context, and when its client
// takes nothing for ten seconds.
func Stream(get http.Handler) http.Handler {
	var open atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values, err := answers.Query(r)
		if err != nil {
			answers.Fail(w, http.StatusBadRequest, err.Error(), answers.HowToEscape)
			return
		}
		paths := values["path"]
		if len(paths) == 0 || len(paths) > maxPaths {
			answers.Fail(w, http.StatusBadRequest, fmt.Sprintf("%d paths are given", len(paths)), fmt.Sprintf("give 1 to %d, such as path=%%2Fapi%%2Ftables%%2Ftraffic", maxPaths))
			return
		}
		for _, path := range paths {
			if err := follows(path); err != nil {
				refuse(w, err)
				return
			}
		}
		if open.Add(1) > maxStreams {
			open.Add(-1)
			w.Header().Set("Retry-After", "10")
			answers.Fail(w, http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open", maxStreams), "try again when one has ended, or ask another instance")
			return
		}
		defer open.Add(-1)
		s := &stream{ResponseWriter: w, to: http.NewResponseController(w), request: r, get: get, sent: map[string][]byte{}}
		s.run(paths)
	})
}

// stream is one that is open.
type stream struct {
	http.ResponseWriter
	to      *http.ResponseController
	request *http.Request
	get     http.Handler
	sent    map[string][]byte // the newest update, by path
}

func (s *stream) run(paths []string) {
	h := s.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // or proxies keep it back
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for {
		for _, path := range paths {
			if s.request.Context().Err() != nil || s.update(path) != nil {
				return
			}
		}
		// A comment tells that the server is there, and finds out whether the client is.
		if s.send(":\n\n") != nil {
			return
		}
		select {
		case <-s.request.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// update sends what a path answers, if that is new.
func (s *stream) update(path string) error {
	r, err := http.NewRequestWithContext(s.request.Context(), http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	a := &recorded{header: http.Header{}, code: http.StatusOK}
	s.get.ServeHTTP(a, r)
	if !json.Valid(a.body.Bytes()) {
		return nil
	}
	data, err := json.Marshal(struct {
		Path   string          `json:"path"`
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body"` // without its line breaks
	}{path, a.code, a.body.Bytes()})
	if err != nil || bytes.Equal(data, s.sent[path]) {
		return err
	}
	s.sent[path] = data
	return s.send("event: update\ndata: " + string(data) + "\n\n")
}

// send writes what a client must take within streamTimeout. A writer without deadlines
// does what it can.
func (s *stream) send(text string) error {
	_ = s.to.SetWriteDeadline(time.Now().Add(streamTimeout))
	if _, err := s.Write([]byte(text)); err != nil {
		return err
	}
	return s.to.Flush()
}

// recorded is an answer.
type recorded struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *recorded) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *recorded) WriteHeader(code int) { a.code = code }

// Write implements http.ResponseWriter.
func (a *recorded) Write(b []byte) (int, error) { return a.body.Write(b) }

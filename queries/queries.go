// Package queries answers over HTTP: the tables, the health of the program, and
// the console page. It reads views, knows no Kafka, and writes nothing.
package queries

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"ragstreams/internal/answers"
)

//go:embed console
var console embed.FS

// Options says what is served.
type Options struct {
	Tables []Table
	// Now is the clock that lag is measured with.
	Now func() time.Time
	// Missing lists what keeps the program from being ready, Notes what is worth
	// knowing though it is ready.
	Missing func() []string
	Notes   func() []string
}

// Handler serves the console at / and /traces/{trace_id}, /api/tables, /healthz and /readyz.
func Handler(o Options) http.Handler {
	files, err := fs.Sub(console, "console")
	if err != nil {
		panic("BUG: the console is not embedded: " + err.Error())
	}
	api := tableAPI{o}
	mux := http.NewServeMux()
	mux.Handle("/", security(http.FileServerFS(unlisted{files})))
	mux.Handle("GET /traces/{trace_id}", security(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "trace.html")
	})))
	mux.HandleFunc("GET /api/tables", api.list)
	mux.HandleFunc("GET /api/tables/{table}", api.table)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			answers.Fail(w, http.StatusMethodNotAllowed, r.Method+" is not offered", "use GET")
			return
		}
		answers.Fail(w, http.StatusNotFound, fmt.Sprintf("there is nothing at %s", r.URL.Path), "see /api/tables")
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", o.ready)
	return mux
}

// unlisted is a file system without its folders, of which FileServerFS would list the files.
// The topmost stays: it has an index.
type unlisted struct{ fs.FS }

// Open implements fs.FS.
func (u unlisted) Open(name string) (fs.File, error) {
	if info, err := fs.Stat(u.FS, name); err == nil && info.IsDir() && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return u.FS.Open(name)
}

// security keeps the console to its own files.
func security(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool               `json:"ready"`
	Missing []string           `json:"missing"`
	Notes   []string           `json:"notes"`
	Restore map[string]float64 `json:"restore_progress"` // by table, 0 to 1
}

func (o Options) ready(w http.ResponseWriter, _ *http.Request) {
	r := readiness{Missing: append([]string{}, o.Missing()...), Notes: append([]string{}, o.Notes()...), Restore: map[string]float64{}}
	for _, t := range o.Tables {
		progress, missing := t.Recovery()
		r.Restore[t.Definition().Name] = progress
		if missing != "" {
			r.Missing = append(r.Missing, "table "+t.Definition().Name+": "+missing)
		}
	}
	r.Ready = len(r.Missing) == 0
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	answers.Write(w, code, r)
}

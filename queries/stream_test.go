package queries_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/queries"
	"ragstreams/tables"
)

// update is one that came by a stream.
type update struct {
	Path   string
	Status int
	Body   answer
}

// follow opens a stream and returns what reads its next update.
func follow(t *testing.T, ctx context.Context, server *httptest.Server, paths ...string) func() (update, bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/stream?"+url.Values{"path": paths}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (u update, ok bool) {
		for lines.Scan() {
			data, is := strings.CutPrefix(lines.Text(), "data: ")
			if !is {
				continue
			}
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			return u, true
		}
		return u, false
	}
}

func TestStreamFollowsAnswers(t *testing.T) {
	a := full(t)
	mux := http.NewServeMux()
	mux.Handle("/", a.handler)
	mux.Handle("GET /api/stream", queries.Stream(mux))
	server := httptest.NewServer(mux)
	defer server.Close()
	const table, ready, bad = "/api/tables/traffic?tenant=acme&window=20s", "/readyz", "/api/tables/traffic?tenat=acme"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := follow(t, ctx, server, table, ready, bad)
	got := map[string]update{}
	for range 3 {
		u, _ := next()
		got[u.Path] = u
	}
	if u := got[table]; u.Status != 200 || len(u.Body.Rows) != 1 || u.Body.Rows[0]["count"] != 10.0 {
		t.Errorf("the table is %+v", u)
	}
	if u := got[bad]; u.Status != 400 || !strings.Contains(u.Body.Error, "tenat") {
		t.Errorf("a bad request is %+v", u)
	}
	if got[ready].Status != 200 {
		t.Errorf("readiness is %+v", got[ready])
	}
	a.row(4, "acme", "kotaemon", "user_query", tables.Traffic{Count: 100, Errors: 1}, pane(0, 6, 3), pane(10*time.Second, 5, 0))
	if u, _ := next(); u.Path != table || u.Body.Rows[0]["count"] != 11.0 {
		t.Errorf("the next update is %+v, want that of the table, and nothing of what stays as it is", u)
	}
	cancel()
	if u, more := next(); more {
		t.Errorf("after its end comes %+v", u)
	}
}

// client takes what a stream writes, until it is gone.
type client struct {
	*httptest.ResponseRecorder
	gone     time.Time
	deadline time.Time // of the newest write
}

func (c *client) SetWriteDeadline(at time.Time) error {
	c.deadline = at
	return nil
}

func (c *client) Write(b []byte) (int, error) {
	if time.Until(c.deadline) != 10*time.Second {
		return 0, fmt.Errorf("a write may take until %s, want ten seconds", c.deadline)
	}
	if !time.Now().Before(c.gone) {
		return 0, errors.New("gone")
	}
	return c.ResponseRecorder.Write(b)
}

// A stream on which nothing happens tells each second that it is there, and notices by that
// when its client is gone. Answers that are no JSON are passed over.
func TestStreamOnWhichNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
		mux.HandleFunc("/api/tables/traffic", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("tenant,count\n")) })
		began := time.Now()
		c := &client{ResponseRecorder: httptest.NewRecorder(), gone: began.Add(2500 * time.Millisecond)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		query := "path=/api/tables/traffic" + strings.Repeat("&path=/readyz", 15) // as many as may be
		queries.Stream(mux).ServeHTTP(c, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/stream?"+query, nil))
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it ends after %s, want it to notice with the third second", took)
		}
		const update = "event: update\ndata: {\"path\":\"/readyz\",\"status\":200,\"body\":{}}\n\n"
		if got, want := c.Body.String(), update+":\n\n:\n\n:\n\n"; got != want {
			t.Errorf("it sends %q, want %q", got, want)
		}
		if c.Header().Get("X-Accel-Buffering") != "no" || c.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("proxies may keep it back: %v", c.Header())
		}
	})
}

func TestStreamRefuses(t *testing.T) {
	var streams []context.CancelFunc
	all, end := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	mux.Handle("GET /api/stream", queries.Stream(mux))
	server := httptest.NewServer(mux)
	defer server.Close()
	defer end()
	refused := func(code int, query, says string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // of a stream that is open all the same
		defer cancel()
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/stream"+query, nil))
		if w.Code != code || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s, want %d, %q", query, w.Code, w.Body, code, says)
		}
	}
	refused(400, "", "0 paths")
	refused(400, "?"+strings.Repeat("path=/readyz&", 17), "17 paths")
	refused(400, "?path=/api/stream?path=/readyz", "paths are /api/tables")
	for path, says := range map[string]string{
		"/api/tables/traffic?format=csv":           "a stream tells JSON",
		"/api/tables/traffic?window=5m&format=csv": "a stream tells JSON",
		"/api/tables/../dlq":                       "paths are",
		"/api/tables/..":                           "paths are",
		"/api/tables/%2e%2e":                       "paths are",
		"/api/tables/.":                            "paths are",
		"/api/tables/":                             "paths are",
		"/api/tables//traffic":                     "paths are",
		"/api/tables/traffic/x":                    "paths are",
		"/api/tablesx":                             "paths are",
		"/api/v2/alertsx":                          "paths are",
		"/api/v2/alerts/x":                         "paths are",
		"/readyz/":                                 "paths are",
		"http://a/readyz":                          "paths are",
		"//a/readyz":                               "paths are",
		"":                                         "paths are",
		"/api/tables/%zz":                          `invalid URL escape \"%zz\"`,
		"/readyz#%zz":                              `invalid URL escape \"%zz\"`,
	} {
		refused(400, "?path=/readyz&path="+url.QueryEscape(path), says)
	}
	refused(400, "?path=/readyz&path=/api/tables%", "invalid URL escape")
	refused(400, "?path=/metrics", "paths are /api/tables")
	for range 64 {
		ctx, cancel := context.WithCancel(all)
		streams = append(streams, cancel)
		follow(t, ctx, server, "/readyz")()
	}
	refused(503, "?path=/readyz", "64 streams")
	streams[0]()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		ctx, cancel := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		go func() { time.Sleep(20 * time.Millisecond); cancel() }()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/stream?path=/readyz", nil))
		if w.Code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that ended stays taken")
		}
	}
}

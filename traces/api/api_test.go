package api_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/traces"
	"ragstreams/traces/api"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// memory is a Log of one partition, a record a second.
type memory struct {
	values []string
	held   bool
	fails  error
}

// Ranges implements traces.Log.
func (m *memory) Ranges(_ context.Context, from, to time.Time) (_ traces.Parts, held bool, _ error) {
	index := func(t time.Time, otherwise int) int64 {
		if t.IsZero() {
			return int64(otherwise)
		}
		return min(max(0, int64(t.Sub(noon)/time.Second)), int64(len(m.values)))
	}
	return traces.Parts{"rag-traces": {0: {From: index(from, 0), To: index(to, len(m.values))}}}, m.held, m.fails
}

// Topics implements traces.Log.
func (m *memory) Topics() []string { return []string{"rag-traces"} }

// Scan implements traces.Log.
func (m *memory) Scan(_ context.Context, parts traces.Parts, _ func([]byte) bool, visit func(*traces.Record) error) (read traces.Read, err error) {
	span := parts["rag-traces"][0]
	for i := span.From; i < span.To; i++ {
		read.Records++
		r := traces.Record{Place: traces.Place{Topic: "rag-traces", Offset: i}, Timestamp: noon.Add(time.Duration(i) * time.Second), Value: []byte(m.values[i])}
		if err := visit(&r); err != nil {
			return read, err
		}
	}
	return read, nil
}

func server(m *memory, content bool) http.Handler {
	return api.Handler(api.Options{
		Finder: &traces.Finder{Log: m, Records: 100_000}, Content: content,
		Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} },
	})
}

func get(t *testing.T, h http.Handler, path string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	return w.Code, body
}

func TestTrace(t *testing.T) {
	m := &memory{values: []string{
		`{"event_type":"user_query","trace_id":"mine","event_id":"1","query":"secret"}`,
		`{"event_type":"user_query","trace_id":"other"}`,
		`{"event_type":"llm_call_completed","trace_id":"mine","model":"gpt-4o","latency_ms":1500,"ttft_ms":300,"tokens":{"input":8,"output":2},"status":"error","error":{"type":"T","message":"user 'secret' unknown"}}`,
		`{"event_type":"user_query","trace_id":"mine","event_id":"1","query":"secret"}`,
	}}
	code, body := get(t, server(m, false), "/api/traces/mine")
	text, _ := json.Marshal(body)
	if code != 200 || strings.Contains(string(text), "secret") {
		t.Fatalf("%d %s", code, text)
	}
	for path, want := range map[string]any{
		"found": true, "status": "error", "duration_seconds": 2.0, "slowest_step": 1.0, "start": "2026-03-01T12:00:00.000Z",
		"steps.0.stage": "query", "steps.0.duration_seconds": nil, "steps.0.copies": 1.0, "steps.0.events.0.offset": 0.0,
		"steps.1.stage": "generate", "steps.1.start": "2026-03-01T12:00:00.500Z", "steps.1.self_seconds": 1.5, "steps.1.gap_seconds": 0.5,
		"steps.1.model": "gpt-4o", "steps.1.events.0.ttft_seconds": 0.3, "steps.1.events.0.input_tokens": 8.0, "steps.1.events.0.error_template": "user <quoted> unknown",
		"search.stopped": "found", "search.records": 4.0, "search.parts.0.topic": "rag-traces", "search.parts.0.to_offset": 4.0,
	} {
		if got := at(body, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	code, body = get(t, server(m, true), "/api/traces/mine?at=rag-traces/0@2&margin=10s")
	if code != 200 || at(body, "steps.0.events.0.content.query") != "secret" {
		t.Errorf("with content: %d %v", code, body)
	}
}

// at returns what lies at a path such as steps.0.stage.
func at(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			var i int
			fmt.Sscan(key, &i)
			if i >= len(x) {
				return "nothing"
			}
			v = x[i]
		}
	}
	return v
}

// What is not found tells what was searched, and how to go on.
func TestTraceThatIsNotThere(t *testing.T) {
	m := &memory{}
	for range 250_000 {
		m.values = append(m.values, `{"event_type":"x"}`)
	}
	h := server(m, false)
	path, rounds := "/api/traces/mine", 0
	for {
		code, body := get(t, h, path)
		rounds++
		if code != 404 || body["error"] == "" || at(body, "found") != false {
			t.Fatalf("%d %v", code, body)
		}
		if at(body, "search.from") != nil || at(body, "search.to") != nil {
			t.Errorf("nothing was found, but all around it was read: %v", at(body, "search"))
		}
		next, more := at(body, "search.next").(string)
		if !more {
			if at(body, "search.stopped") != "everything" || !strings.Contains(fmt.Sprint(body["hint"]), "all of what they have was searched") {
				t.Errorf("at the end: %v", body)
			}
			break
		}
		path = "/api/traces/mine?after=" + next
	}
	if rounds != 3 {
		t.Errorf("%d requests for 250,000 records, 100,000 at a time", rounds)
	}
}

// endless is a Log that is never done.
type endless struct {
	memory
	began chan struct{}
}

// Scan implements traces.Log.
func (e *endless) Scan(ctx context.Context, _ traces.Parts, _ func([]byte) bool, _ func(*traces.Record) error) (traces.Read, error) {
	e.began <- struct{}{}
	<-ctx.Done()
	return traces.Read{}, ctx.Err()
}

func TestSearchesAreBounded(t *testing.T) {
	log := &endless{memory{values: []string{"{}"}}, make(chan struct{})}
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: log}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/traces/a", nil))
		})
		<-log.began
	}
	fifth := httptest.NewRecorder()
	h.ServeHTTP(fifth, httptest.NewRequest(http.MethodGet, "/api/traces/a", nil))
	if fifth.Code != 503 || !strings.Contains(fifth.Body.String(), "4 searches") || fifth.Header().Get("Retry-After") == "" {
		t.Errorf("the fifth: %d %v %s", fifth.Code, fifth.Header(), fifth.Body)
	}
	cancel()
	all.Wait()
	ended, cancel := context.WithCancel(t.Context())
	go func() { <-log.began; cancel() }()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ended, http.MethodGet, "/api/traces/a", nil))
	if strings.Contains(w.Body.String(), "4 searches") {
		t.Errorf("when they have ended: %d %s", w.Code, w.Body)
	}
}

// A search has its time, and ends with it.
func TestSearchesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &endless{memory{values: []string{"{}"}}, make(chan struct{}, 1)}
		h := api.Handler(api.Options{Finder: &traces.Finder{Log: log}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
		began := time.Now()
		code, body := get(t, h, "/api/traces/a")
		if took := time.Since(began); code != 504 || took != 40*time.Second || at(body, "hint") != "search on, with search.next as after, or give at, a time near which it was" {
			t.Errorf("after %s: %d %v", took, code, body)
		}
	})
}

// What tables know of a trace is looked at first, unless who asks knows better.
func TestHint(t *testing.T) {
	m := &memory{}
	for range 1000 {
		m.values = append(m.values, `{"event_type":"x"}`)
	}
	m.values[500] = `{"event_type":"answer_returned","trace_id":"mine"}`
	asked := 0
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: m}, Hint: func(id string) (*traces.Place, time.Time) {
		if asked++; id != "mine" {
			t.Errorf("asked for %q", id)
		}
		return &traces.Place{Topic: "rag-traces", Offset: 500}, time.Time{}
	}})
	_, body := get(t, h, "/api/traces/nobody's?at=5&after="+base64.RawURLEncoding.EncodeToString([]byte(`{"rag-traces":{"0":9}}`)))
	if asked != 0 || at(body, "found") != false {
		t.Errorf("asked %d times, %v", asked, body)
	}
	for path, want := range map[string]int{"": 1, "?margin=20s": 1, "?at=rag-traces/0@500": 0, "?at=2026-03-01T12:08:20Z": 0, "?after=eyJyYWctdHJhY2VzIjp7IjAiOjkwMH19": 0} {
		asked = 0
		code, body := get(t, h, "/api/traces/mine"+path)
		if code != 200 || asked != want {
			t.Errorf("%q: %d after %d hints, want %d: %v", path, code, asked, want, body)
		}
		if n := at(body, "search.records").(float64); want > 0 && n > 60 {
			t.Errorf("%q: %v records are read in spite of the hint", path, n)
		}
	}
}

// What tables know of a topic that is no source any more is no hint, and nobody's mistake.
func TestHintOfAFormerSource(t *testing.T) {
	m := &memory{values: []string{`{"event_type":"answer_returned","trace_id":"mine"}`}}
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: m}, Hint: func(string) (*traces.Place, time.Time) {
		return &traces.Place{Topic: "rag-old"}, time.Time{}
	}})
	if code, body := get(t, h, "/api/traces/mine"); code != 200 || at(body, "found") != true {
		t.Errorf("%d %v", code, body)
	}
}

// sparse is a Log of many offsets without records, all of any time that is asked for.
type sparse struct {
	memory
	end int64
}

// Ranges implements traces.Log.
func (s *sparse) Ranges(context.Context, time.Time, time.Time) (_ traces.Parts, held bool, _ error) {
	return traces.Parts{"rag-traces": {0: {To: s.end}}}, false, nil
}

// Scan implements traces.Log.
func (s *sparse) Scan(_ context.Context, parts traces.Parts, _ func([]byte) bool, _ func(*traces.Record) error) (traces.Read, error) {
	span := parts["rag-traces"][0]
	return traces.Read{Records: span.To - span.From}, nil
}

// Where a bound ended a search around a time, not all that there is was searched.
func TestTooMuchAroundATime(t *testing.T) {
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: &sparse{end: 10_000_000}, Records: 1}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
	code, body := get(t, h, "/api/traces/mine?margin=24h&at=2026-03-01T12:00:00Z")
	if code != 404 || at(body, "search.stopped") != "budget" || at(body, "search.next") != nil {
		t.Fatalf("%d %v", code, body)
	}
	if hint := fmt.Sprint(body["hint"]); !strings.Contains(hint, "give a smaller margin") || strings.Contains(hint, "all of what they have was searched") {
		t.Errorf("hint %q", hint)
	}
}

// failing is a Log that cannot be read again.
type failing struct {
	memory
	scans int
}

// Scan implements traces.Log.
func (f *failing) Scan(ctx context.Context, parts traces.Parts, may func([]byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	if f.scans++; f.scans > 1 {
		return traces.Read{}, errors.New("Kafka is away")
	}
	return f.memory.Scan(ctx, parts, may, visit)
}

// A part of a trace is not told of as if it were all.
func TestHalfATrace(t *testing.T) {
	m := &failing{}
	for range 30 {
		m.values = append(m.values, `{"event_type":"x","trace_id":"mine"}`)
	}
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: m}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
	code, body := get(t, h, "/api/traces/mine?at=rag-traces/0@15")
	if code != 503 || !strings.Contains(fmt.Sprint(body["error"]), "Kafka is away") || !strings.Contains(fmt.Sprint(body["hint"]), "the rest lies around rag-traces/0@15") || at(body, "search.stopped") != "error" || at(body, "found") != true {
		t.Errorf("%d %v", code, body)
	}
}

// What was searched is told in order, and the first step may be the slowest.
func TestAnswerOfWhatWasFound(t *testing.T) {
	f := &traces.Found{Searched: traces.Searched{"a": {}, "b": {}}}
	for p := range int32(20) {
		f.Searched["a"][p], f.Searched["b"][p] = []traces.Span{{To: 1}}, []traces.Span{{To: 1}}
	}
	f.Events = []traces.Event{{Type: "llm_call_completed", Stage: "generate", Time: noon, Duration: time.Second, HasDuration: true}}
	a := api.NewAnswer("mine", f)
	if !slices.IsSortedFunc(a.Search.Parts, func(a, b api.Part) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	}) || len(a.Search.Parts) != 40 {
		t.Errorf("parts %v", a.Search.Parts)
	}
	if a.Slowest == nil || *a.Slowest != 0 {
		t.Errorf("the slowest step is %v of %v", a.Slowest, a.Steps)
	}
}

// A search that takes too long tells what it has read, and how to go on.
func TestTakesTooLong(t *testing.T) {
	m := &slow{memory: memory{}}
	for range 400_000 {
		m.values = append(m.values, `{"event_type":"x"}`)
	}
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: m}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
	code, body := get(t, h, "/api/traces/a")
	if code != 504 || at(body, "search.stopped") != "error" || at(body, "search.records") != 100_000.0 || at(body, "search.parts.0.from_offset") != 300_000.0 || !strings.Contains(fmt.Sprint(body["hint"]), "search.next as after") {
		t.Fatalf("%d %v", code, body)
	}
	m.fast = true
	next, _ := at(body, "search.next").(string)
	if code, body = get(t, h, "/api/traces/a?after="+next); code != 404 || at(body, "search.stopped") != "everything" || at(body, "search.parts.0.to_offset") != 300_000.0 {
		t.Errorf("going on with %q: %d %v", next, code, body)
	}
}

// slow is a Log that hands on the newest records, and then no more.
type slow struct {
	memory
	fast bool
	read bool
}

// Scan implements traces.Log.
func (s *slow) Scan(ctx context.Context, parts traces.Parts, may func([]byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	if s.read && !s.fast {
		return traces.Read{}, context.DeadlineExceeded
	}
	s.read = true
	return s.memory.Scan(ctx, parts, may, visit)
}

func TestRefused(t *testing.T) {
	m := &memory{values: []string{"{}"}}
	h := server(m, false)
	for path, says := range map[string]string{
		"/api/traces/" + strings.Repeat("x", 300): "300 bytes",
		"/api/traces/a%0Ab":                       "no text",
		"/api/traces/a?att=5":                     `unknown parameter "att"`,
		"/api/traces/a?at=5&at=6":                 "2 times",
		"/api/traces/a?at=noon":                   "a place such as rag-traces/0@17",
		"/api/traces/a?margin=1":                  "margin is",
		"/api/traces/a?margin=0s":                 "margin is",
		"/api/traces/a?margin=24h1s":              "margin is",
		"/api/traces/a?after=e30":                 "no cursor", // {}
		"/api/traces/a?after=x":                   "no cursor",
		"/api/traces/a?at=secret/0@1":             "secret/0@1 is in no source topic: those are rag-traces",
		"/api/traces/a?at=5%":                     "invalid URL escape",
		"/api/traces/a?margin=1m;at=5":            "semicolon",
	} {
		if code, body := get(t, h, path); code != 400 || !strings.Contains(fmt.Sprint(body["error"]), says) {
			t.Errorf("%s: %d %v, want 400, %q", path, code, body, says)
		}
	}
	if code, _ := get(t, h, "/api/traces/"); code != 404 {
		t.Errorf("no id: %d", code)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/traces/a", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	for fails, want := range map[error]int{errors.New("Kafka is away"): 503, context.DeadlineExceeded: 504} {
		m.fails = fails
		if code, body := get(t, h, "/api/traces/a"); code != want || body["hint"] == "" {
			t.Errorf("%v: %d %v, want %d", fails, code, body, want)
		}
	}
}

// What lies behind an open transaction is not part of all that was searched.
func TestBeforeAnOpenTransaction(t *testing.T) {
	m := &memory{values: []string{`{"event_type":"answer_returned","trace_id":"mine"}`}, held: true}
	h := api.Handler(api.Options{Finder: &traces.Finder{Log: m}, Hint: func(string) (*traces.Place, time.Time) { return nil, time.Time{} }})
	if code, body := get(t, h, "/api/traces/mine"); code != 200 || at(body, "search.held") != true {
		t.Errorf("%d %v", code, body)
	}
	code, body := get(t, h, "/api/traces/nobodys")
	if hint := fmt.Sprint(body["hint"]); code != 404 || at(body, "search.held") != true || !strings.Contains(hint, "but not what lies behind an open transaction") {
		t.Errorf("%d %v", code, body)
	}
}

package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
	"ragstreams/window"
)

// shelf is a log with one partition of each topic.
type shelf struct {
	records map[string][]deadletters.Record
	sent    []deadletters.Record
	fails   error // of reading
	refuses error // of sending one
	stops   error // of sending any
	open    int   // boxes
}

func (s *shelf) put(topic, value string, source deadletters.Place, more ...deadletters.Header) {
	n := int64(len(s.records[topic]))
	headers := append([]deadletters.Header{{Key: "producer", Value: []byte("x")}}, header(deadletters.HeaderTopic, source.Topic), header(deadletters.HeaderPartition, "0"),
		header(deadletters.HeaderOffset, strconv.FormatInt(source.Offset, 10)), header(deadletters.HeaderTimestamp, "5"))
	s.records[topic] = append(s.records[topic], deadletters.Record{
		Topic: topic, Offset: n, Timestamp: now.UnixMilli() + n, Value: []byte(value), Headers: append(headers, more...),
	})
}

func header(key, value string) deadletters.Header {
	return deadletters.Header{Key: key, Value: []byte(value)}
}

// Spans implements deadletters.Log. Behind the last record is the marker of its transaction.
func (s *shelf) Spans(_ context.Context, topic string, since time.Time) (deadletters.Spans, error) {
	return deadletters.Spans{0: {From: 0, To: int64(len(s.records[topic])) + 1}}, s.fails
}

func (s *shelf) Read(_ context.Context, topic string, _ int32, span deadletters.Span, visit func(deadletters.Record) error) error {
	records := s.records[topic]
	for _, r := range records[span.From:min(span.To, int64(len(records)))] {
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) At(_ context.Context, p deadletters.Place) (deadletters.Record, string, error) {
	if records := s.records[p.Topic]; p.Offset < int64(len(records)) {
		return records[p.Offset], "", nil
	}
	return deadletters.Record{}, "it was deleted", nil
}

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const good = `{"event_type":"x","event_id":"a","timestamp":"2026-11-28T12:00:00Z"}`

// newServer serves a dead letter that would be counted, one that would not, one whose
// original is gone, and a late record.
func newServer(t *testing.T) (*shelf, http.Handler) { return newServerOf(t, true) }

// newServerOf shows what they hold, or not.
func newServerOf(t *testing.T, content bool) (*shelf, http.Handler) {
	s := &shelf{records: map[string][]deadletters.Record{}}
	s.put("a-dlq", good, deadletters.Place{Topic: "rag-traces", Offset: 10}, header("reason", "too_large"), header("detail", "long"))
	s.put("a-dlq", "\xff", deadletters.Place{Topic: "rag-traces", Offset: 11}, header("reason", "syntax"))
	s.put("a-dlq", "{", deadletters.Place{Topic: "rag-traces", Offset: 12}, header("reason", "too_large"), header("cut_from_bytes", "900000"))
	s.put("a-late", good, deadletters.Place{Topic: "rag-traces", Offset: 13}, header("reason", "stream_time"), header("event_time_ms", "7"), header("lateness_ms", "1500"))
	s.put("a-late", "{}", deadletters.Place{Topic: "rag-traces", Offset: 15}, header("reason", "watermark"), header("lateness_ms", "0"))
	return s, newServerOn(t, s, content)
}

// newServerOn serves what lies on a shelf.
func newServerOn(t *testing.T, s *shelf, content bool) http.Handler {
	t.Cleanup(func() {
		if s.open != 0 {
			t.Errorf("%d boxes stay open", s.open)
		}
	})
	return api.Handler(api.Options{DLQ: "a-dlq", Late: "a-late", Content: content, Open: func() (*deadletters.Box, func(), error) {
		s.open++
		return &deadletters.Box{
			Log: s, Now: func() time.Time { return now },
			Send: func(_ context.Context, records []deadletters.Record) ([]error, error) {
				each := make([]error, len(records))
				if each[0] = cmp.Or(s.refuses, s.stops); each[0] == nil {
					s.sent = append(s.sent, records...)
				}
				return each, s.stops
			},
			Judge: func(context.Context) (*deadletters.Judge, error) {
				return &deadletters.Judge{
					Partitions: map[string]int32{"rag-traces": 1}, Panes: window.Panes{Size: 1000}, Now: func() time.Time { return now },
					StreamTime: func(string, int32) int64 { return window.None }, Closed: func([]byte) int64 { return window.None },
				}, nil
			},
		}, func() { s.open-- }, nil
	}})
}

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// askFor asks and decodes the answer.
func askFor(t *testing.T, h http.Handler, method, path, body string, v any) {
	t.Helper()
	code, answer := ask(t, h, method, path, body)
	if code != http.StatusOK {
		t.Fatalf("%s %s %s: %d %s", method, path, body, code, answer)
	}
	if err := json.Unmarshal([]byte(answer), v); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	_, h := newServer(t)
	code, text := ask(t, h, "GET", "/api/dlq?limit=2", "")
	if code != 200 || strings.Contains(text, "event_type") {
		t.Errorf("%d %s", code, text)
	}
	var l api.List
	askFor(t, h, "GET", "/api/dlq?limit=2", "", &l)
	if l.Topic != "a-dlq" || l.Order != "newest first" || len(l.Rows) != 2 || l.Rows[0].Offset != 2 || l.Next == nil {
		t.Errorf("%+v", l)
	}
	var raw struct{ Rows []map[string]json.RawMessage }
	askFor(t, h, "GET", "/api/dlq", "", &raw)
	for _, c := range l.Columns {
		if _, there := raw.Rows[0][c.Name]; !there || len(raw.Rows[0]) != len(l.Columns) {
			t.Errorf("columns are %v, and a row is %s", l.Columns, raw.Rows[0])
		}
	}
	r := l.Rows[0]
	if r.Holds != "cut" || *r.ValueBytes != 900_000 || r.KeyBytes != nil || r.SourceOffset != 12 || r.CameAt != "2026-11-28T12:00:00.002Z" || r.EventTime != nil ||
		len(r.Headers) != 1 || *r.Headers[0].Value != "x" {
		t.Errorf("%+v", r)
	}
	var rest api.List
	askFor(t, h, "GET", "/api/dlq?limit=2&cursor="+*l.Next, "", &rest)
	if len(rest.Rows) != 1 || rest.Rows[0].Offset != 0 || rest.Next != nil {
		t.Errorf("%+v", rest)
	}
	var filtered api.List
	askFor(t, h, "GET", "/api/dlq?reason=syntax&source_topic=rag-traces&from=2026-11-28T12:00:00Z&to=1795867201", "", &filtered)
	if len(filtered.Rows) != 1 || filtered.Rows[0].Reason != "syntax" {
		t.Errorf("%+v", filtered)
	}
	var late api.List
	askFor(t, h, "GET", "/api/dlq?topic=late", "", &late)
	if len(late.Rows) != 2 || late.Rows[0].Replays != nil || late.Rows[0].Holds != "note" {
		t.Errorf("%+v", late)
	}
	if late.Rows = late.Rows[1:]; *late.Rows[0].Replays != 0 || *late.Rows[0].EventTime != "1970-01-01T00:00:00.007Z" || *late.Rows[0].Lateness != 1500 {
		t.Errorf("%+v", late)
	}
}

func TestShow(t *testing.T) {
	_, h := newServer(t)
	var whole, bytes, gone, late api.Shown
	askFor(t, h, "GET", "/api/dlq/0/0", "", &whole)
	if *whole.Value != good || *whole.ValueBytes != len(good) || whole.KeyBytes != nil || whole.ValueEncoding != "text" || whole.Verdict != deadletters.Send || !whole.HasID || whole.Gone != nil || len(whole.Headers) != 1 {
		t.Errorf("%+v", whole)
	}
	askFor(t, h, "GET", "/api/dlq/0/1", "", &bytes)
	if *bytes.Value != "/w==" || bytes.ValueEncoding != "base64" || bytes.Verdict != deadletters.StillPoison {
		t.Errorf("%+v", bytes)
	}
	askFor(t, h, "GET", "/api/dlq/0/2", "", &gone)
	if *gone.Value != "{" || *gone.ValueBytes != 900_000 || gone.Gone == nil || gone.Verdict != deadletters.OriginGone {
		t.Errorf("%+v", gone)
	}
	askFor(t, h, "GET", "/api/dlq/0/0?topic=late", "", &late)
	if late.SourceOffset != 13 {
		t.Errorf("%+v", late)
	}
}

// What records hold is shown only where that is wanted: no value, key or header, and no part
// of a value that says why it is poison.
func TestContentIsHidden(t *testing.T) {
	const secret = "alice"
	for _, content := range []bool{true, false} {
		s, h := newServerOf(t, content)
		s.put("a-dlq", `{"event_type":["`+secret+`"]}`, deadletters.Place{Topic: "rag-traces", Offset: 14}, header("reason", "wrong_type"), header("detail", secret))
		last := &s.records["a-dlq"][3]
		last.Key = []byte(secret)
		last.Headers = append([]deadletters.Header{header("user", secret)}, last.Headers...)
		for _, tt := range [][3]string{
			{"GET", "/api/dlq?reason=wrong_type", ""},
			{"GET", "/api/dlq/0/3", ""},
			{"POST", "/api/dlq/replay", `{"reason":"wrong_type","dry_run":true}`},
			{"POST", "/api/dlq/replay", `{"reason":"wrong_type","dry_run":true,"force":true}`},
		} {
			code, text := ask(t, h, tt[0], tt[1], tt[2])
			if code != 200 || strings.Contains(text, secret) != content || !strings.Contains(text, "wrong_type") {
				t.Errorf("with content %v, %v: %d %s", content, tt, code, text)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	s, h := newServer(t)
	var r api.Result
	askFor(t, h, "POST", "/api/dlq/replay", `{"dry_run":true,"reason":"syntax"}`, &r)
	if !r.DryRun || r.Matched != 1 || r.Skipped[deadletters.StillPoison] != 1 || len(r.Rows) != 1 || r.Rows[0].Verdict != deadletters.StillPoison || len(s.sent) > 0 {
		t.Errorf("%+v", r)
	}
	askFor(t, h, "POST", "/api/dlq/replay", `{"by":"ana","replay":"R1"}`, &r)
	if r.DryRun || r.Matched != 3 || r.Sent != 1 || r.SentTo["rag-traces"] != 1 || r.Failed[deadletters.OriginGone] != 1 || r.Next != nil || r.Replay != "R1" || len(s.sent) != 1 {
		t.Errorf("%+v", r)
	}
	if _, m := deadletters.CutMark(s.sent[0].Headers); m.By != "ana" || m.Replay != "R1" {
		t.Errorf("%+v", m)
	}
	askFor(t, h, "POST", "/api/dlq/replay", `{"limit":1}`, &r)
	if r.Next == nil || *r.Next != "0:1-4" {
		t.Errorf("%+v", r)
	}
	for body, value := range map[string]string{
		`{"partition":0,"offset":1,"value":` + strconv.Quote(good) + `}`:        good,
		`{"partition":0,"offset":1,"value_base64":"eyJ4IjoxfQ==","force":true}`: `{"x":1}`,
		`{"partition":0,"offset":0,"topic":"late"}`:                             good,
	} {
		s.sent = nil
		if askFor(t, h, "POST", "/api/dlq/replay", body, &r); len(s.sent) != 1 || string(s.sent[0].Value) != value {
			t.Errorf("%s: sent %+v", body, s.sent)
			continue
		}
		if _, m := deadletters.CutMark(s.sent[0].Headers); !strings.HasPrefix(m.By, "someone at 192.0.2.1") || m.Mended != strings.Contains(body, "value") {
			t.Errorf("%s: %+v", body, m)
		}
	}
}

func TestRefusals(t *testing.T) {
	s, h := newServer(t)
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/api/dlq?topic=x", "", 400, `topic is \"x\"`},
		{"GET", "/api/dlq?reson=x", "", 400, `unknown parameter \"reson\"`},
		{"GET", "/api/dlq?limit=1&limit=2", "", 400, "limit is given 2 times"},
		{"GET", "/api/dlq?limit=0", "", 400, "from 1 to 1000"},
		{"GET", "/api/dlq?limit=1001", "", 400, "from 1 to 1000"},
		{"GET", "/api/dlq?from=noon", "", 400, `from is \"noon\"`},
		{"GET", "/api/dlq?from=5&to=5", "", 400, "to is not after from"},
		{"GET", "/api/dlq?cursor=x", "", 400, `cursor is \"x\"`},
		{"GET", "/api/dlq?reason=empty;&limit=2", "", 400, "semicolon"},
		{"GET", "/api/dlq?reason=too_large%", "", 400, "%25"},
		{"GET", "/api/dlq/0/0?topic=late;", "", 400, "semicolon"},
		{"GET", "/api/dlq?cursor=99:0-1", "", 400, "cursor names partition 99"},
		{"POST", "/api/dlq/replay", `{"cursor":"99:0-1"}`, 400, "cursor names partition 99"},
		{"GET", "/api/dlq/0/9", "", 404, "no dead letter is there"},
		{"GET", "/api/dlq/0/x", "", 400, "0/x is no place"},
		{"GET", "/api/dlq/-1/0", "", 400, "-1/0 is no place"},
		{"GET", "/api/dlq/0/-1", "", 400, "0/-1 is no place"},
		{"GET", "/api/dlq/4294967296/0", "", 400, "4294967296/0 is no place"},
		{"GET", "/api/dlq/0/0?raw=true", "", 400, "unknown parameter"},
		{"GET", "/api/dlq/0", "", 404, "there is nothing at /api/dlq/0"},
		{"POST", "/api/dlq", "{}", 405, "use GET"},
		{"GET", "/api/dlq/replay", "", 405, "use POST"},
		{"DELETE", "/api/dlq/0/0", "", 405, "use GET"},
		{"POST", "/api/dlq/replay", `{"dryrun":true}`, 400, `unknown field \"dryrun\"`},
		{"POST", "/api/dlq/replay", `{`, 400, "read the body"},
		{"POST", "/api/dlq/replay", `{"by":"ana"},"dry_run":true}`, 400, "behind the object"},
		{"POST", "/api/dlq/replay", ``, 400, "read the body"},
		{"POST", "/api/dlq/replay", `null`, 400, "it is null"},
		{"POST", "/api/dlq/replay", `[]`, 400, "read the body"},
		{"POST", "/api/dlq/replay", `{"dry_run":true} garbage`, 400, "behind the object"},
		{"POST", "/api/dlq/replay", `{"dry_run":true}{"dry_run":true}`, 400, "behind the object"},
		{"POST", "/api/dlq/replay", `{"dry_run":true}}`, 400, "behind the object"},
		{"POST", "/api/dlq/replay", `{"value":"` + strings.Repeat("x", 2<<20) + `"}`, 400, "--value-file"},
		{"POST", "/api/dlq/replay", `{"partition":0}`, 400, "go together"},
		{"POST", "/api/dlq/replay", `{"limit":-1}`, 400, "from 1 to 10000"},
		{"POST", "/api/dlq/replay", `{"limit":10001}`, 400, "from 1 to 10000"},
		{"POST", "/api/dlq/replay", `{"value":"x"}`, 400, "a value mends one record"},
		{"POST", "/api/dlq/replay", `{"value":"x","value_base64":"eA==","partition":0,"offset":0}`, 400, "both given"},
		{"POST", "/api/dlq/replay", `{"partition":0,"offset":9}`, 404, "no dead letter is there"},
		{"POST", "/api/dlq/replay", `{"partition":0,"offset":2}`, 410, "rag-traces/0@12"},
	} {
		code, body := ask(t, h, tt.method, tt.path, tt.body)
		var problem struct{ Error, Hint string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil || code != tt.code || !strings.Contains(body, tt.want) || problem.Error == "" || problem.Hint == "" {
			t.Errorf("%s %s %.60s: %d %s, want %d, %s", tt.method, tt.path, tt.body, code, body, tt.code, tt.want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/api/dlq/replay", strings.NewReader("{}"))) // as a page of another site can
	if w.Code != http.StatusUnsupportedMediaType || len(s.sent) > 0 {
		t.Errorf("%d, and %d records were sent", w.Code, len(s.sent))
	}
	s.fails = errors.New("Kafka is away")
	if code, body := ask(t, h, "GET", "/api/dlq", ""); code != 503 || !strings.Contains(body, "Kafka is away") {
		t.Errorf("%d %s", code, body)
	}
}

// A replay that cannot go on tells what it did, and where to go on.
func TestReplayThatEnds(t *testing.T) {
	s, h := newServer(t)
	s.stops = errors.New("Kafka is away")
	for _, body := range []string{`{"replay":"R1"}`, `{"replay":"R1","partition":0,"offset":0}`} {
		code, answer := ask(t, h, "POST", "/api/dlq/replay", body)
		for _, want := range []string{`"error":"replay R1 of a-dlq/0: Kafka is away"`, `"hint":`, `"send_failed":1`, `"next":"0:0-`} {
			if code != http.StatusBadGateway || !strings.Contains(answer, want) {
				t.Errorf("%s: %d %s, want %s", body, code, answer, want)
			}
		}
	}
}

// A replay of one record ends with what became of it.
func TestOneThatCannotBeSent(t *testing.T) {
	s, h := newServer(t)
	s.put("a-dlq", good, deadletters.Place{Topic: "elsewhere", Offset: 14}, header("reason", "syntax"))
	s.refuses = errors.New("it is too large")
	for body, want := range map[string]struct {
		code int
		says string
	}{
		`{"partition":0,"offset":0}`: {http.StatusBadGateway, "it is too large"},
		`{"partition":0,"offset":2}`: {http.StatusGone, "it was deleted"},
		`{"partition":0,"offset":3}`: {http.StatusConflict, "elsewhere"},
	} {
		if code, answer := ask(t, h, "POST", "/api/dlq/replay", body); code != want.code || !strings.Contains(answer, want.says) {
			t.Errorf("%s: %d %s, want %d, %q", body, code, answer, want.code, want.says)
		}
	}
}

// What is not said is bounded, and what is said of a replay and of a list means the same.
func TestHowManyAndWhich(t *testing.T) {
	s := &shelf{records: map[string][]deadletters.Record{}}
	h := newServerOn(t, s, true)
	for i := range int64(1500) {
		s.put("a-dlq", "{", deadletters.Place{Topic: []string{"rag-traces", "dialog"}[i/1000], Offset: i}, header("reason", "syntax"))
	}
	var l api.List
	if askFor(t, h, "GET", "/api/dlq", "", &l); len(l.Rows) != 100 || l.Next == nil || *l.Next != "0:0-1400" {
		t.Errorf("a list has %d rows, next %v", len(l.Rows), l.Next)
	}
	var r api.Result
	if askFor(t, h, "POST", "/api/dlq/replay", `{"dry_run":true}`, &r); r.Matched != 1000 || r.Next == nil || *r.Next != "0:1000-1501" {
		t.Errorf("a replay has %d letters, next %v", r.Matched, r.Next)
	}
	var rest api.Result
	if askFor(t, h, "POST", "/api/dlq/replay", `{"dry_run":true,"cursor":"0:1000-1501"}`, &rest); rest.Matched != 500 || rest.Rows[0].Offset != 1000 || rest.Next != nil {
		t.Errorf("it goes on with %d letters, next %v", rest.Matched, rest.Next)
	}
	// They come a millisecond apart.
	const from, to = "2026-11-28T12:00:00.990Z", "2026-11-28T12:00:01.005Z"
	for body, want := range map[string][2]int64{
		`{"source_topic":"rag-traces"}`:                                     {0, 999},
		`{"source_topic":"dialog"}`:                                         {1000, 1499},
		`{"from":"` + from + `","to":"` + to + `"}`:                         {990, 1004},
		`{"from":"` + from + `","to":"` + to + `","source_topic":"dialog"}`: {1000, 1004},
	} {
		var which map[string]string
		if err := json.Unmarshal([]byte(body), &which); err != nil {
			t.Fatal(err)
		}
		query := url.Values{"limit": {"1000"}}
		for name, value := range which {
			query.Set(name, value)
		}
		askFor(t, h, "GET", "/api/dlq?"+query.Encode(), "", &l)
		askFor(t, h, "POST", "/api/dlq/replay", `{"dry_run":true,`+body[1:], &r)
		n := len(l.Rows)
		if int64(n) != want[1]-want[0]+1 || l.Rows[0].Offset != want[1] || l.Rows[n-1].Offset != want[0] {
			t.Errorf("a list of %s has %d rows, want %d", body, n, want)
		}
		if n = len(r.Rows); int64(n) != want[1]-want[0]+1 || r.Rows[0].Offset != want[0] || r.Rows[n-1].Offset != want[1] {
			t.Errorf("a replay of %s has %d rows, want %d", body, n, want)
		}
	}
}

// How often a record was replayed stands in its headers: those of the letter, or of the
// original where the letter is a note.
func TestReplaysOfALetter(t *testing.T) {
	s, h := newServer(t)
	m := deadletters.Mark{Replay: "R7", By: "ana", At: now, Of: deadletters.Place{Topic: "a-dlq", Offset: 1}, Reason: "syntax", Before: 2}
	s.put("a-dlq", good, deadletters.Place{Topic: "rag-traces", Offset: 20}, header("reason", "syntax"))
	letter := &s.records["a-dlq"][3]
	letter.Headers = slices.Insert(letter.Headers, 1, m.Headers()...) // before those of ours
	s.records["rag-traces"] = []deadletters.Record{{Topic: "rag-traces", Timestamp: now.UnixMilli(), Value: []byte(good), Headers: m.Headers()}}
	s.put("a-late", "{}", deadletters.Place{Topic: "rag-traces"}, header("reason", "watermark"), header("lateness_ms", "0"))
	s.records["a-late"][2].Headers[4] = header(deadletters.HeaderTimestamp, strconv.FormatInt(now.UnixMilli(), 10))
	var l api.List
	askFor(t, h, "GET", "/api/dlq?limit=1", "", &l)
	if r := l.Rows[0]; r.Replays == nil || *r.Replays != 3 || r.Replay == nil || *r.Replay != "R7" {
		t.Errorf("a list tells %v of %+v", r.Replays, r)
	}
	for _, path := range []string{"/api/dlq/0/3", "/api/dlq/0/2?topic=late"} {
		var one api.Shown
		askFor(t, h, "GET", path, "", &one)
		if one.Replays == nil || *one.Replays != 3 || one.Replay == nil || *one.Replay != "R7" {
			t.Errorf("%s tells %v of %+v", path, one.Replays, one)
		}
	}
}

// A client that keeps its body back keeps no other from replaying.
func TestReplayWaitsForNoBody(t *testing.T) {
	s, h := newServer(t)
	body, write := io.Pipe()
	slow := httptest.NewRequest("POST", "/api/dlq/replay", body)
	slow.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { defer close(done); h.ServeHTTP(w, slow) }()
	io.WriteString(write, `{"dry_run":`) // returns once it is being read
	if code, answer := ask(t, h, "POST", "/api/dlq/replay", `{"limit":1}`); code != 200 || len(s.sent) != 1 {
		t.Errorf("beside it: %d %s", code, answer)
	}
	io.WriteString(write, "true}")
	write.Close()
	if <-done; w.Code != 200 || len(s.sent) != 1 {
		t.Errorf("the slow one: %d %s", w.Code, w.Body)
	}
}

// One replay at a time: what it holds in memory is bounded.
func TestOneReplayAtATime(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	h := api.Handler(api.Options{DLQ: "a-dlq", Late: "a-late", Open: func() (*deadletters.Box, func(), error) {
		close(began)
		<-end
		return nil, nil, errors.New("Kafka is away")
	}})
	codes := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/api/dlq/replay", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		codes <- w.Code
	}()
	<-began
	if code, body := ask(t, h, "POST", "/api/dlq/replay", "{}"); code != http.StatusConflict {
		t.Errorf("%d %s", code, body)
	}
	close(end)
	if code := <-codes; code != http.StatusServiceUnavailable {
		t.Errorf("the first: %d", code)
	}
}

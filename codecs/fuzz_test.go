package codecs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"ragstreams/codecs"
	"ragstreams/event"
)

// FuzzJSON holds the codec to its twin: the same event or the same reason for
// every input, and details fit to be read.
func FuzzJSON(f *testing.F) {
	add := func(record string) {
		if len(record) < 1000 { // long ones have tests of their own; here they only slow the search
			f.Add([]byte(record))
		}
	}
	for _, tt := range goodRecords {
		add(tt.record)
	}
	for _, tt := range poisonRecords {
		add(tt.record)
	}
	for _, seed := range seeds {
		add(seed)
	}
	var d codecs.JSON // one for all inputs: nothing may leak from one into the next
	f.Fuzz(func(t *testing.T, value []byte) { compareWithTwin(t, &d, value) })
}

// TestRandomRecords holds the codec to its twin on records put together from
// every field and from values at the edges of what fields take: there random
// bytes seldom come.
func TestRandomRecords(t *testing.T) {
	names := []string{
		"event_type", "event_type", "event_id", "trace_id", "session_id", "user_id", "tenant", "app", "stage", "model",
		"status", "error", "error", "latency_ms", "duration_ms", "duration", "ttft_ms", "tokens", "tokens",
		"timestamp", "timestamp", "type", "message", "stack", "input", "output", `\u0065rror`, `to\u006bens`, "x",
	}
	texts := []string{
		"", "a", "ok", "OK", "Unset", "error_event", "llm_call_started", "2025-04-05T10:00:00Z", "2024-02-29T23:59:60.9-00:00",
		"2016-12-31t16:59:60.25-07:00", "1969-12-31T23:59:59.9999Z", "2262-01-01T00:00:00+00:01", "1743847200.0019",
		"1e12", "-0", "1743847200000", `\n`, `\ud83d\ude00`, `\ud83d`, "如何", "\xff",
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	num := func() string {
		edges := []string{"0", "1", "812", "2592", "9007199254740992", "9214646399", "9214646400", "99999999999", "100000000000",
			"9223372036854775807", "9223372036854775808", "18446744073709551616", "123456789012345678901234567890"}
		s := pick([]string{"", "", "-"}) + pick(edges)
		if rng.IntN(3) == 0 {
			s += "." + strings.Repeat("0", rng.IntN(20)) + pick(edges)
		}
		if rng.IntN(3) == 0 {
			s += fmt.Sprintf("e%d", rng.IntN(60)-30)
		}
		return s
	}
	var members func(depth int) string
	value := func(depth int) string {
		switch n := rng.IntN(10); {
		case n < 4:
			return `"` + pick(texts) + `"`
		case n < 7:
			return num()
		case n < 9 && depth < 3:
			return members(depth + 1)
		default:
			return pick([]string{"null", "null", "true", "false", "[]", `[1,"a"]`, "{}"})
		}
	}
	members = func(depth int) string {
		var list []string
		for range rng.IntN(6) {
			list = append(list, `"`+pick(names)+`":`+value(depth))
		}
		if depth == 0 {
			list = append(list, `"event_type":"a"`)
		}
		return "{" + strings.Join(list, pick([]string{",", " , "})) + "}"
	}
	var d codecs.JSON
	good := 0
	for range 10_000 {
		record := []byte(members(0))
		compareWithTwin(t, &d, record)
		if d.Decode(record, new(event.Event)) == nil {
			good++
		}
	}
	if good < 2_000 {
		t.Errorf("only %d records were good: too few to compare events", good)
	}
}

// compareWithTwin also holds that Decode leaves value as it is.
func compareWithTwin(t *testing.T, d *codecs.JSON, value []byte) {
	t.Helper()
	before := bytes.Clone(value)
	var got event.Event
	poison := d.Decode(value, &got)
	if !bytes.Equal(value, before) {
		t.Fatalf("Decode(%q) changed its input to %q", before, value)
	}
	want, wantReason := twin(value)
	var reason codecs.Reason
	if poison != nil {
		reason = poison.Reason
		if !utf8.ValidString(poison.Detail) || poison.Detail == "" || strings.ContainsAny(poison.Detail, "\n\r\t\x00") || len(poison.Detail) > 400 {
			t.Errorf("Decode(%q): detail %q is not one short line of text", value, poison.Detail)
		}
		if !reflect.ValueOf(got).IsZero() {
			t.Errorf("Decode(%q) is poison but left %+v", value, got)
		}
	}
	if reason != wantReason {
		t.Fatalf("Decode(%q) = %+v, want reason %q", value, poison, wantReason)
	}
	if g, w := printable(got), printable(want); g != w {
		t.Fatalf("Decode(%q)\n got %+v\nwant %+v", value, g, w)
	}
}

// seeds are inputs that no table has: shapes that once looked hard.
var seeds = []string{
	typical, failed,
	`{"event_type":"a","error":{"type":"A","message":"m"},"error":{"stack":"s"}}`,
	`{"event_type":"a","error":{"type":"A"},"error":null}`,
	`{"event_type":"a","error":{"type":1},"error":"x"}`,
	`{"event_type":"a","tokens":{"input":1},"tokens":{"output":2}}`,
	`{"event_type":"a","x":{"event_type":"b","error":{"type":"c"}},"y":[{"tenant":"t"}]}`,
	`{"event_type":"a","error":{"error":{"type":"inner"}}}`,
	`{"\u0065vent_type":"a","t\u0065nant":"b","\ud800":1}`,
	`{"event_type":"\ud83d\ude00 \ud83d \ude00 \ud83d\u0041 \ud83d\ud83d\ude00 \u0000"}`,
	"{\"event_type\":\"\xff\xfe caf\xc3\xa9 \xed\xa0\x80 \xf4\x90\x80\x80\",\"app\":\"\xe5\xa6\"}",
	`{"event_type":"a","tenant":"` + strings.Repeat("x", 100) + `\n"}`,
	`{"event_type":"a","timestamp":"\u0031743847200"}`,
	`{"event_type":"a","timestamp":"123e-1"}`,
	`{"event_type":"a","timestamp":9214646399.9999}`,
	`{"event_type":"a","timestamp":99999999999.9}`,
	`{"event_type":"a","timestamp":0.00000000000000000000001e30}`,
	`{"event_type":"a","latency_ms":0.0000000000000000000000000000000000000000000000000000000001e58}`,
	`{"event_type":"a","latency_ms":100000000000000000000000000000000000000000e-40}`,
	`{"event_type":"a","latency_ms":1e99999999999999999999}`,
	`{"event_type":"a","latency_ms":1e-99999999999999999999}`,
	`{"event_type":"a","latency_ms":0e99999999999999999999}`,
	`{"event_type":"a","tokens":{"input":12.00000000000000000000000000001}}`,
	`{"specversion":"1.0","id":"1","source":"/rag","type":"llm","data":{"event_type":"nested"}}`,
	`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","kind":3,` +
		`"startTimeUnixNano":"1544712660000000000","attributes":[{"key":"my.span.attr","value":{"stringValue":"x"}}]}]}]}]}`,
	`{"batch":[{"id":"e1","type":"trace-create","timestamp":"2025-01-01T00:00:00.000Z","body":{"name":"t \u263a"}}]}`,
}

// printable makes events comparable: absent and empty text are the same.
func printable(e event.Event) string {
	var b strings.Builder
	for i, v := 0, reflect.ValueOf(e); i < v.NumField(); i++ {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Slice && f.Len() > 0:
			fmt.Fprintf(&b, "%s=%q ", v.Type().Field(i).Name, f.Bytes())
		case f.Kind() != reflect.Slice && !f.IsZero():
			fmt.Fprintf(&b, "%s=%v ", v.Type().Field(i).Name, f)
		}
	}
	return b.String()
}

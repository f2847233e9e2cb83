package codecs_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"ragstreams/codecs"
	"ragstreams/event"
)

// with is a minimal record with more members.
func with(members string) string { return `{"event_type":"a",` + members + `}` }

// a is the event of with, changed by set.
func a(set func(*event.Event)) event.Event {
	e := event.Event{Type: []byte("a"), Stage: []byte("a")}
	set(&e)
	return e
}

func isError(e *event.Event) { e.Error = true }

func at(ms int64) event.Event {
	return a(func(e *event.Event) { e.Time, e.HasTime = ms, true })
}

func took(ns int64) event.Event {
	return a(func(e *event.Event) { e.Duration, e.HasDuration = ns, true })
}

const tenOClock = 1743847200000 // 2025-04-05T10:00:00Z

// goodRecords are the rules of the wire format that make events.
var goodRecords = []struct {
	name   string
	record string
	want   event.Event
}{
	{"a record with everything",
		`{"event_id":"6f1c","event_type":"llm_call_completed","trace_id":"9b2e","session_id":"sess-123","user_id":"u-77",` +
			`"tenant":"acme","app":"kotaemon","stage":"answer","model":"gpt-4o","status":"error",` +
			`"error":{"type":"TimeoutError","message":"upstream timed out after 30s id=12345","stack":"at x\nat y"},` +
			`"latency_ms":1234.5,"ttft_ms":310,"tokens":{"input":812,"output":164},"timestamp":"2025-04-05T10:00:00Z"}`,
		event.Event{
			ID: []byte("6f1c"), Type: []byte("llm_call_completed"), TraceID: []byte("9b2e"),
			SessionID: []byte("sess-123"), UserID: []byte("u-77"), Tenant: []byte("acme"), App: []byte("kotaemon"),
			Stage: []byte("answer"), Model: []byte("gpt-4o"),
			Error: true, ErrorType: []byte("TimeoutError"),
			ErrorMessage: []byte("upstream timed out after 30s id=12345"), ErrorStack: []byte("at x\nat y"),
			Time: tenOClock, HasTime: true, Duration: 1_234_500_000, HasDuration: true, TTFT: 310_000_000, HasTTFT: true,
			InputTokens: 812, OutputTokens: 164,
		}},
	{"a dialog record",
		`{"event_type":"user_query","session_id":"sess-123","query":"如何重置密码?","timestamp":"2025-04-05T10:00:00Z"}`,
		event.Event{Type: []byte("user_query"), Stage: []byte("query"), SessionID: []byte("sess-123"), Time: tenOClock, HasTime: true}},
	{"white space everywhere", " \t\r\n{ \"event_type\" : \"a\" , \"tokens\" : { \"input\" : 1 , \"x\" : [ ] , \"y\" : [ 1 , 2 ] } } \n",
		a(func(e *event.Event) { e.InputTokens = 1 })},

	// ids and dimensions
	{"null is absent", with(`"event_id":null,"trace_id":null,"session_id":null,"user_id":null,"tenant":null,"app":null,` +
		`"stage":null,"model":null,"status":null,"error":null,"latency_ms":null,"duration_ms":null,"duration":null,` +
		`"ttft_ms":null,"tokens":null,"timestamp":null`), a(func(*event.Event) {})},
	{"null inside error and tokens is absent",
		with(`"error":{"type":null,"message":null,"stack":null},"tokens":{"input":null,"output":null}`), a(func(*event.Event) {})},
	{"an empty stage is absent", `{"event_type":"llm_call_started","stage":""}`,
		event.Event{Type: []byte("llm_call_started"), Stage: []byte("generate")}},
	{"ids may be numbers and keep their text", with(`"event_id":1,"trace_id":-2.50,"session_id":1e3,"user_id":12345678901234567890123`),
		a(func(e *event.Event) {
			e.ID, e.TraceID, e.SessionID, e.UserID = []byte("1"), []byte("-2.50"), []byte("1e3"), []byte("12345678901234567890123")
		})},
	{"names are case-sensitive", with(`"Tenant":5,"TENANT":"x","tenant ":"y"`), a(func(*event.Event) {})},
	{"unknown fields may be anything", with(`"x":[1,-0.5e+10,{"y":[[],{}]},"\u00e9\"",true,false,null],"":"","data":{"tenant":1}`),
		a(func(*event.Event) {})},
	{"the last of equal names wins", `{"event_type":1,"tenant":"x","event_type":"a","tenant":["y"],"tenant":"z"}`,
		a(func(e *event.Event) { e.Tenant = []byte("z") })},
	{"a last null wins", with(`"tenant":"x","tenant":null,"error":{"message":"m"},"error":null,"tokens":{"input":1},"tokens":null`),
		a(func(*event.Event) {})},
	{"error and tokens are replaced, not merged",
		with(`"error":{"type":"T","message":5},"error":{"message":"m"},"tokens":{"input":-1},"tokens":{"output":2}`),
		a(func(e *event.Event) { e.Error, e.ErrorMessage, e.OutputTokens = true, []byte("m"), 2 })},
	{"only the top level counts", with(`"nested":{"tenant":"x","error":{"type":"T"}},"error":{"error":{"type":"T"},"tokens":{"input":1}}`),
		a(func(*event.Event) {})},

	// text
	{"escapes", with(`"model":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00"`),
		a(func(e *event.Event) { e.Model = []byte("\"\\/\b\f\n\r\tAé€😀") })},
	{"escapes in names", `{"\u0065vent_type":"a","te\u006eant":"x","\/app":"y"}`,
		a(func(e *event.Event) { e.Tenant = []byte("x") })},
	{"lone surrogates are replaced", with(`"model":"\ud800","app":"\ude00\ud83dx","tenant":"\ud83d\ud83d\ude00"`),
		a(func(e *event.Event) { e.Model, e.App, e.Tenant = []byte("�"), []byte("��x"), []byte("�😀") })},
	{"invalid UTF-8 is replaced byte by byte", with("\"model\":\"\xff\xe5\xa6x\",\"app\":\"caf\xc3\xa9\""),
		a(func(e *event.Event) { e.Model, e.App = []byte("���x"), []byte("café") })},

	// time
	{"no timestamp", with(`"x":1`), a(func(*event.Event) {})},
	{"an offset to the east", with(`"timestamp":"2025-04-05T12:00:00+02:00"`), at(tenOClock)},
	{"an offset to the west", with(`"timestamp":"2025-04-05T04:30:00-05:30"`), at(tenOClock)},
	{"an unknown offset", with(`"timestamp":"2025-04-05T10:00:00-00:00"`), at(tenOClock)},
	{"lower case", with(`"timestamp":"2025-04-05t10:00:00z"`), at(tenOClock)},
	{"one digit of a second", with(`"timestamp":"2025-04-05T10:00:00.5Z"`), at(tenOClock + 500)},
	{"milliseconds are cut, not rounded", with(`"timestamp":"2025-04-05T10:00:00.123999999999+00:00"`), at(tenOClock + 123)},
	{"a leap day", with(`"timestamp":"2024-02-29T00:00:00Z"`), at(1709164800000)},
	{"a leap second", with(`"timestamp":"2016-12-31T23:59:60.5Z"`), at(1483228800500)},
	{"a leap second elsewhere", with(`"timestamp":"2017-01-01T08:59:60+09:00"`), at(1483228800000)},
	{"the first instant", with(`"timestamp":"1970-01-01T00:00:00Z"`), at(0)},
	{"the first instant, written in a year before", with(`"timestamp":"1969-12-31T23:00:00-01:00"`), at(0)},
	{"the last instant", with(`"timestamp":"2261-12-31T23:59:59.999Z"`), at(9214646399999)},
	{"epoch seconds", with(`"timestamp":1743847200`), at(tenOClock)},
	{"epoch seconds with a fraction", with(`"timestamp":1743847200.1239`), at(tenOClock + 123)},
	{"a fraction that binary floating point would lose", with(`"timestamp":1743847200.001`), at(tenOClock + 1)},
	{"epoch milliseconds", with(`"timestamp":1743847200000`), at(tenOClock)},
	{"epoch milliseconds with a fraction", with(`"timestamp":1743847200000.9`), at(tenOClock)},
	{"epoch microseconds", with(`"timestamp":1743847200000999`), at(tenOClock)},
	{"epoch nanoseconds", with(`"timestamp":1743847200000999999`), at(tenOClock)},
	{"epoch with an exponent", with(`"timestamp":1.7438472e9`), at(tenOClock)},
	{"epoch in a string", with(`"timestamp":"1743847200.5"`), at(tenOClock + 500)},
	{"epoch milliseconds in a string", with(`"timestamp":"1743847200000"`), at(tenOClock)},
	{"epoch zero", with(`"timestamp":0`), at(0)},
	{"the least number of milliseconds", with(`"timestamp":100000000000`), at(100000000000)},
	{"the least number of microseconds", with(`"timestamp":100000000000000`), at(100000000000)},
	{"the least number of nanoseconds", with(`"timestamp":100000000000000000`), at(100000000000)},

	// latency
	{"latency in milliseconds", with(`"latency_ms":1234.5`), took(1_234_500_000)},
	{"duration in milliseconds", with(`"duration_ms":0.000001`), took(1)},
	{"duration in seconds", with(`"duration":1.25`), took(1_250_000_000)},
	{"nanoseconds are cut", with(`"duration":0.0000000019`), took(1)},
	{"a latency of zero is one", with(`"latency_ms":-0.0`), took(0)},
	{"exact where binary floating point is not", with(`"latency_ms":0.3`), took(300_000)},
	{"latency_ms wins over both", with(`"duration":3,"latency_ms":1,"duration_ms":2`), took(1_000_000)},
	{"latency_ms wins in any order", with(`"latency_ms":1,"duration_ms":2,"duration":3`), took(1_000_000)},
	{"duration_ms wins over duration", with(`"duration_ms":2,"duration":3`), took(2_000_000)},
	{"a latency of zero wins as well", with(`"latency_ms":0,"duration":3`), took(0)},
	{"a null latency does not", with(`"latency_ms":null,"duration":3`), took(3_000_000_000)},
	{"30 days", with(`"duration":2592000`), took(2_592_000_000_000_000)},
	{"time to first token", with(`"ttft_ms":1e2`), a(func(e *event.Event) { e.TTFT, e.HasTTFT = 100_000_000, true })},

	// tokens
	{"integers in any form", with(`"tokens":{"input":12.0,"output":1e3,"total":"x"}`),
		a(func(e *event.Event) { e.InputTokens, e.OutputTokens = 12, 1000 })},
	{"the most tokens", with(`"tokens":{"input":9007199254740992,"output":-0}`),
		a(func(e *event.Event) { e.InputTokens = 1 << 53 })},
	{"many digits of an integer", with(`"tokens":{"input":12.00000000000000000000000000000,"output":500000000000000000000000e-23}`),
		a(func(e *event.Event) { e.InputTokens, e.OutputTokens = 12, 5 })},

	// what is an error
	{"ok", with(`"status":"ok"`), a(func(*event.Event) {})},
	{"ok in any case", with(`"status":"Success"`), a(func(*event.Event) {})},
	{"unset is ok", with(`"status":"UNSET"`), a(func(*event.Event) {})},
	{"no status is ok", with(`"status":""`), a(func(*event.Event) {})},
	{"any other status is an error", with(`"status":"okay"`), a(isError)},
	{"a long status is an error", with(`"status":"deadline_exceeded"`), a(isError)},
	{"case is that of ASCII only", with(`"status":"unſet"`), a(isError)},
	{"an error despite the status", with(`"status":"ok","error":{"message":"m"}`),
		a(func(e *event.Event) { e.Error, e.ErrorMessage = true, []byte("m") })},
	{"a bare message", with(`"error":"boom\n"`), a(func(e *event.Event) { e.Error, e.ErrorMessage = true, []byte("boom\n") })},
	{"only a type", with(`"error":{"type":"T"}`), a(func(e *event.Event) { e.Error, e.ErrorType = true, []byte("T") })},
	{"only a stack", with(`"error":{"stack":"S"}`), a(func(e *event.Event) { e.Error, e.ErrorStack = true, []byte("S") })},
	{"an empty object is no error", with(`"error":{}`), a(func(*event.Event) {})},
	{"an object without text is no error", with(`"error":{"type":"","message":"","stack":"","code":0}`), a(func(*event.Event) {})},
	{"an empty message is no error", with(`"error":""`), a(func(*event.Event) {})},
	{"false is no error", with(`"error":false`), a(func(*event.Event) {})},
	{"true is an error", with(`"error":true`), a(isError)},
	{"an error_event is one whatever its status", `{"event_type":"error_event","status":"ok"}`,
		event.Event{Type: []byte("error_event"), Stage: []byte("error_event"), Error: true}},

	{"the deepest nesting", with(`"x":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999)), a(func(*event.Event) {})},
}

func TestDecode(t *testing.T) {
	var d codecs.JSON
	for _, tt := range goodRecords {
		t.Run(tt.name, func(t *testing.T) {
			var got event.Event
			if p := d.Decode([]byte(tt.record), &got); p != nil {
				t.Fatalf("Decode(%.200s) = %+v, want an event", tt.record, p)
			}
			if g, w := printable(got), printable(tt.want); g != w {
				t.Errorf("Decode(%s)\n got %s\nwant %s", tt.record, g, w)
			}
			compareWithTwin(t, &d, []byte(tt.record))
		})
	}
}

// poisonRecords are the rules of the wire format that make poison.
var poisonRecords = []struct {
	name   string
	record string
	reason codecs.Reason
	detail string // part of it
}{
	{"nothing", "", codecs.ReasonEmpty, "record has no value"},
	{"only white space", " \n\t\r ", codecs.ReasonEmpty, "record has no value"},
	{"too large", with(`"x":"` + strings.Repeat("x", codecs.DefaultMaxBytes) + `"`), codecs.ReasonTooLarge, "at most 1048576"},
	{"too large before empty", strings.Repeat(" ", codecs.DefaultMaxBytes+1), codecs.ReasonTooLarge, "1048577 bytes"},

	{"text", "hello", codecs.ReasonSyntax, "at byte 0: hello; want a value"},
	{"a byte order mark", "\xef\xbb\xbf{}", codecs.ReasonSyntax, "at byte 0"},
	{"other white space", "\v{}", codecs.ReasonSyntax, "at byte 0"},
	{"cut short", `{"event_type":"a"`, codecs.ReasonSyntax, "ends at byte 17; want a comma or }"},
	{"cut in a string", `{"event_type":"a`, codecs.ReasonSyntax, "want the closing quote"},
	{"cut in an escape", `{"event_type":"\`, codecs.ReasonSyntax, "after a backslash"},
	{"trailing garbage", `{"event_type":"a"} x`, codecs.ReasonSyntax, "at byte 19: x; want the end of the record"},
	{"two records", `{"event_type":"a"}{"event_type":"a"}`, codecs.ReasonSyntax, "want the end of the record"},
	{"a trailing comma", `{"event_type":"a",}`, codecs.ReasonSyntax, "want a name in quotes"},
	{"a leading comma", `{,"event_type":"a"}`, codecs.ReasonSyntax, "want a name in quotes"},
	{"a comma in an array", with(`"x":[1,]`), codecs.ReasonSyntax, "want a value"},
	{"an array not closed", with(`"x":[1}`), codecs.ReasonSyntax, "want a comma or ]"},
	{"no colon", `{"event_type" "a"}`, codecs.ReasonSyntax, "want a colon"},
	{"no value", `{"event_type":}`, codecs.ReasonSyntax, "want a value"},
	{"a bare name", `{event_type:"a"}`, codecs.ReasonSyntax, "want a name in quotes"},
	{"single quotes", `{'event_type':'a'}`, codecs.ReasonSyntax, "want a name in quotes"},
	{"a wrong word", with(`"x":nul`), codecs.ReasonSyntax, "want null"},
	{"a word in upper case", with(`"x":True`), codecs.ReasonSyntax, "want a value"},
	{"NaN", with(`"latency_ms":NaN`), codecs.ReasonSyntax, "want a value"},
	{"infinity", with(`"latency_ms":-Infinity`), codecs.ReasonSyntax, "want a digit"},
	{"a leading zero", with(`"x":01`), codecs.ReasonSyntax, "want a comma or }"},
	{"a leading plus", with(`"x":+1`), codecs.ReasonSyntax, "want a value"},
	{"a leading point", with(`"x":.5`), codecs.ReasonSyntax, "want a value"},
	{"a trailing point", with(`"x":5.`), codecs.ReasonSyntax, "want a digit"},
	{"an exponent without digits", with(`"x":5e+`), codecs.ReasonSyntax, "want a digit"},
	{"a lone minus", with(`"x":-`), codecs.ReasonSyntax, "want a digit"},
	{"a hexadecimal number", with(`"x":0x1`), codecs.ReasonSyntax, "want a comma or }"},
	{"a line feed in a string", with("\"x\":\"a\nb\""), codecs.ReasonSyntax, "no control character"},
	{"a control character among many bytes", with("\"x\":\"0123456789abcde\x1ff0123456789\""), codecs.ReasonSyntax, "no control character"},
	{"an unknown escape", with(`"x":"\x41"`), codecs.ReasonSyntax, "after a backslash"},
	{"a short escape", with(`"x":"\u12g4"`), codecs.ReasonSyntax, `four hex digits after \u`},
	{"a wrong escape in an unknown name", with(`"\q":1`), codecs.ReasonSyntax, "after a backslash"},
	{"too deep", with(`"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)), codecs.ReasonSyntax, "10000 levels"},
	{"objects too deep", strings.Repeat(`{"x":`, 10_001), codecs.ReasonSyntax, "10000 levels"},
	{"syntax before fields", `{"event_type":1,"tenant":[]`, codecs.ReasonSyntax, "ends at byte 27"},

	{"an array of records", `[{"event_type":"a"}]`, codecs.ReasonWrongType, `record is [{"event_type":"a"}]; want a JSON object`},
	{"null", `null`, codecs.ReasonWrongType, "record is null"},
	{"a string", `"x"`, codecs.ReasonWrongType, `record is "x"`},
	{"a number", ` 12 `, codecs.ReasonWrongType, "record is 12"},

	{"no event type", `{"tenant":"acme"}`, codecs.ReasonMissingField, "event_type is missing or empty"},
	{"an empty event type", `{"event_type":""}`, codecs.ReasonMissingField, "event_type is missing"},
	{"a null event type", `{"event_type":null}`, codecs.ReasonMissingField, "event_type is missing"},
	{"an event type in a nested object only", `{"data":{"event_type":"a"}}`, codecs.ReasonMissingField, "event_type is missing"},
	{"a dimension before a missing type", `{"tenant":5}`, codecs.ReasonWrongType, "tenant is 5; want a string"},
	{"a missing type before an id", `{"user_id":[]}`, codecs.ReasonMissingField, "event_type"},

	{"event_type", `{"event_type":5}`, codecs.ReasonWrongType, "event_type is 5; want a string"},
	{"tenant", with(`"tenant":{"a":1}`), codecs.ReasonWrongType, `tenant is {"a":1}; want a string`},
	{"app", with(`"app":true`), codecs.ReasonWrongType, "app is true"},
	{"stage", with(`"stage":[]`), codecs.ReasonWrongType, "stage is []"},
	{"model", with(`"model":4`), codecs.ReasonWrongType, "model is 4"},
	{"event_id", with(`"event_id":true`), codecs.ReasonWrongType, "event_id is true; want a string or a number"},
	{"trace_id", with(`"trace_id":{}`), codecs.ReasonWrongType, "trace_id is {}"},
	{"session_id", with(`"session_id":[1]`), codecs.ReasonWrongType, "session_id is [1]"},
	{"user_id", with(`"user_id":false`), codecs.ReasonWrongType, "user_id is false"},
	{"status", with(`"status":200`), codecs.ReasonWrongType, "status is 200; want a string"},
	{"error", with(`"error":500`), codecs.ReasonWrongType, "error is 500; want an object"},
	{"an array as error", with(`"error":[]`), codecs.ReasonWrongType, "error is []"},
	{"error.type", with(`"error":{"type":500}`), codecs.ReasonWrongType, "error.type is 500; want a string"},
	{"error.message", with(`"error":{"message":{}}`), codecs.ReasonWrongType, "error.message is {}"},
	{"error.stack", with(`"error":{"stack":["a"]}`), codecs.ReasonWrongType, `error.stack is ["a"]`},

	{"latency as text", with(`"latency_ms":"12 ms"`), codecs.ReasonWrongType, `latency_ms is "12 ms"; want a number, from 0 to 30 days`},
	{"a negative latency", with(`"latency_ms":-0.1`), codecs.ReasonWrongType, "latency_ms is -0.1"},
	{"more than 30 days", with(`"latency_ms":2592000000.000001`), codecs.ReasonWrongType, "latency_ms is 2592000000.000001"},
	{"a number beyond all bounds", with(`"duration":1e400`), codecs.ReasonWrongType, "duration is 1e400"},
	{"a latency that does not count is judged", with(`"latency_ms":1,"duration":"1s"`), codecs.ReasonWrongType, `duration is "1s"`},
	{"duration_ms", with(`"duration_ms":[]`), codecs.ReasonWrongType, "duration_ms is []"},
	{"ttft_ms", with(`"ttft_ms":true`), codecs.ReasonWrongType, "ttft_ms is true"},

	{"tokens as a number", with(`"tokens":976`), codecs.ReasonWrongType, "tokens is 976; want an object"},
	{"negative tokens", with(`"tokens":{"input":-1}`), codecs.ReasonWrongType, "tokens.input is -1; want an integer"},
	{"part of a token", with(`"tokens":{"output":1.5}`), codecs.ReasonWrongType, "tokens.output is 1.5"},
	{"part of a token, far behind the point", with(`"tokens":{"input":1.0000000000000000000000001}`), codecs.ReasonWrongType, "tokens.input"},
	{"too many tokens", with(`"tokens":{"input":9007199254740993}`), codecs.ReasonWrongType, "tokens.input"},
	{"tokens as text", with(`"tokens":{"input":"12"}`), codecs.ReasonWrongType, `tokens.input is "12"`},

	{"time without an offset", with(`"timestamp":"2025-04-05T10:00:00"`), codecs.ReasonWrongType, "want RFC 3339 with an offset"},
	{"a space for the T", with(`"timestamp":"2025-04-05 10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"only a date", with(`"timestamp":"2025-04-05"`), codecs.ReasonWrongType, "timestamp is"},
	{"a comma before the fraction", with(`"timestamp":"2025-04-05T10:00:00,5Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"no digits in the fraction", with(`"timestamp":"2025-04-05T10:00:00.Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"a short offset", with(`"timestamp":"2025-04-05T10:00:00+02"`), codecs.ReasonWrongType, "timestamp is"},
	{"an offset without colon", with(`"timestamp":"2025-04-05T10:00:00+0200"`), codecs.ReasonWrongType, "timestamp is"},
	{"an offset of a day", with(`"timestamp":"2025-04-05T10:00:00+24:00"`), codecs.ReasonWrongType, "timestamp is"},
	{"the 30th of February", with(`"timestamp":"2024-02-30T10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"a leap day in a common year", with(`"timestamp":"2100-02-29T10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"the 31st of April", with(`"timestamp":"2025-04-31T10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"month 13", with(`"timestamp":"2025-13-05T10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"hour 24", with(`"timestamp":"2025-04-05T24:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"minute 60", with(`"timestamp":"2025-04-05T10:60:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"second 60 at noon", with(`"timestamp":"2016-12-31T12:59:60Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"second 61", with(`"timestamp":"2016-12-31T23:59:61Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"letters for digits", with(`"timestamp":"2o25-04-05T10:00:00Z"`), codecs.ReasonWrongType, "timestamp is"},
	{"an empty time", with(`"timestamp":""`), codecs.ReasonWrongType, `timestamp is ""`},
	{"a time of another type", with(`"timestamp":true`), codecs.ReasonWrongType, "timestamp is true"},
	{"white space around an epoch", with(`"timestamp":" 1743847200"`), codecs.ReasonWrongType, "timestamp is"},
	{"before 1970", with(`"timestamp":"1969-12-31T23:59:59.999Z"`), codecs.ReasonWrongType, "1970 to 2261"},
	{"before 1970 in UTC", with(`"timestamp":"1970-01-01T00:00:00+00:01"`), codecs.ReasonWrongType, "1970 to 2261"},
	{"after 2261", with(`"timestamp":"2262-01-01T00:00:00Z"`), codecs.ReasonWrongType, "1970 to 2261"},
	{"after 2261 in UTC", with(`"timestamp":"2261-12-31T23:59:59-00:01"`), codecs.ReasonWrongType, "1970 to 2261"},
	{"a negative epoch", with(`"timestamp":-1`), codecs.ReasonWrongType, "timestamp is -1"},
	{"an epoch a hair below zero", with(`"timestamp":-0.0001`), codecs.ReasonWrongType, "timestamp is -0.0001"},
	{"seconds after 2261", with(`"timestamp":9214646400`), codecs.ReasonWrongType, "timestamp is 9214646400"},
	{"the largest number of seconds", with(`"timestamp":99999999999.9`), codecs.ReasonWrongType, "timestamp is"},
	{"an epoch beyond all bounds", with(`"timestamp":1e300`), codecs.ReasonWrongType, "timestamp is 1e300"},

	{"a long value is cut in the detail, between runes", with(`"tenant":["` + strings.Repeat("é", 100) + `"]`),
		codecs.ReasonWrongType, `tenant is ["` + strings.Repeat("é", 31) + `…; want a string`},
	{"the detail is one line of valid text", with("\"tenant\":[\n\"\xff\"]"), codecs.ReasonWrongType, "tenant is [ \"�\"]; want"},
}

func TestDecodePoison(t *testing.T) {
	var d codecs.JSON
	for _, tt := range poisonRecords {
		t.Run(tt.name, func(t *testing.T) {
			var e event.Event
			p := d.Decode([]byte(tt.record), &e)
			if p == nil {
				t.Fatalf("Decode(%.200s) = %+v, want poison", tt.record, e)
			}
			if p.Reason != tt.reason || !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("Decode(%.200s) = %+v, want %s with %q", tt.record, *p, tt.reason, tt.detail)
			}
			compareWithTwin(t, &d, []byte(tt.record))
		})
	}
}

func TestDecodeNil(t *testing.T) {
	var d codecs.JSON
	var e event.Event
	if p := d.Decode(nil, &e); p == nil || p.Reason != codecs.ReasonEmpty {
		t.Errorf("Decode(nil) = %+v, want %s", p, codecs.ReasonEmpty)
	}
}

func TestMaxBytes(t *testing.T) {
	d := codecs.JSON{MaxBytes: 18}
	var e event.Event
	if p := d.Decode([]byte(`{"event_type":"a"}`), &e); p != nil {
		t.Errorf("Decode of 18 bytes with MaxBytes 18 = %+v, want an event", *p)
	}
	if p := d.Decode([]byte(`{"event_type":"a"} `), &e); p == nil || p.Reason != codecs.ReasonTooLarge {
		t.Errorf("Decode of 19 bytes with MaxBytes 18 = %+v, want %s", p, codecs.ReasonTooLarge)
	}
}

// TestEveryCutAndEveryByte changes records in all the small ways that a
// general fuzzer takes long to find.
func TestEveryCutAndEveryByte(t *testing.T) {
	var d codecs.JSON
	for _, record := range []string{typical, failed, goodRecords[0].record} {
		for i := range record {
			compareWithTwin(t, &d, []byte(record[:i]))
			for _, c := range []byte("\"\\{}[],:0-.eE+ntf \x00\x1f\x7f\x80\xff\n") {
				changed := []byte(record)
				changed[i] = c
				compareWithTwin(t, &d, changed)
			}
		}
	}
}

// TestStringsOfEveryLength puts each kind of byte at each place of strings
// that end at each distance from the end of the record.
func TestStringsOfEveryLength(t *testing.T) {
	var d codecs.JSON
	for length := range 20 {
		for place := range length + 1 {
			for _, s := range []string{"", `"`, `\\`, `\n`, "\n", "\x00", "\x1f", " ", "\x7f", "\xff", "é", `\u00e9`, "!", "#", "[", "]"} {
				text := strings.Repeat("x", place) + s + strings.Repeat("y", length-place)
				compareWithTwin(t, &d, []byte(with(`"model":"`+text+`"`)))
				compareWithTwin(t, &d, []byte(`{"model":"`+text+`","event_type":"a and more of it"}  `))
			}
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	var d codecs.JSON
	var e event.Event
	for _, tt := range goodRecords {
		value := []byte(tt.record)
		decode := func() {
			if p := d.Decode(value, &e); p != nil {
				t.Fatal(p)
			}
		}
		decode() // grows the scratch
		if n := testing.AllocsPerRun(100, decode); n != 0 {
			t.Errorf("Decode(%.200s) allocates %v times, want 0", tt.record, n)
		}
	}
}

// TestPlainTextIsNotCopied holds what makes the codec fast.
func TestPlainTextIsNotCopied(t *testing.T) {
	var d codecs.JSON
	var e event.Event
	value := []byte(with(`"tenant":"acme","model":"模型"`))
	if p := d.Decode(value, &e); p != nil {
		t.Fatal(p)
	}
	for _, s := range [][]byte{e.Tenant, e.Model} {
		if i := bytes.Index(value, s); &value[i] != &s[0] {
			t.Errorf("%q was copied out of the record", s)
		}
	}
}

// TestTextStaysUntilNextDecode: text that was rewritten early must not be
// disturbed by text that is rewritten later, however the scratch grows.
func TestTextStaysUntilNextDecode(t *testing.T) {
	var d codecs.JSON
	var e event.Event
	long := strings.Repeat(`\n`, 5000)
	record := with(`"tenant":"t\n","app":"a\n","model":"` + long + `","trace_id":"` + long + `x"`)
	if p := d.Decode([]byte(record), &e); p != nil {
		t.Fatal(p)
	}
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{e.Tenant, "t\n"}, {e.App, "a\n"},
		{e.Model, strings.Repeat("\n", 5000)}, {e.TraceID, strings.Repeat("\n", 5000) + "x"},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("got %.20q… (%d bytes), want %.20q… (%d bytes)", tt.got, len(tt.got), tt.want, len(tt.want))
		}
	}
	// Appending to one field must not write into another.
	_ = append(e.Tenant, "!!!!"...)
	if string(e.App) != "a\n" {
		t.Errorf("appending to Tenant changed App to %q", e.App)
	}
}

func ExampleJSON_Decode() {
	var d codecs.JSON
	var e event.Event
	for _, record := range []string{
		`{"event_type":"llm_call_completed","trace_id":"9b2e","duration":1.5}`,
		`{"event_type":"llm_call_completed","duration":"1.5s"}`,
	} {
		if p := d.Decode([]byte(record), &e); p != nil {
			fmt.Println(p.Reason, "|", p.Detail)
			continue
		}
		fmt.Printf("%s %s %d\n", e.Type, e.Stage, e.Duration)
	}
	// Output:
	// llm_call_completed generate 1500000000
	// wrong_type | duration is "1.5s"; want a number, from 0 to 30 days
}

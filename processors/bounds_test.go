package processors_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/tables"
)

// maxSent is what every record stays below that ingest and assemble send: half of
// what a broker takes by default.
const maxSent = 512 << 10

// maxRecord is the largest source record by default, limits.record_bytes.
const maxRecord = 1 << 20

// size is about what a record has on the wire, without what a batch adds.
func (s sent) size() int {
	n := len(s.key) + len(s.value) + 32
	for _, h := range s.headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n
}

// wantBounded checks every record of every topic, and returns the size of the
// largest of each.
func (d *driver) wantBounded() map[string]int {
	d.t.Helper()
	largest := map[string]int{}
	for topic, log := range d.logs {
		for i, r := range log {
			largest[topic] = max(largest[topic], r.size())
			if r.size() >= maxSent {
				d.t.Errorf("record %d of %s has %d bytes, want less than %d", i, topic, r.size(), maxSent)
			}
		}
	}
	return largest
}

// tablesOf are all tables with their rows as the changelog has them.
type tablesOf struct {
	latency *reader[*processors.TableTask[tables.Latency, *tables.Latency]]
	errors  *reader[*processors.TableTask[tables.Errors, *tables.Errors]]
	rows    rows
}

// flowAll is flow for the tables latency and errors, too.
func (d *driver) flowAll(all *tablesOf) {
	d.t.Helper()
	if all.rows == nil {
		all.rows = rows{}
		all.latency = startTable[tables.Latency](d, "latency", processors.TableConfig{}, all.rows)
		all.errors = startTable[tables.Errors](d, "errors", processors.TableConfig{}, all.rows)
	}
	d.flow(false)
	drain(d, "latency", all.latency)
	drain(d, "errors", all.errors)
	for key, row := range all.rows {
		if n := len(key) + len(row); n >= maxSent {
			d.t.Errorf("row %.40q has %d bytes, want less than %d", key, n, maxSent)
		}
	}
}

// A megabyte in any field of an event, in any script, is counted like any other
// event, and what is sent because of it stays small.
func TestHugeFieldsAreCountedAndStaySmall(t *testing.T) {
	letters := map[string]string{"letters": "x", "words": "lorem ipsum ", "umlauts": "é", "emoji": "😀", "quotes": `\"`, "escapes": `\u0001`}
	for field, cut := range map[string][]string{
		"tenant": {"tenant"}, "app": {"app"}, "stage": {"stage"}, "event_type": {"event_type"}, "model": {"model"},
		"type": {"error_type"}, "trace_id": {"trace_id"}, "message": nil, "stack": nil, "session_id": nil, "user_id": nil,
		"event_id": nil, "status": nil, "prompt": nil,
	} {
		for name, letter := range letters {
			t.Run(field+" of "+name, func(t *testing.T) {
				before, after := `{"latency_ms":5,"ttft_ms":2,"timestamp":"2026-03-01T12:00:01Z"`, `"}`
				if field != "event_type" {
					before += `,"event_type":"llm_call_failed"`
				}
				if field != "stage" {
					before += `,"stage":"generate"`
				}
				if field == "type" || field == "message" || field == "stack" {
					before, after = before+`,"error":{"code":7`, `"}}`
				} else {
					before += `,"error":true`
				}
				before += fmt.Sprintf(`,%q:"`, field)
				room := maxRecord - len(before) - len(after)
				value := []byte(before + strings.Repeat(letter, room/len(letter)) + strings.Repeat("y", room%len(letter)) + after)
				if len(value) != maxRecord || !json.Valid(value) {
					t.Fatalf("the record has %d bytes, valid = %v", len(value), json.Valid(value))
				}
				d := newDriver(t, 1)
				var all tablesOf
				d.raw(0, value)
				d.flowAll(&all)
				d.event(0, "12:01:10", "closes the pane")
				d.flowAll(&all)
				d.wantBounded()
				d.wantOutcomes("counted 2, in 2")
				if len(d.windows()) != 1 {
					t.Errorf("closed windows = %q, want one", d.windows())
				}
				want := map[string]int64{}
				for _, label := range cut {
					want[label] = 1
				}
				if !maps.Equal(d.cut, want) {
					t.Errorf("cut = %v, want %v", d.cut, want)
				}
				all.errors.task.Visit(func(key string, _ *tables.Row[tables.Errors, *tables.Errors]) {
					if len(key) > 1000 {
						t.Errorf("the key of the error group has %d bytes", len(key))
					}
				})
			})
		}
	}
}

// tenants returns the traffic counted by tenant.
func (d *driver) tenants() map[string]int64 {
	counts := map[string]int64{}
	d.traffic.task.Visit(func(key string, row *tables.Row[tables.Traffic, *tables.Traffic]) {
		dims, err := tables.TrafficTable.DimsOf(key)
		if err != nil {
			d.t.Fatal(err)
		}
		counts[dims[0]] += row.Sum().Count
	})
	return counts
}

func TestLabelsAreCutAtTheLimit(t *testing.T) {
	for _, tt := range []struct {
		name, tenant, want string
		cut                int64
	}{
		{"short", "acme", "acme", 0},
		{"at the limit", strings.Repeat("x", 16), strings.Repeat("x", 16), 0},
		{"a byte beyond", strings.Repeat("x", 17), strings.Repeat("x", 13) + "…", 1},
		{"a character of two bytes at the cut", strings.Repeat("x", 12) + "ééé", strings.Repeat("x", 12) + "…", 1},
		{"one of four", strings.Repeat("x", 12) + "😀😀", strings.Repeat("x", 12) + "…", 1},
		{"one of four before it", strings.Repeat("x", 9) + "😀😀", strings.Repeat("x", 9) + "😀…", 1},
		{"of two bytes, at the limit", strings.Repeat("é", 8), strings.Repeat("é", 8), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(t, 1, func(c *processors.IngestConfig) { c.LabelBytes = 16 })
			d.event(0, "12:00:01", "a", fmt.Sprintf(`"tenant":%q`, tt.tenant))
			d.flow(false)
			if got := d.tenants(); got[tt.want] != 1 || len(tt.want) > 16 || !utf8.ValidString(tt.want) {
				t.Errorf("tenants = %v, want %q", got, tt.want)
			}
			if d.cut["tenant"] != tt.cut {
				t.Errorf("cut = %v, want %d", d.cut, tt.cut)
			}
		})
	}
}

// The stages of a type are the type itself when nothing else is known: both are
// cut, and the value that both share is left as it was.
func TestStageAndTypeMayBeOneValue(t *testing.T) {
	d := newDriver(t, 1)
	d.raw(0, []byte(`{"event_type":"`+strings.Repeat("x", 300)+`","timestamp":"2026-03-01T12:00:01Z"}`))
	d.flow(false)
	if want := (map[string]int64{"stage": 1, "event_type": 1}); !maps.Equal(d.cut, want) {
		t.Errorf("cut = %v, want %v", d.cut, want)
	}
}

// What makes two events the same event is not cut: only the series is shared.
func TestIdentityIsThatOfWholeValues(t *testing.T) {
	long := strings.Repeat("x", 300)
	d := newDriver(t, 1)
	for range 2 {
		for _, members := range []string{
			`"tenant":"` + long + `1"`,
			`"tenant":"` + long + `2"`,
			`"tenant":"` + long + `2","trace_id":"` + long + `1"`,
			`"tenant":"` + long + `2","trace_id":"` + long + `2"`,
		} {
			d.event(0, "12:00:01", "a", members)
		}
	}
	d.flow(false)
	d.wantOutcomes("counted 4, duplicate 4, in 8")
	if got, want := d.tenants(), (map[string]int64{strings.Repeat("x", 253) + "…": 4}); !maps.Equal(got, want) {
		t.Errorf("tenants = %v, want %v", got, want)
	}
}

// Error groups are told apart by the error type that is shown.
func TestErrorTypesThatAreCutShareAGroup(t *testing.T) {
	long := strings.Repeat("x", 300)
	d := newDriver(t, 1)
	var all tablesOf
	for i := range 3 {
		d.event(0, "12:00:01", "", fmt.Sprintf(`"error":{"type":"%s%d"}`, long, i))
	}
	d.flowAll(&all)
	all.errors.task.Visit(func(_ string, row *tables.Row[tables.Errors, *tables.Errors]) {
		if sum := row.Sum(); sum.Count != 3 || sum.ErrorType != strings.Repeat("x", 253)+"…" {
			t.Errorf("group of %q with %d errors, want one of 3", sum.ErrorType, sum.Count)
		}
	})
	if d.cut["error_type"] != 3 {
		t.Errorf("cut = %v, want 3 error types", d.cut)
	}
}

// An id cut short points nowhere. The sample still names its record.
func TestTraceIDThatIsTooLongIsNoSample(t *testing.T) {
	d := newDriver(t, 1)
	var all tablesOf
	longest := strings.Repeat("x", tables.MaxTraceID)
	d.event(0, "12:00:01", "a", `"trace_id":"`+longest+`"`, `"tenant":"kept"`, `"latency_ms":5`, `"error":"boom"`)
	d.event(0, "12:00:01", "b", `"trace_id":"`+longest+`x"`, `"tenant":"left out"`, `"latency_ms":5`, `"error":"boom"`)
	d.flowAll(&all)
	got := map[string][2]string{}
	all.latency.task.Visit(func(key string, row *tables.Row[tables.Latency, *tables.Latency]) {
		dims, _ := tables.LatencyTable.DimsOf(key)
		sum := row.Sum()
		got[dims[0]] = [2]string{sum.Slowest.TraceID}
	})
	all.errors.task.Visit(func(key string, row *tables.Row[tables.Errors, *tables.Errors]) {
		dims, _ := tables.ErrorsTable.DimsOf(key)
		sum := row.Sum()
		got[dims[0]] = [2]string{got[dims[0]][0], sum.Newest.TraceID}
		if sum.Newest.Topic != "rag-traces" || sum.Newest.Time != at("12:00:01").UnixMilli() {
			t.Errorf("sample = %+v, want one that names its record", sum.Newest)
		}
	})
	if want := (map[string][2]string{"kept": {longest, longest}, "left out": {"", ""}}); !maps.Equal(got, want) {
		t.Errorf("trace ids by tenant = %v, want %v", got, want)
	}
	if want := (map[string]int64{"trace_id": 1}); !maps.Equal(d.cut, want) {
		t.Errorf("cut = %v, want %v", d.cut, want)
	}
}

// The longest labels allowed, all different, with an error each: records are sent
// when they are full, and none is too large.
func TestFullRecordsOfTheLongestLabels(t *testing.T) {
	d := newDriver(t, 1, func(c *processors.IngestConfig) { c.LabelBytes = processors.MaxLabelBytes })
	var all tablesOf
	label := func(name string, i int) string {
		return fmt.Sprintf(`"%s":"%04d%s"`, name, i, strings.Repeat("x", processors.MaxLabelBytes-4))
	}
	const n = 200
	for i := range n {
		members := []string{label("tenant", i), label("app", i), label("stage", i), label("event_type", i), label("model", i),
			`"timestamp":"2026-03-01T12:00:01Z","latency_ms":5,"ttft_ms":1`, fmt.Sprintf(`"event_id":"%d","trace_id":"%064d","session_id":"%d"`, i, i, i),
			`"error":{` + label("type", i) + `,"message":"` + strings.Repeat("wörd ", 500) + `"}`}
		d.raw(0, []byte("{"+strings.Join(members, ",")+"}"))
	}
	d.flowAll(&all)
	d.event(0, "12:01:10", "closes the pane")
	d.flowAll(&all)
	d.wantOutcomes(fmt.Sprintf("counted %d, in %d", n+1, n+1))
	if len(d.cut) > 0 {
		t.Errorf("cut = %v, want nothing", d.cut)
	}
	largest := d.wantBounded()
	for _, topic := range []string{
		d.names.Events(), d.names.Partials("traffic"), d.names.Partials("latency"), d.names.Partials("errors"),
		d.names.Windows("traffic"), d.names.Windows("latency"), d.names.Windows("errors"),
	} {
		if largest[topic] < 400<<10 {
			t.Errorf("the largest record of %s has %d bytes, want some that are full", topic, largest[topic])
		}
	}
}

// A value within its limits costs nothing: an event leaves as bytes in buffers that
// are there already.
func TestIngestAllocatesNothingPerEvent(t *testing.T) {
	d := newDriver(t, 1)
	var records []codecs.Record
	for i := range 100 {
		value := fmt.Appendf(nil, `{"event_type":"llm_call_completed","event_id":"%d","trace_id":"%032d","tenant":"acme","model":"%s","latency_ms":%d,"timestamp":%q}`,
			i, i, strings.Repeat("m", processors.DefaultLabelBytes), i, at("12:00:01").Format(time.RFC3339Nano))
		records = append(records, codecs.Record{Offset: int64(i), Value: value})
	}
	task := d.ingest[0].task
	const runs = 10
	for range runs + 2 {
		task.Process(records)
	}
	flush(d, task, false)
	task.Process(records)
	if n := testing.AllocsPerRun(runs, func() { task.Process(records) }); n != 0 {
		t.Errorf("100 events allocate %v times, want 0", n)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/traces"
	"ragstreams/traces/api"
)

// The table has no place for what records hold: who asks for it is told what shows it.
func TestTraceContentNeedsJSON(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), environment{&out, &out, nil}, []string{"trace", "--content", "4bf92f3577b34da6"})
	if err == nil || !strings.Contains(err.Error(), "--format json") {
		t.Errorf("%v\n%s", err, out.String())
	}
	err = run(t.Context(), environment{&out, &out, nil}, []string{"trace", "--content", "--format", "json", "4bf92f3577b34da6"})
	if err == nil || strings.Contains(err.Error(), "--content") {
		t.Errorf("with JSON: %v, want an error about the configuration that is not there", err)
	}
}

// stretch is a Log of one partition with an offset each second from noon on, of which some
// have records.
type stretch struct {
	records map[int64]string // by offset
	end     int64
	held    bool
	scans   int // that succeed; 0: all
	scanned int
}

// noon is when the records of a stretch begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Topics implements traces.Log.
func (s *stretch) Topics() []string { return []string{"rag-traces"} }

// Ranges implements traces.Log.
func (s *stretch) Ranges(_ context.Context, from, to time.Time) (_ traces.Parts, held bool, _ error) {
	span := traces.Span{To: s.end}
	if !from.IsZero() {
		span.From = min(max(0, int64(from.Sub(noon)/time.Second)), s.end)
	}
	if !to.IsZero() {
		span.To = min(max(0, int64(to.Sub(noon)/time.Second)), s.end)
	}
	return traces.Parts{"rag-traces": {0: span}}, s.held, nil
}

// Scan implements traces.Log.
func (s *stretch) Scan(_ context.Context, parts traces.Parts, _ func([]byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	if s.scanned++; s.scans > 0 && s.scanned > s.scans {
		return traces.Read{}, errors.New("Kafka is away")
	}
	span := parts["rag-traces"][0]
	for _, at := range slices.Sorted(maps.Keys(s.records)) {
		if at < span.From || at >= span.To {
			continue
		}
		r := traces.Record{Place: traces.Place{Topic: "rag-traces", Offset: at}, Timestamp: noon.Add(time.Duration(at) * time.Second), Value: []byte(s.records[at])}
		if err := visit(&r); err != nil {
			return traces.Read{}, err
		}
	}
	return traces.Read{Records: span.To - span.From}, nil
}

// Who looks for a trace in vain is told what was searched, and how to go on.
func TestTraceThatIsNotFound(t *testing.T) {
	around := func(margin time.Duration) traces.Ask {
		return traces.Ask{Around: noon.Add(1_500_000 * time.Second), Margin: margin}
	}
	below := traces.Parts{"rag-traces": {0: {To: 900_000}}}
	for _, tt := range []struct {
		name  string
		log   stretch
		ask   traces.Ask
		wants []string
		not   string
	}{
		{"newest", stretch{end: 1_000_000}, traces.Ask{}, []string{"there is no event of trace mine in the newest records (300000 records, 0 MiB): ", "with --after eyJ", ", or give --at"}, ""},
		{"all", stretch{end: 1000}, traces.Ask{}, []string{"in all that the sources keep (1000 records"}, "--"},
		{"all but what is held", stretch{end: 1000, held: true}, traces.Ask{}, []string{"in all that the sources keep (1000 records, 0 MiB), but what lies behind an open transaction was not: try again"}, "--"},
		{"older", stretch{end: 1_000_000}, traces.Ask{Below: below}, []string{"in the records before the place that --after tells (300000 records", "with --after eyJ"}, "newest"},
		{"all that is older", stretch{end: 1000}, traces.Ask{Below: below}, []string{"in all that the sources keep from before the place that --after tells (1000 records"}, "give"},
		{"a time, and the newest", stretch{end: 3_000_000}, around(time.Minute), []string{"no event of trace mine where --at says and in the newest records", "with --after eyJ", ", or give another --at"}, "margin"},
		{"too much around a time", stretch{end: 3_000_000}, around(1_500_000 * time.Second), []string{"around --at, but not all there was searched (", "give a smaller --margin, or leave --at out"}, "all that the sources keep"},
		{"Kafka went away", stretch{end: 1_000_000, scans: 1}, traces.Ask{}, []string{"Kafka is away: until then there was no event of trace mine in the newest records (100000 records", "with --after eyJ"}, ""},
		{"Kafka went away around a time", stretch{end: 3_000_000, scans: 1}, around(1_200_000 * time.Second), []string{"Kafka is away: until then there was no event of trace mine around --at, but not all there was searched ("}, "all that the sources keep"},
		{"Kafka was away", stretch{end: 1_000_000, scans: 1, scanned: 1}, traces.Ask{}, []string{"Kafka is away"}, "until then"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.ask.ID = "mine"
			var out bytes.Buffer
			err := showTrace(t.Context(), &out, &traces.Finder{Log: &tt.log, Records: 150_000}, tt.ask, false)
			if err == nil || out.Len() > 0 {
				t.Fatalf("%v, and writes %q", err, out.String())
			}
			for _, want := range tt.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %q", want, err)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("%q in %q", tt.not, err)
			}
		})
	}
}

// Nor is a trace of which something may lie behind an open transaction taken for all of it.
func TestTraceBeforeAnOpenTransaction(t *testing.T) {
	log := &stretch{end: 1000, held: true, records: map[int64]string{500: `{"event_type":"user_query","trace_id":"mine"}`}}
	var out bytes.Buffer
	err := showTrace(t.Context(), &out, &traces.Finder{Log: log}, traces.Ask{ID: "mine"}, false)
	if err != nil || !strings.Contains(out.String(), "; what lies behind an open transaction was not read") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// What was found before Kafka went away is shown, as JSON also when it is nothing, and is
// not told of as if it were all.
func TestTraceWhileKafkaGoesAway(t *testing.T) {
	ask := traces.Ask{ID: "mine", At: &traces.Place{Topic: "rag-traces", Offset: 500}}
	finder := func() *traces.Finder {
		return &traces.Finder{Log: &stretch{end: 1000, scans: 1, records: map[int64]string{
			500: `{"event_type":"user_query","trace_id":"mine"}`, 501: `{"event_type":"answer_returned","trace_id":"mine"}`,
		}}}
	}
	var out bytes.Buffer
	err := showTrace(t.Context(), &out, finder(), ask, false)
	if err == nil || !strings.Contains(err.Error(), "Kafka is away: there may be more of the trace: try again, with --at rag-traces/0@500") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "trace mine") || !strings.Contains(out.String(), "there may be more of it: the sources could not be read") {
		t.Errorf("the table:\n%s", out.String())
	}
	for has, tt := range map[bool]struct {
		finder *traces.Finder
		ask    traces.Ask
	}{
		true:  {finder(), ask},
		false: {&traces.Finder{Log: &stretch{end: 1_000_000, scans: 1}}, traces.Ask{ID: "mine"}},
	} {
		out.Reset()
		var a api.Answer
		err := showTrace(t.Context(), &out, tt.finder, tt.ask, true)
		if bad := json.Unmarshal(out.Bytes(), &a); err == nil || bad != nil || a.Found != has || a.Search.Stopped != traces.StoppedError || (a.Search.Next == nil) != has {
			t.Errorf("found %t: %v, %v\n%s", has, err, bad, out.String())
		}
	}
}

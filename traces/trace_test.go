package traces_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ragstreams/traces"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event is one at a time in milliseconds after noon, with a duration in milliseconds, or -1.
func event(kind string, at, took int, more ...func(*traces.Event)) traces.Event {
	name, _, _ := strings.Cut(kind, "_")
	e := traces.Event{Type: kind, Stage: name, Time: noon.Add(time.Duration(at) * time.Millisecond)}
	if e.HasDuration = took >= 0; e.HasDuration {
		e.Duration = time.Duration(took) * time.Millisecond
	}
	e.Place = traces.Place{Topic: "t", Offset: int64(at)}
	for _, m := range more {
		m(&e)
	}
	return e
}

func failed(e *traces.Event)                 { e.Error = true }
func id(id string) func(*traces.Event)       { return func(e *traces.Event) { e.ID = id } }
func lies(offset int64) func(*traces.Event)  { return func(e *traces.Event) { e.Offset = offset } }
func stage(s string) func(*traces.Event)     { return func(e *traces.Event) { e.Stage = s } }
func model(m string) func(*traces.Event)     { return func(e *traces.Event) { e.Model = m } }
func of(tenant string) func(e *traces.Event) { return func(e *traces.Event) { e.Tenant = tenant } }

// told writes a trace: "stage status start-end self gap copies", in milliseconds.
func told(t traces.Trace) string {
	var lines []string
	for i, s := range t.Steps {
		line := fmt.Sprintf("%s %s %d-%d", s.Stage, s.Status, s.Start.Sub(noon).Milliseconds(), s.End.Sub(noon).Milliseconds())
		if s.Known {
			line += fmt.Sprintf(" self %d", s.Self.Milliseconds())
		}
		if s.Gap > 0 {
			line += fmt.Sprintf(" gap %d", s.Gap.Milliseconds())
		}
		if s.Copies > 0 {
			line += fmt.Sprintf(" copies %d", s.Copies)
		}
		if len(s.Events) > 1 {
			line += fmt.Sprintf(" of %d", len(s.Events))
		}
		if i == t.Slowest {
			line += " slowest"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestAssemble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []traces.Event
		want   string
		status string
	}{
		{"nothing", nil, "", "ok"},
		{"a moment", []traces.Event{event("query", 5, -1)}, "query ok 5-5", "ok"},
		{
			"one after the other, and a gap",
			[]traces.Event{event("query", 0, -1), event("retrieval_completed", 80, 80), event("llm_completed", 500, 300)},
			"query ok 0-0; retrieval ok 0-80 self 80; llm ok 200-500 self 300 gap 120 slowest", "ok",
		},
		{
			"they come in any order",
			[]traces.Event{event("llm_completed", 500, 300), event("retrieval_completed", 80, 80), event("query", 0, -1)},
			"query ok 0-0; retrieval ok 0-80 self 80; llm ok 200-500 self 300 gap 120 slowest", "ok",
		},
		{
			"what is within another one is not that one's fault",
			[]traces.Event{event("retrieval_completed", 80, 80), event("llm_completed", 400, 320), event("answer", 410, 410)},
			"answer ok 0-410 self 10; retrieval ok 0-80 self 80; llm ok 80-400 self 320 slowest", "ok",
		},
		{
			"steps that overlap count once within another one",
			[]traces.Event{event("a", 60, 60), event("b", 80, 60), event("c", 100, 100)},
			"c ok 0-100 self 20; a ok 0-60 self 60 slowest; b ok 20-80 self 60", "ok",
		},
		{
			"a beginning and its end are one step",
			[]traces.Event{event("retrieval_started", 10, -1), event("retrieval_completed", 90, -1, failed)},
			"retrieval error 10-90 self 80 of 2 slowest", "error",
		},
		{
			"a duration is what was measured",
			[]traces.Event{event("retrieval_started", 10, -1), event("retrieval_completed", 90, 50)},
			"retrieval ok 40-90 self 50 of 2 slowest", "ok",
		},
		{
			"each end has its beginning",
			[]traces.Event{event("tool_started", 0, -1), event("tool_started", 10, -1), event("tool_failed", 30, -1, failed), event("tool_completed", 50, -1)},
			"tool error 0-30 self 30 of 2; tool ok 10-50 self 40 of 2 slowest", "error",
		},
		{
			"but not of another stage",
			[]traces.Event{event("call_started", 0, -1, stage("x")), event("call_completed", 30, -1, stage("y"))},
			"x running 0-0; y ok 30-30 gap 30", "running",
		},
		{
			"copies are one event",
			[]traces.Event{event("query", 0, -1, id("a")), event("query", 0, -1, id("a"), lies(7)), event("query", 0, -1, id("a"), of("other"), lies(8)), event("query", 0, -1, lies(9)), event("query", 0, -1, lies(10))},
			"query ok 0-0 copies 1; query ok 0-0; query ok 0-0; query ok 0-0", "ok",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := traces.Assemble(tt.events)
			if told(got) != tt.want || got.Status != tt.status {
				t.Errorf("%s, %s\nwant %s, %s", told(got), got.Status, tt.want, tt.status)
			}
		})
	}
}

func TestModelOfTheBeginning(t *testing.T) {
	got := traces.Assemble([]traces.Event{event("llm_started", 0, -1, model("gpt")), event("llm_completed", 30, -1)})
	if len(got.Steps) != 1 || got.Steps[0].Model != "gpt" || got.End.Sub(got.Start) != 30*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

// Of two steps that ran at the same time neither is within the other.
func TestStepsOfOneTime(t *testing.T) {
	at := noon.Add(time.Second)
	got := traces.Assemble([]traces.Event{
		{Place: traces.Place{Topic: "a"}, Type: "x", Time: at, Duration: time.Second, HasDuration: true},
		{Place: traces.Place{Topic: "b"}, Type: "y", Time: at, Duration: time.Second, HasDuration: true},
	})
	for _, s := range got.Steps {
		if s.Self != time.Second {
			t.Errorf("%s has %s of its own, want a second", s.Events[0].Type, s.Self)
		}
	}
}

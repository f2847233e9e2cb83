package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ragstreams/internal/answers"
	"ragstreams/traces"
)

// Answer is what is told of a trace.
type Answer struct {
	TraceID  string   `json:"trace_id"`
	Found    bool     `json:"found"`
	Status   string   `json:"status"` // ok, error or running; unknown when nothing was found
	Start    *string  `json:"start"`
	End      *string  `json:"end"`
	Duration *float64 `json:"duration_seconds"`
	Slowest  *int     `json:"slowest_step"` // index of steps; null: none has a duration
	Steps    []Step   `json:"steps"`
	Search   Search   `json:"search"`
}

// Step is one step of a trace.
type Step struct {
	Stage    string   `json:"stage"`
	Model    string   `json:"model"`
	Status   string   `json:"status"`
	Start    string   `json:"start"`
	End      string   `json:"end"`
	Duration *float64 `json:"duration_seconds"` // null: a moment
	Self     *float64 `json:"self_seconds"`     // without the steps within it
	Gap      float64  `json:"gap_seconds"`      // in which nothing ran, before it
	Copies   int      `json:"copies"`           // of its events, beyond the first
	Events   []Event  `json:"events"`
}

// Event is one event of a step.
type Event struct {
	ID            string          `json:"event_id"`
	Type          string          `json:"event_type"`
	Time          string          `json:"time"`
	Tenant        string          `json:"tenant"`
	App           string          `json:"app"`
	TTFT          *float64        `json:"ttft_seconds,omitempty"`
	InputTokens   int64           `json:"input_tokens,omitempty"`
	OutputTokens  int64           `json:"output_tokens,omitempty"`
	ErrorType     string          `json:"error_type,omitempty"`
	ErrorTemplate string          `json:"error_template,omitempty"`
	Topic         string          `json:"topic"`
	Partition     int32           `json:"partition"`
	Offset        int64           `json:"offset"`
	Content       json.RawMessage `json:"content,omitempty"` // the record
}

// Search is what was searched.
type Search struct {
	Stopped string `json:"stopped"` // found, everything, budget, events or error
	// From and To are the times around what was found, between which all was read; null
	// while that is not so.
	From    *string `json:"from"`
	To      *string `json:"to"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Held    bool    `json:"held"` // what lies behind an open transaction was not read
	Parts   []Part  `json:"parts"`
	Next    *string `json:"next"` // goes on; null: all was searched, or only what lies around at
}

// Part is a part of a partition that was read.
type Part struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from_offset"`
	To        int64  `json:"to_offset"` // exclusive
}

// statusUnknown is the status of a trace of which nothing was found.
const statusUnknown = "unknown"

// NewAnswer makes the answer to what was found.
func NewAnswer(id string, f *traces.Found) *Answer {
	t := traces.Assemble(f.Events)
	a := &Answer{TraceID: id, Found: len(f.Events) > 0, Status: t.Status, Steps: []Step{}, Search: newSearch(f)}
	if !a.Found {
		a.Status = statusUnknown
	} else {
		took := t.End.Sub(t.Start).Seconds()
		a.Start, a.End, a.Duration = stamp(t.Start), stamp(t.End), &took
	}
	if t.Slowest >= 0 {
		a.Slowest = &t.Slowest
	}
	for i := range t.Steps {
		a.Steps = append(a.Steps, newStep(&t.Steps[i]))
	}
	return a
}

func newStep(s *traces.Step) Step {
	out := Step{
		Stage: s.Stage, Model: s.Model, Status: s.Status, Start: *stamp(s.Start), End: *stamp(s.End),
		Gap: s.Gap.Seconds(), Copies: s.Copies,
	}
	if s.Known {
		out.Duration, out.Self = new(s.Duration().Seconds()), new(s.Self.Seconds())
	}
	for _, e := range s.Events {
		one := Event{
			ID: e.ID, Type: e.Type, Time: *stamp(e.Time), Tenant: e.Tenant, App: e.App, InputTokens: e.InputTokens, OutputTokens: e.OutputTokens,
			ErrorType: e.ErrorType, ErrorTemplate: e.ErrorTemplate, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Content: e.Content,
		}
		if e.TTFT > 0 {
			one.TTFT = new(e.TTFT.Seconds())
		}
		out.Events = append(out.Events, one)
	}
	return out
}

func newSearch(f *traces.Found) Search {
	s := Search{Stopped: f.Stopped, Records: f.Records, Bytes: f.Bytes, Held: f.Held, Parts: []Part{}}
	if !f.From.IsZero() {
		s.From, s.To = stamp(f.From), stamp(f.To)
	}
	for topic, spans := range f.Searched {
		for p, of := range spans {
			for _, span := range of {
				s.Parts = append(s.Parts, Part{topic, p, span.From, span.To})
			}
		}
	}
	slices.SortFunc(s.Parts, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.From, b.From))
	})
	if f.Next != nil {
		s.Next = new(cursor(f.Next))
	}
	return s
}

// stamp writes a time as all answers do.
func stamp(t time.Time) *string {
	return new(answers.Stamp(t))
}

// cursor writes up to where a search is to go on.
func cursor(below traces.Parts) string {
	ends := map[string]map[int32]int64{}
	for topic, spans := range below {
		ends[topic] = map[int32]int64{}
		for p, s := range spans {
			ends[topic][p] = s.To
		}
	}
	data, err := json.Marshal(ends)
	if err != nil {
		panic("BUG: encode a cursor: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// ParseCursor reads what an answer gave as next.
func ParseCursor(text string) (traces.Parts, error) {
	var ends map[string]map[int32]int64
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &ends)
	}
	if err != nil || len(ends) == 0 {
		return nil, fmt.Errorf("%q is no cursor: give the next of the answer before", text)
	}
	below := traces.Parts{}
	for topic, parts := range ends {
		below[topic] = map[int32]traces.Span{}
		for p, to := range parts {
			below[topic][p] = traces.Span{To: to}
		}
	}
	return below, nil
}

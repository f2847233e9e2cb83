package traces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ragstreams/codecs"
	"ragstreams/event"
	"ragstreams/fingerprint"
)

// MaxID is the longest trace id that is looked for, in bytes.
const MaxID = 256

// CheckID reports whether a text can be the id of a trace.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("the trace id is empty: give one such as 4bf92f3577b34da6a3ce929d0e0e4736")
	case len(id) > MaxID:
		return fmt.Errorf("the trace id has %d bytes: want at most %d", len(id), MaxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("the trace id %q has characters that are no text", id)
	}
	return nil
}

// Span is a range of offsets: From inclusive, To exclusive.
type Span struct{ From, To int64 }

// Parts are spans of partitions, by topic.
type Parts map[string]map[int32]Span

// each calls visit for every part, in no particular order.
func (p Parts) each(visit func(topic string, partition int32, s Span)) {
	for topic, spans := range p {
		for partition, s := range spans {
			visit(topic, partition, s)
		}
	}
}

func (p Parts) set(topic string, partition int32, s Span) {
	if p[topic] == nil {
		p[topic] = map[int32]Span{}
	}
	p[topic][partition] = s
}

// Record is one record of a source topic. Its value must not be kept.
type Record struct {
	Place
	Timestamp time.Time
	Value     []byte
}

// Log reads the source topics. All that it hands on is committed.
type Log interface {
	// Ranges returns, for all partitions of the topics, what has timestamps from one time to
	// another; a zero time means all that there is on that side.
	Ranges(ctx context.Context, from, to time.Time) (Parts, error)
	// Scan visits the records of some parts, one at a time, and returns the first error of
	// visit.
	Scan(ctx context.Context, parts Parts, visit func(*Record) error) error
}

// Ask is what is to be found.
type Ask struct {
	ID string
	// At is where an event of the trace lies, Around when the trace is thought to have been.
	// Without both, or where nothing of it is found there, it is searched for.
	At     *Place
	Around time.Time
	// Margin is how long nothing of a trace may come, at most, before what is found of it; and
	// behind it, where it has come to an answer: else eight times as long, for a step that
	// takes long tells of itself when it ends. 0: DefaultMargin.
	Margin  time.Duration
	Below   Parts // go on with a search: only To of its spans counts, and what lies before; nil: from the newest
	Content bool  // events come with what their records hold
}

// DefaultMargin is longer than what a step without a duration takes, and eight times as long
// than any, mostly.
const (
	DefaultMargin = 15 * time.Second
	openMargins   = 8
)

// answers are the types of events that end a trace.
var answers = []string{"answer_returned", "answer_completed", "answer_generated", "answer_failed"}

// Finder finds traces.
type Finder struct {
	Log      Log
	MaxBytes int // of a record that is an event; see codecs.JSON
	// Records and For bound a search: it ends after the first part of it that exceeds one of
	// them. 0: no bound.
	Records int64
	For     time.Duration
}

// Why a search ended.
const (
	StoppedFound      = "found"      // all around what was found was read
	StoppedEverything = "everything" // there is no more to read
	StoppedBudget     = "budget"     // a bound of the Finder
	StoppedError      = "error"      // the sources could not be read
)

// Found is what was found, and where it was looked for.
type Found struct {
	Events  []Event
	Stopped string
	// Searched is what was read, From and To the times around what was found, if a hint or
	// an event told when that is.
	Searched Parts
	From, To time.Time
	Records  int64
	Bytes    int64
	Next     Parts // for Ask.Below, to search on; nil: there is nothing older
}

// Find looks for the events of a trace. The error is one of reading, with what was found
// until then.
func (f *Finder) Find(ctx context.Context, a Ask) (*Found, error) {
	if err := CheckID(a.ID); err != nil {
		return nil, err
	}
	if a.Margin <= 0 {
		a.Margin = DefaultMargin
	}
	s := &search{Finder: f, Ask: a, Found: &Found{Searched: Parts{}}, began: time.Now(), id: []byte(a.ID), json: codecs.JSON{MaxBytes: f.MaxBytes}}
	err := s.run(ctx)
	if err != nil {
		s.Stopped = StoppedError
	}
	return s.Found, err
}

// search is one at work.
type search struct {
	*Finder
	Ask
	*Found
	began time.Time
	id    []byte
	json  codecs.JSON
	event event.Event
	// When records with events of it came, as far as they tell when they began.
	first, last time.Time
}

func (s *search) run(ctx context.Context) error {
	if err := s.hinted(ctx); err != nil {
		return err
	}
	if len(s.Events) == 0 {
		if err := s.backwards(ctx); err != nil {
			return err
		}
	}
	if len(s.Events) == 0 {
		return nil
	}
	s.Stopped = StoppedFound
	return s.around(ctx)
}

// hinted looks where the trace is said to be.
func (s *search) hinted(ctx context.Context) error {
	if s.At != nil {
		one := Parts{}
		one.set(s.At.Topic, s.At.Partition, Span{s.At.Offset, s.At.Offset + 1})
		if err := s.scan(ctx, one); err != nil {
			return err
		}
	}
	if len(s.Events) > 0 || s.Ask.Around.IsZero() {
		return nil
	}
	s.first, s.last = s.Ask.Around, s.Ask.Around
	return s.around(ctx)
}

// around reads what lies around what was found, until that brings nothing new.
func (s *search) around(ctx context.Context) error {
	for behind := s.Margin; ; {
		from, to := s.first.Add(-s.Margin), s.last.Add(behind)
		if !s.From.IsZero() && !from.Before(s.From) && !to.After(s.To) {
			if len(s.Events) == 0 || s.answered() || behind > s.Margin {
				return nil
			}
			behind *= openMargins
			continue
		}
		s.From, s.To = from, to
		parts, err := s.Log.Ranges(ctx, from, to)
		if err != nil {
			return err
		}
		if err := s.scan(ctx, s.unread(parts)); err != nil {
			return err
		}
	}
}

// answered reports whether the trace has come to its end.
func (s *search) answered() bool {
	return slices.ContainsFunc(s.Events, func(e Event) bool { return slices.Contains(answers, e.Type) })
}

// unread returns what of some parts was not read yet. What was read of a partition is one
// span, but for the record of a hint.
func (s *search) unread(parts Parts) Parts {
	left := Parts{}
	parts.each(func(topic string, p int32, want Span) {
		done, read := s.Searched[topic][p]
		switch {
		case want.From >= want.To:
		case !read || want.To <= done.From || want.From >= done.To:
			left.set(topic, p, want)
		case want.From < done.From && want.To > done.To: // on both sides: what is in the middle is read again
			left.set(topic, p, want)
		case want.From < done.From:
			left.set(topic, p, Span{want.From, done.From})
		case want.To > done.To:
			left.set(topic, p, Span{done.To, want.To})
		}
	})
	return left
}

// How many records of all partitions a search reads at once, at first and later.
const (
	firstChunk = 100_000
	mostChunk  = 800_000
)

// backwards searches all there is, newest first, until something is found.
func (s *search) backwards(ctx context.Context) error {
	all, err := s.Log.Ranges(ctx, time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	n := 0
	all.each(func(topic string, p int32, span Span) {
		if below, told := s.Below[topic][p]; told {
			span.To = min(span.To, max(below.To, span.From))
			all.set(topic, p, span)
		}
		n++
	})
	for chunk := firstChunk; ; chunk = min(2*chunk, mostChunk) {
		each, part := int64(max(1, chunk/max(1, n))), Parts{}
		all.each(func(topic string, p int32, left Span) {
			if from := max(left.From, left.To-each); from < left.To {
				part.set(topic, p, Span{from, left.To})
			}
		})
		if len(part) == 0 {
			s.Stopped, s.Next = StoppedEverything, nil
			return nil
		}
		if err := s.scan(ctx, part); err != nil {
			return err
		}
		s.Next = Parts{}
		part.each(func(topic string, p int32, read Span) {
			left := Span{all[topic][p].From, read.From}
			all.set(topic, p, left)
		})
		all.each(func(topic string, p int32, left Span) { s.Next.set(topic, p, left) })
		if len(s.Events) > 0 {
			return nil
		}
		if s.Finder.Records > 0 && s.Found.Records >= s.Finder.Records || s.For > 0 && time.Since(s.began) >= s.For {
			s.Stopped = StoppedBudget
			return nil
		}
	}
}

// scan reads some parts, and notes that they were read.
func (s *search) scan(ctx context.Context, parts Parts) error {
	if err := s.Log.Scan(ctx, parts, s.visit); err != nil {
		return fmt.Errorf("look for trace %s: %w", s.ID, err)
	}
	parts.each(func(topic string, p int32, read Span) {
		if done, known := s.Searched[topic][p]; known && read.From <= done.To && done.From <= read.To {
			read = Span{min(done.From, read.From), max(done.To, read.To)}
		}
		s.Searched.set(topic, p, read)
	})
	return nil
}

// visit takes in one record.
func (s *search) visit(r *Record) error {
	s.Found.Records++
	s.Bytes += int64(len(r.Value))
	if !mayHold(r.Value, s.id) {
		return nil
	}
	e := &s.event
	if poison := s.json.Decode(r.Value, e); poison != nil || !bytes.Equal(e.TraceID, s.id) {
		return nil
	}
	if slices.ContainsFunc(s.Events, func(x Event) bool { return x.Place == r.Place }) { // read again
		return nil
	}
	one := newEvent(e, r)
	if s.Content {
		one.Content = bytes.Clone(r.Value)
	}
	s.Events = append(s.Events, one)
	begin := r.Timestamp.Add(-one.Duration)
	if len(s.Events) == 1 || begin.Before(s.first) {
		s.first = begin
	}
	if len(s.Events) == 1 || r.Timestamp.After(s.last) {
		s.last = r.Timestamp
	}
	return nil
}

// mayHold reports whether a record may name a trace: almost all do not, and need not be
// decoded. A text can be written with escapes, of which only \u stands for what ids are
// made of, mostly.
func mayHold(value, id []byte) bool {
	if bytes.Contains(value, id) || bytes.ContainsRune(id, utf8.RuneError) { // which stands for what is no text
		return true
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return false
	}
	return bytes.ContainsAny(id, `"\/`) || bytes.Contains(value, []byte(`\u`))
}

func newEvent(e *event.Event, r *Record) Event {
	one := Event{
		Place: r.Place, ID: string(e.ID), Type: string(e.Type), Stage: string(e.Stage), Model: string(e.Model),
		Tenant: string(e.Tenant), App: string(e.App), Error: e.Error, ErrorType: string(e.ErrorType),
		Time: r.Timestamp, Duration: time.Duration(e.Duration), HasDuration: e.HasDuration, TTFT: time.Duration(e.TTFT),
		InputTokens: e.InputTokens, OutputTokens: e.OutputTokens,
	}
	if e.HasTime {
		one.Time = time.UnixMilli(e.Time)
	}
	if e.Error {
		one.ErrorTemplate = string(fingerprint.AppendTemplate(nil, e.ErrorMessage))
	}
	return one
}

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

// Record is one record of a source topic. Its value must not be kept.
type Record struct {
	Place
	Timestamp time.Time
	Value     []byte
}

// Log reads the source topics. All that it hands on is committed.
type Log interface {
	// Topics returns the names of the topics, whether they exist or not.
	Topics() []string
	// Ranges returns, for all partitions of the topics, where all records lie that have
	// timestamps from one time to another, in whatever order; a zero time means all that there
	// is on that side. held says that some may lie behind an open transaction, and are not in it.
	Ranges(ctx context.Context, from, to time.Time) (parts Parts, held bool, err error)
	// Scan reads the records of some parts and visits them, one at a time. Some among whose
	// bytes may, asked of many records at once and by several goroutines, finds nothing may be
	// left out. It returns the first error of visit, and how much was read in any case.
	Scan(ctx context.Context, parts Parts, may func(data []byte) bool, visit func(*Record) error) (Read, error)
}

// Read is how much was read.
type Read struct{ Records, Bytes int64 }

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

// NotSource is what is wrong with a place that is in none of the source topics.
type NotSource struct {
	At      Place
	Sources []string
}

// Error tells which topics are.
func (e NotSource) Error() string {
	return fmt.Sprintf("%s is in no source topic: those are %s", e.At, strings.Join(e.Sources, ", "))
}

// MaxEvents is how many events of one trace are gathered, copies included. What has more is
// no trace, but an id that some producer gives to everything.
const MaxEvents = 5000

// answers are the types of events that end a trace.
var answers = []string{"answer_returned", "answer_completed", "answer_generated", "answer_failed"}

// Finder finds traces.
type Finder struct {
	Log      Log
	MaxBytes int // of a record that is an event; see codecs.JSON
	// Records and For bound a search, hints and what lies around included: it ends after the
	// first part of it that exceeds one of them. 0: no bound.
	Records int64
	For     time.Duration
}

// Why a search ended.
const (
	StoppedFound      = "found"      // all around what was found was read
	StoppedEverything = "everything" // there is no more to read
	StoppedBudget     = "budget"     // a bound of the Finder
	StoppedEvents     = "events"     // MaxEvents were found
	StoppedError      = "error"      // the sources could not be read
)

// Found is what was found, and where it was looked for.
type Found struct {
	Events  []Event
	Stopped string
	// Searched is what was read, From and To the times around what was found, up to which all
	// was read that was there; they are zero while nothing is found.
	Searched Searched
	From, To time.Time
	Held     bool // what lies behind an open transaction was not read, and should have been
	Read
	// Next is for Ask.Below, to search on; nil: all was searched, or only what lies around a
	// hint was.
	Next Parts
}

// Find looks for the events of a trace. The error is a NotSource, or one of reading, with
// what was found until then.
func (f *Finder) Find(ctx context.Context, a Ask) (*Found, error) {
	if err := CheckID(a.ID); err != nil {
		return nil, err
	}
	if a.Margin <= 0 {
		a.Margin = DefaultMargin
	}
	if topics := f.Log.Topics(); a.At != nil && !slices.Contains(topics, a.At.Topic) {
		return nil, NotSource{*a.At, topics}
	}
	s := &search{
		Finder: f, Ask: a, Found: &Found{Searched: Searched{}}, began: time.Now(),
		needle: newNeedle(a.ID), seen: map[Place]bool{}, json: codecs.JSON{MaxBytes: f.MaxBytes},
	}
	err := s.run(ctx)
	switch {
	case errors.Is(err, errBudget):
		s.Stopped, err = StoppedBudget, nil
	case errors.Is(err, errEvents):
		s.Stopped, err = StoppedEvents, nil
	case err != nil:
		s.Stopped = StoppedError
	}
	return s.Found, err
}

// Why a search ends early.
var (
	errBudget = errors.New("a bound of the search")
	errEvents = errors.New("too many events")
)

// search is one at work.
type search struct {
	*Finder
	Ask
	*Found
	began  time.Time
	needle *needle
	json   codecs.JSON
	event  event.Event
	seen   map[Place]bool // of Events
	// When records with events of it came, and when it began, as far as they tell.
	first, last, begin time.Time

	// What was read around it: from one time to another, as it was at a third.
	window           Parts // nil: nothing yet
	from, to, looked time.Time
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
	if at := s.At; at != nil {
		all, _, err := s.Log.Ranges(ctx, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		if there := all[at.Topic][at.Partition]; at.Offset >= there.From && at.Offset < there.To {
			one := Parts{}
			one.set(at.Topic, at.Partition, Span{at.Offset, at.Offset + 1})
			if err := s.scan(ctx, one); err != nil {
				return err
			}
		}
	}
	if len(s.Events) > 0 || s.Ask.Around.IsZero() {
		return nil
	}
	s.first, s.last, s.begin = s.Ask.Around, s.Ask.Around, s.Ask.Around
	err := s.around(ctx)
	if len(s.Events) == 0 {
		s.window, s.From, s.To = nil, time.Time{}, time.Time{}
	}
	return err
}

// around reads what lies around what was found, until that brings nothing new: what is near
// first, for a wrong duration may say that it began days before.
func (s *search) around(ctx context.Context) error {
	for reach := min(s.Margin, DefaultMargin); ; {
		from, to := s.begin.Add(-s.Margin), s.last.Add(s.Margin)
		if len(s.Events) > 0 && !s.answered() {
			to = s.last.Add(openMargins * s.Margin)
		}
		left, right := later(from, s.first.Add(-reach)), earlier(to, s.last.Add(reach))
		var err error
		switch {
		case s.window == nil:
			err = s.widen(ctx, left, right)
		case left.Before(s.from):
			err = s.widen(ctx, left, time.Time{})
		case right.After(s.to):
			err = s.widen(ctx, time.Time{}, right)
		case left.After(from) || right.Before(to):
			reach *= openMargins
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// widen has what came from one time to another read, and somewhat more: what is found there
// moves these times, mostly by less than that. Of a side whose time is zero nothing more is
// read.
func (s *search) widen(ctx context.Context, from, to time.Time) error {
	more, next := min(s.Margin, DefaultMargin)/3, Parts.last
	if from.IsZero() {
		next = Parts.first // nearest first
	} else {
		from = from.Add(-more)
	}
	if !to.IsZero() {
		to = to.Add(more)
	}
	looked := time.Now()
	since := from
	if from.IsZero() {
		since = s.to // what is before it was looked for already
	}
	parts, held, err := s.Log.Ranges(ctx, since, to)
	if err != nil {
		return err
	}
	parts.each(func(topic string, p int32, span Span) {
		if before, known := s.window[topic][p]; known {
			if from.IsZero() {
				span.From = before.From
			}
			if to.IsZero() {
				span.To = before.To
			}
			parts.set(topic, p, span)
		}
	})
	for part, left := next(s.unread(parts), firstChunk); len(part) > 0; part, left = next(left, firstChunk) {
		if err := s.scan(ctx, part); err != nil {
			return err
		}
		if s.exhausted() && !left.empty() {
			return errBudget
		}
	}
	s.window = parts
	if !from.IsZero() {
		s.from = from
	}
	if !to.IsZero() {
		s.to, s.looked, s.Held = to, looked, s.Held || held
	}
	s.From, s.To = s.from, earlier(s.to, s.looked)
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// exhausted reports whether a bound is reached.
func (s *search) exhausted() bool {
	return s.Finder.Records > 0 && s.Found.Records >= s.Finder.Records || s.For > 0 && time.Since(s.began) >= s.For
}

// answered reports whether the trace has come to its end.
func (s *search) answered() bool {
	return slices.ContainsFunc(s.Events, func(e Event) bool { return slices.Contains(answers, e.Type) })
}

// unread returns what of some parts was not read yet. Where that is on both sides of what
// was, what is in the middle is read again.
func (s *search) unread(parts Parts) Parts {
	left := Parts{}
	parts.each(func(topic string, p int32, want Span) {
		for _, done := range s.Searched[topic][p] {
			if done.From <= want.From && done.To > want.From {
				want.From = done.To
			}
		}
		for _, done := range slices.Backward(s.Searched[topic][p]) {
			if done.To >= want.To && done.From < want.To {
				want.To = done.From
			}
		}
		if want.From < want.To {
			left.set(topic, p, want)
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
	left, held, err := s.Log.Ranges(ctx, time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	s.Held = held && s.Below == nil
	left.each(func(topic string, p int32, span Span) {
		if below, told := s.Below[topic][p]; told {
			span.To = min(span.To, below.To)
			left.set(topic, p, span)
		}
	})
	for chunk := firstChunk; ; {
		s.Next = left
		before := time.Now()
		part, rest := left.last(chunk)
		if len(part) == 0 {
			s.Stopped, s.Next = StoppedEverything, nil
			return nil
		}
		if err := s.scan(ctx, part); err != nil {
			return err
		}
		left, s.Next = rest, rest
		switch {
		case len(s.Events) > 0:
			s.Held = false // unless it concerns what lies around
			return nil
		case s.exhausted() && !left.empty():
			return errBudget
		case s.For == 0 || time.Since(before) < s.For/8: // one that is too slow would not come to its end in time
			chunk = min(2*chunk, mostChunk)
		}
	}
}

// scan reads some parts, and notes that they were read.
func (s *search) scan(ctx context.Context, parts Parts) error {
	read, err := s.Log.Scan(ctx, parts, s.needle.In, s.visit)
	s.Found.Records += read.Records
	s.Bytes += read.Bytes
	if err != nil {
		return fmt.Errorf("look for trace %s: %w", s.ID, err)
	}
	parts.each(s.Searched.add)
	return nil
}

// visit takes in one record.
func (s *search) visit(r *Record) error {
	if !s.needle.In(r.Value) || s.seen[r.Place] {
		return nil
	}
	e := &s.event
	if poison := s.json.Decode(r.Value, e); poison != nil || string(e.TraceID) != s.ID {
		return nil
	}
	one := newEvent(e, r)
	if s.Content {
		one.Content = bytes.Clone(r.Value)
	}
	s.Events = append(s.Events, one)
	s.seen[r.Place] = true
	begin := r.Timestamp.Add(-one.Duration)
	if len(s.Events) == 1 {
		s.first, s.last, s.begin = r.Timestamp, r.Timestamp, begin
	}
	s.first, s.last, s.begin = earlier(s.first, r.Timestamp), later(s.last, r.Timestamp), earlier(s.begin, begin)
	if len(s.Events) >= MaxEvents {
		return errEvents
	}
	return nil
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

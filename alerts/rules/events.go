package rules

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// Tables are tables that are made of events: those of the program, in memory.
type Tables interface {
	// Take takes in an event as the bytes of a record that comes at a time. Times never
	// fall.
	Take(at time.Time, event []byte) error
	// Series returns the tables as they are at a time that is not before any other that
	// they were told.
	Series(at time.Time) (Series, error)
}

// inputEvents are events of a unit test: one, or count of them, every so often.
type inputEvents struct {
	At     model.Duration `yaml:"at"`
	Every  model.Duration `yaml:"every"`
	Count  int            `yaml:"count"`
	Fields map[string]any `yaml:",inline"` // of the event
}

// testEvents are the events of a unit test, and the tables that are made of them. The
// zero value is a test without events.
type testEvents struct {
	tables Tables
	next   []testEvent // ordered by time
}

type testEvent struct {
	at    time.Duration
	value []byte
}

// events returns the events of the test.
func (t *unitTest) events(tables func(begin time.Time) (Tables, error)) (*testEvents, error) {
	e := &testEvents{}
	if len(t.Events) == 0 {
		return e, nil
	}
	for i, in := range t.Events {
		list, err := in.list()
		if err != nil {
			return nil, fmt.Errorf("input_events, number %d: %w", i+1, err)
		}
		e.next = append(e.next, list...)
	}
	slices.SortStableFunc(e.next, func(a, b testEvent) int { return cmp.Compare(a.at, b.at) })
	var err error
	e.tables, err = tables(testStart)
	return e, err
}

func (in *inputEvents) list() ([]testEvent, error) {
	switch {
	case in.Count < 0:
		return nil, fmt.Errorf("count is %d: want 1 or more", in.Count)
	case in.Count > 1 && in.Every == 0:
		return nil, errors.New("count without every: say how far apart they are, such as every: 1s")
	case in.Count == 0 && in.Every != 0:
		return nil, errors.New("every without count: say how many there are, such as count: 60")
	}
	value, err := json.Marshal(in.Fields)
	if err != nil {
		return nil, fmt.Errorf("fields of the event: %w", err)
	}
	list := make([]testEvent, max(in.Count, 1))
	for i := range list {
		list[i] = testEvent{time.Duration(in.At) + time.Duration(i)*time.Duration(in.Every), value}
	}
	return list, nil
}

// at lets the events come that are due, and returns the series of the tables besides
// those that are given.
func (e *testEvents) at(at time.Duration, given *recorder) (Series, error) {
	if e.tables == nil {
		return given, nil
	}
	for ; len(e.next) > 0 && e.next[0].at <= at; e.next = e.next[1:] {
		if err := e.tables.Take(testStart.Add(e.next[0].at), e.next[0].value); err != nil {
			return nil, fmt.Errorf("event at %s, %s: %w", e.next[0].at, e.next[0].value, err)
		}
	}
	series, err := e.tables.Series(testStart.Add(at))
	if err != nil {
		return nil, err
	}
	return both{series, given}, nil
}

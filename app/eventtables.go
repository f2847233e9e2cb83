package app

import (
	"fmt"
	"time"

	"ragstreams/alerts/rules"
	"ragstreams/codecs"
	"ragstreams/window"
)

// eventTables are tables of events that come from one source partition; see rules.Test.
type eventTables struct {
	*scratch
	offset int64
	bad    error // the record in hand is poison
}

// TablesOfEvents returns the tables of the program, configured as it is by default, of
// which unit tests of rules make their series. They begin at a time, with nothing.
func TablesOfEvents(begin time.Time) (rules.Tables, error) {
	const topic = "events"
	o := DefaultOptions()
	o.BehaviourSources = []string{topic}
	s, err := newScratch(o, []window.Partition{{Topic: topic}}, begin)
	if err != nil {
		return nil, err
	}
	t := &eventTables{scratch: s}
	s.poison = func(reason, detail string) { t.bad = fmt.Errorf("it is no event: %s: %s", reason, detail) }
	return t, nil
}

// Take implements rules.Tables. In a test nobody wants an event that is none.
func (t *eventTables) Take(at time.Time, event []byte) error {
	if err := t.pass(at); err != nil {
		return err
	}
	t.take(0, []codecs.Record{{Offset: t.offset, Timestamp: at.UnixMilli(), Value: event}})
	t.offset++
	return t.bad
}

// Series implements rules.Tables.
func (t *eventTables) Series(at time.Time) (rules.Series, error) {
	if err := t.pass(at); err != nil {
		return nil, err
	}
	if err := t.to(at); err != nil { // what came at that time
		return nil, err
	}
	if err := t.settle(); err != nil {
		return nil, err
	}
	return t.store.Snapshot(at), nil
}

// pass lets time pass, as a backtest does.
func (t *eventTables) pass(to time.Time) error {
	for t.now.Before(to) {
		next := after(t.now, backtestTick)
		if next.After(to) {
			next = to
		}
		if err := t.to(next); err != nil {
			return err
		}
	}
	return nil
}

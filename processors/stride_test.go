package processors_test

import (
	"fmt"
	"testing"
	"time"

	"ragstreams/codecs"
)

// A reader of dense traffic takes ever more records at once; one of a quiet topic
// no more than span the time that it may be ahead of the others.
func TestReaderTakesNoMoreThanItMayBeAhead(t *testing.T) {
	d := newDriver(t, 1)
	task, sent := d.ingest[0].task, 0
	take := func(every time.Duration) (n int) {
		n = task.MaxRecords()
		var records []codecs.Record
		for range n {
			at := at("10:00:00").Add(time.Duration(sent) * every).Format(time.RFC3339Nano)
			value := fmt.Appendf(nil, `{"event_type":"user_query","timestamp":%q}`, at)
			records = append(records, codecs.Record{Offset: d.source, Value: value})
			d.source++
			sent++
		}
		task.Process(records)
		return n
	}
	d.wall = at("10:00:00").AddDate(1, 0, 0)
	first := take(time.Millisecond)
	for range 8 {
		take(time.Millisecond)
	}
	if dense := task.MaxRecords(); dense != 200*first {
		t.Errorf("%d records at once of dense traffic, want %d", dense, 200*first)
	}

	d = newDriver(t, 1)
	d.wall = at("10:00:00").AddDate(1, 0, 0)
	task, sent = d.ingest[0].task, 0
	if take(2*time.Second) != first || task.MaxRecords() != 150 {
		t.Errorf("%d records at once where they come every 2 s, want 150: five minutes", task.MaxRecords())
	}
	take(time.Minute)
	if n := task.MaxRecords(); n != 64 {
		t.Errorf("%d records at once where they come every minute, want the least, 64", n)
	}
}

// One partition of a session brings nearly nothing and must not slow the others: the
// least of all strides bounds a transaction.
func TestSparsePartitionSlowsNobodyDown(t *testing.T) {
	d := newDriver(t, 1)
	task := d.ingest[0].task
	value := []byte(`{"event_type":"user_query","timestamp":"2026-03-01T12:00:00Z"}`)
	for range 10 {
		task.Process([]codecs.Record{{Value: value}})
	}
	if n := task.MaxRecords(); n != 200_000 {
		t.Errorf("%d records at once, want as many as can be", n)
	}
}

// A partition that brings only records that are no events says nothing about time.
func TestPoisonSlowsNobodyDown(t *testing.T) {
	d := newDriver(t, 1)
	task := d.ingest[0].task
	for range 10 {
		task.Process([]codecs.Record{{Value: []byte("no event")}})
	}
	if n := task.MaxRecords(); n != 200_000 {
		t.Errorf("%d records at once, want as many as can be", n)
	}
}

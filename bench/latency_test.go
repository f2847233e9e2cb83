package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSight(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	s := newSight()
	s.show("a", 0, at(0))
	s.sent("a", at(0), false)
	s.sent("a", at(10), true)
	s.sent("a", at(20), true)
	s.sent("b", at(5), true)
	s.show("a", 2, at(100)) // the first is not kept
	s.show("a", 2, at(110)) // nothing new
	s.show("c", 9, at(120)) // not ours
	if err := s.wait(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "2 events are still not visible") {
		t.Errorf("wait = %v, want the two events that do not show", err)
	}
	s.show("b", 1, at(200))
	s.show("a", 3, at(300))
	if err := s.wait(t.Context(), time.Minute); err != nil {
		t.Errorf("wait = %v, want none: all is visible", err)
	}
	want := []time.Duration{90 * time.Millisecond, 195 * time.Millisecond, 280 * time.Millisecond}
	if got := s.take(); !slices.Equal(got, want) {
		t.Errorf("delays are %v, want %v", got, want)
	}
	if got := s.take(); len(got) > 0 {
		t.Errorf("delays are %v, want none: they were taken", got)
	}
	s.sent("a", at(400), true)
	gone, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the reader has ended")
	cancel(why)
	if err := s.wait(gone, time.Minute); !errors.Is(err, why) {
		t.Errorf("wait = %v, want %v", err, why)
	}
}

func TestLatencyTable(t *testing.T) {
	d := delays{rate: 2000}
	for i := range 1000 {
		d.all = append(d.all, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := d.quantile(q); got != want*time.Millisecond {
			t.Errorf("quantile(%v) of 1 to 1000 ms = %s, want %d ms", q, got, want)
		}
	}
	one := delays{20_000, []time.Duration{1500 * time.Microsecond}, 2.345}
	want := "| 2,000 | 1,000 | 500.0 | 990.0 | 999.0 | 1000.0 | 0.00 |\n| 20,000 | 1 | 1.5 | 1.5 | 1.5 | 1.5 | 2.35 |\n"
	if got := latencyTable([]delays{d, one}); !strings.HasSuffix(got, want) {
		t.Errorf("table is\n%swant at its end\n%s", got, want)
	}
}

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestMeasureEndsTheCountingWhenAllIsCounted(t *testing.T) {
	looked := false
	line, err := measure(t.Context(), 10, func(ctx context.Context, m *meter) error {
		m.add(4)
		if ctx.Err() != nil {
			t.Error("the counting was ended after 4 of 10")
		}
		m.add(6)
		<-ctx.Done()
		looked = true
		return nil
	})
	if err != nil || !looked {
		t.Fatalf("measure = %q, %v, looked %t; want it to wait for what is done at the end", line, err, looked)
	}
	if !strings.HasPrefix(line, "events=10 ") {
		t.Errorf("measure = %q, want the line of a meter that counted 10", line)
	}
}

func TestMeasureFails(t *testing.T) {
	wrong := errors.New("the table is wrong")
	line, err := measure(t.Context(), 10, func(ctx context.Context, m *meter) error {
		m.add(10)
		<-ctx.Done()
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Errorf("wrong at the end: measure = %q, %v, want %v", line, err, wrong)
	}
	line, err = measure(t.Context(), 10, func(_ context.Context, m *meter) error {
		m.add(4)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "after 4 of 10") {
		t.Errorf("ended early: measure = %q, %v, want how far it came", line, err)
	}
}

func TestRunChildWantsItsArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"goka"}, {"kafka", "b", "t", "1", "n", "d"}, {"franz", "b", "t", "one", "n", "d"}} {
		if err := runChild(t.Context(), args); err == nil {
			t.Errorf("runChild(%q) did not fail", args)
		}
	}
}

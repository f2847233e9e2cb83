package main

import (
	"context"
	"fmt"
	"strings"
)

// flink is an embedded Flink with a job that does the same work, but does not drop
// duplicates. It drains the topic once to warm up, then once for the clock.
type flink struct {
	script string
	c      *cluster
	events int
}

func (f flink) drain(ctx context.Context, topic string) (figures, error) {
	var got figures
	used, err := f.c.broker(func() error {
		text, err := runScript(ctx, f.script, f.c.kafka.Address, "topic="+topic, "warm=1", "combine=1")
		if err != nil {
			return err
		}
		got, err = parseFlink(text, f.events)
		return err
	})
	got.brokerCPU = perEvent(used, 2*int64(f.events))
	return got, err
}

// parseFlink reads the line of the measured pass. All that it committed to its
// sink must add up to all events.
func parseFlink(text string, events int) (figures, error) {
	var measured []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "measured ") {
			measured = append(measured, line)
		}
	}
	if len(measured) != 1 {
		return figures{}, fmt.Errorf("%d lines of a measured pass in %q, want one", len(measured), text)
	}
	n := float64(events)
	v := parseValues(measured[0])
	v.expect("parsed", n)
	v.expect("aggregated", n)
	v.expect("late_dropped", 0)
	v.expect("out_sum", n)
	v.expect("out_duplicates", 0)
	f := figures{
		eventsPerSecond: v.number("events_per_s"),
		cpu:             v.number("cpu_s") * 1e6 / n,
		peak:            v.number("peak_rss_mib"),
	}
	if v.of["mode"] != "eos" && v.err == nil {
		v.err = fmt.Errorf("mode is %q, want eos, in %q", v.of["mode"], measured[0])
	}
	if v.err != nil {
		return figures{}, v.err
	}
	return f, nil
}

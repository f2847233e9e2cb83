package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// streams is Kafka Streams with a topology that does the same work, but does not
// drop duplicates. It warms up before the clock starts.
type streams struct {
	script string
	c      *cluster
	events int
}

// warmUp is how many events it may warm up with; they are read again afterwards.
const warmUp = 1_500_000

// drain reads the whole topic once. Its grace is half an hour: with less it drops
// events while it catches up, see late.
func (s streams) drain(ctx context.Context, topic string) (figures, error) {
	var f figures
	used, err := s.c.broker(func() error {
		line, err := s.run(ctx, topic, 1800)
		if err != nil {
			return err
		}
		f, err = parseStreams(line, s.events)
		return err
	})
	f.brokerCPU = perEvent(used, int64(s.events+s.warm()))
	return f, err
}

// late returns how many events it drops as late with 30 s of grace.
func (s streams) late(ctx context.Context, topic string) (int64, error) {
	line, err := s.run(ctx, topic, int(catchUpGrace.Seconds()))
	if err != nil {
		return 0, err
	}
	return parseStreamsLate(line, s.events)
}

func (s streams) warm() int { return min(warmUp, s.events) }

// run returns the line that the script prints, and deletes the topics that it
// leaves behind.
func (s streams) run(ctx context.Context, topic string, grace int) (string, error) {
	line, err := runScript(ctx, s.script, s.c.kafka.Address, topic, strconv.Itoa(s.events),
		"warm="+strconv.Itoa(s.warm()), "grace="+strconv.Itoa(grace))
	if err != nil {
		return "", err
	}
	app := parseValues(line).of["app"]
	if app == "" {
		return "", fmt.Errorf("no app, whose topics are to be deleted, in %q", line)
	}
	return line, s.c.forget(ctx, app)
}

func parseStreams(line string, events int) (figures, error) {
	n := float64(events)
	v := parseValues(line)
	v.expect("parsed", n)
	v.expect("aggregated", n)
	v.expect("dropped_late", 0)
	f := figures{
		eventsPerSecond: v.number("events_per_s"),
		cpu:             v.number("cpu_s") * 1e6 / n,
		peak:            v.number("peak_rss_mib"),
	}
	if v.err != nil {
		return figures{}, v.err
	}
	return f, nil
}

// parseStreamsLate reads how many events were dropped; together with those that
// were counted they must be all.
func parseStreamsLate(line string, events int) (int64, error) {
	v := parseValues(line)
	v.expect("grace", catchUpGrace.Seconds())
	v.expect("parsed", float64(events))
	late := v.number("dropped_late")
	if v.err == nil && v.number("aggregated")+late != float64(events) {
		v.err = errors.Join(v.err, fmt.Errorf("aggregated and dropped_late are not %d together in %q", events, line))
	}
	if v.err != nil {
		return 0, v.err
	}
	return int64(late), nil
}

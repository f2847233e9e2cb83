package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// contestant drains a topic.
type contestant struct {
	short string // for -only
	name  string
	note  string // what the figures cover, for the document

	drain func(ctx context.Context, topic string) (figures, error)
	// late drains with catchUpGrace and returns how many events were dropped; nil
	// when there is nothing to learn from it.
	late func(ctx context.Context, topic string) (int64, error)

	script string // that it needs; "" when it is all here
}

const ours = "ragstreams"

// contestants are all there are.
func contestants(p *program, peers string, events int) []contestant {
	script := func(folder string) string { return filepath.Join(peers, folder, "run.sh") }
	s := streams{script("kafka-streams-baseline"), p.c, events}
	f := flink{script("flink-baseline"), p.c, events}
	few, limit := events, ""
	if events > gokaEvents {
		few, limit = gokaEvents, fmt.Sprintf(", of the first %s events", thousands(gokaEvents))
	}
	return []contestant{
		{
			short: ours, name: ours, drain: p.drain, late: p.late,
			note: "all it does, with exactly once, a commit a second while there is a backlog, and duplicates removed. From the moment at which it begins to read, in a fresh process, " +
				"until all tables are complete over HTTP; they are then compared with the truth. CPU of the whole process, start included.",
		},
		{
			short: "streams", name: "Kafka Streams, exactly once, warm", drain: s.drain, late: s.late, script: s.script,
			note: "10 s windows and error groups, with exactly once at 100 ms; duplicates stay. From its first event to its last aggregate; the JVM is warm " +
				"from up to " + thousands(warmUp) + " events before. CPU from its first event.",
		},
		{
			short: "flink", name: "Flink, exactly once, warm", drain: f.drain, script: f.script,
			note: "the same windows and groups, combined before they are sent by key, with checkpoints every second; duplicates stay. From its first event to " +
				"its last aggregate; the JVM is warm from one pass before. CPU from its first event.",
		},
		{
			short: "goka", name: "goka, a SetValue per event" + limit,
			drain: child{"goka", p.site, p.c, int64(few)}.drain,
			note: "goka and sarama as their documentation shows them: events are re-keyed through the group's loop into one counter per tenant, event type " +
				"and model; at least once, no window. From the first event to the last SetValue. CPU of the whole process.",
		},
		{
			short: "franz", name: "bare franz-go consumer", drain: child{"franz", p.site, p.c, int64(events)}.drain,
			note: "a member of a group that counts records and looks at none. From the first record to the last. CPU of the whole process.",
		},
		{
			short: "sarama", name: "bare sarama consumer group", drain: child{"sarama", p.site, p.c, int64(events)}.drain,
			note: "the same with sarama.",
		},
	}
}

// choose returns the contestants of only, a list of short names, or all when it is
// empty. Without being asked for, one whose script is missing is left out.
func choose(all []contestant, only string, exists func(path string) bool) (chosen []contestant, leftOut []string, err error) {
	var names []string
	for _, one := range all {
		names = append(names, one.short)
	}
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, nil, fmt.Errorf("-only: there is no %q, only %s", name, strings.Join(names, ","))
		}
	}
	for _, one := range all {
		missing := one.script != "" && !exists(one.script)
		switch {
		case len(wanted) > 0 && !slices.Contains(wanted, one.short):
		case missing && len(wanted) > 0:
			return nil, nil, fmt.Errorf("-only: %s needs %s: give its folder's parent with -peers", one.short, one.script)
		case missing:
			leftOut = append(leftOut, fmt.Sprintf("%s is left out: there is no %s", one.name, one.script))
		default:
			chosen = append(chosen, one)
		}
	}
	return chosen, leftOut, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// turnLimit bounds one drain of one contestant.
const turnLimit = 20 * time.Minute

// contest lets the contestants drain the topic in turns, first for speed, then for
// what they lose. It tells w every run. The first drain is for the broker alone: one
// that was just started takes three times as long over everything.
func contest(ctx context.Context, w io.Writer, all []contestant, runs, events int) ([]result, []loss, error) {
	f, err := turn(ctx, all[0].drain)
	if err != nil {
		return nil, nil, fmt.Errorf("%s, to warm the broker: %w", all[0].name, err)
	}
	fmt.Fprintf(w, "warm-up     %-56s %s\n", all[0].name, f)
	results := make([]result, len(all))
	for n := range runs {
		for i, one := range all {
			f, err := turn(ctx, one.drain)
			if err != nil {
				return nil, nil, fmt.Errorf("%s, run %d: %w", one.name, n+1, err)
			}
			fmt.Fprintf(w, "run %d       %-56s %s\n", n+1, one.name, f)
			results[i].contestant = one
			results[i].runs = append(results[i].runs, f)
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(c contestant) bool { return c.late == nil })
	losses := make([]loss, len(all))
	for n := range runs {
		for i, one := range all {
			late, err := turn(ctx, one.late)
			if err == nil && late > 0 && one.short == ours {
				err = errors.New("events in time were dropped as late")
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s, catching up, run %d, %d of %d events late: %w", one.name, n+1, late, events, err)
			}
			fmt.Fprintf(w, "catch-up %d  %-56s %d of %d events late\n", n+1, one.name, late, events)
			losses[i].name = one.name
			losses[i].late = append(losses[i].late, late)
		}
	}
	return results, losses, nil
}

func turn[T any](ctx context.Context, do func(context.Context, string) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	return do(ctx, topic)
}

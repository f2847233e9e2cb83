package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ragstreams/generate"
)

// catchUpGrace is the grace with which the contestants catch up: far more than the
// two seconds by which events are out of order, far less than the ten minutes of
// the backlog.
const catchUpGrace = 30 * time.Second

// late drains the topic with catchUpGrace and returns how many events were dropped
// as late. When none was, the tables are compared with the truth.
func (p *program) late(ctx context.Context, topic string) (int64, error) {
	var late int64
	env := []string{"ANALYTICS_WINDOW_GRACE=" + catchUpGrace.String()}
	err := p.during(ctx, topic, env, func(one running) error {
		err := one.await(ctx, func() (bool, error) {
			ended, _, err := one.tables.Outcomes(ctx)
			if err != nil {
				return false, err
			}
			var all int64
			late = 0
			for k, n := range ended {
				all += n
				if k.Outcome == generate.Late {
					late += n
				}
			}
			return all >= p.truth.Count("", ""), nil
		})
		if err != nil {
			return fmt.Errorf("the backlog is not read: %w", err)
		}
		if late > 0 {
			return nil
		}
		if err := p.complete(ctx, one); err != nil {
			return err
		}
		return p.compare(ctx, one)
	})
	return late, err
}

// loss is how many events a contestant dropped as late in each run.
type loss struct {
	name string
	late []int64
}

// lossTable is the losses in Markdown; each run had so many events.
func lossTable(losses []loss, events int) string {
	var b strings.Builder
	b.WriteString("| min / **median** / max | events dropped as late | share |\n|---|---|---|\n")
	for _, l := range losses {
		var all []float64
		for _, n := range l.late {
			all = append(all, float64(n))
		}
		s := spread(all)
		share := func(v float64) string { return hundredths(100 * v / float64(events)) }
		fmt.Fprintf(&b, "| %s | %s / **%s** / %s | %s / **%s** / %s %% |\n", l.name,
			thousands(s[0]), thousands(s[1]), thousands(s[2]), share(s[0]), share(s[1]), share(s[2]))
	}
	return b.String()
}

// spread returns the least, the median and the greatest.
func spread(all []float64) [3]float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return [3]float64{all[0], (all[(n-1)/2] + all[n/2]) / 2, all[n-1]}
}

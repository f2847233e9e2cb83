package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ragstreams/app"
)

func runBacktest(ctx context.Context, env environment, args []string) error {
	fs := newFlags(env, "rules backtest")
	config := fs.String("config", lookup(env.environ, configVariable), "configuration `file`; kafka.*, sources, window.*, limits.*, retention.* and rules are used")
	since := fs.String("since", "", "where it begins: how long ago, such as 72h, or an RFC 3339 `time`")
	until := fs.String("until", "", "where it ends, likewise; default: now")
	pattern := fs.String("rules", "", "`pattern` of the names of rule files; default: those of the configuration")
	step := fs.Duration("step", 0, "time between evaluations, up to 1m; default: window.pane, or 1m where that is longer")
	warmUp := -time.Second // as far as the rules look back
	fs.Func("warm-up", "how much before --since reading begins, a `duration`; totals such as rag_events_total begin with 0 there; default: as far as the rules look back", func(text string) (err error) {
		if warmUp, err = time.ParseDuration(text); err == nil && warmUp < 0 {
			err = errors.New("want 0s or more")
		}
		return err
	})
	format := fs.String("format", "table", "`table` or json")
	if err := parse(fs, args); err != nil {
		return err
	}
	now := time.Now()
	b := app.Backtest{Since: now, Until: now, Step: *step, WarmUp: warmUp}
	if err := errors.Join(timeOf(&b.Since, "since", *since, now), timeOf(&b.Until, "until", cmp.Or(*until, "0s"), now)); err != nil {
		return err
	}
	write, ok := map[string]func(io.Writer, *app.BacktestResult) error{"table": writeTable, "json": writeJSON}[*format]
	if !ok {
		return fmt.Errorf("--format is %q: want table or json", *format)
	}
	s, err := loadSettings(*config, env.environ)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	s.app.Rules = cmp.Or(*pattern, s.app.Rules)
	b.Progress = func(p app.BacktestProgress) {
		fmt.Fprintf(env.stderr, "at %s, %.0f %%: %d records, %.0f a second\n", p.At.UTC().Format(time.RFC3339), 100*p.Part, p.Records, float64(p.Records)/time.Since(now).Seconds())
	}
	result, err := app.RunBacktest(ctx, s.app, b)
	if result == nil {
		return err
	}
	return cmp.Or(write(env.stdout, result), err, failed(result))
}

// failed returns an error when rules could not be evaluated: that their alerts did not fire
// tells nothing then.
func failed(r *app.BacktestResult) error {
	if len(r.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("rules could not be evaluated at every time, so alerts may be missing: %s: mend them, and test again", strings.Join(slices.Sorted(maps.Keys(r.Faults)), ", "))
}

// timeOf reads a time of the past, or how long ago it is.
func timeOf(t *time.Time, flag, text string, now time.Time) error {
	ago, err := time.ParseDuration(text)
	if err == nil {
		*t = now.Add(-ago)
		return nil
	}
	if *t, err = time.Parse(time.RFC3339, text); err == nil {
		return nil
	}
	return fmt.Errorf("--%s is %q: want how long ago, such as 72h, or a time such as 2026-01-02T15:04:05Z", flag, text)
}

func writeJSON(w io.Writer, r *app.BacktestResult) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeTable writes what people read.
func writeTable(w io.Writer, r *app.BacktestResult) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "From %s to %s, rules evaluated every %s.\n\n", second(r.Since), second(r.Until), time.Duration(r.Step))
	switch {
	case len(r.Alerts) > 0:
		fmt.Fprintln(t, "FIRED AT\tRESOLVED AT\tLASTED\tPEAK\tRULE\tLABELS")
	case len(r.Faults) > 0:
		fmt.Fprintln(t, "No alert fired, as far as rules could be evaluated.")
	default:
		fmt.Fprintln(t, "No alert would have fired.")
	}
	for _, a := range r.Alerts {
		fired, resolved := second(a.Fired), "still firing"
		if a.Before {
			fired = "before"
		}
		if a.Resolved != nil {
			resolved = second(*a.Resolved)
		}
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
			labels = append(labels, name+"="+a.Labels[name])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", fired, resolved, short(time.Duration(a.Lasted)),
			strconv.FormatFloat(float64(a.Peak), 'g', 4, 64), a.Rule, strings.Join(labels, " "))
	}
	fmt.Fprintln(t, "\nRULE\tGROUP\tTIMES\tFOR\t")
	for _, rule := range r.Rules {
		var more []string
		if rule.Before > 0 {
			more = append(more, fmt.Sprintf("%d from before", rule.Before))
		}
		if rule.StillFiring > 0 {
			more = append(more, fmt.Sprintf("%d still firing", rule.StillFiring))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", rule.Rule, rule.Group, rule.Times, short(time.Duration(rule.Total)), strings.Join(more, ", "))
	}
	n := r.Records
	fmt.Fprintf(t, "\nRecords: %d read, of them %d counted, %d duplicate, %d late, %d poison. Before, from %s on, %d.\n",
		n.Read, n.Counted, n.Duplicate, n.Late, n.Poison, second(r.ReadFrom), n.WarmUp)
	if n.HeldUp > 0 {
		fmt.Fprintf(t, "HELD UP: %d came longer after their timestamps than windows take events, or behind others of a clock that is ahead.\n", n.HeldUp)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(t, "NOTE: %s\n", note)
	}
	for _, g := range r.NotCovered {
		where := g.Topic
		if g.Partition != nil {
			where += fmt.Sprintf("/%d", *g.Partition)
		}
		if g.Begins != nil {
			where += " begins at " + second(*g.Begins)
		}
		fmt.Fprintf(t, "NOT COVERED: %s: %s\n", where, g.Why)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		f := r.Faults[name]
		fmt.Fprintf(t, "FAILED: %s could not be evaluated %d of %d times, first at %s: %s\n", name, f.Times, r.Evaluations, second(f.First), f.Error)
	}
	return t.Flush()
}

func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// short writes a duration to the second, or to the millisecond where it has less.
func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

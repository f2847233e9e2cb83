package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"ragstreams/app"
	"ragstreams/traces"
	"ragstreams/traces/api"
)

// runTrace finds a trace in Kafka, whether the program runs or not.
func runTrace(ctx context.Context, env environment, args []string) error {
	fs := newFlags(env, "trace")
	config := fs.String("config", lookup(env.environ, configVariable), "configuration `file`; kafka.*, sources and limits.* are used")
	at := fs.String("at", "", "near which it lies: a `place` such as rag-traces/0@17, an RFC 3339 time, or Unix seconds")
	margin := fs.String("margin", "", "how `long` nothing of it may come, such as 2m")
	after := fs.String("after", "", "search what is older than in the output before, a `text` that it told")
	content := fs.Bool("content", false, "show what the records hold, which may be personal; needs --format json")
	format := fs.String("format", "table", "`table` or json")
	ids, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(ids) != 1 {
		return fmt.Errorf("trace: %d ids are given: want one, as in analytics trace 4bf92f3577b34da6a3ce929d0e0e4736", len(ids))
	}
	asJSON, err := isJSON(*format)
	if err != nil {
		return err
	}
	if *content && !asJSON {
		return errors.New("--content needs --format json: the table does not show what records hold")
	}
	ask := traces.Ask{ID: ids[0], Content: *content}
	if err := cmp.Or(traces.CheckID(ask.ID), api.Parse(&ask, *at, *margin, *after)); err != nil {
		return err
	}
	s, err := loadSettings(*config, env.environ)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if err := app.Reachable(ctx, s.app); err != nil {
		return err
	}
	finder, done, err := app.Traces(s.app)
	if err != nil {
		return err
	}
	defer done()
	return showTrace(ctx, env.stdout, finder, ask, asJSON)
}

// showTrace finds a trace, writes what was found of it, also when Kafka no longer answered,
// and returns how the command ends.
func showTrace(ctx context.Context, w io.Writer, finder *traces.Finder, ask traces.Ask, asJSON bool) error {
	found, err := finder.Find(ctx, ask)
	if err != nil && (found == nil || found.Records == 0) {
		return err
	}
	a := api.NewAnswer(ask.ID, found)
	if asJSON {
		if err := writeIndented(w, a); err != nil {
			return err
		}
	} else if a.Found {
		writeTrace(w, a)
	}
	return traceEnded(&ask, a, err)
}

// traceEnded returns how the command ends after an answer, with a way to go on where there
// is one: err is what ended the search, nil when it came to its end.
func traceEnded(ask *traces.Ask, a *api.Answer, err error) error {
	switch {
	case a.Found && err != nil:
		return fmt.Errorf("%w: there may be more of the trace: try again, with --at %s", err, foundAt(a))
	case a.Found:
		return nil
	case err != nil:
		return fmt.Errorf("%w: until then there was %s", err, nothing(ask, a))
	}
	return errors.New("there is " + nothing(ask, a))
}

// foundAt returns where an event lies that was found.
func foundAt(a *api.Answer) traces.Place {
	e := a.Steps[0].Events[0]
	return traces.Place{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
}

// nothing tells where nothing was found, and how to go on.
func nothing(ask *traces.Ask, a *api.Answer) string {
	near, another := "", "--at"
	if ask.At != nil || !ask.Around.IsZero() {
		near, another = "where --at says and ", "another --at"
	}
	newest, all := "in the newest records", "in all that the sources keep"
	if ask.Below != nil {
		newest, all = "in the records before the place that --after tells", all+" from before the place that --after tells"
	}
	var where, next string
	switch {
	case a.Search.Next != nil:
		where, next = near+newest, fmt.Sprintf(": search on with --after %s, or give %s", *a.Search.Next, another)
	case a.Search.Stopped == traces.StoppedError:
		where = "around --at, but not all there was searched"
	case a.Search.Stopped == traces.StoppedBudget:
		where, next = "around --at, but not all there was searched", ": give a smaller --margin, or leave --at out"
	default:
		where = all
		if a.Search.Held {
			next = ", but what lies behind an open transaction was not: try again when it has ended"
		}
	}
	return fmt.Sprintf("no event of trace %s %s (%d records, %d MiB)%s", ask.ID, where, a.Search.Records, a.Search.Bytes>>20, next)
}

// stopped tells what is missing where a search ended early.
var stopped = map[string]string{
	traces.StoppedBudget: "; there may be more of it: a bound of the search was reached",
	traces.StoppedEvents: fmt.Sprintf("; there may be more of it: a search ends at %d events", traces.MaxEvents),
	traces.StoppedError:  "; there may be more of it: the sources could not be read to the end",
}

// width is how long a line for the whole trace is.
const width = 40

// writeTrace draws a trace: its steps, and when each ran.
func writeTrace(w io.Writer, a *api.Answer) {
	fmt.Fprintf(w, "trace %s  %s  %s  from %s\n\n", plain(a.TraceID), a.Status, seconds(*a.Duration), *a.Start)
	start := parseStamp(*a.Start)
	for i, s := range a.Steps {
		begin := parseStamp(s.Start).Sub(start).Seconds()
		took, name := 0.0, plain(cmp.Or(s.Stage, s.Events[0].Type))
		length := "·"
		if s.Duration != nil {
			took = *s.Duration
			length = seconds(took)
		}
		line := bar(begin, took, *a.Duration)
		notes := []string{s.Status}
		if s.Model != "" {
			notes = append(notes, plain(s.Model))
		}
		if a.Slowest != nil && *a.Slowest == i {
			notes = append(notes, "slowest")
		}
		if s.Gap > 0 {
			notes = append(notes, "after a gap of "+seconds(s.Gap))
		}
		if s.Copies > 0 {
			notes = append(notes, fmt.Sprintf("%d copies", s.Copies))
		}
		last := s.Events[len(s.Events)-1]
		if last.ErrorType+last.ErrorTemplate != "" {
			notes = append(notes, plain(strings.TrimSpace(last.ErrorType+" "+last.ErrorTemplate)))
		}
		fmt.Fprintf(w, "%-12s %8s  %s  %s\n", name, length, line, strings.Join(notes, ", "))
	}
	held := ""
	if a.Search.Held {
		held = "; what lies behind an open transaction was not read"
	}
	fmt.Fprintf(w, "\nsearched %d records, %d KiB%s%s\n", a.Search.Records, a.Search.Bytes>>10, stopped[a.Search.Stopped], held)
}

// bar draws when something ran, within a whole.
func bar(begin, took, whole float64) string {
	if whole <= 0 {
		return strings.Repeat(" ", width)
	}
	from := min(int(begin/whole*width), width-1)
	n := min(max(1, int(took/whole*width+0.5)), width-from)
	mark := "━"
	if took == 0 {
		mark = "╸"
	}
	return strings.Repeat(" ", from) + strings.Repeat(mark, n) + strings.Repeat(" ", width-from-n)
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func parseStamp(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic("BUG: an answer has the time " + text)
	}
	return t
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ragstreams/app"
	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
)

const dlqUsage = `usage: analytics dlq list [flags]
       analytics dlq show [flags] PARTITION OFFSET
       analytics dlq replay [flags]

They work on Kafka, whether the program runs or not; -h lists the flags.
`

func runDLQ(ctx context.Context, env environment, args []string) error {
	subcommands := map[string]func(context.Context, environment, []string) error{"list": listLetters, "show": showLetter, "replay": replayLetters}
	if len(args) == 0 || subcommands[args[0]] == nil {
		fmt.Fprint(env.stderr, dlqUsage)
		return errors.New("dlq: want list, show or replay")
	}
	return subcommands[args[0]](ctx, env, args[1:])
}

// letterFlags are the flags of a subcommand that looks into a side topic.
type letterFlags struct {
	*flag.FlagSet
	env    environment
	config *string
	late   *bool
}

func newLetterFlags(env environment, name string) letterFlags {
	fs := newFlags(env, "dlq "+name)
	return letterFlags{
		FlagSet: fs, env: env,
		config: fs.String("config", lookup(env.environ, configVariable), "configuration `file`; kafka.*, sources, window.* and limits.* are used"),
		late:   fs.Bool("late", false, "the late records instead of the dead letters"),
	}
}

// open opens the side topics of the deployment that the configuration names, and returns
// the one that is meant.
func (f letterFlags) open(ctx context.Context) (box *deadletters.Box, topic string, done func(), err error) {
	s, err := loadSettings(*f.config, f.env.environ)
	if err != nil {
		return nil, "", nil, fmt.Errorf("configuration:\n%w", err)
	}
	if err := app.Reachable(ctx, s.app); err != nil {
		return nil, "", nil, err
	}
	topic, late := app.DeadLetterTopics(s.app)
	if *f.late {
		topic = late
	}
	box, done, err = app.DeadLetters(s.app)
	return box, topic, done, err
}

// filterFlags say which letters are meant.
type filterFlags struct{ reason, source, since, until, cursor *string }

func (f letterFlags) filters() filterFlags {
	return filterFlags{
		reason: f.String("reason", "", "only those of a `reason`, such as too_large"),
		source: f.String("source", "", "only those of a source `topic`"),
		since:  f.String("since", "", "only those that came since then: how long ago, such as 2h, or an RFC 3339 `time`"),
		until:  f.String("until", "", "only those that came before, likewise"),
		cursor: f.String("cursor", "", "go on where the output before ended, a `text` that it told"),
	}
}

// filter returns what the flags say at a time.
func (f filterFlags) filter(now time.Time) (out deadletters.Filter, left deadletters.Spans, err error) {
	out.Reason, out.SourceTopic = *f.reason, *f.source
	for _, one := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", *f.since, &out.Since}, {"until", *f.until, &out.Until}} {
		if one.text != "" {
			if err := timeOf(one.to, one.flag, one.text, now); err != nil {
				return out, nil, err
			}
		}
	}
	if !out.Until.IsZero() && !out.Since.Before(out.Until) {
		return out, nil, fmt.Errorf("--until, %s, is not after --since, %s: nothing is in between", second(out.Until), second(out.Since))
	}
	if *f.cursor != "" {
		left, err = deadletters.ParseSpans(*f.cursor)
	}
	return out, left, err
}

// writeIndented writes an answer as the HTTP API has it.
func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// isJSON reads --format.
func isJSON(format string) (bool, error) {
	switch format {
	case "table":
		return false, nil
	case "json":
		return true, nil
	}
	return false, fmt.Errorf("--format is %q: want table or json", format)
}

// mostListed bounds what a list holds in memory.
const mostListed = 10_000

func listLetters(ctx context.Context, env environment, args []string) error {
	fs := newLetterFlags(env, "list")
	filters := fs.filters()
	limit := fs.Int("limit", 100, "how many at most")
	format := fs.String("format", "table", "`table` or json")
	if err := parse(fs.FlagSet, args); err != nil {
		return err
	}
	asJSON, err := isJSON(*format)
	if err != nil {
		return err
	}
	if *limit < 1 || *limit > mostListed {
		return fmt.Errorf("--limit is %d: want 1 to %d; --cursor goes on from there", *limit, mostListed)
	}
	f, left, err := filters.filter(time.Now())
	if err != nil {
		return err
	}
	box, topic, done, err := fs.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	entries, next, err := box.List(ctx, topic, f, left, *limit)
	if err != nil {
		return err
	}
	list := api.NewList(topic, entries, next)
	if asJSON {
		return writeIndented(env.stdout, list)
	}
	return writeList(env.stdout, list)
}

// writeList writes what people read. What a producer wrote is quoted where it could change
// what a terminal shows.
func writeList(out io.Writer, list api.List) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	number := func(n *int) string {
		if n == nil {
			return "-"
		}
		return strconv.Itoa(*n)
	}
	fmt.Fprintln(w, "PARTITION\tOFFSET\tCAME AT\tREASON\tORIGINAL\tHOLDS\tBYTES\tREPLAYS\tHEADERS\tDETAIL")
	for _, r := range list.Rows {
		detail := plain(r.Detail)
		if r.EventTime != nil {
			detail = fmt.Sprintf("event time %s, late by %s", *r.EventTime, time.Duration(*r.Lateness)*time.Millisecond)
		}
		source := deadletters.Place{Topic: plain(r.SourceTopic), Partition: r.SourcePartition, Offset: r.SourceOffset}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Partition, r.Offset, r.CameAt, plain(cmp.Or(r.Reason, "-")), source, r.Holds, number(r.ValueBytes), number(r.Replays), headerText(r.Headers), detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d of %s, newest first.\n", len(list.Rows), list.Topic)
	if list.Next != nil {
		fmt.Fprintf(out, "There may be more: --cursor %s\n", *list.Next)
	}
	return nil
}

func headerText(headers []api.Header) string {
	var parts []string
	for _, h := range headers {
		value := "null"
		if h.Value != nil {
			value = plain(*h.Value)
		}
		parts = append(parts, plain(h.Key)+"="+value)
	}
	return cmp.Or(strings.Join(parts, ","), "-")
}

// plain quotes a text that holds more than one line of it can show.
func plain(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

func showLetter(ctx context.Context, env environment, args []string) error {
	fs := newLetterFlags(env, "show")
	raw := fs.Bool("raw", false, "write the bytes of the original's value, and nothing else")
	rest, err := parseMixed(fs.FlagSet, args)
	if err != nil {
		return err
	}
	at, err := placeOf(rest)
	if err != nil {
		return err
	}
	box, topic, done, err := fs.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	shown, err := box.Show(ctx, topic, at)
	if err != nil {
		return err
	}
	if !*raw {
		return writeIndented(env.stdout, api.NewShown(shown))
	}
	if shown.Gone != "" {
		return fmt.Errorf("%s: without --raw, what is left of it is shown", shown.Why)
	}
	_, err = env.stdout.Write(shown.Original.Value)
	return err
}

func placeOf(args []string) (at deadletters.At, err error) {
	if len(args) != 2 {
		return at, fmt.Errorf("dlq show: want a partition and an offset, such as 0 17, but got %q", strings.Join(args, " "))
	}
	partition, err1 := strconv.ParseInt(args[0], 10, 32)
	offset, err2 := strconv.ParseInt(args[1], 10, 64)
	if errors.Join(err1, err2) != nil || partition < 0 || offset < 0 {
		return at, fmt.Errorf("dlq show: %q is no partition and offset: want two numbers, such as 0 17", strings.Join(args, " "))
	}
	return deadletters.At{Partition: int32(partition), Offset: offset}, nil
}

func replayLetters(ctx context.Context, env environment, args []string) error {
	fs := newLetterFlags(env, "replay")
	filters := fs.filters()
	partition := fs.Int("partition", -1, "only one: its `partition`, with --offset")
	offset := fs.Int64("offset", -1, "its `offset`")
	file := fs.String("value-file", "", "`file` with the value to send instead of the original's, with --partition and --offset")
	limit := fs.Int("limit", 0, "how many at most; 0: all")
	dry := fs.Bool("dry-run", false, "send nothing; tell of each what would become of it")
	force := fs.Bool("force", false, "send also what will surely come back: still poison, or still late")
	by := fs.String("by", lookup(env.environ, "USER"), "who you are, a `name`; a dry run needs none")
	id := fs.String("replay", "", "`id` of the replay that is gone on with; a new one if it is not given")
	format := fs.String("format", "table", "`table` or json")
	if err := parse(fs.FlagSet, args); err != nil {
		return err
	}
	asJSON, err := isJSON(*format)
	if err != nil {
		return err
	}
	if *by == "" && !*dry {
		return errors.New("a replay needs somebody who wants it, and $USER is not set: give your name with --by")
	}
	w := deadletters.Wish{Limit: *limit, ID: *id, By: *by, DryRun: *dry, Force: *force}
	if w.Filter, w.Left, err = filters.filter(time.Now()); err != nil {
		return err
	}
	if (*partition < 0) != (*offset < 0) {
		return errors.New("--partition and --offset go together: give both for one record, or neither")
	}
	if *partition >= 0 {
		w.At = &deadletters.At{Partition: int32(*partition), Offset: *offset}
	}
	if *file != "" {
		if w.Value, err = os.ReadFile(*file); err != nil {
			return fmt.Errorf("read the value to send: %w", err)
		}
		w.Mended = true
	}
	box, topic, done, err := fs.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	w.Topic = topic
	if asJSON {
		return replayJSON(ctx, env, box, w)
	}
	return replayTable(ctx, env, box, w)
}

// replayJSON answers as the HTTP API does.
func replayJSON(ctx context.Context, env environment, box *deadletters.Box, w deadletters.Wish) error {
	var outcomes []deadletters.Outcome
	result, err := box.Replay(ctx, w, func(o deadletters.Outcome) { outcomes = append(outcomes, o) })
	if result == nil {
		return err
	}
	return cmp.Or(writeIndented(env.stdout, api.NewResult(w.Topic, result, outcomes)), ended(result, err))
}

// replayTable writes a line for each record that is not sent, of a dry run for all, and a
// summary.
func replayTable(ctx context.Context, env environment, box *deadletters.Box, w deadletters.Wish) error {
	result, err := box.Replay(ctx, w, func(o deadletters.Outcome) {
		if o.Verdict != deadletters.Send || o.Forced || w.DryRun {
			fmt.Fprintln(env.stdout, outcomeText(&o, w.DryRun))
		}
	})
	if result == nil {
		return err
	}
	done := "sent"
	if w.DryRun {
		done = "would be sent"
	}
	fmt.Fprintf(env.stdout, "replay %s: %d of %s matched, %d %s%s, %d skipped%s, %d failed%s\n", result.ID, result.Matched, w.Topic,
		result.Sent, done, counts(result.SentTo), result.Skips(), counts(result.Skipped), result.Failures(), counts(result.Failed))
	if result.WithoutID > 0 {
		fmt.Fprintf(env.stdout, "%d of those sent have no event_id: sent again, they are counted again\n", result.WithoutID)
	}
	if left := result.Left.String(); left != "" {
		fmt.Fprintf(env.stdout, "not looked at yet: --replay %s --cursor %s\n", result.ID, left)
	}
	return ended(result, err)
}

// outcomeText tells what became of a letter, or would.
func outcomeText(o *deadletters.Outcome, dry bool) string {
	to := fmt.Sprintf("%s/%d", o.Source.Topic, o.Source.Partition)
	switch {
	case o.Forced:
		return fmt.Sprintf("%s: goes to %s though it will come back: %s", o.Letter, to, plain(o.Why))
	case o.Verdict == deadletters.Send && dry:
		text := fmt.Sprintf("%s: would go to %s", o.Letter, to)
		if !o.HasID {
			text += ", without an event_id"
		}
		return text
	}
	return fmt.Sprintf("%s: %s: %s", o.Letter, o.Verdict, plain(o.Why))
}

// counts writes numbers by name, in brackets.
func counts[K cmp.Ordered](m map[K]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v %d", name, m[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// ended returns how the command ends.
func ended(r *deadletters.Result, err error) error {
	if n := r.Failures(); err == nil && n > 0 {
		return fmt.Errorf("%d records could not be sent; above it says why", n)
	}
	return err
}

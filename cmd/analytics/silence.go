package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"ragstreams/alerts/api"
	"ragstreams/alerts/match"
	"ragstreams/alerts/silences"
)

const silenceUsage = `usage: analytics silence add [flags] MATCHER...   such as tenant=acme 'alertname=~"Slow.*"'
       analytics silence list [flags]
       analytics silence expire [flags] ID...

They speak to a running instance, any of them; -h lists the flags.
`

func runSilence(ctx context.Context, env environment, args []string) error {
	subcommands := map[string]func(context.Context, environment, []string) error{"add": addSilence, "list": listSilences, "expire": expireSilences}
	if len(args) == 0 || subcommands[args[0]] == nil {
		fmt.Fprint(env.stderr, silenceUsage)
		return errors.New("silence: want add, list or expire")
	}
	return subcommands[args[0]](ctx, env, args[1:])
}

// silenceFlags are the flags of a subcommand that speaks to an instance.
func silenceFlags(env environment, name string) (fs *flag.FlagSet, instance *string) {
	fs = newFlags(env, "silence "+name)
	return fs, fs.String("url", "http://127.0.0.1:8080", "`address` of an instance")
}

// says are the flags of who says something, and why.
func says(fs *flag.FlagSet) (by, comment *string) {
	return fs.String("by", os.Getenv("USER"), "who you are, a `name`"), fs.String("comment", "", "why, a `text`")
}

// parseMixed parses flags that may stand among arguments, and returns these.
func parseMixed(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if args = fs.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	return rest, nil
}

func addSilence(ctx context.Context, env environment, args []string) error {
	fs, instance := silenceFlags(env, "add")
	by, comment := says(fs)
	length := fs.Duration("for", time.Hour, "how long")
	start := fs.String("start", "", "when it begins, an RFC 3339 `time`; now if it is not given")
	texts, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	wish := api.Wish{By: *by, Comment: *comment, Starts: time.Now()}
	for _, text := range texts {
		m, err := match.Parse(text)
		if err != nil {
			return err
		}
		wish.Matchers = wish.Matchers.And(m)
	}
	if *start != "" {
		if wish.Starts, err = time.Parse(time.RFC3339, *start); err != nil {
			return fmt.Errorf("start is %q: want a time such as %s", *start, time.Now().Format(time.RFC3339))
		}
	}
	wish.Ends = wish.Starts.Add(*length)
	body, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	var saved api.Saved
	if err := askInstance(ctx, http.MethodPost, *instance, "silences", body, &saved); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, saved.ID)
	return nil
}

func listSilences(ctx context.Context, env environment, args []string) error {
	fs, instance := silenceFlags(env, "list")
	all := fs.Bool("all", false, "those that are over, too")
	if err := parse(fs, args); err != nil {
		return err
	}
	var list []api.Silence
	if err := askInstance(ctx, http.MethodGet, *instance, "silences", nil, &list); err != nil {
		return err
	}
	w := tabwriter.NewWriter(env.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tMATCHERS\tSTARTS\tENDS\tHISTORY")
	for _, s := range list {
		if s.Status.State == silences.Over && !*all {
			continue
		}
		var history []string
		for _, c := range s.History {
			history = append(history, fmt.Sprintf("%s %s by %s: %s", c.At.Format(time.RFC3339), c.Kind, c.By, c.Comment))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Status.State, s.Matchers, s.Starts.Format(time.RFC3339), s.Ends.Format(time.RFC3339), strings.Join(history, "; "))
	}
	return w.Flush()
}

func expireSilences(ctx context.Context, env environment, args []string) error {
	fs, instance := silenceFlags(env, "expire")
	by, comment := says(fs)
	ids, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return errors.New("no silence is named: `analytics silence list` shows their ids")
	}
	said := url.Values{"by": {*by}, "comment": {*comment}}.Encode()
	for _, id := range ids {
		var saved api.Saved
		if err := askInstance(ctx, http.MethodDelete, *instance, "silence/"+url.PathEscape(id)+"?"+said, nil, &saved); err != nil {
			return fmt.Errorf("expire silence: %w", err)
		}
		fmt.Fprintln(env.stdout, saved.ID)
	}
	return nil
}

// askInstance sends a request to the API of an instance and decodes the answer into v.
func askInstance(ctx context.Context, method, instance, path string, body []byte, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(instance, "/")+"/api/v2/"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("url is %q: want the address of an instance, such as http://127.0.0.1:8080", instance)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no instance answers; is it running, and is --url right? %w", err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", instance, err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(got, v); err == nil {
			return nil
		}
		return fmt.Errorf("%s answers what is no answer of an instance: %.200s", instance, got)
	}
	var text string
	if json.Unmarshal(got, &text) != nil {
		text = strings.TrimSpace(string(got))
	}
	return fmt.Errorf("%s refuses: %s", instance, text)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ragstreams/app"
	"ragstreams/generate"
	"ragstreams/grafana"
	"ragstreams/kafka"
	"ragstreams/verify"
)

// demoOptions are the flags of the demo.
type demoOptions struct {
	dir       string
	kafkaPort int
	listen    string
	rate      float64
	seed      uint64
	during    time.Duration
	verbose   bool
}

func runDemo(ctx context.Context, env environment, args []string) error {
	var o demoOptions
	fs := newFlags(env, "demo")
	fs.StringVar(&o.dir, "dir", filepath.Join("data", "demo"), "`folder` of the embedded broker; emptied at the start")
	fs.IntVar(&o.kafkaPort, "kafka-port", 9092, "port of the embedded broker on 127.0.0.1; 0: a free one")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` of console, API and metrics")
	fs.Float64Var(&o.rate, "rate", 500, "records a second")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "equal seeds give equal traffic")
	fs.DurationVar(&o.during, "for", 0, "end by itself after this time, compare with the ground truth and print a summary; 0: run until interrupted")
	fs.BoolVar(&o.verbose, "verbose", false, "print the program's log")
	if err := parse(fs, args); err != nil {
		return err
	}
	if o.rate <= 0 || o.rate > 100_000 {
		return fmt.Errorf("--rate is %g: want more than 0 and up to 100000", o.rate)
	}
	return demo(ctx, env, o)
}

// demo runs broker, traffic and program in one process. When the broker cannot
// write to its folder any more, nothing that it says can be believed: the demo
// ends.
func demo(ctx context.Context, env environment, o demoOptions) error {
	if err := emptyDir(o.dir); err != nil {
		return err
	}
	disk, lost := context.WithCancelCause(context.Background())
	defer lost(nil)
	broker, err := kafka.StartEmbedded(kafka.EmbeddedOptions{
		Dir: filepath.Join(o.dir, "broker"), Port: o.kafkaPort, Settings: demoBroker, OnDiskError: lost,
	})
	if err != nil {
		return err
	}
	defer broker.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(disk, cancel)()
	err = play(ctx, disk, env, o, broker.Brokers())
	if disk.Err() != nil {
		return fmt.Errorf("data folder %s: %w: make room there or choose a folder on another disk with --dir; "+
			"the demo begins anew when it is started again", o.dir, context.Cause(disk))
	}
	return err
}

// options are those of the program, with the rules watched that are shipped. What they tell
// stays in the outbox.
func (o *demoOptions) options(env environment, brokers []string) (app.Options, error) {
	opts := app.DefaultOptions()
	opts.Kafka.Brokers = brokers
	opts.Instance, opts.Version, opts.HTTPListen = "demo", version(), o.listen
	opts.Replication, opts.Sessions = 1, 1
	opts.PaneRetention, opts.HourRetention = demoPanes, demoHistory
	if o.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(env.stderr, nil))
	}
	opts.Rules, opts.AlertPolicy = filepath.Join(o.dir, "rules.yaml"), filepath.Join(o.dir, "alert-policy.yaml")
	return opts, errors.Join(os.WriteFile(opts.Rules, grafana.Rules, 0o644), os.WriteFile(opts.AlertPolicy, grafana.Policy, 0o644))
}

// play runs traffic and program on a broker until ctx ends. When disk has ended
// it waits for nothing.
func play(ctx, disk context.Context, env environment, o demoOptions, brokers []string) error {
	opts, err := o.options(env, brokers)
	if err != nil {
		return err
	}
	topics := trafficTopics(opts.Sources)
	opts.Sources = opts.Sources[:len(topics)]
	if err := makeSources(ctx, opts.Kafka, 1, topics, demoSource); err != nil {
		return err
	}
	appCtx, stopApp := context.WithCancel(context.WithoutCancel(ctx))
	defer stopApp()
	url, ended, err := serve(appCtx, opts)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "console  %s\nmetrics  %s/metrics\ntables   %s/api/tables/latency?window=5m\nkafka    %s\ntraffic  %g records a second on %s, seed %d\n\n",
		url, url, url, brokers[0], o.rate, strings.Join(opts.Sources, ", "), o.seed)

	g := generate.New(generate.Config{
		Seed: o.seed, Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, ErrorRate: 0.02,
		Pane: opts.Pane, Grace: opts.Grace, Topics: topics, TotalsOnly: o.during == 0,
	})
	out, err := newTraffic(opts.Kafka)
	if err != nil {
		return err
	}
	defer out.close()
	trafficCtx, stopTraffic := context.WithCancel(ctx)
	defer stopTraffic()
	if o.during > 0 {
		trafficCtx, stopTraffic = context.WithTimeout(ctx, o.during)
		defer stopTraffic()
	}
	sent := make(chan error, 1)
	go func() {
		_, err := out.live(trafficCtx, g, o.rate, 0)
		sent <- err
	}()
	client := verify.Client{URL: url}
	if err := follow(trafficCtx, disk, env.stdout, client, sent, ended); err != nil {
		return err
	}
	if err := out.flush(disk); err != nil {
		return err
	}
	if o.during > 0 && ctx.Err() == nil {
		err = demoSummary(ctx, env.stdout, client, g.Truth())
	}
	stopApp()
	select {
	case end := <-ended:
		return errors.Join(err, end)
	case <-disk.Done():
		return context.Cause(disk)
	}
}

// serve starts the program, and returns where it serves once it does, and how it ends.
func serve(ctx context.Context, opts app.Options) (url string, ended <-chan error, err error) {
	listening, end := make(chan string, 1), make(chan error, 1)
	opts.OnListen = func(addr string) { listening <- addr }
	go func() { end <- app.Run(ctx, opts) }()
	select {
	case addr := <-listening:
		return "http://" + addr, end, nil
	case err := <-end:
		return "", nil, errors.Join(errors.New("the program ended before it served"), err)
	}
}

// follow prints where the tables stand until all traffic is sent.
func follow(ctx, disk context.Context, w io.Writer, c verify.Client, sent, ended <-chan error) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return errors.Join(errors.New("the program ended"), err)
		case err := <-sent:
			return err
		case <-tick.C:
			liveLine(ctx, w, c)
		case <-disk.Done():
			return context.Cause(disk)
		}
	}
}

// demoBroker bounds what the embedded broker keeps: it compacts changelogs and
// deletes what is past its retention twice a minute, by segments.
var demoBroker = map[string]string{
	"log.segment.bytes":      strconv.Itoa(4 << 20),
	"log.cleaner.backoff.ms": "30000",
}

// demoSource bounds the source topics: five minutes of traffic.
var demoSource = map[string]string{"retention.ms": "300000", "retention.bytes": strconv.Itoa(64 << 20)}

// How long the demo keeps closed windows one by one, and by the hour.
const (
	demoPanes   = 15 * time.Minute
	demoHistory = 30 * time.Minute
)

// marker names the file that says that a folder may be emptied.
const marker = "ragstreams-demo"

// emptyDir makes dir an empty folder. It refuses to empty a folder that the demo
// did not make.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("data folder %s holds other files: choose an empty one with --dir", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("empty data folder: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, marker), []byte("emptied whenever the demo starts\n"), 0o644)
}

// liveLine prints where the tables stand.
func liveLine(ctx context.Context, w io.Writer, c verify.Client) {
	ended, in, err := c.Outcomes(ctx)
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(w, "%s  %v\n", time.Now().Format("15:04:05"), err)
		}
		return
	}
	var records int64
	for _, n := range in {
		records += n
	}
	by := map[string]int64{}
	for k, n := range ended {
		by[k.Outcome] += n
	}
	fmt.Fprintf(w, "%s  in %d  counted %d  duplicate %d  late %d  poison %d\n", time.Now().Format("15:04:05"),
		records, by[generate.Counted], by[generate.Duplicate], by[generate.Late], by[generate.Poison])
}

// demoTimeout is how long the demo waits for the tables after the last record.
const demoTimeout = time.Minute

// demoSummary waits until everything has arrived and compares it with the truth.
func demoSummary(ctx context.Context, w io.Writer, c verify.Client, truth *generate.Truth) error {
	wait, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	if err := c.Await(wait, truth); err != nil {
		fmt.Fprintln(w, err)
	}
	differences, err := c.Compare(ctx, truth)
	if err != nil {
		return err
	}
	ended, _, err := c.Outcomes(ctx)
	if err != nil {
		return err
	}
	by := map[string]int64{}
	var sum int64
	for k, n := range ended {
		by[k.Outcome] += n
		sum += n
	}
	total := truth.Total()
	fmt.Fprintf(w, "\nproduced %d = counted %d + duplicate %d + late %d + poison %d\n", truth.Count("", ""),
		by[generate.Counted], by[generate.Duplicate], by[generate.Late], by[generate.Poison])
	fmt.Fprintf(w, "tables   %d traffic series, %d of latency, %d of usage, %d of behaviour, %d error groups in %d windows\n",
		len(total.Traffic), len(total.Latency), len(total.Usage), len(total.Behaviour), len(total.Errors), len(truth.Windows))
	if len(differences) > 0 || sum != truth.Count("", "") {
		for i, line := range differences {
			if i == 20 {
				fmt.Fprintf(w, "  … and %d more\n", len(differences)-i)
				break
			}
			fmt.Fprintln(w, "  "+line)
		}
		return fmt.Errorf("the tables differ from the ground truth in %d places", len(differences))
	}
	fmt.Fprintln(w, "ground truth: every total and every window is equal, distinct users and sessions within the error of their sketches")
	return nil
}

// Command bench measures how fast the program drains a topic of real Kafka into
// its tables, and beside it, in turns and from the same topic, others doing the
// same work or less: Kafka Streams and Flink, where their folders are at hand, goka
// as its documentation shows it, and bare consumers.
//
//	go run ./bench -events 5000000 -runs 3 -out docs/benchmarks.md
//	go run ./bench -only ragstreams,flink
//	go run ./bench -tenants 4000 -partitions 16
//	go run ./bench -rows 500000
//	go run ./bench -latency 60s
//	go run ./bench -alerts 60s
//
// Every run begins at the first event under a fresh prefix, with nothing in
// memory, and ends when all tables are complete, as read over HTTP; then they are
// compared with the truth. Then the contestants that judge lateness catch up with
// the topic again, and it is counted what they drop.
//
// With -rows it measures instead how long a restart takes with so many rows, with
// -latency how long an event takes until it is in a committed table, and with -alerts
// how long until a consumer of RabbitMQ has the alert that it sets off. ANALYTICS_…
// variables configure the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ragstreams/e2e/servers"
)

type options struct {
	events     int
	tenants    int
	partitions int
	runs       int
	seed       uint64
	out        string
	peers      string
	only       string
	rows       int
	latency    time.Duration
	alerts     time.Duration
}

// What is drained unless asked for otherwise.
const (
	defaultTenants    = 20
	defaultPartitions = 4
)

// peersBeside is the default of -peers, seen from the repository.
const peersBeside = "../shared/reference"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		return runChild(ctx, os.Args[2:])
	}
	var o options
	flag.IntVar(&o.events, "events", 5_000_000, "events to drain")
	flag.IntVar(&o.tenants, "tenants", defaultTenants, "tenants of the events to drain, 35 series each")
	flag.IntVar(&o.partitions, "partitions", defaultPartitions, "partitions of the topic to drain")
	flag.IntVar(&o.runs, "runs", 3, "runs of each contestant")
	flag.Uint64Var(&o.seed, "seed", 1, "equal seeds give equal events")
	flag.StringVar(&o.out, "out", "", "`file` to write the figures to, as Markdown")
	flag.StringVar(&o.peers, "peers", peersBeside, "`folder` that holds kafka-streams-baseline and flink-baseline; what is not there is left out")
	flag.StringVar(&o.only, "only", "", "contestants, by `names` with commas between: ragstreams,streams,flink,goka,franz,sarama")
	flag.IntVar(&o.rows, "rows", 0, "measure a restart with so many rows instead")
	flag.DurationVar(&o.latency, "latency", 0, "measure the latency of events instead, for so long at each rate")
	flag.DurationVar(&o.alerts, "alerts", 0, fmt.Sprintf("measure the latency of alerts instead, of %d in so long", breaches))
	flag.Parse()
	return bench(ctx, o)
}

func bench(ctx context.Context, o options) (err error) {
	if o.events < 1000 || o.runs < 1 || o.tenants < 1 || o.partitions < 1 || flag.NArg() > 0 {
		return errors.New("want -events of 1000 or more, -runs, -tenants and -partitions of 1 or more, and no arguments")
	}
	site, err := servers.Open("ragstreams-bench")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, site.Close()); err == nil {
			err = os.RemoveAll(site.Dir)
		} else {
			fmt.Fprintln(os.Stderr, "logs are in", site.Dir)
		}
	}()
	p, err := prepare(ctx, site)
	if err != nil {
		return err
	}
	defer p.c.client.Close()
	var text string
	switch {
	case o.rows > 0:
		return p.restart(ctx, o.rows, o.runs)
	case o.latency > 0:
		text, err = p.latencies(ctx, o)
	case o.alerts > 0:
		text, err = p.alertDelays(ctx, o)
	default:
		text, err = p.compete(ctx, o)
	}
	if err != nil || o.out == "" {
		return err
	}
	if err := os.WriteFile(o.out, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// prepare builds the program and starts the broker.
func prepare(ctx context.Context, site *servers.Site) (*program, error) {
	binary, err := site.Build(ctx, "./cmd/analytics")
	if err != nil {
		return nil, err
	}
	kafka, err := site.Kafka(ctx, "kafka")
	if err != nil {
		return nil, err
	}
	c, err := connect(kafka)
	return &program{site: site, binary: binary, c: c}, err
}

// compete measures all contestants and returns the document.
func (p *program) compete(ctx context.Context, o options) (string, error) {
	peers := o.peers
	if !filepath.IsAbs(peers) {
		peers = filepath.Join(p.site.Root, peers)
	}
	all, leftOut, err := choose(contestants(p, peers, o.events), o.only, exists)
	if err != nil {
		return "", err
	}
	for _, line := range leftOut {
		fmt.Println(line)
	}
	version, err := p.site.KafkaVersion()
	if err != nil {
		return "", err
	}
	fmt.Printf("loading %d events\n", o.events)
	began := time.Now()
	if p.truth, err = p.c.load(ctx, o); err != nil {
		return "", err
	}
	fmt.Printf("loaded in %s\n", time.Since(began).Round(100*time.Millisecond))
	results, losses, err := contest(ctx, os.Stdout, all, o.runs, o.events)
	if err != nil {
		return "", err
	}
	fmt.Printf("\n%s\n", table(results))
	if len(losses) > 0 {
		fmt.Print(lossTable(losses, o.events))
	}
	return document(o, version, results, losses), nil
}

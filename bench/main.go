// Command bench measures how fast the program drains a topic of real Kafka into
// its tables, and beside it, in turns and from the same topic, Kafka Streams
// doing the same work, where that is at hand.
//
//	go run ./bench -events 5000000 -runs 3 -out docs/benchmarks.md
//	go run ./bench -rows 500000
//
// With -rows it measures instead how long a restart takes with so many rows.
// Every run begins at the first event under a fresh prefix, with nothing in
// memory, and ends when all tables are complete, as read over HTTP; then they are
// compared with the truth. ANALYTICS_… variables configure the program.
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
	events int
	runs   int
	seed   uint64
	out    string
	peer   string
	rows   int
}

func main() {
	var o options
	flag.IntVar(&o.events, "events", 5_000_000, "events to drain")
	flag.IntVar(&o.runs, "runs", 3, "runs of each contestant")
	flag.Uint64Var(&o.seed, "seed", 1, "equal seeds give equal events")
	flag.StringVar(&o.out, "out", "", "`file` to write the figures to, as Markdown")
	flag.StringVar(&o.peer, "peer", "../shared/reference/kafka-streams-baseline", "`folder` of Kafka Streams' run.sh; without it the program runs alone")
	flag.IntVar(&o.rows, "rows", 0, "measure a restart with so many rows instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contestant drains a topic once.
type contestant struct {
	name string
	run  func(ctx context.Context, topic string) (figures, error)
}

func bench(ctx context.Context, o options) (err error) {
	if o.events < 1000 || o.runs < 1 || flag.NArg() > 0 {
		return errors.New("want -events of 1000 or more, -runs of 1 or more, and no arguments")
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
	binary, err := site.Build(ctx, "./cmd/analytics")
	if err != nil {
		return err
	}
	kafka, err := site.Kafka(ctx, "kafka")
	if err != nil {
		return err
	}
	c, err := connect(kafka)
	if err != nil {
		return err
	}
	defer c.client.Close()
	if o.rows > 0 {
		return restart(ctx, site, binary, c, o.rows, o.runs)
	}

	fmt.Printf("loading %d events\n", o.events)
	began := time.Now()
	truth, err := c.load(ctx, o.events, o.seed)
	if err != nil {
		return err
	}
	fmt.Printf("loaded in %s\n", time.Since(began).Round(100*time.Millisecond))

	contestants := []contestant{{"ragstreams", program{site, binary, c, truth}.drain}}
	script := filepath.Join(site.Root, o.peer, "run.sh")
	if filepath.IsAbs(o.peer) {
		script = filepath.Join(o.peer, "run.sh")
	}
	if _, err := os.Stat(script); err == nil {
		contestants = append(contestants, contestant{"Kafka Streams, exactly once, warm", peer{script, c, o.events}.drain})
	} else {
		fmt.Println("Kafka Streams is left out: there is no run.sh in the folder of -peer")
	}
	results := make([]result, len(contestants))
	for n := range o.runs {
		for i, one := range contestants {
			f, err := one.run(ctx, topic)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", one.name, n+1, err)
			}
			fmt.Printf("run %d  %-34s %s\n", n+1, one.name, f)
			results[i].name = one.name
			results[i].runs = append(results[i].runs, f)
		}
	}
	fmt.Println()
	fmt.Print(table(results))
	if o.out == "" {
		return nil
	}
	version, err := site.KafkaVersion()
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.out, []byte(document(o, version, results)), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// Command analytics is the ragstreams program: it runs the topology, shows what
// it would do, makes test traffic and demonstrates itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is one subcommand. Its run returns when ctx ends or its work is done.
type command struct {
	name, help string
	run        func(ctx context.Context, env environment, args []string) error
}

// environment is what a subcommand may use of the world.
type environment struct {
	stdout, stderr io.Writer
	environ        []string
}

var commands = []command{
	{"demo", "everything in one process: broker, traffic, tables, console", runDemo},
	{"run", "run on a Kafka cluster", runRun},
	{"check", "check configuration, cluster and topics, change nothing; --acls: print what has to be granted", runCheck},
	{"topology", "print groups, topics and how they are joined", runTopology},
	{"generate", "write traffic with known ground truth to Kafka", runGenerate},
	{"rules", "test FILE...: unit tests of alerting rules, as for promtool; backtest: what they would have said", runRules},
	{"silence", "add, list or expire silences of alerts", runSilence},
	{"trace", "ID: show all events of a trace, from the source topics", runTrace},
	{"dlq", "list, show or replay dead letters and late records", runDLQ},
	{"healthcheck", "ask the instance on this host whether it is ready", runHealthcheck},
	{"version", "print the version", runVersion},
}

func main() {
	ignoreFileSizeLimit()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		go collectEarlier(ctx)
	}
	env := environment{os.Stdout, os.Stderr, os.Environ()}
	err := run(ctx, env, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "analytics:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 {
		usage(env.stderr)
		return errors.New("no command given")
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, env, args[1:])
		}
	}
	usage(env.stderr)
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return nil
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: analytics COMMAND [flags]      (analytics COMMAND -h lists the flags)")
	fmt.Fprintln(w)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.help)
	}
}

func newFlags(env environment, name string) *flag.FlagSet {
	fs := flag.NewFlagSet("analytics "+name, flag.ContinueOnError)
	fs.SetOutput(env.stderr)
	return fs
}

// parse parses flags of a command that takes no other arguments.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, but got %q", fs.Name(), fs.Arg(0))
	}
	return nil
}

package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"ragstreams/app"
)

// configured reads the configuration of a command that has no flags but --config.
func configured(env environment, name string, args []string) (*settings, error) {
	fs := newFlags(env, name)
	config := configFlag(fs, env)
	if err := parse(fs, args); err != nil {
		return nil, err
	}
	return readSettings(*config, env)
}

// configFlag adds --config to a command.
func configFlag(fs *flag.FlagSet, env environment) *string {
	return fs.String("config", lookup(env.environ, configVariable), "configuration `file`; every key is also an ANALYTICS_… variable")
}

func readSettings(config string, env environment) (*settings, error) {
	s, err := loadSettings(config, env.environ)
	if err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return s, nil
}

func lookup(environ []string, name string) string {
	for _, pair := range environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			return v
		}
	}
	return ""
}

func runRun(ctx context.Context, env environment, args []string) error {
	s, err := configured(env, "run", args)
	if err != nil {
		return err
	}
	log := s.logger(env.stderr)
	s.warnLater(log)
	s.app.Logger = log
	s.app.Version = version()
	s.app.OnListen = func(addr string) { log.Info("listening", "http", "http://"+addr) }
	s.app.ReloadRules = onHangup(ctx)
	log.Info("starting", "instance", s.app.Instance, "brokers", strings.Join(s.app.Kafka.Brokers, ","), "prefix", s.app.Prefix)
	return app.Run(ctx, s.app)
}

// onHangup returns a channel that gets a value for every SIGHUP, until ctx ends.
func onHangup(ctx context.Context) <-chan struct{} {
	signals, asked := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				select {
				case asked <- struct{}{}:
				default: // it is about to be done
				}
			}
		}
	}()
	return asked
}

func runCheck(ctx context.Context, env environment, args []string) error {
	fs := newFlags(env, "check")
	config, acls := configFlag(fs, env), newACLFlags(fs)
	if err := cmp.Or(parse(fs, args), acls.unused()); err != nil {
		return err
	}
	if *acls.on {
		env = withBrokers(env)
	}
	s, err := readSettings(*config, env)
	if err != nil {
		return err
	}
	if *acls.on {
		return acls.write(env.stdout, s)
	}
	report, err := app.Check(ctx, s.app)
	for _, line := range report {
		fmt.Fprintln(env.stdout, line)
	}
	return err
}

func runTopology(_ context.Context, env environment, args []string) error {
	s, err := configured(withBrokers(env), "topology", args)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(env.stdout, app.Topology(s.app))
	return err
}

// withBrokers lets commands that do not connect do without brokers.
func withBrokers(env environment) environment {
	if lookup(env.environ, "ANALYTICS_KAFKA_BROKERS") == "" {
		env.environ = append([]string{"ANALYTICS_KAFKA_BROKERS=127.0.0.1:9092"}, env.environ...)
	}
	return env
}

func runVersion(_ context.Context, env environment, args []string) error {
	if err := parse(newFlags(env, "version"), args); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.stdout, "analytics %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is the module's version, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

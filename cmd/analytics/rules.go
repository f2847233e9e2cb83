package main

import (
	"context"
	"errors"
	"fmt"

	"ragstreams/alerts/rules"
	"ragstreams/app"
)

func runRules(ctx context.Context, env environment, args []string) error {
	switch {
	case len(args) > 1 && args[0] == "test":
		return testRules(ctx, env, args[1:])
	case len(args) > 0 && args[0] == "backtest":
		return runBacktest(ctx, env, args[1:])
	}
	return errors.New("usage: analytics rules test FILE [FILE], or analytics rules backtest --since 72h (-h lists the flags)")
}

func testRules(ctx context.Context, env environment, files []string) error {
	failed := 0
	for _, file := range files {
		failures, err := rules.Test(ctx, file, app.TablesOfEvents)
		if err != nil {
			return err
		}
		for _, f := range failures {
			fmt.Fprintf(env.stdout, "%s: FAILED %s\n", file, f)
		}
		if failed += len(failures); len(failures) == 0 {
			fmt.Fprintf(env.stdout, "%s: ok\n", file)
		}
	}
	if failed > 0 {
		return fmt.Errorf("rules test: %d expectations failed", failed)
	}
	return nil
}

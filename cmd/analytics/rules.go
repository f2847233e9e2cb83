package main

import (
	"context"
	"errors"
	"fmt"

	"ragstreams/alerts/rules"
)

func runRules(ctx context.Context, env environment, args []string) error {
	if len(args) < 2 || args[0] != "test" {
		return errors.New("usage: analytics rules test FILE [FILE]")
	}
	failed := 0
	for _, file := range args[1:] {
		failures, err := rules.Test(ctx, file)
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

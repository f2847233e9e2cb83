package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// runScript runs a contestant that is a script of its own and returns what it
// prints. When ctx ends, everything that the script started ends with it.
func runScript(ctx context.Context, script string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, script, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", script, errors.Join(err, ctx.Err()), strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// values are the key=value pairs of a line in which a contestant tells its
// figures. The first key that is missing or no number is kept as err.
type values struct {
	line string
	of   map[string]string
	err  error
}

func parseValues(line string) *values {
	v := &values{line: line, of: map[string]string{}}
	for _, pair := range strings.Fields(line) {
		k, value, _ := strings.Cut(pair, "=")
		v.of[k] = value
	}
	return v
}

func (v *values) number(key string) float64 {
	n, err := strconv.ParseFloat(v.of[key], 64)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%s in %q: %w", key, v.line, err)
	}
	return n
}

// expect notes an error unless the number under key is want.
func (v *values) expect(key string, want float64) {
	if n := v.number(key); n != want && v.err == nil {
		v.err = fmt.Errorf("%s is %s, want %.0f, in %q", key, v.of[key], want, v.line)
	}
}

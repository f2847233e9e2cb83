package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// peer is Kafka Streams with a topology that does the same work, but does not
// drop duplicates. It warms up before the clock starts.
type peer struct {
	script string
	c      *cluster
	events int
}

// warmUp is how many events it may warm up with; they are read again afterwards.
const warmUp = 1_500_000

func (p peer) drain(ctx context.Context, topic string) (figures, error) {
	before, err := p.c.brokerCPU()
	if err != nil {
		return figures{}, err
	}
	warm := min(warmUp, p.events)
	cmd := exec.CommandContext(ctx, p.script, p.c.kafka.Address, topic, strconv.Itoa(p.events), "warm="+strconv.Itoa(warm))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	after, err := p.c.brokerCPU()
	if err != nil {
		return figures{}, err
	}
	app, f, err := parsePeer(stdout.String(), p.events)
	if err != nil {
		return figures{}, err
	}
	f.brokerCPU = perEvent(after-before, int64(p.events+warm))
	return f, p.c.forget(ctx, app)
}

// parsePeer reads the line that the script prints.
func parsePeer(line string, events int) (app string, f figures, err error) {
	values := map[string]string{}
	for _, pair := range strings.Fields(line) {
		k, v, _ := strings.Cut(pair, "=")
		values[k] = v
	}
	numbers := map[string]float64{}
	for _, k := range []string{"parsed", "aggregated", "dropped_late", "events_per_s", "cpu_s", "peak_rss_mib"} {
		if numbers[k], err = strconv.ParseFloat(values[k], 64); err != nil {
			return "", figures{}, fmt.Errorf("%s in %q: %w", k, line, err)
		}
	}
	n := float64(events)
	if values["app"] == "" || numbers["parsed"] != n || numbers["aggregated"] != n || numbers["dropped_late"] != 0 {
		return "", figures{}, fmt.Errorf("not all of %d events came through: %q", events, line)
	}
	return values["app"], figures{
		eventsPerSecond: numbers["events_per_s"],
		cpu:             numbers["cpu_s"] * 1e6 / n,
		peak:            numbers["peak_rss_mib"],
	}, nil
}

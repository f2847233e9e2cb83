package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// collectEarlier sets, until ctx ends, how much the heap may grow between two
// collections. Most of what is allocated are the answers to fetches, megabytes that
// cost nearly nothing to collect (docs/measurements.md).
func collectEarlier(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := 0
	for tick := time.Tick(time.Second); ; {
		metrics.Read(live)
		if percent := growth(live[0].Value.Uint64()); percent != set {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// growth returns by how many percent of what lives the heap may grow: three quarters
// as long as it stays below 510 MiB, less from there on, but never less than three
// tenths. A hundred thousand series live in 400 MiB while they catch up.
func growth(live uint64) int {
	const least, most, room = 30, 75, 510 << 20
	return int(min(max((room*100/max(live, 1)), 100+least)-100, most))
}

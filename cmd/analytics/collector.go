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
// while it is small, then 150 MiB, which a table of a hundred thousand series needs
// between two collections, and never less than half.
func growth(live uint64) int {
	const least, most, room = 50, 75, 150 << 20
	return int(min(max(room*100/max(live, 1), least), most))
}

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
// while it is small, then 110 MiB, less than what a second of a backlog with a hundred
// thousand series takes, and never less than three tenths.
func growth(live uint64) int {
	const least, most, room = 30, 75, 110 << 20
	return int(min(max(room*100/max(live, 1), least), most))
}

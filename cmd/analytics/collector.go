package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// collectEarlier bounds, until ctx ends, how much memory garbage takes. Most of what is
// allocated are the answers to fetches, megabytes that cost nearly nothing to collect
// (docs/measurements.md): so the heap grows by three quarters of what lives, not by as
// much again. And it does so up to a limit only, below which a hundred thousand series
// catch up; where more lives, the limit follows.
func collectEarlier(ctx context.Context) {
	debug.SetGCPercent(75)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	set := int64(0)
	for tick := time.Tick(time.Second); ; {
		metrics.Read(live)
		if limit := memoryLimit(live[0].Value.Uint64()); limit != set {
			debug.SetMemoryLimit(limit)
			set = limit
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// memoryLimit returns up to how many bytes all memory of the program may grow before
// garbage is collected earlier than that, when so much of it lives. There must be room
// for a third more and for what is no heap, or collecting would take all time.
func memoryLimit(live uint64) int64 {
	const least, other = 550 << 20, 32 << 20
	return max(least, int64(live)*4/3+other)
}

package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// delays are how long the events of one load took to become visible, ascending, and
// what the program used for them.
type delays struct {
	rate int
	all  []time.Duration
	cpu  float64 // µs per event
}

// quantile returns the delay that a share q does not exceed (nearest rank).
func (d delays) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(len(d.all)) * (1 - 1e-15)))
	return d.all[max(rank, 1)-1]
}

// latencyTable is the delays in Markdown.
func latencyTable(results []delays) string {
	var b strings.Builder
	b.WriteString("| events/s | events | p50 ms | p99 ms | p99.9 ms | max ms | CPU µs/event |\n|---|---|---|---|---|---|---|\n")
	for _, d := range results {
		fmt.Fprintf(&b, "| %s | %s |", thousands(float64(d.rate)), thousands(float64(len(d.all))))
		for _, q := range []float64{0.5, 0.99, 0.999, 1} {
			fmt.Fprintf(&b, " %.1f |", float64(d.quantile(q).Microseconds())/1000)
		}
		fmt.Fprintf(&b, " %.2f |\n", d.cpu)
	}
	return b.String()
}

func latencyDocument(o options, kafka string, results []delays) string {
	date, where := machine(kafka)
	return fmt.Sprintf(`# Latency

Written by `+"`make bench-latency`"+` on %s:

`+"```sh\n"+`go run ./bench -latency %s -seed %d -out %s
`+"```"+`

%s

From producing an event to the committed table traffic, as a reader of its changelog
sees it (read_committed): two repartition topics and three transactions lie between. Events
of about 400 bytes come at a steady rate, %s before the clock starts and %s under it.

%s
The k-th event of a series counts as visible when the row counts k. An event counts as
produced when its turn came, even if it could only be sent later. CPU is that of the whole
program: to compare with what an event of a backlog takes (benchmarks.md).
`, date, o.latency, o.seed, o.out, where, latencyWarmUp, o.latency, latencyTable(results))
}

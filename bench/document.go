package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// machine says when and on what it was measured.
func machine(kafka string) (date, machine string) {
	return time.Now().UTC().Format("2 January 2006"),
		fmt.Sprintf("%d CPUs, shared by all processes; %s on %s/%s; Apache Kafka %s, one broker on the same machine.",
			runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kafka)
}

// document is what is written to docs.
func document(o options, kafka string, results []result, losses []loss) string {
	var b strings.Builder
	date, where := machine(kafka)
	more := ""
	if o.tenants != defaultTenants {
		more += fmt.Sprint(" -tenants ", o.tenants)
	}
	if o.partitions != defaultPartitions {
		more += fmt.Sprint(" -partitions ", o.partitions)
	}
	if o.only != "" {
		more += " -only " + o.only
	}
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` on %s:

`+"```sh\n"+`go run ./bench -events %d -runs %d -seed %d%s -out %s
`+"```"+`

%s

%s events of about 400 bytes in one topic of %d partitions: %s tenants × 7 event
types × 5 models, ten minutes of event time, 1 %% errors. The contestants take turns and
read the same topic. One drain before, which does not count, warms the broker.

## Throughput

%s
`, date, o.events, o.runs, o.seed, more, o.out, where, thousands(float64(o.events)), o.partitions, thousands(float64(o.tenants)), table(results))
	for _, r := range results {
		fmt.Fprintf(&b, "- **%s**: %s\n", r.name, r.note)
	}
	b.WriteString("- The broker's CPU is over all that it did meanwhile, warm-up included, by the events that were read.\n")
	if len(losses) > 0 {
		fmt.Fprintf(&b, `
## Catching up without loss

The same topic as a backlog, with %.0f s of grace: events are out of order by two seconds
at most, so none is late. What is dropped is what a faster partition has overtaken.

%s`, catchUpGrace.Seconds(), lossTable(losses, o.events))
	}
	return b.String()
}

package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures are what one run has shown.
type figures struct {
	eventsPerSecond float64
	cpu             float64 // µs of the contestant per event
	peak            float64 // greatest resident memory, MiB
	brokerCPU       float64 // µs of the broker per event
}

func (f figures) String() string {
	return fmt.Sprintf("%s events/s, %.2f µs of CPU per event, %.2f of the broker, peak %.0f MiB", thousands(f.eventsPerSecond), f.cpu, f.brokerCPU, f.peak)
}

// perEvent returns µs per event.
func perEvent(d time.Duration, n int64) float64 { return float64(d.Microseconds()) / float64(n) }

// result is all runs of a contestant.
type result struct {
	name string
	runs []figures
}

// spread returns the least, the median and the greatest of a figure.
func (r result) spread(of func(figures) float64) [3]float64 {
	var all []float64
	for _, f := range r.runs {
		all = append(all, of(f))
	}
	slices.Sort(all)
	n := len(all)
	return [3]float64{all[0], (all[(n-1)/2] + all[n/2]) / 2, all[n-1]}
}

var columns = []struct {
	title string
	of    func(figures) float64
	text  func(float64) string
}{
	{"events/s", func(f figures) float64 { return f.eventsPerSecond }, thousands},
	{"CPU µs/event", func(f figures) float64 { return f.cpu }, hundredths},
	{"broker CPU µs/event", func(f figures) float64 { return f.brokerCPU }, hundredths},
	{"peak MiB", func(f figures) float64 { return f.peak }, thousands},
}

// table is the results in Markdown, the first contestant compared with the others.
func table(results []result) string {
	var b strings.Builder
	b.WriteString("| min / **median** / max |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, c := range columns {
			s := r.spread(c.of)
			fmt.Fprintf(&b, " %s / **%s** / %s |", c.text(s[0]), c.text(s[1]), c.text(s[2]))
		}
		b.WriteByte('\n')
	}
	speed := func(r result) float64 { return r.spread(columns[0].of)[1] }
	for _, r := range results[1:] {
		fmt.Fprintf(&b, "\n%s drains %.1f times as many events a second as %s (medians).\n", results[0].name, speed(results[0])/speed(r), r.name)
	}
	return b.String()
}

// document is what is written to docs.
func document(o options, kafka string, results []result) string {
	return fmt.Sprintf(`# Benchmarks

Written by `+"`make bench`"+` on %s:

`+"```sh\n"+`go run ./bench -events %d -runs %d -seed %d -out %s
`+"```"+`

%d CPUs, shared by all processes; %s on %s/%s; Apache Kafka %s, one broker on the same
machine. %s events of about 400 bytes in one topic of 4 partitions: 20 tenants × 7 event
types × 5 models, ten minutes of event time, 1 %% errors. The contestants take turns and
read the same topic.

%s
- events/s: for ragstreams from the moment at which it begins to read, in a fresh
  process, until all tables are complete over HTTP; they are then compared with the
  truth. For Kafka Streams from its first event to its last aggregate, the JVM warm
  from up to %s events.
- CPU: ragstreams' whole process, start included; Kafka Streams' from its first event.
- The broker's CPU is over all that it did meanwhile, warm-up included, by the events
  that were read.
- Kafka Streams does not drop duplicates and keeps 10 s windows and error groups, with
  exactly once at 100 ms; ragstreams does all it does.
`, time.Now().UTC().Format("2 January 2006"), o.events, o.runs, o.seed, o.out,
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kafka, thousands(float64(o.events)), table(results), thousands(warmUp))
}

func hundredths(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// thousands writes a whole number with commas.
func thousands(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package main

import (
	"fmt"
	"math"
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
	contestant
	runs []figures
}

// spread returns the least, the median and the greatest of a figure.
func (r result) spread(of func(figures) float64) [3]float64 {
	var all []float64
	for _, f := range r.runs {
		all = append(all, of(f))
	}
	return spread(all)
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

// table is the results in Markdown, and below it how ours compare with the others.
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
	if results[0].short != ours {
		return b.String()
	}
	b.WriteByte('\n')
	for _, r := range results[1:] {
		fmt.Fprintf(&b, "- %s against %s: %s.\n", results[0].name, r.name, ratios(results[0], r))
	}
	return b.String()
}

// ratios are the medians of a divided by those of b.
func ratios(a, b result) string {
	var parts []string
	for _, c := range columns {
		parts = append(parts, fmt.Sprintf("%s × %s", hundredths(a.spread(c.of)[1]/b.spread(c.of)[1]), c.title))
	}
	return strings.Join(parts, ", ")
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

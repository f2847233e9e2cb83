package main

import (
	"strings"
	"testing"
)

func TestParsePeer(t *testing.T) {
	const line = "app=baseline-7 mode=eos grace=1800 parsed=200000 aggregated=200000 error_groups=1990 dropped_late=0 seconds=1.25 " +
		"events_per_s=160000 cpu_s=1.8 cpu_total_s=5.0 peak_rss_mib=901 close_s=0.1\n"
	app, f, err := parsePeer(line, 200_000)
	if want := (figures{eventsPerSecond: 160_000, cpu: 9, peak: 901}); err != nil || app != "baseline-7" || f != want {
		t.Errorf("parsePeer(%q) = %q, %+v, %v, want %+v", line, app, f, err, want)
	}
	for name, bad := range map[string]string{
		"nothing":         "",
		"stalled":         "app=baseline-7 STALLED",
		"an event missed": strings.Replace(line, "aggregated=200000", "aggregated=199999", 1),
		"dropped as late": strings.Replace(line, "dropped_late=0", "dropped_late=1", 1),
		"no figure":       strings.Replace(line, "cpu_s=1.8", "cpu_s=?", 1),
		"no name":         strings.Replace(line, "app=", "", 1),
	} {
		if _, f, err := parsePeer(bad, 200_000); err == nil {
			t.Errorf("%s: parsePeer(%q) = %+v, want an error", name, bad, f)
		}
	}
}

func TestSpread(t *testing.T) {
	r := func(values ...float64) (r result) {
		for _, v := range values {
			r.runs = append(r.runs, figures{peak: v})
		}
		return r
	}
	for _, tt := range []struct {
		of   result
		want [3]float64
	}{
		{r(5), [3]float64{5, 5, 5}},
		{r(3, 1, 2), [3]float64{1, 2, 3}},
		{r(4, 1, 3, 2), [3]float64{1, 2.5, 4}},
	} {
		if got := tt.of.spread(func(f figures) float64 { return f.peak }); got != tt.want {
			t.Errorf("spread of %v = %v, want %v", tt.of.runs, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	got := table([]result{
		{"ours", []figures{{500_000, 3.14, 830, 1.5}}},
		{"theirs", []figures{{160_000, 9, 1000, 2.4}}},
	})
	for _, want := range []string{
		"| ours | 500,000 / **500,000** / 500,000 | 3.14 / **3.14** / 3.14 | 1.50 / **1.50** / 1.50 | 830 / **830** / 830 |",
		"ours drains 3.1 times as many events a second as theirs",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("table has no %q:\n%s", want, got)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.6: "1,234,568"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %q, want %q", v, got, want)
		}
	}
}

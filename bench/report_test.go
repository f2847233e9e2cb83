package main

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		of   []float64
		want [3]float64
	}{
		{[]float64{5}, [3]float64{5, 5, 5}},
		{[]float64{3, 1, 2}, [3]float64{1, 2, 3}},
		{[]float64{4, 1, 3, 2}, [3]float64{1, 2.5, 4}},
	} {
		if got := spread(tt.of); got != tt.want {
			t.Errorf("spread(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func resultOf(short string, runs ...figures) result {
	return result{contestant{short: short, name: "the " + short, note: "note of " + short}, runs}
}

func TestTable(t *testing.T) {
	us, others := resultOf(ours, figures{500_000, 3, 830, 1.5}), resultOf("others", figures{200_000, 9, 1000, 2}, figures{200_000, 9, 1000, 4})
	got := table([]result{us, others})
	for _, want := range []string{
		"| the ragstreams | 500,000 / **500,000** / 500,000 | 3.00 / **3.00** / 3.00 | 1.50 / **1.50** / 1.50 | 830 / **830** / 830 |\n",
		"| 2.00 / **3.00** / 4.00 |",
		"- the ragstreams against the others: 2.50 × events/s, 0.33 × CPU µs/event, 0.50 × broker CPU µs/event, 0.83 × peak MiB.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("table has no %q:\n%s", want, got)
		}
	}
	if got := table([]result{others, us}); strings.Contains(got, "against") {
		t.Errorf("a table that does not begin with ours compares:\n%s", got)
	}
}

func TestDocument(t *testing.T) {
	o := options{events: 200, tenants: 4000, partitions: 16, runs: 2, seed: 7, only: "ragstreams", out: "docs/x.md"}
	results := []result{resultOf(ours, figures{500_000, 3, 830, 1.5})}
	got := document(o, "4.3.1", results, []loss{{"the ragstreams", []int64{0, 0}}, {"others", []int64{50, 20}}})
	for _, want := range []string{
		"go run ./bench -events 200 -runs 2 -seed 7 -tenants 4000 -partitions 16 -only ragstreams -out docs/x.md\n",
		"topic of 16 partitions: 4,000 tenants ×",
		"- **the ragstreams**: note of ragstreams\n",
		"\n## Catching up without loss\n",
		"| the ragstreams | 0 / **0** / 0 | 0.00 / **0.00** / 0.00 % |\n",
		"| others | 20 / **35** / 50 | 10.00 / **17.50** / 25.00 % |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the document has no %q:\n%s", want, got)
		}
	}
	if got := document(o, "4.3.1", results, nil); strings.Contains(got, "Catching up") {
		t.Errorf("nobody caught up, but the document says:\n%s", got)
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.6: "1,234,568"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %q, want %q", v, got, want)
		}
	}
}

package rules

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestCoverage(t *testing.T) {
	start := time.UnixMilli(1_764_000_000_000)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	type round struct {
		at, mark float64 // seconds; the mark < 0: none
		missed   string
		until    float64
	}
	for _, c := range []struct {
		name   string
		rounds []round
	}{
		{"tables that follow", []round{{12, 11, "[]", 12}, {19, 18, "[]", 19}, {21, 20, "[]", 21}, {31, 30, "[]", 31}}},
		{"nobody looked", []round{{12, 11, "[]", 12}, {45, 44, "[20 30 40]", 45}, {46, 45, "[]", 46}}},
		{"back after a crash, with nothing read yet", []round{{12, 11, "[]", 12}, {45, 11, "[]", 12}, {46, 35, "[20 30]", 35}, {47, 46, "[40]", 47}}},
		{"a source that is quiet", []round{{12, 11, "[]", 12}, {25, 12, "[]", 12}, {42, 12, "[]", 12}, {43, 30, "[20 30]", 30}, {44, 31, "[]", 31}}},
		{"a backlog", []round{{12, 11, "[]", 12}, {55, 55, "[20 30 40 50]", 55}, {75, 75, "[60 70]", 75}}},
		{"the mark is the end of a pane", []round{{12, 11, "[]", 12}, {45, 30, "[20 30]", 30}, {46, 46, "[40]", 46}}},
		{"at is, too", []round{{12, 11, "[]", 12}, {40, 40, "[20 30]", 40}}},
		{"what is long over", []round{{12, 11, "[]", 12}, {1000, 130, "[110 120 130]", 130}}},
		{"the first time", []round{{500, 100, "[]", 100}}},
		{"nothing was counted", []round{{500, -1, "[]", -1}, {600, 600, "[]", 600}}},
		{"time goes back", []round{{50, 50, "[]", 50}, {40, 40, "[]", 50}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cover Coverage
			for _, r := range c.rounds {
				mark := time.Time{}
				if r.mark >= 0 {
					mark = at(r.mark)
				}
				var missed []float64
				for _, m := range cover.Round(at(r.at), mark, at(r.at), 10*time.Second) {
					missed = append(missed, m.Sub(start).Seconds())
				}
				if got := fmt.Sprint(slices.Clip(missed)); got != r.missed || r.until >= 0 && !cover.Until.Equal(at(r.until)) {
					t.Errorf("at %v, mark %v: missed %s, covered until %v; want %s and %v", r.at, r.mark, got, cover.Until.Sub(start).Seconds(), r.missed, r.until)
				}
			}
		})
	}
}

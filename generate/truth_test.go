package generate_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"ragstreams/generate"
)

func truthOf(cfg generate.Config, n int) *generate.Truth {
	g := generate.New(cfg)
	take(g, n)
	return g.Truth()
}

func TestTruthSurvivesJSON(t *testing.T) {
	totals := troubled(2)
	totals.TotalsOnly = true
	for name, want := range map[string]*generate.Truth{
		"windows": truthOf(troubled(1), 5000),
		"totals":  truthOf(totals, 5000),
		"nothing": generate.NewTruth(time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got := new(generate.Truth)
			if err := json.Unmarshal(data, got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read back from %.300s…: differs", data)
			}
			again, err := json.Marshal(got)
			if err != nil || string(again) != string(data) {
				t.Errorf("written again: differs, error %v", err)
			}
		})
	}
}

func TestSumsAgree(t *testing.T) {
	truth := truthOf(troubled(1), 10_000)
	if got := truth.Count("", ""); got != 10_000 {
		t.Errorf("records of all outcomes = %d, want the 10000 produced", got)
	}
	if got, want := truth.Total().Events().Count, truth.Count("", generate.Counted); got != want {
		t.Errorf("events in windows = %d, want the %d counted", got, want)
	}
	var perTopic int64
	for _, topic := range []string{"rag-traces", "kotaemon-dialog-events", "user-behaviour"} {
		n := truth.Count(topic, "")
		if n == 0 {
			t.Errorf("no records on %s", topic)
		}
		perTopic += n
	}
	if perTopic != 10_000 {
		t.Errorf("records on all topics = %d, want 10000", perTopic)
	}
	for k, l := range truth.Total().Latency {
		var sum time.Duration
		for _, v := range l.Tenths {
			sum += time.Duration(v) * 100 * time.Microsecond
		}
		if l.Count != int64(len(l.Tenths)) || l.Sum != sum || l.Max != l.Quantiles(1)[0] {
			t.Errorf("latency of %v: count, sum, max = %d, %v, %v; its values say %d, %v, %v",
				k, l.Count, l.Sum, l.Max, len(l.Tenths), sum, l.Quantiles(1)[0])
		}
	}
	starts := truth.Starts()
	middle := starts[len(starts)/2]
	left, right := truth.Between(0, middle), truth.Between(middle, starts[len(starts)-1]+1)
	if left.Events().Count == 0 || right.Events().Count == 0 {
		t.Error("half of the windows are without events")
	}
	left.Merge(right)
	sortLists(left)
	total := truth.Total()
	sortLists(total)
	if !reflect.DeepEqual(left, total) {
		t.Error("two halves do not make the whole")
	}
}

func TestMergeOfTruths(t *testing.T) {
	totals := troubled(3)
	totals.TotalsOnly = true
	parts := []*generate.Truth{truthOf(troubled(1), 3000), truthOf(troubled(2), 3000), truthOf(totals, 3000)}
	merged := func(order ...int) *generate.Truth {
		sum := generate.NewTruth(10 * time.Second)
		for _, i := range order {
			sum.Merge(parts[i])
		}
		for _, m := range sum.Windows {
			sortLists(m)
		}
		return sum
	}
	before, _ := json.Marshal(parts)
	a, b := merged(0, 1, 2), merged(2, 1, 0)
	if !reflect.DeepEqual(a, b) {
		t.Error("the order of merging matters")
	}
	if got := a.Count("", ""); got != 9000 {
		t.Errorf("records = %d, want 9000", got)
	}
	if got, want := a.Total().Events().Count, a.Count("", generate.Counted); got != want {
		t.Errorf("events = %d, want the %d counted", got, want)
	}
	a.Merge(parts[0]) // must not reach into the parts
	if after, _ := json.Marshal(parts); string(after) != string(before) {
		t.Error("merging changed what was merged")
	}
}

func TestQuantiles(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name   string
		tenths []uint32
		q      float64
		want   time.Duration
	}{
		{"of nothing", nil, 0.5, -1},
		{"of one", []uint32{25}, 0.99, 2500 * time.Microsecond},
		{"median of four is the second", []uint32{40, 10, 30, 20}, 0.5, 2 * ms},
		{"just above the median", []uint32{40, 10, 30, 20}, 0.51, 3 * ms},
		{"none is below the least", []uint32{20, 10}, 0, ms},
		{"all are within the greatest", []uint32{20, 10}, 1, 2 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := generate.Latency{Tenths: tt.tenths}
			if got := l.Quantiles(tt.q); got[0] != tt.want {
				t.Errorf("Quantiles(%v) of %v = %v, want %v", tt.q, tt.tenths, got[0], tt.want)
			}
		})
	}
}

func TestDistinct(t *testing.T) {
	if got := generate.Distinct([]string{"a", "b", "a"}); got != 2 {
		t.Errorf("a, b and a are %d names, want 2", got)
	}
}

// sortLists brings what is unordered into one order.
func sortLists(m *generate.Measures) {
	for _, table := range []generate.Table[generate.LatencyKey, *generate.Latency]{m.Latency, m.TTFT} {
		for _, l := range table {
			slices.Sort(l.Tenths)
		}
	}
	for _, e := range m.Errors {
		slices.Sort(e.Sessions)
	}
	for _, b := range m.Behaviour {
		slices.Sort(b.Users)
		slices.Sort(b.Sessions)
	}
}

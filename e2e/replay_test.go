//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"syscall"
	"testing"
	"time"

	"ragstreams/generate"
)

// TestBacklogTwoSessions: what has piled up, most of it in one partition, is read
// by two instances, one of which stands still for a while. Nothing is late that
// was not.
func TestBacklogTwoSessions(t *testing.T) {
	d := newDeployment(t, []int32{4, 3, 2})
	const n, step = 150_000, 24 * time.Millisecond // an hour of event time
	eight := generate.Topic{Name: d.topics[0].Name, Partitions: 8}
	g := generate.New(generate.Config{
		Seed: 1, Step: step, Start: startOf(n, step), Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5,
		Topics: []generate.Topic{eight, d.topics[1], d.topics[2]}, TotalsOnly: true,
	})
	w := d.traffic()
	// Five of eight go to partition 0; the three of the other topic stay.
	w.place = func(topic string, p int32) int32 {
		if topic != eight.Name {
			return p
		}
		return max(0, p-4)
	}
	w.all(g, n)
	a, b := d.instance("a").start(), d.instance("b").start()
	eventually(t, 30*time.Second, "reading has begun", func(ctx context.Context) error {
		in, err := a.sum(ctx, "records", "count", url.Values{"total": {"true"}, "outcome": {"in"}})
		if err == nil && in == 0 {
			err = fmt.Errorf("nothing was read")
		}
		return err
	})
	b.signal(syscall.SIGSTOP)
	if err := pause(t.Context(), 3*time.Second); err != nil {
		t.Fatal(err)
	}
	b.signal(syscall.SIGCONT)
	a.agree(g.Truth(), time.Minute)
	b.agree(g.Truth(), 20*time.Second)
	a.stop()
	b.stop()
	w.checkSideTopics(t)
}

// TestLastYearsFile: a file of old events, with old timestamps in Kafka too,
// gives the tables of its day under a fresh prefix.
func TestLastYearsFile(t *testing.T) {
	d := newDeployment(t, []int32{4, 3, 2})
	const n, step = 30_000, 60 * time.Millisecond // half an hour
	noon := time.Date(time.Now().Year()-1, time.March, 14, 12, 0, 0, 0, time.UTC)
	g := generate.New(generate.Config{
		Seed: 1, Step: step, Start: noon, Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: d.topics,
	})
	w := d.traffic()
	w.all(g, n)
	a := d.instance("a").start()
	truth := g.Truth()
	a.agree(truth, time.Minute)

	midnight := noon.Truncate(24 * time.Hour)
	for _, tt := range []struct {
		name string
		from time.Time
		want int64
	}{
		{"the day", midnight, truth.Total().Events().Count},
		{"the day before", midnight.Add(-24 * time.Hour), 0},
	} {
		// Both ways to write a time.
		for _, query := range []url.Values{
			{"from": {tt.from.Format(time.RFC3339)}, "to": {tt.from.Add(24 * time.Hour).Format(time.RFC3339)}},
			{"from": {fmt.Sprint(tt.from.Unix())}, "to": {fmt.Sprint(tt.from.Add(24 * time.Hour).Unix())}},
		} {
			count, err := a.sum(t.Context(), "traffic", "count", query)
			if err != nil {
				t.Fatal(err)
			}
			if int64(count) != tt.want {
				t.Errorf("%s (%s): %g events, want %d", tt.name, query.Encode(), count, tt.want)
			}
		}
	}
	a.stop()
	w.checkSideTopics(t)
}

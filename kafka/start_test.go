package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBeginGroup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(after time.Time) Start
		skips bool // what was there before
	}{
		{"earliest", func(time.Time) Start { return Start{} }, false},
		{"latest", func(time.Time) Start { return Start{Latest: true} }, true},
		{"a time", func(after time.Time) Start { return Start{Time: after} }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := broker(t)
			in, group, table := setUpCounter(t, c, 2)
			truth := map[string]uint64{}
			count := func(counted bool, more map[string]uint64) {
				for k, n := range more {
					if counted {
						truth[k] += n
					}
				}
			}
			count(!tt.skips, produceAt(t, c, in, time.Now().Add(-time.Hour), 100, 5))
			begin := func() {
				if err := BeginGroup(t.Context(), c, group, in, tt.start(time.Now().Add(-time.Minute))); err != nil {
					t.Fatal(err)
				}
			}
			begin()
			begin() // as a second member of the group would
			count(true, produceAt(t, c, in, time.Now(), 50, 5))
			begin() // it had begun: nothing is skipped
			stop := background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "a", nil) })
			eventually(t, c, table, truth)
			begin() // it has members
			stop()
			count(true, produceAt(t, c, in, time.Now(), 50, 5))
			begin()
			background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, table, "a", nil) })
			eventually(t, c, table, truth)
		})
	}
}

// produceAt is produce with a timestamp.
func produceAt(t testing.TB, c Config, topic string, at time.Time, n, keys int) map[string]uint64 {
	t.Helper()
	return produceEach(t, c, topic, n, keys, func(r *kgo.Record) { r.Timestamp = at })
}

// A partition that comes later is read from its beginning, whatever the start.
func TestPartitionAddedAfterTheStart(t *testing.T) {
	c := broker(t)
	in, group, _ := names(t)
	if _, err := EnsureTopics(t.Context(), c, 1, []Topic{{Name: in, Partitions: 1, Create: true, Forever: true}}); err != nil {
		t.Fatal(err)
	}
	if err := BeginGroup(t.Context(), c, group, in, Start{Latest: true}); err != nil {
		t.Fatal(err)
	}
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreatePartitions(t.Context(), 1, in); err != nil {
		t.Fatal(err)
	}
	produce(t, c, in, 100, 10)
	if err := BeginGroup(t.Context(), c, group, in, Start{Latest: true}); err != nil {
		t.Fatal(err)
	}
	offsets, err := GroupOffsets(t.Context(), c, group, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, skipped := offsets[1]; skipped || len(offsets) != 1 {
		t.Errorf("committed offsets = %v, want none for the new partition", offsets)
	}
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/tables"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

const hour = int64(time.Hour / time.Millisecond)

// TestHistory is twelve hours in a minute or two, while instances are killed: four times as
// long as hours are kept, and much longer than panes are. Hours equal the truth, for readers
// who do not know where panes end, and for those of the topic, each once; and what is past
// its time leaves memory and disk.
func TestHistory(t *testing.T) {
	const (
		half   = 180_000 // events
		step   = 6 * time.Hour / half
		pauses = 5 * time.Minute // of event time, longer than grace
	)
	seed := seedOf(t)
	own := ownBroker(t, "kafka-history", "log.retention.check.interval.ms=1000\nlog.segment.delete.delay.ms=100\n")
	// An idle partition that comes back has a grace of clock's time to say so: here, 140 ms.
	d := newDeploymentOn(t, own, []int32{4, 3, 2}, "ANALYTICS_WINDOW_IDLE_TIMEOUT=10m",
		"ANALYTICS_RETENTION_PANES=30m", "ANALYTICS_RETENTION_HOURS=3h", "ANALYTICS_KAFKA_PARTITIONS=2")
	begin := startOf(2*half, step).Add(-pauses)
	traffic := func(n int) *generate.Generator {
		return generate.New(generate.Config{
			Seed: seed + uint64(n), Tenants: 6, Models: 3, Step: step, Start: begin.Add(time.Duration(n) * (half*step + pauses)),
			Duplicates: 0.02, Unkeyed: 0.5, Topics: d.topics,
		})
	}
	w := d.traffic()
	steady, a, b := d.instance("steady").start(), d.instance("a").start(), d.instance("b").start()
	steady.ready(time.Minute)
	d.smallSegments()
	eyes := d.watchHours()
	// rest returns memory and disk once all was counted and purged.
	rest := func(truth *generate.Truth) (memory float64, disk int64) {
		wait, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for _, i := range []*instance{steady, a, b} {
			if err := i.Await(wait, truth); err != nil {
				t.Fatalf("instance %s: %v", i.name, err)
			}
		}
		d.purged(truth)
		return steady.value(resident, ""), d.onDisk()
	}
	// Sent faster, an hour passes in less time than a partition may be held up: one that was
	// caught up is then idle, for it is more than an hour behind, and what it brings is late.
	first := traffic(0)
	if err := w.steadily(t.Context(), first, half, 25*time.Second, closedNow()); err != nil {
		t.Fatal(err)
	}
	w.flush()
	truth := first.Truth()
	memory, disk := rest(truth)

	second := traffic(1)
	group, ctx := errgroup.WithContext(t.Context())
	sent := make(chan struct{})
	kills := 0
	group.Go(func() error {
		rng := rand.New(rand.NewPCG(seed, 2))
		for open := true; open; {
			i := []*instance{a, b}[rng.IntN(2)]
			if err := errors.Join(i.Kill(), pause(ctx, time.Duration(rng.IntN(3000))*time.Millisecond), i.Start()); err != nil {
				return err
			}
			kills++
			select {
			case <-sent:
				open = false
			case <-time.After(time.Duration(2+rng.IntN(5)) * time.Second):
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(sent)
		return w.steadily(ctx, second, half, 50*time.Second, closedNow())
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.flush()
	truth.Merge(second.Truth())
	memory2, disk2 := rest(truth)
	t.Logf("%d kills; memory was %.0f MiB after six hours and is %.0f, closed windows took %d KiB on disk and take %d",
		kills, memory/(1<<20), memory2/(1<<20), disk>>10, disk2>>10)
	if kills < 6 {
		t.Errorf("%d kills are too few for a proof", kills)
	}
	if memory2 > 1.3*memory+16<<20 || disk2 > disk+disk/2 {
		t.Error("that is more than what is kept")
	}
	for _, i := range []*instance{steady, a, b} {
		i.historyIs(truth)
		i.stop()
	}
	eyes.agree(truth)
}

// closedNow returns a channel that is closed: nothing is waited for.
func closedNow() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// historyIs compares totals, the hours that are kept, and the windows of the newest half an
// hour.
func (i *instance) historyIs(truth *generate.Truth) {
	i.t.Helper()
	ctx := i.t.Context()
	all, err := i.CompareTotals(ctx, truth)
	compare := func(from, to int64) {
		d, more := i.CompareRange(ctx, truth, from, to)
		all, err = append(all, d...), errors.Join(err, more)
	}
	starts := truth.Starts()
	end := starts[len(starts)-1]
	for from := end/hour*hour - 2*hour; from <= end; from += hour {
		compare(from, from+hour)
	}
	for from := end - hour/2; from <= end; from += truth.PaneMillis {
		compare(from, from+truth.PaneMillis)
	}
	if err != nil {
		i.t.Fatalf("instance %s: %v", i.name, err)
	}
	for n, line := range all {
		if n == 20 {
			i.t.Errorf("instance %s: … and %d more differences", i.name, len(all)-n)
			break
		}
		i.t.Errorf("instance %s: %s", i.name, line)
	}
}

// historyTopics are the topics of closed windows and of hours.
func (d *deployment) historyTopics() (names []string) {
	for _, table := range []string{"traffic", "latency", "usage", "behaviour", "errors"} {
		names = append(names, d.prefix+table+"-windows", d.prefix+table+"-hours")
	}
	return names
}

// smallSegments lets the broker delete what was purged soon: it deletes segments.
func (d *deployment) smallSegments() {
	d.t.Helper()
	resp, err := d.admin.AlterTopicConfigs(d.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.ms", Value: new("5000")}}, d.historyTopics()...)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, r := range resp {
		if r.Err != nil {
			d.t.Fatalf("configure %s: %v", r.Name, r.Err)
		}
	}
}

// onDisk returns how many bytes the history takes on the broker's disk.
func (d *deployment) onDisk() (bytes int64) {
	d.t.Helper()
	names := d.historyTopics()
	dirs, err := d.admin.DescribeAllLogDirs(d.t.Context(), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	dirs.Each(func(dir kadm.DescribedLogDir) {
		dir.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if slices.Contains(names, p.Topic) {
				bytes += p.Size
			}
		})
	})
	return bytes
}

// hourSums are the sums on the hours topic of traffic, gathered while old ones are purged.
type hourSums struct {
	d  *deployment
	mu sync.Mutex
	by map[int64]map[generate.TrafficKey]generate.Traffic
	// through is up to when a partition says that all hours are there.
	through map[int32]int64
	err     error
}

// watchHours reads the topic until the test ends.
func (d *deployment) watchHours() *hourSums {
	d.t.Helper()
	s := &hourSums{d: d, by: map[int64]map[generate.TrafficKey]generate.Traffic{}, through: map[int32]int64{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(d.broker.Addresses()...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(d.prefix+"traffic-hours"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	d.t.Cleanup(func() { client.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			s.mu.Lock()
			fetches.EachError(func(_ string, _ int32, err error) { s.err = errors.Join(s.err, err) })
			fetches.EachRecord(func(r *kgo.Record) { s.err = errors.Join(s.err, s.add(r)) })
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *hourSums) add(r *kgo.Record) error {
	batch, err := tables.NewBatchReader(r.Value)
	for err == nil && batch.Next() {
		err = addClosed(s.by, batch)
	}
	if err = errors.Join(err, batch.Err()); err != nil {
		return fmt.Errorf("%s/%d at %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	if batch.Header.HasWatermark {
		s.through[r.Partition] = batch.Header.Watermark
	}
	return nil
}

// agree waits until all hours that are over have come, and compares them.
func (s *hourSums) agree(truth *generate.Truth) {
	s.d.t.Helper()
	starts := truth.Starts()
	through := (starts[len(starts)-1] - 2*time.Minute.Milliseconds()) / hour * hour // nothing is idle: grace is open
	eventually(s.d.t, time.Minute, "all hours come", func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.through[0] < through || s.through[1] < through {
			return fmt.Errorf("they have come up to %v, want %d", s.through, through)
		}
		return s.err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	hours := 0
	for start := starts[0] / hour * hour; start < through; start += hour {
		want := map[generate.TrafficKey]generate.Traffic{}
		for k, v := range truth.Between(start, start+hour).Traffic {
			want[k] = *v
		}
		if !maps.Equal(s.by[start], want) {
			s.d.t.Errorf("hour at %d: %v, want %v", start, s.by[start], want)
		}
		hours++
	}
	if n := len(s.by); n < hours || n > hours+1 {
		s.d.t.Errorf("%d hours have come, want %d", n, hours)
	}
}

// purged waits until what lies on the topics begins with what is kept, or an hour before.
func (d *deployment) purged(truth *generate.Truth) {
	d.t.Helper()
	starts := truth.Starts()
	mark := starts[len(starts)-1]
	for topic, keep := range map[string]int64{"traffic-windows": hour / 2, "latency-windows": hour / 2, "traffic-hours": 3 * hour, "latency-hours": 3 * hour} {
		from := (mark-keep)/hour*hour - hour
		eventually(d.t, time.Minute, topic+" is purged", func(ctx context.Context) error {
			partitions, err := d.committed(ctx, d.prefix+topic)
			if err != nil {
				return err
			}
			for _, records := range partitions {
				for _, r := range records {
					newest, err := newestPane(r.Value)
					if err != nil {
						return err
					}
					if newest == 0 {
						continue // it tells only how far time has come
					}
					if newest < from {
						return fmt.Errorf("partition %d begins at %d with a window of %d, want %d or later", r.Partition, r.Offset, newest, from)
					}
					break
				}
			}
			return nil
		})
	}
}

func newestPane(value []byte) (newest int64, err error) {
	batch, err := tables.NewBatchReader(value)
	for err == nil && batch.Next() {
		newest = max(newest, batch.Pane)
	}
	return newest, errors.Join(err, batch.Err())
}

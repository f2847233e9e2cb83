//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/tables"
)

// closed returns what lies on the windows topic of traffic, by pane, and an
// error where a series has closed a pane twice.
func (d *deployment) closed(ctx context.Context) (map[int64]map[generate.TrafficKey]generate.Traffic, error) {
	partitions, err := d.committed(ctx, d.prefix+"traffic-windows")
	if err != nil {
		return nil, err
	}
	panes := map[int64]map[generate.TrafficKey]generate.Traffic{}
	for _, records := range partitions {
		for _, r := range records {
			batch, err := tables.NewBatchReader(r.Value)
			for err == nil && batch.Next() {
				err = addClosed(panes, batch)
			}
			if err = errors.Join(err, batch.Err()); err != nil {
				return nil, fmt.Errorf("%s/%d at %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
		}
	}
	return panes, nil
}

func addClosed(panes map[int64]map[generate.TrafficKey]generate.Traffic, batch *tables.BatchReader) error {
	dims, err := tables.SplitKey(string(batch.Key))
	if err != nil || len(dims) != 3 {
		return fmt.Errorf("key %q: %v", batch.Key, err)
	}
	var m tables.Traffic
	if err := tables.DecodeBody(batch.Body, &m); err != nil {
		return err
	}
	k := generate.TrafficKey{Tenant: dims[0], App: dims[1], EventType: dims[2]}
	pane := panes[batch.Pane]
	if pane == nil {
		pane = map[generate.TrafficKey]generate.Traffic{}
		panes[batch.Pane] = pane
	}
	if _, twice := pane[k]; twice {
		return fmt.Errorf("%v closes the pane at %d a second time", k, batch.Pane)
	}
	pane[k] = generate.Traffic{Count: m.Count, Errors: m.Errors}
	return nil
}

// closes waits until all windows of truth are closed, and compares them.
func (d *deployment) closes(truth *generate.Truth, limit time.Duration) {
	d.t.Helper()
	var panes map[int64]map[generate.TrafficKey]generate.Traffic
	eventually(d.t, limit, "every window is closed", func(ctx context.Context) (err error) {
		if panes, err = d.closed(ctx); err != nil {
			return err
		}
		series, want := 0, 0
		for _, pane := range panes {
			series += len(pane)
		}
		for _, m := range truth.Windows {
			want += len(m.Traffic)
		}
		if series < want {
			return fmt.Errorf("%d series in %d windows, want %d in %d", series, len(panes), want, len(truth.Windows))
		}
		return nil
	})
	for start, m := range truth.Windows {
		want := map[generate.TrafficKey]generate.Traffic{}
		for k, v := range m.Traffic {
			want[k] = *v
		}
		if !maps.Equal(panes[start], want) {
			d.t.Errorf("closed window at %d: %v, want %v", start, panes[start], want)
		}
	}
	if len(panes) != len(truth.Windows) {
		d.t.Errorf("%d windows are closed, want %d", len(panes), len(truth.Windows))
	}
}

// short are windows that close within seconds.
var short = []string{"ANALYTICS_WINDOW_PANE=1s", "ANALYTICS_WINDOW_GRACE=4s", "ANALYTICS_WINDOW_IDLE_TIMEOUT=2s"}

// shorten makes traffic for them.
func shorten(cfg generate.Config) generate.Config {
	cfg.Pane, cfg.Grace, cfg.Jitter = time.Second, 4*time.Second, 500*time.Millisecond
	return cfg
}

// TestQuietTopicClosesWindows: nobody sends anything any more, and still every
// window is closed.
func TestQuietTopicClosesWindows(t *testing.T) {
	d := newDeployment(t, []int32{4, 3, 2}, short...)
	const n, step = 6000, 5 * time.Millisecond
	g := generate.New(shorten(generate.Config{
		Seed: 1, Step: step, Start: startOf(n, step), Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: d.topics,
	}))
	d.traffic().all(g, n)
	a := d.instance("a").start()
	truth := g.Truth()
	d.closes(truth, 40*time.Second)
	a.agree(truth, 20*time.Second)

	starts := truth.Starts()
	end := time.UnixMilli(starts[len(starts)-1]).Add(5 * time.Second) // of the last window and its grace
	eventually(t, 10*time.Second, "the answer's watermark is past every window", func(ctx context.Context) error {
		answer, err := a.Table(ctx, "traffic", nil)
		if err != nil {
			return err
		}
		if answer.Watermark == nil || answer.Watermark.Before(end) {
			return fmt.Errorf("watermark is %v, want %v or later", answer.Watermark, end)
		}
		return nil
	})
	a.stop()
}

// TestSilentPartitionDoesNotHoldBack: one partition brings a single record and
// then nothing, the other topic brings nothing ever; the windows of the others
// close while their traffic goes on.
func TestSilentPartitionDoesNotHoldBack(t *testing.T) {
	d := newDeployment(t, []int32{4, 3, 2}, short...)
	a := d.instance("a").start()
	g := generate.New(shorten(generate.Config{Seed: 1, Topics: d.topics[:1]}))
	w := d.traffic()
	begin := time.Now()
	extra := w.sendOne(3, begin)
	w.flush()
	w.place = func(_ string, p int32) int32 { return p % 3 }

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- d.closesFrom(ctx, begin.Add(5*time.Second)) }()
	for open := true; open; {
		if err := pause(t.Context(), 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.send(g.NextAt(time.Now()))
		}
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
			open = false
		default:
		}
	}
	w.flush()
	truth := g.Truth()
	truth.Merge(extra)
	a.agree(truth, 20*time.Second)
	a.stop()
}

// sendOne sends what a chat frontend reports, to a partition of the first topic,
// and returns its truth.
func (w *traffic) sendOne(partition int32, at time.Time) *generate.Truth {
	at = at.Truncate(time.Millisecond)
	topic := w.d.topics[0].Name
	w.send(generate.Record{
		Topic: topic, Partition: partition, Timestamp: at, Outcome: generate.Counted,
		Value: fmt.Appendf(nil, `{"event_type":"user_query","session_id":"s","timestamp":%q}`, at.UTC().Format(time.RFC3339Nano)),
	})
	truth := generate.NewTruth(time.Second)
	truth.Records[generate.RecordsKey{Topic: topic, Outcome: generate.Counted}] = 1
	truth.Windows[at.Truncate(time.Second).UnixMilli()] = &generate.Measures{
		Traffic: generate.Table[generate.TrafficKey, *generate.Traffic]{{EventType: "user_query"}: {Count: 1}},
	}
	return truth
}

// closesFrom waits until a pane is closed that begins at a time or later.
func (d *deployment) closesFrom(ctx context.Context, at time.Time) error {
	for {
		panes, err := d.closed(ctx)
		if err == nil && len(panes) > 0 && slices.Max(slices.Collect(maps.Keys(panes))) >= at.UnixMilli() {
			return nil
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("no window from %s on was closed while there was traffic: %d windows, %v", at, len(panes), err)
		}
	}
}

//go:build e2e

package e2e

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"ragstreams/generate"

	"golang.org/x/sync/errgroup"
)

// TestExactlyOnceUnderKill is the promise: whatever happens to the processes,
// the numbers are those of the truth, and no reader was ever shown another.
func TestExactlyOnceUnderKill(t *testing.T) {
	const (
		events = 200_000
		warmUp = events / 10
		kills  = 12
		spread = 75 * time.Second // over which the rest is sent, or longer
	)
	seed := seedOf(t)
	d := newDeployment(t, []int32{4, 3, 2}, "ANALYTICS_LIMITS_RECORD_BYTES=65536")
	const step = 3 * time.Millisecond // ten minutes of event time
	start := startOf(events, step)
	g := generate.New(generate.Config{
		Seed: seed, Tenants: 6, Models: 3, Step: step, Start: start,
		Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, LargeBytes: 70_000, Topics: d.topics,
	})
	w := d.traffic()
	a, b := d.instance("a").start(), d.instance("b").start()
	prom := startPrometheus(t, d, a, b)
	began := time.Now()

	// So that every series has been scraped at rest before it all begins.
	w.all(g, warmUp)
	a.agree(g.Truth(), time.Minute)
	b.agree(g.Truth(), time.Minute)
	if t.Failed() {
		t.Fatal("not even the warm-up is right")
	}
	before := expected(g.Truth())
	quiet := prom.settled(before, 20*time.Second)

	eyes := watch(t, start.Add(-time.Hour), a, b)
	c := &killer{t: t, d: d, prom: prom, rng: rand.New(rand.NewPCG(seed, 1)), instances: [2]*instance{a, b}}
	group, ctx := errgroup.WithContext(t.Context())
	struck := make(chan struct{})
	group.Go(func() error {
		defer close(struck)
		return c.run(ctx, kills)
	})
	sentAll := make(chan time.Time, 1)
	group.Go(func() error {
		defer func() { sentAll <- time.Now() }()
		return w.steadily(ctx, g, events-warmUp, spread, struck)
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.flush()
	t.Logf("%d kills, %d while partitions were moving, %d freezes; the last record was sent %s ago",
		c.kills, c.proofs, c.freezes, time.Since(<-sentAll).Round(time.Millisecond))
	if c.kills < 10 || c.proofs < 1 || c.freezes < 1 {
		t.Errorf("%d kills, %d while partitions were moving, %d freezes: too little for a proof", c.kills, c.proofs, c.freezes)
	}

	truth := g.Truth()
	a.agree(truth, 2*time.Minute)
	b.agree(truth, 30*time.Second)
	eyes.end(50, a, b)
	after := expected(truth)
	end := prom.settled(after, 20*time.Second)
	prom.checkIncrease(quiet, end, before, after)
	prom.checkNeverFell(began, end)
	if n := prom.scrapes(began, end); n < end.Sub(began).Seconds() {
		t.Errorf("%g scrapes in %s are too few for a proof", n, end.Sub(began))
	}
	a.stop()
	b.stop()
	w.checkSideTopics(t)
}

// seedOf returns the seed of this run and logs how to repeat it.
func seedOf(t testing.TB) uint64 {
	seed := rand.Uint64N(1e9)
	if text := os.Getenv("E2E_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("E2E_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("E2E_SEED=%d", seed)
	return seed
}

// steadily sends n records over a time, and goes on sending, ever slower, until
// done is closed: then it sends the rest. It never pauses, for a pause would let
// partitions fall idle and the truth would not hold.
func (w *traffic) steadily(ctx context.Context, g *generate.Generator, n int, over time.Duration, done <-chan struct{}) error {
	const tick = 20 * time.Millisecond
	full := float64(n) / over.Seconds() * tick.Seconds()
	pending, open := 0.0, true
	for left := n; left > 0; {
		if err := pause(ctx, tick); err != nil {
			return err
		}
		select {
		case <-done:
			open = false
		default:
		}
		rate := full
		if open {
			rate = math.Min(full, float64(left)/10*tick.Seconds())
		}
		for pending += rate; pending >= 1 && left > 0; pending-- {
			w.send(g.Next())
			left--
		}
	}
	return nil
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"

	"golang.org/x/sync/errgroup"
)

// quickReturn lets a broker that was killed come back at once: it waits until its
// last session has run out.
const quickReturn = "broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=500\n"

// struckUnderTraffic sends traffic to one instance while strike does something to
// the broker, and checks that nothing of it is lost or counted twice, and that no
// number was ever taken back. strike must leave the broker running.
func struckUnderTraffic(t *testing.T, own *servers.Kafka, strike func(ctx context.Context, d *deployment, a *instance) error) {
	const (
		events = 60_000
		warmUp = events / 10
		spread = 20 * time.Second // over which the rest is sent, or longer
		step   = 10 * time.Millisecond
	)
	// No partition may fall idle while the broker is away: what is late would be
	// different from the truth.
	d := newDeploymentOn(t, own, []int32{4, 3, 2}, "ANALYTICS_WINDOW_IDLE_TIMEOUT=10m")
	start := startOf(events, step)
	g := generate.New(generate.Config{
		Seed: seedOf(t), Step: step, Start: start, Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: d.topics,
	})
	w := d.traffic()
	a := d.instance("a").start()
	w.all(g, warmUp)
	a.agree(g.Truth(), time.Minute)
	if t.Failed() {
		t.Fatal("not even the warm-up is right")
	}
	eyes := watch(t, start.Add(-time.Hour), a)
	group, ctx := errgroup.WithContext(t.Context())
	struck := make(chan struct{})
	group.Go(func() error {
		defer close(struck)
		return strike(ctx, d, a)
	})
	group.Go(func() error { return w.steadily(ctx, g, events-warmUp, spread, struck) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.flush()
	a.agree(g.Truth(), time.Minute)
	a.ready(30 * time.Second)
	eyes.end(20, a)
	a.stop()
	w.checkSideTopics(t)
}

// TestBrokerKilled: the only broker is killed in the middle of transactions, and
// comes back, three times.
func TestBrokerKilled(t *testing.T) {
	own := ownBroker(t, "kafka-killed", quickReturn)
	struckUnderTraffic(t, own, func(ctx context.Context, d *deployment, a *instance) error {
		for range 3 {
			if err := d.inTransactions(ctx, a, func() error { return own.Kill(0) }); err != nil {
				return err
			}
			if err := pause(ctx, time.Second+rand.N(2*time.Second)); err != nil {
				return err
			}
			if err := own.Start(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestBrokerDiskFull: the broker cannot write any more. The program says that it
// has no broker, shows what is committed, and goes on when there is room.
func TestBrokerDiskFull(t *testing.T) {
	var own *servers.Kafka
	disk := newDisk(t, filepath.Join(site.Dir, "kafka-full", "0", "data"), "64m", func() (int, error) { return own.PID(0) })
	own = ownBroker(t, "kafka-full", quickReturn)
	struckUnderTraffic(t, own, func(ctx context.Context, d *deployment, a *instance) error {
		err := d.inTransactions(ctx, a, func() error {
			if err := disk.fill(); err != nil {
				return err
			}
			return awaitEnd(ctx, own, 0) // at the next record of a source
		})
		if err != nil {
			return err
		}
		a.waits("when the disk of the broker is full")
		if err := disk.free(); err != nil {
			return err
		}
		return own.Start(ctx)
	})
}

// inTransactions does something to the broker while ingest and assemble, which
// have committed since they were last looked at, are both in the middle of a
// transaction.
func (d *deployment) inTransactions(ctx context.Context, a *instance, strike func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := a.readsOn(ctx); err != nil {
		return err
	}
	both := func(open []string) bool {
		return !slices.ContainsFunc([]string{"ingest", "assemble"}, func(stage string) bool {
			return !slices.ContainsFunc(open, func(id string) bool { return strings.HasPrefix(id, stage) })
		})
	}
	return d.nothingHalfEnded(ctx, a, both, strike)
}

// nothingHalfEnded does something to the broker while no transaction is being ended,
// and those that are open are as wanted. The program stands still meanwhile.
//
// A broker without others that ends between deciding a transaction and writing its
// markers may forget the markers. When it starts it first believes that it still
// leads its partitions, then that nobody does, and takes a partition without a
// leader for deleted (seen with 4.3.1). Nobody can read past the transaction, or
// learn what its group has committed, from then on.
func (d *deployment) nothingHalfEnded(ctx context.Context, a *instance, wanted func(open []string) bool, strike func() error) error {
	for {
		if err := a.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		open, ending, err := d.transactions(ctx)
		good := err == nil && !ending && wanted(open)
		if good {
			d.t.Logf("%s: the broker is struck while these are open: %v", time.Now().Format("15:04:05.000"), open)
			err = strike()
		}
		if err := errors.Join(err, a.Signal(syscall.SIGCONT)); err != nil || good {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return errors.New("the transactions were never as wanted")
		}
	}
}

// readsOn waits until the program counts more than it does now.
func (i *instance) readsOn(ctx context.Context) error {
	before := -1.0
	for {
		in, err := i.sum(ctx, "records", "count", url.Values{"total": {"true"}, "outcome": {"in"}})
		switch {
		case err == nil && before >= 0 && in > before:
			return nil
		case err == nil && before < 0:
			before = in
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("instance %s stays at %g records read, error %v", i.name, before, err)
		}
	}
}

// transactions returns those of the program's transactions that are open, and
// whether one is being ended.
func (d *deployment) transactions(ctx context.Context) (open []string, ending bool, err error) {
	listed, err := d.admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, false, fmt.Errorf("list transactions: %w", err)
	}
	for _, txn := range listed.Sorted() {
		id, own := strings.CutPrefix(txn.TxnID, d.prefix)
		switch {
		case !own:
		case txn.State == "Ongoing":
			open = append(open, id)
		case strings.HasPrefix(txn.State, "Prepare"):
			ending = true
		}
	}
	return open, ending, nil
}

// awaitEnd waits until broker n has ended by itself.
func awaitEnd(ctx context.Context, k *servers.Kafka, n int) error {
	for {
		running, err := k.Running(n)
		if err != nil || !running {
			return err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("broker %d goes on without a disk", n)
		}
	}
}

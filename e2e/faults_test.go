//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestWrongPartitionsRefused: an own topic with another partition count than the
// configuration says is not used.
func TestWrongPartitionsRefused(t *testing.T) {
	d := newDeployment(t, []int32{4}, "ANALYTICS_KAFKA_PARTITIONS=4")
	topic := d.prefix + "events"
	if resp, err := d.admin.CreateTopic(t.Context(), 3, 1, sources, topic); err != nil || resp.Err != nil {
		t.Fatal(errors.Join(err, resp.Err))
	}
	log := d.instance("a").start().ends(20 * time.Second)
	for _, want := range []string{topic, "3 partitions", "kafka.partitions is 4"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// TestKafkaUnreachable: without a broker the program waits and says so, at its
// start and later, and goes on when there is one.
func TestKafkaUnreachable(t *testing.T) {
	d := newDeployment(t, []int32{4, 3, 2})
	const n, step = 3000, 10 * time.Millisecond
	g := generate.New(generate.Config{
		Seed: 1, Step: step, Start: startOf(2*n, step), Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: d.topics,
	})
	w := d.traffic()
	w.all(g, n)
	if err := broker.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whatever happens here, the other tests need it
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := broker.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	a := d.instance("a").start()
	a.waits("at its start")

	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.ready(30 * time.Second)
	a.agree(g.Truth(), 30*time.Second)

	if err := d.nothingHalfEnded(t.Context(), a, func([]string) bool { return true }, func() error { return broker.Kill(0) }); err != nil {
		t.Fatal(err)
	}
	a.waits("when the broker was killed")
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.ready(time.Minute)
	w.all(g, n)
	a.agree(g.Truth(), 30*time.Second)
	a.stop()
	w.checkSideTopics(t)
}

// waits checks that the program says again and again, in its log and on /readyz,
// that it cannot reach Kafka, and that it is healthy all the same.
func (i *instance) waits(when string) {
	i.t.Helper()
	const line = "Kafka cannot be reached"
	before := strings.Count(i.Log(), line)
	eventually(i.t, time.Minute, "it says "+when+" that Kafka is away", func(ctx context.Context) error {
		if !i.Running() {
			return errors.New("it has ended")
		}
		if lines := strings.Count(i.Log(), line) - before; lines < 2 {
			return fmt.Errorf("%d lines with %q", lines, line)
		}
		status, body, err := i.get(ctx, "/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(strings.ToLower(body), "connect")) {
			err = fmt.Errorf("/readyz is %d %s, want 503 and why", status, body)
		}
		if err != nil {
			return err
		}
		status, body, err = i.get(ctx, "/healthz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/healthz is %d %s", status, body)
		}
		return err
	})
}

// TestHangingTransaction: a transaction in an own topic that nobody ends is told
// of, with its place, for as long as it is open.
func TestHangingTransaction(t *testing.T) {
	d := newDeployment(t, []int32{2})
	a := d.instance("a").start()
	a.ready(30 * time.Second)
	// The longest that a broker lets one be open.
	open := begin(t, kafka.Config{Brokers: []string{d.broker.Address}}, d.prefix+"late", 15*time.Minute, "key=value")
	at := regexp.MustCompile(regexp.QuoteMeta(d.prefix) + `late/\d cannot be read past offset 0`)
	eventually(t, time.Minute, "it tells of the transaction", func(ctx context.Context) error {
		status, body, err := a.get(ctx, "/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !at.MatchString(body)) {
			err = fmt.Errorf("/readyz is %d %s, want 503 and where", status, body)
		}
		if err == nil && !strings.Contains(a.Log(), "a transaction hangs") {
			err = errors.New("the log says nothing")
		}
		return err
	})
	open.end(kgo.TryAbort)
	a.ready(20 * time.Second)
	a.stop()
}

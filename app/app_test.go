package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/verify"

	"github.com/twmb/franz-go/pkg/kgo"
)

// testOptions returns options on the cluster that KAFKA_BROKERS names, or on an
// embedded one, under a fresh prefix.
func testOptions(t testing.TB) Options {
	t.Helper()
	o := DefaultOptions()
	if b := os.Getenv("KAFKA_BROKERS"); b != "" {
		o.Kafka.Brokers = strings.Split(b, ",")
	} else {
		e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		o.Kafka.Brokers = e.Brokers()
	}
	if os.Getenv("TEST_VERBOSE") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	} else {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	run := fmt.Sprintf("t%d-", time.Now().UnixNano()%1e9)
	o.Prefix = run + "analytics-"
	o.Sources = []string{run + "rag-traces", run + "kotaemon-dialog-events", run + "user-behaviour"}
	o.BehaviourSources = o.Sources[1:]
	o.CreateTopics = true
	o.Instance = "a"
	o.HTTPListen = ""
	o.IdleTimeout = 2 * time.Second
	o.Tick = 200 * time.Millisecond
	o.SessionTimeout = 6 * time.Second
	return o
}

func produceAll(t testing.TB, o *Options, g *generate.Generator, n int) {
	t.Helper()
	cl, err := o.Kafka.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range n {
		r := g.Next()
		rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: time.Now()}
		if r.Key != nil {
			rec.Key = append([]byte{}, r.Key...)
		}
		if r.Value != nil {
			rec.Value = append([]byte{}, r.Value...)
		}
		cl.Produce(t.Context(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// start runs the program until the test ends and returns a client of it, once it
// listens.
func start(t *testing.T, o Options) verify.Client {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	listening := make(chan string, 1)
	o.HTTPListen, o.OnListen = "127.0.0.1:0", func(addr string) { listening <- addr }
	go func() { done <- Run(ctx, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case addr := <-listening:
		return verify.Client{URL: "http://" + addr}
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	panic("BUG: unreachable")
}

// wantTruth waits until everything has arrived, and compares it.
func wantTruth(t *testing.T, c verify.Client, truth *generate.Truth) {
	t.Helper()
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Await(wait, truth); err != nil {
		t.Fatal(err)
	}
	differences, err := c.Compare(t.Context(), truth)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

func TestTablesEqualGroundTruth(t *testing.T) {
	o := testOptions(t)
	const n = 100_000
	g := generate.New(generate.Config{
		Seed: 1, Step: 10 * time.Minute / n, Start: time.Now().Add(-11 * time.Minute),
		Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5,
		Topics: []generate.Topic{{Name: o.Sources[0], Partitions: 4}, {Name: o.Sources[1], Partitions: 3}, {Name: o.Sources[2], Partitions: 2}},
	})
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{
		{Name: o.Sources[0], Partitions: 4, Create: true, Forever: true},
		{Name: o.Sources[1], Partitions: 3, Create: true, Forever: true},
		{Name: o.Sources[2], Partitions: 2, Create: true, Forever: true},
	}); err != nil {
		t.Fatal(err)
	}
	produceAll(t, &o, g, n)
	wantTruth(t, start(t, o), g.Truth())
}

// A source topic that does not exist is waited for, and read when it appears.
func TestSourceTopicThatAppearsLater(t *testing.T) {
	o := testOptions(t)
	o.CreateTopics = false
	o.Start = kafka.Start{Latest: true} // all of it comes after the start
	o.MetadataInterval = 200 * time.Millisecond
	client := start(t, o)
	awaitReady(t, client.URL)
	g := generate.New(generate.Config{Seed: 3, Step: time.Millisecond, Start: time.Now().Add(-time.Minute), Topics: []generate.Topic{{Name: o.Sources[0], Partitions: 2}}})
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{{Name: o.Sources[0], Partitions: 2, Create: true}}); err != nil {
		t.Fatal(err)
	}
	produceAll(t, &o, g, 500)
	wantTruth(t, client, g.Truth())
}

// awaitReady waits until /readyz says so.
func awaitReady(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		resp, err := http.Get(url + "/readyz")
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = errors.New(string(body))
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v", err)
		}
	}
}

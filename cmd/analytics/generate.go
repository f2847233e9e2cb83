package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
)

// sourcePartitions are what generate and demo give to topics that they make.
var sourcePartitions = []int32{4, 3, 2}

func runGenerate(ctx context.Context, env environment, args []string) error {
	fs := newFlags(env, "generate")
	config := fs.String("config", lookup(env.environ, configVariable), "configuration `file`; kafka.* and sources are used")
	n := fs.Int("events", 100_000, "records to write; 0 with --rate: until interrupted")
	rate := fs.Float64("rate", 0, "records a second with the present time; 0 writes at full speed with event times spread over --span")
	span := fs.Duration("span", 10*time.Minute, "event time from the first to the last record, ending now; not with --rate")
	seed := fs.Uint64("seed", 1, "equal seeds give equal traffic")
	duplicates := fs.Float64("duplicates", 0.03, "share of events sent twice")
	late := fs.Float64("late", 0.01, "share of events that come too late")
	poison := fs.Float64("poison", 0.005, "share of records that are no events")
	unkeyed := fs.Float64("unkeyed", 0.5, "share of records without a key")
	truth := fs.String("truth", "", "`file` to write the ground truth to, as JSON")
	bench := fs.Bool("bench", false, "the benchmark's load instead: one topic, nothing wrong but 1 % errors")
	if err := parse(fs, args); err != nil {
		return err
	}
	s, err := loadSettings(*config, env.environ)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if len(s.app.Sources) == 0 || *n < 0 || *n == 0 && *rate == 0 {
		return errors.New("nothing to write: give --events, or --rate")
	}
	cfg := generate.Config{
		Seed: *seed, Duplicates: *duplicates, Late: *late, Poison: *poison, Unkeyed: *unkeyed,
		Pane: s.app.Pane, Grace: s.app.Grace, TotalsOnly: *n == 0,
	}
	if *bench {
		cfg = generate.Bench(*n, *seed)
		cfg.Topics[0].Name = s.app.Sources[0]
	} else {
		cfg.Topics = trafficTopics(s.app.Sources)
		cfg.Step = *span / time.Duration(max(*n, 1))
		cfg.Start = time.Now().Add(-*span)
	}
	if err := asTheyAre(ctx, s.app.Kafka, cfg.Topics); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := makeSources(ctx, s.app.Kafka, s.app.Replication, cfg.Topics, nil); err != nil {
		return err
	}
	out, err := newTraffic(s.app.Kafka)
	if err != nil {
		return err
	}
	defer out.close()
	g := generate.New(cfg)
	started := time.Now()
	if *rate > 0 {
		_, err = out.live(ctx, g, *rate, *n)
	} else {
		for i := 0; i < *n && err == nil && ctx.Err() == nil; i++ {
			out.send(ctx, g.Next())
			err = out.err()
		}
	}
	if err == nil {
		err = out.flush(context.WithoutCancel(ctx))
	}
	if err != nil {
		return err
	}
	t := g.Truth()
	total := t.Count("", "")
	fmt.Fprintf(env.stdout, "wrote %d records in %s: %d counted, %d duplicate, %d late, %d poison\n", total, time.Since(started).Round(time.Millisecond),
		t.Count("", generate.Counted), t.Count("", generate.Duplicate), t.Count("", generate.Late), t.Count("", generate.Poison))
	if *truth == "" {
		return nil
	}
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode ground truth: %w", err)
	}
	return os.WriteFile(*truth, data, 0o644)
}

// trafficTopics returns where traffic goes: to the first of the source topics.
func trafficTopics(sources []string) (topics []generate.Topic) {
	for i, name := range sources[:min(len(sources), len(sourcePartitions))] {
		topics = append(topics, generate.Topic{Name: name, Partitions: sourcePartitions[i]})
	}
	return topics
}

// asTheyAre gives topics that exist the partitions that they have: the program may have
// made them first.
func asTheyAre(ctx context.Context, c kafka.Config, topics []generate.Topic) error {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	counts, err := kafka.PartitionCounts(ctx, c, names)
	if err != nil {
		return fmt.Errorf("source topics: %w", err)
	}
	for i := range topics {
		if n := counts[topics[i].Name]; n > 0 {
			topics[i].Partitions = n
		}
	}
	return nil
}

// makeSources makes the topics that traffic goes to, with exactly the partitions
// that the generator counts on.
func makeSources(ctx context.Context, c kafka.Config, replication int, topics []generate.Topic, config map[string]string) error {
	var want []kafka.Topic
	for _, t := range topics {
		want = append(want, kafka.Topic{Name: t.Name, Partitions: t.Partitions, Create: true, Config: config})
	}
	if _, err := kafka.EnsureTopics(ctx, c, replication, want); err != nil {
		return fmt.Errorf("source topics: %w", err)
	}
	return nil
}

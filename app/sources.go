package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ragstreams/window"
)

// sources knows which source topics exist, and with which partitions. It is
// safe for concurrent use.
//
// What one look tells is not all believed. A cluster in motion may answer that a
// topic does not exist, or show fewer partitions than it has, and the watermark
// that forgets a partition passes its events for good: topics and partitions
// are gone only when goneAfter looks in a row did not find them. New ones are
// believed at once.
type sources struct {
	topics   []string
	interval time.Duration
	log      *slog.Logger
	// look returns how many partitions each of the topics has now, 0 for one that
	// does not exist; one that the cluster cannot tell of is left out.
	look func(ctx context.Context, topics []string) (map[string]int32, error)
	// appear is called once for every topic when it exists for the first time, and
	// never again: its members wait while it is gone.
	appear  func(topic string)
	changed func(all []window.Partition)
	looked  func() // called after every look that succeeded

	mu      sync.Mutex
	known   map[string]int32
	fewer   map[string]int  // looks in a row that found less than is known
	started map[string]bool // appear was called
	said    map[string]bool // the log says that it does not exist
	all     []window.Partition
}

// goneAfter is how many looks in a row must not find what existed.
const goneAfter = 3

// refresh asks the cluster once.
func (s *sources) refresh(ctx context.Context) error {
	counts, err := s.look(ctx, s.topics)
	if err != nil {
		return fmt.Errorf("look for source topics: %w", err)
	}
	appeared, all := s.learn(counts)
	s.changed(all)
	for _, topic := range appeared {
		s.appear(topic)
	}
	for _, topic := range s.missing() {
		if s.say(topic) {
			s.log.Warn("source topic does not exist", "topic", topic, "hint", "it is read as soon as it appears; make it, or start again with kafka.create_topics")
		}
	}
	s.looked()
	return nil
}

// learn takes in what a look told. It returns the topics that exist for the first
// time, and all partitions.
func (s *sources) learn(counts map[string]int32) (appeared []string, all []window.Partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known, s.fewer, s.started, s.said = map[string]int32{}, map[string]int{}, map[string]bool{}, map[string]bool{}
	}
	for _, topic := range s.topics {
		n, told := counts[topic]
		switch {
		case !told:
		case n >= s.known[topic]:
			s.known[topic], s.fewer[topic] = n, 0
		default:
			s.fewer[topic]++
			if s.fewer[topic] >= goneAfter {
				s.known[topic], s.fewer[topic] = n, 0
			}
		}
		if s.known[topic] > 0 {
			s.said[topic] = false
			if !s.started[topic] {
				s.started[topic] = true
				appeared = append(appeared, topic)
			}
		}
		for p := range s.known[topic] {
			all = append(all, window.Partition{Topic: topic, Partition: p})
		}
	}
	s.all = all
	return appeared, all
}

// say tells whether the log must still say that a topic does not exist.
func (s *sources) say(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.said[topic]
	s.said[topic] = true
	return first
}

// Run looks now, and again and again until ctx ends.
func (s *sources) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("source topics are not refreshed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// whileThere runs what reads a topic, and waits while the topic does not exist:
// before the run, and when it failed because the topic went away. waiting is
// called at the beginning of every wait. An error is the run's own.
func (s *sources) whileThere(ctx context.Context, topic string, waiting func(), run func(ctx context.Context) error) error {
	for {
		s.await(ctx, topic, waiting)
		if ctx.Err() != nil {
			return nil
		}
		err := run(ctx)
		if ctx.Err() != nil || !s.gone(ctx, topic) {
			return err
		}
		s.log.Info("source topic is gone, waiting for it", "topic", topic, "error", err)
	}
}

// await returns when a topic exists, or may exist, or ctx ends.
func (s *sources) await(ctx context.Context, topic string, waiting func()) {
	if !s.gone(ctx, topic) {
		return
	}
	waiting()
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.gone(ctx, topic) {
			return
		}
	}
}

// gone asks the cluster and tells whether it says that a topic does not exist.
func (s *sources) gone(ctx context.Context, topic string) bool {
	counts, err := s.look(ctx, []string{topic})
	n, told := counts[topic]
	return err == nil && told && n == 0
}

// expected returns all partitions of the source topics that exist. The caller
// must not change it.
func (s *sources) expected() []window.Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// missing returns the source topics that do not exist.
func (s *sources) missing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for _, t := range s.topics {
		if s.known[t] == 0 {
			missing = append(missing, t)
		}
	}
	slices.Sort(missing)
	return missing
}

// count returns the number of partitions of a topic.
func (s *sources) count(topic string) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[topic]
}

package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ragstreams/kafka"
	"ragstreams/window"
)

// sources knows which source topics exist, and with which partitions. It is
// safe for concurrent use.
type sources struct {
	config   kafka.Config
	topics   []string
	interval time.Duration
	log      *slog.Logger

	mu      sync.Mutex
	known   map[string]int32
	all     []window.Partition
	appear  func(topic string) // called once for every topic that exists
	changed func(all []window.Partition)
}

// refresh asks the cluster once.
func (s *sources) refresh(ctx context.Context) error {
	counts, err := kafka.PartitionCounts(ctx, s.config, s.topics)
	if err != nil {
		return fmt.Errorf("look for source topics: %w", err)
	}
	s.mu.Lock()
	var appeared []string
	s.all = nil
	for _, topic := range s.topics {
		n := counts[topic]
		if n > 0 && s.known[topic] == 0 {
			appeared = append(appeared, topic)
		}
		for p := range n {
			s.all = append(s.all, window.Partition{Topic: topic, Partition: p})
		}
	}
	s.known = counts
	all := s.all
	s.mu.Unlock()
	s.changed(all)
	for _, topic := range appeared {
		s.appear(topic)
	}
	return nil
}

// Run looks again and again until ctx ends.
func (s *sources) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("source topics are not refreshed", "error", err)
		}
	}
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

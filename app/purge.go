package app

import (
	"context"
	"time"

	"ragstreams/kafka"
	"ragstreams/processors"
)

// purge deletes what no stage will read again: in the events topic what lies
// below the horizon, in partials topics what is committed. Each process purges
// the partitions it owns.
func purge(ctx context.Context, s *stages) error {
	s.status.clear("purge")
	tick := time.NewTicker(s.o.PurgeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n := s.o.names()
		if err := purgeTopic(ctx, s, n.AssembleGroup(), n.Events(), processors.Horizon); err != nil {
			return err
		}
		for _, table := range processors.TableNames {
			if err := purgeTopic(ctx, s, n.TableGroup(table), n.Partials(table), nil); err != nil {
				return err
			}
		}
	}
}

func purgeTopic(ctx context.Context, s *stages, group, topic string, horizon func(metadata string) (int64, bool)) error {
	owned := s.owned(group)
	if len(owned) == 0 {
		return nil
	}
	offsets, err := kafka.GroupOffsets(ctx, s.o.Kafka, group, topic)
	if err != nil {
		return err
	}
	below := map[int32]int64{}
	for p, c := range offsets {
		at := c.Offset
		if horizon != nil {
			h, ok := horizon(c.Metadata)
			if !ok {
				continue
			}
			at = min(at, h)
		}
		if _, ok := owned[p]; ok && at > 0 {
			below[p] = at
		}
	}
	if len(below) == 0 {
		return nil
	}
	return kafka.Purge(ctx, s.o.Kafka, topic, below)
}

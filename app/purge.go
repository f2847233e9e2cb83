package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"
)

// purge deletes what no stage and no view will read again: in the events topic what lies
// below the horizon, in partials topics what is committed, and of closed panes and hours
// what is past its retention. Each process purges the partitions it owns.
func purge(ctx context.Context, s *stages, histories map[string]*history) error {
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
		if err := purgeRead(ctx, s, n.AssembleGroup(), n.Events(), processors.Horizon, nil); err != nil {
			return err
		}
		for _, table := range processors.TableNames {
			if err := purgeRead(ctx, s, n.TableGroup(table), n.Partials(table), nil, nil); err != nil {
				return err
			}
		}
		for _, table := range processors.Windowed {
			if err := histories[table].purge(ctx, s, table); err != nil {
				return err
			}
		}
	}
}

// purgeRead deletes of a topic what a group has committed, but for what it will read again,
// from a horizon that it keeps as metadata, and what is kept for others.
func purgeRead(ctx context.Context, s *stages, group, topic string, horizon func(metadata string) (int64, bool), kept func(partition int32) int64) error {
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
		if kept != nil {
			at = min(at, kept(p))
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

// history is what is kept of a table's closed windows, by the view of this process.
type history struct {
	kept    func() (panes, hours int64) // from when on, see views.View
	windows hourOffsets
	hours   hourOffsets
}

// keptLonger is how much longer topics keep closed windows than the view of a process does:
// that of another one, which has begun to read, may be behind.
const keptLonger = time.Hour

func (t *history) purge(ctx context.Context, s *stages, table string) error {
	n := s.o.names()
	panes, hours := t.kept()
	if panes == window.None {
		return nil
	}
	longer := keptLonger.Milliseconds()
	group := n.HistoryGroup(table)
	err := purgeRead(ctx, s, group, n.Windows(table), processors.HistoryHorizon, func(p int32) int64 { return t.windows.of(p, panes-longer) })
	if err != nil {
		return err
	}
	below := map[int32]int64{}
	for p := range s.owned(group) {
		if at := t.hours.of(p, hours-longer); at > 0 {
			below[p] = at
		}
	}
	if len(below) == 0 {
		return nil
	}
	return kafka.Purge(ctx, s.o.Kafka, n.Hours(table), below)
}

// hourOffsets are where in a topic of closed windows hours begin: of each partition the
// records whose newest window is of a later hour than any before. It is safe for concurrent
// use.
type hourOffsets struct {
	mu sync.Mutex
	by map[int32][]hourOffset
}

type hourOffset struct{ hour, offset int64 }

// note notes a record, which may come again.
func (h *hourOffsets) note(partition int32, offset int64, batch []byte) error {
	in, err := tables.NewBatchReader(batch)
	if err != nil {
		return err
	}
	newest := window.None
	for in.Next() {
		newest = max(newest, in.Pane)
	}
	if newest == window.None {
		return in.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.by[partition]
	if n := len(list); n > 0 && (newest < list[n-1].hour+processors.Hour || offset <= list[n-1].offset) {
		return in.Err()
	}
	if h.by == nil {
		h.by = map[int32][]hourOffset{}
	}
	h.by[partition] = append(list, hourOffset{newest - newest%processors.Hour, offset})
	return in.Err()
}

// of returns the offset before which no record of a partition has a window of an hour or
// later, as far as hours that were noted tell. What is before it is forgotten.
func (h *hourOffsets) of(partition int32, from int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.by[partition]
	i := slices.IndexFunc(list, func(o hourOffset) bool { return o.hour >= from })
	switch {
	case len(list) == 0:
		return 0
	case i < 0: // the newest has gone; what comes behind it is not known yet
		i = len(list) - 1
	}
	h.by[partition] = list[i:]
	return list[i].offset
}

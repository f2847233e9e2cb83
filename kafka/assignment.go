package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Start says where a group without committed offsets begins.
type Start struct {
	Latest bool
	Time   time.Time // when not zero: at the first record of this time or later
}

// position is how far a partition is read and what is committed with it.
type position struct {
	offset   int64
	metadata string
}

// assignments is what the group gave to a session. The client's callbacks
// write it, the session reads it between two cycles.
type assignments struct {
	client atomic.Pointer[kgo.Client]

	mu       sync.Mutex
	owned    map[int32]bool     // partition → its position is known
	position map[int32]position // of owned partitions, when known
	version  int                // grows with every change
	err      error              // the membership is lost for good
	wake     context.CancelFunc // ends a poll under way
}

func (a *assignments) init() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owned, a.position, a.err = map[int32]bool{}, map[int32]position{}, nil
	a.version++
}

func (a *assignments) changed() {
	a.version++
	if a.wake != nil {
		a.wake()
	}
}

// onAssigned pauses new partitions: nothing is read before goka is set up. It
// returns how many partitions are owned now.
func (a *assignments) onAssigned(cl *kgo.Client, added map[string][]int32) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	cl.PauseFetchPartitions(added)
	for _, ps := range added {
		for _, p := range ps {
			a.owned[p] = false
			delete(a.position, p)
			a.changed()
		}
	}
	return len(a.owned)
}

func (a *assignments) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ps := range lost {
		for _, p := range ps {
			delete(a.owned, p)
			delete(a.position, p)
			a.changed()
		}
	}
}

// onFetched keeps the metadata of the committed offsets.
func (a *assignments) onFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	keep := func(partition int32, offset int64, metadata *string) {
		at := position{offset: offset}
		if offset >= 0 && metadata != nil {
			at.metadata = *metadata
		}
		a.position[partition] = at
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			keep(p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				keep(p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	return nil
}

// adjustOffsets gives partitions without a committed offset an exact one, and
// says so when records were deleted before this group read them.
func (s *Session) adjustOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a := &s.assigned
	adm := kadm.NewClient(a.client.Load())
	starts, err := adm.ListStartOffsets(ctx, s.cfg.Topic)
	if err != nil {
		return nil, fmt.Errorf("start offsets of %s: %w", s.cfg.Topic, err)
	}
	var begin kadm.ListedOffsets
	switch {
	case !s.cfg.Start.Time.IsZero():
		begin, err = adm.ListOffsetsAfterMilli(ctx, s.cfg.Start.Time.UnixMilli(), s.cfg.Topic)
	case s.cfg.Start.Latest:
		begin, err = adm.ListEndOffsets(ctx, s.cfg.Topic)
	default:
		begin = starts
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of %s to begin at: %w", s.cfg.Topic, err)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	for partition := range offsets[s.cfg.Topic] {
		at := a.position[partition]
		first, ok := starts.Lookup(s.cfg.Topic, partition)
		if !ok || first.Err != nil {
			return nil, fmt.Errorf("start offset of %s/%d: %w", s.cfg.Topic, partition, first.Err)
		}
		switch {
		case at.offset < 0:
			o, ok := begin.Lookup(s.cfg.Topic, partition)
			if !ok || o.Err != nil {
				return nil, fmt.Errorf("offset of %s/%d to begin at: %w", s.cfg.Topic, partition, o.Err)
			}
			at.offset = o.Offset
		case at.offset < first.Offset:
			s.cfg.log().Error("records were deleted before they were read: retention is shorter than the backlog",
				"topic", s.cfg.Topic, "partition", partition, "from", at.offset, "to", first.Offset-1)
			at.offset = first.Offset
		}
		a.position[partition] = at
		a.owned[partition] = true
		offsets[s.cfg.Topic][partition] = kgo.NewOffset().At(at.offset)
	}
	a.changed()
	return offsets, nil
}

func (a *assignments) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	a.changed()
}

// parts returns the owned partitions.
func (a *assignments) parts() map[int32]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.owned)
}

// snapshot returns the owned partitions in order with their positions, the
// version, and whether every position is known.
func (a *assignments) snapshot() (parts []int32, at map[int32]position, version int, known bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known = true
	for p, k := range a.owned {
		parts = append(parts, p)
		known = known && k
	}
	slices.Sort(parts)
	return parts, maps.Clone(a.position), a.version, known, a.err
}

func (a *assignments) current(version int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version == version
}

// advance stores what a commit made durable. The partitions are still owned:
// they change only between two cycles.
func (a *assignments) advance(at map[int32]position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p, pos := range at {
		if a.owned[p] {
			a.position[p] = pos
		}
	}
}

// poller returns a context that ends with ctx, after d, and when the
// assignment changes.
func (a *assignments) poller(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wake = cancel
	return ctx, cancel
}

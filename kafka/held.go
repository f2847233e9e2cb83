package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Held is what waits for the end of an open transaction: the committed readers of a
// partition, or a group that is asked for its offset of one.
type Held struct {
	Group     string // "": committed readers
	Topic     string
	Partition int32
	// Offset is where the oldest open transaction begins; of a group, what it has
	// committed.
	Offset int64
}

// String tells what does not go on, where.
func (h Held) String() string {
	if h.Group != "" {
		return fmt.Sprintf("group %s cannot go on in %s/%d at offset %d or later, of which a transaction decides that hangs", h.Group, h.Topic, h.Partition, h.Offset)
	}
	return fmt.Sprintf("%s/%d cannot be read past offset %d, where a transaction hangs", h.Topic, h.Partition, h.Offset)
}

// HeldBack returns what open transactions hold back in topics and groups, in order.
// A group's very first commit to a partition is not seen.
func HeldBack(ctx context.Context, c Config, topics, groups []string) ([]Held, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	held, err := heldTopics(ctx, adm, topics)
	if err != nil {
		return nil, err
	}
	waiting, err := heldGroups(ctx, adm, groups)
	if err != nil {
		return nil, err
	}
	held = append(held, waiting...)
	slices.SortFunc(held, func(a, b Held) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return held, nil
}

func heldGroups(ctx context.Context, adm *kadm.Client, groups []string) ([]Held, error) {
	var held []Held
	for _, group := range groups {
		offsets, err := adm.FetchOffsets(kadm.RequireStable(ctx), group)
		if errors.Is(err, kerr.GroupIDNotFound) { // nobody has joined it yet
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", group, err)
		}
		var unstable kadm.OffsetResponses
		offsets.Each(func(o kadm.OffsetResponse) {
			if errors.Is(o.Err, kerr.UnstableOffsetCommit) {
				unstable.Add(o)
			}
		})
		if len(unstable) == 0 {
			continue
		}
		// Most likely a member is committing just now.
		working, err := inTransaction(ctx, adm, group)
		if err != nil {
			return nil, err
		}
		if working {
			continue
		}
		committed, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", group, err)
		}
		unstable.Each(func(o kadm.OffsetResponse) {
			at, _ := committed.Lookup(o.Topic, o.Partition)
			held = append(held, Held{group, o.Topic, o.Partition, at.At})
		})
	}
	return held, nil
}

// inTransaction reports whether the coordinator knows of a transaction of a group's
// sessions that is not over.
func inTransaction(ctx context.Context, adm *kadm.Client, group string) (bool, error) {
	listed, err := adm.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
	if err != nil {
		return false, fmt.Errorf("transactions of group %s: %w", group, err)
	}
	for id := range listed {
		if strings.HasPrefix(id, group+"-") {
			return true, nil
		}
	}
	return false, nil
}

func heldTopics(ctx context.Context, adm *kadm.Client, topics []string) ([]Held, error) {
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	stable, err := adm.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("last stable offsets: %w", err)
	}
	var held []Held
	stable.Each(func(o kadm.ListedOffset) {
		if end, ok := ends.Lookup(o.Topic, o.Partition); ok && o.Offset < end.Offset {
			held = append(held, Held{"", o.Topic, o.Partition, o.Offset})
		}
	})
	return held, nil
}

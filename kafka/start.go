package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Start says where a new group begins: by default at the first record.
type Start struct {
	Latest bool
	Time   time.Time // when not zero: at the first record of this time or later
}

// BeginGroup commits where a new group begins to read a topic. A group that has
// committed anything for the topic is left alone: partitions that come later are
// read from their beginning, or what was written to them before they were found
// would be lost. It must be called before the group's sessions start, and may be
// called by many.
func BeginGroup(ctx context.Context, c Config, group, topic string, start Start) error {
	if start == (Start{}) {
		return nil
	}
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	begun, err := hasOffsets(ctx, adm, group, topic)
	if begun || err != nil {
		return err
	}
	list := func() (kadm.ListedOffsets, error) { return adm.ListEndOffsets(ctx, topic) }
	if !start.Time.IsZero() {
		list = func() (kadm.ListedOffsets, error) {
			return adm.ListOffsetsAfterMilli(ctx, start.Time.UnixMilli(), topic)
		}
	}
	listed, err := list()
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return fmt.Errorf("where group %s begins to read %s: %w", group, topic, err)
	}
	committed, err := adm.CommitOffsets(ctx, group, listed.Offsets())
	if err == nil {
		err = committed.Error()
	}
	if err == nil {
		return nil
	}
	// A group with members takes no offsets from outside: somebody else began it.
	if begun, again := hasOffsets(ctx, adm, group, topic); begun && again == nil {
		return nil
	}
	return fmt.Errorf("commit where group %s begins to read %s: %w", group, topic, err)
}

func hasOffsets(ctx context.Context, adm *kadm.Client, group, topic string) (bool, error) {
	offsets, err := adm.FetchOffsets(kadm.RequireStable(ctx), group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	for _, o := range offsets[topic] {
		if o.Err != nil {
			return false, fmt.Errorf("offset of group %s for %s/%d: %w", group, topic, o.Partition, o.Err)
		}
		if o.At >= 0 {
			return true, nil
		}
	}
	return false, nil
}

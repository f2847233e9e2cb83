package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Purge deletes the records of a topic's partitions below the given offsets.
func Purge(ctx context.Context, c Config, topic string, below map[int32]int64) error {
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	offsets := kadm.Offsets{}
	for p, o := range below {
		offsets.AddOffset(topic, p, o, -1)
	}
	resp, err := kadm.NewClient(client).DeleteRecords(ctx, offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("purge %s: %w", topic, err)
	}
	return nil
}

// Committed is what a group has committed for one partition: where it goes on, and
// what Task.Flush returned.
type Committed struct {
	Offset   int64
	Metadata string
}

// GroupOffsets returns what a group has committed for a topic, by partition; nothing
// of a topic before it that had its name, nor of a group that does not exist.
func GroupOffsets(ctx context.Context, c Config, group, topic string) (map[int32]Committed, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	resp, err := adm.FetchOffsets(ctx, group)
	switch {
	case errors.Is(err, kerr.GroupIDNotFound): // nobody has joined it yet
		return map[int32]Committed{}, nil
	case err != nil:
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	id, err := topicID(ctx, adm, topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]Committed{}
	for p, o := range resp[topic] {
		at := committedPosition(o.At, o.Metadata)
		if o.Err == nil && at.committed && !at.elsewhere(id) {
			out[p] = Committed{at.offset, at.metadata}
		}
	}
	return out, nil
}

// topicID tells topics apart that have a name one after the other; zero: the broker
// is too old to know.
func topicID(ctx context.Context, adm *kadm.Client, topic string) (kadm.TopicID, error) {
	topics, err := adm.ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return kadm.TopicID{}, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	return topics[topic].ID, nil
}

// EndOffset returns the high watermark of a partition.
func EndOffset(ctx context.Context, c Config, topic string, partition int32) (int64, error) {
	client, err := c.NewClient()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return endOffset(ctx, client, topic, partition)
}

// EndOffsets returns the high watermark of every partition of a topic.
func EndOffsets(ctx context.Context, c Config, topic string) (map[int32]int64, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

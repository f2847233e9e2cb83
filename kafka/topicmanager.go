package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicManager answers goka's questions about topics. It implements
// goka.TopicManager and creates nothing: topics are made and checked by
// EnsureTopics before a processor starts.
type TopicManager struct{ client *kgo.Client }

var _ goka.TopicManager = TopicManager{}

// TopicManagerBuilder returns what goka's options take.
func TopicManagerBuilder(c Config) goka.TopicManagerBuilder {
	return func([]string) (goka.TopicManager, error) {
		client, err := c.NewClient()
		if err != nil {
			return nil, fmt.Errorf("open topic manager: %w", err)
		}
		return TopicManager{client}, nil
	}
}

// EnsureTableExists implements goka.TopicManager; it only checks.
func (m TopicManager) EnsureTableExists(topic string, npar int) error { return m.check(topic, npar) }

// EnsureStreamExists implements goka.TopicManager; it only checks.
func (m TopicManager) EnsureStreamExists(topic string, npar int) error { return m.check(topic, npar) }

// EnsureTopicExists implements goka.TopicManager; it only checks.
func (m TopicManager) EnsureTopicExists(topic string, npar, _ int, _ map[string]string) error {
	return m.check(topic, npar)
}

func (m TopicManager) check(topic string, npar int) error {
	partitions, err := m.Partitions(topic)
	if err != nil {
		return err
	}
	if len(partitions) != npar {
		return fmt.Errorf("topic %s has %d partitions, want %d", topic, len(partitions), npar)
	}
	return nil
}

// Partitions implements goka.TopicManager.
func (m TopicManager) Partitions(topic string) ([]int32, error) {
	return partitionsOf(context.Background(), m.client, topic)
}

func partitionsOf(ctx context.Context, cl *kgo.Client, topic string) ([]int32, error) {
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	detail, ok := topics[topic]
	if !ok {
		return nil, fmt.Errorf("partitions of %s: %w", topic, kerr.UnknownTopicOrPartition)
	}
	if detail.Err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", topic, detail.Err)
	}
	partitions := detail.Partitions.Numbers()
	slices.Sort(partitions)
	return partitions, nil
}

// GetOffset implements goka.TopicManager for sarama.OffsetOldest and
// sarama.OffsetNewest. The newest is the high watermark, not the last stable
// offset: the marker of a commit may reach the offsets topic before it reaches
// a changelog, and a restore must not miss that commit.
func (m TopicManager) GetOffset(topic string, partition int32, time int64) (int64, error) {
	switch time {
	case sarama.OffsetNewest:
		return endOffset(context.Background(), m.client, topic, partition)
	case sarama.OffsetOldest:
		offsets, err := kadm.NewClient(m.client).ListStartOffsets(context.Background(), topic)
		if err != nil {
			return 0, fmt.Errorf("start offset of %s/%d: %w", topic, partition, err)
		}
		o, ok := offsets.Lookup(topic, partition)
		if !ok {
			return 0, fmt.Errorf("start offset of %s/%d: %w", topic, partition, kerr.UnknownTopicOrPartition)
		}
		return o.Offset, o.Err
	default:
		return 0, errors.New("BUG: offsets by time are not offered to goka")
	}
}

// Close implements goka.TopicManager.
func (m TopicManager) Close() error { m.client.Close(); return nil }

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// countWithFranz is a member of a consumer group, as franz-go makes it, that looks
// at nothing.
func countWithFranz(ctx context.Context, j job, m *meter) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(j.broker), kgo.ConsumeTopics(j.topic), kgo.ConsumerGroup(j.name+"group"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("read %s: %w", j.topic, err)
		}
		m.add(int64(fetches.NumRecords()))
	}
	return nil
}

// countWithSarama is the same with sarama.
func countWithSarama(ctx context.Context, j job, m *meter) error {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_6_0_0
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup([]string{j.broker}, j.name+"group", cfg)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{j.topic}, claims{m}); err != nil && ctx.Err() == nil {
			return errors.Join(fmt.Errorf("read %s: %w", j.topic, err), group.Close())
		}
	}
	return group.Close()
}

// claims counts what is read of the partitions that a sarama member owns.
type claims struct{ m *meter }

func (claims) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (claims) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c claims) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for r := range claim.Messages() {
		c.m.add(1)
		s.MarkMessage(r, "")
	}
	return nil
}

package kafka

import (
	"context"

	"github.com/IBM/sarama"
)

// claim is one partition as goka reads it.
type claim struct {
	topic     string
	partition int32
	offset    int64
	messages  chan *sarama.ConsumerMessage
}

func (c *claim) Topic() string                            { return c.topic }
func (c *claim) Partition() int32                         { return c.partition }
func (c *claim) InitialOffset() int64                     { return c.offset }
func (c *claim) HighWaterMarkOffset() int64               { return 0 }
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.messages }

// Claims implements sarama.ConsumerGroupSession.
func (g *generation) Claims() map[string][]int32 {
	return map[string][]int32{g.s.cfg.Topic: g.parts}
}

// MemberID implements sarama.ConsumerGroupSession.
func (g *generation) MemberID() string { id, _ := g.gts.Client().GroupMetadata(); return id }

// GenerationID implements sarama.ConsumerGroupSession.
func (g *generation) GenerationID() int32 { _, n := g.gts.Client().GroupMetadata(); return n }

// MarkOffset implements sarama.ConsumerGroupSession: goka is done with one
// message. Which offset is committed is known from what was polled.
func (g *generation) MarkOffset(string, int32, int64, string) {
	if g.pending.Add(-1) == 0 {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// MarkMessage implements sarama.ConsumerGroupSession.
func (g *generation) MarkMessage(*sarama.ConsumerMessage, string) { g.MarkOffset("", 0, 0, "") }

// Commit implements sarama.ConsumerGroupSession; the cycle commits.
func (g *generation) Commit() {}

// ResetOffset implements sarama.ConsumerGroupSession; goka does not call it.
func (g *generation) ResetOffset(string, int32, int64, string) {}

// Context implements sarama.ConsumerGroupSession.
func (g *generation) Context() context.Context { return g.ctx }

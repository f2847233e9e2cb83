package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Sender produces records outside of any transaction. It is safe for concurrent use.
type Sender struct{ client *kgo.Client }

// NewSender opens a client, which does not connect yet.
func NewSender(c Config) (*Sender, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	return &Sender{client}, nil
}

// Send produces records to a topic, the key of each choosing its partition, and
// returns once all replicas in sync have them, or with the first error.
func (s *Sender) Send(ctx context.Context, topic string, records []Message) error {
	list := make([]*kgo.Record, len(records))
	for i, m := range records {
		list[i] = &kgo.Record{Topic: topic, Partition: ByKey, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			list[i].Headers = append(list[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	if err := s.client.ProduceSync(ctx, list...).FirstErr(); err != nil {
		return fmt.Errorf("produce to %s: %w", topic, err)
	}
	return nil
}

// Close ends the client.
func (s *Sender) Close() { s.client.Close() }

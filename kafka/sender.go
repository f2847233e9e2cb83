package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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

// maxResent is the largest record that a resender takes, with its headers.
const maxResent = 65 << 20

// NewResender opens a Sender for records that others have sent before: they may be as large
// as their topic takes, and are compressed, as theirs may have been.
func NewResender(c Config) (*Sender, error) {
	client, err := c.NewClient(
		kgo.ProducerBatchMaxBytes(maxResent),
		kgo.BrokerMaxWriteBytes(100<<20),
		kgo.ProducerBatchCompression(kgo.GzipCompression(), kgo.NoCompression()),
		kgo.AllowIdempotentProduceCancellation(), // or a broker that is away would hold Resend beyond its ctx
	)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	return &Sender{client}, nil
}

// Resend produces records to the topics and partitions that they name, with their
// timestamps, and returns what became of each: nil once all replicas in sync have it. stop
// is the first error that is about the cluster and not about one record. A record that
// failed because ctx ended may be there all the same. The records are in flight at once, so
// it is for their sender to bound them.
func (s *Sender) Resend(ctx context.Context, records []Message) (each []error, stop error) {
	list := make([]*kgo.Record, len(records))
	for i, m := range records {
		list[i] = &kgo.Record{Topic: m.Topic, Partition: m.Partition, Timestamp: time.UnixMilli(m.Timestamp), Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			list[i].Headers = append(list[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	failed := map[*kgo.Record]error{}
	for _, r := range s.client.ProduceSync(ctx, list...) { // in the order of their ends
		failed[r.Record] = r.Err
	}
	each = make([]error, len(records))
	for i, r := range list {
		err := failed[r]
		if err == nil {
			continue
		}
		each[i] = fmt.Errorf("produce to %s/%d: %w", r.Topic, r.Partition, err)
		if stop == nil && !refusesRecord(err) {
			stop = each[i]
		}
	}
	return each, stop
}

// refusesRecord reports whether an error is about the record that was sent: others may be
// taken.
func refusesRecord(err error) bool {
	for _, one := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// Close ends the client.
func (s *Sender) Close() { s.client.Close() }

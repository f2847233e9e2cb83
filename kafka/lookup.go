package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Span is a range of offsets: From inclusive, To exclusive.
type Span struct{ From, To int64 }

// CommittedSpans returns, for every partition of a topic, the offsets of what was committed
// and came since a time; the zero time means all that there is. What lies behind an open
// transaction is not waited for.
func CommittedSpans(ctx context.Context, c Config, topic string, since time.Time) (map[int32]Span, error) {
	s, err := NewScanner(c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	all, _, err := s.Ranges(ctx, []string{topic}, since, time.Time{})
	if err == nil && all[topic] == nil {
		return nil, fmt.Errorf("topic %s does not exist: set kafka.prefix to that of the deployment, which makes it when it runs for the first time: %w", topic, kerr.UnknownTopicOrPartition)
	}
	return all[topic], err
}

// Lookup reads single records by their offsets. It is not safe for concurrent use.
type Lookup struct {
	client *kgo.Client
	near   map[topicPartition][]*kgo.Record // what was read with the record looked up last
}

// NewLookup opens a client, which does not connect yet.
func NewLookup(c Config) (*Lookup, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, fmt.Errorf("open reader of single records: %w", err)
	}
	return &Lookup{client, map[topicPartition][]*kgo.Record{}}, nil
}

// Close ends the client.
func (l *Lookup) Close() { l.client.Close() }

// lookupBytes is what is read at once, as it is in the log: the batch with the record, and
// of those behind it what fits.
const lookupBytes = 64 << 10

// At returns the committed record at an offset, or why there is none.
func (l *Lookup) At(ctx context.Context, topic string, partition int32, offset int64) (m Message, why string, err error) {
	at := topicPartition{topic, partition}
	if r := find(l.near[at], offset); r != nil {
		return recordMessage(r), "", nil
	}
	resp, err := fetchRaw(ctx, l.client, topic, partition, offset, lookupBytes)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return Message{}, fmt.Sprintf("there is no %s/%d", topic, partition), nil
	case errors.Is(err, kerr.OffsetOutOfRange):
		return l.outside(ctx, topic, partition, offset)
	case err != nil:
		return Message{}, "", err
	}
	// A log that was made again may end before.
	if offset >= resp.HighWatermark {
		return Message{}, fmt.Sprintf("%s/%d ends at offset %d: the topic was made again", topic, partition, resp.HighWatermark), nil
	}
	if resp.LastStableOffset >= 0 && offset >= resp.LastStableOffset {
		return Message{}, fmt.Sprintf("an open transaction begins at offset %d of %s/%d: try again when it has ended", resp.LastStableOffset, topic, partition), nil
	}
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: topic, Partition: partition, Offset: offset, IsolationLevel: kgo.ReadCommitted(),
	}, resp, kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		return Message{}, "", fmt.Errorf("read %s/%d at %d: %w", topic, partition, offset, got.Err)
	}
	clear(l.near)
	l.near[at] = got.Records
	if r := find(got.Records, offset); r != nil {
		return recordMessage(r), "", nil
	}
	return Message{}, fmt.Sprintf("%s/%d holds no record at offset %d: it was compacted, or its transaction was aborted", topic, partition, offset), nil
}

func find(records []*kgo.Record, offset int64) *kgo.Record {
	for _, r := range records {
		if r.Offset == offset {
			return r
		}
	}
	return nil
}

// outside says on which side of the log an offset lies.
func (l *Lookup) outside(ctx context.Context, topic string, partition int32, offset int64) (Message, string, error) {
	start, err := startOffset(ctx, l.client, topic, partition)
	if err != nil {
		return Message{}, "", err
	}
	if offset < start {
		return Message{}, fmt.Sprintf("records of %s/%d before offset %d were deleted", topic, partition, start), nil
	}
	end, err := endOffset(ctx, l.client, topic, partition)
	return Message{}, fmt.Sprintf("%s/%d ends at offset %d: the topic was made again", topic, partition, end), err
}

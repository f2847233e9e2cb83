package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A log may end with offsets that no reader is ever handed: a transaction
// marker that compaction removed, rows that compaction removed, an emptied
// batch. Whoever waits for a record at the last offset then waits for ever.
// tail asks the broker itself what sits between a reader and the end.

type tailState int

const (
	tailHasData tailState = iota // records are still to come: keep reading
	tailOpen                     // an open transaction holds the end back
	tailEmpty                    // nothing will ever come from here to the end
)

// tail inspects what a read_committed reader would get from offset from (the
// next it has not seen) up to end, which must not lie beyond the high
// watermark.
func tail(ctx context.Context, cl *kgo.Client, topic string, partition int32, from, end int64) (tailState, error) {
	for from < end {
		resp, err := fetchRaw(ctx, cl, topic, partition, from, fetchBytes)
		if errors.Is(err, kerr.OffsetOutOfRange) { // records were deleted
			first, listErr := startOffset(ctx, cl, topic, partition)
			if listErr != nil || first <= from {
				return tailHasData, errors.Join(err, listErr)
			}
			from = first
			continue
		}
		if err != nil {
			return tailHasData, err
		}
		if resp.LastStableOffset >= 0 && resp.LastStableOffset < end {
			return tailOpen, nil
		}
		next, data := skipEmpty(resp.RecordBatches, from)
		if data {
			return tailHasData, nil
		}
		if next == from { // the broker has nothing at or after from
			break
		}
		from = next
	}
	return tailEmpty, nil
}

// fetchRaw reads once from the partition's leader; see fetchFrom.
func fetchRaw(ctx context.Context, cl *kgo.Client, topic string, partition int32, from int64, bytes int32) (*kmsg.FetchResponseTopicPartition, error) {
	meta, err := kadm.NewClient(cl).Metadata(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", topic, err)
	}
	detail := meta.Topics[topic]
	if detail.Err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", topic, detail.Err)
	}
	at, there := detail.Partitions[partition]
	if !there {
		return nil, fmt.Errorf("metadata of %s/%d: %w", topic, partition, kerr.UnknownTopicOrPartition)
	}
	return fetchOnce(ctx, cl, fetchFrom{
		topic: topic, id: detail.ID, partition: partition, leader: at.Leader,
		offset: from, bytes: bytes, committed: true,
	})
}

// fetchThrottled is how often a broker may put off a client that is over its quota.
const fetchThrottled = 8

// fetchFrom says what one request is to fetch.
type fetchFrom struct {
	topic     string
	id        kadm.TopicID
	partition int32
	leader    int32
	offset    int64
	bytes     int32 // at most; but one batch in any case
	committed bool  // up to the last stable offset
	impatient bool  // with a broker that is away, as who then asks for another leader
}

// noAnswer is why a request had no answer.
type noAnswer struct{ error }

// Unwrap returns what went wrong.
func (e noAnswer) Unwrap() error { return e.error }

// fetchOnce makes one request, which does not wait for records.
func fetchOnce(ctx context.Context, cl *kgo.Client, f fetchFrom) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = 0, f.bytes, 0
	if f.committed {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = f.partition, f.offset, f.bytes
	p.CurrentLeaderEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = f.topic, f.id, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = []kmsg.FetchRequestTopic{t}
	failed := func(err error) error {
		return fmt.Errorf("fetch %s/%d at %d: %w", f.topic, f.partition, f.offset, err)
	}
	if f.leader < 0 {
		return nil, failed(kerr.LeaderNotAvailable)
	}
	ask := cl.Broker(int(f.leader)).RetriableRequest
	if f.impatient {
		ask = cl.Broker(int(f.leader)).Request
	}
	for range fetchThrottled {
		answer, err := ask(ctx, req)
		if err != nil {
			return nil, failed(noAnswer{err})
		}
		resp := answer.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, failed(err)
		}
		if len(resp.Topics) == 0 && resp.ThrottleMillis > 0 { // KIP-219; the client waits before it asks again
			continue
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return nil, failed(errors.New("the broker answered without the partition"))
		}
		got := &resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return nil, failed(err)
		}
		return got, nil
	}
	return nil, failed(fmt.Errorf("put off %d times, as this client is over its quota of the cluster (consumer_byte_rate, request_percentage): %w", fetchThrottled, kerr.ThrottlingQuotaExceeded))
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrEnough ends a Scan early, without an error.
var ErrEnough = errors.New("enough")

// Scan calls visit for every committed record of some spans of partitions, by topic: those
// of a partition in order, of several partitions as they come, from one goroutine. It
// returns the first error of visit, and nil after ErrEnough. What visit is handed must not
// be kept. Spans must end before what is not decided; see Ranges.
func Scan(ctx context.Context, c Config, parts map[string]map[int32]Span, visit func(m *Message) error) error {
	s := scan{left: map[topicPartition]Span{}, visit: visit}
	begin := map[string]map[int32]kgo.Offset{}
	for topic, spans := range parts {
		for p, span := range spans {
			if span.From >= span.To {
				continue
			}
			if begin[topic] == nil {
				begin[topic] = map[int32]kgo.Offset{}
			}
			begin[topic][p] = kgo.NewOffset().At(span.From)
			s.left[topicPartition{topic, p}] = span
		}
	}
	if len(s.left) == 0 {
		return nil
	}
	var err error
	s.client, err = c.NewClient(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // what was deleted is passed over
		kgo.ConsumePartitions(begin),
	)
	if err != nil {
		return fmt.Errorf("open reader of %d partitions: %w", len(s.left), err)
	}
	defer s.client.Close()
	if err := s.run(ctx); err != nil && !errors.Is(err, ErrEnough) {
		return err
	}
	return nil
}

// scan is one at work.
type scan struct {
	client *kgo.Client
	left   map[topicPartition]Span
	visit  func(m *Message) error
	m      Message
}

func (s *scan) run(ctx context.Context) error {
	for len(s.left) > 0 {
		poll, cancel := context.WithTimeout(ctx, 4*tailCheckInterval)
		fetches := s.client.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("%d partitions are not read to their ends: %w", len(s.left), ctx.Err())
		}
		var failed error
		fetches.EachError(func(topic string, p int32, e error) {
			if !errors.Is(e, context.DeadlineExceeded) && failed == nil {
				failed = fmt.Errorf("read %s/%d: %w", topic, p, e)
			}
		})
		moved := false
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			moved = moved || len(p.Records) > 0
			if failed == nil {
				failed = s.take(topicPartition{p.Topic, p.Partition}, p.Records)
			}
		})
		if failed == nil && !moved {
			failed = s.endEmpty(ctx)
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// take visits records of a partition.
func (s *scan) take(at topicPartition, records []*kgo.Record) error {
	span, reading := s.left[at]
	if !reading {
		return nil
	}
	for _, r := range records {
		if r.Offset < span.From {
			continue
		}
		if span.From = r.Offset + 1; r.Offset < span.To && !r.Attrs.IsControl() {
			s.m = recordMessage(r)
			if err := s.visit(&s.m); err != nil {
				return err
			}
		}
	}
	s.left[at] = span
	if span.From >= span.To {
		s.end(at)
	}
	return nil
}

func (s *scan) end(at topicPartition) {
	delete(s.left, at)
	s.client.PauseFetchPartitions(map[string][]int32{at.topic: {at.partition}})
}

// endEmpty ends the partitions at whose ends nothing lies that is ever handed on.
func (s *scan) endEmpty(ctx context.Context) error {
	for at, span := range s.left {
		state, err := tail(ctx, s.client, at.topic, at.partition, span.From, span.To)
		if err != nil {
			return err
		}
		if state == tailEmpty {
			s.end(at)
		}
	}
	return nil
}

package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/window"
)

// DeadLetters opens the side topics of a deployment, whether it runs or not. Its topics are
// those of DeadLetterTopics. close must be called.
func DeadLetters(o Options) (box *deadletters.Box, close func(), err error) {
	lookup, err := kafka.NewLookup(o.Kafka)
	if err != nil {
		return nil, nil, err
	}
	sender, err := kafka.NewResender(o.Kafka)
	if err != nil {
		lookup.Close()
		return nil, nil, err
	}
	box = &deadletters.Box{
		Log: &sideLog{o.Kafka, lookup},
		Send: func(ctx context.Context, records []deadletters.Record) ([]error, error) {
			list := make([]kafka.Message, len(records))
			for i, r := range records {
				list[i] = kafka.Message(r)
			}
			return sender.Resend(ctx, list)
		},
		Judge: func(ctx context.Context) (*deadletters.Judge, error) { return newLetterJudge(ctx, &o) },
		Now:   o.Clock.Wall,
	}
	return box, func() { lookup.Close(); sender.Close() }, nil
}

// DeadLetterTopics returns the topics of the dead letters and of the late records.
func DeadLetterTopics(o Options) (dlq, late string) { return o.names().DLQ(), o.names().Late() }

// deadLettersHandler serves them.
func deadLettersHandler(o *Options) http.Handler {
	dlq, late := DeadLetterTopics(*o)
	return api.Handler(api.Options{
		Open: func() (*deadletters.Box, func(), error) { return DeadLetters(*o) }, DLQ: dlq, Late: late, Content: o.HTTPContent,
	})
}

// sideLog reads the topics of letters and of their originals.
type sideLog struct {
	config kafka.Config
	lookup *kafka.Lookup
}

// Spans implements deadletters.Log.
func (s *sideLog) Spans(ctx context.Context, topic string, since time.Time) (deadletters.Spans, error) {
	found, err := kafka.CommittedSpans(ctx, s.config, topic, since)
	spans := deadletters.Spans{}
	for p, one := range found {
		spans[p] = deadletters.Span(one)
	}
	return spans, err
}

// Read implements deadletters.Log.
func (s *sideLog) Read(ctx context.Context, topic string, partition int32, span deadletters.Span, visit func(deadletters.Record) error) error {
	return kafka.Read(ctx, s.config, topic, partition, span.From, span.To, func(m kafka.Message) error { return visit(deadletters.Record(m)) })
}

// At implements deadletters.Log.
func (s *sideLog) At(ctx context.Context, p deadletters.Place) (deadletters.Record, string, error) {
	m, why, err := s.lookup.At(ctx, p.Topic, p.Partition, p.Offset)
	return deadletters.Record(m), why, err
}

// newLetterJudge returns what judges by how far the deployment has come, as its groups have
// committed it: so it does not matter whether the program runs. It goes on from there, so
// what is late by this is late.
func newLetterJudge(ctx context.Context, o *Options) (*deadletters.Judge, error) {
	counts, err := kafka.PartitionCounts(ctx, o.Kafka, o.Sources)
	if err != nil {
		return nil, err
	}
	streams := map[window.Partition]int64{}
	for _, topic := range o.Sources {
		n, told := counts[topic]
		if !told {
			return nil, fmt.Errorf("the cluster does not tell the partitions of %s now: try again, and see whether this user may describe it", topic)
		}
		if n == 0 {
			continue
		}
		offsets, err := kafka.GroupOffsets(ctx, o.Kafka, o.names().IngestGroup(topic), topic)
		if err != nil {
			return nil, err
		}
		for p, c := range offsets {
			if at, ok := processors.StreamTime(c.Metadata); ok {
				streams[window.Partition{Topic: topic, Partition: p}] = at
			}
		}
	}
	closed, err := closedPanes(ctx, o)
	if err != nil {
		return nil, err
	}
	return &deadletters.Judge{
		Partitions: counts, MaxBytes: o.MaxRecord, MaxFuture: o.MaxFuture, Panes: o.panes(), Now: o.Clock.Wall,
		StreamTime: func(topic string, partition int32) int64 {
			if at, known := streams[window.Partition{Topic: topic, Partition: partition}]; known {
				return at
			}
			return window.None
		},
		Closed: func(route []byte) int64 { return closedFor(closed, route) },
	}, nil
}

// closedPanes returns, by partition of the events topic, the newest pane that is closed;
// window.None where nobody knows.
func closedPanes(ctx context.Context, o *Options) ([]int64, error) {
	events := o.names().Events()
	counts, err := kafka.PartitionCounts(ctx, o.Kafka, []string{events})
	if err != nil {
		return nil, err
	}
	if counts[events] == 0 {
		return nil, fmt.Errorf("topic %s cannot be seen, so nobody knows what is late: set kafka.prefix to that of the deployment, and see whether this user may describe its topics", events)
	}
	offsets, err := kafka.GroupOffsets(ctx, o.Kafka, o.names().AssembleGroup(), events)
	if err != nil {
		return nil, err
	}
	closed := make([]int64, counts[events])
	for p := range closed {
		closed[p] = window.None
		if at, ok := processors.ClosedThrough(offsets[int32(p)].Metadata); ok {
			closed[p] = at
		}
	}
	return closed, nil
}

// closedFor returns the newest pane that is closed wherever the events of a routing key may
// go.
func closedFor(closed []int64, route []byte) int64 {
	if len(route) > 0 {
		return closed[processors.EventPartition(route, int32(len(closed)))]
	}
	oldest := closed[0]
	for _, at := range closed {
		oldest = min(oldest, at)
	}
	return oldest
}

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
	"ragstreams/processors"
	"ragstreams/window"
)

// askReplay asks for a replay and tells what became of each record.
func askReplay(ctx context.Context, w World, args []string) (string, error) {
	wish := api.Wish{By: "scenario"}
	of := ""
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "late":
			wish.Topic = "late"
		case "dry":
			wish.DryRun = true
		case "force":
			wish.Force = true
		case "reason":
			wish.Reason = value
		case "of":
			of = value
		case "value":
			text, err := strconv.Unquote(value)
			if err != nil {
				return "", fmt.Errorf("%s is no Go string: %w", value, err)
			}
			wish.Value = &text
		default:
			return "", fmt.Errorf("%s: want late, dry, force, reason=, of=TOPIC/PARTITION@OFFSET or value=", a)
		}
	}
	if of != "" {
		if err := findLetter(ctx, w, of, &wish); err != nil {
			return "", err
		}
	}
	body, err := json.Marshal(wish)
	if err != nil {
		return "", err
	}
	status, answer, err := w.Post(ctx, "/api/dlq/replay", string(body))
	if err != nil || status != http.StatusOK {
		return "", errors.Join(fmt.Errorf("status %d: %s", status, strings.TrimSpace(answer)), err)
	}
	var result api.Result
	if err := json.Unmarshal([]byte(answer), &result); err != nil {
		return "", err
	}
	if !wish.DryRun {
		for topic, n := range result.SentTo {
			w.Replayed(topic, n)
		}
	}
	return replayText(&result), nil
}

// findLetter names the newest letter whose original lies at a place of a source.
func findLetter(ctx context.Context, w World, of string, wish *api.Wish) error {
	status, body, err := w.Get(ctx, "/api/dlq?limit=1000&topic="+wish.Topic)
	if err != nil || status != http.StatusOK {
		return errors.Join(fmt.Errorf("status %d: %s", status, strings.TrimSpace(body)), err)
	}
	var list api.List
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return err
	}
	for i := range list.Rows {
		r := &list.Rows[i]
		if (deadletters.Place{Topic: r.SourceTopic, Partition: r.SourcePartition, Offset: r.SourceOffset}).String() == of {
			wish.Partition, wish.Offset = &r.Partition, &r.Offset
			return nil
		}
	}
	return fmt.Errorf("no record there has its original at %s", of)
}

func replayText(r *api.Result) string {
	var lines []string
	for _, o := range r.Rows {
		line := fmt.Sprintf("%s/%d@%d %s", o.SourceTopic, o.SourcePartition, o.SourceOffset, o.Verdict)
		if o.Why != "" {
			line += ": " + o.Why
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(append(lines, fmt.Sprintf("sent %d, skipped %d, failed %d", r.Sent, sum(r.Skipped), sum(r.Failed))), "\n")
}

func sum(counts map[deadletters.Verdict]int) (n int) {
	for _, one := range counts {
		n += one
	}
	return n
}

// Replayed implements World: its records are read like all others.
func (t *Topology) Replayed(string, int) {}

// lettersHandler serves the side topics of the topology.
func (t *Topology) lettersHandler() http.Handler {
	return api.Handler(api.Options{Content: true, DLQ: t.names.DLQ(), Late: t.names.Late(), Open: func() (*deadletters.Box, func(), error) {
		return &deadletters.Box{
			Log: sideLog{t}, Now: t.clock().Wall,
			Send: func(_ context.Context, records []deadletters.Record) ([]error, error) {
				for _, r := range records {
					at := topicPartition{r.Topic, r.Partition}
					t.logs[at] = append(t.logs[at], logged{r.Key, r.Value, r.Headers, r.Timestamp})
				}
				return make([]error, len(records)), nil
			},
			Judge: func(context.Context) (*deadletters.Judge, error) { return t.judge(), nil },
		}, func() {}, nil
	}})
}

// judge judges by what the stages have committed.
func (t *Topology) judge() *deadletters.Judge {
	metadata := map[topicPartition]string{}
	for _, r := range t.readers {
		metadata[r.from] = r.metadata
	}
	partitions := map[string]int32{}
	for _, s := range t.given.Sources {
		partitions[s.Topic] = s.Partitions
	}
	closed := func(partition int32) int64 {
		at, ok := processors.ClosedThrough(metadata[topicPartition{t.names.Events(), partition}])
		if !ok {
			return window.None
		}
		return at
	}
	return &deadletters.Judge{
		Partitions: partitions, MaxFuture: t.given.MaxFuture, Panes: t.panes, Now: t.clock().Wall,
		StreamTime: func(topic string, partition int32) int64 {
			at, ok := processors.StreamTime(metadata[topicPartition{topic, partition}])
			if !ok {
				return window.None
			}
			return at
		},
		Closed: func(route []byte) int64 {
			if len(route) > 0 {
				return closed(processors.EventPartition(route, t.given.Partitions))
			}
			oldest := closed(0)
			for p := range t.given.Partitions {
				oldest = min(oldest, closed(p))
			}
			return oldest
		},
	}
}

// sideLog reads the logs of a topology.
type sideLog struct{ t *Topology }

// Spans implements deadletters.Log.
func (s sideLog) Spans(_ context.Context, topic string, _ time.Time) (deadletters.Spans, error) {
	spans := deadletters.Spans{}
	for p := range s.t.given.Partitions {
		spans[p] = deadletters.Span{To: int64(len(s.t.logs[topicPartition{topic, p}]))}
	}
	return spans, nil
}

// Read implements deadletters.Log.
func (s sideLog) Read(ctx context.Context, topic string, partition int32, span deadletters.Span, visit func(deadletters.Record) error) error {
	for offset := span.From; offset < span.To; offset++ {
		r, _, err := s.At(ctx, deadletters.Place{Topic: topic, Partition: partition, Offset: offset})
		if err == nil {
			err = visit(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// At implements deadletters.Log.
func (s sideLog) At(_ context.Context, p deadletters.Place) (deadletters.Record, string, error) {
	log := s.t.logs[topicPartition{p.Topic, p.Partition}]
	if p.Offset >= int64(len(log)) {
		return deadletters.Record{}, "it was never there", nil
	}
	l := log[p.Offset]
	return deadletters.Record{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset, Timestamp: l.timestamp, Key: l.key, Value: l.value, Headers: l.headers}, "", nil
}

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ragstreams/generate"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// traffic writes generated records to the source topics of a deployment, and
// remembers those that must turn up on a side topic.
type traffic struct {
	d *deployment
	// place, when set, chooses another partition than the generator did. It must
	// put whole partitions together, or what is late is not certain any more.
	place func(topic string, partition int32) int32

	mu   sync.Mutex
	side map[string]map[origin]sent // by outcome, late or poison
	err  error
}

// origin is where a source record lies.
type origin struct {
	topic     string
	partition int32
	offset    int64
}

// sent is what a source record holds.
type sent struct {
	key, value []byte
	reason     string
}

// mark is a header of every source record; side topics must keep it.
var mark = kgo.RecordHeader{Key: "producer", Value: []byte("e2e")}

func (d *deployment) traffic() *traffic {
	return &traffic{d: d, side: map[string]map[origin]sent{generate.Late: {}, generate.Poison: {}}}
}

func (w *traffic) send(r generate.Record) {
	rec := &kgo.Record{
		Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp,
		Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: []kgo.RecordHeader{mark},
	}
	if w.place != nil {
		rec.Partition = w.place(r.Topic, r.Partition)
	}
	outcome, reason := r.Outcome, r.Reason
	// What is sent is in the truth: it must arrive even when the test is ending.
	w.d.client.Produce(context.WithoutCancel(w.d.t.Context()), rec, func(rec *kgo.Record, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil && w.err == nil {
			w.err = fmt.Errorf("produce to %s/%d: %w", rec.Topic, rec.Partition, err)
		}
		if side := w.side[outcome]; side != nil {
			side[origin{rec.Topic, rec.Partition, rec.Offset}] = sent{rec.Key, rec.Value, reason}
		}
	})
}

// flush waits until all records have arrived.
func (w *traffic) flush() {
	w.d.t.Helper()
	err := w.d.client.Flush(w.d.t.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(err, w.err); err != nil {
		w.d.t.Fatal(err)
	}
}

// all sends n records as fast as it can.
func (w *traffic) all(g *generate.Generator, n int) {
	w.d.t.Helper()
	for range n {
		w.send(g.Next())
	}
	w.flush()
}

// committed returns the committed records of a topic, by partition and in order.
func (d *deployment) committed(ctx context.Context, topic string) (map[int32][]*kgo.Record, error) {
	ends, err := d.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	left, start := map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			err = o.Err
		}
		if o.Offset > 0 {
			left[o.Partition], start[o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(d.broker.Addresses()...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: start}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	records := map[int32][]*kgo.Record{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, open := left[r.Partition]; open && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
		})
	}
	return records, nil
}

// checkSideTopics checks that every late and every poison record lies once on
// its topic, as it was sent, and nothing else does.
func (w *traffic) checkSideTopics(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for outcome, topic := range map[string]string{generate.Late: w.d.prefix + "late", generate.Poison: w.d.prefix + "dlq"} {
		partitions, err := w.d.committed(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[origin]int{}
		for _, records := range partitions {
			for _, r := range records {
				at, headers := originOf(t, r)
				seen[at]++
				want, known := w.side[outcome][at]
				if !known {
					t.Errorf("%s holds the record %+v, which is not %s", topic, at, outcome)
				} else if err := unchanged(r, headers, want); err != nil {
					t.Errorf("%s, record %+v: %v", topic, at, err)
				}
			}
		}
		for at := range w.side[outcome] {
			if seen[at] != 1 {
				t.Errorf("%s holds the record %+v %d times, want once", topic, at, seen[at])
			}
		}
		t.Logf("%s: %d records", topic, len(seen))
	}
}

func originOf(t testing.TB, r *kgo.Record) (origin, map[string]string) {
	t.Helper()
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	partition, err1 := strconv.ParseInt(headers["source_partition"], 10, 32)
	offset, err2 := strconv.ParseInt(headers["source_offset"], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%s/%d at %d: headers %v: %v", r.Topic, r.Partition, r.Offset, headers, err)
	}
	return origin{headers["source_topic"], int32(partition), offset}, headers
}

func unchanged(r *kgo.Record, headers map[string]string, want sent) error {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	switch {
	case !same(r.Key, want.key):
		return fmt.Errorf("key is %q (nil: %v), want %q (nil: %v)", r.Key, r.Key == nil, want.key, want.key == nil)
	case !same(r.Value, want.value):
		return fmt.Errorf("value is %.200q (nil: %v), want %.200q (nil: %v)", r.Value, r.Value == nil, want.value, want.value == nil)
	case headers["reason"] == "" || want.reason != "" && headers["reason"] != want.reason:
		return fmt.Errorf("reason is %q, want %q", headers["reason"], want.reason)
	case !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == mark.Key && bytes.Equal(h.Value, mark.Value) }):
		return fmt.Errorf("the header %s=%s is lost", mark.Key, mark.Value)
	}
	return nil
}

// startOf returns the time of the first of so many records, such that the last is
// sent now minus a minute.
func startOf(n int, step time.Duration) time.Time {
	return time.Now().Add(-time.Duration(n)*step - time.Minute).Truncate(time.Second)
}

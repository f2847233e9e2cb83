//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/e2e/servers"
	"ragstreams/kafka"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// eager lets a broker compact at once whatever it may, and keep nothing for
// readers that are on their way or for producers that may come back.
const eager = `log.cleaner.backoff.ms=50
log.cleaner.min.cleanable.ratio=0.001
log.cleaner.delete.retention.ms=0
producer.id.expiration.ms=1000
`

// TestCompactedEnd: compaction has removed the marker at the very end of a
// changelog, and the rows before it. All that wait for the end find it.
//
// A cleaner never touches the active segment, so the log gets another one, which
// is empty.
func TestCompactedEnd(t *testing.T) {
	own := ownBroker(t, "kafka-compacting", eager)
	c := kafka.Config{Brokers: []string{own.Address}}

	const committed, aborted = "ends-with-commit", "ends-with-abort"
	for _, topic := range []string{committed, aborted} {
		if _, err := kafka.EnsureTopics(t.Context(), c, 1, []kafka.Topic{{Name: topic, Partitions: 1, Create: true, Compact: true}}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]map[string]string{
		committed: {"a": "1", "b": "1", "c": "2"},
		aborted:   {"a": "1", "b": "1", "c": "1"},
	}
	begin(t, c, committed, time.Minute, "a=1", "b=1").end(kgo.TryCommit)
	// The row of the transaction that ends last is superseded by the one that ends
	// before it.
	last := begin(t, c, committed, time.Minute, "c=1")
	begin(t, c, committed, time.Minute, "c=2").end(kgo.TryCommit)
	last.end(kgo.TryCommit)
	begin(t, c, aborted, time.Minute, "a=1", "b=1", "c=1").end(kgo.TryCommit)
	begin(t, c, aborted, time.Minute, "c=2", "d=2").end(kgo.TryAbort)

	check := func(left string) {
		t.Helper()
		for topic, rows := range want {
			for way, read := range map[string]reader{"a view": restoreView, "Read": readAll, "a follower": followAll} {
				t.Run(fmt.Sprintf("%s of %s, %s is left", way, topic, left), func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					got, err := read(ctx, c, topic)
					if err != nil || !maps.Equal(got, rows) {
						t.Errorf("rows = %v, error %v, want %v", got, err, rows)
					}
				})
			}
		}
	}
	compact(t, own, c, committed, aborted)
	check(emptied)
	cutOff(t, own, c, committed, aborted)
	check(nothing)
}

// openTransaction is one that has written rows.
type openTransaction struct {
	t      testing.TB
	client *kgo.Client
	c      kafka.Config
	topic  string
}

// begin writes rows, each as key=value, in a transaction of a producer of its own,
// which the broker ends after timeout.
func begin(t testing.TB, c kafka.Config, topic string, timeout time.Duration, rows ...string) openTransaction {
	t.Helper()
	client, err := c.NewClient(kgo.TransactionalID(fmt.Sprint(topic, time.Now().UnixNano())), kgo.TransactionTimeout(timeout))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		key, value, _ := strings.Cut(row, "=")
		record := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return openTransaction{t, client, c, topic}
}

// end waits for the marker: a broker that says that a transaction has ended has yet
// to write it, and meanwhile takes rows and markers of other transactions.
func (o openTransaction) end(how kgo.TransactionEndTry) {
	o.t.Helper()
	defer o.client.Close()
	before, err := kafka.EndOffsets(o.t.Context(), o.c, o.topic)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.client.EndTransaction(o.t.Context(), how); err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, 30*time.Second, "the marker is written", func(ctx context.Context) error {
		after, err := kafka.EndOffsets(ctx, o.c, o.topic)
		if err == nil && maps.Equal(after, before) {
			err = fmt.Errorf("%s still ends at %v", o.topic, after)
		}
		return err
	})
}

// compact has a broker clean topics of one partition to their end, until an
// emptied batch is all that is left at their last offsets.
func compact(t testing.TB, k *servers.Kafka, c kafka.Config, topics ...string) {
	t.Helper()
	data := filepath.Join(k.Dir, "0", "data")
	ends := endsOf(t, c, topics)
	// A round removes rows, the next gives markers without rows a time to live, and
	// one more removes them when that is over.
	for range 4 {
		if err := k.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for topic, end := range ends {
			segment := filepath.Join(data, topic+"-0", fmt.Sprintf("%020d.log", end))
			if err := os.WriteFile(segment, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		// Without it the broker takes the whole log for dirty.
		checkpoint := filepath.Join(data, "cleaner-offset-checkpoint")
		if err := os.Remove(checkpoint); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, "the broker has cleaned the topics", func(context.Context) error {
			text, err := os.ReadFile(checkpoint)
			for topic, end := range ends {
				if line := fmt.Sprintf("%s 0 %d\n", topic, end); err == nil && !strings.Contains(string(text), line) {
					err = fmt.Errorf("no line %q in %q", line, text)
				}
			}
			return err
		})
		if left := leftAtEnd(t, c, ends); !slices.ContainsFunc(topics, func(topic string) bool { return left[topic] != emptied }) {
			return
		}
	}
	for _, topic := range topics {
		batches, err := batchesFrom(t.Context(), c, topic, 0)
		if err != nil {
			t.Error(err)
		}
		for _, b := range batches {
			t.Logf("%s: from %d to %d, %d records, attributes %b, producer %d, time %d to %d", topic, b.FirstOffset,
				b.FirstOffset+int64(b.LastOffsetDelta), b.NumRecords, b.Attributes, b.ProducerID, b.FirstTimestamp, b.MaxTimestamp)
		}
	}
	t.Fatal("the broker does not remove the markers")
}

// cutOff removes the emptied batches at the ends, which brokers older than 4.0
// (KAFKA-17076) do not leave.
func cutOff(t testing.TB, k *servers.Kafka, c kafka.Config, topics ...string) {
	t.Helper()
	ends := endsOf(t, c, topics)
	if err := k.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for topic, end := range ends {
		segment := filepath.Join(k.Dir, "0", "data", topic+"-0", fmt.Sprintf("%020d.log", 0))
		text, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		var last kmsg.RecordBatch
		for rest := text; len(rest) > 0; rest = text[size:] {
			last = kmsg.RecordBatch{}
			if err := last.ReadFrom(rest); err != nil {
				t.Fatal(err)
			}
			if last.NumRecords == 0 && last.FirstOffset+int64(last.LastOffsetDelta) == end-1 {
				break
			}
			size += 12 + int(last.Length)
		}
		if size == len(text) {
			t.Fatalf("%s has no emptied batch at its end", topic)
		}
		if err := os.Truncate(segment, int64(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for topic, left := range leftAtEnd(t, c, ends) {
		if left != nothing {
			t.Fatalf("at the last offset of %s lies %s", topic, left)
		}
	}
}

func endsOf(t testing.TB, c kafka.Config, topics []string) map[string]int64 {
	t.Helper()
	ends := map[string]int64{}
	for _, topic := range topics {
		var err error
		if ends[topic], err = kafka.EndOffset(t.Context(), c, topic, 0); err != nil {
			t.Fatal(err)
		}
	}
	return ends
}

// leftAtEnd returns what lies at the last offset of each topic; the ends must not
// have moved.
func leftAtEnd(t testing.TB, c kafka.Config, ends map[string]int64) map[string]string {
	t.Helper()
	if now := endsOf(t, c, slices.Collect(maps.Keys(ends))); !maps.Equal(now, ends) {
		t.Fatalf("topics end at %v, want %v", now, ends)
	}
	left := map[string]string{}
	for topic, end := range ends {
		var err error
		if left[topic], err = lies(t.Context(), c, topic, end-1); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("at the last offsets: %v", left)
	return left
}

// What a fetch finds at an offset.
const (
	records = "a batch with records" // or with a marker
	emptied = "an emptied batch"
	nothing = "nothing"
)

// lies asks the broker what there is at an offset or after it, committed or not.
func lies(ctx context.Context, c kafka.Config, topic string, offset int64) (string, error) {
	batches, err := batchesFrom(ctx, c, topic, offset)
	if err != nil {
		return "", err
	}
	found := nothing
	for _, batch := range batches {
		if batch.FirstOffset+int64(batch.LastOffsetDelta) < offset {
			continue
		}
		if batch.NumRecords > 0 {
			return records, nil
		}
		found = emptied
	}
	return found, nil
}

// batchesFrom returns the batches of partition 0 from the one on that holds offset.
func batchesFrom(ctx context.Context, c kafka.Config, topic string, offset int64) ([]kmsg.RecordBatch, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	meta, err := kadm.NewClient(client).Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
	of := kmsg.NewFetchRequestTopic()
	of.Topic, of.TopicID, of.Partitions = topic, meta.Topics[topic].ID, []kmsg.FetchRequestTopicPartition{p}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch, req.Topics = 1<<20, -1, []kmsg.FetchRequestTopic{of}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch %s at %d: %w", topic, offset, err)
	}
	var batches []kmsg.RecordBatch
	for rest := got.RecordBatches; len(rest) > 0; {
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(rest); err != nil {
			return nil, fmt.Errorf("fetch %s at %d: %w", topic, offset, err)
		}
		batches = append(batches, batch)
		rest = rest[12+batch.Length:]
	}
	return batches, nil
}

// reader returns the rows that a topic of one partition holds.
type reader func(ctx context.Context, c kafka.Config, topic string) (map[string]string, error)

// restoreView reads as the tables and their stores are restored.
func restoreView(ctx context.Context, c kafka.Config, topic string) (map[string]string, error) {
	rows := map[string]string{}
	view, err := goka.NewView(c.Brokers, goka.Table(topic), codecs.Raw{},
		goka.WithViewConsumerSaramaBuilder(kafka.ConsumerBuilder(c, 5*time.Second)),
		goka.WithViewTopicManagerBuilder(kafka.TopicManagerBuilder(c)),
		goka.WithViewStorageBuilder(kafka.ViewStorage()),
		goka.WithViewHasher(kafka.Hasher),
		goka.WithViewLogger(kafka.GokaLogger(slog.New(slog.DiscardHandler))),
		goka.WithViewCallback(kafka.SkipControl(func(_ int32, _ int64, key string, value []byte) error {
			if value != nil { // else it is not a row
				rows[key] = string(value)
			}
			return nil
		})),
	)
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- view.Run(reading) }()
	select {
	case <-view.WaitRunning():
		stop()
		return rows, <-ended
	case err := <-ended:
		return nil, errors.Join(errors.New("the view is not restored"), err)
	}
}

// readAll reads as ids are read again.
func readAll(ctx context.Context, c kafka.Config, topic string) (map[string]string, error) {
	end, err := kafka.EndOffset(ctx, c, topic, 0)
	if err != nil {
		return nil, err
	}
	rows := map[string]string{}
	return rows, kafka.Read(ctx, c, topic, 0, 0, end, func(m kafka.Message) error {
		rows[string(m.Key)] = string(m.Value)
		return nil
	})
}

// followAll reads as closed windows are.
func followAll(ctx context.Context, c kafka.Config, topic string) (map[string]string, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	rows, caughtUp := map[string]string{}, false
	err := kafka.Follower{
		Config: c, Topics: []string{topic},
		Visit:    func(m kafka.Message) { rows[string(m.Key)] = string(m.Value) },
		CaughtUp: func() { caughtUp = true; stop() },
	}.Run(reading)
	if err == nil && !caughtUp {
		err = errors.New("the follower has not caught up")
	}
	return rows, err
}

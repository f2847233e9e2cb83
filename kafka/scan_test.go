package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// makeTopic makes a topic of one replica.
func makeTopic(t *testing.T, client *kgo.Client, topic string, partitions int32) {
	t.Helper()
	if resp, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil || resp.Err != nil {
		t.Fatal(err, resp.Err)
	}
}

// scanned is a topic of three partitions with ten records each, a second apart.
func scanned(t *testing.T) (Config, string) {
	t.Helper()
	c := broker(t)
	topic, _, _ := names(t)
	client, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	makeTopic(t, client, topic, 3)
	for second := range 10 { // each record in a batch of its own
		var records []*kgo.Record
		for p := range 3 {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(p), Timestamp: time.Unix(1_700_000_000+int64(second), 0), Value: fmt.Append(nil, 3*second+p)})
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return c, topic
}

// newScanner opens one that ends with the test.
func newScanner(t *testing.T, c Config) *Scanner {
	t.Helper()
	s, err := NewScanner(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestScanReadsSpans(t *testing.T) {
	c, topic := scanned(t)
	var got []string
	_, err := newScanner(t, c).Scan(t.Context(), map[string]map[int32]Span{topic: {0: {2, 5}, 1: {0, 0}, 2: {8, 10}}}, nil, func(m *Message) error {
		got = append(got, fmt.Sprintf("%d@%d=%s", m.Partition, m.Offset, m.Value))
		return nil
	})
	slices.Sort(got)
	if want := []string{"0@2=6", "0@3=9", "0@4=12", "2@8=26", "2@9=29"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("read %v, %v, want %v", got, err, want)
	}
}

func TestScanEnds(t *testing.T) {
	c, topic := scanned(t)
	all, reader := map[string]map[int32]Span{topic: {0: {0, 10}, 1: {0, 10}}}, newScanner(t, c)
	enough, n := errors.New("enough"), 0
	_, err := reader.Scan(t.Context(), all, nil, func(*Message) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 3 {
		t.Errorf("it ends with %v after %d records, want it to end with %v after 3", err, n, enough)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := reader.Scan(ctx, all, nil, func(*Message) error { cancel(); return nil }); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("when its context ends: %v", err)
	}
	if _, err := reader.Scan(ctx, all, nil, func(*Message) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// Of what was deleted, or aborted, nothing is waited for.
func TestScanPassesHoles(t *testing.T) {
	c, topic := scanned(t)
	client, err := c.NewClient(kgo.TransactionalID(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 1, Value: []byte("aborted")})
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if err := Purge(t.Context(), c, topic, map[int32]int64{0: 10}); err != nil {
		t.Fatal(err)
	}
	reader := newScanner(t, c)
	ranges, _, err := reader.Ranges(t.Context(), []string{topic, topic + "x"}, time.Time{}, time.Time{})
	if err != nil || len(ranges) != 1 || ranges[topic][0] != (Span{10, 10}) || ranges[topic][1] != (Span{0, 12}) {
		t.Fatalf("ranges %v, %v", ranges, err)
	}
	ranges[topic][0] = Span{0, 10}
	n := 0
	if _, err := reader.Scan(t.Context(), ranges, nil, func(*Message) error { n++; return nil }); err != nil || n != 20 {
		t.Errorf("%d records, %v, want those of two partitions", n, err)
	}
}

// A span may reach behind the end of a log, as after a topic was made again.
func TestScanBehindTheEnd(t *testing.T) {
	c, topic := scanned(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for span, want := range map[Span]int{{8, 20}: 2, {10, 20}: 0, {15, 20}: 0} {
		n := 0
		if _, err := newScanner(t, c).Scan(ctx, map[string]map[int32]Span{topic: {1: span}}, nil, func(*Message) error { n++; return nil }); err != nil || n != want {
			t.Errorf("%v has %d records, %v, want %d", span, n, err, want)
		}
	}
}

// large is a topic of one partition, of whose eight records each takes a request, on three
// brokers that the test controls. Nothing of it leaves the process, so that it fits synctest.
func large(t *testing.T) (*kfake.Cluster, *Scanner, map[string]map[int32]Span) {
	t.Helper()
	return largeUnless(t, func() bool { return false })
}

// largeUnless is large, with a Scanner that may be refused every connection.
func largeUnless(t *testing.T, refused func() bool) (*kfake.Cluster, *Scanner, map[string]map[int32]Span) {
	t.Helper()
	var network kfake.VirtualNetwork
	cluster, err := kfake.NewCluster(kfake.ListenFn(network.Listen), kfake.Ports(1, 2, 3), kfake.SeedTopics(1, "large"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	connect := func(refused func() bool) *kgo.Client {
		client, err := Config{Brokers: cluster.ListenAddrs()}.NewClient(kgo.Dialer(func(ctx context.Context, over, address string) (net.Conn, error) {
			conn, err := network.DialContext(ctx, over, address)
			if err != nil || refused() {
				return nil, &net.OpError{Op: "dial", Net: over, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return conn, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	producer := connect(func() bool { return false })
	for range 8 {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "large", Value: []byte(rand.Text())}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		r.(*kmsg.FetchRequest).MaxBytes = 1 // which one batch is in any case
		return nil, nil, false
	})
	return cluster, &Scanner{client: connect(refused)}, map[string]map[int32]Span{"large": {0: {0, 8}}}
}

// fetched answers every fetch as a function says, where that says anything.
func fetched(cluster *kfake.Cluster, answer func(number int, p *kmsg.FetchResponseTopicPartition) bool) (asked func() int) {
	var n atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		topic, p := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		if !answer(int(n.Add(1)), &p) {
			return nil, nil, false
		}
		topic.Topic, topic.TopicID, topic.Partitions = req.Topics[0].Topic, req.Topics[0].TopicID, []kmsg.FetchResponseTopicPartition{p}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	return func() int { return int(n.Load()) }
}

func TestScanFollowsTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		var got []int64
		_, err := reader.Scan(t.Context(), all, nil, func(m *Message) error {
			if got = append(got, m.Offset); m.Offset%3 == 0 {
				return cluster.MoveTopicPartition("large", 0, (cluster.LeaderFor("large", 0)+1)%3)
			}
			return nil
		})
		if want := []int64{0, 1, 2, 3, 4, 5, 6, 7}; err != nil || !slices.Equal(got, want) {
			t.Errorf("read %v, %v, want %v", got, err, want)
		}
	})
}

// A partition that nobody leads is given up, but not one that moves now and then.
func TestScanIsPatient(t *testing.T) {
	moves := func(p *kmsg.FetchResponseTopicPartition) bool {
		p.ErrorCode = kerr.NotLeaderForPartition.Code
		return true
	}
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		const once = int(scanPatience/scanPause) / 2
		fetched(cluster, func(number int, p *kmsg.FetchResponseTopicPartition) bool { return number%once != 0 && moves(p) })
		n := 0
		if _, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return nil }); err != nil || n != 8 {
			t.Errorf("%d records, %v, want all when one request of %d is answered", n, err, once)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		fetched(cluster, func(_ int, p *kmsg.FetchResponseTopicPartition) bool { return moves(p) })
		ctx, cancel := context.WithTimeout(t.Context(), 2*scanPatience)
		defer cancel()
		if _, err := reader.Scan(ctx, all, nil, nil); !errors.Is(err, kerr.NotLeaderForPartition) || ctx.Err() != nil {
			t.Errorf("%v, want it given up after %v", err, scanPatience)
		}
	})
}

// A leader that is new may not know yet how far the log is committed.
func TestScanOfALeaderThatIsBehind(t *testing.T) {
	cluster, reader, all := large(t)
	fetched(cluster, func(number int, p *kmsg.FetchResponseTopicPartition) bool {
		p.HighWatermark, p.LastStableOffset = 3, 3
		return number == 4 || number == 5
	})
	n := 0
	if _, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return nil }); err != nil || n != 8 {
		t.Errorf("%d records, %v, want all", n, err)
	}
}

// What cannot be read is an error, and not the end of the log.
func TestScanOfBrokenRecords(t *testing.T) {
	cluster, reader, all := large(t)
	fetched(cluster, func(_ int, p *kmsg.FetchResponseTopicPartition) bool {
		p.RecordBatches = make([]byte, batchHeaderSize) // with a wrong checksum
		binary.BigEndian.PutUint32(p.RecordBatches[batchLengthAt:], batchHeaderSize-batchLengthAt-4)
		p.RecordBatches[16] = 2 // the version
		p.RecordBatches[batchAttributesAt+1] = byte(kgo.CodecGzip)
		return true
	})
	for name, may := range map[string]func([]byte) bool{"all": nil, "none": func([]byte) bool { return false }} {
		if _, err := reader.Scan(t.Context(), all, may, nil); err == nil || !strings.Contains(err.Error(), "read large/0 at 0") {
			t.Errorf("error is %v, where %s are wanted", err, name)
		}
	}
}

// Ranges that cannot be told are an error, and not left out.
func TestRangesThatCannotBeTold(t *testing.T) {
	cluster, reader, _ := large(t)
	const start, end, committed, first, second = -2, -1, -3, 1_000, 2_000
	var bad int64 // what is not told
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := r.(*kmsg.ListOffsetsRequest)
		if what := asked.Topics[0].Partitions[0].Timestamp; asked.IsolationLevel == 0 && what != bad || asked.IsolationLevel == 1 && bad != committed {
			return nil, nil, false
		}
		topic, p := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		p.ErrorCode = kerr.UnknownServerError.Code
		topic.Topic, topic.Partitions = "large", []kmsg.ListOffsetsResponseTopicPartition{p}
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	for _, bad = range []int64{start, end, committed, first, second} {
		var from, to time.Time
		if bad == first || bad == second {
			from, to = time.UnixMilli(first), time.UnixMilli(second)
		}
		ranges, _, err := reader.Ranges(t.Context(), []string{"large"}, from, to)
		if !errors.Is(err, kerr.UnknownServerError) || !strings.Contains(err.Error(), "large/0") {
			t.Errorf("without %d: ranges %v, error %v", bad, ranges, err)
		}
	}
}

// What was committed while it was asked is not taken for an open transaction.
func TestRangesWhileRecordsCome(t *testing.T) {
	cluster, reader, all := large(t)
	asked := 0
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if r.(*kmsg.ListOffsetsRequest).IsolationLevel == 0 {
			return nil, nil, false
		}
		if asked++; asked > 1 {
			return nil, nil, false
		}
		topic, p := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		p.Offset = 5
		topic.Topic, topic.Partitions = "large", []kmsg.ListOffsetsResponseTopicPartition{p}
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	ranges, held, err := reader.Ranges(t.Context(), []string{"large"}, time.Time{}, time.Time{})
	if err != nil || held || ranges["large"][0] != all["large"][0] {
		t.Errorf("%v, held %v, %v", ranges, held, err)
	}
}

// What is handed on together, and has nothing that is wanted, is read and not visited.
func TestScanLeavesOut(t *testing.T) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression()} {
		c := broker(t)
		topic, _, _ := names(t)
		client, err := c.NewClient(kgo.ProducerBatchCompression(codec))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		makeTopic(t, client, topic, 2)
		var records []*kgo.Record
		for i := range 20 {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: fmt.Appendf(nil, "number %d, %s", i, strings.Repeat("x", 500))})
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		var visited []string
		got, err := newScanner(t, c).Scan(t.Context(), map[string]map[int32]Span{topic: {0: {0, 10}, 1: {0, 9}}},
			func(data []byte) bool { return bytes.Contains(data, []byte("number 7,")) },
			func(m *Message) error {
				visited = append(visited, strings.Fields(string(m.Value))[1])
				return nil
			})
		want := []string{"1,", "3,", "5,", "7,", "9,", "11,", "13,", "15,", "17,"}
		slices.Sort(want)
		slices.Sort(visited)
		if err != nil || !slices.Equal(visited, want) || got.Records != 19 || got.Bytes == 0 {
			t.Errorf("%v: visited %v, %v, %+v; want %v", codec, visited, err, got, want)
		}
	}
}

func TestRangesByTime(t *testing.T) {
	c, topic := scanned(t)
	client, err := c.NewClient(kgo.TransactionalID(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil { // and it stays open
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 2, Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	reader := newScanner(t, c)
	at := func(s int64) time.Time { return time.Unix(1_700_000_000+s, 0) }
	for _, tt := range []struct {
		from, to time.Time
		want     Span
		held     bool
	}{
		{time.Time{}, time.Time{}, Span{0, 10}, true},
		{at(3), at(5), Span{3, 5}, false},
		{at(-10), at(2), Span{0, 2}, false},
		{time.Unix(-50, 0), at(2), Span{0, 2}, false}, // of before 1970
		{at(8), at(99), Span{8, 10}, false},
		{at(50), at(99), Span{10, 10}, false},
		{at(5), at(3), Span{3, 3}, false},
		{at(8), later, Span{8, 10}, true},
		{at(8), time.Time{}, Span{8, 10}, true},
		{later, later.Add(time.Hour), Span{10, 10}, true},
	} {
		ranges, held, err := reader.Ranges(t.Context(), []string{topic}, tt.from, tt.to)
		if err != nil || ranges[topic][2] != tt.want || len(ranges[topic]) != 3 || held != tt.held {
			t.Errorf("from %v to %v: %v, held %v, %v, want %v and %v", tt.from, tt.to, ranges, held, err, tt.want, tt.held)
		}
	}
}

// What was aborted stays away, though only some of what lies around it is opened.
func TestScanLeavesOutOnlyBatches(t *testing.T) {
	c := broker(t)
	topic, _, _ := names(t)
	client, err := c.NewClient(kgo.TransactionalID(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	makeTopic(t, client, topic, 1)
	transaction := func(commit kgo.TransactionEndTry, values ...string) {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values { // each in a batch of its own
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	transaction(kgo.TryAbort, "other", "mine, aborted", "other")
	transaction(kgo.TryAbort, "other", "other")
	transaction(kgo.TryCommit, "mine, first", "other")
	transaction(kgo.TryAbort, "other", "mine, aborted", "other")
	transaction(kgo.TryCommit, "other", "mine, second", "other")
	transaction(kgo.TryCommit, "other", "mine, third")
	reader := newScanner(t, c)
	for span, want := range map[Span][]string{
		{0, 99}:  {"mine, first", "mine, second", "mine, third"},
		{7, 99}:  {"mine, first", "mine, second", "mine, third"},
		{8, 99}:  {"mine, second", "mine, third"},
		{0, 15}:  {"mine, first"},
		{0, 16}:  {"mine, first", "mine, second"},
		{1, 2}:   nil,
		{16, 19}: nil,
	} {
		var got []string
		opened := 0
		_, err := reader.Scan(t.Context(), map[string]map[int32]Span{topic: {0: span}},
			func(data []byte) bool { opened++; return bytes.Contains(data, []byte("mine")) },
			func(m *Message) error { got = append(got, string(m.Value)); return nil })
		if err != nil || !slices.Equal(got, want) || opened > int(span.To-span.From) {
			t.Errorf("%v has %q, %v, with %d batches opened; want %q", span, got, err, opened, want)
		}
	}
}

// A clock that is ahead does not hide that a transaction is open, nor does one that is behind
// have all that follows read.
func TestRangesWithWrongClocks(t *testing.T) {
	c := broker(t)
	at := func(s int) time.Time { return time.Unix(1_700_000_000+int64(s), 0) }
	for _, tt := range []struct {
		name  string
		clock func(second int) time.Time
		want  Span
		held  bool
	}{
		{"right", at, Span{10, 60}, false},
		{"ahead", func(s int) time.Time {
			if s == 5 {
				return at(s + 3600)
			}
			return at(min(s, 59))
		}, Span{5, 200}, true},
		{"behind", func(s int) time.Time {
			if s%3 == 0 {
				return time.UnixMilli(1)
			}
			return at(s)
		}, Span{10, 61}, false},
	} {
		topic, _, _ := names(t)
		topic += tt.name
		client, err := c.NewClient(kgo.TransactionalID(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		makeTopic(t, client, topic, 1)
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for s := range 201 {
			if s == 200 { // the last one stays open
				if err := errors.Join(client.EndTransaction(t.Context(), kgo.TryCommit), client.BeginTransaction()); err != nil {
					t.Fatal(err)
				}
			}
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Timestamp: tt.clock(s), Value: make([]byte, 1000)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		ranges, held, err := newScanner(t, c).Ranges(t.Context(), []string{topic}, at(10), at(60))
		if err != nil || ranges[topic][0] != tt.want || held != tt.held {
			t.Errorf("%s: %v, held %v, %v, want %v and %v", tt.name, ranges[topic], held, err, tt.want, tt.held)
		}
	}
}

// How much is asked for follows how much the records of a topic take.
func TestScanAsksForWhatItNeeds(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "small", "large"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := Config{Brokers: cluster.ListenAddrs()}
	client, err := c.NewClient(kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(2000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const records = 4000
	sizes := map[string]int64{"small": 20, "large": 1000}
	for topic, size := range sizes {
		for range records {
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Value: make([]byte, size)}, nil)
		}
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var asked []int64
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked = append(asked, int64(r.(*kmsg.FetchRequest).Topics[0].Partitions[0].PartitionMaxBytes))
		return nil, nil, false
	})
	reader := newScanner(t, c)
	for topic, size := range sizes {
		for n := range 2 {
			asked = nil
			read, err := reader.Scan(t.Context(), map[string]map[int32]Span{topic: {0: {0, records / 2}}}, nil, func(*Message) error { return nil })
			if err != nil || read.Records != records/2 {
				t.Fatal(read, err)
			}
			if least := size * records / 2; n == 1 && (len(asked) != 1 || asked[0] < least || asked[0] > max(scanLeast, least*5/4)) {
				t.Errorf("half of %s, again, was asked for as %v, want some more than %d", topic, asked, least)
			}
		}
	}
}

// The clocks of some producers may be wrong: what others send between is not left out.
func TestRangesOutOfOrder(t *testing.T) {
	c := broker(t)
	client, err := c.NewClient(kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	at := func(s int) time.Time { return time.Unix(1_700_000_000+int64(s), 0) }
	from := func(first, last int) (seconds []int) {
		for s := first; s <= last; s++ {
			seconds = append(seconds, s)
		}
		return seconds
	}
	for i, tt := range []struct {
		name     string
		wide     int   // bytes of a record
		together int   // records of a batch
		wrong    []int // records whose clock is an hour ahead
		to       int   // the second before which what is wanted was
		want     Span  // of what is of second 10 or later
	}{
		{"in order", 10, 1, nil, 60, Span{10, 60}},
		{"one long before", 10, 1, []int{3}, 60, Span{3, 60}},
		{"some", 10, 1, []int{3, 4, 12, 15, 18}, 60, Span{3, 60}},
		{"some at the end", 10, 1, []int{59, 60, 61}, 60, Span{10, 59}},
		{"many", 10, 1, from(20, 50), 60, Span{10, 60}},
		{"large ones, now and then", 10_000, 1, slices.Concat(from(12, 14), from(16, 18), from(20, 22), from(24, 26), from(28, 30)), 60, Span{10, 60}},
		{"large batches", 4_000, 10, from(20, 49), 60, Span{10, 60}},
		{"in the middle of a batch", 10, 5, []int{57}, 60, Span{10, 60}},
		{"many behind few", 1000, 1, append(from(66, 85), 20), 95, Span{10, 95}},
	} {
		topic, _, _ := names(t)
		topic += fmt.Sprint(i)
		makeTopic(t, client, topic, 1)
		var records []*kgo.Record
		for s := range 100 {
			when := at(s)
			if slices.Contains(tt.wrong, s) {
				when = when.Add(time.Hour)
			}
			if records = append(records, &kgo.Record{Topic: topic, Timestamp: when, Value: make([]byte, tt.wide)}); len(records) < tt.together {
				continue
			}
			if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			records = nil
		}
		ranges, held, err := newScanner(t, c).Ranges(t.Context(), []string{topic}, at(10), at(tt.to))
		if err != nil || held || ranges[topic][0] != tt.want {
			t.Errorf("%s: %v, %v, %v, want %v", tt.name, ranges, held, err, tt.want)
		}
	}
}

const away = 3 // the id of a broker that refuses connections

// described has metadata name a leader for some time, and then the real one.
func described(cluster *kfake.Cluster, leader int32, until time.Time) {
	id := cluster.TopicInfo("large").TopicID
	cluster.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !time.Now().Before(until) {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		for id, port := range []int32{1, 2, 3, away: 9} { // where nobody listens
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = int32(id), "127.0.0.1", port
			resp.Brokers = append(resp.Brokers, b)
		}
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Leader = leader
		if leader < 0 {
			p.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = kmsg.StringPtr("large"), id, []kmsg.MetadataResponseTopicPartition{p}
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
}

// A partition that has no leader is read when it has one again, and so is one whose leader
// is away until another leads: the dead one is not asked for longer than metadata names it.
func TestScanSurvivesAnElection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		leader int32
		lasts  time.Duration
	}{
		{"no leader", -1, 500 * time.Millisecond},
		{"a leader that is away", away, time.Second},
		{"no leader for long", -1, scanPatience - time.Second},
		{"a leader that is away for long", away, scanPatience - time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, reader, all := large(t)
				time.Sleep(time.Second) // until nothing is kept
				began := time.Now()
				described(cluster, tt.leader, began.Add(tt.lasts))
				n := 0
				_, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return nil })
				if took := time.Since(began); err != nil || n != 8 || took < tt.lasts || took > tt.lasts+time.Second {
					t.Errorf("%d records, %v, after %v; want 8 soon after %v", n, err, took, tt.lasts)
				}
			})
		})
	}
}

// A broker that leaves the cluster, so that the client does not even know its address any more,
// is one that is away.
func TestScanSurvivesTheLossOfABroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		var got []int64
		_, err := reader.Scan(t.Context(), all, nil, func(m *Message) error {
			if got = append(got, m.Offset); m.Offset != 3 {
				return nil
			}
			if err := cluster.RemoveNode(cluster.LeaderFor("large", 0)); err != nil {
				return err
			}
			_, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), reader.client)
			return err
		})
		if want := []int64{0, 1, 2, 3, 4, 5, 6, 7}; err != nil || !slices.Equal(got, want) {
			t.Errorf("read %v, %v, want %v", got, err, want)
		}
	})
}

// A cluster of which nothing is there is waited for like a broker.
func TestScanSurvivesTheLossOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, reader, all := largeUnless(t, func() bool { return time.Since(began) < 10*time.Second })
		n := 0
		if _, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return nil }); err != nil || n != 8 {
			t.Errorf("%d records, %v, want 8", n, err)
		}
	})
}

// An error of visit ends a Scan, whatever it is. So does what stays until a person changes
// something, the end of the Scanner, and that of a context, which says what was waited for.
func TestScanDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		began, n := time.Now(), 0
		if _, err := reader.Scan(t.Context(), all, nil, func(*Message) error { n++; return kerr.NotLeaderForPartition }); !errors.Is(err, kerr.NotLeaderForPartition) || n != 1 {
			t.Errorf("%v after %d records, want the error of the first", err, n)
		}
		time.Sleep(time.Second) // until nothing is kept
		broken := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "large", Err: kerr.InvalidTopicException, Count: -1})
		if _, err := reader.Scan(t.Context(), all, nil, nil); !errors.Is(err, kerr.InvalidTopicException) || !strings.Contains(err.Error(), "metadata of large") {
			t.Errorf("%v, want the error of the metadata", err)
		}
		broken.Remove()
		time.Sleep(time.Second)
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "large", Err: kerr.TopicAuthorizationFailed, Count: -1})
		if _, err := reader.Scan(t.Context(), all, nil, nil); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("%v, want the error of the metadata", err)
		}
		if took := time.Since(began); took >= scanPatience {
			t.Errorf("took %v, though nothing passes", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, reader, all := large(t)
		began := time.Now()
		_, err := reader.Scan(t.Context(), all, nil, func(*Message) error { reader.Close(); return nil })
		if took := time.Since(began); err == nil || took >= scanPatience {
			t.Errorf("%v after %v, want the end of a Scanner that is closed", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		cluster, reader, all := large(t)
		time.Sleep(time.Second)
		described(cluster, -1, time.Now().Add(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), 5*scanPause/2)
		defer cancel()
		if _, err := reader.Scan(ctx, all, nil, nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kerr.LeaderNotAvailable) {
			t.Errorf("%v, want that the time was over, and what it was spent with", err)
		}
	})
}

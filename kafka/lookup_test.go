package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A record is found by its offset, wherever in a batch it lies; where there is none, it is
// said why.
func TestLookup(t *testing.T) {
	c := broker(t)
	topic, _, _ := names(t)
	if _, err := EnsureTopics(t.Context(), c, 1, []Topic{{Name: topic, Partitions: 2, Create: true, Forever: true}}); err != nil {
		t.Fatal(err)
	}
	sender, err := NewResender(c)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	var records []Message
	for i := range int64(30) {
		records = append(records, Message{Topic: topic, Partition: 1, Offset: i, Timestamp: 1_700_000_000_000 + i, Key: []byte{byte(i)}, Value: []byte(strings.Repeat("v", int(1000*i))), Headers: []Header{{Key: "n", Value: fmt.Append(nil, i)}}})
	}
	for _, part := range [][]Message{records[:1], records[1:20], records[20:]} {
		each, stop := sender.Resend(t.Context(), part)
		if stop != nil || len(each) != len(part) {
			t.Fatal(each, stop)
		}
	}
	no, yes := kgo.TryAbort, kgo.TryCommit
	transaction(t, c, topic, time.Minute, &no, "a")  // by its key to one of both
	transaction(t, c, topic, time.Minute, &yes, "a") // likewise
	aborted := int64(0)
	in := PartitionOf([]byte("a"), 2)
	if in == 1 {
		aborted = 30
	}
	purge := map[int32]int64{1: 5}
	if err := Purge(t.Context(), c, topic, purge); err != nil {
		t.Fatal(err)
	}
	open := transaction(t, c, topic, time.Minute, nil, "a") // behind a marker each: 0 aborted, 2 committed
	defer open.Close()

	lookup, err := NewLookup(c)
	if err != nil {
		t.Fatal(err)
	}
	defer lookup.Close()
	for _, i := range []int{5, 29, 6, 19, 20, 7} {
		m, why, err := lookup.At(t.Context(), topic, 1, int64(i))
		if err != nil || why != "" {
			t.Errorf("%d: %q, %v", i, why, err)
			continue
		}
		if d := cmp.Diff(records[i], m); d != "" {
			t.Errorf("%d: %s", i, d)
		}
	}
	if m, why, err := lookup.At(t.Context(), topic, in, aborted+2); err != nil || why != "" || string(m.Key) != "a" {
		t.Errorf("of a transaction: %q, %q, %v", m.Key, why, err)
	}
	for _, tt := range []struct {
		topic     string
		partition int32
		offset    int64
		want      string
	}{
		{topic, 1, 4, "before offset 5 were deleted"},
		{topic, 1 - in, 1000, "the topic was made again"},
		{topic, 1 - in, 30 - aborted, "the topic was made again"}, // its end
		{topic, in, aborted, "its transaction was aborted"},
		{topic, in, aborted + 3, "its transaction was aborted"}, // a marker
		{topic, in, aborted + 4, "try again when it has ended"},
		{topic, 2, 0, "there is no " + topic + "/2"},
		{topic + "x", 0, 0, "there is no " + topic + "x/0"},
	} {
		if m, why, err := lookup.At(t.Context(), tt.topic, tt.partition, tt.offset); err != nil || !strings.Contains(why, tt.want) || m.Topic != "" {
			t.Errorf("%s/%d@%d: %q, %v, want %q", tt.topic, tt.partition, tt.offset, why, err, tt.want)
		}
	}
	// Spans end before the open transaction.
	want := map[int32]Span{in: {0, aborted + 4}, 1 - in: {0, 30}}
	want[1] = Span{5, want[1].To}
	if got, err := CommittedSpans(t.Context(), c, topic, time.Time{}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	got, err := CommittedSpans(t.Context(), c, topic, time.UnixMilli(1_700_000_000_010))
	if err != nil || got[1].From != 10 {
		t.Errorf("since the tenth: %v, %v", got, err)
	}
	if got, err = CommittedSpans(t.Context(), c, topic, time.Now().Add(time.Hour)); err != nil || got[0].From != got[0].To || got[1].From != got[1].To {
		t.Errorf("of the future: %v, %v", got, err)
	}
	if _, err := CommittedSpans(t.Context(), c, topic+"x", time.Time{}); err == nil || !strings.Contains(err.Error(), "set kafka.prefix") {
		t.Errorf("a topic that is none: %v", err)
	}
}

// A record that is too large for its topic fails alone; where there is no such partition,
// nothing else would be taken either.
func TestResend(t *testing.T) {
	c := broker(t)
	topic, _, _ := names(t)
	client, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	limit := "100000"
	resp, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, topic)
	if err != nil || resp.Err != nil {
		t.Fatal(err, resp.Err)
	}
	sender, err := NewResender(c)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	noise := make([]byte, 200_000)
	for i, x := 0, uint32(1); i < len(noise); i++ { // that does not get smaller
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	message := func(partition int32, value []byte) Message {
		return Message{Topic: topic, Partition: partition, Timestamp: 1_700_000_000_000, Value: value}
	}
	each, stop := sender.Resend(t.Context(), []Message{message(0, noise)})
	if stop != nil || each[0] == nil || !strings.Contains(each[0].Error(), topic+"/0") {
		t.Errorf("too large: %v, %v", each, stop)
	}
	each, stop = sender.Resend(t.Context(), []Message{message(0, nil), message(0, make([]byte, 3<<20))}) // small when it is compressed
	if stop != nil || each[0] != nil || each[1] != nil {
		t.Errorf("%v, %v", each, stop)
	}
	each, stop = sender.Resend(t.Context(), []Message{message(7, nil)})
	if stop == nil || each[0] == nil {
		t.Errorf("no such partition: %v, %v", each, stop)
	}
	if end, err := EndOffset(t.Context(), c, topic, 0); err != nil || end != 2 {
		t.Errorf("%d records are there, %v", end, err)
	}
}

// A broker that takes a record and does not answer holds nobody for longer than he waits.
func TestResendEndsWithItsContext(t *testing.T) {
	e, c := embedded(t)
	topic := tableTopic(t, c)
	asked, never := make(chan struct{}), make(chan struct{})
	e.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.SleepControl(func() {
			close(asked)
			<-never
		})
		return nil, errors.New("lost"), true
	})
	sender, err := NewResender(c)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	defer close(never)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, stop := sender.Resend(ctx, []Message{{Topic: topic, Timestamp: 1, Value: []byte("v")}})
		ended <- stop
	}()
	<-asked
	cancel()
	select {
	case stop := <-ended:
		if !errors.Is(stop, context.Canceled) {
			t.Errorf("it ends with %v", stop)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}

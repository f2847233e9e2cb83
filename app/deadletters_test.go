package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
	"ragstreams/kafka"
	"ragstreams/verify"
	"ragstreams/window"

	"github.com/twmb/franz-go/pkg/kgo"
)

// send writes records to partition 0 of a source topic, with a header that must stay.
func send(t *testing.T, o *Options, topic string, values ...string) {
	t.Helper()
	cl, err := o.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "producer", Value: []byte("x")}}}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitOutcomes waits until the records table tells what became of how many records.
func awaitOutcomes(t *testing.T, c verify.Client, want map[string]int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		ended, in, err := c.Outcomes(ctx)
		got := map[string]int64{}
		for k, n := range ended {
			got[strings.TrimSuffix(k.Outcome+"/"+k.Reason, "/")] += n
		}
		for _, n := range in {
			got["in"] += n
		}
		if maps.Equal(got, want) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("outcomes %v, %v; want %v", got, err, want)
		}
	}
}

// replay asks an instance for a replay.
func replay(t *testing.T, c verify.Client, body string) (r api.Result) {
	t.Helper()
	resp, err := http.Post(c.URL+"/api/dlq/replay", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", body, resp.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Records that were too large for a limit are counted once it is raised, however often they
// are replayed; one that is broken when it is mended. What was cut comes from its source.
func TestReplayIsCountedOnce(t *testing.T) {
	o := testOptions(t)
	topic := o.Sources[0]
	if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{{Name: topic, Partitions: 1, Create: true, Forever: true}}); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Second).UTC().Format(time.RFC3339Nano)
	event := func(id string, padding int) string {
		return fmt.Sprintf(`{"event_type":"user_query","event_id":%q,"timestamp":%q,"query":%q}`, id, at, strings.Repeat("q", padding))
	}
	t.Run("with a small limit", func(t *testing.T) {
		o := o
		o.MaxRecord = 500
		client := start(t, o)
		send(t, &o, topic, event("a", 10), event("b", 500), event("c", 600_000), `{"event_type":7}`)
		awaitOutcomes(t, client, map[string]int64{"in": 4, "counted": 1, "poison/too_large": 2, "poison/wrong_type": 1})
	})

	// The program is down.
	box, done, err := DeadLetters(o)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	dlq, _ := DeadLetterTopics(o)
	entries, next, err := box.List(t.Context(), dlq, deadletters.Filter{}, nil, 10)
	if err != nil || len(entries) != 3 || !next.Empty() {
		t.Fatal(entries, next, err)
	}
	broken, cut := entries[0], entries[1]
	if broken.Reason != "wrong_type" || cut.Holds != deadletters.Cut || cut.Source.Offset != 2 {
		t.Fatalf("%+v, %+v", broken, cut)
	}
	shown, err := box.Show(t.Context(), dlq, deadletters.At{Partition: cut.Partition, Offset: cut.Offset})
	if err != nil || string(shown.Original.Value) != event("c", 600_000) || shown.Verdict != deadletters.Send {
		t.Fatalf("%d bytes, %s %s, %v", len(shown.Original.Value), shown.Verdict, shown.Why, err)
	}
	for range 2 {
		r, err := box.Replay(t.Context(), deadletters.Wish{Topic: dlq, By: "ana"}, func(deadletters.Outcome) {})
		if err != nil || r.Sent != 2 || r.Skipped[deadletters.StillPoison] != 1 || r.Failures() > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}

	client := start(t, o)
	want := map[string]int64{"in": 8, "counted": 3, "duplicate": 2, "poison/too_large": 2, "poison/wrong_type": 1}
	awaitOutcomes(t, client, want)
	mended, err := json.Marshal(event("d", 10))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"partition":%d,"offset":%d,"value":%s}`, broken.Partition, broken.Offset, mended)
	for range 2 {
		if r := replay(t, client, body); r.Sent != 1 {
			t.Fatalf("%+v", r)
		}
	}
	want["in"], want["counted"], want["duplicate"] = 10, 4, 3
	awaitOutcomes(t, client, want)

	// Forced, it comes back with the mark of its replay, and a list tells.
	if r := replay(t, client, `{"reason":"wrong_type","force":true,"replay":"R9"}`); r.Sent != 1 {
		t.Fatalf("%+v", r)
	}
	want["in"], want["poison/wrong_type"] = 11, 2
	awaitOutcomes(t, client, want)
	entries, _, err = box.List(t.Context(), dlq, deadletters.Filter{}, nil, 1)
	if err != nil || entries[0].Mark == nil || entries[0].Mark.Replay != "R9" || entries[0].Mark.Of.Offset != broken.Offset || len(entries[0].Theirs) != 1 {
		t.Errorf("%+v, %v", entries[0], err)
	}
	awaitMetric(t, client, `analytics_records_replayed_total{reason="too_large",topic="`+topic+`"} 4`)
	awaitMetric(t, client, `analytics_records_replayed_total{reason="wrong_type",topic="`+topic+`"} 3`)
}

// awaitMetric waits for a sample.
func awaitMetric(t *testing.T, c verify.Client, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := http.Get(c.URL + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && bytes.Contains(text, []byte(want+"\n")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no sample %s, %v", want, err)
		}
	}
}

// What is late is told by what a deployment has committed: also when it is down.
func TestStillLateIsTold(t *testing.T) {
	o := testOptions(t)
	o.Grace = 0
	now := time.Now().Truncate(o.Pane)
	event := func(id string, at time.Time) string {
		return fmt.Sprintf(`{"event_type":"user_query","event_id":%q,"timestamp":%q}`, id, at.UTC().Format(time.RFC3339Nano))
	}
	t.Run("running", func(t *testing.T) {
		if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{{Name: o.Sources[0], Partitions: 2, Create: true, Forever: true}}); err != nil {
			t.Fatal(err)
		}
		client := start(t, o)
		send(t, &o, o.Sources[0], event("a", now), event("b", now.Add(-time.Minute)))
		awaitOutcomes(t, client, map[string]int64{"in": 2, "counted": 1, "late/stream_time": 1})
	})
	box, done, err := DeadLetters(o)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	_, late := DeadLetterTopics(o)
	r, err := box.Replay(t.Context(), deadletters.Wish{Topic: late, By: "ana"}, func(out deadletters.Outcome) {
		if !strings.Contains(out.Why, "its partition has reached "+now.UTC().Format("2006-01-02T15:04:05")) {
			t.Errorf("%+v", out)
		}
	})
	if err != nil || r.Skipped[deadletters.StillLate] != 1 || r.Sent != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestClosedFor(t *testing.T) {
	closed := []int64{40, 10, window.None}
	if got := closedFor(closed[:2], nil); got != 10 {
		t.Errorf("an event without a key may go where only %d is closed", got)
	}
	if got := closedFor(closed, nil); got != window.None {
		t.Errorf("an event without a key may go where nothing is known: %d", got)
	}
	found := map[int64]bool{}
	for i := range 100 {
		found[closedFor(closed, fmt.Append(nil, i))] = true
	}
	if len(found) != 3 {
		t.Errorf("keys go to partitions with %v", found)
	}
}

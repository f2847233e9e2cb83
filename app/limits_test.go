package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/verify"

	"github.com/twmb/franz-go/pkg/kgo"
)

// eventually asks check again and again until it has nothing to complain of.
func eventually(t *testing.T, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// scrape returns the samples of a scrape by name and labels.
func scrape(ctx context.Context, c verify.Client) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	samples := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			samples[name] = value
		}
	}
	return samples, err
}

// Records as large as the broker takes, in every place that a producer can write to,
// stop nothing: what follows them is counted, and so are they.
func TestHugeRecordsStopNothing(t *testing.T) {
	o := testOptions(t)
	o.Partitions, o.MaxErrorGroups = 1, 2
	client := start(t, o)
	awaitReady(t, client.URL)

	const huge = 1<<20 - 300 // the rest of the record and what a batch adds fit beside it, little more
	blob := strings.Repeat("x", huge)
	now := time.Now()
	stamp := fmt.Sprintf(`"timestamp":%q`, now.UTC().Format(time.RFC3339Nano))
	late := []byte(`{"event_type":"x","timestamp":"2001-01-01T00:00:00Z"}`)
	records := []*kgo.Record{{Value: []byte(`{"event_type":"first",` + stamp + `}`)}} // moves the stream time
	for _, field := range []string{"tenant", "app", "stage", "model", "trace_id", "event_id", "session_id", "user_id"} {
		records = append(records, &kgo.Record{Value: fmt.Appendf(nil, `{"event_type":"huge","latency_ms":5,%s,%q:%q}`, stamp, field, blob)})
	}
	for _, group := range []string{"acme one", "acme two", "acme three", "globex one"} {
		tenant, message, _ := strings.Cut(group, " ")
		records = append(records, &kgo.Record{Value: fmt.Appendf(nil, `{"event_type":"huge","tenant":%q,%s,"error":{"type":%q,"message":"%s %s"}}`,
			tenant, stamp, blob[:huge/2], message, blob[:huge/2])})
	}
	counted := int64(len(records))
	for _, value := range [][]byte{late, []byte("{}")} {
		records = append(records,
			&kgo.Record{Value: value, Key: []byte(blob)},
			&kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte(blob)}}},
			&kgo.Record{Value: append([]byte(nil), value...), Headers: []kgo.RecordHeader{{Key: blob}}})
	}
	records = append(records, &kgo.Record{Value: []byte(blob)}, &kgo.Record{Value: []byte(`{"event_type":"last",` + stamp + `}`)})
	counted++
	producer, err := o.Kafka.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, r := range records {
		r.Topic, r.Partition, r.Timestamp = o.Sources[0], 0, now
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}

	eventually(t, func(ctx context.Context) error {
		ended, _, err := client.Outcomes(ctx)
		got := map[string]int64{}
		for k, n := range ended {
			got[k.Outcome] += n
		}
		if want := (map[string]int64{"counted": counted, "late": 3, "poison": 4}); err != nil || !maps.Equal(got, want) {
			return fmt.Errorf("outcomes = %v, error %v, want %v", got, err, want)
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error {
		answer, err := client.Table(ctx, "errors", url.Values{"total": {"true"}})
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, row := range answer.Rows {
			got[fmt.Sprint(row["tenant"])]++
		}
		if want := (map[string]int{"acme": 2, "globex": 1, "_overflow": 1}); !maps.Equal(got, want) {
			return fmt.Errorf("error groups by tenant = %v, want %v", got, want)
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error {
		samples, err := scrape(ctx, client)
		if err != nil {
			return err
		}
		for table, want := range map[string]float64{"errors": 1, "traffic": 0, "latency": 0} {
			name := fmt.Sprintf("analytics_series_overflow_total{table=%q}", table)
			if got, ok := samples[name]; !ok || got != want {
				return fmt.Errorf("%s = %g, want %g", name, got, want)
			}
		}
		// A transaction that is done again counts again.
		for label, want := range map[string]float64{"tenant": 1, "app": 1, "stage": 1, "model": 1, "trace_id": 1, "error_type": 4, "event_type": 0} {
			name := fmt.Sprintf("analytics_labels_cut_total{label=%q}", label)
			if got, ok := samples[name]; !ok || got < want || want == 0 && got > 0 {
				return fmt.Errorf("%s = %g, want %g", name, got, want)
			}
		}
		return nil
	})
}

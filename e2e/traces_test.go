//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ragstreams/generate"
	"ragstreams/traces/api"
)

// sentTraces are the places of the records of traces, as they were sent.
type sentTraces map[string][]string

// traceOf reads the trace id of a generated record.
func traceOf(value []byte) string {
	var e struct {
		TraceID string `json:"trace_id"`
	}
	if json.Unmarshal(value, &e) != nil {
		return ""
	}
	return e.TraceID
}

// check compares an answer with what was sent.
func (s sentTraces) check(t *testing.T, how string, a *api.Answer) {
	t.Helper()
	var got []string
	for _, step := range a.Steps {
		for _, e := range step.Events {
			got = append(got, fmt.Sprintf("%s/%d %s", e.Topic, e.Partition, e.Type))
		}
	}
	slices.Sort(got)
	if want := s[a.TraceID]; !slices.Equal(got, want) || a.Search.Stopped != "found" {
		t.Errorf("%s: trace %s has %v, want %v (%s)", how, a.TraceID, got, want, a.Search.Stopped)
	}
}

// spread tells how durations are distributed.
func spread(of []time.Duration) string {
	sorted := slices.Sorted(slices.Values(of))
	at := func(share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%s in the median, 90%% in %s, %s at most, of %d", at(0.5), at(0.9), at(1), len(sorted))
}

// search asks for something that may take as long as a search may.
func (i *instance) search(t *testing.T, path string) (status int, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// TestTraces: in a million records of an hour every trace is found whole, from wherever its
// producers put its events: after a restart of the program, with a hint and without, and by
// the command while no program runs.
func TestTraces(t *testing.T) {
	const records, step = 1_000_000, time.Hour / 1_000_000
	d := newDeployment(t, []int32{4, 3, 2})
	// A million records in some seconds would come in batches that hold most of a minute each,
	// which no service makes: about as many together as fit into those of a Java client, 16 KiB.
	d.client = d.newClient(kgo.ProducerBatchMaxBytes(64 << 10))
	g := generate.New(generate.Config{Seed: 1, Step: step, Start: startOf(records, step), Unkeyed: 0.5, Topics: d.topics})
	w := d.traffic()
	sent := sentTraces{}
	var order []string // traces, by their first event
	for range records {
		r := g.Next()
		if id := traceOf(r.Value); id != "" {
			var e struct {
				Type string `json:"event_type"`
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				t.Fatal(err)
			}
			if sent[id] == nil {
				order = append(order, id)
			}
			sent[id] = append(sent[id], fmt.Sprintf("%s/%d %s", r.Topic, r.Partition, e.Type))
		}
		w.send(r)
	}
	w.flush()
	for _, places := range sent {
		slices.Sort(places)
	}
	a := d.instance("a").start()
	a.agree(g.Truth(), 2*time.Minute)
	a.stop()

	// While nothing runs.
	old := order[len(order)/10]
	cmd := exec.CommandContext(t.Context(), binary, "trace", old, "--format", "json")
	cmd.Env = d.env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("analytics trace: %v %s", err, out)
	}
	var found api.Answer
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	sent.check(t, "by the command", &found)

	a.start()
	a.ready(time.Minute)
	ask := func(id string, at string) (*api.Answer, time.Duration) {
		t.Helper()
		path := "/api/traces/" + id
		if at != "" {
			path += "?at=" + url.QueryEscape(at)
		}
		began := time.Now()
		status, body := a.search(t, path)
		took := time.Since(began)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		answer := new(api.Answer)
		if err := json.Unmarshal(body, answer); err != nil {
			t.Fatal(err)
		}
		return answer, took
	}
	answer, took := ask(old, "")
	sent.check(t, "without a hint", answer)
	first := answer.Steps[0].Events[0]
	t.Logf("without a hint: %s, %d records, %d MiB", took.Round(time.Millisecond), answer.Search.Records, answer.Search.Bytes>>20)
	var hinted []time.Duration
	for range 5 {
		answer, took = ask(old, fmt.Sprintf("%s/%d@%d", first.Topic, first.Partition, first.Offset))
		sent.check(t, "by a place", answer)
		hinted = append(hinted, took)
	}
	t.Logf("by a place: %s, %d records", spread(hinted), answer.Search.Records)

	// What the tables know is hint enough.
	table, err := a.Table(t.Context(), "errors", url.Values{"total": {"true"}, "sort": {"-count"}})
	if err != nil {
		t.Fatal(err)
	}
	var sampled []time.Duration
	var read int64
	for _, row := range table.Rows[:20] {
		samples, _ := row["samples"].([]any)
		for _, s := range samples {
			id := s.(map[string]any)["trace_id"].(string)
			answer, took := ask(id, "")
			sent.check(t, "by a sample", answer)
			if answer.Search.Records > records/10 {
				t.Errorf("of a sample %d records were read", answer.Search.Records)
			}
			sampled, read = append(sampled, took), max(read, answer.Search.Records)
		}
	}
	t.Logf("by samples of error groups: %s, at most %d records; the first one %s", spread(sampled), read, sampled[0].Round(100*time.Microsecond))
	if status, body := a.search(t, "/api/traces/nobody"); status != http.StatusNotFound {
		t.Errorf("a trace that is none: %d %s", status, body)
	}
	a.stop()
}

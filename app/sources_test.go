package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/window"

	"github.com/google/go-cmp/cmp"
)

// A topic is started once, whatever the cluster says of it later, and what it had
// is expected until three looks in a row did not find it.
func TestSourcesBelieveWhatIsGoneAfterThreeLooks(t *testing.T) {
	const topic = "traces"
	untold := map[string]int32{}
	has := func(n int32) map[string]int32 { return map[string]int32{topic: n} }
	starts, expected := 0, -1
	var answer map[string]int32
	s := &sources{
		topics: []string{topic}, log: slog.New(slog.DiscardHandler),
		look:    func(context.Context, []string) (map[string]int32, error) { return answer, nil },
		appear:  func(string) { starts++ },
		changed: func(all []window.Partition) { expected = len(all) },
		looked:  func() {},
	}
	for i, step := range []struct {
		answer  map[string]int32
		want    int // partitions that are expected
		missing bool
	}{
		{untold, 0, true},
		{has(0), 0, true},
		{has(2), 2, false}, // it appears
		{untold, 2, false}, // a transient error
		{has(0), 2, false},
		{has(0), 2, false},
		{has(2), 2, false}, // it flickered: counted anew
		{has(0), 2, false},
		{has(0), 2, false},
		{untold, 2, false}, // neither for nor against
		{has(0), 0, true},  // gone
		{has(4), 4, false}, // made again
		{has(3), 4, false},
		{has(3), 4, false},
		{has(3), 3, false}, // made again with fewer partitions
	} {
		answer = step.answer
		if err := s.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if missing := len(s.missing()) > 0; expected != step.want || len(s.expected()) != step.want || missing != step.missing {
			t.Errorf("look %d: %d partitions expected, missing %v; want %d, %v", i, expected, missing, step.want, step.missing)
		}
	}
	if starts != 1 {
		t.Errorf("the topic was started %d times, want once", starts)
	}
}

// A cluster that cannot be asked at first is asked again; until then nothing is
// ready.
func TestSourcesAreLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var done []string
		looks := 0
		s := &sources{
			topics: []string{"traces"}, interval: time.Minute, log: slog.New(slog.DiscardHandler),
			look: func(context.Context, []string) (map[string]int32, error) {
				if looks++; looks == 1 {
					return nil, errors.New("no broker")
				}
				return map[string]int32{"traces": 1}, nil
			},
			appear:  func(topic string) { done = append(done, "appear "+topic) },
			changed: func([]window.Partition) { done = append(done, "changed") },
			looked:  func() { done = append(done, "looked"); stop() },
		}
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"changed", "appear traces", "looked"}, done); diff != "" || looks != 2 {
			t.Errorf("%d looks, -want +got:\n%s", looks, diff)
		}
	})
}

// Whoever reads a topic waits while it does not exist, and fails for other
// reasons only.
func TestWhileThereWaitsForTheTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		counts := []int32{0, 0, 3, 0, 0, 3, 3} // waits, runs, gone after the failure, waits, runs, fails
		s := &sources{
			interval: time.Second, log: slog.New(slog.DiscardHandler),
			look: func(_ context.Context, topics []string) (map[string]int32, error) {
				n := counts[0]
				counts = counts[1:]
				return map[string]int32{topics[0]: n}, nil
			},
		}
		runs, waits := 0, 0
		err := s.whileThere(t.Context(), "traces", func() { waits++ }, func(context.Context) error { runs++; return bad })
		if !errors.Is(err, bad) || runs != 2 || waits != 2 || len(counts) != 0 {
			t.Errorf("error %v after %d runs and %d waits, %d looks left; want %v, 2, 2, 0", err, runs, waits, len(counts), bad)
		}
	})
}

// A source topic is deleted and made again while the program runs: once it was
// noticed to be gone, and once at once. Its new records are read from the start.
func TestSourceTopicDeletedAndMadeAgain(t *testing.T) {
	for _, noticed := range []bool{true, false} {
		name := map[bool]string{true: "after it was noticed", false: "at once"}[noticed]
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			o.MetadataInterval = 200 * time.Millisecond
			client := start(t, o)
			awaitReady(t, client.URL)
			topic := o.Sources[0]
			g := generate.New(generate.Config{Seed: 3, Step: time.Millisecond, Start: time.Now().Add(-time.Minute), Topics: []generate.Topic{{Name: topic, Partitions: 4}}})
			produceAll(t, &o, g, 500)
			wantTruth(t, client, g.Truth())
			adm := admin(t, &o)
			if resp, err := adm.DeleteTopics(t.Context(), topic); err != nil || resp.Error() != nil {
				t.Fatal(err, resp.Error())
			}
			if noticed {
				until(t, func() string { return notReadyWithout(client.URL, topic) })
			}
			if _, err := kafka.EnsureTopics(t.Context(), o.Kafka, 1, []kafka.Topic{{Name: topic, Partitions: 4, Create: true, Forever: true}}); err != nil {
				t.Fatal(err)
			}
			produceAll(t, &o, g, 500)
			wantTruth(t, client, g.Truth())
			awaitReady(t, client.URL)
		})
	}
}

// notReadyWithout says what is wrong unless the program is ready, with a note that
// a topic does not exist.
func notReadyWithout(url, topic string) string {
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK, !strings.Contains(string(body), topic+" does not exist"):
		return "not ready, or without a note on " + topic + ": " + string(body)
	}
	return ""
}

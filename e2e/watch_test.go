//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ragstreams/verify"
)

// dimensions name the columns that make a row of a table.
var dimensions = map[string][]string{
	"traffic": {"tenant", "app", "event_type"},
	"latency": {"tenant", "app", "stage", "model"},
	"errors":  {"tenant", "app", "stage", "fingerprint"},
	"records": {"topic", "outcome", "reason"},
}

// watcher reads the tables of instances all the time and reports every number
// that is taken back: a count that falls, a row that vanishes, a watermark that goes
// back. A process that is down or not ready says nothing, and nothing but that.
type watcher struct {
	t    testing.TB
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int // by instance
}

// watch begins to read totals, and the sums over all windows from then on.
func watch(t testing.TB, from time.Time, instances ...*instance) *watcher {
	ctx, stop := context.WithCancel(t.Context())
	w := &watcher{t: t, stop: stop, answers: map[string]int{}}
	window := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {from.Add(24 * time.Hour).UTC().Format(time.RFC3339)}}
	for _, i := range instances {
		for table := range dimensions {
			w.wg.Go(func() { w.read(ctx, i, table, url.Values{"total": {"true"}}) })
		}
		w.wg.Go(func() { w.read(ctx, i, "traffic", window) })
	}
	return w
}

// readInterval is the pause between two questions about one table.
const readInterval = 250 * time.Millisecond

// refused finds the status of an answer other than 200 in the client's error.
var refused = regexp.MustCompile(`: ([1-5]\d\d) `)

func (w *watcher) read(ctx context.Context, i *instance, table string, query url.Values) {
	greatest := map[string]float64{}
	reported := 0
	var newest time.Time
	for pause(ctx, readInterval) == nil {
		answer, err := w.ask(ctx, i, table, query)
		if err != nil {
			if status := refused.FindStringSubmatch(err.Error()); status != nil && status[1] != "503" {
				w.t.Errorf("instance %s: %v", i.name, err)
				return
			}
			continue
		}
		for _, line := range falls(table, answer, greatest) {
			if reported++; reported <= 5 {
				w.t.Errorf("instance %s at %s, %s: %s", i.name, time.Now().Format("15:04:05.000"), query.Encode(), line)
			}
		}
		if mark := answer.Watermark; mark != nil {
			if mark.Before(newest) {
				w.t.Errorf("instance %s at %s, %s: the watermark went back from %s to %s", i.name, time.Now().Format("15:04:05.000"), table, newest, mark)
			}
			newest = *mark
		}
		w.mu.Lock()
		w.answers[i.name]++
		w.mu.Unlock()
	}
}

func (w *watcher) ask(ctx context.Context, i *instance, table string, query url.Values) (*verify.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	own := url.Values{} // the client adds to it
	for k, v := range query {
		own[k] = slices.Clone(v)
	}
	return i.Table(ctx, table, own)
}

// falls takes in an answer and returns what it has less of than an earlier one.
func falls(table string, answer *verify.Answer, greatest map[string]float64) []string {
	var lines []string
	now := map[string]float64{}
	for _, row := range answer.Rows {
		var key []string
		for _, column := range dimensions[table] {
			key = append(key, fmt.Sprint(row[column]))
		}
		count, _ := row["count"].(float64)
		now[strings.Join(key, "|")] += count
	}
	for key, before := range greatest {
		if now[key] < before {
			lines = append(lines, fmt.Sprintf("%s %s: %g after %g", table, key, now[key], before))
		}
	}
	for key, n := range now {
		greatest[key] = max(greatest[key], n)
	}
	return lines
}

// end stops reading, and fails the test if there was too little to read.
func (w *watcher) end(least int, instances ...*instance) {
	w.t.Helper()
	w.stop()
	w.wg.Wait()
	for _, i := range instances {
		w.t.Logf("instance %s gave %d answers to the watcher", i.name, w.answers[i.name])
		if w.answers[i.name] < least {
			w.t.Errorf("instance %s gave only %d answers to the watcher, want %d", i.name, w.answers[i.name], least)
		}
	}
}

func TestFalls(t *testing.T) {
	row := func(app string, n float64) map[string]any {
		return map[string]any{"tenant": "t", "app": app, "event_type": "e", "count": n}
	}
	greatest := map[string]float64{}
	for _, step := range []struct {
		name string
		rows []map[string]any
		want int
	}{
		{"the first answer", []map[string]any{row("a", 1), row("b", 2)}, 0},
		{"one rises, one is born", []map[string]any{row("a", 5), row("b", 2), row("c", 1)}, 0},
		{"one falls", []map[string]any{row("a", 4), row("b", 2), row("c", 1)}, 1},
		{"one vanishes, one is still too small", []map[string]any{row("a", 4), row("c", 1)}, 2},
		{"all is well again", []map[string]any{row("a", 5), row("b", 2), row("c", 2)}, 0},
	} {
		if got := falls("traffic", &verify.Answer{Rows: step.rows}, greatest); len(got) != step.want {
			t.Errorf("%s: %q, want %d falls", step.name, got, step.want)
		}
	}
}

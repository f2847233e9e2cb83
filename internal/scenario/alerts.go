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

	"ragstreams/alerts"
	"ragstreams/alerts/api"
	"ragstreams/alerts/match"
	"ragstreams/alerts/rules"
	"ragstreams/alerts/silences"
	"ragstreams/processors"
	"ragstreams/series"
)

// addRule adds the rule of a line to the rules that are given, as a rule file.
func (g *Given) addRule(words []string) error {
	if len(words) < 2 {
		return errors.New(`want rule NAME "EXPR" and for=, keep_firing_for=, no_data=, min_samples= or labels`)
	}
	expr, err := strconv.Unquote(words[1])
	if err != nil {
		return fmt.Errorf("%s is no Go string: %w", words[1], err)
	}
	if g.Rules == "" {
		g.Rules = "groups:\n- name: scenario\n  rules:\n"
	}
	g.Rules += fmt.Sprintf("  - alert: %s\n    expr: %q\n", words[0], expr)
	labels, annotations := "", ""
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "for", "keep_firing_for":
			g.Rules += fmt.Sprintf("    %s: %s\n", name, value)
		case "no_data", "min_samples":
			annotations += fmt.Sprintf("      %s: %q\n", name, value)
		default:
			labels += fmt.Sprintf("      %s: %q\n", name, value)
		}
	}
	if labels != "" {
		g.Rules += "    labels:\n" + labels
	}
	if annotations != "" {
		g.Rules += "    annotations:\n" + annotations
	}
	_, err = rules.Parse(map[string][]byte{"rules": []byte(g.Rules)})
	return err
}

// silence makes a silence, for a time.
func silence(ctx context.Context, w World, now time.Time, words []string) error {
	wish := api.Wish{By: "scenario", Comment: "told by a script", Starts: now}
	for _, text := range words {
		if length, is := strings.CutPrefix(text, "for="); is {
			d, err := time.ParseDuration(length)
			if err != nil {
				return err
			}
			wish.Ends = now.Add(d)
			continue
		}
		m, err := match.Parse(text)
		if err != nil {
			return err
		}
		wish.Matchers = wish.Matchers.And(m)
	}
	body, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	status, answer, err := w.Post(ctx, "/api/v2/silences", string(body))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	return err
}

// askAlerts lists the alerts that fire, and whether people are told.
func askAlerts(ctx context.Context, w World, _ []string) (string, error) {
	status, body, err := w.Get(ctx, "/api/v2/alerts")
	if err != nil || status != http.StatusOK {
		return "", fmt.Errorf("status %d: %s: %w", status, body, err)
	}
	var list []struct {
		Labels map[string]string
		Starts time.Time `json:"startsAt"`
		Status struct{ State string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return "", err
	}
	var lines []string
	for _, a := range list {
		lines = append(lines, fmt.Sprintf("%s since %s %s", alertName(a.Labels), ofDay(a.Starts), a.Status.State))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func alertName(labels map[string]string) string {
	_, name, _ := strings.Cut(alerts.Key("", labels), " ")
	return name
}

// askTold lists what people are to be told, of each alert in its order.
func askTold(ctx context.Context, w World, _ []string) (string, error) {
	records, err := w.Read(ctx, "alerts-outbox")
	if err != nil {
		return "", err
	}
	var bodies [][]byte
	for _, r := range records {
		bodies = append(bodies, r.Value)
	}
	return listMessages(bodies)
}

// askReceived lists what came out of RabbitMQ.
func askReceived(ctx context.Context, w World, _ []string) (string, error) {
	bodies, err := w.Received(ctx)
	if err != nil {
		return "", err
	}
	return listMessages(bodies)
}

// listMessages lists messages of alerts, those of each alert in their order, and of each id
// the first.
func listMessages(bodies [][]byte) (string, error) {
	var lines []string
	seen := map[string]bool{}
	for _, body := range bodies {
		var m alerts.Message
		if err := m.Decode(body); err != nil {
			return "", err
		}
		if !seen[m.ID] {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", alertName(m.Labels), ofDay(m.Decided), m.State, m.Reason))
		}
		seen[m.ID] = true
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		a, _, _ = strings.Cut(a, "} ")
		b, _, _ = strings.Cut(b, "} ")
		return strings.Compare(a, b)
	})
	return strings.Join(lines, "\n"), nil
}

// watch is what a Topology watches its tables with.
type watch struct {
	set       *rules.Set
	evaluator *rules.Evaluator
	store     *series.Store
	book      *alerts.Book
	silences  *silences.Book
	fed       map[int32]int // of the changelog, by partition
	covered   rules.Coverage
	away      bool // RabbitMQ is
	received  [][]byte
	published map[int32]int // of the outbox, by partition
}

// addAlerts adds the stage of the alerts, and what evaluates the rules that are given.
func (t *Topology) addAlerts(store *series.Store) (err error) {
	w := &watch{store: store, book: alerts.NewBook(), silences: silences.NewBook(), fed: map[int32]int{}, published: map[int32]int{}}
	if w.set, err = rules.Parse(map[string][]byte{"rules": []byte(t.given.Rules)}); err != nil {
		return err
	}
	t.watch = w
	var refused error
	stage := processors.NewAlerts(processors.AlertsConfig{Names: t.names, Clock: t.clock(), Refused: func(err error) { refused = err }}, t)
	for p := range t.given.Partitions {
		t.read(t.names.Evaluations(), p, func(int, string) (task, error) {
			// What it recorded is not durable, and what it covered is in the table.
			w.evaluator, w.covered = rules.NewEvaluator(), rules.Coverage{}
			one, err := stage.Assign(p, rows{t, topicPartition{t.names.Alerts(), p}})
			return alertsTask{one}, errors.Join(err, refused)
		})
	}
	return nil
}

// alertsTask reads what an evaluation says.
type alertsTask struct{ *processors.AlertsTask }

func (a alertsTask) Process(_ int64, r logged) { a.AlertsTask.Process(string(r.key), r.value) }

// evaluate evaluates all rules for the present time, and reports whether there is news.
func (t *Topology) evaluate(ctx context.Context) (news bool, err error) {
	w := t.watch
	for p := range t.given.Partitions {
		log := t.logs[topicPartition{t.names.Alerts(), p}]
		for ; w.fed[p] < len(log); w.fed[p]++ {
			if err := w.book.Update(string(log[w.fed[p]].key), log[w.fed[p]].value); err != nil {
				return false, err
			}
		}
	}
	known := w.book.Rows()
	said, more, err := w.covered.Round(rules.Round{
		At: t.wall, Now: t.wall, Mark: t.watermark(), Pane: t.given.Pane, Patience: t.given.Pane, Known: known,
		Evaluate: func(at time.Time, past bool) ([]rules.Said, error) {
			silenced := w.silences.Active(t.wall, at)
			said, faults, err := w.evaluator.Evaluate(ctx, w.set, rules.Moment{
				At: at, Now: at, Past: past, Series: w.store.Snapshot(at), Known: known,
				Suppress: func(map[string]map[string]string) func(string, map[string]string) []alerts.Suppressor {
					return func(_ string, labels map[string]string) []alerts.Suppressor { return silenced.Of(labels) }
				},
			})
			for _, f := range faults {
				err = errors.Join(err, f)
			}
			return said, err
		},
	})
	if err != nil {
		return false, err
	}
	for _, one := range said {
		t.Send(t.names.Evaluations(), 0, []byte(one.Key), one.Append(nil))
	}
	return more || len(said) > 0, nil
}

// watermark returns the least of all tables, the zero time while one has none.
func (t *Topology) watermark() (least time.Time) {
	for i, v := range t.views {
		ms, ok := v.table.Watermark()
		if !ok {
			return time.Time{}
		}
		if mark := time.UnixMilli(ms); i == 0 || mark.Before(least) {
			least = mark
		}
	}
	return least
}

// alertsHandler serves alerts and silences.
func (t *Topology) alertsHandler() http.Handler {
	return api.Handler(api.Options{
		Alerts: t.watch.book.Rows, Silences: t.watch.silences, Missing: func() string { return "" }, Now: t.clock().Wall,
		Save: func(_ context.Context, changes []silences.Change) (err error) {
			for _, c := range changes {
				err = errors.Join(err, t.watch.silences.Update(c.Key, c.Append(nil)))
			}
			return err
		},
	})
}

// RabbitMQ implements World: a broker that is there gets what there is, once.
func (t *Topology) RabbitMQ(_ context.Context, do string) error {
	if t.watch == nil || !slices.Contains([]string{"stop", "kill", "start"}, do) {
		return fmt.Errorf("rabbitmq %s: want stop, kill or start, and rules", do)
	}
	t.watch.away = do != "start"
	return nil
}

// Received implements World.
func (t *Topology) Received(context.Context) ([][]byte, error) {
	w := t.watch
	for p := range t.given.Partitions {
		log := t.logs[topicPartition{t.names.Outbox(), p}]
		for ; !w.away && w.published[p] < len(log); w.published[p]++ {
			w.received = append(w.received, log[w.published[p]].value)
		}
	}
	return w.received, nil
}

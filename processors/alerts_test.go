package processors_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/codecs"
	"ragstreams/processors"
)

// alertStage is the stage of the alerts with what it wrote.
type alertStage struct {
	*testing.T
	task    *processors.AlertsTask
	rows    rowMap
	told    []alerts.Message
	refused []error
	now     int64 // seconds
}

// rowMap is a table partition.
type rowMap map[string][]byte

func (m rowMap) Set(key string, value []byte) { m[key] = value }
func (m rowMap) Delete(key string)            { delete(m, key) }
func (m rowMap) Len() int                     { return len(m) }
func (m rowMap) All(visit func(string, []byte) bool) {
	for k, v := range m {
		if !visit(k, v) {
			return
		}
	}
}

func (s *alertStage) Send(topic string, partition int32, key, value []byte, _ ...codecs.Header) {
	s.Helper()
	var m alerts.Message
	if err := m.Decode(value); err != nil || topic != "analytics-alerts-outbox" || partition != -1 || string(key) != m.Key {
		s.Fatalf("sent to %s/%d, %s: %v", topic, partition, value, err)
	}
	s.told = append(s.told, m)
}

// assign restores the partition from what was committed.
func (s *alertStage) assign() {
	s.Helper()
	if s.task != nil {
		s.task.Close()
	}
	stage := processors.NewAlerts(processors.AlertsConfig{
		Names: processors.Names{Prefix: processors.DefaultPrefix}, Refused: func(err error) { s.refused = append(s.refused, err) },
		Clock: processors.Clock{Wall: func() time.Time { return time.Unix(s.now, 0) }},
	}, s)
	var err error
	if s.task, err = stage.Assign(0, s.rows); err != nil {
		s.Fatal(err)
	}
}

func (s *alertStage) flush() {
	s.Helper()
	if _, err := s.task.Flush(true); err != nil {
		s.Fatal(err)
	}
}

// say lets an evaluation come, at a second.
func (s *alertStage) say(key string, second int64, o alerts.Outcome) {
	r := alerts.Report{
		Evaluation: alerts.Evaluation{At: second * 1000, Rule: alerts.Rule{Version: 7, For: 2 * time.Second}, Outcome: o, Value: float64(second)},
		About:      alerts.About{Group: "g", Name: "A", Labels: map[string]string{"alertname": "A", "k": key}},
	}
	if o == alerts.Withdrawn {
		r.Rule = alerts.Rule{}
	}
	s.task.Process(key, r.Append(nil))
}

func (s *alertStage) want(told ...string) {
	s.Helper()
	var got []string
	for _, m := range s.told {
		got = append(got, fmt.Sprintf("%s %s %d %s", m.Labels["k"], m.State, m.Decided.Unix(), m.Reason))
	}
	if s.told = nil; !slices.Equal(got, told) {
		s.Errorf("told %q, want %q", got, told)
	}
}

func newAlertStage(t *testing.T) *alertStage {
	s := &alertStage{T: t, rows: rowMap{}, now: 4000}
	s.assign()
	return s
}

func TestAlertsStage(t *testing.T) {
	s := newAlertStage(t)
	for second := range int64(5) {
		s.say("a", 100+second, alerts.Breached)
		s.say("b", 100+second, alerts.Cleared)
	}
	s.want("a firing 102 breached")
	s.flush()
	s.say("a", 104, alerts.Cleared) // that time was told of
	s.say("a", 105, alerts.Withdrawn)
	s.want("a resolved 105 rule_removed")
}

// What is decided after a commit that failed is decided again, from what was committed.
func TestAlertsAfterAnAbort(t *testing.T) {
	s := newAlertStage(t)
	s.say("a", 100, alerts.Breached)
	s.flush()
	s.say("a", 102, alerts.Breached)
	s.want("a firing 102 breached")
	id := alerts.Transition{Fires: true, Fired: 102_000}.ID("a")
	s.assign() // aborted: nothing of it was sent
	s.say("a", 102, alerts.Breached)
	if len(s.told) != 1 || s.told[0].ID != id {
		t.Errorf("told %+v, want the id %s", s.told, id)
	}
	s.told = nil
	s.flush()
	s.assign() // committed
	s.say("a", 102, alerts.Breached)
	s.say("a", 103, alerts.Breached)
	s.want()
}

// Alerts of which nothing is said for an hour are forgotten when they are not active,
// and what comes later than that is ignored.
func TestAlertsAreForgotten(t *testing.T) {
	s := newAlertStage(t)
	s.say("quiet", 100, alerts.Breached)
	s.say("quiet", 101, alerts.Cleared)
	s.say("fires", 100, alerts.Breached)
	s.say("fires", 102, alerts.Breached)
	s.say(alerts.MarkKey, 100, alerts.Cleared)
	s.flush()
	if got := slices.Sorted(maps.Keys(s.rows)); !slices.Equal(got, []string{alerts.MarkKey, "fires", "quiet"}) {
		t.Errorf("rows %v", got)
	}
	s.say("other", 3800, alerts.Breached)
	s.flush()
	if got := slices.Sorted(maps.Keys(s.rows)); !slices.Equal(got, []string{alerts.MarkKey, "fires", "other"}) {
		t.Errorf("rows %v, want quiet to be gone", got)
	}
	s.say(alerts.MarkKey, 105, alerts.Cleared)
	s.flush()
	var mark alerts.Row
	if err := mark.Decode(s.rows[alerts.MarkKey]); err != nil || mark.Evaluated != 105_000 {
		t.Errorf("the mark is at %d (%v): it may be as old as it likes", mark.Evaluated, err)
	}
	s.told = nil
	s.say("quiet", 101, alerts.Breached)
	s.say("fires", 3800, alerts.Cleared)
	s.want("fires resolved 3800 cleared")
	s.flush()
	if _, back := s.rows["quiet"]; back {
		t.Error("an evaluation of an hour ago was taken in")
	}
}

// The evaluation of a clock that is far ahead does not silence what comes after it.
func TestEvaluationOfTheFutureIsRefused(t *testing.T) {
	s := newAlertStage(t)
	s.say("a", 4061, alerts.Breached)
	if len(s.refused) != 1 || !strings.Contains(s.refused[0].Error(), "1970-01-01T01:07:41Z") {
		t.Errorf("refused %v", s.refused)
	}
	s.say("a", 3998, alerts.Breached)
	s.say("a", 4000, alerts.Breached)
	s.want("a firing 4000 breached")
}

func TestUnreadableEvaluationIsLeftOut(t *testing.T) {
	s := newAlertStage(t)
	s.task.Process("a", []byte(`{"format":99}`))
	s.task.Process("a", nil)
	s.say("a", 100, alerts.Breached)
	if len(s.refused) != 2 || !strings.Contains(s.refused[0].Error(), "format 99") {
		t.Errorf("refused %v", s.refused)
	}
	s.flush()
	s.rows["a"] = []byte("{")
	stage := processors.NewAlerts(processors.AlertsConfig{}, s)
	if _, err := stage.Assign(0, s.rows); err == nil {
		t.Error("a row that cannot be read is no error")
	}
}

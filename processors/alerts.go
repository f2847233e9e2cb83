package processors

import (
	"fmt"
	"time"

	"ragstreams/alerts"
	"ragstreams/codecs"

	"github.com/lovoo/goka"
)

// AlertsConfig describes the stage of the alerts.
type AlertsConfig struct {
	Names Names
	// Refused is told of an evaluation that cannot be read, such as one of a newer
	// version of the program. It is left out: what it said is said again.
	Refused func(err error)
	Clock   Clock
}

// Alerts takes evaluations in, keeps the state of every alert, and sends to the outbox
// what people are to be told, in the same transaction.
type Alerts struct {
	cfg   AlertsConfig
	out   Output
	tasks tasks[*AlertsTask]
}

// NewAlerts returns the stage for one session, whose output is out.
func NewAlerts(cfg AlertsConfig, out Output) *Alerts { return &Alerts{cfg: cfg, out: out} }

// Graph returns the goka group.
func (s *Alerts) Graph() *goka.GroupGraph {
	raw := codecs.Raw{}
	n := s.cfg.Names
	return goka.DefineGroup(goka.Group(n.AlertsGroup()),
		goka.Input(goka.Stream(n.Evaluations()), raw, func(ctx goka.Context, msg any) {
			if report, ok := msg.([]byte); ok {
				s.tasks.of(n.Evaluations(), ctx.Partition()).Process(ctx.Key(), report)
			}
		}),
		goka.Output(goka.Stream(n.Outbox()), raw),
		goka.Persist(raw),
	)
}

// Assign starts work on a partition whose rows were restored.
func (s *Alerts) Assign(partition int32, rows Rows) (*AlertsTask, error) {
	task := &AlertsTask{stage: s, partition: partition, store: rows, rows: make(map[string]*alerts.Row, rows.Len()), dirty: map[string]bool{}}
	var err error
	rows.All(func(key string, value []byte) bool {
		row := new(alerts.Row)
		err = row.Decode(value)
		task.rows[key] = row
		task.newest = max(task.newest, row.Evaluated)
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("table of alerts, partition %d: %w", partition, err)
	}
	s.tasks.add(partition, task)
	return task, nil
}

// AlertsTask is the work on one partition of the alerts.
type AlertsTask struct {
	stage     *Alerts
	partition int32
	store     Rows

	rows   map[string]*alerts.Row
	dirty  map[string]bool // keys of rows that changed
	newest int64           // time of the newest evaluation, in Unix milliseconds
	swept  int64           // newest, when silent rows were removed
	report alerts.Report
}

// forgetAlert is how long after its newest evaluation an alert that is not active is
// forgotten, in milliseconds of their time. An evaluation that is as late as that is
// ignored: it might be one that was taken in before.
const forgetAlert = int64(3_600_000)

// maxAhead is how far ahead of our clock an evaluation may be, in milliseconds. One of a
// clock that was wrong for a moment would silence its alerts until that time has come.
const maxAhead = int64(60_000)

// Process takes in one evaluation.
func (t *AlertsTask) Process(key string, report []byte) {
	r := &t.report
	if err := r.Decode(report); err != nil {
		t.stage.cfg.Refused(fmt.Errorf("alert %s: %w", key, err))
		return
	}
	if now := t.stage.cfg.Clock.Wall().UnixMilli(); r.At > now+maxAhead {
		t.stage.cfg.Refused(fmt.Errorf("alert %s: it was evaluated for %s, but it is %s: look at the clocks", key,
			time.UnixMilli(r.At).UTC().Format(time.RFC3339), time.UnixMilli(now).UTC().Format(time.RFC3339)))
		return
	}
	if r.At <= t.newest-forgetAlert && key != alerts.MarkKey {
		return
	}
	t.newest = max(t.newest, r.At)
	row := t.rows[key]
	if row == nil {
		row = new(alerts.Row)
		t.rows[key] = row
	}
	told, changed := row.Take(r)
	if !changed {
		return
	}
	for _, tr := range told {
		m := alerts.NewMessage(key, tr, row.About)
		t.stage.out.Send(t.stage.cfg.Names.Outbox(), -1, []byte(key), m.Append(nil))
	}
	t.dirty[key] = true
}

// Flush writes every row that changed, once.
func (t *AlertsTask) Flush(bool) (string, error) {
	if t.newest >= t.swept+forgetAlert/60 {
		t.swept = t.newest
		for key, row := range t.rows {
			if row.State == alerts.Inactive && row.Evaluated <= t.newest-forgetAlert && key != alerts.MarkKey {
				delete(t.rows, key)
				delete(t.dirty, key)
				t.store.Delete(key)
			}
		}
	}
	for key := range t.dirty {
		t.store.Set(key, t.rows[key].Append(nil))
	}
	clear(t.dirty)
	return "", nil
}

// Paused implements the transport's task: alerts never wait.
func (t *AlertsTask) Paused() bool { return false }

// MaxRecords implements the transport's task.
func (t *AlertsTask) MaxRecords() int { return 0 }

// Full implements the transport's task.
func (t *AlertsTask) Full() bool { return len(t.dirty) >= fullRows }

// Close implements the transport's task.
func (t *AlertsTask) Close() { t.stage.tasks.remove(t.partition, t) }

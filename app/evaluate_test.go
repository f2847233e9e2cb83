package app

import (
	"maps"
	"slices"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/match"
	"ragstreams/alerts/policy"
	"ragstreams/alerts/silences"
	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/window"
)

// come is how far a table has come.
type come struct{ mark int64 }

func (c come) Watermark() (int64, bool) { return c.mark, c.mark > 0 }
func (c come) Partitions() int32        { return 1 }
func (c come) Offset(int32) int64       { return 0 }

// A backlog is not silence: rules are evaluated for the time that the tables have come
// to, but for the clock's when nothing is left to read.
func TestTimeOfAnEvaluation(t *testing.T) {
	now := time.UnixMilli(1_764_000_000_000)
	clock := processors.Clock{Wall: func() time.Time { return now }, Mono: func() time.Duration { return 0 }}
	for _, c := range []struct {
		name  string
		lag   time.Duration // of the slowest table; < 0: it has no watermark
		state window.State
		want  time.Duration // before now; < 0: it is not known
	}{
		{"the tables follow", 9 * time.Second, window.Unread, 0},
		{"a backlog", time.Hour, window.Unread, time.Hour},
		{"a quiet night", time.Hour, window.Idle, 0},
		{"all is read", time.Minute, window.CaughtUp, 0},
		{"nothing was counted yet, and nothing is left", -1, window.Idle, 0},
		{"nothing was counted yet", -1, window.Unread, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Clock = clock
			progress := processors.NewProgress(o.panes(), clock)
			progress.Expect([]window.Partition{{Topic: "t"}})
			report := codecs.AppendReport(nil, codecs.Report{HasTime: true, StreamTime: 1, NewestTime: 1, State: byte(c.state)})
			if err := progress.Record([]byte("t/0"), report, now.UnixMilli()); err != nil {
				t.Fatal(err)
			}
			slowest := come{now.Add(-c.lag).UnixMilli()}
			if c.lag < 0 {
				slowest = come{}
			}
			r := &readers{read: map[string]reading{"fast": come{now.UnixMilli()}, "slow": slowest}}
			got, known := (&alerting{stages: &stages{o: &o, progress: progress}, readers: r}).now()
			if known != (c.want >= 0) || known && now.Sub(got) != c.want {
				t.Errorf("%v before now, known %v; want %v", now.Sub(got), known, c.want)
			}
		})
	}
}

func TestActiveAlertsAreCountedOnce(t *testing.T) {
	silenced := []alerts.Suppressor{{Kind: alerts.Silenced, By: "s"}}
	row := func(state alerts.State, by []alerts.Suppressor) *alerts.Row {
		return &alerts.Row{Alert: alerts.Alert{State: state, Suppressed: by}}
	}
	got := countActive(map[string]*alerts.Row{
		"a": row(alerts.Inactive, nil), "b": row(alerts.Pending, silenced), "c": row(alerts.Firing, nil), "d": row(alerts.Firing, silenced), "e": row(alerts.Firing, silenced),
	})
	if want := map[string]int{"pending": 1, "firing": 1, "suppressed": 2}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A silence, another alert and the time of day suppress together, and go by the clock.
func TestWhatSuppresses(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	o := &Options{Clock: processors.Clock{Wall: func() time.Time { return now }}}
	p, err := policy.Parse("test", []byte(`
inhibit_rules: [{source_matchers: [alertname=Cause], target_matchers: [alertname=Effect]}]
time_intervals: [{name: noon, time_intervals: [{times: [{start_time: "12:00", end_time: "13:00"}]}]}]
routes: [{matchers: [alertname=Effect], mute_time_intervals: [noon]}]`))
	if err != nil {
		t.Fatal(err)
	}
	matchers, err := match.Parse("alertname=Effect")
	if err != nil {
		t.Fatal(err)
	}
	book := silences.NewBook()
	change, err := silences.Create(silences.Wish{Matchers: matchers, Starts: now, Ends: now.Add(2 * time.Hour), By: "ana", Comment: "x"}, now)
	if err == nil {
		err = book.Update(change.Key, change.Append(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &alerting{stages: &stages{o: o}, silencing: &silencing{book: book}}
	cause, effect := map[string]string{"alertname": "Cause"}, map[string]string{"alertname": "Effect"}
	kinds := func(missed ...time.Time) (list []alerts.Suppression) {
		for _, by := range a.suppress(p, missed...)(map[string]map[string]string{"c": cause, "e": effect})("e", effect) {
			list = append(list, by.Kind)
		}
		return list
	}
	if got := kinds(); !slices.Equal(got, []alerts.Suppression{alerts.Silenced, alerts.Inhibited, alerts.Muted}) {
		t.Errorf("suppressed by %v", got)
	}
	before := now
	now = now.Add(3 * time.Hour)
	if got := kinds(before); !slices.Equal(got, []alerts.Suppression{alerts.Silenced, alerts.Inhibited, alerts.Muted}) {
		t.Errorf("three hours later, of a time that was missed, by %v", got)
	}
	if got := kinds(); !slices.Equal(got, []alerts.Suppression{alerts.Inhibited}) {
		t.Errorf("three hours later by %v", got)
	}
}

// Evaluations take a fifth of a core in the long run, however long one takes, and none waits
// for long because of a single one that took its time.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name        string
		took        func(n int) time.Duration
		least, most int           // in a minute
		longest     time.Duration // between two
	}{
		{"short ones", func(int) time.Duration { return time.Millisecond }, 590, 600, 110 * time.Millisecond},
		{"a long one now and then", func(n int) time.Duration {
			if n%100 == 50 {
				return 500 * time.Millisecond
			}
			return 5 * time.Millisecond
		}, 500, 600, 510 * time.Millisecond},
		{"long ones", func(int) time.Duration { return 100 * time.Millisecond }, 120, 140, 510 * time.Millisecond},
		{"one that takes very long", func(n int) time.Duration {
			if n == 10 {
				return 20 * time.Second
			}
			return time.Millisecond
		}, 300, 400, 20*time.Second + 10*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pacer
			n, busy, longest := 0, time.Duration(0), time.Duration(0)
			start := time.UnixMilli(1_764_000_000_000)
			last := start
			for now := start; now.Sub(start) < time.Minute; now = now.Add(lookEvery) {
				if !p.ready(now) {
					continue
				}
				longest, last = max(longest, now.Sub(last)), now
				took := c.took(n)
				p.took(now, took)
				busy += took
				now = now.Add(took)
				n++
			}
			if n < c.least || n > c.most || longest > c.longest {
				t.Errorf("%d in a minute, %s apart at most; want %d to %d, and %s", n, longest, c.least, c.most, c.longest)
			}
			if most := 12*time.Second + evaluateCredit + longest; busy > most {
				t.Errorf("they took %s of a minute, want %s at most", busy, most)
			}
		})
	}
}

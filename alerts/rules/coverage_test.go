package rules

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"ragstreams/alerts"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// round10 is a round for a present, over panes of ten seconds.
func round10(at, mark time.Time) Round {
	return Round{At: at, Now: at, Mark: mark, Pane: 10 * time.Second, Patience: 10 * time.Second}
}

func TestCoverage(t *testing.T) {
	start := time.UnixMilli(1_764_000_000_000)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	type present struct {
		at, mark float64 // seconds; the mark < 0: none
		missed   string
		until    float64
	}
	many := "[" // 20 times, and the next
	for n := 20; n < 220; n += 10 {
		many += fmt.Sprint(n, " ")
	}
	many = many[:len(many)-1] + "]"
	for _, c := range []struct {
		name     string
		presents []present
	}{
		{"tables that follow", []present{{12, 11, "[]", 12}, {19, 18, "[]", 19}, {21, 20, "[]", 21}, {31, 30, "[]", 31}}},
		{"nobody looked", []present{{12, 11, "[]", 12}, {45, 45, "[20 30 40]", 45}, {46, 45, "[]", 46}}},
		{"the tables come to it soon", []present{{12, 11, "[]", 12}, {45, 44, "[20 30 40]", 44}, {46, 46, "[]", 46}}},
		{"back after a crash, with nothing read yet", []present{{12, 11, "[]", 12}, {45, 11, "[]", 12}, {46, 35, "[20 30]", 35}, {47, 46, "[40]", 47}, {48, 46, "[]", 48}}},
		{"a source that is late or quiet, while somebody looks", []present{{12, 11, "[]", 12}, {20, 12, "[]", 20}, {30, 12, "[]", 30}, {40, 25, "[]", 40}, {50, 45, "[]", 50}}},
		{"a backlog", []present{{12, 11, "[]", 12}, {55, 55, "[20 30 40 50]", 55}, {75, 75, "[60 70]", 75}}},
		{"ends of panes", []present{{12, 11, "[]", 12}, {40, 40, "[20 30]", 40}}},
		{"much at once", []present{{12, 11, "[]", 12}, {239, 300, many, 210}, {240, 300, "[220 230]", 240}}},
		{"a gap behind a gap", []present{{12, 11, "[]", 12}, {45, 11, "[]", 12}, {75, 11, "[]", 12}, {76, 76, "[20 30 40 50 60 70]", 76}}},
		{"what is long over", []present{{12, 11, "[]", 12}, {1000, 130, "[110 120 130]", 130}}},
		{"the first time", []present{{500, 100, "[]", 500}, {505, 101, "[]", 505}}},
		{"nothing was counted", []present{{500, -1, "[]", 500}, {600, -1, "[]", 500}, {601, 601, "[510 520 530 540 550 560 570 580 590 600]", 601}}},
		{"time goes back", []present{{50, 50, "[]", 50}, {40, 40, "[]", 50}, {51, 51, "[]", 51}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cover Coverage
			for _, p := range c.presents {
				mark := time.Time{}
				if p.mark >= 0 {
					mark = at(p.mark)
				}
				var missed []float64
				times, more := cover.present(round10(at(p.at), mark))
				for _, m := range times {
					missed = append(missed, m.Sub(start).Seconds())
				}
				if more != (p.missed == many) {
					t.Errorf("at %v: more: %v", p.at, more)
				}
				if got := fmt.Sprint(missed); got != p.missed || !cover.until.Equal(at(p.until)) {
					t.Errorf("at %v, mark %v: missed %s, covered until %v; want %s and %v", p.at, p.mark, got, cover.until.Sub(start).Seconds(), p.missed, p.until)
				}
			}
		})
	}
}

// Of a long gap every breach is told, however many rounds it takes.
func TestEveryBreachOfALongGap(t *testing.T) {
	s := newStand(t, "groups: [{name: g, rules: [{alert: A, expr: x > 0}]}]")
	s.second(values{"x": 0})
	first := s.now
	var c Coverage
	c.present(round10(time.Unix(first, 0), time.Unix(first, 0)))
	for range 600 {
		s.now++
		n, x := s.now-first, 0.0
		if n > 150 && n < 260 || n > 400 && n < 500 {
			x = 1
		}
		s.tables.add(s.tableRule("x"), s.now*1000, promql.Vector{{F: x, Metric: labels.FromStrings(model.MetricNameLabel, "x")}})
	}
	now, rounds := time.Unix(s.now, 0), 0
	for more := true; more; rounds++ {
		r := round10(now, now)
		r.Known = maps.Clone(s.rows)
		r.Evaluate = func(at time.Time, past bool) ([]Said, error) {
			s.now, s.past = at.Unix(), past
			return s.ask(r.Known), nil
		}
		var said []Said
		var err error
		if said, more, err = c.Round(r); err != nil {
			t.Fatal(err)
		}
		s.take(said)
	}
	var told []string
	for _, m := range s.messages {
		told = append(told, fmt.Sprint(m.State, " ", m.Decided.Unix()-first))
	}
	if len(told) != 4 || told[0][:6] != "firing" || s.messages[3].State != alerts.MessageResolved || s.messages[2].Decided.Unix()-first > 411 {
		t.Errorf("told %v, want two breaches", told)
	}
	if until := s.rows[alerts.MarkKey].Evaluated; rounds != 3 || until != now.UnixMilli() {
		t.Errorf("%d rounds, and the stage knows that all is covered until %d; want 3 and %d", rounds, until, now.UnixMilli())
	}
}

// What fires since before a gap is not ended in it; what began to fire in it is.
func TestUnseen(t *testing.T) {
	start := time.UnixMilli(1_764_000_000_000)
	var c Coverage
	c.resume(start)
	now := start.Add(time.Minute)
	c.present(round10(now, now))
	row := func(s alerts.State, fired time.Duration) *alerts.Row {
		return &alerts.Row{Alert: alerts.Alert{State: s, Fired: start.Add(fired).UnixMilli()}}
	}
	rows := map[string]*alerts.Row{
		"quiet": row(alerts.Inactive, 0), "pending": row(alerts.Pending, 0), "before": row(alerts.Firing, -time.Second), "within": row(alerts.Firing, 20*time.Second),
	}
	var keys []string
	for _, one := range c.unseen([]Said{{Key: "before"}, {Key: "new"}, {Key: "pending"}, {Key: "quiet"}, {Key: "within"}}, rows) {
		keys = append(keys, one.Key)
	}
	if !slices.Equal(keys, []string{"new", "pending", "quiet", "within"}) {
		t.Errorf("unseen are %v", keys)
	}
}

// Who goes on where another one stopped has a gap up to the present.
func TestCoverageResumes(t *testing.T) {
	start := time.UnixMilli(1_764_000_000_000)
	var c Coverage
	c.resume(start)
	now := start.Add(25 * time.Second)
	if got, _ := c.present(round10(now, now)); len(got) != 2 || !got[0].Equal(start.Add(10*time.Second)) {
		t.Errorf("missed %v, want two times", got)
	}
	if c.resume(start); !c.until.Equal(now) {
		t.Errorf("covered until %s, though more was", c.until)
	}
}

// Panes that are very short are not looked at one by one.
func TestCoverageOfShortPanes(t *testing.T) {
	start := time.UnixMilli(1_764_000_000_000)
	for pane, want := range map[time.Duration]int{time.Millisecond: 5, 2 * time.Second: 7, 5 * time.Second: 5, time.Minute: 0} {
		var c Coverage
		c.resume(start)
		now := start.Add(29 * time.Second)
		if got, _ := c.present(Round{At: now, Now: now, Mark: now, Pane: pane, Patience: pane}); len(got) != want {
			t.Errorf("panes of %s: missed %v, want %d times", pane, got, want)
		}
	}
}

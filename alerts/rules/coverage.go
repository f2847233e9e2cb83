package rules

import (
	"time"

	"ragstreams/alerts"
)

// Coverage is for which times rules were evaluated while they were the present. There is a
// gap after a crash, while partitions move, and where tables come out of a backlog: a
// breach may have come and gone in it while nobody looked. The zero Coverage knows nothing.
type Coverage struct {
	until time.Time // all before it is covered
	gap   time.Time // the end of the gap behind it; the zero time: there is none
	began time.Time // where that gap began
	last  time.Time // the newest present
	told  time.Time // of until, what the stage of the alerts was told
}

// Bounds of what is evaluated after all.
const (
	maxMissed     = 15 * time.Minute // people are not told of older things
	maxMissedOnce = 20               // times between two looks at whether this is still for us to do
	minMissedStep = 5 * time.Second
	markEvery     = 5 * time.Second // the stage of the alerts is told what is covered
)

// Round is one evaluation of rules for the present.
type Round struct {
	At, Now  time.Time     // see Moment
	Mark     time.Time     // the tables are complete up to it; the zero time: they have not begun
	Pane     time.Duration // of the tables
	Patience time.Duration // presents that are further apart have a gap between them
	Known    map[string]*alerts.Row
	Evaluate func(at time.Time, past bool) ([]Said, error)
}

// Round evaluates rules for times of the gap that can be evaluated now, and then for the
// present. It returns what the stage of the alerts is to be told, in this order, and whether
// more of the gap is left for the next round: then the present was not evaluated, for what
// is said of it hides what is said of an alert's past. Known is changed by what was said of
// the past.
//
// A Coverage goes on from what the stage keeps of others. A caller who could not tell the
// stage goes on with a copy of the Coverage before the round.
func (c *Coverage) Round(r Round) (said []Said, more bool, err error) {
	if row := r.Known[alerts.MarkKey]; row != nil {
		c.resume(time.UnixMilli(row.Evaluated))
	}
	missed, more := c.present(r)
	for _, at := range missed {
		past, err := r.Evaluate(at, true)
		if err != nil {
			return nil, false, err
		}
		past = c.unseen(past, r.Known)
		Take(r.Known, past, nil)
		said = append(said, past...)
	}
	if !more {
		present, err := r.Evaluate(r.At, false)
		if err != nil {
			return nil, false, err
		}
		said = append(said, present...)
	}
	if c.until.Sub(c.told) >= markEvery {
		c.told = c.until
		said = append(said, Said{alerts.MarkKey, alerts.Mark(c.until.UnixMilli())})
	}
	return said, more, nil
}

// resume notes that others covered all before a time.
func (c *Coverage) resume(until time.Time) { c.until = newer(c.until, until) }

// present notes that rules are about to be evaluated for a time, and returns those of the
// gap that can be evaluated before it, each the end of a pane, and whether there are more.
func (c *Coverage) present(r Round) (missed []time.Time, more bool) {
	at := r.At
	switch {
	case c.until.IsZero(): // the first time of all
		c.until = at
	case c.last.IsZero() || at.Sub(c.last) > r.Patience:
		if c.gap.IsZero() {
			c.began = c.until
		}
		c.gap = at
	}
	c.last = newer(c.last, at)
	if c.gap.IsZero() {
		c.until = newer(c.until, at)
		return nil, false
	}
	end := c.gap
	if r.Mark.Before(end) {
		end = r.Mark
	}
	step := max(r.Pane, minMissedStep.Truncate(r.Pane))
	for t := newer(c.until, r.Now.Add(-maxMissed)).Truncate(step).Add(step); !t.After(end) && t.Before(at); t = t.Add(step) {
		if len(missed) == maxMissedOnce {
			c.until = missed[len(missed)-1]
			return missed, true
		}
		missed = append(missed, t)
	}
	c.until = newer(c.until, end)
	if !r.Mark.Before(c.gap) {
		c.until, c.gap = c.last, time.Time{}
	}
	return missed, false
}

func newer(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// unseen returns those of some evaluations of a gap that are not about alerts which fire
// since before it, by the rows of a table. What people know of is for the present to end:
// that it ceased for a moment is no news.
func (c *Coverage) unseen(said []Said, rows map[string]*alerts.Row) (unseen []Said) {
	for _, one := range said {
		row := rows[one.Key]
		if row == nil || row.State != alerts.Firing || row.Fired > c.began.UnixMilli() {
			unseen = append(unseen, one)
		}
	}
	return unseen
}

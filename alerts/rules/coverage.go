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
}

// Bounds of what is evaluated after all.
const (
	maxMissed     = 15 * time.Minute // people are not told of older things
	maxMissedOnce = 20               // times between two looks at whether this is still for us to do
	minMissedStep = 5 * time.Second
)

// Until returns the time before which all is covered, the zero time if nothing is.
func (c *Coverage) Until() time.Time { return c.until }

// Resume notes that others covered all before a time.
func (c *Coverage) Resume(until time.Time) { c.until = newer(c.until, until) }

// Present notes that rules are about to be evaluated for a time, and returns those of the
// gap that can be evaluated before it, each the end of a pane: the tables are complete up
// to mark, the zero time if they have not begun. Presents that are further apart than
// patience have a gap between them. now is the clock's time.
//
// With more, there are more such times: the present is to wait for them, for what was said
// of it hides what is said of an alert's past.
func (c *Coverage) Present(at, mark, now time.Time, pane, patience time.Duration) (missed []time.Time, more bool) {
	switch {
	case c.until.IsZero(): // the first time of all
		c.until = at
	case c.last.IsZero() || at.Sub(c.last) > patience:
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
	if mark.Before(end) {
		end = mark
	}
	step := max(pane, minMissedStep.Truncate(pane))
	for t := newer(c.until, now.Add(-maxMissed)).Truncate(step).Add(step); !t.After(end) && t.Before(at); t = t.Add(step) {
		if len(missed) == maxMissedOnce {
			c.until = missed[len(missed)-1]
			return missed, true
		}
		missed = append(missed, t)
	}
	c.until = newer(c.until, end)
	if !mark.Before(c.gap) {
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

// Unseen returns those of some evaluations of a gap that are not about alerts which fire
// since before it, by the rows of a table. What people know of is for the present to end:
// that it ceased for a moment is no news.
func (c *Coverage) Unseen(said []Said, rows map[string]*alerts.Row) (unseen []Said) {
	for _, one := range said {
		row := rows[one.Key]
		if row == nil || row.State != alerts.Firing || row.Fired > c.began.UnixMilli() {
			unseen = append(unseen, one)
		}
	}
	return unseen
}

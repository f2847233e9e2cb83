package rules

import "time"

// Coverage is up to when rules were evaluated with all that the tables had to show of
// that time. Beyond it a breach may have come and gone while nobody looked: there was a
// crash, partitions moved, or the tables were in a backlog. The zero Coverage knows nothing.
type Coverage struct {
	Until time.Time
}

// maxMissed is how long ago what was missed may be. People are not told of older things.
const maxMissed = 15 * time.Minute

// Round returns the times, each the end of a pane, that are to be evaluated before at
// because they were not covered and the tables have come up to them by now; mark is up to
// where they have, the zero time if there is none. It takes them and at for evaluated.
func (c *Coverage) Round(at, mark, now time.Time, pane time.Duration) (missed []time.Time) {
	if mark.IsZero() {
		return nil
	}
	follows := at.Sub(mark) < pane
	if !c.Until.IsZero() && !(follows && at.Sub(c.Until) <= pane) {
		from := c.Until
		if earliest := now.Add(-maxMissed); from.Before(earliest) {
			from = earliest
		}
		for t := from.Truncate(pane).Add(pane); !t.After(mark) && t.Before(at); t = t.Add(pane) {
			missed = append(missed, t)
		}
	}
	if follows {
		mark = at
	}
	if mark.After(c.Until) {
		c.Until = mark
	}
	return missed
}

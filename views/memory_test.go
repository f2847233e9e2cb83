package views_test

import (
	"fmt"
	"testing"
	"time"

	"ragstreams/views"
)

// What hours tell is not kept as panes any more, however long hours are kept: of a series
// that goes on it leaves with its next pane, of a silent one in its turn.
func TestPanesLeaveWhenHoursHaveCome(t *testing.T) {
	const many = 1000 // more than are looked after at once
	r := newRig(t, views.Options{Retention: time.Hour, HourRetention: 24 * time.Hour})
	name := func(i int) string { return fmt.Sprint("s", i) }
	all := func(counts ...closed) (list []closed) {
		for i := range many {
			for _, c := range counts {
				c.name = name(i)
				list = append(list, c)
			}
		}
		return list
	}
	kept := func(when string, i int, wantPanes, wantHours int) {
		t.Helper()
		if panes, hours := views.Kept(r.view, 0, key(name(i))); panes != wantPanes || hours != wantHours {
			t.Errorf("%s, %d panes and %d hours of %s are kept, want %d and %d", when, panes, hours, name(i), wantPanes, wantHours)
		}
	}
	r.windows(0, all(closed{start: 0}, closed{start: pane}, closed{start: 2 * hour})...)
	r.mark(0, 3*hour)
	r.hours(0, 0, all(closed{start: 0})...)
	for i := range many {
		kept("when not all hours have come", i, 3, 1)
	}
	r.hours(0, 3*hour, all(closed{start: 2 * hour})...)
	for i := range many {
		r.windows(0, closed{name(i), 3 * hour, 1})
		kept("when it goes on", i, 2, 2)
	}
	r.mark(0, 5*hour)
	r.hours(0, 5*hour, all(closed{start: 3 * hour})...)
	for range many / 64 {
		r.windows(0, closed{"another", 5 * hour, 1})
	}
	for i := range many {
		kept("when it is silent", i, 0, 3)
	}
}

package window_test

import (
	"testing"
	"time"

	"ragstreams/window"
)

var panes = window.Panes{Size: 10_000, Grace: 60_000}

func TestStart(t *testing.T) {
	for _, tt := range []struct{ at, want int64 }{
		{0, 0}, {1, 0}, {9_999, 0}, {10_000, 10_000}, {19_999, 10_000},
		{-1, -10_000}, {-10_000, -10_000}, {-10_001, -20_000},
	} {
		if got := panes.Start(tt.at); got != tt.want {
			t.Errorf("Start(%d) = %d, want %d", tt.at, got, tt.want)
		}
		if got := panes.End(tt.at); got != tt.want+10_000 {
			t.Errorf("End(%d) = %d, want %d", tt.at, got, tt.want+10_000)
		}
	}
}

// A pane that ends at 20 s is taken until stream time has reached 80 s.
func TestAcceptsUntilGraceAfterThePane(t *testing.T) {
	for _, tt := range []struct {
		name       string
		at, stream int64
		want       bool
	}{
		{"nothing seen yet", 10_000, window.None, true},
		{"in order", 10_000, 10_000, true},
		{"one millisecond before the grace is over", 19_999, 79_999, true},
		{"when the grace is over", 19_999, 80_000, false},
		{"one millisecond later", 19_999, 80_001, false},
		{"the start of the pane counts as its end does", 10_000, 79_999, true},
		{"the next pane is still open", 20_000, 80_000, true},
	} {
		if got := panes.Accepts(tt.at, tt.stream); got != tt.want {
			t.Errorf("%s: Accepts(%d, %d) = %v", tt.name, tt.at, tt.stream, got)
		}
	}
	if got := panes.Lateness(19_999, 80_001); got != 1 {
		t.Errorf("Lateness = %d, want 1", got)
	}
}

func TestClosed(t *testing.T) {
	for _, tt := range []struct {
		start, watermark int64
		want             bool
	}{
		{10_000, window.None, false}, {10_000, 79_999, false}, {10_000, 80_000, true}, {20_000, 80_000, false},
	} {
		if got := panes.Closed(tt.start, tt.watermark); got != tt.want {
			t.Errorf("Closed(%d, %d) = %v", tt.start, tt.watermark, got)
		}
	}
}

// ClosedThrough and Closed must agree on every pane and watermark.
func TestClosedThroughIsTheNewestClosedPane(t *testing.T) {
	if got := panes.ClosedThrough(window.None); got != window.None {
		t.Errorf("without a watermark: %d", got)
	}
	for mark := int64(-100_000); mark < 200_000; mark += 777 {
		through := panes.ClosedThrough(mark)
		if !panes.Closed(through, mark) || panes.Closed(through+panes.Size, mark) {
			t.Errorf("ClosedThrough(%d) = %d is not the newest closed pane", mark, through)
		}
	}
}

func TestStreamTimeNeverRunsAheadOfTheClock(t *testing.T) {
	s := window.NewSource(window.None, window.None, time.Second, 3_600_000, 0)
	s.Event(5_000, 2_000, 0)
	if s.StreamTime != 2_000 || s.NewestTime != 5_000 {
		t.Errorf("after an event of the future: %+v", s.Report)
	}
	s.Event(1_000, 2_500, 0)
	if s.StreamTime != 2_000 || s.NewestTime != 5_000 {
		t.Errorf("an older event moved time: %+v", s.Report)
	}
}

func TestSourceState(t *testing.T) {
	const hour = 3_600_000
	s := window.NewSource(1_000, 1_000, 30*time.Second, hour, 0)
	if s.State != window.Unread {
		t.Errorf("a new owner says %v", s.State)
	}
	step := func(name string, atEnd bool, greatest int64, now time.Duration, want window.State) {
		t.Helper()
		s.Judge(atEnd, greatest, now)
		if s.State != want {
			t.Errorf("%s: %v, want %v", name, s.State, want)
		}
	}
	step("not at the end, however long", false, 1_000, time.Hour, window.Unread)
	s.Event(1_000, 1_000, time.Hour)
	step("at the end", true, 1_000, time.Hour+29*time.Second, window.CaughtUp)
	step("silent for the timeout", true, 1_000, time.Hour+30*time.Second, window.Idle)
	s.Event(1_000, 1_000, 2*time.Hour)
	step("an event woke it", true, 1_000, 2*time.Hour, window.CaughtUp)
	step("an hour behind the others", true, 1_000+hour, 2*time.Hour, window.CaughtUp)
	step("more than an hour behind", true, 1_001+hour, 2*time.Hour, window.Idle)
	step("records are left to read", false, 1_001+hour, 2*time.Hour, window.Unread)
}

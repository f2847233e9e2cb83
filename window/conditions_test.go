package window_test

import (
	"testing"
	"time"

	"ragstreams/window"
)

// Reports are read again after a restart: neither time of a partition falls.
func TestTimesOfAReportNeverFall(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, 100_000, window.Unread)
	m.report(1, 90_000, window.Unread)
	m.report(0, 50_000, window.Unread)
	m.report(1, 120_000, window.Unread)
	m.want(100_000, "the greatest stream time of each")

	m = newMarks(t, window.None, 0)
	m.send(0, window.Report{StreamTime: 100_000, NewestTime: 155_000, State: window.Idle})
	m.report(0, 100_000, window.Idle)
	m.want(100_000, "idle")
	m.pass(time.Hour)
	m.want(220_000, "end of the pane of 155 s, and its grace")
}

// Silence counts from when all are known to be idle, not from before it was known
// what there is.
func TestTimeStandsStillWithoutPartitions(t *testing.T) {
	m := newMarks(t, window.None)
	m.want(window.None, "nothing is expected")
	m.now = time.Hour
	m.Expect([]window.Partition{partition(0)})
	m.report(0, 100_000, window.Idle)
	m.want(100_000, "idle from now on")
}

// Who has no time yet is not behind, and nobody is behind of none. Times before
// 1970 are times like any other.
func TestBehindNeedsTwoTimes(t *testing.T) {
	for _, tt := range []struct {
		name             string
		stream, greatest int64
		want             window.State
	}{
		{"nothing read", window.None, -1, window.CaughtUp},
		{"nothing known of the others", 1_000, window.None, window.CaughtUp},
		{"behind, before 1970", -10_000, -1, window.Idle},
	} {
		s := window.NewSource(tt.stream, tt.stream, time.Hour, 5_000, 0)
		s.Judge(true, tt.greatest, 0)
		if s.State != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, s.State, tt.want)
		}
	}
}

package window_test

import (
	"testing"
	"time"

	"ragstreams/window"
)

func partition(n int32) window.Partition { return window.Partition{Topic: "t", Partition: n} }

// marks is a watermark over two partitions, with a clock.
type marks struct {
	t *testing.T
	*window.Watermark
	now  time.Duration
	last map[int32]window.Report
}

func newMarks(t *testing.T, value int64, partitions ...int32) *marks {
	w := window.NewWatermark(panes, value)
	var all []window.Partition
	for _, p := range partitions {
		all = append(all, partition(p))
	}
	w.Expect(all)
	return &marks{t: t, Watermark: w, last: map[int32]window.Report{}}
}

func (m *marks) report(p int32, streamTime int64, s window.State) {
	m.send(p, window.Report{StreamTime: streamTime, NewestTime: streamTime, State: s})
}

// epoch is when the monotonic clock began.
const epoch = 1_000_000

func (m *marks) send(p int32, r window.Report) {
	m.last[p] = r
	m.Report(partition(p), r, epoch+m.now.Milliseconds(), m.now)
}

// pass lets time pass in which every owner goes on to report the same.
func (m *marks) pass(d time.Duration) {
	m.now += d
	for p, r := range m.last {
		m.send(p, r)
	}
}

func (m *marks) want(want int64, because string) {
	m.t.Helper()
	if got := m.Advance(m.now); got != want {
		m.t.Errorf("watermark = %d, want %d: %s", got, want, because)
	}
}

func TestWatermarkWaitsForEveryPartition(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.want(window.None, "nobody reported")
	m.report(0, 100_000, window.CaughtUp)
	m.want(window.None, "one is missing, and a missing report never means idle")
	m.now += time.Hour
	m.want(window.None, "however long it is missing")
	m.report(1, 90_000, window.Unread)
	m.want(90_000, "the slowest")
	m.report(1, 120_000, window.Unread)
	m.want(100_000, "now the other one")
}

func TestWatermarkNeverFalls(t *testing.T) {
	m := newMarks(t, 50_000, 0, 1)
	m.report(0, 10_000, window.Unread)
	m.report(1, 60_000, window.Unread)
	m.want(50_000, "the durable value stands")
	m.report(0, 70_000, window.Unread)
	m.want(60_000, "it goes on from there")
	m.report(0, 5_000, window.Unread)
	m.want(60_000, "an old report read again changes nothing")
}

func TestIdlePartitionHoldsNobodyBack(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, 100_000, window.CaughtUp)
	m.report(1, 10_000, window.CaughtUp)
	m.want(10_000, "caught up is not idle")
	m.report(1, 10_000, window.Idle)
	m.want(100_000, "idle")
}

func TestEmptyPartition(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, 100_000, window.CaughtUp)
	m.report(1, window.None, window.Unread)
	m.want(window.None, "it was not read to its end: anything may come")
	m.report(1, window.None, window.CaughtUp)
	m.want(100_000, "it is empty")
}

func TestAllEmptyHasNoWatermark(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, window.None, window.Idle)
	m.report(1, window.None, window.Idle)
	m.pass(time.Hour)
	m.want(window.None, "there is no time yet")
}

// The newest pane ends at 110 s; its grace ends at 170 s.
func TestQuietNightClosesEveryPane(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, 100_000, window.Idle)
	m.report(1, 90_000, window.CaughtUp)
	m.want(90_000, "one is awake")
	m.report(1, 90_000, window.Idle)
	m.want(100_000, "all idle: the greatest stream time")
	m.pass(5 * time.Second)
	m.want(105_000, "and on with the clock")
	m.pass(64_999 * time.Millisecond)
	m.want(169_999, "until")
	m.pass(time.Hour)
	m.want(170_000, "everything is closed")
	m.report(1, 300_000, window.CaughtUp)
	m.want(300_000, "day breaks")
	m.report(1, 300_000, window.Idle)
	m.want(300_000, "and the clock starts anew")
	m.pass(2 * time.Second)
	m.want(302_000, "from there")
}

// An event ahead of the clock has a pane that closes, too.
func TestQuietNightClosesThePaneOfAFutureEvent(t *testing.T) {
	m := newMarks(t, window.None, 0)
	m.send(0, window.Report{StreamTime: 100_000, NewestTime: 155_000, State: window.Idle})
	m.want(100_000, "at first")
	m.pass(time.Hour)
	m.want(220_000, "end of the pane of 155 s, and its grace")
}

func TestRemovedPartitionLeaves(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	m.report(0, 100_000, window.Unread)
	m.report(1, 10_000, window.Unread)
	m.want(10_000, "both")
	m.Expect([]window.Partition{partition(0)})
	m.want(100_000, "one left")
	m.Expect([]window.Partition{partition(0), partition(1)})
	if m.Missing() != 1 {
		t.Errorf("missing = %d: a partition that comes back must report again", m.Missing())
	}
	m.report(0, 110_000, window.Unread)
	m.want(100_000, "a new partition has not reported")
}

func TestSlowestOfTheUnread(t *testing.T) {
	m := newMarks(t, window.None, 0, 1, 2)
	m.report(0, 500_000, window.Unread)
	m.report(1, 90_000, window.CaughtUp)
	m.report(2, 200_000, window.Unread)
	m.Advance(0)
	if got := m.Slowest(); got != 200_000 {
		t.Errorf("slowest = %d, want 200000: who was read to its end makes nobody wait", got)
	}
	m.report(1, 300_000, window.CaughtUp)
	m.report(2, 200_000, window.Idle)
	m.Advance(0)
	m.report(2, 200_000, window.Unread)
	if got := m.Slowest(); got != 500_000 {
		t.Errorf("slowest = %d, want 500000: what is behind the watermark is late anyway", got)
	}
	if got := m.Greatest(); got != 500_000 {
		t.Errorf("greatest = %d", got)
	}
}

// A report that a partition is idle, or empty, holds for the lease: by the clock of
// the owners, and by ours.
func TestIdleHoldsAsLongAsItsOwnerIsThere(t *testing.T) {
	for name, quiet := range map[string]window.Report{
		"idle":  {StreamTime: 10_000, NewestTime: 10_000, State: window.Idle},
		"empty": {StreamTime: window.None, NewestTime: window.None, State: window.CaughtUp},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMarks(t, 5_000, 0, 1)
			held := max(quiet.StreamTime, 5_000)
			m.send(1, quiet)
			m.report(0, 20_000, window.Unread)
			m.want(20_000, "its owner is there")

			m = newMarks(t, 5_000, 0, 1)
			m.send(1, quiet)
			m.Report(partition(0), window.Report{StreamTime: 20_000, NewestTime: 20_000}, epoch+window.Lease.Milliseconds()+1, 0)
			m.want(held, "the report is old by the owners' clock, though a moment ago for us")
			m.Report(partition(1), quiet, epoch+window.Lease.Milliseconds(), 0)
			m.want(20_000, "its owner is back")

			m = newMarks(t, 5_000, 0, 1)
			m.send(1, quiet)
			m.report(0, 20_000, window.Unread)
			m.now = window.Lease + time.Millisecond
			m.want(held, "nobody has reported for long, and who knows why")
			m.now = window.Lease
			m.want(20_000, "a millisecond before")
		})
	}
}

// What was said before a restart stands as far as time goes; that a partition is
// idle does not.
func TestRememberedReports(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	for p := range int32(2) {
		m.Remember(partition(p), window.Report{StreamTime: 100_000 + int64(p), NewestTime: 100_000, State: window.Idle})
	}
	m.want(100_000, "both have reported, and count as unread")
	m.now = time.Minute
	m.want(100_000, "time does not go on by itself")
	m.report(1, 200_000, window.CaughtUp)
	m.want(100_000, "the owner of the other one is not back")
	m.report(0, 100_000, window.Idle)
	m.want(200_000, "it is")
}

// The clock of a quiet night goes on when reports come again, if nothing else was
// said meanwhile.
func TestQuietNightWithAGapInTheReports(t *testing.T) {
	m := newMarks(t, window.None, 0)
	m.report(0, 100_000, window.Idle)
	m.want(100_000, "idle")
	m.now = 30 * time.Second
	m.want(100_000, "nobody reports")
	m.pass(0)
	m.want(130_000, "the owner was there all the time")
}

// The greatest stream time is that of the partitions that there are.
func TestGreatest(t *testing.T) {
	m := newMarks(t, window.None, 0, 1)
	want := func(want int64, because string) {
		t.Helper()
		if got := m.Greatest(); got != want {
			t.Errorf("%d, want %d: %s", got, want, because)
		}
	}
	want(window.None, "nobody reported")
	m.report(0, 100_000, window.CaughtUp)
	m.report(1, 300_000, window.CaughtUp)
	want(300_000, "of two")
	m.report(1, 200_000, window.CaughtUp)
	want(300_000, "an old report")
	m.Expect([]window.Partition{partition(0)})
	want(100_000, "the other is gone")
	m.Expect(nil)
	want(window.None, "both are")
}

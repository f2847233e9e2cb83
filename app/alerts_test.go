package app

import (
	"testing"
	"time"

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

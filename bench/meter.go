package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"ragstreams/e2e/servers"
)

// meter counts events, from whichever goroutine, and holds the time from the first
// to the last one wanted.
type meter struct {
	want  int64
	got   atomic.Int64
	first atomic.Int64 // Unix ns; 0 before the first
	last  time.Time    // when done is closed
	done  chan struct{}
}

func newMeter(want int64) *meter { return &meter{want: want, done: make(chan struct{})} }

func (m *meter) add(n int64) {
	if n == 0 {
		return
	}
	if m.first.Load() == 0 {
		m.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	if now := m.got.Add(n); now >= m.want && now-n < m.want {
		m.last = time.Now()
		close(m.done)
	}
}

// line tells what the meter and this process have seen, once done is closed; see
// parseMeter.
func (m *meter) line() (string, error) {
	u, err := servers.UsageOf(os.Getpid())
	if err != nil {
		return "", err
	}
	took := m.last.Sub(time.Unix(0, m.first.Load()))
	return fmt.Sprintf("events=%d seconds=%.9f cpu_s=%.2f peak_mib=%d", m.got.Load(), took.Seconds(), u.CPU.Seconds(), u.Peak>>20), nil
}

// parseMeter reads line of a meter that wanted so many events.
func parseMeter(line string, events int64) (figures, error) {
	n := float64(events)
	v := parseValues(line)
	v.expect("events", n)
	seconds := v.number("seconds")
	f := figures{eventsPerSecond: n / seconds, cpu: v.number("cpu_s") * 1e6 / n, peak: v.number("peak_mib")}
	if v.err == nil && seconds <= 0 {
		v.err = fmt.Errorf("%d events in no time: %q", events, line)
	}
	if v.err != nil {
		return figures{}, v.err
	}
	return f, nil
}

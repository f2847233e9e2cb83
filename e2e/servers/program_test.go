package servers

import (
	"os"
	"testing"
	"time"
)

func TestParseUsage(t *testing.T) {
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 123 77 0 0 20 0 9 0 5000 1 2\n"
	got, err := parseUsage(stat, "Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t  300 kB\nVmRSS:\t 200 kB\n")
	if want := (Usage{2 * time.Second, 300 << 10}); err != nil || got != want {
		t.Errorf("usage = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range [][2]string{{"42 (a) S 1", "VmHWM: 1 kB"}, {stat, "VmRSS: 1 kB"}, {"", ""}} {
		if u, err := parseUsage(bad[0], bad[1]); err == nil {
			t.Errorf("usage of %q, %q = %+v, want an error", bad[0], bad[1], u)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := UsageOf(os.Getpid())
	if err != nil || u.Peak < 1<<20 {
		t.Errorf("usage = %+v, %v, want some MiB", u, err)
	}
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ragstreams/e2e/servers"
)

// demo starts a demo, which ends with the test.
func demo(t testing.TB, name string, args ...string) *servers.Program {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := site.Program(name, binary, withoutConfiguration(os.Environ()),
		append([]string{"demo", "--kafka-port", "0", "--listen", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.Running() {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// TestDemo: the demo needs nothing, and finds by itself that its tables are true.
func TestDemo(t *testing.T) {
	p := demo(t, "demo", "--for", "20s")
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if code, err := p.Wait(ctx); err != nil || code != 0 {
		t.Errorf("the demo ended with %d, %v:\n%s", code, err, p.Log())
	}
}

// counting finds a line of the demo that tells of events counted.
var counting = regexp.MustCompile(`counted [1-9]`)

// TestDemoDiskFull: a demo that cannot write any more says so and ends, whatever
// it was doing, and claims nothing.
func TestDemoDiskFull(t *testing.T) {
	dir := filepath.Join(site.Dir, "demo-disk")
	var p *servers.Program
	disk := newDisk(t, dir, "64m", func() (int, error) { return p.PID(), nil })
	data := filepath.Join(dir, "data")
	p = demo(t, "demo-full", "--for", "1m", "--dir", data)
	eventually(t, 30*time.Second, "events are counted", func(context.Context) error {
		if !p.Running() {
			return errors.New("the demo has ended")
		}
		if !counting.MatchString(p.Log()) {
			return errors.New("none is")
		}
		return nil
	})
	if err := disk.fill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil || code != 1 {
		t.Errorf("the demo ended with %d, %v, want 1:\n%s", code, err, p.Log())
	}
	reason := "no space left on device"
	if !disk.mounted {
		reason = "file too large"
	}
	for _, want := range []string{"data folder " + data, reason, "--dir"} {
		if !strings.Contains(p.Tail(1), want) {
			t.Errorf("the last line does not say %q:\n%s", want, p.Log())
		}
	}
	if strings.Contains(p.Log(), "ground truth:") {
		t.Errorf("the demo vouches for its tables:\n%s", p.Log())
	}
}

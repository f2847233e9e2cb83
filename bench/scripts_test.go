package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const streamsLine = "app=baseline-7 mode=eos grace=1800 parsed=200000 aggregated=200000 error_groups=1990 dropped_late=0 seconds=1.25 " +
	"events_per_s=160000 cpu_s=1.8 cpu_total_s=5.0 peak_rss_mib=901 close_s=0.1\n"

func TestParseStreams(t *testing.T) {
	f, err := parseStreams(streamsLine, 200_000)
	if want := (figures{eventsPerSecond: 160_000, cpu: 9, peak: 901}); err != nil || f != want {
		t.Errorf("parseStreams(%q) = %+v, %v, want %+v", streamsLine, f, err, want)
	}
	for name, bad := range map[string]string{
		"nothing":         "",
		"stalled":         "app=baseline-7 STALLED",
		"an event missed": strings.Replace(streamsLine, "aggregated=200000", "aggregated=199999", 1),
		"one too many":    strings.Replace(streamsLine, "parsed=200000", "parsed=200001", 1),
		"dropped as late": strings.Replace(streamsLine, "dropped_late=0", "dropped_late=1", 1),
		"no figure":       strings.Replace(streamsLine, "cpu_s=1.8", "cpu_s=?", 1),
		"no speed":        strings.Replace(streamsLine, "events_per_s", "per_s", 1),
		"no memory":       strings.Replace(streamsLine, "peak_rss_mib", "rss", 1),
	} {
		if f, err := parseStreams(bad, 200_000); err == nil {
			t.Errorf("%s: parseStreams(%q) = %+v, want an error", name, bad, f)
		}
	}
}

func TestParseStreamsLate(t *testing.T) {
	line := strings.NewReplacer("grace=1800", "grace=30", "aggregated=200000", "aggregated=150000", "dropped_late=0", "dropped_late=50000").Replace(streamsLine)
	late, err := parseStreamsLate(line, 200_000)
	if err != nil || late != 50_000 {
		t.Errorf("parseStreamsLate(%q) = %d, %v, want 50000", line, late, err)
	}
	for name, bad := range map[string]string{
		"nothing":            "",
		"another grace":      strings.Replace(line, "grace=30", "grace=60", 1),
		"one not counted":    strings.Replace(line, "aggregated=150000", "aggregated=149999", 1),
		"one not read":       strings.Replace(line, "parsed=200000", "parsed=199999", 1),
		"no number of drops": strings.Replace(line, "dropped_late", "dropped", 1),
	} {
		if late, err := parseStreamsLate(bad, 200_000); err == nil {
			t.Errorf("%s: parseStreamsLate(%q) = %d, want an error", name, bad, late)
		}
	}
}

func TestParseFlink(t *testing.T) {
	const line = "measured mode=eos checkpoint=default combine=true align=none parsed=200000 aggregated=200000 error_samples=2013 late_dropped=0 " +
		"start_s=0.4 seconds=0.50 events_per_s=400000 to_job_end_s=1.00 events_per_s_to_end=200000 cpu_s=0.8 cpu_to_end_s=1.9 peak_rss_mib=1180 " +
		"out_sum=200000 out_errors=2013 out_records=42000 out_duplicates=0\n"
	warm := strings.NewReplacer("measured", "warm-up", "events_per_s=400000", "events_per_s=100000").Replace(line)
	f, err := parseFlink(warm+line, 200_000)
	if want := (figures{eventsPerSecond: 400_000, cpu: 4, peak: 1180}); err != nil || f != want {
		t.Errorf("parseFlink(%q) = %+v, %v, want %+v", warm+line, f, err, want)
	}
	for name, bad := range map[string]string{
		"nothing":               "",
		"only warmed up":        warm,
		"two passes":            line + line,
		"at least once":         strings.Replace(line, "mode=eos", "mode=alo", 1),
		"an event missed":       strings.Replace(line, "aggregated=200000", "aggregated=199999", 1),
		"an event not sunk":     strings.Replace(line, "out_sum=200000", "out_sum=199999", 1),
		"a window sunk twice":   strings.Replace(line, "out_duplicates=0", "out_duplicates=1", 1),
		"dropped as late":       strings.Replace(line, "late_dropped=0", "late_dropped=1", 1),
		"no figure":             strings.Replace(line, "cpu_s=0.8", "cpu_s=?", 1),
		"the end is not a line": strings.Replace(line, " peak_rss_mib=1180", "", 1),
	} {
		if f, err := parseFlink(bad, 200_000); err == nil {
			t.Errorf("%s: parseFlink(%q) = %+v, want an error", name, bad, f)
		}
	}
}

// script says its argument and fails with it as status; with "hang" it starts a
// process that says so to the pipe in $2, and waits for it.
const script = `#!/bin/sh
if [ "$1" = hang ]; then
	exec 3>"$2"
	echo up >&3
	sleep 1000 &
	wait
fi
echo "out $1"
echo why >&2
exit "$1"
`

func TestRunScript(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run.sh")
	if err := os.WriteFile(run, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, err := runScript(t.Context(), run, "0"); err != nil || text != "out 0\n" {
		t.Errorf("runScript = %q, %v, want what it prints", text, err)
	}
	if text, err := runScript(t.Context(), run, "3"); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "why") {
		t.Errorf("a script that fails: runScript = %q, %v, want its status and what it said", text, err)
	}
}

// All that a script has started ends with it: only then does the pipe end.
func TestRunScriptEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	run, pipe := filepath.Join(dir, "run.sh"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(run, []byte(script), 0o755), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := make(chan string)
	go func() {
		defer close(said)
		f, err := os.Open(pipe)
		if err != nil {
			said <- err.Error()
			return
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := runScript(ctx, run, "hang", pipe)
		ended <- err
	}()
	if got := <-said; got != "up" {
		t.Fatalf("the script said %q, want up", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("runScript = %v, want the end of its context", err)
	}
	if more, open := <-said; open {
		t.Errorf("the script said %q, want nothing more", more)
	}
}

package main

import (
	"strings"
	"sync"
	"testing"
)

func TestMeterTellsWhatItCounted(t *testing.T) {
	m := newMeter(1000)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 10 {
				m.add(10)
				m.add(0)
			}
		})
	}
	group.Wait()
	<-m.done
	line, err := m.line()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseMeter(line, 1000)
	if err != nil || f.eventsPerSecond <= 0 || f.peak <= 0 {
		t.Errorf("parseMeter(%q) = %+v, %v", line, f, err)
	}
}

func TestMeterIsDoneOnce(t *testing.T) {
	m := newMeter(5)
	m.add(4)
	select {
	case <-m.done:
		t.Fatal("done after 4 of 5")
	default:
	}
	m.add(3)
	m.add(1) // more than wanted: the parent refuses the line
	<-m.done
	line, err := m.line()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := parseMeter(line, 5); err == nil {
		t.Errorf("parseMeter(%q) = %+v, want an error: 8 events were counted, not 5", line, f)
	}
}

func TestParseMeter(t *testing.T) {
	const line = "events=200000 seconds=0.250000 cpu_s=0.40 peak_mib=33"
	f, err := parseMeter(line, 200_000)
	if want := (figures{eventsPerSecond: 800_000, cpu: 2, peak: 33}); err != nil || f != want {
		t.Errorf("parseMeter(%q) = %+v, %v, want %+v", line, f, err, want)
	}
	for name, bad := range map[string]string{
		"nothing":         "",
		"a log line":      "2026/01/01 processor: closed",
		"an event missed": strings.Replace(line, "events=200000", "events=199999", 1),
		"no time":         strings.Replace(line, "seconds=0.250000", "seconds=0.000000", 1),
		"no CPU":          strings.Replace(line, "cpu_s=0.40", "", 1),
	} {
		if f, err := parseMeter(bad, 200_000); err == nil {
			t.Errorf("%s: parseMeter(%q) = %+v, want an error", name, bad, f)
		}
	}
}

package app

import (
	"fmt"
	"testing"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/window"
)

func newTestScratch(t testing.TB, partitions int32, now time.Time) *scratch {
	t.Helper()
	var sources []window.Partition
	for n := range partitions {
		sources = append(sources, window.Partition{Topic: "rag-traces", Partition: n})
	}
	s, err := newScratch(DefaultOptions(), sources, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a second takes grows with the source partitions, not with their square: with forty
// times as many it would be sixteen hundred times as much.
func TestScratchTakesEveryPartitionOnce(t *testing.T) {
	second := func(partitions int32) time.Duration {
		now := time.Now().Add(-time.Hour)
		s := newTestScratch(t, partitions, now)
		least := time.Hour
		for range 5 {
			began := time.Now()
			for range 20 {
				now = now.Add(time.Second)
				if err := s.to(now); err != nil {
					t.Fatal(err)
				}
			}
			least = min(least, time.Since(began))
		}
		return least / 20
	}
	few, many := second(20), second(800)
	t.Logf("%s with 20 partitions, %s with 800", few, many)
	if many > 40*6*few {
		t.Errorf("a second takes %s with 800 partitions, and %s with 20", many, few)
	}
}

// Between two evaluations much may come: what was gathered goes to the tables as soon as
// there is enough of it, and does not wait.
func TestScratchSettlesWhenFull(t *testing.T) {
	now := time.Now().Add(-time.Hour)
	s := newTestScratch(t, 1, now)
	counted := func() int64 {
		t.Helper()
		counts, err := s.counts()
		if err != nil {
			t.Fatal(err)
		}
		return counts[processors.OutcomeCounted]
	}
	take := func(offset int) {
		value := fmt.Appendf(nil, `{"event_type":"x","tenant":"t%d"}`, offset)
		s.take(0, []codecs.Record{{Offset: int64(offset), Timestamp: now.UnixMilli(), Value: value}})
	}
	const few, enough = 100, 11_000
	for n := range enough {
		take(n)
		if n == few {
			now = now.Add(time.Second)
			if err := s.to(now); err != nil {
				t.Fatal(err)
			}
			if got := counted(); got != 0 {
				t.Errorf("%d events show of %d", got, few)
			}
		}
	}
	if err := s.to(now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := counted(); got != enough {
		t.Errorf("%d events show, want %d", got, enough)
	}
}

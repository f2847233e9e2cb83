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

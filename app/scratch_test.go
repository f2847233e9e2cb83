package app

import (
	"testing"
	"time"

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

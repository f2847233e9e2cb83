package main

import "testing"

func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		live uint64 // MiB
		want int
	}{{0, 75}, {1, 75}, {291, 75}, {340, 50}, {375, 36}, {400, 30}, {100_000, 30}} {
		if got := growth(tt.live << 20); got != tt.want {
			t.Errorf("%d MiB live: %d %%, want %d", tt.live, got, tt.want)
		}
	}
}

package main

import "testing"

func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		live uint64 // MiB
		want int
	}{{0, 75}, {1, 75}, {200, 75}, {240, 62}, {300, 50}, {100_000, 50}} {
		if got := growth(tt.live << 20); got != tt.want {
			t.Errorf("%d MiB live: %d %%, want %d", tt.live, got, tt.want)
		}
	}
}

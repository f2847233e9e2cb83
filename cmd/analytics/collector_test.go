package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int64 // MiB
	}{{0, 550}, {300, 550}, {390, 552}, {3000, 4032}} {
		if got := memoryLimit(tt.live << 20); got != tt.want<<20 {
			t.Errorf("%d MiB live: %d bytes, want %d MiB", tt.live, got, tt.want)
		}
	}
}

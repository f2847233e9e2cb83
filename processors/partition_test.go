package processors

import "testing"

// The numbers are FNV-1a 32 of the keys, as signed numbers without their sign.
func TestPartitionOfIsGokasHash(t *testing.T) {
	for key, hash := range map[string]int32{"": 0x811c9dc5 - 1<<32, "a": 0xe40c292c - 1<<32, "foobar": 0xbf9cf968 - 1<<32} {
		for _, n := range []int32{1, 3, 8, 1000} {
			if got, want := partitionOf(key, n), -hash%n; got != want {
				t.Errorf("partitionOf(%q, %d) = %d, want %d", key, n, got, want)
			}
		}
	}
}

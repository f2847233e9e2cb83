package tables_test

import (
	"slices"
	"strings"
	"testing"

	"ragstreams/tables"
)

func TestKeysOfDifferentSeriesDiffer(t *testing.T) {
	series := [][]string{
		nil, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"\x01a"}, {"\x00progress"},
		{strings.Repeat("x", 300)}, {"acme", "chat", "retrieve", "gpt"}, {"ä", "\xff"},
	}
	seen := map[string][]string{tables.ProgressKey: {"progress"}, tables.OverflowKey: {"overflow"}}
	for _, dims := range series {
		parts := make([][]byte, len(dims))
		for i, dim := range dims {
			parts[i] = []byte(dim)
		}
		key := string(tables.AppendKey([]byte("dst"), parts...))[3:]
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q have the same key %q", dims, other, key)
		}
		seen[key] = dims
		if got, err := tables.SplitKey(key); err != nil || !slices.Equal(got, dims) || !tables.IsSeries(key) {
			t.Errorf("SplitKey(%q) = %q, %v, want %q; IsSeries = %v", key, got, err, dims, tables.IsSeries(key))
		}
	}
}

func TestSplitKeyRefuses(t *testing.T) {
	for _, key := range []string{
		"", tables.ProgressKey, tables.OverflowKey, "acme", "\x02\x01a",
		"\x01\x02a", "\x01\xff", "\x01\x01a\x01", "\x01" + strings.Repeat("\xff", 10) + "\x01",
	} {
		if got, err := tables.SplitKey(key); err == nil {
			t.Errorf("SplitKey(%q) = %q, want an error", key, got)
		}
	}
	for _, key := range []string{"", tables.ProgressKey, tables.OverflowKey} {
		if tables.IsSeries(key) {
			t.Errorf("IsSeries(%q) = true", key)
		}
	}
}

func FuzzSplitKey(f *testing.F) {
	f.Add("\x01\x04acme\x00")
	f.Add(tables.ProgressKey)
	f.Fuzz(func(t *testing.T, key string) {
		dims, err := tables.SplitKey(key)
		if err != nil {
			return
		}
		parts := make([][]byte, len(dims))
		for i, dim := range dims {
			parts[i] = []byte(dim)
		}
		again, err := tables.SplitKey(string(tables.AppendKey(nil, parts...)))
		if err != nil || !slices.Equal(again, dims) {
			t.Errorf("SplitKey(%q) = %q, but its key splits into %q, %v", key, dims, again, err)
		}
	})
}

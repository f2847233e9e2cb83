package fingerprint_test

import (
	"fmt"
	"strings"
	"testing"

	"ragstreams/fingerprint"
)

func of(parts [4]string) uint64 {
	return fingerprint.Of([]byte(parts[0]), []byte(parts[1]), []byte(parts[2]), []byte(parts[3]))
}

// TestOfIsStable: fingerprints are state on disk. If this fails, every error
// group of every installation would become a new one.
func TestOfIsStable(t *testing.T) {
	tests := []struct {
		parts [4]string
		want  string
	}{
		{[4]string{}, "48b2c92616fc193d"},
		{[4]string{"TimeoutError", "generate", "upstream timed out after <num>s id=<num>", ""}, "af68791450fe1aa3"},
		{[4]string{"TimeoutError", "generate", "upstream timed out after <num>s id=<num>", "complete llm.py"}, "cd5cb0e22abbd7a9"},
		{[4]string{strings.Repeat("long", 1000), "generate", "", ""}, "313432c7fa3d0860"},
	}
	for _, tt := range tests {
		if got := fingerprint.Format(of(tt.parts)); got != tt.want {
			t.Errorf("Of(%.80q) = %s, want %s", tt.parts, got, tt.want)
		}
	}
}

func TestOfTellsPartsApart(t *testing.T) {
	seen := map[uint64][4]string{}
	for _, parts := range [][4]string{
		{"a", "", "", ""}, {"", "a", "", ""}, {"", "", "a", ""}, {"", "", "", "a"},
		{"ab", "c", "", ""}, {"a", "bc", "", ""}, {"a", "b", "c", ""}, {"abc", "", "", ""},
		{"TimeoutError", "generate", "x", ""}, {"RateLimitError", "generate", "x", ""}, {"TimeoutError", "rerank", "x", ""},
		{"a\x01b", "", "", ""}, {"a", "b", "", ""}, {"\x01", "", "", ""}, {"", "\x01", "", ""},
	} {
		f := of(parts)
		if other, ok := seen[f]; ok {
			t.Errorf("Of(%q) and Of(%q) are both %x", other, parts, f)
		}
		seen[f] = parts
	}
}

func TestFormat(t *testing.T) {
	for f, want := range map[uint64]string{0: "0000000000000000", 0xdeadbeef: "00000000deadbeef", 1<<64 - 1: "ffffffffffffffff"} {
		if got := fingerprint.Format(f); got != want {
			t.Errorf("Format(%d) = %s, want %s", f, got, want)
		}
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	errorType, stage := []byte("TimeoutError"), []byte("generate")
	template, frames := []byte("upstream timed out after <num>s"), []byte("complete llm.py")
	if n := testing.AllocsPerRun(10, func() { fingerprint.Of(errorType, stage, template, frames) }); n != 0 {
		t.Errorf("Of allocates %v times, want 0", n)
	}
}

func Example() {
	for _, message := range []string{
		"upstream timed out after 30s id=12345",
		"upstream timed out after 250ms id=7",
		"connection refused",
	} {
		template := fingerprint.AppendTemplate(nil, []byte(message))
		group := fingerprint.Of([]byte("ProviderError"), []byte("generate"), template, nil)
		fmt.Println(fingerprint.Format(group), string(template))
	}
	// Output:
	// 48717224dd79fbc3 upstream timed out after <num>s id=<num>
	// 48717224dd79fbc3 upstream timed out after <num>s id=<num>
	// e7350905d2eab2f2 connection refused
}

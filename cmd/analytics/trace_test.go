package main

import (
	"bytes"
	"strings"
	"testing"
)

// The table has no place for what records hold: who asks for it is told what shows it.
func TestTraceContentNeedsJSON(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), environment{&out, &out, nil}, []string{"trace", "--content", "4bf92f3577b34da6"})
	if err == nil || !strings.Contains(err.Error(), "--format json") {
		t.Errorf("%v\n%s", err, out.String())
	}
	err = run(t.Context(), environment{&out, &out, nil}, []string{"trace", "--content", "--format", "json", "4bf92f3577b34da6"})
	if err == nil || strings.Contains(err.Error(), "--content") {
		t.Errorf("with JSON: %v, want an error about the configuration that is not there", err)
	}
}

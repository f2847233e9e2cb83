package processors

import (
	"strings"
	"testing"
)

// A task that is closed after another has taken its place takes nothing away.
func TestTaskOfAPartition(t *testing.T) {
	var all tasks[*int]
	older, newer := new(int), new(int)
	all.add(0, older)
	all.add(0, newer)
	all.remove(0, older)
	if got := all.of("t", 0); got != newer {
		t.Error("not the newer task")
	}
	all.remove(0, newer)
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "t/0 without a task") {
			t.Errorf("after the last was removed: %v, want a panic", p)
		}
	}()
	all.of("t", 0)
}

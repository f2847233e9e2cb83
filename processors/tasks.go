package processors

import (
	"fmt"
	"sync"
)

// tasks are a stage's tasks by partition. The transport adds and removes them,
// goka's callbacks look them up.
type tasks[T comparable] struct {
	mu sync.Mutex
	by map[int32]T
}

// of returns the task of a partition. A record is only read after the task was
// built, so there is one.
func (t *tasks[T]) of(topic string, partition int32) T {
	t.mu.Lock()
	defer t.mu.Unlock()
	task, ok := t.by[partition]
	if !ok {
		panic(fmt.Sprintf("BUG: record of %s/%d without a task", topic, partition))
	}
	return task
}

func (t *tasks[T]) add(partition int32, task T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[int32]T{}
	}
	t.by[partition] = task
}

// remove removes a task, unless another has taken its place.
func (t *tasks[T]) remove(partition int32, task T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[partition] == task {
		delete(t.by, partition)
	}
}

package views

import (
	"fmt"
	"strings"
	"sync"
)

// Stream is one of the topics that a View is fed with.
type Stream string

// Streams of a View.
const (
	Changelog Stream = "changelog"
	Closed    Stream = "windows"
	Summed    Stream = "hours"
)

var allStreams = [...]Stream{Changelog, Closed, Summed}

// Recovery is how far a View has come with what was there at the start.
type Recovery struct {
	Ready   bool
	Ratio   float64 // 0 to 1; 1 only when ready
	Missing string  // in words; empty when ready
}

// recovery follows the streams of all partitions. It is safe for concurrent use.
type recovery struct {
	mu    sync.Mutex
	parts map[Stream][]part
}

type part struct {
	read, end int64
	known     bool // end is
	done      bool
}

func newRecovery(partitions int32) *recovery {
	r := &recovery{parts: map[Stream][]part{}}
	for _, s := range allStreams {
		r.parts[s] = make([]part, partitions)
	}
	return r
}

// Restoring tells that read of the end records that were there at the start of a
// partition have been taken in. Offsets will do in place of numbers. A partition
// that was read to that end once remains recovered.
func (v *View[M, P]) Restoring(s Stream, partition int32, read, end int64) {
	r := v.recovery
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.parts[s][partition]
	p.read, p.end, p.known = read, end, true
	p.done = p.done || read >= end
}

// Recovered tells that all partitions of some streams, of all when none is named, have been
// read to the end that they had at the start.
func (v *View[M, P]) Recovered(streams ...Stream) {
	r := v.recovery
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(streams) == 0 {
		streams = allStreams[:]
	}
	for _, s := range streams {
		for i := range r.parts[s] {
			r.parts[s][i].done = true
		}
	}
}

// Recovery returns whether the View has recovered, or how far it is. Before it has,
// what it answers is true of a part of the table only.
func (v *View[M, P]) Recovery() Recovery {
	r := v.recovery
	r.mu.Lock()
	defer r.mu.Unlock()
	var ratio float64
	var missing []string
	all := 0
	for _, s := range allStreams {
		open := 0
		for _, p := range r.parts[s] {
			all++
			switch {
			case p.done:
				ratio++
				continue
			case p.known:
				ratio += float64(p.read) / float64(p.end)
			}
			open++
		}
		if open > 0 {
			missing = append(missing, fmt.Sprintf("%d of %d %s partitions", open, len(r.parts[s]), s))
		}
	}
	if len(missing) == 0 {
		return Recovery{Ready: true, Ratio: 1}
	}
	ratio = min(ratio/float64(all), 0.999)
	return Recovery{Ratio: ratio, Missing: fmt.Sprintf("%s still to be read, %.1f %% done", strings.Join(missing, " and "), 100*ratio)}
}

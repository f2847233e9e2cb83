package processors

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"ragstreams/codecs"
	"ragstreams/window"
)

// Progress is what ingest knows of all source partitions: the progress topic,
// followed. It is safe for concurrent use.
type Progress struct {
	mu        sync.Mutex
	watermark *window.Watermark
	clock     Clock
}

// NewProgress knows nothing yet.
func NewProgress(p window.Panes, clock Clock) *Progress {
	return &Progress{watermark: window.NewWatermark(p, window.None), clock: clock}
}

// Expect sets the source partitions that exist.
func (p *Progress) Expect(partitions []window.Partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watermark.Expect(partitions)
}

// Record takes in one record of the progress topic; sent is its timestamp, in Unix
// milliseconds.
func (p *Progress) Record(key, value []byte, sent int64) error {
	if err := p.Take(key, value, sent); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watermark.Advance(p.clock.Mono())
	return nil
}

// Take is Record, but for the watermark, which Slowest needs and nothing else.
func (p *Progress) Take(key, value []byte, sent int64) error {
	slash := strings.LastIndexByte(string(key), '/')
	topic, number := string(key[:max(slash, 0)]), string(key[slash+1:])
	partition, err := strconv.ParseInt(number, 10, 32)
	if slash < 0 || err != nil {
		return fmt.Errorf("progress of %q: want topic/partition", key)
	}
	if len(value) == 0 {
		return nil
	}
	r, err := codecs.DecodeReport(value)
	if err != nil {
		return fmt.Errorf("progress of %q: %w", key, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watermark.Report(window.Partition{Topic: topic, Partition: int32(partition)}, windowReport(r), sent, p.clock.Mono())
	return nil
}

func windowReport(r codecs.Report) window.Report {
	out := window.Report{StreamTime: window.None, NewestTime: window.None, State: window.State(r.State)}
	if r.HasTime {
		out.StreamTime, out.NewestTime = r.StreamTime, r.NewestTime
	}
	return out
}

// Behind reports whether any source partition was not read to its end, as far as is
// known.
func (p *Progress) Behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watermark.Behind(p.clock.Mono())
}

// Greatest returns the greatest stream time of all partitions.
func (p *Progress) Greatest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watermark.Greatest()
}

// Slowest returns the smallest stream time of the partitions that are still
// behind; see window.Watermark.
func (p *Progress) Slowest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watermark.Slowest()
}

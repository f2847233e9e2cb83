package processors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"ragstreams/codecs"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/lovoo/goka"
)

// Hour is how long the windows of the history are, in milliseconds.
const Hour = int64(time.Hour / time.Millisecond)

// HistoryConfig describes the history stage of one table.
type HistoryConfig struct {
	Names Names
	Table string
	// Read reads committed records of the table's windows topic again.
	Read func(ctx context.Context, partition int32, from, to int64, visit func(offset int64, value []byte) error) error
}

// History sums the closed panes of one table up by the hour. The sums of an hour are sent
// to the hours topic, once, when all of its panes are closed, together with up to when all
// are there. Until then they are in memory only: they can be made again of the windows
// topic, which is kept from the first pane of an hour that is not over; see HistoryHorizon.
type History[M any, P tables.Measure[M]] struct {
	cfg   HistoryConfig
	out   Output
	tasks tasks[*HistoryTask[M, P]]
}

// NewHistory returns the stage for one session, whose output is out.
func NewHistory[M any, P tables.Measure[M]](cfg HistoryConfig, out Output) *History[M, P] {
	return &History[M, P]{cfg: cfg, out: out}
}

// Graph returns the goka group.
func (h *History[M, P]) Graph() *goka.GroupGraph {
	raw := codecs.Raw{}
	n, table := h.cfg.Names, h.cfg.Table
	return goka.DefineGroup(
		goka.Group(n.HistoryGroup(table)),
		goka.Input(goka.Stream(n.Windows(table)), raw, func(ctx goka.Context, msg any) {
			if batch, ok := msg.([]byte); ok {
				h.tasks.of(n.Windows(table), ctx.Partition()).Process(ctx.Offset(), batch)
			}
		}),
		goka.Output(goka.Stream(n.Hours(table)), raw),
	)
}

// historyMetadata is the format of the metadata of the history's offsets: up to when hours
// were sent, and the horizon.
const historyMetadata = "history1 %d %d"

// Assign starts work on a partition from offset. The panes of hours that are not over are
// read again from the horizon.
func (h *History[M, P]) Assign(ctx context.Context, partition int32, offset int64, metadata string) (*HistoryTask[M, P], error) {
	through, horizon := window.None, offset
	if metadata != "" {
		if _, err := fmt.Sscanf(metadata, historyMetadata, &through, &horizon); err != nil {
			return nil, fmt.Errorf("metadata %q of the committed offset: %w; was the group used by another program?", metadata, err)
		}
	}
	t := &HistoryTask[M, P]{stage: h, partition: partition, next: offset, through: through, hours: map[int64]*hourSums{}, newest: window.None, before: window.None}
	t.batch.Reset(tables.BatchHeader{Assemble: partition})
	err := h.cfg.Read(ctx, partition, horizon, offset, func(at int64, value []byte) error {
		_, err := t.add(at, value, true)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the panes of open hours again: %w", err)
	}
	h.tasks.add(partition, t)
	return t, nil
}

// HistoryHorizon returns the offset of the windows topic below which the history will never
// read again, from the metadata of its committed offset.
func HistoryHorizon(metadata string) (int64, bool) {
	var through, horizon int64
	_, err := fmt.Sscanf(metadata, historyMetadata, &through, &horizon)
	return horizon, err == nil
}

// HistoryTask is the work on one partition of the windows topic.
type HistoryTask[M any, P tables.Measure[M]] struct {
	stage     *History[M, P]
	partition int32
	next      int64               // offset after the last record read
	through   int64               // all hours that begin before were sent
	hours     map[int64]*hourSums // those that are not over, by start
	newest    int64               // start of the newest pane read; window.None before
	before    int64               // the same, when a watermark of events was read last
	batch     tables.BatchWriter
	editor    tables.Editor[M, P]
}

// hourSums are the sums of an hour.
type hourSums struct {
	offset int64             // of the first record with a pane of it
	sums   map[string][]byte // encoded, by series
}

// Process adds the panes of one record, and sends the hours that are then over.
func (t *HistoryTask[M, P]) Process(offset int64, value []byte) {
	header, err := t.add(offset, value, false)
	if err != nil {
		panic(fmt.Sprintf("BUG: %s/%d at %d: %v", t.stage.cfg.Names.Windows(t.stage.cfg.Table), t.partition, offset, err))
	}
	t.next = offset + 1
	switch {
	case !header.HasWatermark:
	case header.Closed:
		t.send(header.Watermark)
	default:
		t.sendEarlier()
	}
}

// sendEarlier sends what is over when a record of an earlier version has come, whose
// watermark is of events, ahead of what is closed. Of all the records of panes that were
// closed at once only one has a watermark, the first or the last of them. So when the next
// one comes, all panes are there that were closed together with those before: panes are
// closed in order, so the hours before the newest of those are over.
func (t *HistoryTask[M, P]) sendEarlier() {
	if t.before != window.None {
		t.send(t.before)
	}
	t.before = t.newest
}

// add adds the panes of one record. When it is read again, those of hours that were sent
// are passed over.
func (t *HistoryTask[M, P]) add(offset int64, value []byte, again bool) (tables.BatchHeader, error) {
	in, err := tables.NewBatchReader(value)
	if err != nil {
		return tables.BatchHeader{}, err
	}
	for in.Next() {
		t.newest = max(t.newest, in.Pane)
		start := hourOf(in.Pane)
		if start < t.through {
			if again {
				continue
			}
			return in.Header, fmt.Errorf("row %q: a pane at %d, when all before %d were summed up", in.Key, in.Pane, t.through)
		}
		h := t.hours[start]
		if h == nil {
			h = &hourSums{offset: offset, sums: map[string][]byte{}}
			t.hours[start] = h
		}
		if h.sums[string(in.Key)], err = t.editor.Merge(h.sums[string(in.Key)], in.Body); err != nil {
			return in.Header, fmt.Errorf("row %q: %w", in.Key, err)
		}
	}
	return in.Header, in.Err()
}

func hourOf(start int64) int64 { return window.Panes{Size: Hour}.Start(start) }

// send sends the hours that are over when all panes that end by some time are closed.
func (t *HistoryTask[M, P]) send(closed int64) {
	through := hourOf(closed)
	if through <= t.through {
		return
	}
	for _, start := range slices.Sorted(maps.Keys(t.hours)) {
		if start >= through {
			break
		}
		for key, sum := range t.hours[start].sums {
			t.batch.AddBody(key, start, sum)
			if t.batch.Size() > maxRecord {
				t.sendBatch()
			}
		}
		delete(t.hours, start)
	}
	t.through = through
	t.batch.MarkClosed(through)
	t.sendBatch()
}

func (t *HistoryTask[M, P]) sendBatch() {
	c := &t.stage.cfg
	t.stage.out.Send(c.Names.Hours(c.Table), t.partition, nil, slices.Clone(t.batch.Bytes()),
		codecs.Header{Key: paneHeader, Value: strconv.AppendInt(nil, Hour, 10)})
	t.batch.Reset(tables.BatchHeader{Assemble: t.partition})
}

// Flush implements the transport's task.
func (t *HistoryTask[M, P]) Flush(bool) (string, error) {
	horizon := t.next
	for _, h := range t.hours {
		horizon = min(horizon, h.offset)
	}
	return fmt.Sprintf(historyMetadata, t.through, horizon), nil
}

// Paused implements the transport's task: the history never waits.
func (t *HistoryTask[M, P]) Paused() bool { return false }

// MaxRecords implements the transport's task: one record holds no more than panes that
// were closed at once.
func (t *HistoryTask[M, P]) MaxRecords() int { return 0 }

// Full implements the transport's task: what is sent is a small part of what is read.
func (t *HistoryTask[M, P]) Full() bool { return false }

// Close implements the transport's task.
func (t *HistoryTask[M, P]) Close() { t.stage.tasks.remove(t.partition, t) }

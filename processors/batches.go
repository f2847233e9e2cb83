package processors

import (
	"bytes"

	"ragstreams/tables"
	"ragstreams/window"
)

// target is a series of one table and the partition of its row.
type target struct {
	key       string
	partition int32
}

func targetOf(partitions int32, dims ...string) target {
	return targetOfKey(partitions, string(tables.AppendKey(nil, dims...)))
}

func targetOfKey(partitions int32, key string) target {
	return target{key, partitionOf(key, partitions)}
}

// batches gathers the partials for one table, one record a partition or more.
// The watermark goes out with the last: it holds once all before it are applied.
// After a flush it gathers for the next.
type batches struct {
	out     Output
	topic   string
	header  tables.BatchHeader
	writers []tables.BatchWriter
}

// newBatches gathers for a topic what a partition of assemble sends, or ingest, which
// tells no watermark, so that it does not matter who it is.
func newBatches(out Output, topic string, partitions, sender int32) *batches {
	b := &batches{out, topic, tables.BatchHeader{Assemble: sender}, make([]tables.BatchWriter, partitions)}
	for i := range b.writers {
		b.writers[i].Reset(b.header)
	}
	return b
}

func (b *batches) add(to target, pane int64, partial interface{ Append([]byte) []byte }) {
	w := &b.writers[to.partition]
	w.Add(to.key, pane, partial)
	if w.Size() > maxRecord {
		b.send(to.partition)
	}
}

// send sends what was gathered for a partition.
func (b *batches) send(partition int32) {
	w := &b.writers[partition]
	b.out.Send(b.topic, partition, nil, bytes.Clone(w.Bytes()))
	w.Reset(b.header)
}

// flush sends what is left and, unless it is window.None, a watermark to every partition.
func (b *batches) flush(watermark int64) {
	for p := range b.writers {
		w := &b.writers[p]
		if watermark != window.None {
			w.Mark(watermark)
		}
		if watermark != window.None || w.Len() > 0 {
			b.send(int32(p))
		}
	}
}

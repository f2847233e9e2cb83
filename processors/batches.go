package processors

import (
	"bytes"

	"ragstreams/tables"
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
// The watermark goes out after them, in a record of its own: it holds once all
// before it are applied. After a flush it gathers for the next.
type batches struct {
	out     Output
	topic   string
	plain   tables.BatchHeader
	writers []tables.BatchWriter
}

func newBatches(out Output, topic string, partitions int32, plain tables.BatchHeader) *batches {
	b := &batches{out, topic, plain, make([]tables.BatchWriter, partitions)}
	for i := range b.writers {
		b.writers[i].Reset(plain)
	}
	return b
}

func (b *batches) add(to target, pane int64, partial interface{ Append([]byte) []byte }) {
	w := &b.writers[to.partition]
	w.Add(to.key, pane, partial)
	if len(w.Bytes()) > maxRecord {
		b.send(to.partition, b.plain)
	}
}

// send sends what was gathered for a partition and begins a record with h.
func (b *batches) send(partition int32, h tables.BatchHeader) {
	w := &b.writers[partition]
	b.out.Send(b.topic, partition, nil, bytes.Clone(w.Bytes()))
	w.Reset(h)
}

// flush sends what is left, then mark, when it has a watermark, to every
// partition.
func (b *batches) flush(mark tables.BatchHeader) {
	for p := range b.writers {
		if b.writers[p].Len() > 0 {
			b.send(int32(p), b.plain)
		}
		if mark.HasWatermark {
			b.writers[p].Reset(mark)
			b.send(int32(p), b.plain)
		}
	}
}

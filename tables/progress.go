package tables

import (
	"fmt"
)

// Progress is the reserved row of one table partition: how far each assemble
// partition has come, and which panes the partition has closed. Nothing in it
// ever falls. The zero Progress knows nothing and is ready to use.
type Progress struct {
	// ClosedThrough is the start of the newest closed pane; 0 before the first.
	// Raise it with Close.
	ClosedThrough int64

	marks []mark // by assemble partition
}

// mark is the watermark of one assemble partition, once it has sent one.
type mark struct {
	at    int64
	known bool
}

// Observe takes the watermark w, in Unix milliseconds, that an assemble partition
// sent and reports whether that is news. A lower one than before changes nothing.
func (p *Progress) Observe(partition int32, w int64) bool {
	if partition < 0 || partition >= maxPartitions {
		panic(fmt.Sprintf("BUG: watermark of assemble partition %d", partition))
	}
	if missing := int(partition) + 1 - len(p.marks); missing > 0 {
		p.marks = append(p.marks, make([]mark, missing)...)
	}
	m := &p.marks[partition]
	if m.known && w <= m.at {
		return false
	}
	*m = mark{at: w, known: true}
	return true
}

// Watermark returns the least watermark of the assemble partitions 0 to n-1, and
// false until every one of them has sent one.
func (p *Progress) Watermark(n int) (int64, bool) {
	if n < 1 || n > len(p.marks) {
		return 0, false
	}
	least := p.marks[0].at
	for _, m := range p.marks[:n] {
		if !m.known {
			return 0, false
		}
		least = min(least, m.at)
	}
	return least, true
}

// Close raises ClosedThrough to through and reports whether that is news.
func (p *Progress) Close(through int64) bool {
	if through <= p.ClosedThrough {
		return false
	}
	p.ClosedThrough = through
	return true
}

// Append adds the row's bytes to dst, the format version first.
func (p *Progress) Append(dst []byte) []byte {
	dst = append(dst, Version)
	dst = appendSigned(dst, p.ClosedThrough)
	dst = appendCount(dst, int64(len(p.marks)))
	for _, m := range p.marks {
		if !m.known {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, 1)
		dst = appendSigned(dst, m.at)
	}
	return dst
}

// Decode replaces p by the row in src, of which it retains nothing. Bytes of
// another version, cut short or with something behind them are an error, after
// which the content of p is undefined.
func (p *Progress) Decode(src []byte) error {
	*p = Progress{}
	d := decoder{src: src}
	d.version()
	p.ClosedThrough = d.varint()
	n := d.elements(1)
	if n > maxPartitions {
		d.fail(errRange)
		n = 0
	}
	for range n {
		m := mark{known: d.below(1) == 1}
		if m.known {
			m.at = d.varint()
		}
		p.marks = append(p.marks, m)
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("decode progress: %w", err)
	}
	return nil
}

// Clone returns a deep copy.
func (p *Progress) Clone() Progress {
	return Progress{ClosedThrough: p.ClosedThrough, marks: append([]mark(nil), p.marks...)}
}

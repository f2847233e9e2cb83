package tables

import (
	"fmt"
)

// Window is what leaves a table when a pane closes: one immutable record on its
// windows topic, whose key is the key of the series.
type Window[M any] struct {
	Start int64 // Unix milliseconds, inclusive
	Size  int64 // milliseconds; the end, Start + Size, is exclusive
	M     M
}

// AppendWindow adds the bytes of the window [start, start+size) with measure m to
// dst, the format version first.
func AppendWindow[M any, P Measure[M]](dst []byte, start, size int64, m P) []byte {
	dst = append(dst, Version)
	dst = appendSigned(dst, start)
	dst = appendCount(dst, size)
	return m.Append(dst)
}

// DecodeWindow reads a window, retaining nothing of src.
func DecodeWindow[M any, P Measure[M]](src []byte) (Window[M], error) {
	var w Window[M]
	d := decoder{src: src}
	d.version()
	w.Start = d.varint()
	w.Size = d.count()
	d.measure(P(&w.M))
	if err := d.end(); err != nil {
		return Window[M]{}, fmt.Errorf("decode window: %w", err)
	}
	return w, nil
}

package processors

// stride is how many records of a source partition are taken at once. It adapts, so
// that they do not span much more event time than a reader may be ahead of the
// others: Paused stops a reader between transactions only, and the records of a
// quiet topic that one poll brings may span weeks. All their panes would be open
// at once while another partition holds the watermark.
type stride int

const (
	firstStride stride = 1000
	minStride   stride = 64
	maxStride   stride = 50_000
)

// took notes how many milliseconds of event time were spanned by n records. limit
// is how many may be; 0: any number.
func (s *stride) took(n int, span, limit int64) {
	switch {
	case limit > 0 && span > limit:
		*s = max(minStride, min(*s, stride(int64(n)*limit/span)))
	case stride(n) >= *s/2: // as many as were asked for, or nearly
		*s = min(maxStride, 2**s)
	}
}

package processors

// stride is how many records of a source partition with a backlog are taken in one
// transaction. It adapts, so that they do not span much more event time than a reader
// may be ahead of the others: Paused stops a reader between polls only, and the
// records of a quiet topic that one poll brings may span weeks. All their panes would
// be open at once while another partition holds the watermark.
type stride int

const (
	firstStride stride = 1000
	minStride   stride = 64
	maxStride   stride = 200_000 // what a session takes by default
)

// took notes how many milliseconds of event time were spanned by n records. limit
// is how many may be; 0: any number. It grows with every poll, however few of its
// records were of this partition: the most cautious partition of a session decides
// for all.
func (s *stride) took(n int, span, limit int64) {
	next := 2 * *s
	if limit > 0 && span > 0 {
		next = min(next, stride(min(int64(n)*limit/span, int64(maxStride))))
	}
	*s = min(max(next, minStride), maxStride)
}

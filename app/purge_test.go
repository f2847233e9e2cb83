package app

import (
	"testing"

	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"
)

// What a topic of closed windows keeps begins with the first record that has any window of
// what is to be kept, however records mix hours.
func TestHourOffsets(t *testing.T) {
	const hour = processors.Hour
	var h hourOffsets
	note := func(offset int64, starts ...int64) {
		t.Helper()
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Watermark: 9 * hour, HasWatermark: true})
		for _, start := range starts {
			w.Add("a", start, &tables.Traffic{Count: 1})
		}
		if err := h.note(3, offset, w.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	want := func(from, offset int64) {
		t.Helper()
		if got := h.of(3, from); got != offset {
			t.Errorf("from hour %d on it is kept from %d on, want %d", from/hour, got, offset)
		}
	}
	want(0, 0)
	note(10)                         // tells only that time goes on
	note(11, hour, hour+10_000)      // the first hour
	note(12, hour+20_000, 3*hour-10) // two more, in one record
	note(13, hour+30_000)            // of another series
	note(14, 4*hour)
	note(12, hour+20_000, 3*hour-10) // read again
	want(window.None, 11)
	want(hour, 11)
	want(2*hour, 12)
	want(3*hour, 14)
	want(hour, 14) // gone
	want(9*hour, 14)
	note(20, 9*hour)
	want(9*hour, 20)
	if got := h.of(2, hour); got != 0 {
		t.Errorf("of another partition, of which nothing is known, %d records may go", got)
	}
	if err := h.note(3, 21, []byte("nonsense")); err == nil {
		t.Error("nonsense is noted")
	}
}

package app

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ragstreams/processors"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/twmb/franz-go/pkg/kgo"
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
	note(14, 3*hour+300_000)         // an hour begins when its first window comes, however far into it
	note(15, 4*hour+10_000)
	note(12, hour+20_000, 3*hour-10) // read again
	want(window.None, 11)
	want(hour, 11)
	want(2*hour, 12)
	want(3*hour, 14)
	want(4*hour, 15)
	want(hour, 15) // gone
	want(9*hour, 15)
	note(20, 9*hour)
	want(9*hour, 20)
	if got := h.of(2, hour); got != 0 {
		t.Errorf("of another partition, of which nothing is known, %d records may go", got)
	}
	if err := h.note(3, 21, []byte("nonsense")); err == nil {
		t.Error("nonsense is noted")
	}
}

// Closed windows stay an hour longer than panes are shown one by one, and for as long as
// they were not summed up; hours an hour longer than they are shown.
func TestClosedWindowsAndHoursArePurged(t *testing.T) {
	const hour, begin = processors.Hour, 480_000 * processors.Hour
	o := testOptions(t)
	o.Partitions, o.Sessions, o.PurgeInterval = 2, 1, 100*time.Millisecond
	o.PaneRetention, o.HourRetention = 2*time.Hour, 4*time.Hour
	windows, hours := o.names().Windows("traffic"), o.names().Hours("traffic")
	awaitReady(t, start(t, o).URL)
	batch := func(start, watermark int64) []byte {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Watermark: watermark, HasWatermark: watermark > 0})
		w.Add(string(tables.AppendKey(nil, []byte("acme"), []byte("app"), []byte("x"))), start, &tables.Traffic{Count: 1})
		return slices.Clone(w.Bytes())
	}
	// Of each hour a record, at the offset that is its number. What is closed of partition 1
	// nobody says, so nothing of it is summed up.
	var records []*kgo.Record
	for i := range int64(9) {
		at := begin + i*hour
		records = append(records,
			&kgo.Record{Topic: hours, Partition: 0, Value: batch(at, at+hour)},
			&kgo.Record{Topic: windows, Partition: 1, Value: batch(at, 0)})
	}
	for i := range int64(9) {
		at := begin + i*hour
		records = append(records, &kgo.Record{Topic: windows, Partition: 0, Value: batch(at, at+hour)})
	}
	cl, err := o.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	adm := admin(t, &o)
	until(t, func() string {
		starts, err := adm.ListStartOffsets(t.Context(), windows, hours)
		if err != nil {
			return err.Error()
		}
		begins := func(topic string, p int32) int64 { o, _ := starts.Lookup(topic, p); return o.Offset }
		// Nine hours are over. Two hours of panes begin at 7, four of hours at 5.
		got := [3]int64{begins(windows, 0), begins(windows, 1), begins(hours, 0)}
		want := [3]int64{6, 0, 4}
		for i := range got {
			if got[i] > want[i] {
				t.Fatalf("windows begin at %d, those that were not summed up at %d, hours at %d: want %d", got[0], got[1], got[2], want)
			}
		}
		if got != want {
			return fmt.Sprintf("windows begin at %d, those that were not summed up at %d, hours at %d: want %d", got[0], got[1], got[2], want)
		}
		return ""
	})
}

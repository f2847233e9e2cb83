package views_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

const (
	pane = int64(10_000)
	hour = int64(3_600_000)
)

type (
	traffic = tables.Traffic
	row     = tables.Row[tables.Traffic, *tables.Traffic]
)

// rig is a view of one partition and what is fed to it.
type rig struct {
	*testing.T
	view   *views.View[traffic, *traffic]
	offset int64
}

func newRig(t *testing.T, o views.Options) *rig {
	o.Panes, o.Assemblers = window.Panes{Size: pane, Grace: 60_000}, 1
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	return &rig{T: t, view: views.New[traffic](o)}
}

func key(name string) string { return string(tables.AppendKey(nil, []byte(name), nil, nil)) }

func (r *rig) update(partition int32, key string, value []byte) {
	r.Helper()
	r.offset++
	if err := r.view.Update(partition, r.offset, key, value); err != nil {
		r.Fatal(err)
	}
}

// row writes a row with a total of closed panes and open panes of equal counts.
func (r *rig) row(name string, total int64, open ...int64) {
	r.Helper()
	r.update(0, key(name), rowOf(total, open...))
}

func rowOf(total int64, open ...int64) []byte {
	w := row{Total: traffic{Count: total}}
	for _, start := range open {
		w.Add(start, &traffic{Count: 1})
	}
	return w.Append(nil)
}

// mark writes the progress row.
func (r *rig) mark(partition int32, watermark int64) {
	r.Helper()
	var p tables.Progress
	p.Observe(0, watermark)
	r.update(partition, tables.ProgressKey, p.Append(nil))
}

type closed struct {
	name  string
	start int64
	count int64
}

// windows writes one record of closed panes.
func (r *rig) windows(partition int32, panes ...closed) {
	r.Helper()
	if err := r.view.Windows(partition, 0, batchOf(tables.BatchHeader{Assemble: partition}, panes)); err != nil {
		r.Fatal(err)
	}
}

// hours writes one record of sums, with which all hours that begin before through have come.
func (r *rig) hours(partition int32, through int64, sums ...closed) {
	r.Helper()
	if err := r.view.Hours(partition, batchOf(tables.BatchHeader{Watermark: through, HasWatermark: true}, sums)); err != nil {
		r.Fatal(err)
	}
}

func batchOf(h tables.BatchHeader, counts []closed) []byte {
	var w tables.BatchWriter
	w.Reset(h)
	for _, p := range counts {
		k := key(p.name)
		if p.name == "overflow" {
			k = tables.OverflowKey
		}
		w.Add(k, p.start, &traffic{Count: p.count})
	}
	return w.Bytes()
}

// ask returns the lines of an answer as "name@step=count", in order.
func (r *rig) ask(q views.Query) string {
	r.Helper()
	var lines []string
	_, err := r.view.Query(q, func(k string, m, _ *traffic, _ tables.Span, step int64) {
		name := "overflow"
		if k != tables.OverflowKey {
			dims, err := tables.SplitKey(k)
			if err != nil {
				r.Fatal(err)
			}
			name = dims[0]
		}
		if q.Step > 0 {
			name += fmt.Sprintf("@%d", step)
		}
		lines = append(lines, fmt.Sprintf("%s=%d", name, m.Count))
	})
	if err != nil {
		r.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

func (r *rig) want(q views.Query, want string) {
	r.Helper()
	if got := r.ask(q); got != want {
		r.Errorf("query %+v: %q, want %q", q, got, want)
	}
}

var everything = views.Query{From: 0, To: views.Newest}

func TestPaneIsCountedOnce(t *testing.T) {
	r := newRig(t, views.Options{})
	r.row("a", 0, 0, pane)
	r.want(everything, "a=2")
	r.windows(0, closed{"a", 0, 5}) // the window is final: it knows more than the row we have
	r.want(everything, "a=6")
	r.row("a", 5, pane)
	r.want(everything, "a=6")
	r.want(views.Query{Total: true}, "a=6")
	r.windows(0, closed{"a", 0, 5}) // read again
	r.want(everything, "a=6")
}

// Nobody asks before all panes are gone: a pane stays whether it was looked at or
// not, as it was in the last row that held it.
func TestPaneStaysUntilItsWindowIsThere(t *testing.T) {
	r := newRig(t, views.Options{})
	r.row("a", 0, 0, pane, 2*pane)
	r.row("a", 0, 0, pane, pane, 2*pane)
	r.row("a", 1, pane, pane, pane, 2*pane) // the first pane was closed
	r.row("a", 4, 2*pane)
	r.row("a", 5)
	panes := views.Query{From: 0, To: views.Newest, Step: pane}
	r.want(panes, "a@0=1 a@10000=3 a@20000=1")
	r.windows(0, closed{"a", 0, 2}) // counted once more in the transaction that closed it
	r.want(panes, "a@0=2 a@10000=3 a@20000=1")
	r.windows(0, closed{"a", pane, 3}, closed{"a", 2 * pane, 1})
	r.want(panes, "a@0=2 a@10000=3 a@20000=1")
}

func TestPanesOfAForgottenSeriesStay(t *testing.T) {
	r := newRig(t, views.Options{})
	r.row("a", 0, 0)
	r.update(0, key("a"), nil)
	r.want(everything, "a=1")
	r.row("a", 0, 2*pane) // it comes back
	r.want(everything, "a=2")
	r.windows(0, closed{"a", 0, 1})
	r.want(everything, "a=2")
}

// A window record that has expired will never come.
func TestPaneWithoutWindowExpires(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour, HourRetention: 2 * time.Hour})
	r.row("a", 0, 0)
	r.row("b", 0, 0)
	r.row("b", 1)
	r.update(0, key("a"), nil)
	r.mark(0, 4*hour)
	r.want(everything, "")
	r.windows(0, closed{"b", 4 * hour, 1})
	r.want(everything, "b=1")
	if n := views.SeriesKept(r.view); n != 1 {
		t.Errorf("%d series are kept, want 1", n)
	}
}

func TestRangesAndSteps(t *testing.T) {
	r := newRig(t, views.Options{})
	r.windows(0, closed{"a", 0, 1}, closed{"a", pane, 2}, closed{"b", pane, 10})
	r.row("a", 3, 2*pane)
	for _, tt := range []struct {
		q    views.Query
		want string
	}{
		{views.Query{From: 0, To: pane}, "a=1"},
		{views.Query{From: pane - 1, To: pane + 1}, "a=3 b=10"},
		{views.Query{Window: pane}, "a=1"},
		{views.Query{Window: 2 * pane}, "a=3 b=10"},
		{views.Query{From: 0, To: views.Newest, Step: pane}, "a@0=1 a@10000=2 a@20000=1 b@10000=10"},
		{views.Query{From: 0, To: views.Newest, Step: 2 * pane}, "a@0=3 a@20000=1 b@0=10"},
	} {
		r.want(tt.q, tt.want)
	}
	if _, err := r.view.Query(views.Query{From: 0, To: pane, Step: pane + 1}, nil); err == nil {
		t.Error("a step that is no multiple of the pane is taken")
	}
}

// A View goes on while it answers, and what it answers is of one moment: here all
// changes with the first line, even what hours take the place of.
func TestAnswerIsOfOneMoment(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour})
	names := []string{"a", "b", "c"}
	for _, n := range names {
		var panes []closed
		for i := range int64(40) {
			panes = append(panes, closed{n, i * pane, 1})
		}
		r.windows(0, panes...)
		r.row(n, 40, 5*hour, 5*hour+pane)
		r.row(n, 41, 5*hour+pane)
	}
	r.mark(0, 5*hour)
	r.windows(0, closed{"d", 5 * hour, 1})
	want := r.ask(everything)
	var got []string
	_, err := r.view.Query(everything, func(k string, m, ever *traffic, _ tables.Span, _ int64) {
		if len(got) == 0 {
			for _, n := range names {
				r.windows(0, closed{n, 5 * hour, 2}, closed{n, 5*hour + pane, 2})
				r.row(n, 44, 5*hour+2*pane)
				r.hours(0, 0, closed{n, 0, 40})
			}
			r.hours(0, 5*hour)
		}
		dims, err := tables.SplitKey(k)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s=%d", dims[0], m.Count))
		if ever != nil && ever.Count != 42 {
			t.Errorf("%s counted %d ever, want 42", dims[0], ever.Count)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if got := strings.Join(got, " "); got != want || want != "a=42 b=42 c=42 d=1" {
		t.Errorf("answer %q, want %q", got, want)
	}
	r.want(everything, "a=45 b=45 c=45 d=1")
}

// So it is when hours expire with the first line.
func TestHoursExpireBehindAnAnswer(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour, HourRetention: 4 * time.Hour})
	r.mark(0, 4*hour)
	for _, n := range []string{"a", "b", "c"} {
		r.hours(0, 0, closed{n, 0, 1}, closed{n, hour, 2}, closed{n, 2 * hour, 4})
	}
	r.hours(0, 3*hour)
	r.windows(0, closed{"d", 4 * hour, 8})
	var got []string
	if _, err := r.view.Query(everything, func(k string, m, _ *traffic, _ tables.Span, _ int64) {
		if len(got) == 0 {
			r.mark(0, 5*hour)
			r.windows(0, closed{"d", 5 * hour, 16})
		}
		got = append(got, fmt.Sprint(m.Count))
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if got := strings.Join(got, " "); got != "7 7 7 8" {
		t.Errorf("answer %q, want 7 of a, b and c and 8 of d", got)
	}
	r.want(everything, "a=6 b=6 c=6 d=24")
}

// What readers see never falls while the View is fed. With -race this is also the
// test that the bytes they share with it are not written to.
func TestReadersWhileItIsFed(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour})
	fed := make(chan struct{})
	var readers sync.WaitGroup
	read := func(sum func() (int64, error)) {
		readers.Go(func() {
			var before int64
			for {
				n, err := sum()
				if err != nil || n < before {
					t.Errorf("%d counted after %d, %v", n, before, err)
					return
				}
				before = n
				select {
				case <-fed:
					return
				default:
				}
			}
		})
	}
	for _, q := range []views.Query{everything, {Total: true}} {
		read(func() (n int64, err error) {
			_, err = r.view.Query(q, func(_ string, m, _ *traffic, _ tables.Span, _ int64) { n += m.Count })
			return n, err
		})
	}
	read(func() (n int64, err error) {
		err = r.view.Series(0, func(_ string, m *traffic) { n += m.Count })
		return n, err
	})
	for i := range int64(1000) {
		r.row("a", i, i*pane)
		r.row("a", i+1)
		r.windows(0, closed{"a", i * pane, 1})
		r.mark(0, i*pane)
	}
	close(fed)
	readers.Wait()
	r.want(everything, "a=1000")
}

func TestOldPanesAreKeptByTheHour(t *testing.T) {
	r := newRig(t, views.Options{Retention: 2 * time.Hour, HourRetention: 24 * time.Hour})
	r.mark(0, 0)
	for start := int64(0); start < 6*hour; start += 6 * pane {
		r.windows(0, closed{"a", start, 1})
		r.mark(0, start+pane)
	}
	r.want(views.Query{From: 0, To: 6 * hour}, "a=360")
	r.want(views.Query{From: hour, To: 2 * hour}, "a=60")
	r.want(views.Query{From: hour + pane, To: hour + 2*pane}, "a=60") // folded: hours count whole
	r.want(views.Query{From: 5 * hour, To: 5*hour + pane}, "a=1")
	r.want(views.Query{From: 0, To: 2 * hour, Step: pane}, "a@0=60 a@3600000=60")
	for start := int64(40 * hour); start < 41*hour; start += pane {
		r.windows(0, closed{"b", start, 1})
		r.mark(0, start+pane)
	}
	r.want(views.Query{From: 0, To: 39 * hour}, "")
	r.want(everything, "b=360")
}

// Hours take the place of old panes once all hours before have come, not one by one.
func TestHoursTakeThePlaceOfPanes(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour})
	steps := views.Query{From: 0, To: views.Newest, Step: hour}
	r.windows(0, closed{"a", 0, 1}, closed{"a", pane, 2}, closed{"a", hour, 4}, closed{"a", 4 * hour, 8})
	r.row("a", 0, 0, pane) // it lags behind
	r.mark(0, 5*hour)
	r.hours(0, 0, closed{"a", 0, 3})
	r.want(steps, "a@0=3 a@14400000=8 a@3600000=4")
	r.hours(0, hour, closed{"b", 0, 5})
	r.want(steps, "a@0=3 a@14400000=8 a@3600000=4 b@0=5")
	r.hours(0, 5*hour, closed{"a", hour, 4}, closed{"a", 4 * hour, 8})
	r.want(steps, "a@0=3 a@14400000=8 a@3600000=4 b@0=5")
	r.want(views.Query{From: 4 * hour, To: views.Newest, Step: pane}, "a@14400000=8")
	r.hours(0, hour, closed{"a", 0, 3}) // read again
	r.windows(0, closed{"b", 0, 5})     // behind the hours
	r.want(steps, "a@0=3 a@14400000=8 a@3600000=4 b@0=5")
	if panes, sums := r.view.Kept(); panes != 4*hour || sums != 5*hour-views.DefaultHourRetention.Milliseconds() {
		t.Errorf("kept since %d and %d", panes, sums)
	}
}

// Windows that were purged by a shorter retention than this one are told by their hours.
func TestRetentionIsRaised(t *testing.T) {
	for _, retention := range []time.Duration{time.Hour, 24 * time.Hour} {
		r := newRig(t, views.Options{Retention: retention})
		purged := []closed{{"a", hour, 4}, {"b", 6*hour + pane, 1}}
		rest := []closed{{"a", 7 * hour, 8}, {"b", 6*hour + 2*pane, 2}} // the newest hour is not the last
		if err := r.view.Windows(0, 17, batchOf(tables.BatchHeader{}, rest)); err != nil {
			t.Fatal(err)
		}
		r.mark(0, 9*hour)
		r.hours(0, 8*hour, purged[0], closed{"b", 6 * hour, 3}, rest[0])
		r.want(views.Query{From: 0, To: views.Newest}, "a=12 b=3")
		r.want(views.Query{From: 0, To: views.Newest, Step: pane}, "a@25200000=8 a@3600000=4 b@21600000=3")
		r.want(views.Query{From: 6*hour + pane, To: views.Newest}, "a=8 b=3") // it begins in an hour
	}
}

// A partition that only tells that hours pass, behind a first transaction that was aborted,
// has no part in how fine an answer is.
func TestPartitionWithoutPanes(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	r.mark(0, 10*hour+3*minute)
	r.mark(1, 10*hour+3*minute)
	r.windows(0, closed{"a", 9*hour + 10*minute, 100}, closed{"a", 9*hour + 59*minute, 5}, closed{"a", 10*hour + 2*minute, 1})
	for i := int64(7); i <= 10; i++ {
		if err := r.view.Windows(1, 2*(i-6), batchOf(tables.BatchHeader{Watermark: i * hour, HasWatermark: true, Closed: true}, nil)); err != nil {
			t.Fatal(err)
		}
		r.hours(1, i*hour)
	}
	r.want(views.Query{Window: 5 * minute}, "a=6")
}

// Where hours begin, an answer goes on to the end of one; where it ends among panes, it does not.
func TestRangeFromHoursToPanes(t *testing.T) {
	r := newRig(t, views.Options{})
	r.mark(0, 10*hour+30*minute)
	r.windows(0, closed{"a", 5*hour + 10*minute, 1}, closed{"a", 10*hour + 20*minute, 10}, closed{"a", 10*hour + 24*minute, 100})
	r.hours(0, 6*hour, closed{"a", 5 * hour, 1})
	r.want(views.Query{From: 5*hour + 30*minute, To: 10*hour + 23*minute}, "a=11")
	r.want(views.Query{From: 5*hour + 30*minute, To: 5*hour + 40*minute}, "a=1")
}

// A step that meets hours is raised to whole hours: one of 90 minutes would cut some in two.
func TestStepsOverHours(t *testing.T) {
	r := newRig(t, views.Options{Retention: time.Hour})
	r.windows(0, closed{"a", 0, 1}, closed{"a", hour, 2}, closed{"a", 2*hour - pane, 4}, closed{"a", 4 * hour, 8}, closed{"a", 5*hour + 30*minute, 16})
	r.mark(0, 5*hour)
	r.hours(0, 5*hour, closed{"a", 0, 1}, closed{"a", hour, 6}, closed{"a", 4 * hour, 8})
	for step, want := range map[int64]string{
		pane:        "a@0=1 a@14400000=8 a@18000000=16 a@3600000=6",
		60 * minute: "a@0=1 a@14400000=8 a@18000000=16 a@3600000=6",
		90 * minute: "a@0=7 a@14400000=24",
	} {
		r.want(views.Query{From: 0, To: views.Newest, Step: step}, want)
	}
	r.want(views.Query{From: 4 * hour, To: views.Newest, Step: 90 * minute}, "a@10800000=8 a@16200000=16")
}

func TestTombstone(t *testing.T) {
	r := newRig(t, views.Options{})
	r.windows(0, closed{"a", 0, 3})
	r.row("a", 3)
	r.row("b", 2)
	if n := r.view.Count(0); n != 2 {
		t.Errorf("count = %d, want 2", n)
	}
	r.update(0, key("a"), nil)
	r.want(views.Query{Total: true}, "b=2")
	r.want(views.Query{From: 0, To: pane}, "a=3") // history is history
	if n := r.view.Count(0); n != 1 {
		t.Errorf("count = %d, want 1", n)
	}
}

func TestOverflowRowsAreOneSeries(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	r.update(0, tables.OverflowKey, rowOf(5))
	r.update(1, tables.OverflowKey, rowOf(2))
	r.windows(0, closed{"overflow", 0, 3})
	r.windows(1, closed{"overflow", 0, 1}, closed{"overflow", pane, 1})
	r.want(views.Query{Total: true}, "overflow=7")
	r.want(views.Query{From: 0, To: views.Newest, Step: pane}, "overflow@0=4 overflow@10000=1")
	if n := r.view.Count(0); n != 0 {
		t.Errorf("count = %d: the overflow row is no series", n)
	}
}

// What the overflow rows counted ever is told whole, whichever of them counted
// something in the range.
func TestOverflowEver(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	r.update(0, tables.OverflowKey, rowOf(5))
	r.update(1, tables.OverflowKey, rowOf(2, pane))
	if _, err := r.view.Query(everything, func(_ string, m, ever *traffic, _ tables.Span, _ int64) {
		if m.Count != 1 || ever.Count != 8 {
			t.Errorf("the overflow series counted %d and %d ever, want 1 and 8", m.Count, ever.Count)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.view.Query(views.Query{Total: true}, func(_ string, m, ever *traffic, _ tables.Span, _ int64) {
		if m.Count != 8 || ever.Count != 8 {
			t.Errorf("the overflow series counted %d in all and %d ever, want 8 both times", m.Count, ever.Count)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWatermarkIsTheLeastOfAllPartitions(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	r.mark(0, 500)
	if _, ok := r.view.Watermark(); ok {
		t.Error("one partition has none yet")
	}
	r.mark(1, 300)
	if got, ok := r.view.Watermark(); !ok || got != 300 {
		t.Errorf("watermark = %d, %v", got, ok)
	}
}

func TestRecordsThatWereTakenInChangeNothing(t *testing.T) {
	r := newRig(t, views.Options{})
	r.row("a", 5)
	if err := r.view.Update(0, r.offset, key("a"), rowOf(99)); err != nil {
		t.Fatal(err)
	}
	r.want(views.Query{Total: true}, "a=5")
	r.update(0, "", nil) // a control record
	if got := r.view.Offset(0); got != r.offset {
		t.Errorf("offset = %d, want %d", got, r.offset)
	}
}

func TestBadRecordsAreErrors(t *testing.T) {
	r := newRig(t, views.Options{})
	for name, err := range map[string]error{
		"a row of another version": r.view.Update(0, 1, key("a"), []byte{99, 0}),
		"no row":                   r.view.Update(0, 1, key("a"), []byte{tables.Version}),
		"a pane of another length": r.view.Update(0, 1, key("a"), rowOf(0, pane/2)),
		"progress of nonsense":     r.view.Update(0, 2, tables.ProgressKey, []byte{tables.Version, 255}),
		"windows of nonsense":      r.view.Windows(0, 0, []byte{tables.Version, 0, 0, 255}),
		"a partition too many":     r.view.Update(7, 1, key("a"), rowOf(1)),
	} {
		if err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestRecovery(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	got := r.view.Recovery()
	if got.Ready || got.Ratio != 0 || got.Missing == "" {
		t.Errorf("at first: %+v", got)
	}
	r.view.Recovered(views.Changelog)
	r.view.Restoring(views.Closed, 0, 50, 100)
	r.view.Restoring(views.Summed, 0, 25, 100)
	if got = r.view.Recovery(); got.Ready || math.Abs(got.Ratio-2.75/6) > 1e-9 {
		t.Errorf("changelog, and some of the others: %+v", got)
	}
	r.view.Restoring(views.Closed, 0, 100, 100)
	r.view.Restoring(views.Closed, 1, 0, 0)
	r.view.Recovered(views.Summed)
	if got = r.view.Recovery(); !got.Ready || got.Ratio != 1 || got.Missing != "" {
		t.Errorf("all: %+v", got)
	}
}

func TestSeriesOfAPartition(t *testing.T) {
	r := newRig(t, views.Options{Partitions: 2})
	r.update(0, key("a"), rowOf(5, 0, pane))
	r.update(0, key("c"), rowOf(2))
	r.update(1, key("b"), rowOf(1))
	kept := map[string]*traffic{}
	if err := r.view.Series(0, func(k string, sum *traffic) { kept[k] = sum }); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for k, sum := range kept {
		got[k] = sum.Count
	}
	if !maps.Equal(got, map[string]int64{key("a"): 7, key("c"): 2}) {
		t.Errorf("series = %v", got)
	}
}

// Of closed panes a view keeps what Trim leaves, of rows everything.
func TestClosedPanesAreTrimmed(t *testing.T) {
	v := views.New[tables.Latency](views.Options{
		Panes: window.Panes{Size: pane, Grace: 60_000}, Partitions: 1, Assemblers: 1, Trim: tables.LatencyTable.Trim,
	})
	var m tables.Latency
	m.Observe(1e9, "trace", 5)
	k := key("a")
	var w tables.BatchWriter
	w.Reset(tables.BatchHeader{})
	for _, start := range []int64{0, pane} {
		w.Add(k, start, &m)
	}
	r := tables.Row[tables.Latency, *tables.Latency]{Total: m, LastPane: pane}
	r.Total.Merge(&m)
	if err := errors.Join(v.Windows(0, 0, w.Bytes()), v.Update(0, 1, k, r.Append(nil))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		query    views.Query
		exemplar string
	}{{everything, ""}, {views.Query{Total: true}, "trace"}} {
		if _, err := v.Query(tt.query, func(_ string, got, ever *tables.Latency, _ tables.Span, _ int64) {
			if got.Duration.Count() != 2 || got.Duration.Sum() != 2e9 || got.Slowest.TraceID != tt.exemplar || ever.Newest.TraceID != "trace" {
				t.Errorf("%+v: %+v of %+v, want 2 calls and the exemplar %q", tt.query, got, ever, tt.exemplar)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.Reset(tables.BatchHeader{})
	w.AddBody(k, 2*pane, []byte{2}) // two durations, and nothing of them
	if err := v.Windows(0, 0, w.Bytes()); err == nil {
		t.Error("a measure that cannot be trimmed is no error")
	}
}

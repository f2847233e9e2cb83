// Package views is the read side of the tables. Every instance keeps a View of
// each table with all of its partitions, fed with committed records only:
//
//	<group>-table    ── Update ──▶ row of a series: running total, open panes ┐
//	                               progress: watermark                        ├─▶ Query, Series, Watermark
//	<table>-windows  ── Windows ─▶ closed panes, kept for two hours           │
//	<table>-hours    ── Hours ───▶ their sums by the hour, kept for 35 days   ┘
//
// The topics are read independently of each other, so a pane may be in all of them, or
// for a moment in none. A View counts each pane of a series once and never takes back
// what it showed:
//
//   - The window record of a pane is final and hides the pane in the row, which
//     may lag behind. Windows of a series come in ascending order, so one number
//     per series, the newest pane that came, tells which those are. It also makes
//     records that are read again harmless.
//   - A pane that left the row stays, as it was in the last row that held it,
//     until its window record is there.
//   - What is older than the retention of panes, or than what is left of the windows
//     topic, is told by the hours, once all hours of the partition up to there have come;
//     before it by the panes, whatever hours came.
//
// A View starts no goroutine and knows neither Kafka nor what its measures mean.
package views

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"ragstreams/tables"
	"ragstreams/window"
)

const hour = int64(time.Hour / time.Millisecond)

// Defaults of Options.
const (
	DefaultRetention     = 2 * time.Hour       // what people look at closely
	DefaultHourRetention = 35 * 24 * time.Hour // the same day five weeks ago
)

// Options describes what a View reads.
type Options struct {
	Panes      window.Panes // Size must divide an hour
	Partitions int32        // of the table
	Assemblers int          // partitions whose watermarks the table waits for

	// Retention is how far behind the newest watermark closed panes are kept one
	// by one, at least; they leave by whole hours, once their sums have come, which are
	// kept for HourRetention. 0 means the default.
	Retention     time.Duration
	HourRetention time.Duration

	// Trim is that of the table: what is kept of a closed pane.
	Trim func(dst, body []byte) ([]byte, error)
}

// View is a table to read. All methods are safe for concurrent use.
type View[M any, P tables.Measure[M]] struct {
	o        Options
	recovery *recovery

	mu         sync.RWMutex
	partitions []*partition[M, P]
	trimmed    []byte // scratch
	newest     int64  // start of the newest pane of any series; window.None before
	mark       int64  // newest watermark of any partition; window.None before
}

// partition is what is known of one partition of the table. It is guarded by the
// View's lock.
type partition[M any, P tables.Measure[M]] struct {
	offset   int64 // of the last record of the changelog; -1 before
	progress tables.Progress
	summed   int64 // all hours that begin before have come
	whole    int64 // all panes from here on are in the windows topic; none before it is known
	series   map[string]*series[M, P]
	order    []*series[M, P] // the same; see tend
	next     int             // in order
	rows     int             // series that have a row
}

// New returns an empty View. Options that cannot work are a bug of the caller.
func New[M any, P tables.Measure[M]](o Options) *View[M, P] {
	if o.Panes.Size <= 0 || hour%o.Panes.Size != 0 || o.Partitions <= 0 || o.Assemblers <= 0 {
		panic(fmt.Sprintf("BUG: view of panes of %d ms, %d partitions, %d assemblers", o.Panes.Size, o.Partitions, o.Assemblers))
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.HourRetention == 0 {
		o.HourRetention = DefaultHourRetention
	}
	v := &View[M, P]{o: o, newest: window.None, mark: window.None, recovery: newRecovery(o.Partitions)}
	for range o.Partitions {
		v.partitions = append(v.partitions, &partition[M, P]{offset: -1, summed: window.None, whole: none, series: map[string]*series[M, P]{}})
	}
	return v
}

// Pane returns the length of a pane in milliseconds.
func (v *View[M, P]) Pane() int64 { return v.o.Panes.Size }

// Partitions returns the number of partitions.
func (v *View[M, P]) Partitions() int32 { return v.o.Partitions }

func (v *View[M, P]) partition(n int32) (*partition[M, P], error) {
	if n < 0 || int(n) >= len(v.partitions) {
		return nil, fmt.Errorf("partition %d of a table with %d", n, len(v.partitions))
	}
	return v.partitions[n], nil
}

// Update takes in one record of the changelog: a row, the progress of the
// partition, or a tombstone where value is empty. Of a record without a key, such
// as a control record, it notes the offset only. A record that was taken in
// before changes nothing. It keeps neither key nor value.
func (v *View[M, P]) Update(partition int32, offset int64, key string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, err := v.partition(partition)
	if err != nil {
		return fmt.Errorf("changelog: %w", err)
	}
	if offset <= p.offset {
		return nil
	}
	switch {
	case key == "":
	case key == tables.ProgressKey:
		err = v.updateProgress(p, value)
	case len(value) == 0:
		if s := p.series[key]; s != nil && s.row != nil {
			err = s.setRow(nil, none)
			p.count(key, -1)
		}
	default:
		err = v.updateRow(p, key, value)
	}
	if err != nil {
		return fmt.Errorf("changelog partition %d, offset %d: %w", partition, offset, err)
	}
	p.offset = offset
	return nil
}

func (v *View[M, P]) updateProgress(p *partition[M, P], value []byte) error {
	var progress tables.Progress
	if err := progress.Decode(value); err != nil {
		return err
	}
	p.progress = progress
	if mark, ok := progress.Watermark(v.o.Assemblers); ok {
		v.mark = max(v.mark, mark)
	}
	return nil
}

func (v *View[M, P]) updateRow(p *partition[M, P], key string, value []byte) error {
	// Rows come by the thousand. To decode each would cost ten times as much as
	// everything else here.
	first, open, last, err := tables.OpenPanes(value)
	switch {
	case err != nil:
	case !open:
		first = none
	default:
		err = v.checkPane(first)
	}
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	if open || last != 0 { // 0 may stand for none
		v.newest = max(v.newest, last)
	}
	s := p.series[key]
	if s == nil {
		s = v.insert(p, key)
	}
	if s.row == nil {
		p.count(key, 1)
	}
	if err := s.setRow(slices.Clone(value), first); err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// checkPane refuses panes of another length.
func (v *View[M, P]) checkPane(start int64) error {
	if start%v.o.Panes.Size != 0 {
		return fmt.Errorf("a pane at %d where panes are %d ms long: was window.pane changed?", start, v.o.Panes.Size)
	}
	return nil
}

func (v *View[M, P]) insert(p *partition[M, P], key string) *series[M, P] {
	s := newSeries[M, P](key, v.o.Panes.Size)
	p.series[s.key] = s
	p.order = append(p.order, s)
	return s
}

// count notes that a row came or left.
func (p *partition[M, P]) count(key string, n int) {
	if tables.IsSeries(key) {
		p.rows += n
	}
}

// Windows takes in one record of the windows topic, a batch of closed panes. Panes
// that were taken in before change nothing. It does not keep value; an empty one
// is ignored. A topic whose first record is not at offset 0 was purged, and by another
// retention than this one, perhaps.
func (v *View[M, P]) Windows(number int32, offset int64, value []byte) error {
	return v.batch(Closed, number, value, func(p *partition[M, P], r *tables.BatchReader) error {
		return v.addWindows(p, offset, r)
	})
}

// batch takes in one record of a stream of batches.
func (v *View[M, P]) batch(s Stream, number int32, value []byte, add func(*partition[M, P], *tables.BatchReader) error) error {
	if len(value) == 0 {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	p, err := v.partition(number)
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	r, err := tables.NewBatchReader(value)
	if err == nil {
		err = add(p, r)
	}
	if err != nil {
		return fmt.Errorf("%s of partition %d: %w", s, number, err)
	}
	return nil
}

func (v *View[M, P]) addWindows(p *partition[M, P], offset int64, r *tables.BatchReader) error {
	if p.whole == none {
		p.whole = wholeFrom(offset, *r)
	}
	if r.Header.HasWatermark { // of events or of closed panes: time has come so far
		v.mark = max(v.mark, r.Header.Watermark)
	}
	old, touched := max(v.cut(p), v.expiredBefore()), 0
	for r.Next() {
		if err := v.checkPane(r.Pane); err != nil {
			return err
		}
		v.newest = max(v.newest, r.Pane)
		s := p.series[string(r.Key)]
		switch {
		case s != nil && r.Pane <= s.closed:
			continue
		case s == nil:
			s = v.insert(p, string(r.Key))
		}
		body, err := v.trim(r.Body)
		if err != nil {
			return err
		}
		s.addWindow(r.Pane, body)
		s.panes.expire(old)
		touched++
	}
	if err := r.Err(); err != nil {
		return err
	}
	v.tend(p, touched)
	return nil
}

// wholeFrom returns from when on all panes are in a windows topic whose first record is this
// one; none when it does not tell. What is purged before a record has panes of earlier hours
// only than the newest of this one, or than the end of those that had been sent with it.
func wholeFrom(offset int64, r tables.BatchReader) int64 {
	if offset == 0 {
		return window.None
	}
	newest := window.None
	for r.Next() {
		newest = max(newest, r.Pane)
	}
	switch {
	case newest != window.None:
		return floor(newest, hour)
	case r.Header.Closed:
		return floor(r.Header.Watermark, hour)
	}
	return none
}

// trim returns what is kept of a body, until it is called again.
func (v *View[M, P]) trim(body []byte) (_ []byte, err error) {
	if v.o.Trim == nil {
		return body, nil
	}
	v.trimmed, err = v.o.Trim(v.trimmed[:0], body)
	return v.trimmed, err
}

// Hours takes in one record of the hours topic, a batch of sums of whole hours. Those that
// were taken in before change nothing. It does not keep value; an empty one is ignored.
func (v *View[M, P]) Hours(partition int32, value []byte) error {
	return v.batch(Summed, partition, value, v.addHours)
}

func (v *View[M, P]) addHours(p *partition[M, P], r *tables.BatchReader) error {
	expired, touched := v.expiredBefore(), 0
	for r.Next() {
		if r.Pane < expired {
			continue
		}
		s := p.series[string(r.Key)]
		if s == nil {
			s = v.insert(p, string(r.Key))
		}
		body, err := v.trim(r.Body)
		if err != nil {
			return err
		}
		s.addHour(r.Pane, body)
		touched++
	}
	if err := r.Err(); err != nil {
		return err
	}
	if r.Header.HasWatermark { // of closed panes, which a version before this one did not say
		p.summed = max(p.summed, r.Header.Watermark)
	}
	v.tend(p, touched)
	return nil
}

// cut returns the time before which a partition is told by hours: where panes need not be
// kept any more, or are not there any more, and no hour is missing.
func (v *View[M, P]) cut(p *partition[M, P]) int64 {
	return min(max(v.foldedBefore(), p.whole), p.summed)
}

// Kept returns from when on panes are kept one by one, and from when on hours are, in Unix
// milliseconds; window.None before there is a watermark.
func (v *View[M, P]) Kept() (panes, hours int64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.foldedBefore(), v.expiredBefore()
}

// foldedBefore returns the hour before which hours may be all that is kept, window.None
// when there is none.
func (v *View[M, P]) foldedBefore() int64 { return v.behind(v.o.Retention) }

// toldByHours returns the time before which any partition may be told by hours.
func (v *View[M, P]) toldByHours() int64 {
	t := v.foldedBefore()
	for _, p := range v.partitions {
		t = max(t, v.cut(p))
	}
	return t
}

// expiredBefore returns the hour before which everything is forgotten.
func (v *View[M, P]) expiredBefore() int64 { return v.behind(v.o.HourRetention) }

func (v *View[M, P]) behind(d time.Duration) int64 {
	if v.mark == window.None {
		return window.None
	}
	return floor(v.mark-d.Milliseconds(), hour)
}

// floor rounds t down to a multiple of size.
func floor(t, size int64) int64 { return window.Panes{Size: size}.Start(t) }

// ceil rounds t up to a multiple of size.
func ceil(t, size int64) int64 { return floor(t+size-1, size) }

// tend looks after some series, each in its turn, in case they are silent: what need not
// be kept any more leaves. All of them whenever an hour ends would keep readers waiting.
func (v *View[M, P]) tend(p *partition[M, P], touched int) {
	expired := v.expiredBefore()
	old := max(v.cut(p), expired)
	for range min(touched/16+64, len(p.order)) {
		p.next %= len(p.order)
		s := p.order[p.next]
		s.expire(old, expired)
		if !s.empty() {
			p.next++
			continue
		}
		delete(p.series, s.key)
		last := len(p.order) - 1
		p.order[p.next], p.order[last] = p.order[last], nil
		p.order = p.order[:last]
		if last == 0 {
			break
		}
	}
}

// Watermark returns the least watermark of all partitions in Unix milliseconds,
// and false until every one of them has one.
func (v *View[M, P]) Watermark() (int64, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.watermark()
}

func (v *View[M, P]) watermark() (least int64, ok bool) {
	for i, p := range v.partitions {
		mark, ok := p.progress.Watermark(v.o.Assemblers)
		if !ok {
			return 0, false
		}
		if i == 0 || mark < least {
			least = mark
		}
	}
	return least, true
}

// Offset returns the offset of the last record of the changelog partition that
// was taken in, -1 before the first.
func (v *View[M, P]) Offset(partition int32) int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	p, err := v.partition(partition)
	if err != nil {
		return -1
	}
	return p.offset
}

// Count returns how many series have a row in a partition. The overflow row is
// none.
func (v *View[M, P]) Count(partition int32) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	p, err := v.partition(partition)
	if err != nil {
		return 0
	}
	return p.rows
}

// Series calls visit with what each series of a partition, and its overflow row,
// counted since it exists, open panes included, in no particular order. Of series
// that were forgotten it tells nothing. The rows are those of one moment; visit may
// keep sum. The View goes on while rows are visited.
func (v *View[M, P]) Series(partition int32, visit func(key string, sum *M)) error {
	rows, err := v.rows(partition)
	if err != nil {
		return err
	}
	var editor tables.Editor[M, P]
	for _, r := range rows {
		sum, err := sumOf(&editor, r)
		if err != nil {
			return err
		}
		visit(r.key, new(P(sum).Clone()))
	}
	return nil
}

func (v *View[M, P]) rows(partition int32) ([]encodedRow, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	p, err := v.partition(partition)
	if err != nil {
		return nil, err
	}
	return p.appendRows(make([]encodedRow, 0, len(p.order))), nil
}

// appendRows adds the rows of all series that have one.
func (p *partition[M, P]) appendRows(rows []encodedRow) []encodedRow {
	for _, s := range p.order {
		if s.row != nil {
			rows = append(rows, encodedRow{s.key, s.row})
		}
	}
	return rows
}

// encodedRow is the row of a series at one moment.
type encodedRow struct {
	key string
	row []byte
}

// sumOf returns all that a row counted; it is valid until the editor is used again.
func sumOf[M any, P tables.Measure[M]](editor *tables.Editor[M, P], r encodedRow) (*M, error) {
	sum, err := editor.Sum(r.row)
	if err != nil {
		return nil, fmt.Errorf("row %q: %w", r.key, err)
	}
	return sum, nil
}

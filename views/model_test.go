package views_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

var (
	firstSeed = flag.Uint64("seed", 1, "first seed of TestAgainstAModel")
	seeds     = flag.Uint64("seeds", 300, "how many seeds TestAgainstAModel tries")
)

// The world of TestAgainstAModel has short times, so that much happens to few
// panes.
const (
	minute         = int64(60_000)
	graceMinutes   = 30 // panes open at a time
	forgetAfter    = 45 * minute
	hoursRetention = 5 * hour
)

// TestAgainstAModel lives through random commits of a table of two partitions and
// delivers its three topics to a View: each partition of each in its own order, else
// in any, with records read again, series that are forgotten and come back, logs
// that are compacted, purged and expire, and instances that start anew. Whenever it asks,
// the answer must be what a map from panes to counts says.
func TestAgainstAModel(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { live(t, rand.New(rand.NewPCG(seed, 17))) }) {
			t.Fatalf("run it alone with -seed %d -seeds 1", seed)
		}
	}
}

func live(t *testing.T, rng *rand.Rand) {
	w := newWorld(rng)
	r := newReader(t, w)
	for range 120 {
		switch n := rng.IntN(200); {
		case n < 60:
			pick(rng, w.partitions...).commit(rng.IntN(8), pick[int64](rng, 0, 0, 0, 0, 0, 0, 1, 2, 7, 40, 90, 400)*minute)
		case n < 110:
			r.change(rng.IntN(len(w.partitions)))
		case n < 145:
			r.close(rng.IntN(len(w.partitions)))
		case n < 155:
			pick(rng, w.partitions...).sumUp()
		case n < 165:
			r.sum(rng.IntN(len(w.partitions)))
		case n < 182:
			r.rewind(rng.IntN(len(w.partitions)))
		case n < 198:
			pick(rng, w.partitions...).clean()
		default:
			w.retention = pick(rng, w.retention, hour, 2*hour, 3*hour)
			r = newReader(t, w)
		}
		r.ask()
	}
	for i := range w.partitions {
		for r.change(i) || r.close(i) || r.sum(i) {
			r.ask()
		}
	}
	r.checkTruth()
	for i, p := range w.partitions {
		for range 10 { // what has expired leaves little by little
			p.commit(1, 2*hoursRetention)
			for p.sumUp() || r.change(i) || r.close(i) || r.sum(i) {
				r.ask()
			}
		}
	}
	r.checkMemory()
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// at is a pane of a series.
type at struct {
	key   string
	start int64
}

func (a at) String() string { return fmt.Sprintf("%q@%d", a.key, a.start) }

// world is a table: what was counted, and its topics as they were committed.
type world struct {
	rng        *rand.Rand
	partitions []*worldPartition
	retention  int64 // of panes, by which windows are purged
}

type worldPartition struct {
	*world
	keys    []string
	rows    map[string]*row
	counted map[at]int64 // the truth
	clock   int64        // start of the newest minute
	mark    int64        // the watermark
	silent  int          // commits that count nothing

	offset    int64 // of the last record of all topics
	changelog []change
	windows   []batch
	sent      int64 // records that windows and hours ever had
	hours     []batch
	deleted   map[at]bool // panes whose window record was deleted

	// The history stage.
	read   int64 // offset of the last window record that it read
	sums   map[at]int64
	summed int64 // all hours that begin before were sent
}

// change is one record of the changelog; tombstones have no value.
type change struct {
	offset int64
	key    string
	value  []byte
	row    *row  // as it was, nil when this is none
	mark   int64 // of a progress record
}

// batch is one record of the windows topic, or of the hours topic.
type batch struct {
	offset int64 // by which what is read is told from what is not
	nth    int64 // of windows and hours of its partition, from 0
	value  []byte
	mark   int64 // window.None where it tells none
	counts map[at]int64
}

func newWorld(rng *rand.Rand) *world {
	w := &world{rng: rng, retention: 2 * hour}
	begin := 480_000*hour + rng.Int64N(3)*20*minute
	for _, names := range [][]string{{"a", "b"}, {"c", "d"}} {
		p := &worldPartition{world: w, rows: map[string]*row{}, counted: map[at]int64{}, deleted: map[at]bool{}, sums: map[at]int64{}, summed: window.None, clock: begin, mark: begin - graceMinutes*minute}
		for _, n := range names {
			p.keys = append(p.keys, key(n))
		}
		p.keys = append(p.keys, tables.OverflowKey)
		if rng.IntN(4) == 0 { // its first transaction was aborted, and nothing is counted there for a while
			p.sent, p.silent = 2, rng.IntN(30)
		}
		w.partitions = append(w.partitions, p)
	}
	return w
}

// commit is one transaction: it counts so many events, closes panes when time goes
// on by some, and writes each row that changed once, those first and the progress
// last.
func (p *worldPartition) commit(events int, by int64) {
	changed, gone := map[string]bool{}, map[string]bool{}
	if p.silent > 0 {
		p.silent, events = p.silent-1, 0
	}
	for range events {
		k := pick(p.rng, p.keys...)
		p.count(k, max(p.clock-p.rng.Int64N(graceMinutes)*minute, p.mark))
		changed[k] = true
	}
	if by > 0 {
		p.clock += by
		p.mark = p.clock - graceMinutes*minute
		p.close(changed, gone)
	}
	for _, k := range p.keys {
		switch {
		case gone[k]:
			p.append(change{key: k})
		case changed[k]:
			c := p.rows[k].Clone()
			p.append(change{key: k, value: c.Append(nil), row: &c})
		}
	}
	if by > 0 {
		var progress tables.Progress
		progress.Observe(0, p.mark)
		p.append(change{key: tables.ProgressKey, value: progress.Append(nil), mark: p.mark})
	}
	p.append(change{}) // the marker of the commit
}

func (p *worldPartition) count(k string, start int64) {
	if p.rows[k] == nil {
		p.rows[k] = &row{}
	}
	p.rows[k].Add(start, &traffic{Count: 1})
	p.counted[at{k, start}]++
}

// close closes what the watermark has passed, in one record or several, and forgets
// the series that have been silent.
func (p *worldPartition) close(changed, gone map[string]bool) {
	out := newSender(p, &p.windows)
	for _, k := range p.keys {
		r := p.rows[k]
		if r == nil {
			continue
		}
		r.Close(p.mark-minute, func(closed tables.Pane[traffic]) {
			out.add(at{k, closed.Start}, closed.M.Count)
			changed[k] = true
		})
		if k != tables.OverflowKey && r.LastPane+forgetAfter <= p.mark {
			delete(p.rows, k)
			gone[k] = true
		}
	}
	out.end(p.mark)
}

// sender makes batches of a topic, whose last tells a watermark.
type sender struct {
	p    *worldPartition
	to   *[]batch
	b    tables.BatchWriter
	next batch
}

func newSender(p *worldPartition, to *[]batch) *sender {
	s := &sender{p: p, to: to}
	s.begin()
	return s
}

func (s *sender) begin() {
	s.next = batch{mark: window.None, counts: map[at]int64{}}
	s.b.Reset(tables.BatchHeader{})
}

func (s *sender) add(a at, n int64) {
	s.b.Add(a.key, a.start, &traffic{Count: n})
	s.next.counts[a] = n
	if s.p.rng.IntN(10) == 0 {
		s.send()
	}
}

func (s *sender) send() {
	s.p.offset++
	s.next.offset, s.next.nth, s.next.value = s.p.offset, s.p.sent, slices.Clone(s.b.Bytes())
	s.p.sent++
	*s.to = append(*s.to, s.next)
	s.begin()
}

// end sends what is left, with all that end by a time having been sent.
func (s *sender) end(mark int64) {
	s.b.MarkClosed(mark)
	s.next.mark = mark
	s.send()
}

// sumUp has the history read a record of closed panes, false when there is none.
func (p *worldPartition) sumUp() bool {
	i := slices.IndexFunc(p.windows, func(b batch) bool { return b.offset > p.read })
	if i < 0 {
		return false
	}
	b := p.windows[i]
	p.read = b.offset
	for a, n := range b.counts {
		p.sums[at{a.key, a.start / hour * hour}] += n
	}
	through := b.mark / hour * hour
	if b.mark == window.None || through <= p.summed {
		return true
	}
	p.summed = through
	out := newSender(p, &p.hours)
	for _, a := range slices.SortedFunc(maps.Keys(p.sums), func(a, b at) int { return cmp.Compare(a.start, b.start) }) {
		if a.start < through {
			out.add(a, p.sums[a])
			delete(p.sums, a)
		}
	}
	out.end(through)
	return true
}

func (p *worldPartition) append(c change) {
	p.offset++
	c.offset = p.offset
	p.changelog = append(p.changelog, c)
}

// clean is what becomes of old records: of some of the changelog the broker keeps the last
// of each key only, windows are purged when they were summed up and are an hour older than
// any that are kept, and hours when they are too old.
func (p *worldPartition) clean() {
	last := map[string]int64{}
	for _, c := range p.changelog[:p.rng.IntN(len(p.changelog)+1)] {
		last[c.key] = c.offset
	}
	p.changelog = slices.DeleteFunc(p.changelog, func(c change) bool { return c.offset < last[c.key] })
	cut := min(before(p.mark, p.retention)-hour, p.summed)
	p.windows = purge(p.windows, cut)
	for a := range p.counted {
		p.deleted[a] = p.deleted[a] || a.start < cut && !slices.ContainsFunc(p.windows, func(b batch) bool { _, there := b.counts[a]; return there })
	}
	p.hours = purge(p.hours, before(p.mark, hoursRetention)-hour)
}

// purge deletes the records before the first that has anything from a time on.
func purge(log []batch, from int64) []batch {
	i := slices.IndexFunc(log, func(b batch) bool {
		for a := range b.counts {
			if a.start >= from {
				return true
			}
		}
		return b.mark >= from
	})
	if i < 0 {
		return log
	}
	return log[i:]
}

// before returns the hour that is d behind mark.
func before(mark, d int64) int64 {
	if mark == window.None {
		return window.None
	}
	return (mark - d) / hour * hour
}

// reader is a View, how far it has read, and what it must know: the model.
type reader struct {
	*testing.T
	*world
	view  *views.View[traffic, *traffic]
	parts []readerPartition
	keep  int64 // retention of panes
	mark  int64 // newest watermark that came
	last  int64 // newest pane that came
}

type readerPartition struct {
	changelog, windows, hours int64 // offsets of the last records read
	taken                     int64 // of the changelog, before anything was read again
	rows                      map[string]*row
	shown                     map[at]int64
	final                     map[at]bool      // its window record came
	closed                    map[string]int64 // the newest of those, by key
	summed                    int64            // all hours that begin before came
	whole                     int64            // all panes from here on were in the windows when they were first read
	sums                      map[at]int64     // those that came
}

func newReader(t *testing.T, w *world) *reader {
	r := &reader{T: t, world: w, keep: w.retention, mark: window.None, last: window.None, view: views.New[traffic](views.Options{
		Panes: window.Panes{Size: minute, Grace: graceMinutes * minute}, Partitions: int32(len(w.partitions)), Assemblers: 1,
		Retention: time.Duration(w.retention) * time.Millisecond, HourRetention: time.Duration(hoursRetention) * time.Millisecond,
	})}
	for range w.partitions {
		r.parts = append(r.parts, readerPartition{rows: map[string]*row{}, shown: map[at]int64{}, final: map[at]bool{}, closed: map[string]int64{}, summed: window.None, whole: math.MaxInt64, sums: map[at]int64{}})
	}
	return r
}

// rewind has a topic read again from some earlier record.
func (r *reader) rewind(partition int) {
	p := &r.parts[partition]
	position := pick(r.rng, &p.changelog, &p.windows, &p.hours)
	*position = r.rng.Int64N(*position + 1)
}

// change delivers the next record of the changelog, false when there is none.
func (r *reader) change(partition int) bool {
	p := &r.parts[partition]
	log := r.partitions[partition].changelog
	i := slices.IndexFunc(log, func(c change) bool { return c.offset > p.changelog })
	if i < 0 {
		return false
	}
	c := log[i]
	p.changelog = c.offset
	if err := r.view.Update(int32(partition), c.offset, c.key, slices.Clone(c.value)); err != nil {
		r.Fatal(err)
	}
	if c.offset <= p.taken {
		return true
	}
	p.taken = c.offset
	switch {
	case c.key == "":
	case c.key == tables.ProgressKey:
		r.mark = max(r.mark, c.mark)
	case c.row == nil:
		delete(p.rows, c.key)
	default:
		p.rows[c.key] = c.row
		r.last = max(r.last, c.row.LastPane)
		for _, open := range c.row.Open {
			if a := (at{c.key, open.Start}); !r.hidden(partition, a) {
				r.show(partition, a, open.M.Count)
			}
		}
	}
	return true
}

// close delivers the next record of closed panes, false when there is none.
func (r *reader) close(partition int) bool {
	p := &r.parts[partition]
	log := r.partitions[partition].windows
	i := slices.IndexFunc(log, func(b batch) bool { return b.offset > p.windows })
	if i < 0 {
		return false
	}
	b := log[i]
	p.windows = b.offset
	if err := r.view.Windows(int32(partition), b.nth, slices.Clone(b.value)); err != nil {
		r.Fatal(err)
	}
	r.mark = max(r.mark, b.mark)
	if p.whole == math.MaxInt64 {
		switch newest := slices.MaxFunc(append(slices.Collect(maps.Keys(b.counts)), at{}), func(a, b at) int { return cmp.Compare(a.start, b.start) }); {
		case b.nth == 0:
			p.whole = window.None
		case newest.key != "":
			p.whole = newest.start / hour * hour
		case b.mark != window.None:
			p.whole = b.mark / hour * hour
		}
	}
	for a, n := range b.counts {
		r.last = max(r.last, a.start)
		p.final[a] = true
		p.closed[a.key] = max(p.closed[a.key], a.start)
		r.show(partition, a, n)
		if n != r.partitions[partition].counted[a] {
			r.Fatalf("the window record of %v tells %d, counted were %d", a, n, r.partitions[partition].counted[a])
		}
	}
	maps.DeleteFunc(p.shown, func(a at, _ int64) bool { return r.hidden(partition, a) && !p.final[a] })
	return true
}

// sum delivers the next record of hours, false when there is none.
func (r *reader) sum(partition int) bool {
	p := &r.parts[partition]
	log := r.partitions[partition].hours
	i := slices.IndexFunc(log, func(b batch) bool { return b.offset > p.hours })
	if i < 0 {
		return false
	}
	b := log[i]
	p.hours = b.offset
	if err := r.view.Hours(int32(partition), slices.Clone(b.value)); err != nil {
		r.Fatal(err)
	}
	p.summed = max(p.summed, b.mark)
	maps.Copy(p.sums, b.counts)
	return true
}

// cut returns the time before which a partition is told by hours.
func (r *reader) cut(partition int) int64 {
	p := &r.parts[partition]
	return min(max(before(r.mark, r.keep), p.whole), p.summed)
}

// folded returns the time before which an answer may be told by hours.
func (r *reader) folded() int64 {
	t := before(r.mark, r.keep)
	for i := range r.parts {
		t = max(t, r.cut(i))
	}
	return t
}

// hidden tells whether the window record of a pane came, or never will: it expired
// unread, and that of a later pane of the series came.
func (r *reader) hidden(partition int, a at) bool {
	p := &r.parts[partition]
	if a.start > p.closed[a.key] || p.final[a] {
		return p.final[a]
	}
	if !r.partitions[partition].deleted[a] {
		r.Fatalf("the window record of %v comes after that of %d", a, p.closed[a.key])
	}
	return true
}

// show notes what a pane must be shown as from now on. It never falls and is never
// more than was counted.
func (r *reader) show(partition int, a at, n int64) {
	shown := r.parts[partition].shown
	if n < shown[a] || n > r.partitions[partition].counted[a] {
		r.Fatalf("pane %v goes from %d to %d, counted were %d", a, shown[a], n, r.partitions[partition].counted[a])
	}
	shown[a] = n
}

// ask asks something and checks the answer.
func (r *reader) ask() {
	r.Helper()
	clock := pick(r.rng, r.partitions...).clock
	q := views.Query{Step: pick[int64](r.rng, 0, 0, 1, 2, 7, 60, 120) * minute}
	switch r.rng.IntN(4) {
	case 0:
		q.Total = true
	case 1:
		q.Window = pick(r.rng, minute, 5*minute, hour, 10*hour)
	default:
		q.From = clock + minute - r.rng.Int64N(pick(r.rng, 10*minute, hour, 10*hour))
		q.To = pick(r.rng, views.Newest, q.From+r.rng.Int64N(10*minute), q.From+r.rng.Int64N(10*hour))
	}
	r.check(q)
	for i := range r.parts {
		rows := 0
		for k := range r.parts[i].rows {
			if tables.IsSeries(k) {
				rows++
			}
		}
		if got := r.view.Count(int32(i)); got != rows {
			r.Fatalf("partition %d has %d rows, want %d", i, got, rows)
		}
	}
}

// check compares an answer with the model.
func (r *reader) check(q views.Query) {
	r.Helper()
	got, evers := map[at]int64{}, map[string]int64{}
	var spans []tables.Span
	a, err := r.view.Query(q, func(k string, m, ever *traffic, span tables.Span, step int64) {
		line := at{k, step}
		if got[line] != 0 {
			r.Fatalf("%+v: %v comes twice", q, line)
		}
		got[line] = m.Count
		if ever != nil {
			evers[k] = ever.Count
		}
		spans = append(spans, span)
	})
	if err != nil {
		r.Fatal(err)
	}
	want := map[at]int64{}
	if q.Total {
		for k, n := range r.evers() {
			want[at{k, a.Span.From}] = n
		}
	} else {
		r.checkSpan(q, a)
		for i, p := range r.parts {
			add := func(line at, n int64) {
				if line.start >= a.Span.From && line.start < a.Span.To {
					want[at{line.key, stepOf(line.start, a)}] += n
				}
			}
			for pane, n := range p.shown {
				if pane.start >= r.cut(i) {
					add(pane, n)
				}
			}
			for of, n := range p.sums {
				if of.start < r.cut(i) {
					add(of, n)
				}
			}
		}
	}
	if !maps.Equal(got, want) {
		r.Fatalf("%+v, answered for %+v:\n got %v\nwant %v", q, a, got, want)
	}
	for k, n := range evers {
		if n != r.evers()[k] {
			r.Fatalf("%+v: %q counted %d ever, want %d", q, k, n, r.evers()[k])
		}
	}
	for _, s := range spans {
		if s.From < a.Span.From || s.To > a.Span.To || a.Step > 0 && a.Ranged && s.To-s.From > a.Step {
			r.Fatalf("%+v, answered for %+v: a line for %+v", q, a, s)
		}
	}
}

// stepOf returns the step of a pane; without steps it is the range.
func stepOf(start int64, a views.Answer) int64 {
	if a.Step == 0 {
		return a.Span.From
	}
	return start / a.Step * a.Step
}

// evers returns what the rows that came tell of all times.
func (r *reader) evers() map[string]int64 {
	evers := map[string]int64{}
	for _, p := range r.parts {
		for k, row := range p.rows {
			evers[k] += row.Sum().Count
		}
	}
	return evers
}

// checkSpan checks that an answer is for what was asked, rounded as it says.
func (r *reader) checkSpan(q views.Query, a views.Answer) {
	r.Helper()
	from, to := q.From, q.To
	newest := r.last + minute
	switch {
	case r.last == window.None && (q.Window > 0 || to == views.Newest):
		if a.Ranged || a.HasData {
			r.Fatalf("%+v, answered for %+v before anything came", q, a)
		}
		return
	case q.Window > 0:
		from, to = newest-q.Window, newest
	case to == views.Newest:
		to = max(from, newest)
	}
	round, expired := minute, before(r.mark, hoursRetention)
	if from < r.folded() {
		round = hour
	}
	good := a.Ranged && (a.Span.From%round == 0 || a.Span.From == a.Span.To) && a.Step%round == 0 && a.Span.To >= to && a.Span.To < to+round && a.Step >= q.Step &&
		(a.Span.From <= from && a.Span.From > from-round || from < expired && (a.Span.From == expired || a.Span.From == a.Span.To))
	if !good {
		r.Fatalf("%+v, answered for %+v: watermark %d, newest pane %d", q, a, r.mark, r.last)
	}
}

// checkTruth checks that all that was counted is told, once everything was read.
func (r *reader) checkTruth() {
	expired := before(r.mark, hoursRetention)
	for i, p := range r.partitions {
		sums := map[at]int64{}
		for a, n := range p.counted {
			if a.start < r.cut(i) {
				sums[at{a.key, a.start / hour * hour}] += n
			} else if got := r.parts[i].shown[a]; got != n {
				r.Fatalf("pane %v is %d, counted were %d", a, got, n)
			}
		}
		for of, n := range sums {
			if got := r.parts[i].sums[of]; of.start >= expired && got != n {
				r.Fatalf("hour %v is %d, counted were %d", of, got, n)
			}
		}
	}
	r.check(views.Query{Total: true})
	r.check(views.Query{From: expired, To: views.Newest, Step: minute})
	r.check(views.Query{From: r.folded(), To: views.Newest, Step: minute})
}

// checkMemory checks that nothing but rows is left when everything has expired.
func (r *reader) checkMemory() {
	rows := 0
	for _, p := range r.parts {
		rows += len(p.rows)
	}
	if n := views.SeriesKept(r.view); n != rows {
		r.Fatalf("%d series are kept for %d rows", n, rows)
	}
}

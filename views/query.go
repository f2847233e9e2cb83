package views

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"ragstreams/tables"
	"ragstreams/window"
)

// Newest as the end of a range is the end of the newest pane that anything was
// counted in, open or closed.
const Newest int64 = math.MaxInt64

// Query selects what a View answers, in Unix milliseconds of event time. Panes
// count whole: a range reaches from the start of the pane that holds its
// beginning to the end of the pane that holds its last millisecond. Where it
// begins in hours that may have been folded, the same goes for hours.
type Query struct {
	Total bool // everything since the beginning; the rest is ignored

	// Window, when positive, asks for the newest Window milliseconds; they end at
	// the end of the newest pane that anything was counted in, whatever the clock
	// says.
	Window int64

	// From and To ask for [From, To) otherwise. To may be Newest.
	From, To int64

	// Step, when positive, cuts the range into steps aligned to the Unix epoch. It
	// must be a multiple of the pane. Where the range begins in folded hours it is
	// raised to whole hours.
	Step int64
}

// Answer is what a query was answered for.
type Answer struct {
	Span      tables.Span // after rounding; without a range its ends are equal
	Ranged    bool        // there is a range: neither a total, nor a table without data
	HasData   bool        // anything was ever counted in a pane; Span.To means something
	Step      int64       // as used; 0: none
	Watermark int64       // least of all partitions
	HasMark   bool        // there is a watermark
}

// Visit is handed one line of an answer: what the series counted in the span, of closed
// panes what Trim left, and what it counted since it exists, which is nil when its table
// has forgotten it. Span begins where the step does or the range, whichever is later, and
// step is where the step does. Lines in which nothing was counted are left out. Neither
// pointer may be kept.
type Visit[M any] func(key string, m, ever *M, span tables.Span, step int64)

// Query answers q as of one moment. The lines of a series come in ascending order;
// those of different series in no particular one. The overflow rows of all
// partitions are one series. The View goes on while lines are visited.
func (v *View[M, P]) Query(q Query, visit Visit[M]) (Answer, error) {
	// Copies share the bytes of what they are copies of: to decode a hundred thousand
	// series takes seconds, during which the lock must not be held.
	v.mu.RLock()
	a, err := v.resolve(q)
	var rows []encodedRow
	var all []series[M, P]
	switch {
	case err != nil:
	case q.Total:
		rows = v.allRows()
	case a.Ranged:
		all = v.allSeries()
	}
	v.mu.RUnlock()
	if err != nil {
		return Answer{}, err
	}
	overflow := overflow[M, P]{steps: map[int64]*line[M]{}}
	if q.Total {
		err = totals(rows, a.Span, &overflow, visit)
	} else {
		err = ranged(all, a, &overflow, visit)
	}
	if err != nil {
		return Answer{}, err
	}
	overflow.visit(visit)
	return a, nil
}

// totals visits what every series counted since it exists.
func totals[M any, P tables.Measure[M]](rows []encodedRow, span tables.Span, over *overflow[M, P], visit Visit[M]) error {
	var editor tables.Editor[M, P]
	for _, r := range rows {
		ever, err := sumOf(&editor, r)
		switch {
		case err != nil:
			return err
		case P(ever).IsZero():
		case r.key == tables.OverflowKey:
			over.addEver(ever)
			over.add(r.key, ever, nil, span, span.From)
		default:
			visit(r.key, ever, ever, span, span.From)
		}
	}
	return nil
}

// ranged visits what every series counted in the range of a, step by step.
func ranged[M any, P tables.Measure[M]](all []series[M, P], a Answer, over *overflow[M, P], visit Visit[M]) error {
	var editor tables.Editor[M, P]
	for i := range all {
		s, out := &all[i], visit
		if s.key == tables.OverflowKey {
			out = over.add
			if s.row != nil {
				ever, err := sumOf(&editor, encodedRow{s.key, s.row})
				if err != nil {
					return err
				}
				over.addEver(ever)
			}
		}
		if err := s.ranged(a, out); err != nil {
			return err
		}
	}
	return nil
}

func (v *View[M, P]) allRows() []encodedRow {
	rows := make([]encodedRow, 0, v.known())
	for _, p := range v.partitions {
		rows = p.appendRows(rows)
	}
	return rows
}

func (v *View[M, P]) known() (n int) {
	for _, p := range v.partitions {
		n += len(p.order)
	}
	return n
}

func (v *View[M, P]) allSeries() []series[M, P] {
	all := make([]series[M, P], 0, v.known())
	for _, p := range v.partitions {
		cut := v.cut(p)
		for _, s := range p.order {
			one := *s
			one.cut = cut
			all = append(all, one)
		}
	}
	return all
}

// resolve rounds the range of a query to what can be answered.
func (v *View[M, P]) resolve(q Query) (Answer, error) {
	var a Answer
	a.Watermark, a.HasMark = v.watermark()
	pane := v.o.Panes.Size
	if a.HasData = v.newest != window.None; a.HasData {
		a.Span = tables.Span{From: v.newest + pane, To: v.newest + pane}
	}
	if q.Total {
		return a, nil
	}
	from, to := q.From, q.To
	switch {
	case q.Step < 0 || q.Step%pane != 0:
		return a, fmt.Errorf("a step of %d ms is not a multiple of the pane of %d ms", q.Step, pane)
	case !a.HasData && (q.Window > 0 || to == Newest):
		return a, nil
	case q.Window > 0:
		from, to = a.Span.To-q.Window, a.Span.To
	case to == Newest:
		to = max(from, a.Span.To)
	}
	if to < from {
		return a, fmt.Errorf("a range from %d to %d ends before it begins", from, to)
	}
	from, to, a.Step = floor(from, pane), ceil(to, pane), q.Step
	if folded := v.toldByHours(); from < folded {
		from = floor(from, hour)
		if to < folded {
			to = ceil(to, hour)
		}
		if a.Step > 0 {
			a.Step = ceil(a.Step, hour)
		}
	}
	from = min(max(from, v.expiredBefore()), to)
	a.Span, a.Ranged = tables.Span{From: from, To: to}, true
	return a, nil
}

// ranged visits what the series counted in the range of a, step by step.
func (s *series[M, P]) ranged(a Answer, visit Visit[M]) error {
	l := stepper[M, P]{series: s, a: a, visit: visit, at: a.Span.From}
	for start, body := range s.past() {
		if err := l.addBody(start, body); err != nil {
			return err
		}
	}
	if err := l.addOpen(); err != nil {
		return err
	}
	return l.flush()
}

// stepper merges the panes of one series, ascending, into steps.
type stepper[M any, P tables.Measure[M]] struct {
	series *series[M, P]
	a      Answer
	visit  Visit[M]
	row    *tables.Row[M, P] // of the series, once it was needed
	ever   *M                // likewise
	at     int64             // start of the step
	sum    M
}

func (l *stepper[M, P]) in(start int64) bool { return start >= l.a.Span.From && start < l.a.Span.To }

func (l *stepper[M, P]) addBody(start int64, body []byte) error {
	if !l.in(start) {
		return nil
	}
	if err := l.enter(start); err != nil {
		return err
	}
	return l.series.merge(&l.sum, start, body)
}

// addOpen adds the panes open in the row that have no window record yet.
func (l *stepper[M, P]) addOpen() error {
	if l.series.first >= l.a.Span.To {
		return nil
	}
	if err := l.decodeRow(); err != nil {
		return err
	}
	for i := range l.row.Open {
		start := l.row.Open[i].Start
		if !l.series.open(start) || !l.in(start) {
			continue
		}
		if err := l.enter(start); err != nil {
			return err
		}
		P(&l.sum).Merge(&l.row.Open[i].M)
	}
	return nil
}

// decodeRow decodes the row, which must be there. It is spared for the many series
// that counted nothing in the range.
func (l *stepper[M, P]) decodeRow() error {
	if l.row != nil {
		return nil
	}
	l.row = new(tables.Row[M, P])
	if err := l.row.Decode(l.series.row); err != nil {
		return fmt.Errorf("row %q: %w", l.series.key, err)
	}
	return nil
}

// enter ends the step before that of start.
func (l *stepper[M, P]) enter(start int64) error {
	if l.a.Step == 0 {
		return nil
	}
	at := floor(start, l.a.Step)
	if at == l.at {
		return nil
	}
	err := l.flush()
	l.at = at
	return err
}

// flush visits what was counted in the step.
func (l *stepper[M, P]) flush() error {
	if P(&l.sum).IsZero() {
		return nil
	}
	if l.ever == nil && l.series.row != nil {
		if err := l.decodeRow(); err != nil {
			return err
		}
		sum := l.row.Sum()
		l.ever = &sum
	}
	span := l.a.Span
	if l.a.Step > 0 {
		span = tables.Span{From: max(l.at, span.From), To: min(l.at+l.a.Step, span.To)}
	}
	l.visit(l.series.key, &l.sum, l.ever, span, l.at)
	l.sum = *new(M)
	return nil
}

// overflow merges the overflow rows of all partitions into one series.
type overflow[M any, P tables.Measure[M]] struct {
	steps map[int64]*line[M]
	ever  *M // in every partition, whether it counted anything in the range or not
}

type line[M any] struct {
	m    M
	span tables.Span
}

func (o *overflow[M, P]) addEver(ever *M) {
	if o.ever == nil {
		o.ever = new(M)
	}
	P(o.ever).Merge(ever)
}

func (o *overflow[M, P]) add(_ string, m, _ *M, span tables.Span, step int64) {
	l := o.steps[step]
	if l == nil {
		l = &line[M]{span: span}
		o.steps[step] = l
	}
	P(&l.m).Merge(m)
}

func (o *overflow[M, P]) visit(visit Visit[M]) {
	for _, step := range slices.Sorted(maps.Keys(o.steps)) {
		l := o.steps[step]
		visit(tables.OverflowKey, &l.m, o.ever, l.span, step)
	}
}

package deadletters

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Box is what it takes to look into a side topic and to replay what lies there.
type Box struct {
	Log Log
	// Send sends records to their topics and partitions, with their timestamps, and returns
	// what became of each: nil once all replicas in sync have it. stop is why the next ones
	// would fail, too. It sends again what may not have arrived, but puts no record into
	// the log twice.
	Send func(ctx context.Context, records []Record) (each []error, stop error)
	// Judge returns a judge for the present.
	Judge func(ctx context.Context) (*Judge, error)
	Now   func() time.Time
}

// Wish is what somebody wants to be replayed.
type Wish struct {
	Topic string // the side topic
	Filter
	Left  Spans // what a replay before left; nil: all that is there when it begins
	Limit int   // of letters that match; 0: none

	ID     string // of the replay; "": a new one
	By     string // who wants it; a dry run needs nobody
	DryRun bool   // send nothing
	Force  bool   // send also what will surely come back
	// Value is sent instead of the original's, of one letter only, if Mended says so.
	Value  []byte
	Mended bool
}

// validate reports what cannot work.
func (w *Wish) validate() error {
	switch {
	case w.By == "" && !w.DryRun: // which leaves no mark
		return errors.New("a replay needs somebody who wants it: say who you are (by)")
	case len(w.By) > maxName:
		return fmt.Errorf("by has %d bytes: want at most %d", len(w.By), maxName)
	case len(w.ID) > maxName:
		return fmt.Errorf("replay has %d bytes: want at most %d", len(w.ID), maxName)
	case w.Mended && w.At == nil:
		return errors.New("a value mends one record: say which, by partition and offset")
	case w.Limit < 0:
		return fmt.Errorf("limit is %d: want a positive number", w.Limit)
	}
	return nil
}

// BadWish is an error about what was asked for.
type BadWish struct{ error }

// ErrNone says that there is no letter at a place.
var ErrNone = errors.New("no dead letter is there")

// Outcome is what became of a letter, or would become of it.
type Outcome struct {
	Letter, Source Place
	Reason         string // why it is here
	Verdict        Verdict
	Why            string // of what is not sent, or was sent all the same
	Forced         bool   // it is sent though it will surely come back
	HasID          bool   // else it is counted each time it is sent
	Before         int    // how often it had been replayed before
}

// Result is what a replay did, or would do.
type Result struct {
	ID        string
	DryRun    bool
	Matched   int             // letters that were meant, and dealt with
	Sent      int             // or would be, with DryRun
	SentTo    map[string]int  // by source topic
	Skipped   map[Verdict]int // it would surely come back
	Failed    map[Verdict]int // it could not be sent
	WithoutID int             // of those sent: each is counted again if it is sent again
	Left      Spans           // what was not looked at
}

// Failures returns how many letters could not be sent.
func (r *Result) Failures() int { return sum(r.Failed) }

// Skips returns how many would surely have come back.
func (r *Result) Skips() int { return sum(r.Skipped) }

func sum(counts map[Verdict]int) (n int) {
	for _, one := range counts {
		n += one
	}
	return n
}

// take adds an outcome.
func (r *Result) take(o *Outcome) {
	r.Matched++
	switch {
	case o.Verdict == Send:
		r.Sent++
		r.SentTo[o.Source.Topic]++
		if !o.HasID && !o.Forced {
			r.WithoutID++
		}
	case o.Verdict.Failed():
		r.Failed[o.Verdict]++
	default:
		r.Skipped[o.Verdict]++
	}
}

// Bounds of what is sent at once: a batch of a broker's usual limit, or one large record.
const (
	maxBatchRecords = 500
	maxBatchBytes   = 768 << 10
)

// sendTimeout bounds how long one batch may take, so that who ends a replay ends it
// between two batches.
const sendTimeout = 40 * time.Second

// Replay sends the originals of letters to their source topics once more, partition by
// partition and oldest first, and tells what becomes of each. It covers the letters that
// were there when it began: what comes back is not sent again. When it cannot go on, the
// result says what was done until then.
func (b *Box) Replay(ctx context.Context, w Wish, tell func(Outcome)) (*Result, error) {
	if err := w.validate(); err != nil {
		return nil, BadWish{err}
	}
	all, err := b.Log.Spans(ctx, w.Topic, w.Since)
	if err != nil {
		return nil, err
	}
	left, err := w.begin(all, w.Left)
	if err != nil {
		return nil, err
	}
	judge, err := b.Judge(ctx)
	if err != nil {
		return nil, err
	}
	r := &replay{
		Wish: w, box: b, judge: judge, at: b.Now(), tell: tell,
		Result: &Result{
			ID: cmp.Or(w.ID, rand.Text()), DryRun: w.DryRun, Left: left,
			SentTo: map[string]int{}, Skipped: map[Verdict]int{}, Failed: map[Verdict]int{},
		},
	}
	for _, p := range left.partitions() {
		if err := r.partition(ctx, p); errors.Is(err, errEnough) {
			break
		} else if err != nil {
			return r.Result, fmt.Errorf("replay %s of %s/%d: %w", r.Result.ID, w.Topic, p, err)
		}
	}
	if w.At != nil && r.Matched == 0 {
		return r.Result, fmt.Errorf("%s: %w, or the filter leaves it out", Place{Topic: w.Topic, Partition: w.At.Partition, Offset: w.At.Offset}, ErrNone)
	}
	return r.Result, nil
}

// errEnough says that the limit is reached.
var errEnough = errors.New("enough")

// replay is one at work.
type replay struct {
	Wish
	*Result
	box   *Box
	judge *Judge
	at    time.Time
	tell  func(Outcome)

	batch []step
	bytes int
	next  int64 // offset after the last letter that was looked at, of the partition in hand
}

// step is a letter that was judged, and what is to be sent of it.
type step struct {
	Outcome
	record Record
}

// partition replays one partition.
func (r *replay) partition(ctx context.Context, p int32) error {
	span := r.Result.Left[p]
	r.next = span.From
	err := r.box.Log.Read(ctx, r.Topic, p, span, func(letter Record) error { return r.visit(ctx, letter) })
	if err == nil {
		r.next = span.To
	}
	if err == nil || errors.Is(err, errEnough) {
		err = cmp.Or(r.flush(ctx, p), err)
	}
	return err
}

// visit judges a letter and puts it into the batch.
func (r *replay) visit(ctx context.Context, letter Record) error {
	if r.Limit > 0 && r.Matched+len(r.batch) == r.Limit {
		return errEnough
	}
	l, bad := Parse(letter)
	if l == nil {
		l = &Letter{Record: letter}
	}
	if !r.Matches(l) {
		r.next = letter.Offset + 1
		return nil
	}
	s, err := r.step(ctx, l, bad)
	if err != nil {
		return err
	}
	if size := sizeOf(&s.record); len(r.batch) > 0 && (len(r.batch) >= maxBatchRecords || r.bytes+size > maxBatchBytes) {
		if err := r.flush(ctx, letter.Partition); err != nil {
			return err
		}
	}
	r.next = letter.Offset + 1
	r.batch, r.bytes = append(r.batch, s), r.bytes+sizeOf(&s.record)
	return ctx.Err()
}

// step judges a letter. The error is one of reading, and nothing of the letter.
func (r *replay) step(ctx context.Context, l *Letter, bad error) (step, error) {
	s := step{Outcome: Outcome{Letter: l.Place(), Source: l.Source, Reason: l.Reason}}
	if bad != nil {
		s.Verdict, s.Why = NotOurs, bad.Error()
		return s, nil
	}
	record, err := r.original(ctx, l)
	if gone := (*Gone)(nil); errors.As(err, &gone) {
		s.Verdict, s.Why = OriginGone, gone.Error()
		return s, nil
	}
	if err != nil {
		return s, err
	}
	theirs, mark := CutMark(record.Headers)
	mended := r.Mended
	if mark != nil {
		s.Before = mark.Before + 1
		mended = mended || mark.Mended
	}
	s.Verdict, s.Why, s.HasID = r.judge.Judge(&record)
	if r.Force && !s.Verdict.Failed() && s.Verdict != Send {
		s.Why, s.Verdict, s.Forced = fmt.Sprintf("%s: %s", s.Verdict, s.Why), Send, true
	}
	if s.Verdict == Send {
		m := Mark{Replay: r.Result.ID, By: r.By, At: r.at, Of: l.Place(), Reason: l.Reason, Before: s.Before, Mended: mended}
		record.Headers = append(slices.Clip(theirs), m.Headers()...)
		s.record = record
	}
	return s, nil
}

// original returns what is to be sent of a letter. A value that is given needs the
// original's for nothing.
func (r *replay) original(ctx context.Context, l *Letter) (record Record, err error) {
	if r.Mended && l.onlyValueCut() {
		record = l.kept()
	} else if record, err = original(ctx, r.box.Log, l); err != nil {
		return record, err
	}
	if r.Mended {
		record.Value = r.Value
	}
	return record, nil
}

// sizeOf is about what a record takes on the wire.
func sizeOf(r *Record) int {
	n := 64 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

// flush sends the batch and tells what became of it. When it cannot go on, those letters
// are left from the first that was not sent.
func (r *replay) flush(ctx context.Context, p int32) error {
	failed, stop := r.send(ctx)
	left := Span{r.next, r.Result.Left[p].To}
	for i := range r.batch {
		s := &r.batch[i]
		if failed[i] != nil {
			s.Verdict, s.Why = SendFailed, failed[i].Error()
			if stop != nil {
				left.From = min(left.From, s.Letter.Offset)
			}
		}
		r.take(&s.Outcome)
		r.tell(s.Outcome)
	}
	r.Result.Left[p] = left
	r.batch, r.bytes = r.batch[:0], 0
	return stop
}

// send sends what of the batch is to be sent, and returns what failed, by step.
func (r *replay) send(ctx context.Context) (failed []error, stop error) {
	failed = make([]error, len(r.batch))
	var records []Record
	var of []int
	for i := range r.batch {
		if r.batch[i].Verdict == Send {
			records, of = append(records, r.batch[i].record), append(of, i)
		}
	}
	if r.Wish.DryRun || len(records) == 0 {
		return failed, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	each, stop := r.box.Send(ctx, records)
	for i, err := range each {
		failed[of[i]] = err
	}
	return failed, stop
}

package deadletters

import (
	"context"
	"errors"
	"fmt"
)

// Shown is one letter with all that is known of it.
type Shown struct {
	*Letter
	// Original is the record that a replay would send, without our headers; of a letter
	// whose original is gone, what is left.
	Original Record
	Gone     string // why the original cannot be had; "": it is there
	Verdict  Verdict
	Why      string
	HasID    bool
}

// Show returns the letter at a place.
func (b *Box) Show(ctx context.Context, topic string, at At) (*Shown, error) {
	spans, err := b.Log.Spans(ctx, topic, Filter{}.Since)
	if err != nil {
		return nil, err
	}
	place := Place{Topic: topic, Partition: at.Partition, Offset: at.Offset}
	if s := spans[at.Partition]; at.Offset < s.From || at.Offset >= s.To {
		return nil, fmt.Errorf("%s: %w: the partition holds %d to %d", place, ErrNone, s.From, s.To)
	}
	r, why, err := b.Log.At(ctx, place)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, fmt.Errorf("%s: %w: %s", place, ErrNone, why)
	}
	l, err := Parse(r)
	if l == nil {
		l = &Letter{Record: r}
	}
	if err != nil {
		return &Shown{Letter: l, Original: r, Verdict: NotOurs, Why: err.Error()}, nil
	}
	s := &Shown{Letter: l}
	s.Original, err = original(ctx, b.Log, l)
	if gone := (*Gone)(nil); errors.As(err, &gone) {
		s.Original, s.Gone = l.kept(), gone.Why
		s.Verdict, s.Why = OriginGone, gone.Error()
		s.Original.Headers = l.Theirs
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	judge, err := b.Judge(ctx)
	if err != nil {
		return nil, err
	}
	s.Verdict, s.Why, s.HasID = judge.Judge(&s.Original)
	s.Original.Headers, s.Mark = CutMark(s.Original.Headers)
	return s, nil
}

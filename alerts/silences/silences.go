// Package silences holds what people said must not be told for a while, who said so and
// why.
//
//	Change ─▶ compacted topic ─▶ Book of every instance ─▶ Suppressors
//
// A silence is the list of what was said of it, in the order of the topic: it was made,
// changed, ended early, which is for good. Every such Change is a record under a key of its own, so that
// two people who change a silence at once on two instances lose nothing, compaction
// keeps all of it, and every reader comes to the same end. Once a silence is long over
// its records are removed by tombstones.
package silences

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/match"
)

// Keep is how long a silence can be looked up after its end.
const Keep = 30 * 24 * time.Hour

// Kind is what a Change does.
type Kind string

// Kinds of Change.
const (
	Created Kind = "created"
	Changed Kind = "changed" // another start, end or comment
	Expired Kind = "expired" // it ends at once
)

// Change is what somebody said of a silence.
type Change struct {
	Key      string         `json:"-"` // of its record
	Silence  string         `json:"silence"`
	Kind     Kind           `json:"kind"`
	At       time.Time      `json:"at"`
	By       string         `json:"by"`
	Comment  string         `json:"comment"`
	Matchers match.Matchers `json:"matchers"`
	Starts   time.Time      `json:"starts_at"`
	Ends     time.Time      `json:"ends_at"`
}

// Silence is what is known of a silence.
type Silence struct {
	ID       string
	Matchers match.Matchers
	Starts   time.Time // inclusive
	Ends     time.Time // exclusive
	History  []Change  // oldest first; never empty
}

// State is where a silence stands.
type State string

// States of a Silence.
const (
	Pending State = "pending"
	Active  State = "active"
	Over    State = "expired"
)

// State returns where the silence stands at a time.
func (s *Silence) State(at time.Time) State {
	switch {
	case !at.Before(s.Ends):
		return Over
	case at.Before(s.Starts):
		return Pending
	}
	return Active
}

// Newest returns the newest change.
func (s *Silence) Newest() *Change { return &s.History[len(s.History)-1] }

// Wish is what somebody wants a silence to be.
type Wish struct {
	Matchers     match.Matchers
	Starts, Ends time.Time
	By, Comment  string
}

// check reports what is wrong with a wish.
func (w *Wish) check(now time.Time) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("silence: "+format, args...))
		}
	}
	check(w.Matchers.Len() > 0, "no matchers: say which alerts it is for, such as alertname=Errors")
	check(w.Matchers.Len() == 0 || !w.Matchers.MatchEmpty(), "%s matches alerts without any label, and so nearly all: want a matcher that an absent label does not match", w.Matchers)
	check(w.Ends.After(w.Starts), "it ends at %s and starts at %s: want the end to come later", text(w.Ends), text(w.Starts))
	check(w.Ends.After(now), "it ends at %s, and that has passed: it is %s", text(w.Ends), text(now))
	check(strings.TrimSpace(w.By) != "", "nobody is named: say who makes it")
	check(strings.TrimSpace(w.Comment) != "", "no comment: say why it is made")
	check(len(w.By)+len(w.Comment) <= maxText, "name and comment have %d bytes: want %d at most", len(w.By)+len(w.Comment), maxText)
	return errors.Join(errs...)
}

// maxText is the most bytes of a name and a comment.
const maxText = 4096

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Create returns the change that makes a silence. What starts in the past starts now.
func Create(w Wish, now time.Time) (Change, error) {
	if w.Starts.Before(now) {
		w.Starts = now
	}
	if err := w.check(now); err != nil {
		return Change{}, err
	}
	return w.change(newID(), Created, now), nil
}

// Change returns the changes that make the silence as it is wished. The alerts it is for
// cannot be changed, nor the start of what has started, nor anything of what is over: then
// it ends, and another one begins, whose change is the last.
func (s *Silence) Change(w Wish, now time.Time) ([]Change, error) {
	state := s.State(now)
	if len(s.History) >= maxChanges {
		return s.replace(w, now)
	}
	if state == Active && (w.Starts.Equal(s.Starts) || w.Starts.Before(now)) && w.Matchers.Equal(s.Matchers) {
		w.Starts = s.Starts
		return one(w.change(s.ID, Changed, now), w.check(now))
	}
	if state == Pending && w.Matchers.Equal(s.Matchers) {
		w.Starts = later(w.Starts, now)
		return one(w.change(s.ID, Changed, now), w.check(now))
	}
	return s.replace(w, now)
}

// maxChanges is how many changes a silence may have before another one takes its place.
const maxChanges = 100

// replace ends the silence, unless it is over, and begins another one.
func (s *Silence) replace(w Wish, now time.Time) ([]Change, error) {
	created, err := Create(w, now)
	if err != nil || s.State(now) == Over {
		return one(created, err)
	}
	expired, err := s.Expire(w.By, "replaced by "+created.Silence, now)
	return []Change{expired, created}, err
}

func one(c Change, err error) ([]Change, error) {
	if err != nil {
		return nil, err
	}
	return []Change{c}, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// ErrOver is returned when a silence ends that is over.
var ErrOver = errors.New("the silence is over")

// Expire returns the change that ends the silence.
func (s *Silence) Expire(by, comment string, now time.Time) (Change, error) {
	if s.State(now) == Over {
		return Change{}, fmt.Errorf("silence %s ended at %s: %w", s.ID, text(s.Ends), ErrOver)
	}
	if len(by)+len(comment) > maxText {
		return Change{}, fmt.Errorf("silence: name and comment have %d bytes: want %d at most", len(by)+len(comment), maxText)
	}
	w := Wish{Matchers: s.Matchers, Starts: s.Starts, Ends: now, By: by, Comment: comment}
	if now.Before(s.Starts) {
		w.Starts = now
	}
	return w.change(s.ID, Expired, now), nil
}

func (w *Wish) change(id string, kind Kind, now time.Time) Change {
	return Change{
		Key: id + "/" + rand.Text(), Silence: id, Kind: kind, At: now.UTC(), By: w.By, Comment: w.Comment,
		Matchers: w.Matchers, Starts: w.Starts.UTC(), Ends: w.Ends.UTC(),
	}
}

// newID returns a random UUID, which is what clients of Alertmanager expect.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// format is that of the records.
const format = 1

type record struct {
	Format int `json:"format"`
	Change
}

// Append adds the record's value to dst.
func (c *Change) Append(dst []byte) []byte {
	b, err := json.Marshal(record{format, *c})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(dst, b...)
}

// Decode replaces the change by that of a record.
func (c *Change) Decode(key string, value []byte) error {
	var r record
	switch err := json.Unmarshal(value, &r); {
	case err != nil:
		return fmt.Errorf("silence %s: %w", key, err)
	case r.Format != format:
		return fmt.Errorf("silence %s: format %d, want %d: it was written by another version of the program", key, r.Format, format)
	case r.Silence == "" || !strings.HasPrefix(key, r.Silence+"/"):
		return fmt.Errorf("silence %s: the record is about silence %q", key, r.Silence)
	}
	*c = r.Change
	c.Key = key
	return nil
}

// Book knows all silences. It is safe for concurrent use.
type Book struct {
	mu      sync.RWMutex
	all     map[string]*Silence // never changed, but replaced
	changed chan struct{}       // closed with the next change
}

// NewBook returns an empty Book.
func NewBook() *Book { return &Book{all: map[string]*Silence{}, changed: make(chan struct{})} }

// Update takes in one record of the topic, a tombstone where value is empty. A record
// that was taken in before changes nothing.
func (b *Book) Update(key string, value []byte) error {
	id, _, _ := strings.Cut(key, "/")
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.all[id]
	at := -1
	var history []Change
	if s != nil {
		history = slices.Clone(s.History)
		at = slices.IndexFunc(history, func(c Change) bool { return c.Key == key })
	}
	switch {
	case len(value) == 0 && at < 0, len(value) > 0 && at >= 0:
		return nil
	case len(value) == 0:
		history = slices.Delete(history, at, at+1)
	default:
		var c Change
		if err := c.Decode(key, value); err != nil {
			return err
		}
		history = append(history, c)
	}
	if delete(b.all, id); len(history) > 0 {
		s := &Silence{ID: id, History: history}
		for _, c := range history {
			s.Matchers, s.Starts, s.Ends = c.Matchers, c.Starts, c.Ends
			if c.Kind == Expired { // for good: who changed it at the same time, changed nothing
				break
			}
		}
		b.all[id] = s
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// Has reports whether a change was taken in, and returns what is closed when there is
// another.
func (b *Book) Has(key string) (bool, <-chan struct{}) {
	id, _, _ := strings.Cut(key, "/")
	b.mu.RLock()
	defer b.mu.RUnlock()
	s := b.all[id]
	return s != nil && slices.ContainsFunc(s.History, func(c Change) bool { return c.Key == key }), b.changed
}

// Get returns the silence with an id, nil if there is none. Nobody may change it.
func (b *Book) Get(id string) *Silence {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.all[id]
}

// All returns all silences: those first that end last. Nobody may change them.
func (b *Book) All() []*Silence {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*Silence, 0, len(b.all))
	for _, s := range b.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *Silence) int { return cmp.Or(y.Ends.Compare(x.Ends), strings.Compare(x.ID, y.ID)) })
	return all
}

// Active returns the silences that hold at any of some times, in the order of their ids.
func (b *Book) Active(times ...time.Time) (list Silences) {
	for _, s := range b.All() {
		if slices.ContainsFunc(times, func(at time.Time) bool { return s.State(at) == Active }) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(x, y *Silence) int { return strings.Compare(x.ID, y.ID) })
	return list
}

// Silences are some that hold.
type Silences []*Silence

// Of returns the silences because of which people are not told of an alert.
func (all Silences) Of(labels map[string]string) (by []alerts.Suppressor) {
	for _, s := range all {
		if s.Matchers.Match(labels) {
			by = append(by, alerts.Suppressor{Kind: alerts.Silenced, By: s.ID})
		}
	}
	return by
}

// Forgettable returns the keys of all records of silences that are over since Keep.
func (b *Book) Forgettable(now time.Time) (keys []string) {
	for _, s := range b.All() {
		if now.Sub(s.Ends) >= Keep {
			for _, c := range s.History {
				keys = append(keys, c.Key)
			}
		}
	}
	return keys
}

package silences_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/match"
	"ragstreams/alerts/silences"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func matchers(t testing.TB, text string) match.Matchers {
	t.Helper()
	m, err := match.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wish(t testing.TB, text string, hours int) silences.Wish {
	return silences.Wish{Matchers: matchers(t, text), Starts: noon, Ends: noon.Add(time.Duration(hours) * time.Hour), By: "ana", Comment: "deploy"}
}

// put takes changes in as they come over the wire, and returns the silence of the last.
func put(t testing.TB, b *silences.Book, changes ...silences.Change) *silences.Silence {
	t.Helper()
	for _, c := range changes {
		if err := b.Update(c.Key, c.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Get(changes[len(changes)-1].Silence)
}

func create(t testing.TB, b *silences.Book, w silences.Wish, now time.Time) *silences.Silence {
	t.Helper()
	c, err := silences.Create(w, now)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, b, c)
}

func kinds(s *silences.Silence) (list []silences.Kind) {
	for _, c := range s.History {
		list = append(list, c.Kind)
	}
	return list
}

func TestSilenceHoldsFromStartToEnd(t *testing.T) {
	b := silences.NewBook()
	w := wish(t, "tenant=acme", 3)
	w.Starts = noon.Add(time.Hour)
	s := create(t, b, w, noon)
	acme, other := map[string]string{"tenant": "acme"}, map[string]string{"tenant": "initech"}
	for _, tt := range []struct {
		after time.Duration
		state silences.State
	}{
		{0, silences.Pending}, {time.Hour - 1, silences.Pending}, {time.Hour, silences.Active}, {3*time.Hour - 1, silences.Active}, {3 * time.Hour, silences.Over},
	} {
		at := noon.Add(tt.after)
		if got := s.State(at); got != tt.state {
			t.Errorf("after %s it is %s, want %s", tt.after, got, tt.state)
		}
		var want []alerts.Suppressor
		if tt.state == silences.Active {
			want = []alerts.Suppressor{{Kind: alerts.Silenced, By: s.ID}}
		}
		if diff := cmp.Diff(want, b.Active(at).Of(acme)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", tt.after, diff)
		}
		if by := b.Active(at).Of(other); by != nil {
			t.Errorf("after %s another alert is silenced by %v", tt.after, by)
		}
	}
}

func TestWishesThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		change func(w *silences.Wish)
		want   string
	}{
		{func(w *silences.Wish) { w.Matchers = match.Matchers{} }, "no matchers"},
		{func(w *silences.Wish) { w.Matchers = matchers(t, `tenant=~".*"`) }, "nearly all"},
		{func(w *silences.Wish) { w.Ends = w.Starts }, "want the end to come later"},
		{func(w *silences.Wish) { w.Starts, w.Ends = noon.Add(-2*time.Hour), noon.Add(-time.Hour) }, "that has passed"},
		{func(w *silences.Wish) { w.By = " " }, "say who"},
		{func(w *silences.Wish) { w.Comment = "" }, "say why"},
		{func(w *silences.Wish) { w.Comment = strings.Repeat("x", 5000) }, "4096 at most"},
	} {
		w := wish(t, "tenant=acme", 3)
		tt.change(&w)
		if c, err := silences.Create(w, noon); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v is taken for %+v (%v), want %q", w, c, err, tt.want)
		}
		s := create(t, silences.NewBook(), wish(t, "tenant=acme", 3), noon)
		if c, err := s.Change(w, noon); tt.want != "no matchers" && (err == nil || len(c) > 0 || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v changes a silence by %+v (%v), want %q", w, c, err, tt.want)
		}
	}
}

func TestChange(t *testing.T) {
	now := noon.Add(30 * time.Minute)
	for _, tt := range []struct {
		name   string
		begins time.Duration
		change func(w *silences.Wish)
		kinds  []silences.Kind // of what was there
		anew   bool            // another silence begins
	}{
		{"a later end", 0, func(w *silences.Wish) { w.Ends = noon.Add(9 * time.Hour) }, []silences.Kind{silences.Created, silences.Changed}, false},
		{"an earlier end", 0, func(w *silences.Wish) { w.Ends = noon.Add(time.Hour) }, []silences.Kind{silences.Created, silences.Changed}, false},
		{"the same matchers in another order", 0, func(w *silences.Wish) { w.Matchers = matchers(t, "b=2,tenant=acme") }, []silences.Kind{silences.Created, silences.Changed}, false},
		{"other alerts", 0, func(w *silences.Wish) { w.Matchers = matchers(t, "tenant=initech") }, []silences.Kind{silences.Created, silences.Expired}, true},
		{"a later start of what has started", 0, func(w *silences.Wish) { w.Starts = noon.Add(time.Hour) }, []silences.Kind{silences.Created, silences.Expired}, true},
		{"a later start of what has not", time.Hour, func(w *silences.Wish) { w.Starts = noon.Add(2 * time.Hour) }, []silences.Kind{silences.Created, silences.Changed}, false},
		{"an earlier start", time.Hour, func(w *silences.Wish) { w.Starts = noon }, []silences.Kind{silences.Created, silences.Changed}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := silences.NewBook()
			w := wish(t, "tenant=acme,b=2", 3)
			w.Starts = noon.Add(tt.begins)
			s := create(t, b, w, noon)
			w.By, w.Comment = "ben", "it takes longer"
			tt.change(&w)
			changes, err := s.Change(w, now)
			if err != nil {
				t.Fatal(err)
			}
			last := put(t, b, changes...)
			if got := kinds(b.Get(s.ID)); !slices.Equal(got, tt.kinds) || (last.ID != s.ID) != tt.anew {
				t.Errorf("the silence was %v, and %s follows; want %v, another one: %v", got, last.ID, tt.kinds, tt.anew)
			}
			if n := last.Newest(); n.By != "ben" || n.Comment != "it takes longer" || !last.Ends.Equal(w.Ends) || !last.Matchers.Equal(w.Matchers) {
				t.Errorf("newest change: %+v, want it as wished", n)
			}
			wantStart := w.Starts
			if tt.begins > 0 || tt.anew {
				wantStart = latest(wantStart, now)
			}
			if !last.Starts.Equal(wantStart) {
				t.Errorf("it starts at %s, want %s", last.Starts, wantStart)
			}
			if first := b.Get(s.ID).History[0]; first.By != "ana" || first.Comment != "deploy" {
				t.Errorf("who made it is forgotten: %+v", first)
			}
		})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestExpire(t *testing.T) {
	b := silences.NewBook()
	w := wish(t, "tenant=acme", 3)
	s := create(t, b, w, noon)
	w.Starts = noon.Add(time.Hour)
	pending := create(t, b, w, noon)
	now := noon.Add(time.Minute)
	for _, s := range []*silences.Silence{s, pending} {
		c, err := s.Expire("ben", "done", now)
		if err != nil {
			t.Fatal(err)
		}
		s = put(t, b, c)
		if s.State(now) != silences.Over || s.Newest().By != "ben" || s.Newest().Comment != "done" {
			t.Errorf("silence: %+v, want it over", s)
		}
		if _, err := s.Expire("ben", "again", now); !errors.Is(err, silences.ErrOver) {
			t.Errorf("it ends twice: %v", err)
		}
		// Who wants it longer has another one.
		w.Ends = noon.Add(9 * time.Hour)
		changes, err := s.Change(w, now)
		if err != nil || len(changes) != 1 || changes[0].Kind != silences.Created || changes[0].Silence == s.ID {
			t.Errorf("changes of what is over: %+v (%v)", changes, err)
		}
	}
}

// Whatever comes twice or is read again, every Book comes to the same.
func TestBooksAgree(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		type rec struct {
			key   string
			value []byte
		}
		var topic []rec
		first := silences.NewBook()
		now := noon
		send := func(c silences.Change, err error) {
			if err != nil {
				t.Fatal(err)
			}
			topic = append(topic, rec{c.Key, c.Append(nil)})
		}
		read := 0 // of the topic, by first
		for range 40 {
			now = now.Add(time.Duration(r.IntN(50)) * time.Minute)
			all := first.All()
			switch n := r.IntN(6); {
			case n == 0 || len(all) == 0:
				w := wish(t, "tenant=acme", 1+r.IntN(5))
				w.Ends = now.Add(time.Duration(1+r.IntN(5)) * time.Hour)
				send(silences.Create(w, now))
			case n == 1:
				if c, err := all[r.IntN(len(all))].Expire("ben", "done", now); err == nil {
					send(c, nil)
				}
			case n == 2:
				for _, key := range first.Forgettable(now.Add(silences.Keep - 5*time.Hour)) {
					topic = append(topic, rec{key, nil})
				}
			default:
				w := wish(t, "tenant=acme", 1)
				w.Ends = now.Add(time.Duration(1+r.IntN(5)) * time.Hour)
				changes, err := all[r.IntN(len(all))].Change(w, now)
				for _, c := range changes {
					send(c, err)
				}
			}
			for ; read < len(topic)-r.IntN(3); read++ { // it is behind at times
				if err := first.Update(topic[read].key, topic[read].value); err != nil {
					t.Fatal(err)
				}
			}
		}
		second := silences.NewBook() // begins at the end, from a topic that was compacted, and reads some of it again
		last := map[string]int{}
		for i, rec := range topic {
			last[rec.key] = i
		}
		for _, from := range []int{0, len(topic) / 2, 0} {
			for i, rec := range topic {
				if i < from || last[rec.key] != i {
					continue
				}
				if err := second.Update(rec.key, rec.value); err != nil {
					t.Fatal(err)
				}
			}
		}
		for ; read < len(topic); read++ {
			if err := first.Update(topic[read].key, topic[read].value); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(first.All(), second.All()); diff != "" {
			t.Fatalf("seed %d (-followed +began at the end):\n%s", seed, diff)
		}
	}
}

// Of two who say something at once neither is forgotten; what has ended stays so.
func TestEndIsForGood(t *testing.T) {
	b := silences.NewBook()
	s := create(t, b, wish(t, "tenant=acme", 3), noon)
	now := noon.Add(time.Hour)
	longer := wish(t, "tenant=acme", 9)
	longer.By = "ben"
	changes, err := s.Change(longer, now)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.Expire("eva", "done", now)
	if err != nil {
		t.Fatal(err)
	}
	s = put(t, b, ended, changes[0])
	if s.State(now) != silences.Over || len(s.History) != 3 {
		t.Errorf("silence %+v, want it over, and three changes", s)
	}
}

// A silence that is changed again and again is another one at last.
func TestHistoryIsBounded(t *testing.T) {
	b := silences.NewBook()
	s := create(t, b, wish(t, "tenant=acme", 3), noon)
	first := s.ID
	for n := range 150 {
		w := wish(t, "tenant=acme", 4+n)
		changes, err := s.Change(w, noon.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if s = put(t, b, changes...); !s.Ends.Equal(w.Ends) || s.State(noon.Add(time.Hour)) != silences.Active {
			t.Fatalf("change %d: %+v", n, s)
		}
	}
	if n := len(b.Get(first).History); n > 101 || s.ID == first || b.Get(first).State(noon.Add(time.Hour)) != silences.Over {
		t.Errorf("the first has %d changes, the last is %s", n, s.ID)
	}
}

func TestForgettable(t *testing.T) {
	b := silences.NewBook()
	s := create(t, b, wish(t, "tenant=acme", 3), noon)
	c, err := s.Expire("ben", "done", noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s = put(t, b, c)
	if keys := b.Forgettable(s.Ends.Add(silences.Keep - 1)); keys != nil {
		t.Errorf("forgettable too early: %v", keys)
	}
	keys := b.Forgettable(s.Ends.Add(silences.Keep))
	if len(keys) != 2 {
		t.Errorf("forgettable: %v, want both records", keys)
	}
	for _, key := range keys {
		has, changed := b.Has(key)
		if !has {
			t.Errorf("it has no %s", key)
		}
		if err := b.Update(key, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("who waits for a change is not told")
		}
		if has, _ := b.Has(key); has {
			t.Errorf("it still has %s", key)
		}
	}
	if all := b.All(); len(all) > 0 || b.Get(s.ID) != nil {
		t.Errorf("left: %v", all)
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	c, err := silences.Create(wish(t, "tenant=acme", 1), noon)
	if err != nil {
		t.Fatal(err)
	}
	value := string(c.Append(nil))
	b := silences.NewBook()
	for key, value := range map[string]string{
		c.Key: `{`, c.Silence + "/1": strings.Replace(value, `"format":1`, `"format":2`, 1), "other/1": value,
		c.Silence + "/2": strings.Replace(value, `"isRegex":false`, `"isRegex":"x"`, 1),
	} {
		if err := b.Update(key, []byte(value)); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %s is taken (%v)", key, value, err)
		}
	}
	if len(b.All()) > 0 {
		t.Errorf("left: %v", b.All())
	}
}

package kafka

import (
	"slices"
	"testing"
)

func committed(s *Store) map[string]string {
	rows := map[string]string{}
	s.Committed(func(k string, v []byte) bool { rows[k] = string(v); return true })
	return rows
}

func get(t *testing.T, s *Store, key string) string {
	t.Helper()
	v, err := s.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// restored returns a store with rows a and b at offset 5.
func restored(t *testing.T) *Store {
	t.Helper()
	s := NewStore()
	s.Open()
	s.Set("a", []byte("1"))
	s.Set("b", []byte("2"))
	s.SetOffset(5)
	s.MarkRecovered()
	return s
}

func TestStoreShowsWritesAfterTheCommit(t *testing.T) {
	s := restored(t)
	s.Set("a", []byte("9"))
	s.Delete("b")
	s.Set("c", []byte("3"))
	s.SetOffset(8)
	if got := committed(s); len(got) != 2 || got["a"] != "1" || got["b"] != "2" || s.CommittedOffset() != 5 {
		t.Errorf("before the commit readers see %v at %d", got, s.CommittedOffset())
	}
	if has, _ := s.Has("b"); get(t, s, "a") != "9" || has || get(t, s, "c") != "3" {
		t.Error("the processor does not see its own writes")
	}
	s.publish()
	if got := committed(s); len(got) != 2 || got["a"] != "9" || got["c"] != "3" || s.CommittedOffset() != 8 {
		t.Errorf("after the commit readers see %v at %d", got, s.CommittedOffset())
	}
}

func TestStoreTakesBackAnAbort(t *testing.T) {
	s := restored(t)
	s.Set("a", []byte("9"))
	s.Delete("b")
	s.SetOffset(8)
	s.discard()
	if got := committed(s); len(got) != 2 || got["a"] != "1" || got["b"] != "2" {
		t.Errorf("rows = %v", got)
	}
	if o, _ := s.GetOffset(-3); o != 5 || s.CommittedOffset() != 5 {
		t.Errorf("offset = %d, %d, want 5", o, s.CommittedOffset())
	}
	if get(t, s, "a") != "1" {
		t.Error("the processor still sees the aborted write")
	}
}

func TestStoreOffset(t *testing.T) {
	s := NewStore()
	if o, _ := s.GetOffset(-3); o != -3 {
		t.Errorf("offset of an empty store = %d, want the default", o)
	}
	s.SetOffset(7)
	s.SetOffset(6) // acknowledgements may come in any order
	if o, _ := s.GetOffset(-3); o != 7 {
		t.Errorf("offset = %d, want 7", o)
	}
}

func TestStoreIteratesInOrderOverAll(t *testing.T) {
	s := restored(t)
	s.Set("c", []byte("3"))
	s.Set("0", []byte("0"))
	s.Delete("a")
	it, err := s.Iterator()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for it.Next() {
		v, err := it.Value()
		if err != nil || len(v) == 0 {
			t.Errorf("value of %s = %q, %v", it.Key(), v, err)
		}
		keys = append(keys, string(it.Key()))
	}
	if !slices.Equal(keys, []string{"0", "b", "c"}) {
		t.Errorf("keys = %q", keys)
	}
	if !it.Seek([]byte("bb")) || !it.Next() || string(it.Key()) != "c" {
		t.Error("seek does not find the next key")
	}
	it, err = s.IteratorWithRange([]byte("0"), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for it.Next() {
		n++
	}
	if n != 2 {
		t.Errorf("%d keys in [0, c), want 2", n)
	}
}

// A store is restored further, not anew, when its partition stays.
func TestStoreSurvivesAGeneration(t *testing.T) {
	s := restored(t)
	s.Close()
	s.Open()
	s.Set("c", []byte("3"))
	s.SetOffset(6)
	if got := committed(s); len(got) != 3 {
		t.Errorf("rows = %v, want three: what a restore writes shows at once", got)
	}
}

// What is restored is a part of the answer to a fetch, and no row keeps that.
func TestStoreCopiesWhatIsRestored(t *testing.T) {
	s := NewStore()
	fetched := []byte("12345")
	s.Set("a", fetched[1:3])
	if v, _ := s.Get("a"); &v[0] == &fetched[1] || string(v) != "23" {
		t.Errorf("the row %q is a part of what was fetched, or not equal to it", v)
	}
}

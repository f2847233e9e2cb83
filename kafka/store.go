package kafka

import (
	"maps"
	"slices"
	"sync"

	"github.com/lovoo/goka/storage"
)

// Store holds one table partition in memory and implements goka's
// storage.Storage.
//
// Until MarkRecovered, writes come from the changelog, are committed by
// definition and show at once. After it, writes belong to an open transaction:
// goka's own Get, Has and Iterator see them, Committed does not, until publish
// makes them so or discard takes them back, offset included.
//
// One goroutine at a time may write; any number may read.
type Store struct {
	mu        sync.RWMutex
	rows      map[string][]byte
	offset    int64 // of the last changelog record in rows; noOffset when none
	recovered bool

	pending       map[string][]byte // writes of the open transaction; nil value: deleted
	pendingOffset int64
}

const noOffset int64 = -1

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{rows: map[string][]byte{}, offset: noOffset, pending: map[string][]byte{}, pendingOffset: noOffset}
}

// Open prepares the store for another restore, from where it stands.
func (s *Store) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered = false
	return nil
}

// Close keeps the rows: a store outlives goka's generations.
func (s *Store) Close() error { return nil }

// Has implements storage.Storage.
func (s *Store) Has(key string) (bool, error) {
	v, err := s.Get(key)
	return v != nil, err
}

// Get returns the value as the processor must see it, uncommitted writes
// included; nil when there is none.
func (s *Store) Get(key string) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v, ok := s.pending[key]; ok {
		return v, nil
	}
	return s.rows[key], nil
}

// Set implements storage.Storage. The store keeps value, but a copy of what comes from
// the changelog: that is a part of the answer to a fetch, which one row would keep
// whole.
func (s *Store) Set(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovered {
		s.pending[key] = value
	} else {
		s.rows[key] = slices.Clone(value)
	}
	return nil
}

// Delete implements storage.Storage.
func (s *Store) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovered {
		s.pending[key] = nil
	} else {
		delete(s.rows, key)
	}
	return nil
}

// GetOffset implements storage.Storage.
func (s *Store) GetOffset(def int64) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := max(s.offset, s.pendingOffset); o != noOffset {
		return o, nil
	}
	return def, nil
}

// SetOffset implements storage.Storage. An offset never falls.
func (s *Store) SetOffset(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovered {
		s.pendingOffset = max(s.pendingOffset, offset)
	} else {
		s.offset = max(s.offset, offset)
	}
	return nil
}

// MarkRecovered implements storage.Storage: from here on writes are pending.
func (s *Store) MarkRecovered() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered = true
	return nil
}

// publish makes the open transaction's writes committed.
func (s *Store) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.pending {
		if v == nil {
			delete(s.rows, k)
		} else {
			s.rows[k] = v
		}
	}
	s.offset = max(s.offset, s.pendingOffset)
	s.reset()
}

// discard forgets the open transaction's writes.
func (s *Store) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset()
}

func (s *Store) reset() {
	clear(s.pending)
	s.pendingOffset = noOffset
}

// CommittedOffset returns the changelog offset that Committed stands at, -1
// when nothing was restored or committed.
func (s *Store) CommittedOffset() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.offset
}

// Len returns the number of committed rows.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.rows)
}

// Committed calls visit for every committed row, in no order, until it returns
// false. The value may be kept, but not changed.
func (s *Store) Committed(visit func(key string, value []byte) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for k, v := range s.rows {
		if !visit(k, v) {
			return
		}
	}
}

// Iterator implements storage.Storage: a snapshot, in key order.
func (s *Store) Iterator() (storage.Iterator, error) { return s.IteratorWithRange(nil, nil) }

// IteratorWithRange implements storage.Storage for keys in [start, limit).
func (s *Store) IteratorWithRange(start, limit []byte) (storage.Iterator, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := maps.Clone(s.rows)
	for k, v := range s.pending {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	it := &storeIterator{rows: all, at: -1}
	for k := range all {
		if k >= string(start) && (len(limit) == 0 || k < string(limit)) {
			it.keys = append(it.keys, k)
		}
	}
	slices.Sort(it.keys)
	return it, nil
}

type storeIterator struct {
	rows map[string][]byte
	keys []string
	at   int
}

func (it *storeIterator) Next() bool             { it.at++; return it.at < len(it.keys) }
func (it *storeIterator) Err() error             { return nil }
func (it *storeIterator) Key() []byte            { return []byte(it.keys[it.at]) }
func (it *storeIterator) Value() ([]byte, error) { return it.rows[it.keys[it.at]], nil }
func (it *storeIterator) Release()               {}
func (it *storeIterator) Seek(key []byte) bool {
	i, _ := slices.BinarySearch(it.keys, string(key))
	it.at = i - 1
	return i < len(it.keys)
}

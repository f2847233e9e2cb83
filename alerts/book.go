package alerts

import (
	"fmt"
	"sync"
)

// Book is the table of alerts to read: what was committed of it, of all partitions. It
// is safe for concurrent use.
type Book struct {
	mu   sync.RWMutex
	rows map[string]*Row // never changed, but replaced
}

// NewBook returns an empty Book.
func NewBook() *Book { return &Book{rows: map[string]*Row{}} }

// Update takes in one record of the table's changelog: a row, or a tombstone where
// value is empty.
func (b *Book) Update(key string, value []byte) error {
	if key == "" {
		return nil
	}
	var row *Row
	if len(value) > 0 {
		row = new(Row)
		if err := row.Decode(value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if row == nil {
		delete(b.rows, key)
	} else {
		b.rows[key] = row
	}
	return nil
}

// Rows returns all rows by the keys of their alerts. Nobody may change them.
func (b *Book) Rows() map[string]*Row {
	b.mu.RLock()
	defer b.mu.RUnlock()
	rows := make(map[string]*Row, len(b.rows))
	for key, row := range b.rows {
		rows[key] = row
	}
	return rows
}

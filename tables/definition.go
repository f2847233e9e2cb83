package tables

import (
	"fmt"
	"slices"
	"time"
)

// OverflowLabel stands for every dimension of the overflow row.
const OverflowLabel = "_overflow"

// Types of the values in a column. Any value but a string may be nil where there
// is none, such as the quantile of nothing.
const (
	TypeString  = "string"  // string
	TypeInteger = "integer" // int64
	TypeNumber  = "number"  // float64, finite
	TypeTime    = "time"    // time.Time, UTC, of millisecond precision
	TypeSamples = "samples" // []Sample, newest first
)

// Column describes one column to the reader.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit"` // "seconds", "per_second", "ratio" or "" for plain numbers and text
}

// Definition is what a table looks like from outside. Its strings are a contract
// with everyone who queries the table; nobody may write to it.
type Definition struct {
	Name    string
	Dims    []string // the dimensions of its key, which are also its first columns
	Columns []Column
	// Names are columns that say in words what a dimension stands for, by their names:
	// where series with different values of it are summed up, there is no such word.
	Names map[string]string
}

// Grouped returns which of the columns there are where series are summed up that agree in
// some dimensions: those, and what is neither a dimension nor the name of one that is left
// out.
func (d *Definition) Grouped(by []int) (columns []int) {
	columns = slices.Clone(by)
	for i := len(d.Dims); i < len(d.Columns); i++ {
		of, isName := d.Names[d.Columns[i].Name]
		if !isName || slices.Contains(by, slices.Index(d.Dims, of)) {
			columns = append(columns, i)
		}
	}
	return columns
}

// DimsOf returns the dimensions that key stands for. Those of the overflow row
// are all OverflowLabel.
func (d *Definition) DimsOf(key string) ([]string, error) {
	if key == OverflowKey {
		dims := make([]string, len(d.Dims))
		for i := range dims {
			dims[i] = OverflowLabel
		}
		return dims, nil
	}
	dims, err := SplitKey(key)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", d.Name, err)
	}
	if len(dims) != len(d.Dims) {
		return nil, fmt.Errorf("table %s: key %q has %d dimensions, want %d", d.Name, key, len(dims), len(d.Dims))
	}
	return dims, nil
}

// Span is the range of event time that an answer covers, in Unix milliseconds,
// its end exclusive.
type Span struct {
	From, To int64
}

// Seconds returns the length of the span.
func (s Span) Seconds() float64 { return float64(s.To-s.From) / 1000 }

// Table is a Definition and how a measure fills its columns.
type Table[M any] struct {
	Definition
	// Trim adds to dst what the columns need of the body of a closed pane, which a
	// reader keeps for long; nil: they need all of it.
	Trim   func(dst, body []byte) ([]byte, error)
	values func(row []any, m, ever *M, span Span) []any
}

// Values returns one value for each column. The dimensions are as DimsOf gives
// them, m is what the series counted within span, and ever is what it counted
// since it exists, such as Row.Sum; a nil ever means that m is just that.
func (t *Table[M]) Values(dims []string, m, ever *M, span Span) []any {
	if ever == nil {
		ever = m
	}
	row := make([]any, 0, len(t.Columns))
	for _, dim := range dims {
		row = append(row, dim)
	}
	return t.values(row, m, ever, span)
}

// ratio returns a/b, or nil where there is nothing to divide by.
func ratio(a, b float64) any {
	if b <= 0 {
		return nil
	}
	return a / b
}

// seconds returns nanoseconds as a value of unit seconds.
func seconds(ns float64) float64 { return ns / 1e9 }

// instant returns Unix milliseconds as a value of type time.
func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

package generate

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Table holds values by key. In JSON it is a list of {"key", "value"}, ordered
// by the text of the keys.
type Table[K comparable, V any] map[K]V

type row struct {
	Key   json.RawMessage `json:"key"`
	Value json.RawMessage `json:"value"`
}

// MarshalJSON implements json.Marshaler.
func (t Table[K, V]) MarshalJSON() ([]byte, error) {
	rows := make([]row, 0, len(t))
	for k, v := range t {
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{key, value})
	}
	slices.SortFunc(rows, func(a, b row) int { return bytes.Compare(a.Key, b.Key) })
	return json.Marshal(rows)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Table[K, V]) UnmarshalJSON(data []byte) error {
	var rows []struct {
		Key   K `json:"key"`
		Value V `json:"value"`
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		return err
	}
	*t = make(Table[K, V], len(rows))
	for _, r := range rows {
		(*t)[r.Key] = r.Value
	}
	return nil
}

// at returns the value of a key, a new one if there is none.
func at[K comparable, V any](t Table[K, *V], key K) *V {
	v := t[key]
	if v == nil {
		v = new(V)
		t[key] = v
	}
	return v
}

func merge[K comparable, V any](to, from Table[K, *V], add func(v, other *V)) {
	for k, v := range from {
		add(at(to, k), v)
	}
}

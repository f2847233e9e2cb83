// Package match tells alerts by their labels, in the words of Alertmanager: name=value,
// name!=value, name=~regex, name!~regex. A regex must match the whole value, and a label
// that is absent is one with an empty value.
package match

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
)

// Matchers must all match. Nothing changes them.
type Matchers struct{ list labels.Matchers }

// Parse reads matchers, such as severity="page", tenant=~"acme|initech", in braces or not.
func Parse(text string) (Matchers, error) {
	list, err := parse.Matchers(text)
	if err != nil {
		return Matchers{}, fmt.Errorf(`matchers %q: %w; want name=value, name!=value, name=~regex or name!~regex`, text, err)
	}
	return Matchers{list}, nil
}

// And returns matchers that match what both match.
func (m Matchers) And(more Matchers) Matchers {
	return Matchers{append(append(labels.Matchers(nil), m.list...), more.list...)}
}

// Len returns how many there are.
func (m Matchers) Len() int { return len(m.list) }

// Match reports whether labels match.
func (m Matchers) Match(l map[string]string) bool {
	for _, one := range m.list {
		if !one.Matches(l[one.Name]) {
			return false
		}
	}
	return true
}

// MatchEmpty reports whether an alert without labels matches: it is likely that all do.
func (m Matchers) MatchEmpty() bool { return m.Match(nil) }

// Equal reports whether others are written alike, in whatever order.
func (m Matchers) Equal(others Matchers) bool { return m.String() == others.String() }

// String returns them as Parse reads them, in an order of their own.
func (m Matchers) String() string {
	sorted := append(labels.Matchers(nil), m.list...)
	sort.Sort(sorted)
	return sorted.String()
}

// MarshalJSON writes them as Alertmanager's API does.
func (m Matchers) MarshalJSON() ([]byte, error) { return json.Marshal(m.list) }

// UnmarshalJSON implements json.Unmarshaler.
func (m *Matchers) UnmarshalJSON(src []byte) error {
	var list labels.Matchers
	if err := json.Unmarshal(src, &list); err != nil {
		return fmt.Errorf("matchers: %w", err)
	}
	for _, one := range list {
		if one == nil || one.Name == "" {
			return fmt.Errorf("matchers %s: one has no name", src)
		}
	}
	m.list = list
	return nil
}

// UnmarshalYAML implements what yaml decodes with: a list of what Parse reads.
func (m *Matchers) UnmarshalYAML(decode func(any) error) error {
	var texts []string
	if err := decode(&texts); err != nil {
		return err
	}
	for _, text := range texts {
		more, err := Parse(text)
		if err != nil {
			return err
		}
		*m = m.And(more)
	}
	return nil
}

// Labels returns a label for every matcher, with the value that it compares with.
func (m Matchers) Labels() map[string]string {
	l := map[string]string{}
	for _, one := range m.list {
		l[one.Name] = one.Value
	}
	return l
}

package event_test

import (
	"testing"

	"ragstreams/event"
)

// A place is read as it is written, whatever a topic is called.
func TestPlaces(t *testing.T) {
	places := []event.Place{
		{Topic: "a"},
		{Topic: "a/b@c", Partition: 3, Offset: 1 << 60},
	}
	for _, p := range places {
		if got, err := event.ParsePlace(p.String()); got != p || err != nil {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	for _, text := range []string{"", "a", "a/1", "a@1", "/1@2", "a/-1@2", "a/1@-2", "a/x@2", "a/1@x", "a/3000000000@1"} {
		if got, err := event.ParsePlace(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

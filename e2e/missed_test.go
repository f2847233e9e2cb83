//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A breach that came and went while nothing ran is told all the same, with the time that
// it had.
func TestBreachThatNobodySaw(t *testing.T) {
	a := newAlarm(t, errorRules("10s"))
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.fail("first", 20) // which declares the exchange
	a.inbox("error_event.unrouted").await(t, 30*time.Second, "first", "firing", "resolved")
	pages := a.inbox("pages", "page.#")
	pause(t.Context(), 6*time.Second) // how far rules were evaluated is kept every five seconds
	a.kill(one)
	breach := time.Now().Truncate(time.Millisecond)
	a.fail("missed", 20)
	pause(t.Context(), 25*time.Second)
	back := time.Now()
	one.start().ready(time.Minute)
	pages.await(t, 30*time.Second, "missed", "firing", "resolved")
	for _, d := range pages.messages() {
		var m struct {
			State   string
			Decided time.Time `json:"decided_at"`
		}
		if err := json.Unmarshal(d.Body, &m); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(d.RoutingKey, ".missed.chat.generate.firing") && (m.Decided.Before(breach) || m.Decided.After(breach.Add(10*time.Second))) {
			t.Errorf("%s at %s, want it soon after the breach, %s; the program came back at %s", m.State, m.Decided, breach, back)
		}
	}
}

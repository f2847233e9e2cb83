package app

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts/match"
	"ragstreams/alerts/silences"
)

// A record that is not understood ends nothing, and those after it hold.
func TestSilenceThatIsNotUnderstood(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := &silencing{book: silences.NewBook(), stages: &stages{o: &Options{Logger: slog.New(slog.DiscardHandler)}, notes: newStatus()}}
	for key, value := range map[string]string{"a/1": `{"format":2,"silence":"a"}`, "b/1": "{", "": ""} {
		s.take(key, []byte(value))
	}
	if notes := strings.Join(s.stages.notes.missing(), ""); !strings.Contains(notes, "silences nothing") {
		t.Errorf("notes %q", notes)
	}
	m, err := match.Parse("tenant=acme")
	if err != nil {
		t.Fatal(err)
	}
	c, err := silences.Create(silences.Wish{Matchers: m, Starts: now, Ends: now.Add(time.Hour), By: "ana", Comment: "x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	s.take(c.Key, c.Append(nil))
	if all := s.book.Active(now); len(all) != 1 {
		t.Errorf("%d silences hold, want one", len(all))
	}
	for i, key := range []string{"a/1", "b/1"} {
		if s.take(key, nil); (len(s.stages.notes.missing()) == 0) != (i == 1) {
			t.Errorf("after %d of two tombstones: notes %v", i+1, s.stages.notes.missing())
		}
	}
}

// Without rules there are no alerts. That is said as Alertmanager says its errors, in JSON,
// which streams tell.
func TestAlertsWithoutRules(t *testing.T) {
	w := httptest.NewRecorder()
	alertsHandler(nil, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v2/alerts", nil))
	var why string
	if err := json.Unmarshal(w.Body.Bytes(), &why); err != nil || w.Code != http.StatusNotFound || why != errNoRules.Error() {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
}

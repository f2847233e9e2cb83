package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/api"
	"ragstreams/alerts/silences"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// desk is a served API and what is behind it.
type desk struct {
	*testing.T
	url     string
	book    *silences.Book
	rows    map[string]*alerts.Row
	missing string
	fault   error  // of what keeps changes
	before  func() // called before changes are kept; nil: nothing
	now     time.Time
}

func newDesk(t *testing.T) *desk {
	d := &desk{T: t, book: silences.NewBook(), rows: map[string]*alerts.Row{}, now: noon}
	server := httptest.NewServer(api.Handler(api.Options{
		Alerts: func() map[string]*alerts.Row { return d.rows }, Silences: d.book, Now: func() time.Time { return d.now },
		Missing: func() string { return d.missing }, Version: "v1", Started: noon, Policy: func() string { return "repeat_interval: 1h" },
		Save: func(_ context.Context, changes []silences.Change) error {
			if d.before != nil {
				d.before()
			}
			for _, c := range changes {
				if d.fault == nil {
					d.fault = d.book.Update(c.Key, c.Append(nil))
				}
			}
			return d.fault
		},
	}))
	t.Cleanup(server.Close)
	d.url = server.URL + "/api/v2/"
	return d
}

// ask sends a request, wants a status, and decodes the answer into v.
func (d *desk) ask(method, path, body string, want int, v any) {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		d.Fatal(err)
	}
	if res.StatusCode != want || res.Header.Get("Content-Type") != "application/json" {
		d.Fatalf("%s %s: %s %s, want %d", method, path, res.Status, got, want)
	}
	if err := json.Unmarshal(got, v); err != nil {
		d.Fatalf("%s %s: %s: %v", method, path, got, err)
	}
}

// fires adds an alert that fires.
func (d *desk) fires(name string, by ...alerts.Suppressor) {
	labels := map[string]string{"alertname": name, "severity": "page"}
	d.rows[alerts.Key("g", labels)] = &alerts.Row{
		Alert: alerts.Alert{State: alerts.Firing, Fired: noon.Add(-time.Hour).UnixMilli(), Evaluated: noon.UnixMilli(), Suppressed: by},
		About: alerts.About{Group: "g", Name: name, Labels: labels, Annotations: map[string]string{"summary": "so"}},
	}
}

// shown is an alert as a client sees it.
type shown struct {
	Labels, Annotations map[string]string
	Fingerprint         string
	StartsAt, UpdatedAt time.Time
	EndsAt              time.Time
	Receivers           []struct{ Name string }
	Status              struct {
		State                            string
		SilencedBy, InhibitedBy, MutedBy []string
	}
}

func (d *desk) alerts(query string) map[string]shown {
	d.Helper()
	var list []shown
	d.ask("GET", "alerts"+query, "", 200, &list)
	all := map[string]shown{}
	for _, a := range list {
		all[a.Labels["alertname"]] = a
	}
	return all
}

const wish = `{"matchers":[{"name":"alertname","value":"Errors","isRegex":false}],"startsAt":"2026-11-28T11:00:00Z","endsAt":"2026-11-28T14:00:00Z","createdBy":"ana","comment":"deploy"}`

func TestAlerts(t *testing.T) {
	d := newDesk(t)
	d.fires("Errors", alerts.Suppressor{Kind: alerts.Silenced, By: "one that is over"})
	d.fires("Slow", alerts.Suppressor{Kind: alerts.Inhibited, By: "00ff"})
	d.fires("Costs", alerts.Suppressor{Kind: alerts.Muted, By: "nights"})
	d.rows["pending"] = &alerts.Row{Alert: alerts.Alert{State: alerts.Pending}, About: alerts.About{Labels: map[string]string{"alertname": "Pending"}}}
	errs := d.alerts("")["Errors"]
	if errs.Status.State != "active" || errs.Annotations["summary"] != "so" || errs.Fingerprint == "" || errs.Receivers[0].Name != "error_event" ||
		!errs.StartsAt.Equal(noon.Add(-time.Hour)) || !errs.UpdatedAt.Equal(noon) || !errs.EndsAt.After(noon) || errs.Status.SilencedBy == nil {
		t.Errorf("alert: %+v", errs)
	}
	var saved api.Saved
	d.ask("POST", "silences", wish, 200, &saved)
	got := d.alerts("")["Errors"].Status
	if got.State != "suppressed" || !slices.Equal(got.SilencedBy, []string{saved.ID}) {
		t.Errorf("a silence is seen at once: %+v", got)
	}
	for query, want := range map[string]string{
		"": "Costs Errors Slow", "?silenced=false": "Costs Slow", "?inhibited=false": "Costs Errors", "?muted=false": "Errors Slow",
		"?filter=" + url.QueryEscape(`alertname=~"S.*|E.*"`): "Errors Slow", "?filter=severity%3Dpage&filter=alertname%3DSlow": "Slow",
		"?active=false": "Costs Errors Slow", "?receiver=error.*": "Costs Errors Slow", "?receiver=error": "", "?silenced=false&inhibited=false&muted=false": "",
	} {
		if names := strings.Join(slices.Sorted(maps.Keys(d.alerts(query))), " "); names != want {
			t.Errorf("%s: %s, want %s", query, names, want)
		}
	}
	d.now = noon.Add(3 * time.Hour)
	if names := slices.Sorted(maps.Keys(d.alerts("?active=false"))); !slices.Equal(names, []string{"Costs", "Slow"}) {
		t.Errorf("once the silence is over, suppressed: %v", names)
	}
	var message string
	d.ask("GET", "alerts?silenced=perhaps", "", 400, &message)
	d.ask("GET", "alerts?filter=x", "", 400, &message)
	d.ask("GET", "alerts/groups?receiver=(", "", 400, &message)
	var groups []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []shown
	}
	d.ask("GET", "alerts/groups?filter=alertname%3DSlow", "", 200, &groups)
	if len(groups) != 1 || groups[0].Receiver.Name != "error_event" || groups[0].Labels == nil || len(groups[0].Alerts) != 1 || groups[0].Alerts[0].Fingerprint == "" {
		t.Errorf("groups: %+v", groups)
	}
	if d.ask("GET", "alerts/groups?filter=alertname%3DNone", "", 200, &groups); groups == nil || len(groups) > 0 {
		t.Errorf("no alerts: %+v", groups)
	}
}

// kept is a silence as a client sees it.
type kept struct {
	ID, CreatedBy, Comment string
	Matchers               json.RawMessage
	StartsAt, EndsAt       time.Time
	Status                 struct{ State string }
	History                []api.Change
}

func TestSilenceIsMadeChangedAndEnded(t *testing.T) {
	d := newDesk(t)
	var saved, changed, replaced api.Saved
	d.ask("POST", "silences", wish, 200, &saved)
	var s kept
	d.ask("GET", "silence/"+saved.ID, "", 200, &s)
	if s.ID != saved.ID || s.CreatedBy != "ana" || s.Comment != "deploy" || s.Status.State != "active" || !s.StartsAt.Equal(noon) || len(s.History) != 1 ||
		string(s.Matchers) != `[{"name":"alertname","value":"Errors","isRegex":false,"isEqual":true}]` {
		t.Errorf("silence: %+v %s", s, s.Matchers)
	}
	d.now = noon.Add(time.Hour)
	longer := strings.Replace(strings.Replace(wish, `{`, `{"id":"`+saved.ID+`",`, 1), "T14", "T18", 1)
	d.ask("POST", "silences", strings.Replace(longer, "ana", "ben", 1), 200, &changed)
	other := strings.Replace(longer, `"value":"Errors"`, `"value":"Slow"`, 1)
	if d.ask("GET", "silence/"+saved.ID, "", 200, &s); changed.ID != saved.ID || s.EndsAt.Hour() != 18 || s.CreatedBy != "ben" {
		t.Errorf("changed: %+v", s)
	}
	if d.ask("POST", "silences", other, 200, &replaced); replaced.ID == saved.ID {
		t.Error("a silence of other alerts has the same id")
	}
	var list []kept
	d.ask("GET", "silences", "", 200, &list)
	if len(list) != 2 || list[0].ID != replaced.ID || list[1].Status.State != "expired" || len(list[1].History) != 3 || list[1].Comment != "deploy" {
		t.Errorf("silences: %+v", list)
	}
	d.ask("GET", "silences?filter=alertname%3DSlow", "", 200, &list)
	if len(list) != 1 || list[0].ID != replaced.ID {
		t.Errorf("filtered: %+v", list)
	}
	d.ask("DELETE", "silence/"+replaced.ID+"?by=eva&comment=done", "", 200, &changed)
	d.ask("GET", "silence/"+replaced.ID, "", 200, &s)
	if last := s.History[len(s.History)-1]; s.Status.State != "expired" || last.By != "eva" || last.Comment != "done" || last.Kind != silences.Expired || !last.At.Equal(d.now) {
		t.Errorf("ended: %+v", s)
	}
	var message string
	if d.ask("DELETE", "silence/"+replaced.ID, "", 409, &message); !strings.Contains(message, "over") {
		t.Errorf("ended twice: %s", message)
	}
	d.ask("POST", "silences", wish, 200, &saved)
	d.ask("DELETE", "silence/"+saved.ID, "", 200, &changed)
	d.ask("GET", "silence/"+saved.ID, "", 200, &s)
	if by := s.History[1].By; by != "someone at 127.0.0.1" {
		t.Errorf("who does not say who it is, is %q", by)
	}
}

// Who changes a silence that somebody ends at the same time is told so.
func TestChangeOfWhatEndsMeanwhile(t *testing.T) {
	d := newDesk(t)
	var saved api.Saved
	d.ask("POST", "silences", wish, 200, &saved)
	ended, err := d.book.Get(saved.ID).Expire("eva", "done", d.now)
	if err != nil {
		t.Fatal(err)
	}
	d.before = func() { d.fault = d.book.Update(ended.Key, ended.Append(nil)) }
	var message string
	d.ask("POST", "silences", strings.Replace(wish, "{", `{"id":"`+saved.ID+`",`, 1), 409, &message)
	if !strings.Contains(message, "ended meanwhile") {
		t.Errorf("message %q", message)
	}
}

func TestRefused(t *testing.T) {
	d := newDesk(t)
	var message string
	for body, want := range map[string]string{
		"{": "read silence", `{"matchers":{}}`: "read silence", strings.Replace(wish, `"ana"`, `""`, 1): "say who",
		strings.Replace(wish, `"isRegex":false`, `"isRegex":true,"isEqual":false`, 1): "nearly all", strings.Repeat(" ", 70_000): "too large",
		strings.Replace(wish, "T14", "T09", 1): "has passed",
	} {
		if d.ask("POST", "silences", body, 400, &message); !strings.Contains(message, want) {
			t.Errorf("%.40s: %q, want %q", body, message, want)
		}
	}
	d.ask("POST", "silences", strings.Replace(wish, "{", `{"id":"x",`, 1), 404, &message)
	d.ask("GET", "silence/x", "", 404, &message)
	d.ask("DELETE", "silence/x", "", 404, &message)
	var long api.Saved
	d.ask("POST", "silences", wish, 200, &long)
	d.ask("DELETE", "silence/"+long.ID+"?comment="+strings.Repeat("x", 5000), "", 400, &message)
	for _, path := range []string{"GET alerts?filter=team%3Da%", "GET alerts/groups?silenced=false;", "GET silences?filter=a;b", "DELETE silence/" + long.ID + "?by=ana&comment=50%"} {
		method, path, _ := strings.Cut(path, " ")
		if d.ask(method, path, "", 400, &message); !strings.Contains(message, "read parameters") || !strings.Contains(message, "%25") {
			t.Errorf("%s: %q", path, message)
		}
	}
	d.ask("DELETE", "silence/"+long.ID, "", 200, &long)
	res, err := http.Post(d.url+"silences", "application/x-www-form-urlencoded", strings.NewReader(wish))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnsupportedMediaType || len(d.book.All()) > 1 {
		t.Errorf("a form: %s", res.Status)
	}
	d.missing = "not yet"
	for _, path := range []string{"alerts", "silences", "silence/x"} {
		if d.ask("GET", path, "", 503, &message); message != "not yet" {
			t.Errorf("%s: %s", path, message)
		}
	}
	d.missing, d.fault = "", errors.New("no broker")
	if d.ask("POST", "silences", wish, 503, &message); !strings.Contains(message, "no broker") {
		t.Errorf("what could not be kept: %s", message)
	}
}

func TestStatus(t *testing.T) {
	d := newDesk(t)
	var status struct {
		VersionInfo struct{ Version string }
		Config      struct{ Original string }
		Uptime      time.Time
		Cluster     struct{ Status string }
	}
	d.ask("GET", "status", "", 200, &status)
	if status.VersionInfo.Version != "v1" || status.Config.Original != "# repeat_interval: 1h\nroute:\n  receiver: error_event\nreceivers:\n- name: error_event\n" || !status.Uptime.Equal(noon) || status.Cluster.Status != "disabled" {
		t.Errorf("status: %+v", status)
	}
	var receivers []struct{ Name string }
	if d.ask("GET", "receivers", "", 200, &receivers); len(receivers) != 1 || receivers[0].Name != "error_event" {
		t.Errorf("receivers: %+v", receivers)
	}
}

// Package api serves the part of Alertmanager's HTTP API, version 2, that is about alerts
// and silences, so that amtool, Grafana and what else speaks to an Alertmanager shows
// and silences the alerts of these tables:
//
//	GET    /api/v2/alerts               alerts that fire, and what suppresses them
//	GET    /api/v2/alerts/groups        the same, as one group
//	GET    /api/v2/silences             silences, with the history of each
//	POST   /api/v2/silences             makes or changes one
//	GET    /api/v2/silence/{id}
//	DELETE /api/v2/silence/{id}         ends it; ?by= and ?comment= say who and why
//	GET    /api/v2/receivers, /api/v2/status
//
// The lists take filter=, a matcher each, and alerts active=, silenced=, inhibited=, muted=
// and receiver=.
// Alerts cannot be posted: they come of the tables.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/alerts/match"
	"ragstreams/alerts/silences"
	"ragstreams/internal/answers"
)

// Options says what is served. All fields are required.
type Options struct {
	Alerts   func() map[string]*alerts.Row // by key
	Silences *silences.Book
	// Save keeps changes, in their order, and returns once Silences has them.
	Save    func(ctx context.Context, changes []silences.Change) error
	Missing func() string // what is not restored yet; "": all is there
	Now     func() time.Time
	Version string
	Started time.Time
	Policy  func() string // the file as it is in use
}

// Receiver is the one that all alerts go to: the exchange, whose bindings say who gets
// them.
const Receiver = "error_event"

// maxBody is the most bytes of a silence.
const maxBody = 64 << 10

// Handler serves the paths of the package.
func Handler(o Options) http.Handler {
	s := server{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v2/alerts", s.restored(s.alerts))
	mux.HandleFunc("GET /api/v2/alerts/groups", s.restored(s.groups))
	mux.HandleFunc("GET /api/v2/silences", s.restored(s.silences))
	mux.HandleFunc("POST /api/v2/silences", s.restored(s.save))
	mux.HandleFunc("GET /api/v2/silence/{id}", s.restored(s.silence))
	mux.HandleFunc("DELETE /api/v2/silence/{id}", s.restored(s.expire))
	mux.HandleFunc("GET /api/v2/receivers", func(w http.ResponseWriter, _ *http.Request) { answer(w, []receiver{{Receiver}}) })
	mux.HandleFunc("GET /api/v2/status", s.status)
	return mux
}

type server struct{ Options }

// restored answers 503 until everything is read: an empty list would say that all is well.
func (s server) restored(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if missing := s.Missing(); missing != "" {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, errors.New(missing))
			return
		}
		serve(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// Absent answers that nothing of this is served, and why.
func Absent(why error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, why) })
}

// refuse answers with a JSON text, as Alertmanager does.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(err.Error())
}

// parameters returns those of a request.
func parameters(r *http.Request) (url.Values, error) {
	values, err := answers.Query(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, answers.HowToEscape)
	}
	return values, nil
}

type receiver struct {
	Name string `json:"name"`
}

// alert is an alert as Alertmanager shows it.
type alert struct {
	Annotations map[string]string `json:"annotations"`
	Receivers   []receiver        `json:"receivers"`
	Fingerprint string            `json:"fingerprint"`
	Starts      time.Time         `json:"startsAt"`
	Updated     time.Time         `json:"updatedAt"`
	Ends        time.Time         `json:"endsAt"`
	Status      status            `json:"status"`
	Labels      map[string]string `json:"labels"`
}

type status struct {
	State     string   `json:"state"` // active or suppressed
	Silenced  []string `json:"silencedBy"`
	Inhibited []string `json:"inhibitedBy"`
	Muted     []string `json:"mutedBy"`
}

// stale is how long after its newest evaluation an alert is thought to end, unless it is
// evaluated again: clients show an end for every alert.
const stale = 5 * time.Minute

func (s server) alerts(w http.ResponseWriter, r *http.Request) {
	if list, err := s.find(r); err != nil {
		refuse(w, http.StatusBadRequest, err)
	} else {
		answer(w, list)
	}
}

// group is what Alertmanager tells together. Here every alert is told by itself.
type group struct {
	Labels   map[string]string `json:"labels"`
	Receiver receiver          `json:"receiver"`
	Alerts   []alert           `json:"alerts"`
}

func (s server) groups(w http.ResponseWriter, r *http.Request) {
	list, err := s.find(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	groups := []group{}
	if len(list) > 0 {
		groups = append(groups, group{map[string]string{}, receiver{Receiver}, list})
	}
	answer(w, groups)
}

// find returns the alerts that are asked for.
func (s server) find(r *http.Request) ([]alert, error) {
	query, err := parameters(r)
	if err != nil {
		return nil, err
	}
	filter, err := filters(query["filter"])
	if err != nil {
		return nil, err
	}
	wants := map[string]bool{}
	for _, name := range []string{"active", "silenced", "inhibited", "muted"} {
		text := query.Get(name)
		if wants[name], err = strconv.ParseBool(text); text == "" {
			wants[name] = true
		} else if err != nil {
			return nil, fmt.Errorf("%s is %q: want true or false", name, text)
		}
	}
	list := []alert{}
	if text := query.Get("receiver"); text != "" {
		to, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return nil, fmt.Errorf("receiver is %q: want a regular expression: %w", text, err)
		}
		if !to.MatchString(Receiver) {
			return list, nil
		}
	}
	holding := s.Silences.Active(s.Now())
	for key, row := range s.Alerts() {
		if row.State != alerts.Firing || !filter.Match(row.Labels) {
			continue
		}
		a := newAlert(key, row, holding)
		hidden := a.Status.State == "active" && !wants["active"] || len(a.Status.Silenced) > 0 && !wants["silenced"] ||
			len(a.Status.Inhibited) > 0 && !wants["inhibited"] || len(a.Status.Muted) > 0 && !wants["muted"]
		if !hidden {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b alert) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	return list, nil
}

// newAlert shows an alert. Which silences hold is known better than at its newest
// evaluation.
func newAlert(key string, row *alerts.Row, holding silences.Silences) alert {
	updated := time.UnixMilli(row.Evaluated).UTC()
	a := alert{
		Annotations: row.Annotations, Receivers: []receiver{{Receiver}}, Fingerprint: alerts.Fingerprint(key),
		Starts: time.UnixMilli(row.Fired).UTC(), Updated: updated, Ends: updated.Add(stale), Labels: row.Labels,
		Status: status{State: "active", Silenced: []string{}, Inhibited: []string{}, Muted: []string{}},
	}
	if a.Annotations == nil {
		a.Annotations = map[string]string{}
	}
	for _, by := range append(holding.Of(row.Labels), row.Suppressed...) {
		switch by.Kind {
		case alerts.Silenced:
			if !slices.ContainsFunc(holding, func(s *silences.Silence) bool { return s.ID == by.By }) || slices.Contains(a.Status.Silenced, by.By) {
				continue
			}
			a.Status.Silenced = append(a.Status.Silenced, by.By)
		case alerts.Inhibited:
			a.Status.Inhibited = append(a.Status.Inhibited, by.By)
		case alerts.Muted:
			a.Status.Muted = append(a.Status.Muted, by.By)
		}
		a.Status.State = "suppressed"
	}
	return a
}

func filters(texts []string) (all match.Matchers, err error) {
	for _, text := range texts {
		m, err := match.Parse(text)
		if err != nil {
			return all, err
		}
		all = all.And(m)
	}
	return all, nil
}

// Silence is a silence as Alertmanager shows it, and its history.
type Silence struct {
	ID       string         `json:"id"`
	Matchers match.Matchers `json:"matchers"`
	Starts   time.Time      `json:"startsAt"`
	Ends     time.Time      `json:"endsAt"`
	Updated  time.Time      `json:"updatedAt"`
	By       string         `json:"createdBy"`
	Comment  string         `json:"comment"`
	Status   struct {
		State silences.State `json:"state"`
	} `json:"status"`
	History []Change `json:"history"`
}

// Change is what somebody said of a silence, when and why.
type Change struct {
	Kind    silences.Kind `json:"kind"`
	At      time.Time     `json:"at"`
	By      string        `json:"by"`
	Comment string        `json:"comment"`
	Ends    time.Time     `json:"endsAt"`
}

func newSilence(s *silences.Silence, now time.Time) Silence {
	// Who ends a silence says why, but not what it is for.
	says := s.Newest()
	for _, c := range s.History {
		if c.Kind != silences.Expired {
			says = &c
		}
	}
	out := Silence{
		ID: s.ID, Matchers: s.Matchers, Starts: s.Starts, Ends: s.Ends, Updated: s.Newest().At, By: says.By, Comment: says.Comment,
	}
	out.Status.State = s.State(now)
	for _, c := range s.History {
		out.History = append(out.History, Change{c.Kind, c.At, c.By, c.Comment, c.Ends})
	}
	return out
}

func (s server) silences(w http.ResponseWriter, r *http.Request) {
	query, err := parameters(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	filter, err := filters(query["filter"])
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	now, list := s.Now(), []Silence{}
	for _, one := range s.Silences.All() {
		if filter.Match(one.Matchers.Labels()) {
			list = append(list, newSilence(one, now))
		}
	}
	answer(w, list)
}

// get returns the silence that a request is about, nil when there is none, which it says.
func (s server) get(w http.ResponseWriter, id string) *silences.Silence {
	one := s.Silences.Get(id)
	if one == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("no silence %s: GET /api/v2/silences lists them", id))
	}
	return one
}

func (s server) silence(w http.ResponseWriter, r *http.Request) {
	if one := s.get(w, r.PathValue("id")); one != nil {
		answer(w, newSilence(one, s.Now()))
	}
}

// Wish is the body of a request that makes a silence, or changes the one with an ID.
type Wish struct {
	ID       string         `json:"id,omitempty"`
	Matchers match.Matchers `json:"matchers"`
	Starts   time.Time      `json:"startsAt"`
	Ends     time.Time      `json:"endsAt"`
	By       string         `json:"createdBy"`
	Comment  string         `json:"comment"`
}

// Saved is the answer to it.
type Saved struct {
	ID string `json:"silenceID"`
}

func (s server) save(w http.ResponseWriter, r *http.Request) {
	// A page of another site can send a form, but not this type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, errors.New("want Content-Type: application/json"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read silence: %w", err))
		return
	}
	var wish Wish
	if err := json.Unmarshal(body, &wish); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("read silence: %w", err))
		return
	}
	want, now := silences.Wish{Matchers: wish.Matchers, Starts: wish.Starts, Ends: wish.Ends, By: wish.By, Comment: wish.Comment}, s.Now()
	var changes []silences.Change
	if wish.ID != "" {
		before := s.get(w, wish.ID)
		if before == nil {
			return
		}
		changes, err = before.Change(want, now)
	} else {
		changes = make([]silences.Change, 1)
		changes[0], err = silences.Create(want, now)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	s.keep(w, r, changes)
}

func (s server) expire(w http.ResponseWriter, r *http.Request) {
	one := s.get(w, r.PathValue("id"))
	if one == nil {
		return
	}
	query, err := parameters(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	by := query.Get("by")
	if by == "" {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		by = "someone at " + host
	}
	change, err := one.Expire(by, query.Get("comment"), s.Now())
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, silences.ErrOver) {
			status = http.StatusConflict
		}
		refuse(w, status, err)
		return
	}
	s.keep(w, r, []silences.Change{change})
}

// keep answers once the changes are kept.
func (s server) keep(w http.ResponseWriter, r *http.Request, changes []silences.Change) {
	if err := s.Save(r.Context(), changes); err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("the silence may not be kept, look before you try again: %w", err))
		return
	}
	last := &changes[len(changes)-1]
	if one := s.Silences.Get(last.Silence); last.Kind == silences.Changed && one != nil && one.State(s.Now()) == silences.Over {
		refuse(w, http.StatusConflict, fmt.Errorf("silence %s was ended meanwhile: make another one", one.ID))
		return
	}
	answer(w, Saved{last.Silence})
}

func (s server) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"cluster":     map[string]any{"status": "disabled", "peers": []string{}},
		"versionInfo": map[string]string{"version": s.Version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""},
		"config":      map[string]string{"original": s.config()},
		"uptime":      s.Started.UTC(),
	})
}

// config returns what clients take for Alertmanager's configuration: all goes to one
// receiver. The policy is in it for people to read.
func (s server) config() string {
	var b strings.Builder
	for line := range strings.Lines(s.Policy()) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	fmt.Fprintf(&b, "route:\n  receiver: %[1]s\nreceivers:\n- name: %[1]s\n", Receiver)
	return b.String()
}

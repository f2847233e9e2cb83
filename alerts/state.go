// Package alerts decides when people are told, and of what.
//
//	tables ─▶ rule ─▶ Evaluation ─▶ Alert.Step ─▶ Transition ─▶ message
//
// An alert is one rule and one set of labels. What is known of it is a plain value
// that changes by evaluations alone: no clock, no I/O, nothing that two machines
// could see differently. So an alert can be kept in a table, come back after a crash
// as it was, and be asked twice without telling twice.
package alerts

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/zeebo/xxh3"
)

// State is where an alert stands.
//
//	Inactive ──breach──▶ Pending ──held for Rule.For──▶ Firing ──cleared, and kept for Rule.KeepFiring──▶ Inactive
//	    ▲────────cleared─────┘
type State uint8

// States of an alert.
const (
	Inactive State = iota
	Pending
	Firing
)

// Outcome is what one evaluation of a rule says of an alert.
type Outcome uint8

// Outcomes of an evaluation.
const (
	Cleared   Outcome = iota // the condition does not hold
	Breached                 // the condition holds
	NoData                   // there was nothing to compare, or too little of it
	Withdrawn                // the rule is gone, or gives no such alert any more
)

// NoDataMode is what a rule makes of NoData.
type NoDataMode uint8

// Modes for no data, as the annotation no_data names them.
const (
	NoDataOK     NoDataMode = iota // as Cleared
	NoDataFiring                   // as Breached
	NoDataKeep                     // the alert stays as it is; what is pending does not begin to fire
)

// Rule is what the state of an alert depends on.
type Rule struct {
	Version    uint64        // another one is another rule: what fires is resolved first
	For        time.Duration // how long a breach must hold
	KeepFiring time.Duration // how long an alert fires on after it was cleared
	NoData     NoDataMode
}

// Evaluation is what a rule said of an alert at one time. Several evaluators may say
// it, late and more than once: of those that speak of the same time one is believed.
type Evaluation struct {
	At         int64 // Unix milliseconds
	Rule       Rule
	Outcome    Outcome
	Value      float64       // of the condition's left side; NaN where there is none
	Repeat     time.Duration // after which people are told again that it fires; 0: never
	Suppressed []Suppressor  // what keeps people from being told
}

// Suppressor is something that keeps people from being told that an alert fires.
type Suppressor struct {
	Kind Suppression `json:"kind"`
	By   string      `json:"by"` // id of a silence, fingerprint of an alert, name of a time interval
}

// Suppression is a kind of Suppressor.
type Suppression string

// Kinds of Suppressor.
const (
	Silenced  Suppression = "silence"    // people said so
	Inhibited Suppression = "inhibition" // another alert fires that explains this one
	Muted     Suppression = "mute"       // it is not the time for such alerts
)

// Reason is why an alert fired or was resolved.
type Reason string

// Reasons of a Transition.
const (
	ReasonBreached     Reason = "breached"
	ReasonCleared      Reason = "cleared"
	ReasonNoData       Reason = "no_data"
	ReasonRuleChanged  Reason = "rule_changed"
	ReasonRuleRemoved  Reason = "rule_removed"
	ReasonUnsuppressed Reason = "unsuppressed" // it fired before, but was suppressed until now
	ReasonRepeated     Reason = "repeated"     // it still fires
)

// Transition is what people are told: an alert began to fire, still does, or no longer.
type Transition struct {
	Fires   bool // false: it was resolved
	Reason  Reason
	At      int64   // Unix milliseconds, of the evaluation that led to it
	Started int64   // when the breach began that made it fire
	Fired   int64   // when it began to fire
	Repeat  int     // how often people were told before that it fires, since then; 0 when it was resolved
	Value   float64 // of that evaluation
}

// ID names the transition of one alert, for all time: who is told twice can tell.
// key is the key of the alert.
func (t Transition) ID(key string) string {
	b := binary.AppendVarint(append(make([]byte, 0, len(key)+24), key...), t.Fired)
	if t.Fires {
		b = append(b, 1)
	}
	if t.Repeat > 0 {
		b = binary.AppendUvarint(b, uint64(t.Repeat))
	}
	id := xxh3.Hash128(b).Bytes()
	return hex.EncodeToString(id[:])
}

// Alert is what is known of an alert. The zero Alert is one that nothing was said of.
type Alert struct {
	State     State
	Version   uint64 // of the rule
	Evaluated int64  // Unix milliseconds, of the newest evaluation
	Started   int64  // of the first of the breaches that made it pending; unless Inactive
	Fired     int64  // of the evaluation at which it began to fire; when Firing
	Cleared   int64  // of the first evaluation since the last breach that cleared it; 0 for none; when Firing
	Told      int64  // of the newest evaluation that people were told of, that it fires; 0 for none; when Firing
	Tellings  int    // how often they were; when Firing

	Suppressed []Suppressor // at the newest evaluation; unless Inactive
}

// maxUnwatched is how far apart two evaluations of a pending alert may be: a breach that
// nobody looked at for longer has not held, as far as is known, and begins anew. Those
// who evaluate speak of an active alert at least once a minute.
const maxUnwatched = 3 * time.Minute

// Step takes in an evaluation and returns what people are to be told, oldest first:
// one transition at most, or two when the rule has changed. An evaluation that is not
// newer than all before changes nothing.
//
// People are told that an alert fires unless it is suppressed, and once it is not; then
// again after every Repeat. Who was told that it fires is told that it was resolved,
// suppressed or not: an incident that was opened can be closed.
func (a *Alert) Step(e Evaluation) []Transition {
	if e.At <= a.Evaluated {
		return nil
	}
	unwatched := e.At-a.Evaluated > maxUnwatched.Milliseconds()
	a.Evaluated = e.At
	if e.Outcome == Withdrawn {
		return a.resolve(nil, e, ReasonRuleRemoved)
	}
	var told []Transition
	if a.Version != e.Rule.Version {
		told = a.resolve(told, e, ReasonRuleChanged)
		a.Version = e.Rule.Version
	}
	outcome, fires, clears := e.Outcome, ReasonBreached, ReasonCleared
	if outcome == NoData {
		switch e.Rule.NoData {
		case NoDataKeep: // neither breached nor cleared
		case NoDataFiring:
			outcome, fires = Breached, ReasonNoData
		default:
			outcome, clears = Cleared, ReasonNoData
		}
	}
	switch outcome {
	case Breached:
		a.breach(e, unwatched)
	case Cleared:
		if !a.kept(e) {
			return a.resolve(told, e, clears)
		}
	}
	if a.Suppressed = nil; a.State != Inactive && len(e.Suppressed) > 0 {
		a.Suppressed = e.Suppressed
	}
	return a.tell(told, e, fires)
}

// breach begins or goes on with what leads to firing.
func (a *Alert) breach(e Evaluation, unwatched bool) {
	a.Cleared = 0
	if a.State == Inactive || a.State == Pending && unwatched {
		a.State, a.Started = Pending, e.At
	}
	if a.State == Pending && e.At-a.Started >= e.Rule.For.Milliseconds() {
		a.State, a.Fired = Firing, e.At
	}
}

// kept reports whether an alert that is cleared fires on all the same.
func (a *Alert) kept(e Evaluation) bool {
	if a.State != Firing || e.Rule.KeepFiring == 0 {
		return false
	}
	if a.Cleared == 0 {
		a.Cleared = e.At
	}
	return e.At-a.Cleared < e.Rule.KeepFiring.Milliseconds()
}

// tell tells people that the alert fires, when they are to be told. why is the reason if
// it has just begun to.
func (a *Alert) tell(told []Transition, e Evaluation, why Reason) []Transition {
	if a.State != Firing || len(e.Suppressed) > 0 {
		return told
	}
	switch {
	case a.Told == 0 && a.Cleared != 0: // it is about to be resolved
		return told
	case a.Told == 0 && a.Fired < e.At:
		why = ReasonUnsuppressed
	case a.Told == 0:
	case e.Repeat > 0 && e.At-a.Told >= e.Repeat.Milliseconds():
		why = ReasonRepeated
	default:
		return told
	}
	t := Transition{Fires: true, Reason: why, At: e.At, Started: a.Started, Fired: a.Fired, Repeat: a.Tellings, Value: e.Value}
	a.Told = e.At
	a.Tellings++
	return append(told, t)
}

// resolve makes the alert inactive. Nobody is told of it who was not told that it fires.
func (a *Alert) resolve(told []Transition, e Evaluation, why Reason) []Transition {
	if a.State == Firing && a.Told != 0 {
		told = append(told, Transition{Reason: why, At: e.At, Started: a.Started, Fired: a.Fired, Value: e.Value})
	}
	*a = Alert{Version: a.Version, Evaluated: a.Evaluated}
	return told
}

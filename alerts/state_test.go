package alerts_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"

	"github.com/google/go-cmp/cmp"
)

// outcomes are those of a script, by letter.
var outcomes = map[byte]alerts.Outcome{
	'.': alerts.Cleared, 'B': alerts.Breached, '?': alerts.NoData, 'x': alerts.Withdrawn,
	'-': alerts.Cleared, 'S': alerts.Breached, // these two are suppressed
}

// play evaluates a script, one letter a second from second 1 on, and returns what is
// told as "2 fires breached, 5 resolved cleared". A digit changes the rule's version,
// a blank is a second without an evaluation. It is repeated every three seconds.
func play(a *alerts.Alert, rule alerts.Rule, repeat bool, script string) string {
	var told []string
	at := int64(0)
	for i := range len(script) {
		c := script[i]
		if c >= '0' && c <= '9' {
			rule.Version = uint64(c - '0')
			continue
		}
		if at += 1000; c == ' ' {
			continue
		}
		e := alerts.Evaluation{At: at, Rule: rule, Outcome: outcomes[c]}
		if repeat {
			e.Repeat = 3 * time.Second
		}
		if c == '-' || c == 'S' {
			e.Suppressed = []alerts.Suppressor{{Kind: alerts.Silenced, By: "s1"}}
		}
		for _, tr := range a.Step(e) {
			what := "resolved"
			if tr.Fires {
				what = "fires"
			}
			told = append(told, fmt.Sprintf("%d %s %s", tr.At/1000, what, tr.Reason))
		}
	}
	return strings.Join(told, ", ")
}

// script is what play is to tell.
type script struct {
	name   string
	rule   alerts.Rule
	script string
	want   string
}

func playAll(t *testing.T, repeat bool, scripts []script) {
	t.Helper()
	for _, tt := range scripts {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(new(alerts.Alert), tt.rule, repeat, tt.script); got != tt.want {
				t.Errorf("%q: %q, want %q", tt.script, got, tt.want)
			}
		})
	}
}

func TestStep(t *testing.T) {
	const s = time.Second
	playAll(t, false, []script{
		{"quiet stays quiet", alerts.Rule{}, "...", ""},
		{"without for it fires at once", alerts.Rule{}, ".B", "2 fires breached"},
		{"firing does not fire again", alerts.Rule{}, "BBB", "1 fires breached"},
		{"cleared is resolved", alerts.Rule{}, "BB..", "1 fires breached, 3 resolved cleared"},
		{"it can fire again", alerts.Rule{}, "B.B", "1 fires breached, 2 resolved cleared, 3 fires breached"},
		{"a breach that holds for long enough fires", alerts.Rule{For: 2 * s}, "BBB", "3 fires breached"},
		{"one second short does not", alerts.Rule{For: 2 * s}, "BB.", ""},
		{"a breach begins anew once cleared", alerts.Rule{For: 2 * s}, "BB.BB", ""},
		{"what counts is the time, not how often", alerts.Rule{For: 2 * s}, "B B", "3 fires breached"},
		{"kept firing", alerts.Rule{KeepFiring: 2 * s}, "B..", "1 fires breached"},
		{"kept firing for long enough", alerts.Rule{KeepFiring: 2 * s}, "B...", "1 fires breached, 4 resolved cleared"},
		{"a breach while it is kept counts anew", alerts.Rule{KeepFiring: 2 * s}, "B..B..", "1 fires breached"},
		{"flapping tells once", alerts.Rule{For: s, KeepFiring: 3 * s}, "BB.B..B.B.", "2 fires breached"},
		{"pending is not kept", alerts.Rule{For: 2 * s, KeepFiring: 9 * s}, "B.B", ""},
		{"no data is ok", alerts.Rule{NoData: alerts.NoDataOK}, "B?", "1 fires breached, 2 resolved no_data"},
		{"no data after a kept alert", alerts.Rule{KeepFiring: s}, "B.?", "1 fires breached, 3 resolved no_data"},
		{"no data fires", alerts.Rule{NoData: alerts.NoDataFiring}, ".?.", "2 fires no_data, 3 resolved cleared"},
		{"no data fires once it holds", alerts.Rule{For: 2 * s, NoData: alerts.NoDataFiring}, "B??", "3 fires no_data"},
		{"no data keeps what fires", alerts.Rule{NoData: alerts.NoDataKeep}, "B??B", "1 fires breached"},
		{"no data keeps what is pending, and no more", alerts.Rule{For: 2 * s, NoData: alerts.NoDataKeep}, "B??", ""},
		{"what was kept pending fires with the next breach", alerts.Rule{For: 2 * s, NoData: alerts.NoDataKeep}, "B?? B", "5 fires breached"},
		{"no data keeps what is quiet", alerts.Rule{NoData: alerts.NoDataKeep}, "??", ""},
		{"a removed rule resolves", alerts.Rule{KeepFiring: 9 * s}, "Bx", "1 fires breached, 2 resolved rule_removed"},
		{"a removed rule tells nobody of what was pending", alerts.Rule{For: 5 * s}, "Bx.", ""},
		{"an edited rule resolves what fires", alerts.Rule{}, "B2.", "1 fires breached, 2 resolved rule_changed"},
		{"and may fire at once", alerts.Rule{}, "B2B", "1 fires breached, 2 resolved rule_changed, 2 fires breached"},
		{"or wait for its time", alerts.Rule{For: s}, "BB2BB", "2 fires breached, 3 resolved rule_changed, 4 fires breached"},
		{"an edited rule begins anew with what is pending", alerts.Rule{For: 2 * s}, "BB2BB", ""},
		{"an edited rule without data", alerts.Rule{NoData: alerts.NoDataKeep}, "B2?", "1 fires breached, 2 resolved rule_changed"},
	})
}

func TestStepTells(t *testing.T) {
	const s = time.Second
	playAll(t, true, []script{
		{"again after every repeat", alerts.Rule{}, "BBBBBBB", "1 fires breached, 4 fires repeated, 7 fires repeated"},
		{"as soon as somebody looks after it", alerts.Rule{}, "BBB  BB.", "1 fires breached, 6 fires repeated, 8 resolved cleared"},
		{"a repetition goes by the last telling", alerts.Rule{}, "BBB  BBB", "1 fires breached, 6 fires repeated"},
		{"a new firing begins anew", alerts.Rule{}, "BB.BBB", "1 fires breached, 3 resolved cleared, 4 fires breached"},
		{"while it is kept firing", alerts.Rule{KeepFiring: 9 * s}, "B...", "1 fires breached, 4 fires repeated"},
		{"and while there is no data", alerts.Rule{NoData: alerts.NoDataKeep}, "B???", "1 fires breached, 4 fires repeated"},
		{"nobody of what is suppressed from beginning to end", alerts.Rule{}, "SSSSS-", ""},
		{"nor when only the end is not", alerts.Rule{}, "SSS.", ""},
		{"of what is no longer suppressed", alerts.Rule{}, "SSB.", "3 fires unsuppressed, 4 resolved cleared"},
		{"that it was resolved, suppressed or not", alerts.Rule{}, "BSS-", "1 fires breached, 4 resolved cleared"},
		{"no repetition of what is suppressed", alerts.Rule{}, "BSSSSB", "1 fires breached, 6 fires repeated"},
		{"once, however often it was suppressed", alerts.Rule{}, "BSB", "1 fires breached"},
		{"nobody of what is only kept firing", alerts.Rule{KeepFiring: 2 * s}, "S-...", ""},
		{"unless it is breached again", alerts.Rule{KeepFiring: 3 * s}, "S-.B", "4 fires unsuppressed"},
		{"at the time of firing, whatever was pending", alerts.Rule{For: 2 * s}, "SSBB", "3 fires breached"},
		{"nobody of a changed rule that was suppressed", alerts.Rule{}, "S2S2-", ""},
		{"of a changed rule that fires on", alerts.Rule{}, "S2B", "2 fires breached"},
		{"that a rule is gone, if they were told of it", alerts.Rule{}, "BSx", "1 fires breached, 3 resolved rule_removed"},
		{"nobody that a rule is gone that they were not told of", alerts.Rule{}, "SSx", ""},
	})
}

// What suppresses an alert can be seen for as long as it is active.
func TestSuppressedIsVisible(t *testing.T) {
	by := []alerts.Suppressor{{Kind: alerts.Inhibited, By: "f1"}, {Kind: alerts.Muted, By: "nights"}}
	var a alerts.Alert
	for i, tt := range []struct {
		outcome alerts.Outcome
		by      []alerts.Suppressor
		want    []alerts.Suppressor
	}{
		{alerts.Cleared, by, nil}, {alerts.Breached, by, by}, {alerts.Breached, by[:1], by[:1]}, {alerts.Breached, nil, nil}, {alerts.Cleared, by, nil},
	} {
		a.Step(alerts.Evaluation{At: int64(i + 1), Outcome: tt.outcome, Suppressed: tt.by})
		if !slices.Equal(a.Suppressed, tt.want) {
			t.Errorf("evaluation %d: suppressed by %v, want %v", i, a.Suppressed, tt.want)
		}
	}
}

// A longer or shorter for, or keep_firing_for, holds from the next evaluation on.
func TestTimesOfARuleMayChange(t *testing.T) {
	var a alerts.Alert
	step := func(at int64, rule alerts.Rule, outcome alerts.Outcome) int {
		return len(a.Step(alerts.Evaluation{At: at * 1000, Rule: rule, Outcome: outcome}))
	}
	if step(1, alerts.Rule{For: time.Hour}, alerts.Breached) != 0 || step(3, alerts.Rule{For: 2 * time.Second}, alerts.Breached) != 1 {
		t.Errorf("alert = %+v, want it to fire once its time is shorter", a)
	}
	if step(4, alerts.Rule{KeepFiring: time.Hour}, alerts.Cleared) != 0 || step(5, alerts.Rule{}, alerts.Cleared) != 1 {
		t.Errorf("alert = %+v, want it resolved once it is not kept", a)
	}
}

// A breach holds for as long as somebody saw it hold.
func TestForIsTimeThatWasWatched(t *testing.T) {
	rule := alerts.Rule{For: 10 * time.Minute}
	var a alerts.Alert
	fired := int64(0)
	for _, minute := range []int64{1, 3, 6, 40, 43, 46, 49} {
		if len(a.Step(alerts.Evaluation{At: minute * 60_000, Rule: rule, Outcome: alerts.Breached})) > 0 {
			fired = minute
		}
	}
	if fired != 0 || a.Started != 40*60_000 {
		t.Errorf("fired at minute %d, alert %+v; want the breach to begin at minute 40", fired, a)
	}
	if len(a.Step(alerts.Evaluation{At: 50 * 60_000, Rule: rule, Outcome: alerts.Breached})) != 1 {
		t.Errorf("alert %+v does not fire after ten minutes that were watched", a)
	}
}

func TestTransition(t *testing.T) {
	var a alerts.Alert
	rule := alerts.Rule{For: 2 * time.Second}
	a.Step(alerts.Evaluation{At: 1000, Rule: rule, Outcome: alerts.Breached, Value: 1})
	fired := a.Step(alerts.Evaluation{At: 3500, Rule: rule, Outcome: alerts.Breached, Value: 2})
	resolved := a.Step(alerts.Evaluation{At: 9000, Rule: rule, Outcome: alerts.Cleared, Value: 3})
	want := []alerts.Transition{
		{Fires: true, Reason: alerts.ReasonBreached, At: 3500, Started: 1000, Fired: 3500, Value: 2},
		{Fires: false, Reason: alerts.ReasonCleared, At: 9000, Started: 1000, Fired: 3500, Value: 3},
	}
	if diff := cmp.Diff(want, append(fired, resolved...)); diff != "" {
		t.Errorf("transitions (-want +got):\n%s", diff)
	}
}

// Should two evaluators disagree about the same time, the first is believed.
func TestFirstEvaluationOfATimeCounts(t *testing.T) {
	var a alerts.Alert
	if got := a.Step(alerts.Evaluation{At: 5, Outcome: alerts.Breached}); len(got) != 1 {
		t.Fatalf("told %+v, want that it fires", got)
	}
	was := a
	if got := a.Step(alerts.Evaluation{At: 5, Outcome: alerts.Cleared}); len(got) > 0 || !reflect.DeepEqual(a, was) {
		t.Errorf("told %+v, alert %+v, want nothing and %+v", got, a, was)
	}
}

// history is what was said of an alert, in order, and no time twice.
type history []alerts.Evaluation

func anyHistory(r *rand.Rand) history {
	var h history
	rule := alerts.Rule{
		Version: 1, For: time.Duration(r.IntN(4)) * time.Second, KeepFiring: time.Duration(r.IntN(4)) * time.Second,
		NoData: alerts.NoDataMode(r.IntN(3)),
	}
	sticky, outcome := 1+r.IntN(5), alerts.Cleared
	repeat := time.Duration(r.IntN(8)) * time.Second
	var by []alerts.Suppressor
	at := int64(0)
	for range 60 {
		at += 1 + r.Int64N(2000)
		if r.IntN(sticky) == 0 {
			outcome = []alerts.Outcome{alerts.Cleared, alerts.Breached, alerts.Breached, alerts.NoData}[r.IntN(4)]
		}
		if r.IntN(6) == 0 {
			by = nil
			if r.IntN(2) == 0 {
				by = []alerts.Suppressor{{Kind: alerts.Silenced, By: "s1"}}
			}
		}
		e := alerts.Evaluation{At: at, Rule: rule, Outcome: outcome, Value: float64(len(h)), Repeat: repeat, Suppressed: by}
		switch r.IntN(40) {
		case 0:
			rule.Version++
		case 1:
			e.Outcome = alerts.Withdrawn
		}
		h = append(h, e)
	}
	return h
}

// told is what the definitions of For, KeepFiring, NoData, Suppressed and Repeat say of a whole history:
// the plain twin of Step, which looks back as far as it likes.
func (h history) told() []alerts.Transition {
	var out []alerts.Transition
	begin := 0        // of what one version of the rule said
	fires := -1       // the evaluation at which it began to fire
	var started int64 // when that breach began
	var told []int    // the evaluations at which people were told that it fires
	end := func(i int, why alerts.Reason) {
		if fires >= 0 && len(told) > 0 {
			out = append(out, alerts.Transition{Reason: why, At: h[i].At, Started: started, Fired: h[fires].At, Value: h[i].Value})
		}
		fires, told = -1, nil
	}
	as := func(e alerts.Evaluation) alerts.Outcome {
		switch {
		case e.Outcome == alerts.NoData && e.Rule.NoData == alerts.NoDataOK:
			return alerts.Cleared
		case e.Outcome == alerts.NoData && e.Rule.NoData == alerts.NoDataFiring:
			return alerts.Breached
		}
		return e.Outcome
	}
	for i, e := range h {
		if e.Outcome == alerts.Withdrawn {
			end(i, alerts.ReasonRuleRemoved)
			begin = i + 1
			continue
		}
		if i > begin && e.Rule.Version != h[i-1].Rule.Version {
			end(i, alerts.ReasonRuleChanged)
			begin = i
		}
		why := alerts.ReasonBreached
		if e.Outcome == alerts.NoData {
			why = alerts.ReasonNoData
		}
		switch {
		case as(e) == alerts.Breached && fires < 0:
			// The breach began with the first one that nothing has cleared since.
			first := i
			for j := i; j >= begin && as(h[j]) != alerts.Cleared; j-- {
				if as(h[j]) == alerts.Breached {
					first = j
				}
			}
			if e.At-h[first].At >= e.Rule.For.Milliseconds() {
				fires, started = i, h[first].At
			}
		case as(e) == alerts.Cleared && fires >= 0:
			// It is cleared since the first evaluation after the last breach that did so.
			first := i
			for j := i; j > fires && as(h[j]) != alerts.Breached; j-- {
				if as(h[j]) == alerts.Cleared {
					first = j
				}
			}
			if e.At-h[first].At >= e.Rule.KeepFiring.Milliseconds() {
				if why == alerts.ReasonBreached {
					why = alerts.ReasonCleared
				}
				end(i, why)
				begin = i + 1
			}
		}
		if fires < 0 || len(e.Suppressed) > 0 {
			continue
		}
		kept := false // it was cleared since the last breach
		for j := i; j > fires && as(h[j]) != alerts.Breached; j-- {
			kept = kept || as(h[j]) == alerts.Cleared
		}
		switch n := len(told); {
		case n == 0 && kept:
			continue
		case n == 0 && fires < i:
			why = alerts.ReasonUnsuppressed
		case n > 0 && (e.Repeat == 0 || e.At-h[told[n-1]].At < e.Repeat.Milliseconds()):
			continue
		case n > 0:
			why = alerts.ReasonRepeated
		}
		out = append(out, alerts.Transition{Fires: true, Reason: why, At: e.At, Started: started, Fired: h[fires].At, Repeat: len(told), Value: e.Value})
		told = append(told, i)
	}
	return out
}

// TestStepIsAsDefined compares Step with the definitions, and requires that what is
// said late or again changes nothing: neither what is told, nor the alert.
func TestStepIsAsDefined(t *testing.T) {
	transitions := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 31))
		h := anyHistory(r)
		var once, again alerts.Alert
		var got, repeated []alerts.Transition
		for i, e := range h {
			got = append(got, once.Step(e)...)
			repeated = append(repeated, again.Step(e)...)
			for range r.IntN(3) {
				repeated = append(repeated, again.Step(h[r.IntN(i+1)])...)
			}
			if !reflect.DeepEqual(once, again) {
				t.Fatalf("seed %d, evaluation %d: %+v, with repetitions %+v", seed, i, once, again)
			}
		}
		if diff := cmp.Diff(h.told(), got); diff != "" {
			t.Fatalf("seed %d, %+v (-definition +step):\n%s", seed, h[0].Rule, diff)
		}
		if diff := cmp.Diff(got, repeated); diff != "" {
			t.Fatalf("seed %d: told (-once +with repetitions):\n%s", seed, diff)
		}
		ids := map[string]bool{}
		for i, tr := range got {
			if ids[tr.ID("a")] {
				t.Fatalf("seed %d: two transitions have the id %s", seed, tr.ID("a"))
			}
			ids[tr.ID("a")] = true
			if !tr.Fires && (i == 0 || !got[i-1].Fires) || tr.Fires && tr.Repeat == 0 && i > 0 && got[i-1].Fires {
				t.Fatalf("seed %d: transition %d: %+v, want that it fires and that it was resolved in turn", seed, i, tr)
			}
		}
		transitions += len(got)
	}
	if transitions < 10_000 {
		t.Errorf("%d transitions in all: the histories say nothing", transitions)
	}
}

// An id is that of the transition and of nothing else.
func TestTransitionID(t *testing.T) {
	fires := alerts.Transition{Fires: true, Reason: alerts.ReasonBreached, At: 5, Started: 3, Fired: 5, Value: 1}
	if got := fires.ID("a"); len(got) != 32 || got != fires.ID("a") {
		t.Errorf("id %q, want 32 digits, the same each time", got)
	}
	again := fires
	again.Value, again.Reason = 2, alerts.ReasonNoData
	if again.ID("a") != fires.ID("a") {
		t.Error("the id changes with what is told of the transition")
	}
	later, resolved, repeated := fires, fires, fires
	later.Fired++
	repeated.Repeat++
	resolved.Fires = false
	ids := map[string]bool{fires.ID("a"): true, fires.ID("b"): true, later.ID("a"): true, resolved.ID("a"): true, repeated.ID("a"): true}
	if len(ids) != 5 {
		t.Errorf("%d ids, want 5: of two alerts, two times, the resolution and a repetition", len(ids))
	}
}

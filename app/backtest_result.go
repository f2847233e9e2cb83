package app

import (
	"fmt"
	"strings"
	"time"

	"ragstreams/alerts"
	"ragstreams/processors"
)

// BacktestResult is what a backtest found. It is what `analytics rules backtest` writes
// as JSON.
type BacktestResult struct {
	Since       time.Time              `json:"since"`
	Until       time.Time              `json:"until"` // or when it was ended before
	ReadFrom    time.Time              `json:"read_from"`
	Step        alerts.Seconds         `json:"step_seconds"`
	Alerts      []BacktestAlert        `json:"alerts"` // by the time at which they fired
	Rules       []BacktestRule         `json:"rules"`
	Records     BacktestRecords        `json:"records"`
	NotCovered  []BacktestGap          `json:"not_covered,omitempty"`
	Notes       []string               `json:"notes,omitempty"` // what may be otherwise than it seems
	Evaluations int                    `json:"evaluations"`
	Faults      map[string]*RuleFaults `json:"faults,omitempty"` // by what could not be evaluated
}

// BacktestAlert is an alert from its firing to its being resolved.
type BacktestAlert struct {
	Group    string            `json:"group"`
	Rule     string            `json:"rule"`
	Labels   map[string]string `json:"labels"`
	Fired    time.Time         `json:"fired_at"`
	Before   bool              `json:"before,omitempty"` // it fired before the time that was asked for: then, or sooner
	Resolved *time.Time        `json:"resolved_at"`      // nil: it fires still
	Lasted   alerts.Seconds    `json:"lasted_seconds"`   // of one from before, since then only
	Peak     alerts.Number     `json:"peak"`             // the greatest value while it fired; the smallest, where the rule asks for that
	Reason   alerts.Reason     `json:"reason"`
}

// BacktestRule is how often the alerts of a rule fired, and for how long in all of the
// time that was asked for.
type BacktestRule struct {
	Group       string         `json:"group"`
	Rule        string         `json:"rule"`
	Times       int            `json:"times"`       // in that time
	Before      int            `json:"from_before"` // how many more fired already
	StillFiring int            `json:"still_firing"`
	Total       alerts.Seconds `json:"total_seconds"`
}

// BacktestRecords are the source records of the time that was asked for, by outcome, and
// those that were read before.
type BacktestRecords struct {
	Read      int64 `json:"read"`
	Counted   int64 `json:"counted"`
	Duplicate int64 `json:"duplicate"`
	Late      int64 `json:"late"`
	Poison    int64 `json:"poison"`
	// HeldUp came longer after their timestamps than windows take events: they were held
	// up, or others of their partition are of a clock that is ahead.
	HeldUp int64 `json:"held_up"`
	WarmUp int64 `json:"warm_up"`
}

// BacktestGap is what was asked for and is not there.
type BacktestGap struct {
	Topic     string     `json:"topic"`
	Partition *int32     `json:"partition,omitempty"` // nil: all
	Begins    *time.Time `json:"begins_at,omitempty"` // when the first record came that is left
	Why       string     `json:"why"`
}

// RuleFaults is how often a rule could not be evaluated.
type RuleFaults struct {
	Times int       `json:"times"`
	First time.Time `json:"first"`
	Error string    `json:"error"` // of the first
}

func (r *backtest) result(at time.Time) (*BacktestResult, error) {
	out := &BacktestResult{
		Since: r.Since, Until: at.UTC(), ReadFrom: r.readFrom.UTC(), Step: alerts.Seconds(r.Step),
		Evaluations: r.judge.evaluations, Faults: r.judge.faults,
	}
	out.NotCovered, out.Notes = r.gaps(at)
	out.Notes = append(out.Notes, r.totals()...)
	out.Alerts, out.Rules = r.judge.found(r.Since, at)
	counts, err := r.tables.counts()
	if err != nil {
		return nil, err
	}
	before := r.before
	if at.Before(r.Since) { // it was ended in the warm-up
		before = counts
	}
	of := func(outcome string) int64 { return counts[outcome] - before[outcome] }
	out.Records = BacktestRecords{
		Read: of(processors.OutcomeIn), Counted: of(processors.OutcomeCounted), Duplicate: of(processors.OutcomeDuplicate),
		Late: of(processors.OutcomeLate), Poison: of(processors.OutcomePoison), HeldUp: r.heldUp, WarmUp: before[processors.OutcomeIn],
	}
	return out, nil
}

// gaps returns what was asked for, until a time, and is not there, and what is most likely
// all there is.
func (r *backtest) gaps(until time.Time) (gaps []BacktestGap, notes []string) {
	for _, topic := range r.playback.Missing {
		gaps = append(gaps, BacktestGap{Topic: topic, Why: "the topic does not exist"})
	}
	var quiet []string
	for _, p := range r.playback.Partitions() {
		first := time.UnixMilli(p.First).UTC()
		gap := func(begins *time.Time, why string) {
			gaps = append(gaps, BacktestGap{Topic: p.Topic, Partition: &p.Partition, Begins: begins, Why: why})
		}
		switch name := fmt.Sprintf("%s/%d", p.Topic, p.Partition); {
		case !p.Looked:
		case p.First == 0 && p.Open:
			gap(nil, "all that is left is behind an open transaction, which is not waited for")
		case !p.Deleted:
		case p.First == 0 && p.Kept:
			quiet = append(quiet, name+" is empty")
		case p.First == 0:
			gap(nil, "all records were deleted; some may be of this time")
		case !first.After(r.readFrom):
		case p.Kept:
			quiet = append(quiet, name+" begins at "+stamp(first))
		default:
			why := "records before may have been deleted"
			if !first.After(r.Since) {
				why += "; rules look back further than that"
			}
			gap(&first, why)
		}
		if c := p.Cut; c.Offsets > 0 && c.After < until.UnixMilli() {
			after, before := "the beginning", "the end"
			if c.After > 0 {
				after = stamp(time.UnixMilli(c.After))
			}
			if c.Before > 0 {
				before = stamp(time.UnixMilli(c.Before))
			}
			gap(nil, fmt.Sprintf("%d records between %s and %s were deleted before they were read: begin later, or let the topic keep them for longer", c.Offsets, after, before))
		}
	}
	if len(quiet) > 0 {
		notes = append(notes, "topics keep records of this time, so there were no older ones here, unless somebody deleted them: "+strings.Join(quiet, ", "))
	}
	return gaps, notes
}

// totals returns which rules ask for totals, which are smaller here than in the program.
func (r *backtest) totals() (notes []string) {
	for _, a := range r.judge.set.Alerts() {
		if len(a.Totals) > 0 {
			notes = append(notes, fmt.Sprintf("%s asks for totals (%s), which begin with 0 here, at %s: a rate or increase would tell the same whenever it begins",
				a.Name, strings.Join(a.Totals, ", "), stamp(r.readFrom)))
		}
	}
	return notes
}

package deadletters

import (
	"fmt"
	"time"

	"ragstreams/codecs"
	"ragstreams/event"
	"ragstreams/window"
)

// Verdict says what is to be done with a letter. It is part of answers: the set is closed.
type Verdict string

// Verdicts. Those but Send and Failed keep a record from being sent.
const (
	Send        Verdict = "send"
	StillPoison Verdict = "still_poison" // it would surely come here again
	StillLate   Verdict = "still_late"   // likewise
	OriginGone  Verdict = "original_gone"
	Nowhere     Verdict = "nowhere"     // its source topic or partition is none any more
	NotOurs     Verdict = "not_ours"    // no letter at all
	SendFailed  Verdict = "send_failed" // Kafka did not take it, or not for certain
)

// Failed reports whether a verdict says that what was asked for could not be done. A
// record that would come back is skipped, and no failure.
func (v Verdict) Failed() bool { return v != Send && v != StillPoison && v != StillLate }

// Judge tells what would become of a record that is sent to its source topic now. It
// says that a record is still poison or still late only when that is sure: time goes on.
// It is not safe for concurrent use.
type Judge struct {
	Partitions map[string]int32 // of the source topics; 0: it does not exist
	MaxBytes   int              // of a source record
	MaxFuture  time.Duration
	Panes      window.Panes
	Now        func() time.Time
	// StreamTime returns how far a source partition has come, window.None when nobody
	// knows.
	StreamTime func(topic string, partition int32) int64
	// Closed returns the start of the newest pane that is closed for events of a routing
	// key, window.None when nobody knows; a nil key may go anywhere.
	Closed func(route []byte) int64

	json  codecs.JSON
	event event.Event
}

// Judge returns what would become of a record, why, and whether it has an id, without
// which it is counted each time it comes.
func (j *Judge) Judge(r *Record) (v Verdict, why string, hasID bool) {
	n, known := j.Partitions[r.Topic]
	switch {
	case !known:
		return Nowhere, fmt.Sprintf("%s is none of the source topics: add it to sources", r.Topic), false
	case r.Partition < 0 || r.Partition >= n:
		return Nowhere, fmt.Sprintf("%s has %d partitions now, and none that is number %d", r.Topic, n, r.Partition), false
	}
	j.json.MaxBytes = j.MaxBytes
	e := &j.event
	if poison := j.json.Decode(r.Value, e); poison != nil {
		return StillPoison, fmt.Sprintf("%s: %s", poison.Reason, poison.Detail), false
	}
	hasID = len(e.ID) > 0
	at := timeOf(e, r)
	if ahead := time.Duration(at-j.Now().UnixMilli()) * time.Millisecond; ahead > j.MaxFuture {
		return StillPoison, fmt.Sprintf("%s: event time %s is %s ahead of the clock; up to %s is accepted", codecs.ReasonFuture, stamp(at), ahead, j.MaxFuture), hasID
	}
	if stream := j.StreamTime(r.Topic, r.Partition); !j.Panes.Accepts(at, stream) {
		return StillLate, fmt.Sprintf("its partition has reached %s, so event time %s is late by %s", stamp(stream), stamp(at),
			time.Duration(j.Panes.Lateness(at, stream))*time.Millisecond), hasID
	}
	if closed := j.Closed(e.RoutingKey()); closed != window.None && j.Panes.Start(at) <= closed {
		return StillLate, fmt.Sprintf("the window of event time %s is closed, as all are that begin up to %s", stamp(at), stamp(closed)), hasID
	}
	return Send, "", hasID
}

// stamp writes a time as all answers do.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

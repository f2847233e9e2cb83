// Package codecs turns the bytes of source records into events, one file per
// wire format.
//
// A record that cannot be an event is data, not an error: Decode answers with
// a Poison that says why, and processing goes on. The package masks nothing,
// judges no lateness and keeps no counts; its callers do.
//
//	d := codecs.JSON{}
//	var e event.Event
//	if poison := d.Decode(record, &e); poison != nil {
//		// to the dead letters, with poison.Reason and poison.Detail
//	}
package codecs

// Reason says why a record is poison. It is a metric label: the set is closed.
type Reason string

// Reasons a record is poison.
const (
	ReasonEmpty        Reason = "empty"         // no value, or nothing but white space
	ReasonSyntax       Reason = "syntax"        // not the wire format at all
	ReasonWrongType    Reason = "wrong_type"    // a field holds what it may not
	ReasonMissingField Reason = "missing_field" // a required field is absent or empty
	ReasonTooLarge     Reason = "too_large"     // more bytes than the codec takes
	ReasonFuture       Reason = "future"        // too far ahead of the clock; judged by ingest
)

// Reasons are all of them.
var Reasons = []Reason{ReasonEmpty, ReasonSyntax, ReasonWrongType, ReasonMissingField, ReasonTooLarge, ReasonFuture}

// Poison says why a record will never be an event.
type Poison struct {
	Reason Reason
	Detail string // for people: the field, its value cut to 64 bytes, what is accepted
}

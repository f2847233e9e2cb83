// Package event holds what the system knows of one source record.
//
// It is the value that every wire format decodes into and that everything
// after the codecs works with. It knows no wire format, no topic and no clock,
// and imports nothing of the module.
package event

// Event is one record of a source topic.
//
// Its byte slices point into the record, or into memory of the decoder that
// filled it, and are valid until that decoder's next Decode; whoever keeps
// them longer copies them. An absent field is an empty slice. The zero Event
// knows nothing.
type Event struct {
	ID        []byte // event id as the producer gave it
	Type      []byte // event type, such as llm_call_completed; never empty in a decoded event
	TraceID   []byte
	SessionID []byte
	UserID    []byte
	Tenant    []byte
	App       []byte
	Stage     []byte // as in the record, else StageOf(Type)
	Model     []byte

	// Error reports whether the event counts as an error: its status is not
	// ok, or it carries an error, or its type is ErrorEvent.
	Error        bool
	ErrorType    []byte
	ErrorMessage []byte
	ErrorStack   []byte

	Time    int64 // event time, Unix milliseconds; meaningful when HasTime
	HasTime bool

	Duration    int64 // nanoseconds, never negative; meaningful when HasDuration
	TTFT        int64 // time to first token, nanoseconds; meaningful when HasTTFT
	HasDuration bool
	HasTTFT     bool

	InputTokens  int64 // never negative; 0 when unknown
	OutputTokens int64 // never negative; 0 when unknown
}

// ErrorEvent is the event type that is an error whatever its status says.
const ErrorEvent = "error_event"

// Reset makes e the zero Event.
func (e *Event) Reset() { *e = Event{} }

// RoutingKey returns what decides where an event is assembled, so that all
// copies of it and all steps of its trace meet: the trace id, else the session
// id, else the event id, else nil.
func (e *Event) RoutingKey() []byte {
	switch {
	case len(e.TraceID) > 0:
		return e.TraceID
	case len(e.SessionID) > 0:
		return e.SessionID
	case len(e.ID) > 0:
		return e.ID
	default:
		return nil
	}
}

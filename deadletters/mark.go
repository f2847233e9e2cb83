package deadletters

import (
	"errors"
	"strconv"
	"time"

	"ragstreams/event"
)

// Mark is what a record carries that was sent by a replay, in headers behind its own. It
// carries that of its newest replay only, so it does not grow.
type Mark struct {
	Replay string    // id of the replay
	By     string    // who asked for it
	At     time.Time // when it began
	Of     Place     // the dead letter
	Reason string    // why it was one
	Before int       // how often the record had been replayed before
	Mended bool      // the value is not the producer's
}

// markNames are the headers of a mark, in their order.
var markNames = []string{"replay_id", "replay_by", "replay_at", "replay_of", "replay_reason", "replays_before", "replay_mended"}

// Bounds of a mark, in bytes. One header of more is none of ours.
const (
	maxMarkHeader = 300
	maxName       = 128 // of who asks for a replay, and of its id
)

// Headers writes the mark.
func (m *Mark) Headers() []Header {
	values := []string{
		m.Replay, m.By, m.At.UTC().Format(time.RFC3339Nano), m.Of.String(), m.Reason,
		strconv.Itoa(m.Before), strconv.FormatBool(m.Mended),
	}
	headers := make([]Header, len(values))
	for i, v := range values {
		headers[i] = Header{Key: markNames[i], Value: []byte(v)}
	}
	return headers
}

// CutMark parts the headers of a record of a source topic: its producer's, and the mark
// of the replay that sent it, nil when none did.
func CutMark(headers []Header) (theirs []Header, mark *Mark) {
	at := len(headers) - len(markNames)
	if at < 0 || headers[at].Key != markNames[0] { // most records have none
		return headers, nil
	}
	values := make([]string, len(markNames))
	for i, h := range headers[at:] {
		if h.Key != markNames[i] || len(h.Value) > maxMarkHeader {
			return headers, nil
		}
		values[i] = string(h.Value)
	}
	m := &Mark{Replay: values[0], By: values[1], Reason: values[4]}
	var errs [4]error
	m.At, errs[0] = time.Parse(time.RFC3339Nano, values[2])
	m.Of, errs[1] = event.ParsePlace(values[3])
	m.Before, errs[2] = strconv.Atoi(values[5])
	m.Mended, errs[3] = strconv.ParseBool(values[6])
	if errors.Join(errs[:]...) != nil || m.Before < 0 {
		return headers, nil
	}
	return headers[:at:at], m
}

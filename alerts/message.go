package alerts

import (
	"fmt"
	"strings"
	"time"
)

// Message is what people are sent about a transition: a record of the outbox, and the
// body of what is published. message.schema.json describes it.
type Message struct {
	Version     int               `json:"version"`
	ID          string            `json:"id"`    // see Transition.ID
	Key         string            `json:"alert"` // of the alert
	Rule        string            `json:"rule"`
	Group       string            `json:"group"`
	State       string            `json:"state"` // MessageFiring or MessageResolved
	Reason      Reason            `json:"reason"`
	Repeat      int               `json:"repeat"`   // see Transition.Repeat
	Severity    string            `json:"severity"` // the label; "" without one
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Value       Number            `json:"value"`
	Expr        string            `json:"expr"`
	Window      Seconds           `json:"window_seconds"`
	Samples     *int64            `json:"sample_count"`
	Started     time.Time         `json:"started_at"` // when the breach began
	Fired       time.Time         `json:"fired_at"`   // when it had held for long enough
	Ended       *time.Time        `json:"ended_at"`   // when it was resolved
	Decided     time.Time         `json:"decided_at"` // time of the evaluation that led to this
	Previous    State             `json:"previous_state"`
	Lasted      Seconds           `json:"previous_state_seconds"` // how long the alert had been in it
	ErrorGroups []ErrorGroup      `json:"error_groups"`
	Watermark   *time.Time        `json:"watermark"`
	Lag         Seconds           `json:"lag_seconds"`
}

// States of a Message.
const (
	MessageFiring   = "firing"
	MessageResolved = "resolved"
)

// NewMessage returns the message about a transition of the alert with a key.
func NewMessage(key string, t Transition, a About) Message {
	m := Message{
		Version: format, ID: t.ID(key), Key: key, Rule: a.Name, Group: a.Group,
		State: MessageResolved, Reason: t.Reason, Repeat: t.Repeat, Severity: a.Labels["severity"],
		Labels: a.Labels, Annotations: a.Annotations, Value: Number(t.Value), Expr: a.Expr, Window: a.Window,
		Samples: a.Samples, Started: instant(t.Started), Fired: instant(t.Fired), Decided: instant(t.At),
		Previous: Firing, Lasted: between(t.Fired, t.At), ErrorGroups: a.ErrorGroups, Watermark: a.Watermark, Lag: a.Lag,
	}
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	if m.ErrorGroups == nil {
		m.ErrorGroups = []ErrorGroup{}
	}
	switch {
	case !t.Fires:
		m.Ended = &m.Decided
	case t.Repeat > 0, t.Reason == ReasonUnsuppressed: // it fired before
		m.State = MessageFiring
	case t.Fired > t.Started:
		m.State, m.Previous, m.Lasted = MessageFiring, Pending, between(t.Started, t.Fired)
	default:
		m.State, m.Previous, m.Lasted = MessageFiring, Inactive, 0
	}
	return m
}

func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func between(from, to int64) Seconds { return Seconds(time.Duration(to-from) * time.Millisecond) }

// Append adds the message's bytes to dst.
func (m *Message) Append(dst []byte) []byte { return mustAppend(dst, m) }

// Decode replaces the message by the one in src.
func (m *Message) Decode(src []byte) error {
	*m = Message{}
	if err := decode(src, m, &m.Version); err != nil {
		return fmt.Errorf("alert message: %w", err)
	}
	return nil
}

// maxWord is the longest word of a routing key: five of them and the dots between stay
// below the 255 bytes of AMQP.
const maxWord = 48

// RoutingKey returns <severity>.<tenant>.<app>.<stage>.<state>. In each word what is no
// letter, digit, - or _ becomes -, and an absent label is _.
func (m *Message) RoutingKey() string {
	return strings.Join([]string{
		word(m.Severity), word(m.Labels["tenant"]), word(m.Labels["app"]), word(m.Labels["stage"]), word(m.State),
	}, ".")
}

func word(label string) string {
	if label == "" {
		return "_"
	}
	b := make([]byte, 0, maxWord)
	for _, c := range label {
		if len(b) == maxWord {
			break
		}
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b = append(b, byte(c))
		default:
			b = append(b, '-')
		}
	}
	return string(b)
}

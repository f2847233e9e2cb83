package tables

import "fmt"

// Behaviour is what people did: the events of one type, of one tenant and app, and by
// how many people in how many sessions.
type Behaviour struct {
	Count    int64
	Users    Sketch // hashes of the users
	Sessions Sketch // hashes of the sessions
}

// Observe counts an event. User and session are hashes, 0 where the event has none.
func (b *Behaviour) Observe(user, session uint64) {
	b.Count++
	if user != 0 {
		b.Users.Add(user)
	}
	if session != 0 {
		b.Sessions.Add(session)
	}
}

// Merge implements Measure.
func (b *Behaviour) Merge(from *Behaviour) {
	b.Count += from.Count
	b.Users.Merge(&from.Users)
	b.Sessions.Merge(&from.Sessions)
}

// Append implements Measure.
func (b *Behaviour) Append(dst []byte) []byte {
	return b.Sessions.Append(b.Users.Append(appendCount(dst, b.Count)))
}

// Decode implements Measure.
func (b *Behaviour) Decode(src []byte) ([]byte, error) {
	d := decoder{src: src}
	b.Count = d.count()
	d.measure(&b.Users)
	d.measure(&b.Sessions)
	return d.src, d.err
}

// DecodeCount reads the count of a body, and leaves out all behind it.
func (b *Behaviour) DecodeCount(body []byte) error {
	d := decoder{src: body}
	if b.Count = d.count(); d.err != nil {
		return fmt.Errorf("decode count of behaviour: %w", d.err)
	}
	return nil
}

// Clone implements Measure.
func (b *Behaviour) Clone() Behaviour {
	return Behaviour{b.Count, b.Users.Clone(), b.Sessions.Clone()}
}

// IsZero implements Measure.
func (b *Behaviour) IsZero() bool {
	return b.Count == 0 && b.Users.IsZero() && b.Sessions.IsZero()
}

// BehaviourTable shows what people do, and how many they are.
var BehaviourTable = Table[Behaviour]{
	Definition: Definition{
		Name: "behaviour",
		Dims: []string{"tenant", "app", "event_type"},
		Columns: []Column{
			{"tenant", TypeString, ""},
			{"app", TypeString, ""},
			{"event_type", TypeString, ""},
			{"count", TypeInteger, ""},
			{"users", TypeInteger, ""},
			{"sessions", TypeInteger, ""},
		},
	},
	values: func(row []any, m, _ *Behaviour, _ Span) []any {
		return append(row, m.Count, m.Users.Count(), m.Sessions.Count())
	},
}

package processors_test

import (
	"fmt"
	"strings"
	"testing"

	"ragstreams/codecs"
	"ragstreams/processors"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

// A person is a user of a tenant, and so is a session: the same name in another tenant is
// somebody else, who must count where tenants are summed up.
func TestPeopleAreOfATenant(t *testing.T) {
	long := strings.Repeat("x", 300) // equal up to where labels are cut
	events := []struct{ who, members string }{
		{"acme", `"tenant":"acme","user_id":"1","session_id":"s"`},
		{"acme", `"tenant":"acme","user_id":"1","session_id":"s","event_type":"answer_liked","app":"other"`},
		{"globex", `"tenant":"globex","user_id":"1","session_id":"s"`},
		{"no tenant", `"user_id":"1","session_id":"s"`},
		{"no tenant", `"tenant":"","user_id":"1","session_id":"s"`},
		{"a long one", `"tenant":"` + long + `1","user_id":"1","session_id":"s"`},
		{"another long one", `"tenant":"` + long + `2","user_id":"1","session_id":"s"`},
		{"nobody", `"tenant":"acme"`},
	}
	d := newDriver(t, 1, func(c *processors.IngestConfig) { c.Behaviour = true })
	for i, e := range events {
		d.event(0, "12:00:01", fmt.Sprint(i), e.members)
	}
	flush(d, d.ingest[0].task, false)
	users, sessions := map[uint64]string{}, map[uint64]string{}
	note := func(seen map[uint64]string, hash uint64, who string) {
		if before, known := seen[hash]; known && before != who {
			t.Errorf("%s and %s are one", before, who)
		}
		seen[hash] = who
	}
	d.packed(func(e *codecs.PackedEvent) {
		note(users, e.User, events[e.Offset].who)
		note(sessions, e.Session, events[e.Offset].who)
	})
	// Sketches of before tenants mattered hold this one.
	if who := users[xxh3.HashString("1")]; who != "no tenant" {
		t.Errorf("the plain hash of a user is %q, want that without a tenant", who)
	}
	if users[0] != "nobody" || sessions[0] != "nobody" {
		t.Errorf("without a name are user %q and session %q", users[0], sessions[0])
	}
	if len(users) != 6 || len(sessions) != 6 {
		t.Errorf("%d users and %d sessions, want 6: %v, %v", len(users), len(sessions), users, sessions)
	}
}

// Whose an event is nobody has to know where it is neither an error nor behaviour; of an
// error, no more than its session.
func TestPeopleWhereTheyAreAskedFor(t *testing.T) {
	type known struct{ User, Session bool }
	for _, behaviour := range []bool{false, true} {
		d := newDriver(t, 1, func(c *processors.IngestConfig) { c.Behaviour = behaviour })
		for _, more := range []string{`"status":"ok"`, `"status":"error"`} {
			d.event(0, "12:00:01", more, `"tenant":"acme","user_id":"1","session_id":"s"`, more)
		}
		flush(d, d.ingest[0].task, false)
		var got []known
		d.packed(func(e *codecs.PackedEvent) { got = append(got, known{e.User != 0, e.Session != 0}) })
		want := []known{{false, false}, {false, true}}
		if behaviour {
			want = []known{{true, true}, {true, true}}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("behaviour: %v (-want +got):\n%s", behaviour, diff)
		}
	}
}

// packed visits what lies on the events topic.
func (d *driver) packed(visit func(*codecs.PackedEvent)) {
	d.t.Helper()
	for _, r := range d.logs[d.names.Events()] {
		var p codecs.Packed
		if err := p.Open(r.value); err != nil {
			d.t.Fatal(err)
		}
		var e codecs.PackedEvent
		for p.Next(&e) {
			visit(&e)
		}
		if p.Err() != nil {
			d.t.Fatal(p.Err())
		}
	}
}

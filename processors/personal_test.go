package processors_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// What ingest sends holds nothing personal, except on side topics, whose records
// are the originals: see docs/decisions/0006-personal-data.md. The words in
// secrets stand in every field of free text, in every way in which the templates
// of error messages promise to know them.
func TestNothingPersonalLeavesIngest(t *testing.T) {
	secrets := []string{
		"user-4711-alice", "session-secret-1", "event-secret-1", "rash on my arm", "take this ointment",
		"alice.smith@example.org", "bob", "123-45-6789", "4111111111111111", "192.0.2.17", "2001:db8::8a2e", "Dr. Miller", "Elisabeth",
		"/home/carol/diagnosis", "cv-of-dave.pdf", "erin-token", "0xfeedface1234", "6f1c3a52-9d0e-4b7f-8a21-5c3e9f7d1b04", "frank's flat",
	}
	message := `no answer for alice.smith@example.org (mail <bob@example.com>), number 123-45-6789, card 4111111111111111 ` +
		`from 192.0.2.17 and 2001:db8::8a2e: "my doctor Dr. Miller" or 'Elisabeth' in /home/carol/diagnosis and cv-of-dave.pdf ` +
		`at https://erin-token@example.com/0xfeedface1234, id 6f1c3a52-9d0e-4b7f-8a21-5c3e9f7d1b04, “frank's flat”`
	members := func(failed bool) []string {
		m := []string{
			`"user_id":"user-4711-alice"`, `"session_id":"session-secret-1"`, `"latency_ms":5`, `"ttft_ms":1`,
			`"query":"what is this rash on my arm"`, `"prompt":"rash on my arm"`, `"completion":"take this ointment"`,
			`"answer":["take this ointment"]`, `"messages":[{"role":"user","content":"rash on my arm"}]`,
			`"documents":{"take this ointment":{"rash on my arm":1}}`, `"tenant":"acme"`, `"trace_id":"trace-1"`,
		}
		if failed {
			stack := "Traceback (most recent call last):\n  File \"/home/carol/diagnosis/run.py\", line 7, in ask\n    ask('Elisabeth', \"rash on my arm\")\nValueError: take this ointment"
			m = append(m, fmt.Sprintf(`"error":{"type":"NoAnswer","message":%q,"stack":%q}`, message, stack), `"status":"rash on my arm"`)
		}
		return m
	}
	d := newDriver(t, 1)
	d.event(0, "12:01:20", "event-secret-1", members(false)...)
	d.event(0, "12:01:20", "event-secret-1", members(true)...)
	d.event(0, "12:01:20", "event-secret-1x", members(true)...)
	d.event(0, "12:01:20", "", append(members(true), `"trace_id":null`)...)                  // its route is the session
	d.event(0, "12:01:20", "event-secret-1", `"error":"'Elisabeth' has a rash"`)             // its route is the event
	d.event(0, "12:00:00", "event-secret-1", members(true)...)                               // late
	d.event(0, "12:01:20", "event-secret-1", append(members(true), `"latency_ms":"bob"`)...) // poison
	flush(d, d.ingest[0].task, false)
	for _, topic := range []string{d.names.Events(), d.names.Progress(), d.names.Partials("records"), d.names.DLQ(), d.names.Late()} {
		if len(d.logs[topic]) == 0 {
			t.Errorf("nothing was sent to %s", topic)
		}
	}
	look := func() {
		for topic, log := range d.logs {
			side := topic == d.names.DLQ() || topic == d.names.Late()
			for _, r := range log {
				for _, secret := range secrets {
					switch found := r.holds(secret); {
					case side && !found:
						t.Errorf("%s does not hold %q: it is not the original", topic, secret)
					case !side && found:
						t.Errorf("%s holds %q: %q", topic, secret, r.value)
					}
				}
			}
		}
	}
	look()
	d.flow(false) // nor do the stages behind it
	look()
	d.wantOutcomes("counted 4, duplicate 1, in 7, late/stream_time 1, poison/wrong_type 1")
	// What is meant to be there is, so the bytes can be searched.
	for _, kept := range []string{"acme", "trace-1", "NoAnswer", "no answer for <email>", "id <uuid>, <quoted>"} {
		if !d.logs[d.names.Events()][0].holds(kept) {
			t.Errorf("the events topic does not hold %q", kept)
		}
	}
}

// holds reports whether text stands anywhere in a record.
func (s sent) holds(text string) bool {
	for _, h := range s.headers {
		if strings.Contains(h.Key, text) || bytes.Contains(h.Value, []byte(text)) {
			return true
		}
	}
	return bytes.Contains(s.key, []byte(text)) || bytes.Contains(s.value, []byte(text))
}

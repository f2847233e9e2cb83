package traces

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ragstreams/codecs"
	"ragstreams/event"
)

// A record that decodes to the id is never passed over, however the id is written.
func TestNeedleFindsWhatDecodes(t *testing.T) {
	ids := []string{
		"4bf92f3577b34da6a3ce929d0e0e4736", "a", "12345", "-1.5e3", "req/7", `say "hi"`, `back\slash`, "Zürich", "问题", "🚀", "\U0001F680x",
		"a b", "x\ufffdy", "\ufffd", strings.Repeat("0f", 32), strings.Repeat("é", 32), "<&>", "\u2028",
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var d codecs.JSON
	var e event.Event
	found := 0
	for _, id := range ids {
		needle := newNeedle(id)
		written := []string{quoted(id, func() bool { return false })}
		for range 200 {
			written = append(written, quoted(id, func() bool { return rng.IntN(3) == 0 }))
		}
		standard, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, string(standard), quoted(id, func() bool { return true }), id, `"`+strings.ReplaceAll(id, "\ufffd", "\xff")+`"`, `"`+strings.ReplaceAll(id, "\ufffd", `\ud800`)+`"`)
		for _, w := range written {
			record := []byte(`{"note":"\\","tr\u0061ce_id":` + w + `,"event_type":"a"}`)
			if d.Decode(record, &e) != nil || string(e.TraceID) != id {
				continue
			}
			found++
			batch := slicesOf(`{"event_type":"b"}`, "\x5c", string(record), "\x00\x5c{}")
			if !needle.In(record) || !needle.In(batch) {
				t.Errorf("%q is passed over in %s", id, record)
			}
		}
	}
	if found < 150*len(ids) {
		t.Errorf("only %d records had the id: too few", found)
	}
}

// quoted writes a string as JSON, and as an escape what a function chooses.
func quoted(s string, escape func() bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case escape() && r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&b, `\u%04x\u%04X`, high, low)
		case escape():
			fmt.Fprintf(&b, `\u%04X`, r)
		case r == '"' || r == '\\' || r == '/' && escape():
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// slicesOf puts parts one behind the other, as they lie in a batch.
func slicesOf(parts ...string) []byte { return []byte(strings.Join(parts, "")) }

// What is of another trace is mostly passed over, or everything would be decoded.
func TestNeedlePassesOthersOver(t *testing.T) {
	needle := newNeedle("4bf92f3577b34da6a3ce929d0e0e4736")
	for _, record := range []string{
		`{"event_type":"a","trace_id":"4bf92f3577b34da6a3ce929d0e0e4737"}`,
		`{"event_type":"a","query":"\u5982\u4f55\n \"quoted\" C:\\data\/x \u003cb\u003e"}`,
		`{"event_type":"a","query":"\`, `{"event_type":"a","query":"\u00`, "",
	} {
		if needle.In([]byte(record)) {
			t.Errorf("%s may be of the trace", record)
		}
	}
}

func BenchmarkNeedle(b *testing.B) {
	record := []byte(`{"event_id":"6f1c3a52-9d0e-4b7f-8a21-5c3e9f7d1b04","trace_id":"9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9b",` +
		`"session_id":"s-5f7a9b1c3d5e","tenant":"acme","app":"kotaemon","event_type":"llm_call_completed","stage":"generate","model":"gpt-4o-mini",` +
		`"status":"ok","latency_ms":1234.5,"tokens":{"input":812,"output":164},"timestamp":"2025-04-05T10:00:00.123Z","query":"what does \"grace\" mean?\n如何"}`)
	for _, id := range []string{"9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9c", strings.Repeat("9b", 32), "req-17"} {
		b.Run(fmt.Sprint(len(id)), func(b *testing.B) {
			batch, needle := bytes.Repeat(record, 2500), newNeedle(id)
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if needle.In(batch) {
					b.Fatal("found")
				}
			}
		})
	}
}

package codecs_test

import (
	"testing"

	"ragstreams/codecs"
	"ragstreams/event"
)

// typical is the record most source topics are full of, 430 bytes.
const typical = `{"event_id":"6f1c3a52-9d0e-4b7f-8a21-5c3e9f7d1b04","trace_id":"9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9b",` +
	`"session_id":"s-5f7a9b1c3d5e","tenant":"acme","app":"kotaemon","event_type":"llm_call_completed",` +
	`"stage":"generate","model":"gpt-4o-mini","status":"ok","latency_ms":1234.5,"ttft_ms":310,` +
	`"tokens":{"input":812,"output":164},"timestamp":"2025-04-05T10:00:00.123Z",` +
	`"query":"how do I rotate the signing keys without any downtime in prod"}`

const failed = `{"event_id":"6f1c3a52-9d0e-4b7f-8a21-5c3e9f7d1b04","trace_id":"9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9b",` +
	`"session_id":"s-5f7a9b1c3d5e","tenant":"acme","event_type":"tool_call_completed","stage":"tool",` +
	`"model":"gpt-4o-mini","status":"error","error":{"type":"TimeoutError",` +
	`"message":"upstream \"search\" timed out\nafter 30s id=12345"},"latency_ms":30000.0,` +
	`"timestamp":"2025-04-05T10:00:00.123Z","query":"如何重置密码? how do I reset it"}`

func BenchmarkDecode(b *testing.B) {
	for name, record := range map[string]string{"typical": typical, "failed": failed} {
		b.Run(name, func(b *testing.B) {
			var d codecs.JSON
			var e event.Event
			value := []byte(record)
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				if p := d.Decode(value, &e); p != nil {
					b.Fatal(p)
				}
			}
		})
	}
}

package generate

import (
	"bytes"
	"strings"
	"time"
)

// poison returns a record that is no valid event. Each is made from a good
// user_query by a single change.
func (g *Generator) poison(future time.Duration) Record {
	g.describe(g.newTrace())
	e := &g.event
	e.topic = g.rng.IntN(len(g.stream))
	e.keyed = !g.chance(g.cfg.Unkeyed)
	g.value = e.appendJSON(g.value[:0], &g.names)
	value, reason := g.value, ""
	kinds := 8
	if g.cfg.LargeBytes > 0 {
		kinds = 9
	}
	switch g.rng.IntN(kinds) {
	case 0:
		value, reason = nil, Empty
	case 1:
		value, reason = value[:0], Empty
	case 2:
		value, reason = value[:len(value)/2], Syntax
	case 3:
		value, reason = []byte("Traceback (most recent call last):"), Syntax
	case 4:
		value, reason = replace(value, `"event_type":"user_query"`, `"event_type":7`), WrongType
	case 5:
		value, reason = replace(value, `"status":"ok"`, `"status":"ok","latency_ms":"fast"`), WrongType
	case 6:
		value, reason = replace(value, `"event_type":"user_query",`, ``), MissingField
	case 7:
		e.at = g.now + future.Milliseconds()
		value, reason = e.appendJSON(value[:0], &g.names), Future
	case 8:
		filler := strings.Repeat("x", g.cfg.LargeBytes-len(value))
		value, reason = replace(value, `"query":"`, `"query":"`+filler), TooLarge
	}
	return g.record(e.topic, g.rng.IntN(len(g.stream[e.topic])), e.key(), value, Poison, reason)
}

func replace(value []byte, old, new string) []byte {
	return bytes.Replace(value, []byte(old), []byte(new), 1)
}

package generate

import (
	"fmt"
	"strconv"
	"time"
)

// event is what one record says.
type event struct {
	session       session
	step          *step
	bare          bool // from a producer that tells only type, session, query and time
	keyed         bool
	id            uint64
	trace         []byte
	topic         int
	partition     int // if keyed
	model         int
	latency, ttft int64 // tenths of a ms, or noMeasure
	input, output int   // tokens; no input: the event tells of none
	kind          *kind // of the error; nil: none
	message       []byte
	query, host   string
	at            int64 // event time, Unix ms
}

// names are the values of the dimensions, by number.
type names struct {
	tenants, models, apps, hosts []string
}

func newNames(cfg Config) names {
	n := names{
		models: []string{"gpt-4o-mini", "gpt-4o", "claude-sonnet-4", "qwen2.5-72b", "llama-3.1-70b"},
		apps:   []string{"kotaemon", "docs-assistant"},
	}
	for i := range cfg.Tenants {
		n.tenants = append(n.tenants, fmt.Sprintf("tenant-%02d", i+1))
	}
	for i := len(n.models); i < cfg.Models; i++ {
		n.models = append(n.models, fmt.Sprintf("model-%02d", i+1))
	}
	for i := len(n.apps); i < cfg.Apps; i++ {
		n.apps = append(n.apps, fmt.Sprintf("app-%02d", i+1))
	}
	for i := range 8 {
		n.hosts = append(n.hosts, fmt.Sprintf("rag-worker-%d", i))
	}
	return n
}

// queries are what users ask, as they stand inside a JSON string.
var queries = []string{
	`如何重置密码?`,
	`发票在哪里下载?`,
	`How do I reset my password?`,
	`what does \"grace period\" mean in the contract`,
	`Où trouver le manuel de l'appareil ?`,
	`Compare the 2024 and 2025 reports:\n- revenue\n- headcount`,
	`path C:\\data\\reports is empty, why?`,
	`🚀 launch plan`,
}

// describe fills g.event with the next step of t.
func (g *Generator) describe(t *trace) {
	message := g.event.message[:0]
	g.event = event{
		session: t.session, step: &steps[t.next], keyed: true, id: g.id(), trace: t.key,
		partition: t.partition[0], model: t.model, latency: t.latency, ttft: noMeasure,
		host: g.pick(g.names.hosts), at: g.now - t.lag,
	}
	e := &g.event
	if t.failed {
		kinds := g.kinds[e.step.event]
		e.kind = &kinds[g.rng.IntN(len(kinds))]
		message = e.kind.append(message, g.rng)
	}
	e.message = message
	switch {
	case t.next == userQuery:
		e.query = g.pick(queries)
		if t.session.app == 0 && len(g.cfg.Topics) > 1 {
			e.topic, e.partition = 1, t.partition[1]
		}
	case t.next >= reaction:
		e.topic, e.partition = 2, t.partition[2]
	case t.next == llmCall:
		e.input = 200 + g.rng.IntN(8000)
		if !t.failed {
			e.output = 10 + g.rng.IntN(1500)
			e.ttft = max(1, e.latency*(10+g.rng.Int64N(40))/100)
		}
	}
}

// bare fills g.event with what a chat frontend reports that knows of no traces.
func (g *Generator) bare() {
	what := &steps[userQuery]
	if g.chance(0.3) {
		what = &steps[answer]
	}
	g.event = event{
		session: session{id: g.rng.Uint64N(1000)}, step: what, bare: true, topic: 1,
		latency: noMeasure, ttft: noMeasure, query: g.pick(queries),
		at: g.now - g.jitter(), message: g.event.message,
	}
}

func (g *Generator) pick(from []string) string { return from[g.rng.IntN(len(from))] }

// key returns the key of the record: the trace id, or nil.
func (e *event) key() []byte {
	if !e.keyed {
		return nil
	}
	return e.trace
}

// appendJSON appends the event as it stands in the record.
func (e *event) appendJSON(b []byte, n *names) []byte {
	if e.bare {
		b = text(b, `{"event_type":"`, e.step.event)
		b = e.appendSession(append(b, `,"session_id":"`...))
		b = text(b, `","query":"`, e.query)
		return e.appendEnd(b)
	}
	b = appendHex(append(b, `{"event_id":"`...), e.id)
	b = text(b, `","event_type":"`, e.step.event)
	b = text(b, `,"trace_id":"`, e.trace)
	b = e.appendSession(append(b, `,"session_id":"`...))
	b = e.appendUser(append(b, `","user_id":"`...))
	b = text(b, `","tenant":"`, n.tenants[e.session.tenant])
	b = text(b, `,"app":"`, n.apps[e.session.app])
	b = text(b, `,"stage":"`, e.step.stage)
	b = text(b, `,"model":"`, n.models[e.model])
	if e.kind == nil {
		b = append(b, `,"status":"ok"`...)
	} else {
		b = text(b, `,"status":"error","error":{"type":"`, e.kind.errorType)
		b = text(b, `,"message":"`, e.message)
		if e.kind.stack != "" {
			b = text(b, `,"stack":"`, e.kind.stack)
		}
		b = append(b, '}')
	}
	if e.latency != noMeasure {
		b = appendTenths(append(b, `,"latency_ms":`...), e.latency)
	}
	if e.ttft != noMeasure {
		b = appendTenths(append(b, `,"ttft_ms":`...), e.ttft)
	}
	if e.input > 0 {
		b = strconv.AppendInt(append(b, `,"tokens":{"input":`...), int64(e.input), 10)
		b = strconv.AppendInt(append(b, `,"output":`...), int64(e.output), 10)
		b = append(b, '}')
	}
	if e.query != "" {
		b = text(b, `,"query":"`, e.query)
	}
	b = text(b, `,"metadata":{"host":"`, e.host)
	b = append(b, `,"region":"eu-central-1","tags":["rag","prod"]}`...)
	return e.appendEnd(b)
}

func (e *event) appendSession(b []byte) []byte {
	b = append(b, "sess-"...)
	if e.bare {
		return strconv.AppendUint(b, e.session.id, 10)
	}
	return appendHex(b, e.session.id)
}

// appendUser appends who sent an event that is not bare.
func (e *event) appendUser(b []byte) []byte {
	return strconv.AppendInt(append(b, "user-"...), int64(e.session.user), 10)
}

func (e *event) appendEnd(b []byte) []byte {
	b = append(b, `,"timestamp":"`...)
	b = time.UnixMilli(e.at).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, `"}`...)
}

// text appends a string with what stands before it, up to its first quote. The
// string must not need escaping.
func text[T string | []byte](b []byte, before string, s T) []byte {
	b = append(b, before...)
	b = append(b, s...)
	return append(b, '"')
}

// appendTenths appends tenths of a unit as a decimal number.
func appendTenths(b []byte, tenths int64) []byte {
	b = strconv.AppendInt(b, tenths/10, 10)
	return append(b, '.', byte('0'+tenths%10))
}

// appendHex appends 16 hexadecimal digits.
func appendHex(b []byte, x uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[x>>shift&15])
	}
	return b
}

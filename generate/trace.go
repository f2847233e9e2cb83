package generate

import (
	"hash/fnv"
	"math"
)

// step is one kind of event in the life of a trace.
type step struct {
	event, stage string
	median       float64 // of the latency, ms; 0: the event has none
	spread       float64 // of the logarithm of the latency
}

const (
	userQuery = 0
	toolCall  = 4
	llmCall   = 5
	answer    = 6
	reaction  = 7 // and all behind it
)

// steps is the life of a trace. Not every trace calls a tool, and a failed
// retrieval or LLM call is its end. To some answers people react, if there is a topic
// for that.
var steps = [...]step{
	userQuery: {"user_query", "query", 0, 0},
	1:         {"retrieval_started", "retrieval", 0, 0},
	2:         {"retrieval_completed", "retrieval", 80, 0.6},
	3:         {"rerank_completed", "rerank", 40, 0.5},
	toolCall:  {"tool_call_completed", "tool", 300, 0.9},
	llmCall:   {"llm_call_completed", "generate", 1800, 0.7},
	answer:    {"answer_returned", "answer", 0, 0}, // its latency is the sum of all
	reaction:  {"citation_clicked", "ui", 0, 0},
	8:         {"answer_copied", "ui", 0, 0},
	9:         {"answer_liked", "feedback", 0, 0},
	10:        {"answer_disliked", "feedback", 0, 0},
}

const (
	toolShare     = 0.25   // of the traces
	reactShare    = 0.4    // of the answers, and of the reactions
	keepSession   = 0.7    // of the traces belong to a session that had one before
	openSessions  = 500    // sessions that may go on
	thinking      = 5      // ms before a step without latency
	reading       = 3000   // ms before a reaction
	slowShare     = 0.01   // of the latencies are in the long tail
	slowFactor    = 6      // and this much greater
	maxLatency    = 120e4  // tenths of a ms
	noMeasure     = -1     // in place of a latency
	usersOfTenant = 10_000 // and at most so many
)

// session is one user's visit; its traces share tenant and app.
type session struct {
	id                uint64
	tenant, app, user int
}

// trace is a question on its way to an answer.
type trace struct {
	session
	key       []byte // trace id
	partition [3]int // by topic, where its keyed records go
	model     int
	lag       int64 // event time is this much behind send time, ms
	due       int64 // when the next step is taken, Unix ms
	next      int   // index into steps
	latency   int64 // of the next step, tenths of a ms, or noMeasure
	total     int64 // of all steps so far, tenths of a ms
	failed    bool  // the next step fails
}

// schedule is a heap of traces, the one due first on top.
type schedule []*trace

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due < s[j].due }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *schedule) Push(t any) { *s = append(*s, t.(*trace)) }

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return t
}

func (g *Generator) newTrace() *trace {
	t := &trace{session: g.pickSession(), model: g.skewed(g.cfg.Models), due: g.now, latency: noMeasure}
	t.key = appendHex(appendHex(make([]byte, 0, 32), g.id()), g.id())
	hash := fnv.New32a()
	hash.Write(t.key)
	for i, topic := range g.cfg.Topics {
		t.partition[i] = int(hash.Sum32() % uint32(topic.Partitions))
	}
	// The lag is the trace's, not the event's: disorder is between traces, and
	// the steps of one are in order.
	t.lag = g.jitter()
	return t
}

// pickSession returns the session of a new trace, which need not be new itself.
func (g *Generator) pickSession() session {
	if len(g.sessions) > 0 && g.chance(keepSession) {
		return g.sessions[g.rng.IntN(len(g.sessions))]
	}
	s := session{g.id(), g.skewed(g.cfg.Tenants), g.rng.IntN(g.cfg.Apps), g.rng.IntN(usersOfTenant)}
	if len(g.sessions) < openSessions {
		g.sessions = append(g.sessions, s)
	} else {
		g.sessions[g.rng.IntN(openSessions)] = s
	}
	return s
}

// advance plans the step after t.next. It reports false if there is none.
func (g *Generator) advance(t *trace) bool {
	if t.next >= answer {
		return g.react(t)
	}
	if t.failed && t.next != toolCall {
		return false
	}
	t.total += max(t.latency, 0)
	t.next++
	if t.next == toolCall && !g.chance(toolShare) {
		t.next++
	}
	s := &steps[t.next]
	t.failed = len(g.kinds[s.event]) > 0 && g.chance(g.cfg.ErrorRate)
	t.latency = noMeasure
	t.due = g.now + thinking
	switch {
	case t.next == answer:
		t.latency = min(t.total, maxLatency)
	case s.median > 0:
		t.latency = g.latency(s, t.model)
		t.due = g.now + t.latency/10
	}
	return true
}

// react plans what the user does next with the answer. It reports false if that is
// nothing.
func (g *Generator) react(t *trace) bool {
	if len(g.cfg.Topics) < 3 || !g.chance(reactShare) {
		return false
	}
	t.next = reaction + g.rng.IntN(len(steps)-reaction)
	t.latency, t.failed, t.due = noMeasure, false, g.now+reading
	return true
}

// latency draws tenths of a millisecond; some models are slower than others.
func (g *Generator) latency(s *step, model int) int64 {
	ms := s.median * math.Exp(s.spread*g.rng.NormFloat64()) * (0.7 + 0.2*float64(model%5))
	if g.chance(slowShare) {
		ms *= slowFactor
	}
	return max(1, int64(min(ms*10, maxLatency)))
}

// jitter draws how far an event time is behind, ms.
func (g *Generator) jitter() int64 {
	return g.rng.Int64N(g.cfg.Jitter.Milliseconds() + 1)
}

// skewed draws from 0 to n−1, small numbers more often.
func (g *Generator) skewed(n int) int {
	u := g.rng.Float64()
	return int(u * u * float64(n))
}

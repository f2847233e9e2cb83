// Package generate makes RAG traffic whose correct result is known.
//
// A Generator writes the records that a RAG application would send to Kafka,
// and everything that goes wrong on the way: copies, late events, records that
// are no events at all. For each it knows what a correct system must do with
// it, and adds it up in a Truth, in total and per window:
//
//	cfg := generate.Config{Seed: 1, Duplicates: 0.02, Late: 0.01, Step: time.Millisecond}
//	g := generate.New(cfg)
//	for range 100_000 {
//		produce(g.Next())
//	}
//	want := g.Truth().Total().Traffic
//
// The package imports nothing of this module: the few rules it shares with the
// system (pane, lateness, stage of an event) are written again here, so that an
// error in one is seen by the other. It does no I/O and reads no clock.
//
// How lateness is made certain: the generator follows the stream time of every
// partition it writes to, the greatest event time sent there. A late event is
// placed below stream time − grace − pane of its own partition, so it is late
// whatever the other partitions do. Every other event is at most a quarter of
// the grace behind the newest event of any partition, so it is late nowhere.
package generate

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// What a correct system does with a record.
const (
	Counted   = "counted"
	Duplicate = "duplicate" // a copy of a counted record
	Late      = "late"
	Poison    = "poison"
)

// Why a record is poison.
const (
	Empty        = "empty"
	Syntax       = "syntax"
	WrongType    = "wrong_type"
	MissingField = "missing_field"
	TooLarge     = "too_large"
	Future       = "future"
)

// Record is one Kafka record and what has to become of it. It must be sent to
// its Partition, in the order of the records. Key and Value are valid until the
// next call to the generator; nil and empty are different.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte
	Timestamp time.Time // when it was sent; the event time stands in Value
	Outcome   string    // Counted, Duplicate, Late or Poison
	Reason    string    // of Poison; else empty
}

const (
	bareShare   = 0.05                       // of the records, if there is a dialog topic
	maxOlder    = 5 * time.Minute            // a late event is at most this much older than it need be
	lateMargin  = time.Second                // and at least this much
	copyWithin  = 256                        // records between an event and its copy, at most
	liveFuture  = time.Hour                  // how far a future event is ahead, if the clock is known
	blindFuture = 100 * 365 * 24 * time.Hour // and if it is not
)

// Generator produces records. It is not safe for concurrent use.
//
// Several generators with different seeds may write to the same topics if
// their times stay within a quarter of the grace of each other; Merge their
// truths.
type Generator struct {
	cfg      Config
	rng      *rand.Rand
	names    names
	kinds    map[string][]kind // by event type
	truth    *Truth
	stream   [][]int64 // stream time by topic and partition, at least, Unix ms
	live     schedule
	sessions []session
	copies   []pending // oldest first
	ids      uint64    // identifiers given out
	calls    int64     // of Next
	records  int64
	now      int64 // Unix ms, never falls
	event    event // scratch
	value    []byte
}

// pending is a record that will be sent again.
type pending struct {
	topic, partition int
	key, value       []byte
	at               int64 // event time, Unix ms
	due              int64 // number of the record before which it is not sent
}

// New returns a generator. It panics if cfg.Validate errs.
func New(cfg Config) *Generator {
	if err := cfg.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	cfg = cfg.withDefaults()
	g := &Generator{
		cfg:   cfg,
		rng:   rand.New(rand.NewPCG(cfg.Seed, mix(cfg.Seed))),
		names: newNames(cfg),
		kinds: parseKinds(),
		truth: NewTruth(cfg.Pane),
		now:   math.MinInt64,
	}
	for _, topic := range cfg.Topics {
		g.stream = append(g.stream, slices.Repeat([]int64{math.MinInt64}, int(topic.Partitions)))
	}
	return g
}

// Next returns the next record, sent Config.Step after the one before.
//
// The times are made up and the consumer's clock is unknown, so events from
// the future are a century ahead. Who produces these records should not pause
// in the middle for longer than the system waits before it takes a partition
// for idle: it then closes windows by the clock, and the truth no longer holds.
func (g *Generator) Next() Record {
	now := g.cfg.Start.Add(time.Duration(g.calls) * g.cfg.Step)
	g.calls++
	return g.next(now, blindFuture)
}

// NextAt returns the next record, sent now. Times must not fall; one that does
// is taken for the greatest given so far.
func (g *Generator) NextAt(now time.Time) Record { return g.next(now, liveFuture) }

// Truth returns what the records so far must add up to. It is the generator's
// own: calls to Next change it.
func (g *Generator) Truth() *Truth { return g.truth }

func (g *Generator) next(now time.Time, future time.Duration) Record {
	g.now = max(g.now, now.UnixMilli())
	g.records++
	switch {
	case g.chance(g.cfg.Poison):
		return g.poison(future)
	case g.copyDue():
		return g.again()
	case len(g.cfg.Topics) > 1 && g.chance(bareShare):
		g.bare()
	default:
		g.step()
	}
	return g.send()
}

// step fills g.event with the next step of a trace: of the one that has waited
// longest, if its time has come, else of a new one.
func (g *Generator) step() {
	if len(g.live) == 0 || g.live[0].due > g.now && len(g.live) < g.cfg.Traces {
		heap.Push(&g.live, g.newTrace())
	}
	t := g.live[0]
	g.describe(t)
	if g.advance(t) {
		heap.Fix(&g.live, 0)
	} else {
		heap.Pop(&g.live)
	}
}

// send judges and encodes g.event, and adds it to the truth.
func (g *Generator) send() Record {
	e := &g.event
	partition := e.partition
	if !e.keyed || g.chance(g.cfg.Unkeyed) {
		e.keyed = false
		partition = g.rng.IntN(len(g.stream[e.topic]))
	}
	stream := &g.stream[e.topic][partition]
	outcome := Counted
	if *stream > math.MinInt64 && g.chance(g.cfg.Late) {
		outcome = Late
		older := lateMargin.Milliseconds() + g.rng.Int64N((maxOlder - lateMargin).Milliseconds())
		e.at = *stream - g.cfg.Grace.Milliseconds() - g.cfg.Pane.Milliseconds() - older
	}
	*stream = max(*stream, e.at)
	g.value = e.appendJSON(g.value[:0], &g.names)
	r := g.record(e.topic, partition, e.key(), g.value, outcome, "")
	if outcome == Counted {
		g.truth.count(e, &g.names, g.cfg.TotalsOnly)
		if !e.bare && g.chance(g.cfg.Duplicates) {
			g.copies = append(g.copies, pending{e.topic, partition, slices.Clone(r.Key), slices.Clone(r.Value),
				e.at, g.records + 1 + g.rng.Int64N(copyWithin)})
		}
	}
	return r
}

// copyDue reports whether it is time to send the oldest copy. A copy that has
// waited so long that a system may have forgotten its event is given up.
func (g *Generator) copyDue() bool {
	for len(g.copies) > 0 && g.copies[0].at < g.now-g.cfg.Grace.Milliseconds()/2 {
		g.copies = g.copies[1:]
	}
	return len(g.copies) > 0 && g.copies[0].due <= g.records
}

// again sends the oldest copy, every other time to another partition.
func (g *Generator) again() Record {
	c := g.copies[0]
	g.copies = g.copies[1:]
	if n := len(g.stream[c.topic]); n > 1 && g.chance(0.5) {
		c.partition = (c.partition + 1 + g.rng.IntN(n-1)) % n
	}
	return g.record(c.topic, c.partition, c.key, c.value, Duplicate, "")
}

func (g *Generator) record(topic, partition int, key, value []byte, outcome, reason string) Record {
	name := g.cfg.Topics[topic].Name
	g.truth.Records[RecordsKey{name, outcome, reason}]++
	return Record{name, int32(partition), key, value, time.UnixMilli(g.now).UTC(), outcome, reason}
}

func (g *Generator) chance(share float64) bool {
	return share > 0 && g.rng.Float64() < share
}

// id returns a number that this generator has not given out before.
func (g *Generator) id() uint64 {
	g.ids++
	return mix(mix(g.cfg.Seed) + g.ids)
}

// mix scrambles x; different numbers stay different (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

package codecs_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"ragstreams/codecs"

	"github.com/google/go-cmp/cmp"
)

// randomEvent makes an event of a record with the given dimensions and groups.
func randomEvent(rng *rand.Rand, offset int64, dims, groups int) codecs.PackedEvent {
	e := codecs.PackedEvent{Dims: rng.IntN(dims), Offset: offset, Time: rng.Int64N(1<<42) - 1<<40}
	flip := func() bool { return rng.IntN(2) == 0 }
	if e.HasID = flip(); e.HasID {
		for i := range e.ID {
			e.ID[i] = byte(rng.Uint32())
		}
	}
	if e.HasDuration = flip(); e.HasDuration {
		e.Duration = rng.Int64N(1 << 50)
	}
	if e.HasTTFT = flip(); e.HasTTFT {
		e.TTFT = rng.Int64N(1 << 40)
	}
	if flip() {
		e.TraceID = []byte("trace")
	}
	if e.Error = flip(); e.Error {
		e.Group = rng.IntN(groups)
	}
	if flip() {
		e.Session = rng.Uint64() | 1
	}
	if flip() {
		e.User = rng.Uint64() | 1
	}
	if flip() {
		e.InputTokens, e.OutputTokens = rng.Int64N(2)*rng.Int64N(codecs.MaxTokens), rng.Int64N(2)*rng.Int64N(codecs.MaxTokens)
	}
	return e
}

func TestPackedEventsComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w codecs.PackedWriter
	var p codecs.Packed
	for range 200 {
		behaviour := rng.IntN(2) == 0
		w.Reset("rag-traces", 3, behaviour)
		w.AddDims([]byte("acme"), nil, []byte("generate"), []byte("llm_call_completed"), []byte("gpt"))
		w.AddDims(nil, nil, nil, []byte("x"), nil)
		w.AddGroup(42, []byte("TimeoutError"), []byte("after <num>s"))
		var want []codecs.PackedEvent
		offset := rng.Int64N(1 << 40)
		for range rng.IntN(20) {
			offset += 1 + rng.Int64N(3)
			e := randomEvent(rng, offset, 2, 1)
			w.Add(&e)
			want = append(want, e)
		}
		report := &codecs.Report{StreamTime: rng.Int64(), NewestTime: rng.Int64(), HasTime: true, State: 2}
		if rng.IntN(3) == 0 {
			report = nil
		}
		if err := p.Open(w.Append(nil, report)); err != nil {
			t.Fatal(err)
		}
		if p.Topic != "rag-traces" || p.Partition != 3 || p.Behaviour != behaviour || p.HasReport != (report != nil) || report != nil && p.Report != *report {
			t.Fatalf("head = %+v, want report %+v", p, report)
		}
		if d := codecs.SplitDims(string(p.Dims[0])); d != (codecs.Dims{Tenant: "acme", Stage: "generate", EventType: "llm_call_completed", Model: "gpt"}) {
			t.Fatalf("dims = %+v", d)
		}
		if p.Groups[0] != (codecs.ErrorGroup{Fingerprint: 42, Type: "TimeoutError", Template: "after <num>s"}) {
			t.Fatalf("group = %+v", p.Groups[0])
		}
		var e codecs.PackedEvent
		for i := range want {
			if !p.Next(&e) {
				t.Fatalf("event %d of %d is missing: %v", i, len(want), p.Err())
			}
			if d := cmp.Diff(want[i], e); d != "" {
				t.Fatalf("event %d: %s", i, d)
			}
		}
		if p.Next(&e) || p.Err() != nil {
			t.Fatalf("more than was added, or %v", p.Err())
		}
	}
}

func TestPackedOfAnotherVersion(t *testing.T) {
	var p codecs.Packed
	if err := p.Open([]byte{99, 0}); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("error = %v, want one that names the version", err)
	}
}

// FuzzPacked checks that no bytes make the reader panic or read for ever.
func FuzzPacked(f *testing.F) {
	var w codecs.PackedWriter
	w.Reset("t", 0, false)
	w.AddDims([]byte("a"), nil, nil, []byte("x"), nil)
	w.AddGroup(1, nil, []byte("m"))
	w.Add(&codecs.PackedEvent{HasID: true, Error: true, Session: 1, TraceID: []byte("t"), HasDuration: true, Duration: 5})
	f.Add(w.Append(nil, &codecs.Report{HasTime: true, StreamTime: 5, NewestTime: 6}))
	f.Add([]byte{1})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p codecs.Packed
		if p.Open(data) != nil {
			return
		}
		for _, d := range p.Dims {
			codecs.SplitDims(string(d))
		}
		n := 0
		for e := (codecs.PackedEvent{}); p.Next(&e); n++ {
			if e.Dims < 0 || e.Dims >= len(p.Dims) || e.Error && (e.Group < 0 || e.Group >= len(p.Groups)) {
				t.Fatalf("event points outside of its record: %+v", e)
			}
		}
		if n > len(data) {
			t.Fatalf("%d events in %d bytes", n, len(data))
		}
	})
}

// Dimensions are parts of the record that they came from, so those of earlier records
// are let go, though the next one has fewer.
func TestPackedLetsGoOfEarlierRecords(t *testing.T) {
	record := func(dims int) []byte {
		var w codecs.PackedWriter
		w.Reset("topic", 0, false)
		for i := range dims {
			w.AddDims([]byte{byte('a' + i)}, nil, nil, nil, nil)
		}
		return w.Append(nil, nil)
	}
	var p codecs.Packed
	for _, dims := range []int{3, 1} {
		if err := p.Open(record(dims)); err != nil || len(p.Dims) != dims {
			t.Fatalf("%d dimensions, error %v, want %d", len(p.Dims), err, dims)
		}
	}
	for _, d := range p.Dims[1:3] {
		if d != nil {
			t.Errorf("dimensions %q are kept", d)
		}
	}
}

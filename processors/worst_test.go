package processors

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"ragstreams/codecs"
	"ragstreams/tables"
)

// worstLabel is the longest label that can be configured.
var worstLabel = bytes.Repeat([]byte{'x'}, MaxLabelBytes)

// worstLatency fills every bucket with at least n calls, n a power of two.
func worstLatency(n int64) *tables.Latency {
	l := new(tables.Latency)
	id := strings.Repeat("x", tables.MaxTraceID)
	for ns := int64(1); ns < tables.MaxDuration; ns += 1 + ns/50 {
		l.Observe(ns, id, math.MaxInt64)
		l.TTFT.Observe(ns)
	}
	for ; n > 1; n /= 2 {
		twin := l.Clone()
		l.Merge(&twin)
	}
	return l
}

// worstErrors is a group whose every field is as long as it gets.
func worstErrors() *tables.Errors {
	e := &tables.Errors{Count: math.MaxInt64, ErrorType: string(worstLabel), Template: strings.Repeat("x", 256)}
	e.FirstSeen, e.LastSeen = math.MinInt64, math.MaxInt64
	for i := range uint64(100_000) {
		e.Sessions.Add(i * 0x9e3779b97f4a7c15)
	}
	e.Newest = tables.Sample{Time: math.MaxInt64, Duration: math.MaxInt64, TraceID: strings.Repeat("x", tables.MaxTraceID),
		Topic: strings.Repeat("x", 249), Partition: math.MaxInt32, Offset: math.MaxInt64}
	e.Slowest = e.Newest
	return e
}

// What is added to a record after its size was looked at must fit as well.
func TestWhatIsAddedLastFits(t *testing.T) {
	var w codecs.PackedWriter
	w.Reset(strings.Repeat("t", 249), math.MaxInt32, false)
	w.Add(&codecs.PackedEvent{Offset: 1}) // the last one is far from the first
	w.Add(&codecs.PackedEvent{
		Dims:   w.AddDims(worstLabel, worstLabel, worstLabel, worstLabel, worstLabel),
		Offset: math.MaxInt64, Time: math.MaxInt64, HasID: true, Error: true, User: 1, Session: 1, InputTokens: math.MaxInt64, OutputTokens: math.MaxInt64,
		Group:   w.AddGroup(1, worstLabel, bytes.Repeat([]byte{'x'}, 256)),
		TraceID: bytes.Repeat([]byte{'x'}, tables.MaxTraceID), HasDuration: true, Duration: math.MaxInt64, HasTTFT: true, TTFT: math.MaxInt64,
	})
	packed := w.Append(nil, &codecs.Report{StreamTime: math.MaxInt64, NewestTime: math.MinInt64, HasTime: true})

	key := string(tables.AppendKey(nil, worstLabel, worstLabel, worstLabel, worstLabel))
	batch := func(partial interface{ Append([]byte) []byte }) []byte {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Assemble: math.MaxInt16, Watermark: math.MaxInt64, HasWatermark: true})
		w.Add(key, math.MaxInt64, partial)
		return bytes.Clone(w.Bytes())
	}
	for what, record := range map[string][]byte{
		"a packed event": packed, "a partial of latency": batch(worstLatency(1 << 52)), "a partial of errors": batch(worstErrors()),
	} {
		if n := maxRecord + len(record); n >= maxSent {
			t.Errorf("%s of %d bytes makes a record of %d, want less than %d", what, len(record), n, maxSent)
		}
	}
}

// The size of rows that Flush speaks of.
func TestLargestRows(t *testing.T) {
	const panes = 67
	latency := tables.Row[tables.Latency, *tables.Latency]{Total: *worstLatency(1 << 52)}
	errors := tables.Row[tables.Errors, *tables.Errors]{Total: *worstErrors()}
	total := len(latency.Append(nil))
	for i := range int64(panes) {
		latency.Add(i*10_000, worstLatency(1<<10))
		errors.Add(i*10_000, worstErrors())
	}
	if total > 14<<10 {
		t.Errorf("a running total of latency has %d bytes, want at most 14 KiB", total)
	}
	if n := len(latency.Append(nil)); n > 288<<10 {
		t.Errorf("a row of latency has %d bytes, want at most 288 KiB", n)
	}
	if n := len(errors.Append(nil)); n >= maxSent {
		t.Errorf("a row of errors has %d bytes, want less than %d", n, maxSent)
	}
}

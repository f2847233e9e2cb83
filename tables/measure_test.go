package tables_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ragstreams/tables"
)

// exact compares field by field, the unexported ones included. No memory and memory
// with nothing in it are the same.
var exact = cmp.Options{cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()}

// The generators draw from few values, so that ties and conflicts are common.

func anyTraffic(r *rand.Rand) tables.Traffic {
	return tables.Traffic{Count: r.Int64N(1000), Errors: r.Int64N(3)}
}

func anyRecords(r *rand.Rand) tables.Records { return tables.Records{Count: r.Int64N(1000)} }

func anyHistogram(r *rand.Rand) tables.Histogram {
	var h tables.Histogram
	for range r.IntN(40) {
		h.Observe(int64(1)<<r.IntN(53) + r.Int64N(1000) - 1)
	}
	return h
}

func anySketch(r *rand.Rand) tables.Sketch {
	var s tables.Sketch
	for range []int{0, 3, 40, 64, 65, 300, 3000}[r.IntN(7)] {
		s.Add(r.Uint64() >> r.IntN(3))
	}
	return s
}

func anyLatency(r *rand.Rand) tables.Latency {
	var l tables.Latency
	for range r.IntN(5) {
		l.Observe(r.Int64N(3)*1e8, []string{"", "a", "b", "c0", "4bf92f3577b34da6a3ce929d0e0e4736"}[r.IntN(5)], r.Int64N(5)-2)
		l.TTFT.Observe(r.Int64N(1e9))
	}
	return l
}

func anyErrors(r *rand.Rand) tables.Errors {
	var e tables.Errors
	for range r.IntN(5) {
		word := []string{"", "timeout", "refused", "timeout of <n> ms"}
		e.Observe(tables.Sample{
			Time: r.Int64N(5) - 2, Duration: r.Int64N(3), TraceID: word[r.IntN(4)],
			Topic: word[r.IntN(3)], Partition: r.Int32N(2), Offset: r.Int64N(3),
		}, word[r.IntN(3)], word[r.IntN(4)], r.Uint64N(100))
	}
	if e.Count > 3 {
		for range 100 {
			e.Sessions.Add(r.Uint64())
		}
	}
	return e
}

func anyUsage(r *rand.Rand) tables.Usage {
	var u tables.Usage
	for range r.IntN(3) {
		tokens := []int64{0, 812, math.MaxInt64 / 2}
		u.Observe(tokens[r.IntN(3)], tokens[r.IntN(3)])
	}
	return u
}

func anyBehaviour(r *rand.Rand) tables.Behaviour {
	var b tables.Behaviour
	for range []int{0, 3, 80, 300}[r.IntN(4)] {
		b.Observe(r.Uint64N(3)*r.Uint64(), r.Uint64N(3)*r.Uint64N(10))
	}
	return b
}

func TestMeasureLaws(t *testing.T) {
	t.Run("traffic", func(t *testing.T) { checkLaws(t, anyTraffic) })
	t.Run("records", func(t *testing.T) { checkLaws(t, anyRecords) })
	t.Run("histogram", func(t *testing.T) { checkLaws(t, anyHistogram) })
	t.Run("sketch", func(t *testing.T) { checkLaws(t, anySketch) })
	t.Run("latency", func(t *testing.T) { checkLaws(t, anyLatency) })
	t.Run("errors", func(t *testing.T) { checkLaws(t, anyErrors) })
	t.Run("usage", func(t *testing.T) { checkLaws(t, anyUsage) })
	t.Run("behaviour", func(t *testing.T) { checkLaws(t, anyBehaviour) })
}

func checkLaws[M any, P tables.Measure[M]](t *testing.T, generate func(*rand.Rand) M) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		a, b, c := generate(r), generate(r), generate(r)
		checkMerge[M, P](t, a, b, c)
		checkIndependence[M, P](t, a, b, c)
		checkEncoding[M, P](t, a, b)
		if t.Failed() {
			t.Fatalf("seed %d: a = %+v, b = %+v, c = %+v", seed, a, b, c)
		}
	}
}

// merged returns ms merged from left to right into a zero M.
func merged[M any, P tables.Measure[M]](ms ...M) M {
	var sum M
	for i := range ms {
		P(&sum).Merge(&ms[i])
	}
	return sum
}

// checkSame requires a and b to be equal in memory and in bytes.
func checkSame[M any, P tables.Measure[M]](t *testing.T, law string, a, b M) {
	t.Helper()
	if diff := cmp.Diff(a, b, exact); diff != "" {
		t.Errorf("%s:\n%s", law, diff)
	}
	if x, y := P(&a).Append(nil), P(&b).Append(nil); !bytes.Equal(x, y) {
		t.Errorf("%s: bytes %x and %x", law, x, y)
	}
}

func checkMerge[M any, P tables.Measure[M]](t *testing.T, a, b, c M) {
	t.Helper()
	var zero M
	checkSame[M, P](t, "associative", merged[M, P](merged[M, P](a, b), c), merged[M, P](a, merged[M, P](b, c)))
	checkSame[M, P](t, "commutative", merged[M, P](a, b), merged[M, P](b, a))
	checkSame[M, P](t, "zero on the left", merged[M, P](zero, a), a)
	x := P(&a).Clone()
	P(&x).Merge(&zero)
	checkSame[M, P](t, "zero on the right", x, a)
	sum := merged[M, P](a, b, c) // of numbers that are out of range when they wrap
	if err := tables.DecodeBody(P(&sum).Append(nil), P(&x)); err != nil {
		t.Error(err)
	}
	checkSame[M, P](t, "a sum, decoded", x, sum)
	if P(&a).IsZero() != cmp.Equal(a, zero, exact) {
		t.Errorf("IsZero() = %v", P(&a).IsZero())
	}
}

// checkIndependence requires that clones and merges share no memory with what
// they came from.
func checkIndependence[M any, P tables.Measure[M]](t *testing.T, a, b, c M) {
	t.Helper()
	a = P(&a).Clone() // it will change, and the caller's must not
	was := P(&a).Append(nil)
	unchanged := func(by string) {
		t.Helper()
		if now := P(&a).Append(nil); !bytes.Equal(now, was) {
			t.Errorf("%s changed the original from %x to %x", by, was, now)
		}
	}
	clone := P(&a).Clone()
	checkSame[M, P](t, "clone", clone, a)
	P(&clone).Merge(&b)
	unchanged("merging into a clone")

	var sum M
	P(&sum).Merge(&a)
	unchanged("being merged")
	P(&sum).Merge(&b)
	P(&sum).Merge(&c)
	unchanged("merging into a sum of it")

	sum = merged[M, P](b, a)
	before := P(&sum).Append(nil)
	P(&a).Merge(&c)
	if now := P(&sum).Append(nil); !bytes.Equal(now, before) {
		t.Errorf("merging into a part changed the sum from %x to %x", before, now)
	}
}

func checkEncoding[M any, P tables.Measure[M]](t *testing.T, a, other M) {
	t.Helper()
	src := P(&a).Append(nil)
	long := append(bytes.Clone(src), "rest"...)
	got := P(&other).Clone() // Decode must replace what is there
	rest, err := P(&got).Decode(long)
	if err != nil || string(rest) != "rest" {
		t.Errorf("Decode(%x): rest %q, error %v", long, rest, err)
	}
	clear(long)
	checkSame[M, P](t, "decoded", got, a)

	for n := len(src) - 1; n >= 0; n -= 1 + len(src)/64 {
		if _, err := P(&got).Decode(src[:n]); err == nil {
			t.Errorf("Decode(%x) of %d bytes accepted the first %d", src, len(src), n)
		}
	}
	if got := P(&a).Append([]byte("dst")); !bytes.Equal(got[:3], []byte("dst")) || !bytes.Equal(got[3:], src) {
		t.Errorf("Append to dst = %x, want dst and %x", got, src)
	}
}

func TestDecodeBody(t *testing.T) {
	var got tables.Traffic
	want := tables.Traffic{Count: 7, Errors: 2}
	body := want.Append(nil)
	if err := tables.DecodeBody(body, &got); err != nil || got != want {
		t.Errorf("DecodeBody(%x) = %+v, %v, want %+v", body, got, err, want)
	}
	body = append(body, 0)
	if err := tables.DecodeBody(body, &got); err == nil || !strings.Contains(err.Error(), "after its end") {
		t.Errorf("DecodeBody(%x) error = %v, want one about bytes after its end", body, err)
	}
}

func TestObserveLatency(t *testing.T) {
	const second = int64(1e9)
	var l tables.Latency
	l.Observe(2*second, "b", 10)
	l.Observe(3*second, "", 99) // counts, but has nothing to show
	l.Observe(2*second, "c", 10)
	l.Observe(1*second, "new", 20)
	l.Observe(1*second, "n", 20) // ties go to the greater trace id
	l.TTFT.Observe(second)
	got := fmt.Sprint(l.Duration.Count(), l.Duration.Sum()/second, l.TTFT.Count(), l.Slowest, l.Newest)
	want := "5 9 1 {2000000000 c 10} {1000000000 new 20}"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestSamplesOfEqualRank lets two samples meet that differ in one field: whichever
// comes first, the same one stays.
func TestSamplesOfEqualRank(t *testing.T) {
	base := tables.Sample{Time: 5, Duration: 5, TraceID: "e", Topic: "e", Partition: 5, Offset: 5}
	for name, change := range map[string]func(*tables.Sample){
		"time":      func(s *tables.Sample) { s.Time++ },
		"duration":  func(s *tables.Sample) { s.Duration++ },
		"trace id":  func(s *tables.Sample) { s.TraceID += "x" },
		"topic":     func(s *tables.Sample) { s.Topic += "x" },
		"partition": func(s *tables.Sample) { s.Partition++ },
		"offset":    func(s *tables.Sample) { s.Offset++ },
	} {
		greater := base
		change(&greater)
		for _, order := range [][]tables.Sample{{base, greater}, {greater, base}} {
			var e tables.Errors
			e.Observe(order[0], "", "", 0)
			e.Observe(order[1], "", "", 0)
			if e.Newest != greater || e.Slowest != greater {
				t.Errorf("%s: of %+v stay %+v and %+v, want %+v", name, order, e.Newest, e.Slowest, greater)
			}
		}
	}
}

func TestTimesBefore1970AreTimes(t *testing.T) {
	var l tables.Latency
	l.Observe(7, "old", -1000)
	if want := (tables.Exemplar{Value: 7, TraceID: "old", Time: -1000}); l.Newest != want || l.Slowest != want {
		t.Errorf("exemplars = %+v and %+v, want %+v", l.Newest, l.Slowest, want)
	}
	var e tables.Errors
	s := tables.Sample{Time: -1000}
	e.Observe(s, "", "", 0)
	if e.FirstSeen != -1000 || e.LastSeen != -1000 || e.Newest != s || e.Slowest != s {
		t.Errorf("errors = %+v, want everything at -1000", e)
	}
}

func TestDecodeRefuses(t *testing.T) {
	sample := "\x00\x00\x00\x00\x00\x00" // time, duration, trace id, topic, partition, offset
	long := "\x82" + strings.Repeat("x", 65)
	endless := strings.Repeat("\xff", 9) + "\x01" // 2^64 - 1
	for _, tt := range []struct {
		name string
		body string
		m    interface{ Decode([]byte) ([]byte, error) }
		ok   bool
	}{
		{"a latency of nothing", "\x00\x00\x00", new(tables.Latency), true},
		{"an unknown flag", "\x00\x00\x08", new(tables.Latency), false},
		{"a trace id", "\x00\x00\x01" + "\x02x\x00\x00", new(tables.Latency), true},
		{"a trace id too long", "\x00\x00\x01" + long + "\x00\x00", new(tables.Latency), false},
		{"a trace id cut short", "\x00\x00\x01" + "\x40x", new(tables.Latency), false},
		{"half a digit of a trace id", "\x00\x00\x01" + "\x07\xab\xcd\x00\x00", new(tables.Latency), false},
		{"a count beyond its type", endless + "\x00", new(tables.Traffic), false},
		{"a number of eleven bytes", strings.Repeat("\xff", 10) + "\x01", new(tables.Records), false},
		{"an error", "\x01\x02\x04\x00\x00\x00" + sample + sample, new(tables.Errors), true},
		{"one first seen after the last time", "\x01\x04\x02\x00\x00\x00" + sample + sample, new(tables.Errors), false},
		{"a partition beyond its type", "\x01\x02\x04\x00\x00\x00" + sample + "\x00\x00\x00\x00\xff\xff\xff\xff\x7f\x00", new(tables.Errors), false},
		{"hashes out of order", "\x02" + "\x00\x00\x00\x00\x00\x00\x00\x09" + "\x00\x00\x00\x00\x00\x00\x00\x09", new(tables.Sketch), false},
		{"an unknown form of sketch", "\x43" + strings.Repeat("\x00", 2000), new(tables.Sketch), false},
		{"one register in use", "\x41\x01\x36", new(tables.Sketch), true},
		{"no register in use", "\x41\x00", new(tables.Sketch), false},
		{"a rank of 0", "\x41\x01\x40", new(tables.Sketch), false},
		{"a rank of 55", "\x41\x01\x37", new(tables.Sketch), false},
		{"register 2048", "\x41\x01\x81\x80\x08", new(tables.Sketch), false},
		{"packed ranks of 54", "\x42" + strings.Repeat("\xdb\x6d\xb6", 512), new(tables.Sketch), true},
		{"packed ranks of 55", "\x42" + strings.Repeat("\xdf\x7d\xf7", 512), new(tables.Sketch), false},
		{"few ranks that are packed", "\x42\xdb" + strings.Repeat("\x00", 1535), new(tables.Sketch), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest, err := tt.m.Decode([]byte(tt.body))
			if (err == nil) != tt.ok || len(rest) > 0 {
				t.Errorf("decode %T from %x: %d bytes left, error %v, want accepted = %v", tt.m, tt.body, len(rest), err, tt.ok)
			}
		})
	}
}

// A trace id cut short would point nowhere: one that is too long is left out.
func TestLongTraceIDsAreLeftOut(t *testing.T) {
	for _, tt := range []struct{ id, want string }{
		{strings.Repeat("x", tables.MaxTraceID), strings.Repeat("x", tables.MaxTraceID)},
		{strings.Repeat("x", tables.MaxTraceID+1), ""},
		{strings.Repeat("é", tables.MaxTraceID/2), strings.Repeat("é", tables.MaxTraceID/2)},
		{strings.Repeat("é", tables.MaxTraceID/2+1), ""},
		{strings.Repeat("0f", tables.MaxTraceID/2), strings.Repeat("0f", tables.MaxTraceID/2)},
		{"0af", "0af"},
		{"0F", "0F"},
		{"0g", "0g"},
		{"g0", "g0"},
	} {
		var l tables.Latency
		l.Observe(1, tt.id, 1)
		var e tables.Errors
		e.Observe(tables.Sample{Time: 1, TraceID: tt.id}, "", "", 0)
		for _, got := range []string{l.Slowest.TraceID, l.Newest.TraceID, e.Newest.TraceID, e.Slowest.TraceID} {
			if got != tt.want {
				t.Errorf("id %q kept as %q, want %q", tt.id, got, tt.want)
			}
		}
		// An id that came in another way must not make bytes that cannot be read.
		e.Newest.TraceID = tt.id
		var back tables.Errors
		if err := tables.DecodeBody(e.Append(nil), &back); err != nil || back.Newest.TraceID != tt.want {
			t.Errorf("id %q decoded as %q, %v, want %q", tt.id, back.Newest.TraceID, err, tt.want)
		}
	}
}

func TestObserveErrors(t *testing.T) {
	var e tables.Errors
	first := tables.Sample{Time: 5, Duration: 9, TraceID: "slow", Topic: "t", Partition: 1, Offset: 2}
	last := tables.Sample{Time: 8, Duration: 1, TraceID: "new", Topic: "t"}
	e.Observe(first, "timeout", "took <n> ms", 11)
	e.Observe(last, "refused", "", 12)
	e.Observe(tables.Sample{Time: 3, Duration: 9, TraceID: "older"}, "", "", 11)
	e.Observe(tables.Sample{Time: 4}, "", "", 0)
	want := tables.Errors{
		Count: 4, FirstSeen: 3, LastSeen: 8, ErrorType: "refused", Template: "took <n> ms",
		Newest: last, Slowest: first,
	}
	want.Sessions.Add(11)
	want.Sessions.Add(12)
	if diff := cmp.Diff(want, e, exact); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// Sums of tokens end at the greatest number, each on its own: they never wrap.
func TestUsageSaturates(t *testing.T) {
	const most = math.MaxInt64
	for _, tt := range []struct{ a, b, want tables.Usage }{
		{tables.Usage{2, 7, 5}, tables.Usage{3, 10, 20}, tables.Usage{5, 17, 25}},
		{tables.Usage{1, most - 10, 1}, tables.Usage{1, 10, 2}, tables.Usage{2, most, 3}},
		{tables.Usage{1, most - 9, 1}, tables.Usage{1, 10, 2}, tables.Usage{2, most, 3}},
		{tables.Usage{1, 1, most - 9}, tables.Usage{1, 2, 10}, tables.Usage{2, 3, most}},
		{tables.Usage{1, most, most}, tables.Usage{1, most, most}, tables.Usage{2, most, most}},
	} {
		checkSame(t, fmt.Sprintf("%+v and %+v", tt.a, tt.b), merged(tt.a, tt.b), tt.want)
		observed := tt.a
		observed.Observe(tt.b.InputTokens, tt.b.OutputTokens)
		tt.want.Requests = tt.a.Requests + 1
		checkSame(t, fmt.Sprintf("%+v and an event of %+v", tt.a, tt.b), observed, tt.want)
	}
}

// TestMergeEqualsObserving splits observations over partials: merged they must be
// what one measure that saw them all would be.
func TestMergeEqualsObserving(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var all, sum tables.Latency
		var allErrors, sumErrors tables.Errors
		parts, errorParts := make([]tables.Latency, 5), make([]tables.Errors, 5)
		for range 200 {
			ns, at, id, i := r.Int64N(5e9), r.Int64N(50), fmt.Sprint(r.IntN(20)), r.IntN(5)
			for _, l := range []*tables.Latency{&all, &parts[i]} {
				l.Observe(ns, id, at)
				l.TTFT.Observe(ns / 3)
			}
			s, session := tables.Sample{Time: at, Duration: ns / 1e9, TraceID: id}, r.Uint64()
			for _, e := range []*tables.Errors{&allErrors, &errorParts[i]} {
				e.Observe(s, id, "x"+id, session)
			}
		}
		for i := range parts {
			sum.Merge(&parts[i])
			sumErrors.Merge(&errorParts[i])
		}
		checkSame(t, "latency", sum, all)
		checkSame(t, "errors", sumErrors, allErrors)
	}
}

// Of a trimmed latency all is left but the exemplars.
func TestTrimLatency(t *testing.T) {
	trim := tables.LatencyTable.Trim
	for seed := range uint64(200) {
		l := anyLatency(rand.New(rand.NewPCG(seed, 12)))
		body := l.Append(nil)
		trimmed, err := trim([]byte("dst"), body)
		if err != nil {
			t.Fatalf("trim %x: %v", body, err)
		}
		var got tables.Latency
		if err := tables.DecodeBody(trimmed[3:], &got); err != nil {
			t.Fatalf("%x, trimmed to %x: %v", body, trimmed[3:], err)
		}
		l.Slowest, l.Newest = tables.Exemplar{}, tables.Exemplar{}
		checkSame(t, "trimmed", got, l)
		histograms := len(l.Append(nil)) - 1
		for n := range histograms {
			if _, err := trim(nil, body[:n]); err == nil {
				t.Errorf("the first %d of the %d bytes of two histograms were accepted", n, histograms)
			}
		}
	}
}

// What reads only the front of a body reads what Decode does, and needs no more.
func TestFrontsOfBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var latency tables.Latency // its memory is used again
	var errors tables.Errors
	for range 300 {
		l, e := anyLatency(r), anyErrors(r)
		histograms := tables.Latency{Duration: l.Duration, TTFT: l.TTFT}
		front := l.TTFT.Append(l.Duration.Append(nil))
		for _, body := range [][]byte{l.Append(nil), front} {
			if err := latency.DecodeHistograms(body); err != nil {
				t.Fatal(err)
			}
			checkSame(t, "histograms", latency, histograms)
		}
		for n := range front {
			if latency.DecodeHistograms(front[:n]) == nil {
				t.Fatalf("%d of %d bytes are taken for histograms", n, len(front))
			}
		}
		if err := errors.DecodeCount(e.Append(nil)); err != nil || errors.Count != e.Count {
			t.Fatalf("count %d, %v, want %d", errors.Count, err, e.Count)
		}
	}
	if errors.DecodeCount(nil) == nil {
		t.Error("nothing is taken for a count")
	}
}

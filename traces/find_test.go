package traces_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/traces"
)

// memory is a Log: the records of partitions, in order.
type memory struct {
	parts map[string][]record // by TOPIC/PARTITION
	read  int64
	asked int              // how many times of Ranges it had to find
	open  map[string]int64 // offsets where transactions are open, by TOPIC/PARTITION
	fails error
}

type record struct {
	at    time.Time
	value string
}

func (m *memory) put(part string, seconds float64, value string) traces.Place {
	if m.parts == nil {
		m.parts = map[string][]record{}
	}
	m.parts[part] = append(m.parts[part], record{noon.Add(time.Duration(seconds * float64(time.Second))), value})
	return place(part, len(m.parts[part])-1)
}

func place(part string, offset int) traces.Place {
	topic, p, _ := strings.Cut(part, "/")
	n := int32(p[0] - '0')
	return traces.Place{Topic: topic, Partition: n, Offset: int64(offset)}
}

// Ranges implements traces.Log.
func (m *memory) Ranges(_ context.Context, from, to time.Time) (traces.Parts, bool, error) {
	for _, at := range []time.Time{from, to} {
		if !at.IsZero() {
			m.asked++
		}
	}
	all, held := traces.Parts{}, false
	for part, records := range m.parts {
		at := place(part, 0)
		if all[at.Topic] == nil {
			all[at.Topic] = map[int32]traces.Span{}
		}
		span := traces.Span{From: int64(len(records)), To: int64(len(records))}
		if i := slices.IndexFunc(records, func(r record) bool { return !r.at.Before(from) }); i >= 0 {
			span.From = int64(i)
		}
		for !to.IsZero() && span.To > span.From && !records[span.To-1].at.Before(to) {
			span.To--
		}
		if open, is := m.open[part]; is && span.To > open {
			span, held = traces.Span{From: min(span.From, open), To: open}, true
		}
		all[at.Topic][at.Partition] = span
	}
	return all, held, nil
}

// Topics implements traces.Log.
func (m *memory) Topics() []string { return []string{"rag-traces", "dialog", "t"} }

// Scan implements traces.Log.
func (m *memory) Scan(_ context.Context, parts traces.Parts, may func([]byte) bool, visit func(*traces.Record) error) (read traces.Read, err error) {
	for topic, spans := range parts {
		for p, span := range spans {
			for offset := span.From; offset < span.To; offset++ {
				r := m.parts[fmt.Sprintf("%s/%d", topic, p)][offset]
				m.read++
				read.Records++
				if !may([]byte(r.value)) {
					continue
				}
				if err := visit(&traces.Record{Place: traces.Place{Topic: topic, Partition: p, Offset: offset}, Timestamp: r.at, Value: []byte(r.value)}); err != nil {
					return read, err
				}
			}
		}
	}
	return read, m.fails
}

func saying(trace, kind string, more ...string) string {
	return fmt.Sprintf(`{"event_type":%q,"trace_id":%q%s}`, kind, trace, strings.Join(more, ""))
}

// busy is a log with a trace in the middle of much else: on two topics, over a minute.
func busy(n int) (m *memory, found []traces.Place) {
	m = &memory{}
	other := func(part string, from, to float64) {
		for i := range n {
			m.put(part, from+(to-from)*float64(i)/float64(n), saying("other", "x"))
		}
	}
	other("rag-traces/0", -600, 0)
	other("rag-traces/1", -600, 0)
	found = append(found, m.put("dialog/0", 0, saying("mine", "user_query")))
	found = append(found, m.put("rag-traces/0", 1, saying("mine", "retrieval_completed", `,"latency_ms":500`)))
	found = append(found, m.put("rag-traces/1", 60, saying("mine", "llm_call_completed", `,"latency_ms":58500`))) // much later, but it began before
	other("rag-traces/0", 61, 600)
	other("rag-traces/1", 61, 600)
	return m, found
}

func places(f *traces.Found) (list []traces.Place) {
	for _, e := range f.Events {
		list = append(list, e.Place)
	}
	slices.SortFunc(list, func(a, b traces.Place) int { return strings.Compare(a.String(), b.String()) })
	return list
}

func TestFind(t *testing.T) {
	m, want := busy(5000)
	for _, tt := range []struct {
		name string
		ask  traces.Ask
		most int64 // records that are read
	}{
		{"without a hint", traces.Ask{ID: "mine"}, 20_100},
		{"by its place", traces.Ask{ID: "mine", At: &want[2]}, 3000},
		{"by its time", traces.Ask{ID: "mine", Around: noon.Add(10 * time.Second)}, 3000},
		{"a place where something else is", traces.Ask{ID: "mine", At: &traces.Place{Topic: "rag-traces", Partition: 1, Offset: 3}}, 20_100},
		{"a time when it was not", traces.Ask{ID: "mine", Around: noon.Add(-300 * time.Second)}, 21_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.read = 0
			got, err := (&traces.Finder{Log: m}).Find(t.Context(), tt.ask)
			if err != nil || !slices.Equal(places(got), want) || got.Stopped != traces.StoppedFound {
				t.Fatalf("%v, %v, %s, want %v", got.Events, err, got.Stopped, want)
			}
			if m.read > tt.most || m.read != got.Records {
				t.Errorf("%d records were read, and it says %d; want %d at most", m.read, got.Records, tt.most)
			}
			for topic, parts := range got.Searched {
				for p, spans := range parts {
					if s := spans[0]; len(spans) > 2 || s.From < 0 || s.To > int64(len(m.parts[fmt.Sprintf("%s/%d", topic, p)])) || s.From >= s.To {
						t.Errorf("searched %s/%d from %d to %d", topic, p, s.From, s.To)
					}
				}
			}
		})
	}
}

// A trace that has its answer is not waited for.
func TestAnsweredTrace(t *testing.T) {
	m := &memory{}
	first, last := m.put("t/0", 0, saying("mine", "user_query")), m.put("t/0", 2, saying("mine", "answer_returned", `,"latency_ms":2000`))
	m.put("t/0", 40, saying("other", "x"))
	late := m.put("t/0", 60, saying("mine", "answer_liked"))
	for margin, want := range map[time.Duration][]traces.Place{0: {first, last}, time.Minute: {first, last, late}} {
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine", At: &first, Margin: margin})
		if err != nil || !slices.Equal(places(got), want) {
			t.Errorf("with a margin of %s: %v, %v, want %v", margin, places(got), err, want)
		}
	}
}

// What is told of when a trace was, and of where, is read around on both sides, once.
func TestAroundAHint(t *testing.T) {
	m := &memory{}
	for i := range 10 {
		m.put("t/0", float64(i-300), saying("other", "x"))
	}
	want := []traces.Place{
		m.put("t/0", 0, saying("mine", "user_query")),
		m.put("t/0", 2, saying("mine", "answer_returned", `,"latency_ms":2000`)),
		m.put("t/0", 5, saying("mine", "answer_liked", `,"timestamp":"2026-03-01T12:00:04Z"`)),
	}
	for i := range 10 {
		m.put("t/0", float64(i+300), saying("other", "x"))
	}
	for name, ask := range map[string]traces.Ask{
		"the place in the middle": {ID: "mine", At: &want[1]},
		"a time behind":           {ID: "mine", Around: noon.Add(16 * time.Second)},
		"a time before":           {ID: "mine", Around: noon.Add(-12 * time.Second)},
	} {
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), ask)
		if err != nil || !slices.Equal(places(got), want) {
			t.Errorf("%s: %v, %v, want %v", name, places(got), err, want)
			continue
		}
		most := int64(3)
		if ask.At != nil {
			most++ // it is read again with what is on both sides
		}
		if got.Records != most {
			t.Errorf("%s: %d records were read, want %d", name, got.Records, most)
		}
		if from, to := noon.Add(-traces.DefaultMargin), noon.Add(5*time.Second+traces.DefaultMargin); got.From.After(from) || got.To.Before(to) || got.To.Sub(got.From) > time.Minute {
			t.Errorf("%s: looked from %s to %s, want about %s to %s", name, got.From, got.To, from, to)
		}
		if i := slices.IndexFunc(got.Events, func(e traces.Event) bool { return e.Place == want[2] }); !got.Events[i].Time.Equal(noon.Add(4 * time.Second)) {
			t.Errorf("%s: %s is the time of an event that tells of its own", name, got.Events[i].Time)
		}
	}
}

// To tell where the records of a time are is work for Kafka: it is asked once for a trace of some
// seconds, and once more behind one without an answer.
func TestTimesAreAskedForOnce(t *testing.T) {
	for _, tt := range []struct {
		name, last string
		seconds    float64
		want       int
	}{
		{"a trace with an answer", "answer_returned", 4, 2},
		{"without", "retrieval_failed", 4, 4},
		{"with one that comes late", "answer_returned", 12, 4},
	} {
		m := &memory{}
		for s := range 300 {
			m.put("t/0", float64(s-400), saying("other", "x"))
		}
		want := []traces.Place{m.put("t/0", 0, saying("mine", "user_query")), m.put("t/0", tt.seconds, saying("mine", tt.last))}
		for s := range 300 {
			m.put("t/0", float64(s+200), saying("other", "x"))
		}
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine", At: &want[0]})
		if err != nil || !slices.Equal(places(got), want) || m.asked != tt.want || got.Records > 10 {
			t.Errorf("%s: %v, %v, with %d times and %d records; want %d times", tt.name, places(got), err, m.asked, got.Records, tt.want)
		}
	}
}

// What lies between a hint that leads nowhere and what a search has read is not taken for
// read.
func TestBehindAWrongHint(t *testing.T) {
	m := &memory{}
	var want []traces.Place
	for i := range 100_050 {
		id := "other"
		if i == 20 || i == 60 {
			id = "mine"
		}
		if p := m.put("t/0", float64(i)/1000, saying(id, "x")); id == "mine" {
			want = append(want, p)
		}
	}
	got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine", At: &traces.Place{Topic: "t", Offset: 3}})
	if err != nil || !slices.Equal(places(got), want) {
		t.Errorf("%v, %v, want %v", places(got), err, want)
	}
}

// Nor is what lies around a time when it was not.
func TestAfterAWrongTime(t *testing.T) {
	m := &memory{}
	want := []traces.Place{m.put("t/0", 0, saying("mine", "user_query")), m.put("t/0", 60, saying("mine", "answer_returned", `,"latency_ms":40000`))}
	for i := range 100_000 { // as many as are read at first
		m.put("t/0", 60+float64(i)/1000, saying("other", "x"))
	}
	last := m.put("t/0", 161, saying("mine", "answer_liked", `,"latency_ms":100000`))
	got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine", Around: noon.Add(100 * time.Second)})
	if want = append(want, last); err != nil || !slices.Equal(places(got), want) {
		t.Errorf("%v, %v, want %v", places(got), err, want)
	}
}

// slow is a Log that takes its time.
type slow struct{ memory }

// Scan implements traces.Log.
func (s *slow) Scan(ctx context.Context, parts traces.Parts, may func([]byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	time.Sleep(10 * time.Second)
	return s.memory.Scan(ctx, parts, may, visit)
}

// A search ends at its time, too.
func TestSearchTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{}
		for i := range 400_000 {
			m.put("t/0", float64(i)/1000, "{}")
		}
		got, err := (&traces.Finder{Log: m, For: 15 * time.Second}).Find(t.Context(), traces.Ask{ID: "mine"})
		if err != nil || got.Stopped != traces.StoppedBudget || got.Records != 200_000 || got.Next["t"][0].To != 200_000 {
			t.Errorf("%s after %d records, next %v, %v", got.Stopped, got.Records, got.Next, err)
		}
	})
}

func TestRecordsThatAreTooLarge(t *testing.T) {
	m := &memory{}
	m.put("t/0", 0, saying("mine", "a", `,"query":"`+strings.Repeat("x", 100)+`"`))
	m.put("t/0", 1, saying("mine", "b"))
	got, err := (&traces.Finder{Log: m, MaxBytes: 100}).Find(t.Context(), traces.Ask{ID: "mine"})
	if err != nil || len(got.Events) != 1 || got.Events[0].Type != "b" {
		t.Errorf("%v, %v, want the one that is an event", got.Events, err)
	}
}

func TestUnknownTrace(t *testing.T) {
	m, _ := busy(100)
	got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "nobody's", Around: noon})
	if err != nil || len(got.Events) != 0 || got.Stopped != traces.StoppedEverything || got.Next != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// A search ends at its bound, and goes on from there.
func TestSearchGoesOn(t *testing.T) {
	m := &memory{}
	first := m.put("t/0", 0, saying("mine", "a"))
	for i := range 450_000 {
		m.put("t/0", 1+float64(i)/100, saying("other", "x"))
	}
	f := &traces.Finder{Log: m, Records: 250_000}
	got, err := f.Find(t.Context(), traces.Ask{ID: "mine"})
	if err != nil || len(got.Events) != 0 || got.Stopped != traces.StoppedBudget || got.Records != 300_000 || got.Next["t"][0].To != 150_001 {
		t.Fatalf("%s after %d records, next %v, %v", got.Stopped, got.Records, got.Next, err)
	}
	got, err = f.Find(t.Context(), traces.Ask{ID: "mine", Below: got.Next})
	if err != nil || !slices.Equal(places(got), []traces.Place{first}) || got.Records > 160_000 {
		t.Errorf("%s after %d records: %v, %v", got.Stopped, got.Records, got.Events, err)
	}
	m.fails = errors.New("Kafka is away")
	if got, err := f.Find(t.Context(), traces.Ask{ID: "mine"}); !errors.Is(err, m.fails) || got.Next["t"][0].To != 450_001 {
		t.Errorf("error %v, next %v", err, got.Next)
	}
}

// large is a Log of ten million records without any, that tells how many are read at once.
type large struct {
	memory
	chunks []int64
}

// Ranges implements traces.Log.
func (*large) Ranges(context.Context, time.Time, time.Time) (traces.Parts, bool, error) {
	return traces.Parts{"t": {0: {To: 5_000_000}, 1: {To: 5_000_000}}}, false, nil
}

// Scan implements traces.Log.
func (l *large) Scan(_ context.Context, parts traces.Parts, _ func([]byte) bool, _ func(*traces.Record) error) (read traces.Read, _ error) {
	for _, s := range parts["t"] {
		read.Records += s.To - s.From
	}
	read.Bytes = 100 * read.Records
	l.chunks = append(l.chunks, read.Records)
	return read, nil
}

// It reads more and more at once, but never too much, and comes to an end.
func TestSearchOfALargeLog(t *testing.T) {
	l := &large{}
	got, err := (&traces.Finder{Log: l, Records: 10_000_000}).Find(t.Context(), traces.Ask{ID: "mine"})
	if err != nil || got.Stopped != traces.StoppedEverything || got.Next != nil || got.Records != 10_000_000 || got.Bytes != 1_000_000_000 {
		t.Errorf("%s after %d records, %d bytes, next %v, %v", got.Stopped, got.Records, got.Bytes, got.Next, err)
	}
	if most := slices.Max(l.chunks); l.chunks[0] != 100_000 || l.chunks[1] != 200_000 || most != 800_000 {
		t.Errorf("read at once %v", l.chunks)
	}
}

// What is read at once is of all partitions together.
func TestSearchOfManyPartitions(t *testing.T) {
	m := &memory{}
	for i := range 120_000 {
		m.put(fmt.Sprintf("t/%d", i%4), float64(i)/1000, "{}")
	}
	got, err := (&traces.Finder{Log: m, Records: 1}).Find(t.Context(), traces.Ask{ID: "mine"})
	if err != nil || got.Records != 100_000 || got.Next["t"][0].To != 5000 || got.Next["t"][3].To != 5000 {
		t.Errorf("%d records of four partitions are read at first, next %v, %v", got.Records, got.Next, err)
	}
}

// Whatever way a producer writes an id, the events that have it are found.
func TestEveryWayToWriteAnID(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, id := range []string{"4bf92f35-77b3", "12345", "a/b", `q"x`, "日本", "a\\b", "\uFFFD"} {
		for range 200 {
			var text strings.Builder
			for _, r := range id {
				switch {
				case r == '"' || r == '\\':
					text.WriteString(`\` + string(r))
				case r == '/' && rng.IntN(2) == 0:
					text.WriteString(`\/`)
				case r < 0x10000 && rng.IntN(4) == 0:
					fmt.Fprintf(&text, `\u%04x`, r)
				default:
					text.WriteRune(r)
				}
			}
			m := &memory{}
			m.put("t/0", 0, `{"event_type":"x","trace_id":"`+text.String()+`","query":"a\nb"}`)
			got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: id})
			if err != nil || len(got.Events) != 1 {
				t.Fatalf("%q as %s: %v, %v", id, text.String(), got.Events, err)
			}
		}
	}
	m := &memory{}
	m.put("t/0", 0, `{"event_type":"x","trace_id":12345}`)
	m.put("t/0", 0, `{"event_type":"y","trace_id":"other","query":"12345"}`)
	m.put("t/0", 0, `{"trace_id":"12345"}`) // no event
	m.put("t/0", 0, "{\"event_type\":\"z\",\"trace_id\":\"\xff\"}")
	if got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "12345"}); err != nil || len(got.Events) != 1 || got.Events[0].Type != "x" {
		t.Errorf("a number: %v, %v", got.Events, err)
	}
	if got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "\uFFFD"}); err != nil || len(got.Events) != 1 || got.Events[0].Type != "z" {
		t.Errorf("bytes that are no text: %v, %v", got.Events, err)
	}
}

func TestContentIsLeftOut(t *testing.T) {
	m := &memory{}
	m.put("t/0", 0, saying("mine", "a", `,"user_id":"alice","status":"error","error":"no such user 'alice'"`))
	for _, content := range []bool{false, true} {
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine", Content: content})
		if err != nil || len(got.Events) != 1 || strings.Contains(fmt.Sprintf("%q %#v", got.Events[0].Content, got.Events[0]), "alice") != content || got.Events[0].ErrorTemplate == "" {
			t.Errorf("with content %v: %s, %v", content, got.Events, err)
		}
	}
}

// An id that a producer gives to everything ends a search soon.
func TestIDOfEverything(t *testing.T) {
	m := &memory{}
	for i := range 3 * traces.MaxEvents {
		m.put("t/0", float64(i)/1000, saying("mine", "a", `,"latency_ms":5`))
	}
	got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine"})
	if err != nil || got.Stopped != traces.StoppedEvents || len(got.Events) != traces.MaxEvents {
		t.Errorf("%s with %d events, %v", got.Stopped, len(got.Events), err)
	}
}

// A margin is no way around the bounds.
func TestMarginsAreBounded(t *testing.T) {
	m := &memory{}
	first := m.put("t/0", 0, saying("mine", "user_query"))
	for i := range 2_000_000 {
		m.put("t/0", 1+float64(i)/1000, saying("other", "x"))
	}
	f := &traces.Finder{Log: m, Records: 1_000_000}
	for name, ask := range map[string]traces.Ask{
		"around what was found": {ID: "mine", At: &first, Margin: 10 * time.Hour},
		"around a time":         {ID: "nobody's", Around: noon, Margin: 10 * time.Hour},
	} {
		m.read = 0
		got, err := f.Find(t.Context(), ask)
		if err != nil || got.Stopped != traces.StoppedBudget || m.read > 1_800_001 || len(got.Events) > 0 != (ask.At != nil) {
			t.Errorf("%s: %s after %d records, %d events, %v", name, got.Stopped, m.read, len(got.Events), err)
		}
		if all := got.To.Sub(noon); len(got.Events) == 0 && !got.From.IsZero() || len(got.Events) > 0 && (all < 10*time.Minute || int64(all.Milliseconds()) > m.read) {
			t.Errorf("%s: all was read from %s to %s, of %d records", name, got.From, got.To, m.read)
		}
	}
}

// A duration that is wrong, by its unit say, does not take the search away from the trace.
func TestWrongDuration(t *testing.T) {
	m := &memory{}
	m.put("t/0", 0, saying("other", "x")) // with a clock that is wrong, so that all might be of then
	for i := range 2_000_000 {
		m.put("t/0", float64(i-2_000_000)/100, saying("other", "x"))
	}
	want := []traces.Place{
		m.put("t/0", 1, saying("mine", "user_query")),
		m.put("t/0", 2, saying("mine", "llm_call_completed", `,"latency_ms":36000000`)),
		m.put("t/0", 3, saying("mine", "answer_returned")),
	}
	for _, at := range want {
		got, err := (&traces.Finder{Log: m, Records: 1_000_000}).Find(t.Context(), traces.Ask{ID: "mine", At: &at})
		if err != nil || !slices.Equal(places(got), want) || got.Stopped != traces.StoppedBudget {
			t.Errorf("at %s: %v, %s, %v, want %v", at, places(got), got.Stopped, err, want)
		}
	}
}

// Nor from what comes behind it.
func TestWrongDurationWithoutAnAnswer(t *testing.T) {
	m := &memory{}
	for i := range 1_800_000 {
		m.put("t/0", float64(i-1_800_000)/4, saying("other", "x"))
	}
	want := []traces.Place{
		m.put("t/1", 0, saying("mine", "retrieval_completed", `,"latency_ms":432000000`)),
		m.put("t/1", 60, saying("mine", "llm_call_completed", `,"latency_ms":59000`)),
	}
	got, err := (&traces.Finder{Log: m, Records: 500_000}).Find(t.Context(), traces.Ask{ID: "mine", At: &want[0]})
	if err != nil || !slices.Equal(places(got), want) || got.Stopped != traces.StoppedBudget {
		t.Errorf("%v, %s, %v, want %v", places(got), got.Stopped, err, want)
	}
}

// A clock that is wrong, of one producer, hides nothing; and one whose bound is reached by the
// last record has read all.
func TestTimestampsOutOfOrder(t *testing.T) {
	m := &memory{}
	for i := range 1000 {
		at := float64(i-1000) / 10
		if i%50 == 0 {
			at += 3600
		}
		m.put("t/0", at, saying("other", "x"))
	}
	var want []traces.Place
	for i := range 3 {
		want = append(want, m.put("t/0", float64(2*i), saying("mine", []string{"user_query", "x", "answer_returned"}[i])))
		m.put("t/0", 3600, saying("other", "x"))
	}
	for _, bound := range []int64{0, 1006} {
		got, err := (&traces.Finder{Log: m, Records: bound}).Find(t.Context(), traces.Ask{ID: "mine", At: &want[0]})
		if err != nil || !slices.Equal(places(got), want) || got.Stopped != traces.StoppedFound {
			t.Errorf("bound %d: %v, %s, %v after %d records, want %v", bound, places(got), got.Stopped, err, got.Records, want)
		}
	}
}

// What lies behind an open transaction is told to be missing, where it might be of the trace.
func TestOpenTransactions(t *testing.T) {
	m := &memory{}
	old := m.put("t/0", -3600, saying("old", "answer_returned"))
	m.put("t/0", 0, saying("mine", "user_query"))
	m.put("t/0", 2, saying("mine", "answer_returned"))
	m.put("t/0", 3600, saying("other", "x"))
	for _, tt := range []struct {
		name   string
		open   int64
		ask    traces.Ask
		events int
		held   bool
	}{
		{"within it", 2, traces.Ask{ID: "mine"}, 1, true},
		{"within it, by a time", 2, traces.Ask{ID: "mine", Around: noon}, 1, true},
		{"before it", 1, traces.Ask{ID: "mine"}, 0, true},
		{"before it, by a time", 1, traces.Ask{ID: "mine", Around: noon}, 0, true},
		{"long behind it", 2, traces.Ask{ID: "old"}, 1, false},
		{"long behind it, by its place", 2, traces.Ask{ID: "old", At: &old}, 1, false},
		{"in what is older", 1, traces.Ask{ID: "mine", Below: traces.Parts{"t": {0: {To: 1}}}}, 0, false},
	} {
		m.open = map[string]int64{"t/0": tt.open}
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), tt.ask)
		if err != nil || len(got.Events) != tt.events || got.Held != tt.held {
			t.Errorf("%s: %d events, held %v, %v, want %d and %v", tt.name, len(got.Events), got.Held, err, tt.events, tt.held)
		}
	}
}

// Of what comes while it searches nothing is said to be read.
func TestTimesOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{}
		now := time.Since(noon).Seconds()
		m.put("t/0", now-1, saying("mine", "user_query"))
		began := time.Now()
		got, err := (&traces.Finder{Log: m}).Find(t.Context(), traces.Ask{ID: "mine"})
		if err != nil || len(got.Events) != 1 || got.To.After(time.Now()) || got.To.Before(began) {
			t.Errorf("%v, %v: read up to %s; it is %s", got.Events, err, got.To, time.Now())
		}
	})
}

// However slow Kafka is, a search that goes on comes to an end.
func TestSlowSearchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &crawling{}
		f := &traces.Finder{Log: l, For: 20 * time.Second}
		ask := traces.Ask{ID: "mine"}
		var read int64
		for range 1000 {
			began := time.Now()
			got, err := f.Find(t.Context(), ask)
			if took := time.Since(began); err != nil || took > 40*time.Second {
				t.Fatalf("%s after %s, %v", got.Stopped, took, err)
			}
			if read += got.Records; got.Next == nil {
				break
			}
			ask.Below = got.Next
		}
		if read != 10_000_000 {
			t.Errorf("%d records were read in all", read)
		}
	})
}

// crawling is a large Log that reads 5,000 records a second.
type crawling struct{ large }

// Scan implements traces.Log.
func (c *crawling) Scan(ctx context.Context, parts traces.Parts, may func([]byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	read, err := c.large.Scan(ctx, parts, may, visit)
	time.Sleep(time.Duration(read.Records) * time.Second / 5000)
	return read, err
}

func TestPlacesThatAreNone(t *testing.T) {
	m, want := busy(100)
	f := &traces.Finder{Log: m}
	for _, at := range []traces.Place{{Topic: "rag-traces", Partition: 9}, {Topic: "rag-traces", Offset: 1 << 40}, {Topic: "t", Offset: 3}} {
		if got, err := f.Find(t.Context(), traces.Ask{ID: "mine", At: &at}); err != nil || !slices.Equal(places(got), want) {
			t.Errorf("at %v: %v, %v, want %v", at, places(got), err, want)
		}
	}
	m.put("secret/0", 0, saying("mine", "a"))
	_, err := f.Find(t.Context(), traces.Ask{ID: "mine", At: &traces.Place{Topic: "secret"}})
	if other := (traces.NotSource{}); !errors.As(err, &other) || !strings.Contains(err.Error(), "secret/0@0") || !strings.Contains(err.Error(), "rag-traces, dialog") {
		t.Errorf("of a topic that is no source: %v", err)
	}
}

// What was searched is told as it was, when a hint led to nothing, too.
func TestSearchedAfterAHint(t *testing.T) {
	m, _ := busy(2000)
	at := place("rag-traces/0", 3)
	f := &traces.Finder{Log: m, Records: 1}
	got, err := f.Find(t.Context(), traces.Ask{ID: "nobody's", At: &at, Below: traces.Parts{"rag-traces": {0: {To: 1 << 50}, 1: {To: 10}}}})
	if err != nil || len(got.Searched["rag-traces"][0]) != 1 || got.Searched["rag-traces"][0][0] != (traces.Span{From: 0, To: 4001}) || got.Searched["rag-traces"][1][0] != (traces.Span{From: 0, To: 10}) {
		t.Errorf("searched %v, %v", got.Searched, err)
	}
	got, err = f.Find(t.Context(), traces.Ask{ID: "nobody's", Around: noon.Add(-300 * time.Second)})
	if err != nil || !got.From.IsZero() || !got.To.IsZero() {
		t.Errorf("from %v to %v, %v; want no time, for all was searched", got.From, got.To, err)
	}
}

func TestBadIDs(t *testing.T) {
	if err := traces.CheckID(strings.Repeat("x", 256)); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", strings.Repeat("x", 257), "a\nb", "\xff"} {
		if _, err := (&traces.Finder{Log: &memory{}}).Find(t.Context(), traces.Ask{ID: id}); err == nil {
			t.Errorf("%q is taken", id)
		}
	}
}

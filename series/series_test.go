package series_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	pane  = int64(10_000)
	hour  = int64(3_600_000)
	epoch = 490_000 * hour // a whole hour
)

// rig is a view and the rows that it is fed with.
type rig[M any, P tables.Measure[M]] struct {
	*testing.T
	view   *views.View[M, P]
	rows   map[string]*tables.Row[M, P] // by partition and key
	offset int64
}

func newRig[M any, P tables.Measure[M]](t *testing.T) *rig[M, P] {
	return &rig[M, P]{T: t, rows: map[string]*tables.Row[M, P]{}, view: views.New[M, P](views.Options{
		Panes: window.Panes{Size: pane, Grace: 60_000}, Partitions: 2, Assemblers: 1, Retention: 2 * time.Hour,
	})}
}

func key(dims ...string) string { return string(tables.AppendKey(nil, dims...)) }

// count counts m at a time.
func (r *rig[M, P]) count(partition int32, key string, at int64, m M) {
	name := fmt.Sprint(partition, key)
	if r.rows[name] == nil {
		r.rows[name] = &tables.Row[M, P]{}
	}
	r.rows[name].Add(at-at%pane, &m)
}

// show closes the panes that end by mark, and feeds the view.
func (r *rig[M, P]) show(mark int64) {
	r.Helper()
	var progress tables.Progress
	progress.Observe(0, mark)
	for partition := range int32(2) {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{Watermark: mark, HasWatermark: true})
		r.update(partition, tables.ProgressKey, progress.Append(nil))
		for name, row := range r.rows {
			if key, mine := strings.CutPrefix(name, fmt.Sprint(partition)); mine {
				row.Close(mark-pane, func(p tables.Pane[M]) { w.Add(key, p.Start, P(&p.M)) })
				r.update(partition, key, row.Append(nil))
			}
		}
		if err := r.view.Windows(partition, 0, slices.Clone(w.Bytes())); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *rig[M, P]) update(partition int32, key string, value []byte) {
	r.Helper()
	r.offset++
	if err := r.view.Update(partition, r.offset, key, value); err != nil {
		r.Fatal(err)
	}
}

// samples returns the samples of all series of a metric as "labels t:value …", times in
// seconds after epoch.
func samples(t *testing.T, s *series.Snapshot, from, to int64, metric string) []string {
	t.Helper()
	q, err := s.Querier(from, to)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric))
	var lines []string
	var it chunkenc.Iterator
	for set.Next() {
		line := set.At().Labels().DropReserved(func(n string) bool { return n == model.MetricNameLabel }).String()
		it = set.At().Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			at, value := it.AtT(), ""
			if kind == chunkenc.ValFloat {
				_, v := it.At()
				value = fmt.Sprint(v)
			} else {
				_, h := it.AtFloatHistogram(nil)
				value = show(h)
			}
			line += fmt.Sprintf(" %v:%s", float64(at-epoch)/1000, value)
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func show(h *histogram.FloatHistogram) string {
	s := fmt.Sprintf("%v,%.9f,%v", h.Count, h.Sum, h.ZeroCount)
	for it := h.PositiveBucketIterator(); it.Next(); {
		if b := it.At(); b.Count != 0 {
			s += fmt.Sprintf(",%d=%v", b.Index, b.Count)
		}
	}
	return s
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func at(seconds float64) time.Time { return time.UnixMilli(epoch + int64(seconds*1000)) }

type traffic = tables.Traffic

func TestSamples(t *testing.T) {
	r := newRig[traffic, *traffic](t)
	r.count(0, key("acme", "chat", "answer"), epoch+12_000, traffic{Count: 3, Errors: 1})
	r.count(0, key("acme", "chat", "answer"), epoch+31_000, traffic{Count: 2})
	r.count(0, key("acme", "chat", "answer"), epoch+55_000, traffic{Count: 1})
	r.show(epoch + 40_000)
	store := series.New(series.Traffic(r.view))
	const ok, failed = `{app="chat", event_type="answer", status="ok", tenant="acme"}`, `{app="chat", event_type="answer", status="error", tenant="acme"}`
	for _, c := range []struct {
		name             string
		now              float64
		from, to         float64
		failed, accepted string
	}{
		{
			"from the birth on, the open pane included", 52.5, 0, 100,
			" 10:0 20:1 30:1 40:1 50:1 52.5:1", " 10:0 20:2 30:2 40:4 50:4 52.5:5",
		},
		{"now is the end of a pane", 50, 0, 100, " 10:0 20:1 30:1 40:1 50:1", " 10:0 20:2 30:2 40:4 50:4"},
		{"now is as the next pane begins", 50.001, 0, 100, " 10:0 20:1 30:1 40:1 50:1 50.001:1", " 10:0 20:2 30:2 40:4 50:4 50.001:5"},
		{"bounds are inclusive", 99, 20, 40, " 20:1 30:1 40:1", " 20:2 30:2 40:4"},
		{"what came before counts", 99, 20.001, 39.999, " 30:1", " 30:2"},
		{"an end before now has no sample between panes", 99, 41, 55, " 50:1", " 50:4"},
		{"a time before the birth", 10, 0, 100, " 10:0", " 10:0"},
		{"long after", 3600, 3585, 4000, " 3590:1 3600:1", " 3590:5 3600:5"},
		{"nothing yet", 9, 0, 100, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := samples(t, store.Snapshot(at(c.now)), at(c.from).UnixMilli(), at(c.to).UnixMilli(), "rag_events_total")
			want(t, got, failed+c.failed, ok+c.accepted)
		})
	}
}

// The topics of rows and of windows are read independently, and a row may be gone.
func TestSamplesWhateverCameFirst(t *testing.T) {
	const wanted = `{app="chat", event_type="answer", status="ok", tenant="acme"} 10:0 20:3 30:3 40:5 50:6`
	k := key("acme", "chat", "answer")
	events := func(t *testing.T, r *rig[traffic, *traffic]) {
		t.Helper()
		got := samples(t, series.New(series.Traffic(r.view)).Snapshot(at(50)), epoch, epoch+hour, "rag_events_total")
		want(t, got[1:], wanted)
	}
	fill := func(t *testing.T) *rig[traffic, *traffic] {
		r := newRig[traffic, *traffic](t)
		r.count(0, k, epoch+12_000, traffic{Count: 3})
		r.count(0, k, epoch+31_000, traffic{Count: 2})
		r.count(0, k, epoch+45_000, traffic{Count: 1})
		return r
	}
	windows := func(r *rig[traffic, *traffic]) {
		var w tables.BatchWriter
		w.Reset(tables.BatchHeader{})
		w.Add(k, epoch+10_000, &traffic{Count: 3})
		w.Add(k, epoch+30_000, &traffic{Count: 2})
		if err := r.view.Windows(0, 0, w.Bytes()); err != nil {
			r.Fatal(err)
		}
	}
	t.Run("the windows", func(t *testing.T) {
		r := fill(t)
		r.update(0, k, r.rows["0"+k].Append(nil))
		windows(r)
		events(t, r)
	})
	t.Run("the row", func(t *testing.T) {
		r := fill(t)
		r.update(0, k, r.rows["0"+k].Append(nil))
		r.rows["0"+k].Close(epoch+40_000-pane, func(tables.Pane[traffic]) {})
		r.update(0, k, r.rows["0"+k].Append(nil))
		events(t, r)
		windows(r)
		events(t, r)
	})
	t.Run("forgotten", func(t *testing.T) {
		r := fill(t)
		r.show(epoch + 60_000)
		r.update(0, k, nil)
		events(t, r)
	})
}

// A series that was forgotten and comes back goes on from what it had, as long as its history
// is there.
func TestSeriesThatComesBack(t *testing.T) {
	k := key("acme", "chat", "answer")
	r := newRig[traffic, *traffic](t)
	store := series.New(series.Traffic(r.view))
	newest := func(when string, now float64, failed, accepted string) {
		t.Helper()
		got := samples(t, store.Snapshot(at(now)), at(0).UnixMilli(), at(now).UnixMilli(), "rag_events_total")
		for i, line := range got {
			words := strings.Fields(line)
			got[i] = strings.Join(words[:4], " ") + " " + strings.Join(words[len(words)-3:], " ")
		}
		const ok, error = `{app="chat", event_type="answer", status="ok", tenant="acme"}`, `{app="chat", event_type="answer", status="error", tenant="acme"}`
		if !slices.Equal(got, []string{error + failed, ok + accepted}) {
			t.Errorf("%s: %q", when, got)
		}
	}
	r.count(0, k, epoch+5_000, traffic{Count: 100, Errors: 10})
	r.show(epoch + 20_000)
	newest("before", 30, " 10:10 20:10 30:10", " 10:90 20:90 30:90")
	r.update(0, k, nil)
	delete(r.rows, fmt.Sprint(0, k))
	r.count(0, k, epoch+605_000, traffic{Count: 3, Errors: 1})
	r.show(epoch + 610_000)
	newest("back", 615, " 600:10 610:11 615:11", " 600:90 610:92 615:92")
}

// So does each part of its histogram.
func TestHistogramThatComesBack(t *testing.T) {
	k := key("acme", "chat", "generate", "m")
	r := newRig[tables.Latency, *tables.Latency](t)
	calls := func(seconds ...int64) (l tables.Latency) {
		for _, s := range seconds {
			l.Observe(s*1e9, "", 0)
		}
		return l
	}
	r.count(0, k, epoch+5_000, calls(0, 0, 1, 1, 1, 4))
	r.show(epoch + 20_000)
	r.update(0, k, nil)
	delete(r.rows, fmt.Sprint(0, k))
	r.count(0, k, epoch+605_000, calls(0, 1, 16))
	r.show(epoch + 610_000)
	all := samples(t, series.New(series.Latency(r.view)).Snapshot(at(615)), at(0).UnixMilli(), at(615).UnixMilli(), "rag_stage_duration_seconds")
	if len(all) != 1 {
		t.Fatalf("got %q", all)
	}
	words := strings.Fields(all[0])
	want(t, words[len(words)-3:], "600:6,7.000000000,2,0=3,32=1", "610:9,24.000000000,3,0=4,32=1,64=1", "615:9,24.000000000,3,0=4,32=1,64=1")
}

// An iterator is used for one series after another, of one metric and of others, and so
// is the memory of a histogram; what was taken from it stays as it is.
func TestIteratorsAreUsedAgain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	latency, events := newRig[tables.Latency, *tables.Latency](t), newRig[traffic, *traffic](t)
	for n := range 20 {
		first := epoch + rnd.Int64N(hour)
		for range rnd.IntN(100) {
			ms := first + rnd.Int64N(hour)
			var m tables.Latency
			ns := int64(1e6 * math.Exp(rnd.NormFloat64()*float64(n)))
			switch n % 5 {
			case 3:
				ns = 1e9 // bucket 0
			case 4:
				ns = 0 // no bucket
			}
			m.Observe(ns, "", ms)
			if n%3 == 0 {
				m.TTFT.Observe(rnd.Int64N(1e9))
			}
			latency.count(int32(n%2), key("acme", "chat", "generate", fmt.Sprint("m", n)), ms, m)
			events.count(int32(n%2), key("acme", "chat", fmt.Sprint("e", n)), ms, traffic{Count: 1, Errors: rnd.Int64N(2)})
		}
	}
	latency.show(epoch + hour)
	events.show(epoch + hour)
	s := series.New(series.Latency(latency.view), series.Traffic(events.view)).Snapshot(at(7200))
	q, err := s.Querier(epoch+hour/2, epoch+2*hour)
	if err != nil {
		t.Fatal(err)
	}
	var again chunkenc.Iterator
	var memory histogram.FloatHistogram
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "rag_.+"))
	kinds := map[chunkenc.ValueType]int{}
	for set.Next() {
		fresh := set.At().Iterator(nil)
		again = set.At().Iterator(again)
		var kept, copies []*histogram.FloatHistogram
		skip := rnd.Int64N(2)
		for kind := fresh.Next(); kind != chunkenc.ValNone; kind = fresh.Next() {
			if fresh.AtT()/pane%2 == skip { // stepped over
				continue
			}
			if got := again.Seek(fresh.AtT()); got != kind || again.AtT() != fresh.AtT() {
				t.Fatalf("%v: %v at %d, want %v at %d", set.At().Labels(), got, again.AtT(), kind, fresh.AtT())
			}
			kinds[kind]++
			if kind == chunkenc.ValFloat {
				_, got := again.At()
				if _, want := fresh.At(); got != want {
					t.Fatalf("%v: %v, want %v", set.At().Labels(), got, want)
				}
				continue
			}
			_, got := again.AtFloatHistogram(&memory)
			_, want := fresh.AtFloatHistogram(nil)
			if show(got) != show(want) {
				t.Fatalf("%v: %v, want %v", set.At().Labels(), got, want)
			}
			kept, copies = append(kept, want), append(copies, want.Copy())
		}
		for i, h := range kept {
			if !h.Equals(copies[i]) {
				t.Fatalf("%v: a histogram that was taken has changed: %v, was %v", set.At().Labels(), h, copies[i])
			}
		}
	}
	if kinds[chunkenc.ValFloat] < 1000 || kinds[chunkenc.ValFloatHistogram] < 1000 {
		t.Errorf("too few samples: %v", kinds)
	}
}

// What was lent once is given back once, however often its querier is closed.
func TestIteratorIsInOneUse(t *testing.T) {
	r := newRig[traffic, *traffic](t)
	r.count(0, key("acme", "chat", "answer"), epoch, traffic{Count: 1})
	r.show(epoch)
	s := series.New(series.Traffic(r.view)).Snapshot(at(60))
	for range 20 {
		q, err := s.Querier(epoch, epoch+hour)
		if err != nil {
			t.Fatal(err)
		}
		set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "rag_events_total"))
		set.Next()
		lent := set.At().Iterator(set.At().Iterator(nil))
		for range 2 {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if one, other := set.At().Iterator(nil), set.At().Iterator(nil); one == other {
			t.Fatalf("%p is in use twice, %p was lent before", one, lent)
		}
	}
}

// Once a querier is closed its iterators serve others, with the memory that they have.
func TestIteratorsComeBack(t *testing.T) {
	events, latency := newRig[traffic, *traffic](t), newRig[tables.Latency, *tables.Latency](t)
	events.count(0, key("acme", "chat", "answer"), epoch, traffic{Count: 1})
	events.show(epoch)
	var m tables.Latency
	m.Observe(1e9, "", epoch)
	latency.count(0, key("acme", "chat", "generate", "m"), epoch, m)
	latency.show(epoch)
	s := series.New(series.Traffic(events.view), series.Latency(latency.view)).Snapshot(at(60))
	for _, name := range []string{"rag_events_total", "rag_stage_duration_seconds"} {
		lent, back := map[chunkenc.Iterator]bool{}, 0
		for range 100 { // a pool may forget
			q, err := s.Querier(epoch, epoch+hour)
			if err != nil {
				t.Fatal(err)
			}
			set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
			set.Next()
			it := set.At().Iterator(nil)
			if lent[it] {
				back++
			}
			lent[it] = true
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if back < 10 {
			t.Errorf("%s: %d of 100 iterators were used before", name, back)
		}
	}
}

// TestSnapshotsOfMany lets many evaluate at once, as the race detector likes it.
func TestSnapshotsOfMany(t *testing.T) {
	latency := newRig[tables.Latency, *tables.Latency](t)
	for n := range int64(300) {
		var m tables.Latency
		m.Observe(n*1e7, "", epoch+n*1000)
		latency.count(int32(n%2), key("acme", "chat", "generate", fmt.Sprint("m", n%10)), epoch+n*1000, m)
	}
	latency.show(epoch + 200_000)
	store := series.New(series.Latency(latency.view))
	const expr = `histogram_quantile(0.9, sum(rate(rag_stage_duration_seconds[5m]))) + 0 * sum(rate(rag_stage_duration_seconds_sum[5m]))`
	one := store.Snapshot(at(300))
	wanted := scalar(t, one, at(300), expr)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			s := one
			if n%2 == 0 {
				s = store.Snapshot(at(300))
			}
			for range 10 {
				q, err := engine.NewInstantQuery(context.Background(), s, nil, expr, at(300))
				if err != nil {
					t.Error(err)
					return
				}
				if v, err := q.Exec(context.Background()).Vector(); err != nil || len(v) != 1 || v[0].F != wanted {
					t.Errorf("%v, %v, want %v", v, err, wanted)
				}
				q.Close()
			}
		})
	}
	all.Wait()
}

// The sum of a series stays at its top once there. It is less than the sum of its panes
// then, but does not fall.
func TestSumsAtTheirTop(t *testing.T) {
	latency := newRig[tables.Latency, *tables.Latency](t)
	k := key("acme", "chat", "generate", "m")
	for n := range int64(12) {
		var m tables.Latency
		for range 2500 { // two thirds of the top
			m.Observe(tables.MaxDuration, "", epoch+n*pane)
		}
		latency.count(0, k, epoch+n*pane, m)
	}
	s := series.New(series.Latency(latency.view))
	for _, mark := range []int64{epoch, epoch + 60_000, epoch + 120_000} {
		latency.show(mark)
		for _, metric := range []string{"rag_stage_duration_seconds", "rag_stage_duration_seconds_sum"} {
			last := 0.0
			lines := samples(t, s.Snapshot(at(120)), epoch, epoch+hour, metric)
			for i, sample := range strings.Fields(lines[0])[4:] {
				_, value, _ := strings.Cut(sample, ":")
				if metric == "rag_stage_duration_seconds" {
					value = strings.Split(value, ",")[1]
				}
				sum, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				if sum < last || i == 0 && sum != 0 {
					t.Errorf("mark %d, %s: a sum of %v after %v", mark-epoch, metric, sum, last)
				}
				last = sum
			}
			if last < 5e9 {
				t.Errorf("mark %d, %s: the last sum is %v", mark-epoch, metric, last)
			}
		}
	}
}

// A row that comes in several parts, as that of overflow does from every partition, is
// one series; so are dimensions that show the same.
func TestSeriesOfSeveralRows(t *testing.T) {
	r := newRig[traffic, *traffic](t)
	r.count(0, tables.OverflowKey, epoch+1000, traffic{Count: 1})
	r.count(1, tables.OverflowKey, epoch+1000, traffic{Count: 2})
	r.count(1, tables.OverflowKey, epoch+21_000, traffic{Count: 4})
	r.count(0, key(tables.OverflowLabel, tables.OverflowLabel, tables.OverflowLabel), epoch+11_000, traffic{Count: 8})
	r.count(0, key("\xff", "", "x"), epoch+1000, traffic{Count: 16, Errors: 16})
	r.count(1, key("\xfe", "", "x"), epoch+11_000, traffic{Count: 32, Errors: 32})
	r.show(epoch)
	got := samples(t, series.New(series.Traffic(r.view)).Snapshot(at(30)), epoch, epoch+hour, "rag_events_total")
	const o = `{app="_overflow", event_type="_overflow", status="%s", tenant="_overflow"} %s`
	want(
		t, got,
		fmt.Sprintf(o, "error", "0:0 10:0 20:0 30:0"),
		fmt.Sprintf(o, "ok", "0:0 10:3 20:11 30:15"),
		"{event_type=\"x\", status=\"error\", tenant=\"\uFFFD\"} 0:0 10:16 20:48 30:48",
		"{event_type=\"x\", status=\"ok\", tenant=\"\uFFFD\"} 0:0 10:0 20:0 30:0",
	)
}

// TestSamplesAreScrapes compares the samples with those of a plain scraper, which adds up
// all that happened before each of its scrapes.
func TestSamplesAreScrapes(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 17))
		r := newRig[tables.Latency, *tables.Latency](t)
		k := key("acme", "chat", "generate", "m")
		type call struct{ at, ns int64 }
		var calls []call
		span := int64(1+rnd.IntN(40)) * hour / 8
		for range rnd.IntN(200) {
			c := call{epoch + hour + rnd.Int64N(span), int64(math.Exp(rnd.Float64()*20) * 1000)}
			calls = append(calls, c)
		}
		slices.SortFunc(calls, func(a, b call) int { return int(a.at - b.at) })
		last := epoch
		for i, c := range calls { // shown little by little, as it is closed
			var m tables.Latency
			m.Observe(c.ns, "", c.at)
			r.count(0, k, c.at, m)
			if rnd.IntN(10) == 0 || i == len(calls)-1 {
				last = max(last, c.at-c.at%pane-rnd.Int64N(8)*pane)
				r.show(last)
			}
		}
		now := epoch + hour + rnd.Int64N(span+hour)
		from := epoch + rnd.Int64N(now-epoch)
		to := from + rnd.Int64N(now+hour-from)
		folded := last - 2*hour
		folded -= folded % hour
		var scrapes []string
		scrape := func(t int64, before int64) {
			var h tables.Latency
			for _, c := range calls {
				if c.at < before {
					h.Observe(c.ns, "", c.at)
				}
			}
			if len(calls) > 0 && t >= calls[0].at-calls[0].at%pane {
				var buckets string
				for i, n := range h.Duration.Buckets() {
					buckets += fmt.Sprintf(",%d=%d", i, n)
				}
				scrapes = append(scrapes, fmt.Sprintf("%v:%d,%.9f,%d%s", float64(t-epoch)/1000, h.Duration.Count(),
					time.Duration(h.Duration.Sum()).Seconds(), h.Duration.ZeroCount(), buckets))
			}
		}
		for t := (max(from, folded+hour) + pane - 1) / pane * pane; t <= min(now, to); t += pane {
			scrape(t, t)
		}
		if now <= to && now%pane != 0 && now >= max(from, folded+hour) {
			scrape(now, now-now%pane+pane)
		}
		got := samples(t, series.New(series.Latency(r.view)).Snapshot(time.UnixMilli(now)), max(from, folded+hour), to, "rag_stage_duration_seconds")
		if len(scrapes) == 0 {
			for _, line := range got {
				if strings.Contains(line, ":") {
					t.Errorf("seed %d: got %s, want nothing", seed, line)
				}
			}
			continue
		}
		want(t, got, `{app="chat", model="m", stage="generate", tenant="acme"} `+strings.Join(scrapes, " "))
		if t.Failed() {
			t.Fatalf("seed %d: from %d to %d, now %d", seed, from-epoch, to-epoch, now-epoch)
		}
	}
}

var engine = promql.NewEngine(promql.EngineOpts{
	MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
	EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
})

func eval(t *testing.T, s *series.Snapshot, now time.Time, expr string) string {
	t.Helper()
	q, err := engine.NewInstantQuery(context.Background(), s, nil, expr, now)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	result := q.Exec(t.Context())
	if result.Err != nil {
		t.Fatalf("%s: %v", expr, result.Err)
	}
	return result.Value.String()
}

func TestExpressions(t *testing.T) {
	r := newRig[traffic, *traffic](t)
	latency := newRig[tables.Latency, *tables.Latency](t)
	errors := newRig[tables.Errors, *tables.Errors](t)
	const now = 3605.0 // an hour, and half of a pane
	var durations []float64
	rnd := rand.New(rand.NewPCG(1, 2))
	for s := int64(0); s < now; s++ {
		ms := epoch + s*1000
		r.count(0, key("acme", "chat", "answer"), ms, traffic{Count: 2})
		if s >= 3300 {
			r.count(0, key("acme", "chat", "answer"), ms, traffic{Count: 1, Errors: 1})
		}
		if s < 1800 {
			r.count(0, key("initech", "", "answer"), ms, traffic{Count: 1})
		}
		for _, stage := range []string{"generate", "retrieve"} {
			var m tables.Latency
			ns := int64(1e6 * math.Exp(rnd.NormFloat64()+5))
			m.Observe(ns, "", ms)
			if stage == "generate" && s >= 3310 { // the pane that ends five minutes ago is behind
				durations = append(durations, float64(ns)/1e9)
			}
			latency.count(0, key("acme", "chat", stage, fmt.Sprint("m", s%3)), ms, m)
		}
	}
	var m tables.Errors
	m.Observe(tables.Sample{Time: epoch + 3_601_000}, "Timeout", "no answer in <duration>", 0)
	errors.count(1, key("acme", "chat", "generate", "00000000000000aa"), epoch+3_601_000, m)
	r.show(epoch + 3_550_000)
	latency.show(epoch + 3_550_000)
	errors.show(epoch + 3_550_000)
	s := series.New(series.Traffic(r.view), series.Latency(latency.view), series.Errors(errors.view)).Snapshot(at(now))
	for _, c := range []struct{ expr, want string }{
		{`rag_events_total{tenant="acme", status="error"}`, `{__name__="rag_events_total", app="chat", event_type="answer", status="error", tenant="acme"} => 305`},
		{`sum by (tenant) (rag_events_total)`, "{tenant=\"acme\"} => 7515\n{tenant=\"initech\"} => 1800"},
		{`sum(rate(rag_events_total{tenant="acme", status="ok"}[5m]))`, `{} => 2`},
		{`sum(rate(rag_events_total{tenant="acme", status="ok"}[5m] offset 65s))`, `{} => 2.0000000000000004`},
		{`sum(rate(rag_events_total{status="error"}[1m] @ 1764003600))`, `{} => 1`},
		{`sum(rate(rag_events_total{status="error"}[1m] @ 1764003000))`, `{} => 0`},
		{`sum(increase(rag_events_total{tenant="initech"}[5m]))`, `{} => 0`},
		{`max_over_time(sum(rate(rag_events_total{status="ok", tenant="initech"}[1m]))[1h:1m] offset 5s)`, `{} => 1`},
		{`sum by (tenant) (rate(rag_events_total{status="error"}[1m] offset 5s)) / on (tenant) sum by (tenant) (rate(rag_events_total[1m] offset 5s)) > 0`, `{tenant="acme"} => 0.3333333333333333`},
		{`absent(rag_events_total{tenant="globex"})`, `{tenant="globex"} => 1`},
		{`absent(rag_events_total{tenant="acme"})`, ``},
		{`count({__name__=~"rag_.+_count"})`, `{} => 6`},
		{`rag_error_group_events_total`, `{__name__="rag_error_group_events_total", app="chat", error_type="Timeout", fingerprint="00000000000000aa", stage="generate", tenant="acme"} => 1`},
		{`increase(rag_error_group_events_total[5m]) > 0`, `{app="chat", error_type="Timeout", fingerprint="00000000000000aa", stage="generate", tenant="acme"} => 1`},
		{`histogram_count(sum(rag_stage_duration_seconds{stage="retrieve"}))`, `{} => 3605`},
		{`sum(rag_stage_duration_seconds_count{stage="retrieve"})`, `{} => 3605`},
		{`sum(rag_stage_duration_seconds_bucket{le="+Inf"})`, `{} => 7210`},
		{`sum(rag_stage_duration_seconds_sum) - histogram_sum(sum(rag_stage_duration_seconds)) < bool 1e-9`, `{} => 1`},
		{`sum(rag_stage_duration_seconds_bucket{le="1.0"}) - histogram_fraction(0, 1, sum(rag_stage_duration_seconds)) * 7210 < bool 1e-9`, `{} => 1`},
		{`rag_time_to_first_token_seconds`, ``},
	} {
		got := eval(t, s, at(now), c.expr)
		if i := strings.Index(got, " @["); i >= 0 {
			lines := strings.Split(got, "\n")
			for i, l := range lines {
				lines[i], _, _ = strings.Cut(l, " @[")
			}
			slices.Sort(lines)
			got = strings.Join(lines, "\n")
		}
		if got != c.want {
			t.Errorf("%s\n\tgot  %q\n\twant %q", c.expr, got, c.want)
		}
	}
	slices.Sort(durations)
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
		got := scalar(t, s, at(now), fmt.Sprintf(`histogram_quantile(%v, sum by (stage) (rate(rag_stage_duration_seconds{stage="generate"}[5m])))`, q))
		exact := durations[int(math.Ceil(q*float64(len(durations))))-1]
		if math.Abs(got/exact-1) > 0.045 { // a bucket
			t.Errorf("quantile %v: %v, want %v", q, got, exact)
		}
	}
}

func TestGauge(t *testing.T) {
	lag := series.Gauge("analytics_lag_seconds", []string{"table"}, func(visit func([]string, float64)) {
		visit([]string{"errors"}, 7)
		visit([]string{"traffic"}, 90)
	})
	s := series.New(lag).Snapshot(at(60))
	for _, c := range []struct{ expr, want string }{
		{`max(analytics_lag_seconds) > 60`, `{} => 90 @[1764000060000]`},
		{`analytics_lag_seconds{table="errors"}`, `analytics_lag_seconds{table="errors"} => 7 @[1764000060000]`},
		{`analytics_lag_seconds offset 1s`, ``},
	} {
		if got := strings.Replace(eval(t, s, at(60), c.expr), `{__name__="analytics_lag_seconds", `, `analytics_lag_seconds{`, 1); got != c.want {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}

// scalar evaluates an expression of one number.
func scalar(t *testing.T, s *series.Snapshot, now time.Time, expr string) float64 {
	t.Helper()
	q, err := engine.NewInstantQuery(t.Context(), s, nil, expr, now)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	v, err := q.Exec(t.Context()).Vector()
	if err != nil || len(v) != 1 {
		t.Fatalf("%s: %v, %v", expr, v, err)
	}
	return v[0].F
}

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ragstreams/alerts"
	"ragstreams/generate"
	"ragstreams/kafka"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// past is a source topic with records of the past, and rules.
type past struct {
	testing.TB
	o       Options
	began   time.Time // a whole minute
	n       int
	records []*kgo.Record
}

// newPast begins some time ago. Nothing but the source topic exists.
func newPast(t testing.TB, partitions int32, ago time.Duration, rules string) *past {
	t.Helper()
	p := &past{TB: t, o: testOptions(t), began: time.Now().Add(-ago).Truncate(time.Minute).UTC()}
	p.o.Sources = p.o.Sources[:1]
	p.o.IdleTimeout = 30 * time.Second
	p.topic(kafka.Topic{Name: p.o.Sources[0], Partitions: partitions})
	p.rules(rules)
	return p
}

func (p *past) topic(t kafka.Topic) {
	p.Helper()
	t.Create, t.Forever = true, t.Config == nil
	if _, err := kafka.EnsureTopics(p.Context(), p.o.Kafka, 1, []kafka.Topic{t}); err != nil {
		p.Fatal(err)
	}
}

func (p *past) rules(content string) {
	p.Helper()
	p.o.Rules = filepath.Join(p.TempDir(), "rules.yaml")
	if err := os.WriteFile(p.o.Rules, []byte(content), 0o644); err != nil {
		p.Fatal(err)
	}
}

// event writes an event at a time after the beginning, with an id of its own.
func (p *past) event(partition int32, at time.Duration, fields string) {
	p.n++
	p.raw(partition, at, fmt.Sprintf(`{"event_id":"e%d","event_type":"llm_call","timestamp":%q,%s}`, p.n, p.began.Add(at).Format(time.RFC3339Nano), fields))
}

func (p *past) raw(partition int32, at time.Duration, value string) {
	p.records = append(p.records, &kgo.Record{Topic: p.o.Sources[0], Partition: partition, Timestamp: p.began.Add(at), Value: []byte(value)})
}

// purge deletes what lies before an offset of each partition of the first source topic.
func (p *past) purge(below ...int64) {
	p.Helper()
	offsets := map[int32]int64{}
	for n, at := range below {
		offsets[int32(n)] = at
	}
	if err := kafka.Purge(p.Context(), p.o.Kafka, p.o.Sources[0], offsets); err != nil {
		p.Fatal(err)
	}
}

// write sends what was written, each partition in its order.
func (p *past) write() {
	p.Helper()
	client, err := p.o.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		p.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(p.Context(), p.records...).FirstErr(); err != nil {
		p.Fatal(err)
	}
	p.records = nil
}

// test runs a backtest of a stretch of time after the beginning.
func (p *past) test(since, until time.Duration, change ...func(*Backtest)) *BacktestResult {
	p.Helper()
	b := Backtest{Since: p.began.Add(since), Until: p.began.Add(until), WarmUp: -1}
	for _, c := range change {
		c(&b)
	}
	r, err := RunBacktest(p.Context(), p.o, b)
	if err != nil {
		p.Fatal(err)
	}
	return r
}

// alerts are the alerts of a result, a line each, with times after the beginning.
func (p *past) alerts(r *BacktestResult) string {
	var lines []string
	for _, a := range r.Alerts {
		resolved := "still"
		if a.Resolved != nil {
			resolved = a.Resolved.Sub(p.began).String()
		}
		labels := slices.Sorted(maps.Keys(a.Labels))
		for i, name := range labels {
			labels[i] = name + "=" + a.Labels[name]
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s-%s %s peak %.6g", a.Rule, strings.Join(labels, ","), a.Fired.Sub(p.began), resolved, time.Duration(a.Lasted), float64(a.Peak)))
	}
	return strings.Join(lines, "\n")
}

func (p *past) want(got, want string) {
	p.Helper()
	if d := cmp.Diff(strings.TrimSpace(want), got); d != "" {
		p.Error(d)
	}
}

const pastRules = `
groups:
- name: g
  rules:
  - alert: Errors
    expr: sum by (tenant) (increase(rag_events_total{status="error"}[1m])) > 5
    for: 25s500ms
    labels: {severity: page}
  - alert: Quiet
    expr: sum by (tenant) (increase(rag_events_total[1m])) < 12
    keep_firing_for: 15s
  - alert: Never
    expr: sum(rate(rag_events_total[1m])) > 1e6
`

const ok, failed = `"tenant":"acme","status":"ok"`, `"tenant":"acme","status":"error"`

// An event a second; two minutes of them fail, in two partitions.
func (p *past) breach() {
	for s := range 600 {
		fields := ok
		if s >= 240 && s < 360 {
			fields = failed
		}
		p.event(int32(s%2), time.Duration(s)*time.Second+500*time.Millisecond, fields)
	}
}

// breachFound is what a backtest says of it. Samples lie at the ends of panes: at 4:10 the
// newest tells of ten errors, and 25.5 s later they have held. At 6:50 the sample of 5:50
// is no longer within the minute, and those from 6:00 on tell of no more errors.
const breachFound = "Errors{severity=page,tenant=acme} 4m35.5s-6m50s 2m14.5s peak 60"

func TestBacktestFindsABreach(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.breach()
	p.write()
	r := p.test(2*time.Minute, 10*time.Minute)
	p.want(p.alerts(r), breachFound)
	want := []BacktestRule{{"g", "Errors", 1, 0, 0, alerts.Seconds(134500 * time.Millisecond)}, {"g", "Quiet", 0, 0, 0, 0}, {"g", "Never", 0, 0, 0, 0}}
	if d := cmp.Diff(want, r.Rules); d != "" {
		t.Error(d)
	}
	if want := (BacktestRecords{Read: 480, Counted: 480, WarmUp: 120}); r.Records != want {
		t.Errorf("records %+v, want %+v", r.Records, want)
	}
	if len(r.NotCovered) > 0 || len(r.Faults) > 0 {
		t.Errorf("not covered %v, faults %v", r.NotCovered, r.Faults)
	}
	if step := time.Duration(r.Step); step != p.o.Pane || !r.ReadFrom.Before(r.Since.Add(-time.Minute)) {
		t.Errorf("step %s, read from %s", step, r.ReadFrom)
	}
}

// What the program would not have counted makes no difference: with it the alert would
// begin sooner, and end later.
func TestBacktestCountsAsTheProgramDoes(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.event(0, 200*time.Second, failed)
	one := string(p.records[0].Value)
	p.records, p.n = nil, 1000
	for s := range 600 {
		at := time.Duration(s)*time.Second + 500*time.Millisecond
		fields := ok
		switch {
		case s == 200:
			p.raw(0, at, one)
			for n := range 20 { // in either partition
				p.raw(int32(n%2), at+time.Millisecond*time.Duration(n), one)
			}
			continue
		case s >= 240 && s < 360:
			fields = failed
		case s == 420: // two minutes late, with a grace of one
			for n := range 10 {
				p.raw(0, at, fmt.Sprintf(`{"event_id":"late%d","event_type":"llm_call","timestamp":%q,%s}`, n, p.began.Add(at-2*time.Minute).Format(time.RFC3339Nano), failed))
			}
		case s > 420 && s <= 440:
			p.raw(1, at, `{"event_type":"llm_call",`+failed)
			p.raw(1, at, fmt.Sprintf(`{"event_type":"llm_call","timestamp":%q,%s}`, p.began.Add(at+time.Hour).Format(time.RFC3339Nano), failed))
		}
		p.event(int32(s%2), at, fields)
	}
	p.write()
	r := p.test(2*time.Minute, 10*time.Minute)
	p.want(p.alerts(r), breachFound)
	want := BacktestRecords{Read: 480 + 20 + 10 + 40, Counted: 480, Duplicate: 20, Late: 10, Poison: 40, WarmUp: 120}
	if r.Records != want {
		t.Errorf("records %+v, want %+v", r.Records, want)
	}
}

// A partition that is silent holds nobody back, and what it brings after that is late
// where the others have passed it.
func TestBacktestOfAnIdlePartition(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	for s := range 600 {
		p.event(0, time.Duration(s)*time.Second, ok)
	}
	p.event(1, 120*time.Second, ok)
	p.raw(1, 400*time.Second, fmt.Sprintf(`{"event_type":"llm_call","timestamp":%q,%s}`, p.began.Add(130*time.Second).Format(time.RFC3339Nano), ok))
	p.write()
	if r := p.test(-time.Second, 10*time.Minute); r.Records != (BacktestRecords{Read: 602, Counted: 601, Late: 1}) {
		t.Errorf("%+v", r.Records)
	}
}

// Totals begin with nothing, which is told of those who ask for them.
func TestBacktestTellsOfTotals(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, strings.ReplaceAll(pastRules, "sum(rate(rag_events_total[1m])) > 1e6", "sum(rag_events_total) > 500"))
	p.breach()
	p.write()
	r := p.test(2*time.Minute, 10*time.Minute, func(b *Backtest) { b.WarmUp = 0 })
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "Never asks for totals (rag_events_total), which begin with 0 here, at "+stamp(r.ReadFrom)) {
		t.Errorf("%q", r.Notes)
	}
}

// What fires at the end is told, and so is what fired at the beginning.
func TestBacktestOfAPart(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.breach()
	p.write()
	r := p.test(5*time.Minute, 6*time.Minute+5*time.Second)
	p.want(p.alerts(r), "Errors{severity=page,tenant=acme} 4m35.5s-still 1m5s peak 60")
	if got := r.Rules[0]; got.StillFiring != 1 || got.Times != 0 || got.Before != 1 || !r.Alerts[0].Before || time.Duration(got.Total) != 65*time.Second {
		t.Errorf("summary %+v", got)
	}
	// Another step finds it at another time, and never later than a step.
	r = p.test(2*time.Minute, 10*time.Minute, func(b *Backtest) { b.Step = time.Second })
	p.want(p.alerts(r), "Errors{severity=page,tenant=acme} 4m31.5s-6m50s 2m18.5s peak 60")
}

// An app that goes quiet: nothing comes, and time goes on all the same. At 15:10 there is
// enough again, and 15 s later it was kept. The peak of what is too small is the smallest.
func TestBacktestOfSilence(t *testing.T) {
	p := newPast(t, 2, 30*time.Minute, pastRules)
	for s := range 1200 {
		if s < 300 || s >= 900 {
			p.event(int32(s%2), time.Duration(s)*time.Second+500*time.Millisecond, ok)
		}
	}
	p.write()
	r := p.test(2*time.Minute, 20*time.Minute)
	p.want(p.alerts(r), "Quiet{tenant=acme} 5m50s-15m25s 9m35s peak 0")
}

// Of traffic with copies, late events and records that are none, in partitions of two
// topics, a backtest counts what the program would count; see TestTablesEqualGroundTruth.
func TestBacktestOutcomesEqualGroundTruth(t *testing.T) {
	p := newPast(t, 4, 30*time.Minute, pastRules)
	p.o.Sources = append(p.o.Sources, p.o.Sources[0]+"-dialog")
	p.topic(kafka.Topic{Name: p.o.Sources[1], Partitions: 3})
	const n = 60_000
	step := 20 * time.Minute / n
	g := generate.New(generate.Config{
		Seed: 7, Step: step, Start: p.began, Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5,
		Topics: []generate.Topic{{Name: p.o.Sources[0], Partitions: 4}, {Name: p.o.Sources[1], Partitions: 3}},
	})
	for i := range n {
		r := g.Next()
		p.records = append(p.records, &kgo.Record{
			Topic: r.Topic, Partition: r.Partition, Timestamp: p.began.Add(time.Duration(i) * step), Key: slices.Clone(r.Key), Value: slices.Clone(r.Value),
		})
	}
	p.write()
	r := p.test(-time.Second, 25*time.Minute)
	truth := g.Truth()
	want := BacktestRecords{
		Read: n, Counted: truth.Count("", generate.Counted), Duplicate: truth.Count("", generate.Duplicate),
		Late: truth.Count("", generate.Late), Poison: truth.Count("", generate.Poison),
	}
	if r.Records != want {
		t.Errorf("%+v, want %+v", r.Records, want)
	}
}

const recordedRules = `
groups:
- name: g
  rules:
  - {record: errors, expr: 'sum by (tenant) (increase(rag_events_total{status="error"}[1m]))'}
  - {record: smooth, expr: 'avg_over_time(errors[1m])'}
  - {alert: Smooth, expr: 'max_over_time(smooth[30s]) > 20', for: 20s}
  - {alert: Rises, expr: 'smooth > 1.2 * smooth offset 1m', keep_firing_for: 30s}
`

// Wherever a backtest begins, what begins to fire later is the same: it reads, and
// records, as far back as the rules look.
func TestBacktestOfAPartIsPartOfTheWhole(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, recordedRules)
	p.breach()
	p.write()
	whole := p.test(time.Minute, 10*time.Minute)
	if len(whole.Alerts) < 2 {
		t.Fatalf("only %s", p.alerts(whole))
	}
	for _, since := range []time.Duration{3*time.Minute + 7*time.Second, 4*time.Minute + 20*time.Second, 5 * time.Minute} {
		part := p.test(since, 10*time.Minute)
		want := *whole
		want.Alerts = slices.DeleteFunc(slices.Clone(whole.Alerts), func(a BacktestAlert) bool { return !a.Resolved.After(p.began.Add(since)) })
		for i := range want.Alerts { // of those from before, the rest
			if one := &want.Alerts[i]; one.Fired.Before(p.began.Add(since)) {
				one.Lasted = alerts.Seconds(one.Resolved.Sub(p.began.Add(since)))
			}
		}
		p.want(p.alerts(part), p.alerts(&want))
	}
}

// A view holds what it held then: panes for as long as the program keeps them, and hours
// before, in which samples are four minutes apart. Of panes alone there are more than 700
// at 1:57; of an hour of panes and three without there never are.
func TestBacktestKeepsWhatTheProgramKept(t *testing.T) {
	p := newPast(t, 1, 5*time.Hour, `
groups: [{name: g, rules: [{alert: Samples, expr: 'max(count_over_time(rag_events_total{status="ok"}[4h])) > 700'}]}]
`)
	for s := 0; s < 4*3600; s += 10 {
		p.event(0, time.Duration(s)*time.Second, ok)
	}
	p.write()
	change := func(b *Backtest) { b.WarmUp, b.Step = 0, time.Minute }
	p.o.PaneRetention = 2 * time.Hour
	if got := p.alerts(p.test(0, 4*time.Hour, change)); !strings.HasPrefix(got, "Samples{} 1h57m") || !strings.Contains(got, "still") {
		t.Errorf("panes are kept for two hours: %s", got)
	}
	p.o.PaneRetention = 10 * p.o.Pane
	if got := p.alerts(p.test(0, 4*time.Hour, change)); got != "" {
		t.Errorf("panes are kept for 100 s: %s", got)
	}
}

// The cluster is as it was.
func TestBacktestLeavesNothingBehind(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.breach()
	p.write()
	p.o.Sources = append(p.o.Sources, "none")
	p.o.CreateTopics = true
	adm := admin(t, &p.o)
	state := func() string {
		topics, err := adm.ListTopicsWithInternal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		groups, err := adm.ListGroups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends, err := adm.ListEndOffsets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(topics.Names(), groups.Groups(), ends.Offsets())
	}
	before := state()
	if r := p.test(2*time.Minute, 10*time.Minute); len(r.Alerts) != 1 {
		t.Errorf("alerts %v", r.Alerts)
	}
	if after := state(); after != before {
		t.Errorf("the cluster is\n%s\nand was\n%s", after, before)
	}
}

// What is asked for and not there is told. Topics with a bound on their size may have lost
// records of any time.
func TestBacktestTellsWhatIsNotCovered(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.o.Sources = []string{"bounded", "none"}
	p.topic(kafka.Topic{Name: "bounded", Partitions: 2, Config: map[string]string{"retention.ms": "-1", "retention.bytes": "1000000000"}})
	p.breach()
	p.write()
	p.purge(75, 30)
	first, second := p.began.Add(150*time.Second+500*time.Millisecond), p.began.Add(61*time.Second+500*time.Millisecond)
	zero, one := int32(0), int32(1)
	for since, want := range map[time.Duration][]BacktestGap{
		2 * time.Minute: {
			{Topic: "none", Why: "the topic does not exist"},
			{Topic: "bounded", Partition: &zero, Begins: &first, Why: "records before may have been deleted"},
			{Topic: "bounded", Partition: &one, Begins: &second, Why: "records before may have been deleted; rules look back further than that"},
		},
		9 * time.Minute: {
			{Topic: "none", Why: "the topic does not exist"},
			{Topic: "bounded", Partition: &zero, Begins: &first, Why: "records before may have been deleted; rules look back further than that"},
			{Topic: "bounded", Partition: &one, Begins: &second, Why: "records before may have been deleted; rules look back further than that"},
		},
	} {
		if d := cmp.Diff(want, p.test(since, 10*time.Minute).NotCovered); d != "" {
			t.Errorf("since %s: %s", since, d)
		}
	}
	r := p.test(9*time.Minute, 10*time.Minute, func(b *Backtest) { b.WarmUp = time.Minute })
	if len(r.NotCovered) != 1 || r.Records.WarmUp != 60 {
		t.Errorf("with a minute to warm up: %v, %+v", r.NotCovered, r.Records)
	}
	// From nothing there are six evaluations, and one when what seemed to be quiet at first
	// has been kept for 15 s.
	r = p.test(9*time.Minute, 10*time.Minute, func(b *Backtest) { b.WarmUp = 0 })
	if r.Records.WarmUp != 0 || r.Records.Read != 60 || r.Evaluations != 7 {
		t.Errorf("without any: %+v after %d evaluations", r.Records, r.Evaluations)
	}
}

// A partition of which all is kept that was written since then is quiet, or was purged: that
// is no gap. Nor is one that nobody has looked at.
func TestBacktestOfAQuietPartition(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.breach()
	p.write()
	p.purge(75, 300)
	want := []string{fmt.Sprintf("topics keep records of this time, so there were no older ones here, unless somebody deleted them: "+
		"%[1]s/0 begins at %[2]s, %[1]s/1 is empty", p.o.Sources[0], stamp(p.began.Add(150*time.Second)))}
	r := p.test(2*time.Minute, 10*time.Minute)
	if d := cmp.Diff(want, r.Notes); d != "" || len(r.NotCovered) > 0 {
		t.Error(d, r.NotCovered)
	}
	playback, err := kafka.OpenPlayback(t.Context(), p.o.Kafka, p.o.Sources, p.began)
	if err != nil {
		t.Fatal(err)
	}
	defer playback.Close()
	if gaps, notes := (&backtest{playback: playback, readFrom: p.began}).gaps(p.began); len(gaps) > 0 || len(notes) > 0 {
		t.Errorf("before anything was looked for: %v %v", gaps, notes)
	}
}

// What is left may be behind an open transaction.
func TestBacktestBehindATransaction(t *testing.T) {
	p := newPast(t, 1, 20*time.Minute, pastRules)
	p.event(0, time.Second, ok)
	p.write()
	tx, err := p.o.Kafka.NewClient(kgo.TransactionalID("tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: p.o.Sources[0], Timestamp: p.began.Add(2 * time.Second), Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p.purge(1)
	r := p.test(0, 10*time.Minute)
	if len(r.NotCovered) != 1 || !strings.Contains(r.NotCovered[0].Why, "behind an open transaction") || len(r.Notes) > 0 {
		t.Errorf("%v %v", r.NotCovered, r.Notes)
	}
}

// What is deleted while it is read is told.
func TestBacktestTellsWhatIsCut(t *testing.T) {
	p := newPast(t, 1, time.Hour, pastRules)
	large := ok + `,"x":"` + strings.Repeat("x", 10_000) + `"`
	for s := range 3000 {
		p.event(0, time.Duration(s)*time.Second+500*time.Millisecond, large)
	}
	p.write()
	b := Backtest{Since: p.began, Until: p.began.Add(3000 * time.Second), WarmUp: 0}
	purged := false
	b.Progress = func(BacktestProgress) {
		if !purged {
			p.purge(2900)
		}
		purged = true
	}
	for _, until := range []time.Duration{3000 * time.Second, 10 * time.Second} {
		b.Until = p.began.Add(until)
		r, err := runBacktest(t.Context(), p.o, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if until < time.Minute { // once more, of what was deleted long before
			if len(r.NotCovered) > 0 {
				t.Errorf("%v", r.NotCovered)
			}
			continue
		}
		want := fmt.Sprintf(" and %s were deleted before they were read", stamp(p.began.Add(2900*time.Second)))
		if len(r.NotCovered) != 1 || !strings.Contains(r.NotCovered[0].Why, want) || r.Records.Read < 100 || r.Records.Read > 2000 {
			t.Errorf("%v, %+v", r.NotCovered, r.Records)
		}
	}
}

// A batch of a clock that is ahead makes nothing else late, as it does not in a program that
// keeps up; two minutes is more than a window takes.
func TestBacktestOfAClockAhead(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	for s := range 600 {
		if s == 150 {
			p.event(1, 20*time.Second, ok) // it was held up
		}
		if s == 200 {
			for range 10 {
				p.event(0, time.Duration(s)*time.Second+2*time.Minute, ok)
			}
		}
		p.event(0, time.Duration(s)*time.Second, ok)
		p.event(1, time.Duration(s)*time.Second, ok)
	}
	p.event(0, 400*time.Second, ok) // and so was this
	p.write()
	if r := p.test(-time.Second, 10*time.Minute); r.Records != (BacktestRecords{Read: 1212, Counted: 1210, Late: 2, HeldUp: 2}) {
		t.Errorf("%+v", r.Records)
	}
	if r := p.test(5*time.Minute, 10*time.Minute); r.Records.Late != 1 || r.Records.HeldUp != 1 {
		t.Errorf("of a part: %+v", r.Records)
	}
}

// A rule that cannot be evaluated says so, and the others are.
func TestBacktestTellsOfFaults(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules+`
  - {alert: Bad, expr: 'rag_events_total * on () rag_events_total > 1'}
`)
	p.breach()
	p.write()
	r := p.test(2*time.Minute, 10*time.Minute)
	p.want(p.alerts(r), breachFound)
	if f := r.Faults["g/Bad"]; f == nil || f.Times == 0 || !strings.Contains(f.Error, "many") || f.First.Before(p.began) {
		t.Errorf("faults %v", r.Faults)
	}
}

// One that is ended says what it has found until then.
func TestBacktestThatIsEnded(t *testing.T) {
	p := newPast(t, 2, 20*time.Minute, pastRules)
	p.breach()
	p.write()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last BacktestProgress
	b := Backtest{Since: p.began.Add(2 * time.Minute), Until: p.began.Add(10 * time.Minute), WarmUp: -1}
	b.Progress = func(now BacktestProgress) {
		if last = now; !now.At.Before(p.began.Add(5 * time.Minute)) {
			cancel()
		}
	}
	for _, every := range []time.Duration{0, progressEvery} {
		r, err := runBacktest(ctx, p.o, b, every)
		if every > 0 { // ctx has ended before it began
			if r != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("%v, %v", r, err)
			}
			continue
		}
		if !errors.Is(err, context.Canceled) || r == nil {
			t.Fatalf("%v, %v", r, err)
		}
		p.want(p.alerts(r), "Errors{severity=page,tenant=acme} 4m35.5s-still 24.5s peak 60")
		if at := r.Until.Sub(p.began); at != 5*time.Minute || last.Records != 300 || r.Records.Read != 180 {
			t.Errorf("until %s, %+v, %+v", at, last, r.Records)
		}
	}
}

func TestPeak(t *testing.T) {
	for _, tt := range []struct {
		a, b  alerts.Number
		below bool
		want  alerts.Number
	}{
		{alerts.Number(math.NaN()), 3, false, 3}, {2, 3, false, 3}, {3, 2, false, 3}, {2, 3, true, 2}, {3, 2, true, 2}, {3, alerts.Number(math.NaN()), true, 3},
	} {
		if got := peak(tt.a, tt.b, tt.below); got != tt.want {
			t.Errorf("peak of %v and %v, below %v: %v", tt.a, tt.b, tt.below, got)
		}
	}
}

func TestMistakesOfABacktest(t *testing.T) {
	p := newPast(t, 1, 20*time.Minute, pastRules)
	at := func(d time.Duration) time.Time { return p.began.Add(d) }
	for _, tt := range []struct {
		name   string
		change func(o *Options, b *Backtest)
		says   string
	}{
		{"the wrong way round", func(_ *Options, b *Backtest) { b.Since, b.Until = b.Until, b.Since }, "give an earlier --since"},
		{"the future", func(_ *Options, b *Backtest) { b.Until = time.Now().Add(time.Minute) }, "leave --until out"},
		{"a step too long", func(_ *Options, b *Backtest) { b.Step = 2 * time.Minute }, "want 1ms to 1m0s"},
		{"no rules", func(o *Options, _ *Backtest) { o.Rules = "" }, "give --rules"},
		{"no such rules", func(o *Options, _ *Backtest) { o.Rules += "x" }, "no file matches"},
		{"no topics", func(o *Options, _ *Backtest) { o.Sources = []string{"none", "nor this"} }, "none, nor this: set sources"},
		{"no broker", func(o *Options, _ *Backtest) { o.Kafka.Brokers = []string{"127.0.0.1:1"} }, "reach Kafka at 127.0.0.1:1"},
		{"no configuration", func(o *Options, _ *Backtest) { o.Pane = 7 * time.Second }, "window.pane"},
	} {
		o, b := p.o, Backtest{Since: at(0), Until: at(time.Minute), WarmUp: -1}
		tt.change(&o, &b)
		if _, err := RunBacktest(t.Context(), o, b); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

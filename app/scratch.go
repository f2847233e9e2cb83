package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"ragstreams/codecs"
	"ragstreams/processors"
	"ragstreams/series"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"
)

// scratch is the tables of the program in memory: its stages and views, configured as
// in the program, in one goroutine and without Kafka, on a clock that it is told. A
// topic between two stages is a call; what goes to the side topics is dropped. It is
// the program as it would be if it were never behind: all that has come by a time is
// read by then.
//
// Own topics have one partition each. Where there is another number the program gives
// each partition its share of a limit, so that limits are reached a little sooner.
type scratch struct {
	o        Options
	now      time.Time
	start    time.Time
	sources  []window.Partition
	ingest   []*processors.IngestTask // by source
	events   int64                    // offset of the next record of events
	assemble *processors.AssembleTask
	progress *processors.Progress
	stages   map[string]scratchStage // by the topic that feeds it
	records  *processors.TableTask[tables.Records, *tables.Records]
	readers  *readers
	store    *series.Store
	poison   func(reason, detail string) // told of every record that is poison; nil: nobody
	err      error                       // the first that a call without a result met with
}

// scratchStage is a scratchTable of any measure.
type scratchStage interface {
	process(batch []byte)
	flush() error
	full() bool
}

// newScratch returns empty tables of some source partitions at a time.
func newScratch(o Options, sources []window.Partition, now time.Time) (*scratch, error) {
	s := &scratch{o: o, now: now, start: now, sources: sources, stages: map[string]scratchStage{}}
	s.o.Partitions, s.o.Logger = 1, slog.New(slog.DiscardHandler)
	s.o.Clock = processors.Clock{Wall: func() time.Time { return s.now }, Mono: func() time.Duration { return s.now.Sub(s.start) }}
	s.progress = processors.NewProgress(s.o.panes(), s.o.Clock)
	s.progress.Expect(sources)
	s.readers = &readers{stages: &stages{o: &s.o, progress: s.progress}, read: map[string]reading{}}
	traffic, err1 := addScratch[tables.Traffic](s, &tables.TrafficTable, true)
	latency, err2 := addScratch[tables.Latency](s, &tables.LatencyTable, true)
	usage, err3 := addScratch[tables.Usage](s, &tables.UsageTable, true)
	behaviour, err4 := addScratch[tables.Behaviour](s, &tables.BehaviourTable, true)
	groups, err5 := addScratch[tables.Errors](s, &tables.ErrorsTable, true)
	records, err6 := addScratch[tables.Records](s, &tables.RecordsTable, false)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	r := s.readers
	r.traffic, r.latency, r.usage, r.behaviour, r.errors = traffic.view, latency.view, usage.view, behaviour.view, groups.view
	s.records = records.task
	s.store = s.readers.series()
	return s, s.assign()
}

// assign begins with the source partitions.
func (s *scratch) assign() (err error) {
	byTopic := map[string]*processors.Ingest{}
	for _, p := range s.sources {
		stage := byTopic[p.Topic]
		if stage == nil {
			stage = processors.NewIngest(ingestConfig(&s.o, p.Topic, s.progress), s)
			byTopic[p.Topic] = stage
		}
		task, err := stage.Assign(p.Partition, "", nil)
		if err != nil {
			return err
		}
		s.ingest = append(s.ingest, task)
	}
	s.assemble, err = processors.NewAssemble(processors.AssembleConfig{
		Names: s.o.names(), TablePartitions: s.o.Partitions, Panes: s.o.panes(), Clock: s.o.Clock,
		Expected: func() []window.Partition { return s.sources },
		Read:     readNothing,
	}, s).Assign(context.Background(), 0, 0, "")
	return err
}

// take takes in records of a source partition that have come by now.
func (s *scratch) take(source int, records []codecs.Record) { s.ingest[source].Process(records) }

// to lets time pass. What was taken in is counted in its pane from then on, and events
// are late by what was counted, as after a commit of ingest.
func (s *scratch) to(now time.Time) error {
	s.now = now
	for _, task := range s.ingest {
		if _, err := task.Flush(true); err != nil {
			return err
		}
	}
	s.assemble.Advance()
	if s.assemble.Full() {
		return s.settle()
	}
	return s.err
}

// settle makes all that was counted show in the views, as after a commit of all stages.
func (s *scratch) settle() error {
	if _, err := s.assemble.Flush(true); err != nil {
		return err
	}
	for _, stage := range s.stages {
		if err := stage.flush(); err != nil {
			return err
		}
	}
	return s.err
}

// counts returns how many records had which outcome so far.
func (s *scratch) counts() (map[string]int64, error) {
	counts := map[string]int64{}
	var bad error
	s.records.Visit(func(key string, row *tables.Row[tables.Records, *tables.Records]) {
		dims, err := tables.RecordsTable.DimsOf(key)
		if err != nil {
			bad = err
			return
		}
		sum := row.Sum()
		counts[dims[1]] += sum.Count
	})
	return counts, bad
}

// Send implements processors.Output.
func (s *scratch) Send(topic string, _ int32, key, value []byte, headers ...codecs.Header) {
	n, now := s.o.names(), s.now.UnixMilli()
	var err error
	switch topic {
	case n.Events():
		s.assemble.Take(s.events, now, value)
		s.events++
	case n.Progress():
		err = s.progress.Take(key, value, now) // nobody waits for the slowest
	case n.DLQ():
		s.tellPoison(headers)
	case n.Late():
	default:
		stage := s.stages[topic]
		if stage == nil {
			panic("BUG: nobody reads " + topic)
		}
		stage.process(value)
		if stage.full() {
			err = stage.flush()
		}
	}
	s.err = cmp.Or(s.err, err)
}

func (s *scratch) tellPoison(headers []codecs.Header) {
	if s.poison == nil {
		return
	}
	text := map[string]string{}
	for _, h := range headers {
		text[h.Key] = string(h.Value)
	}
	s.poison(text["reason"], text["detail"])
}

// scratchTable is the stage of a table and that of its history: their tasks, and the view
// that they feed.
type scratchTable[M any, P tables.Measure[M]] struct {
	names   processors.Names
	table   string
	task    *processors.TableTask[M, P]
	history *processors.HistoryTask[M, P]
	view    *views.View[M, P]
	offset  int64 // of the newest record of the changelog
	windows int64 // of the newest record of closed panes
	err     error // the first of the view
}

func addScratch[M any, P tables.Measure[M]](s *scratch, t *tables.Table[M], windowed bool) (*scratchTable[M, P], error) {
	st := &scratchTable[M, P]{names: s.o.names(), table: t.Name, view: newView[M, P](&s.o, t)}
	s.readers.read[t.Name] = st.view
	s.stages[s.o.names().Partials(t.Name)] = st
	var err1, err2 error
	st.task, err1 = processors.NewTable[M, P](tableConfig(&s.o, t.Name, windowed), st).Assign(0, st)
	st.history, err2 = processors.NewHistory[M, P](processors.HistoryConfig{
		Names: s.o.names(), Table: t.Name, Read: readNothing,
	}, st).Assign(context.Background(), 0, 0, "")
	return st, errors.Join(err1, err2)
}

// readNothing reads again what there was before the beginning.
func readNothing(context.Context, int32, int64, int64, func(int64, []byte) error) error { return nil }

func (t *scratchTable[M, P]) process(batch []byte) { t.task.Process(t.offset, batch) }
func (t *scratchTable[M, P]) full() bool           { return t.task.Full() }

func (t *scratchTable[M, P]) flush() error {
	_, err := t.task.Flush(true)
	return cmp.Or(err, t.err)
}

func (t *scratchTable[M, P]) note(err error) { t.err = cmp.Or(t.err, err) }

// Send implements processors.Output: a table sends closed panes only, and its history hours.
func (t *scratchTable[M, P]) Send(topic string, partition int32, _, value []byte, _ ...codecs.Header) {
	if topic == t.names.Hours(t.table) {
		t.note(t.view.Hours(partition, value))
		return
	}
	t.note(t.view.Windows(partition, t.windows, value))
	t.history.Process(t.windows, value)
	t.windows++
}

// Set implements processors.Rows.
func (t *scratchTable[M, P]) Set(key string, value []byte) {
	t.offset++
	t.note(t.view.Update(0, t.offset, key, value))
}

// Delete implements processors.Rows.
func (t *scratchTable[M, P]) Delete(key string) { t.Set(key, nil) }

// Len implements processors.Rows: there is nothing to begin with.
func (t *scratchTable[M, P]) Len() int { return 0 }

// All implements processors.Rows.
func (t *scratchTable[M, P]) All(func(key string, value []byte) bool) {}

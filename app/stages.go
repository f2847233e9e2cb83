package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ragstreams/kafka"
	"ragstreams/processors"
	"ragstreams/tables"

	"github.com/lovoo/goka"
)

// stages runs the topology: for every group some sessions, each with a goka
// processor of its own.
type stages struct {
	o        *Options
	progress *processors.Progress
	sources  *sources
	status   *status
	notes    *status // what people should know, though it keeps nobody from being ready
	observe  func(group string, took time.Duration, committed bool)
	eventAge func(age time.Duration)
	cut      func(label string, n int64)
	replayed func(topic, reason string, n int64)

	mu       sync.Mutex
	sessions map[string]map[int]*kafka.Session // by group and number
}

// owned returns the partitions of a group that this process owns for certain,
// and the changelog offset at which each was restored.
func (s *stages) owned(group string) map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[int32]int64{}
	for _, session := range s.sessions[group] {
		for p, offset := range session.Owned() {
			all[p] = offset
		}
	}
	return all
}

// stage is one session's share of a group: its graph and its tasks.
type stage struct {
	graph  *goka.GroupGraph
	assign func(ctx context.Context, a kafka.Assignment) (kafka.Task, error)
}

// runSession runs one member of a group until ctx ends or it fails.
func (s *stages) runSession(ctx context.Context, group, topic, table string, number int, batches bool,
	build func(out processors.Output) stage,
) error {
	cfg := kafka.SessionConfig{
		Config: s.o.Kafka, Group: group, Topic: topic, Table: table,
		Instance:       fmt.Sprintf("%s-%d", s.o.Instance, number),
		CommitInterval: s.o.CommitInterval, SessionTimeout: s.o.SessionTimeout, Tick: s.o.Tick,
		LeaveOnStop: s.o.LeaveOnStop, Batches: batches,
		OnCommit: func(took time.Duration, committed bool) { s.observe(group, took, committed) },
	}
	part := fmt.Sprintf("%s-%d", group, number)
	var st stage
	cfg.NewTask = func(ctx context.Context, a kafka.Assignment) (kafka.Task, error) { return st.assign(ctx, a) }
	cfg.OnReady = func() { s.status.clear(part) }
	session := kafka.NewSession(cfg)
	st = build(session)
	s.mu.Lock()
	if s.sessions[group] == nil {
		s.sessions[group] = map[int]*kafka.Session{}
	}
	s.sessions[group][number] = session
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sessions[group], number)
		s.mu.Unlock()
	}()
	p, err := goka.NewProcessor(s.o.Kafka.Brokers, st.graph, session.Options()...)
	if err != nil {
		return fmt.Errorf("set up group %s: %w", group, err)
	}
	return p.Run(ctx)
}

// member is one session of a group as a part for the supervisor.
type member struct {
	name string
	run  func(ctx context.Context) error
}

// ingest returns the members that read a source topic, for the partitions that it
// has when it appears. They share what it gets later. start is where a new group
// begins.
func (s *stages) ingest(topic string, partitions int32, start kafka.Start) []member {
	n := s.o.names()
	group := n.IngestGroup(topic)
	var members []member
	for i := range min(s.o.Sessions, int(partitions)) {
		part, start := fmt.Sprintf("%s-%d", group, i), start
		run := func(ctx context.Context) error {
			if err := kafka.BeginGroup(ctx, s.o.Kafka, group, topic, start); err != nil {
				return err
			}
			start = kafka.Start{} // a topic that is made again is new
			return s.runSession(ctx, group, topic, "", i, true, func(out processors.Output) stage {
				cfg := ingestConfig(s.o, topic, s.progress)
				cfg.LabelsCut, cfg.Replayed = s.cut, s.replayed
				g := processors.NewIngest(cfg, out)
				return stage{g.Graph(), func(_ context.Context, a kafka.Assignment) (kafka.Task, error) {
					return g.Assign(a.Partition, a.Metadata, a.Polled)
				}}
			})
		}
		// A member that waits for its topic keeps nobody from being ready, as a topic
		// that never existed does not: the notes of /readyz tell of it.
		members = append(members, member{part, func(ctx context.Context) error {
			return s.sources.whileThere(ctx, topic, func() { s.status.clear(part) }, run)
		}})
	}
	return members
}

// ingestConfig returns how a source topic is read.
func ingestConfig(o *Options, topic string, progress *processors.Progress) processors.IngestConfig {
	return processors.IngestConfig{
		Names: o.names(), Topic: topic, EventPartitions: o.Partitions, RecordPartitions: o.Partitions,
		Panes: o.panes(), MaxFuture: o.MaxFuture, IdleAfter: o.IdleTimeout, BehindAfter: o.BehindAfter,
		AheadLimit: o.AheadLimit, MaxBytes: o.MaxRecord, LabelBytes: o.MaxLabel,
		Behaviour: slices.Contains(o.BehaviourSources, topic),
		Progress:  progress, Clock: o.Clock,
	}
}

func (s *stages) assemble() []member {
	n := s.o.names()
	group, topic := n.AssembleGroup(), n.Events()
	var members []member
	for i := range min(s.o.Sessions, int(s.o.Partitions)) {
		members = append(members, member{fmt.Sprintf("%s-%d", group, i), func(ctx context.Context) error {
			return s.runSession(ctx, group, topic, "", i, false, func(out processors.Output) stage {
				g := processors.NewAssemble(processors.AssembleConfig{
					Names: n, TablePartitions: s.o.Partitions, Panes: s.o.panes(), Clock: s.o.Clock,
					Expected: s.sources.expected, EventAge: s.eventAge, Read: s.readAgain(topic),
				}, out)
				return stage{g.Graph(), func(ctx context.Context, a kafka.Assignment) (kafka.Task, error) {
					return g.Assign(ctx, a.Partition, a.Offset, a.Metadata)
				}}
			})
		}})
	}
	return members
}

// tableMember is the session of one table's group.
func tableMember[M any, P tables.Measure[M]](s *stages, table string, windowed bool) member {
	n := s.o.names()
	group, topic := n.TableGroup(table), n.Partials(table)
	return member{group + "-0", func(ctx context.Context) error {
		return s.runSession(ctx, group, topic, n.Table(table), 0, false, func(out processors.Output) stage {
			t := processors.NewTable[M, P](tableConfig(s.o, table, windowed), out)
			return stage{t.Graph(), func(_ context.Context, a kafka.Assignment) (kafka.Task, error) {
				return t.Assign(a.Partition, a.Rows)
			}}
		})
	}}
}

// tableConfig returns what limits a table. One without windows has a closed set of
// series.
func tableConfig(o *Options, table string, windowed bool) processors.TableConfig {
	cfg := processors.TableConfig{
		Names: o.names(), Table: table, Partitions: o.Partitions, Assemblers: o.Partitions, Panes: o.panes(), TotalsOnly: !windowed,
	}
	if !windowed {
		return cfg
	}
	cfg.MaxSeries, cfg.MaxPerTenant, cfg.Forget = o.MaxSeries, o.MaxSeriesPerTenant, o.Forget.Milliseconds()
	if table == tables.ErrorsTable.Name {
		// A tenant that puts a name or an id into every message must not crowd out the
		// errors of others.
		cfg.MaxPerTenant = o.MaxErrorGroups
	}
	return cfg
}

// historyMember is the session of the history of one table.
func historyMember[M any, P tables.Measure[M]](s *stages, table string) member {
	n := s.o.names()
	group, topic := n.HistoryGroup(table), n.Windows(table)
	return member{group + "-0", func(ctx context.Context) error {
		return s.runSession(ctx, group, topic, "", 0, false, func(out processors.Output) stage {
			h := processors.NewHistory[M, P](processors.HistoryConfig{Names: n, Table: table, Read: s.readAgain(topic)}, out)
			return stage{h.Graph(), func(ctx context.Context, a kafka.Assignment) (kafka.Task, error) {
				return h.Assign(ctx, a.Partition, a.Offset, a.Metadata)
			}}
		})
	}}
}

// readAgain returns what reads committed records of a topic for a stage that remembers.
func (s *stages) readAgain(topic string) func(ctx context.Context, partition int32, from, to int64, visit func(int64, []byte) error) error {
	return func(ctx context.Context, partition int32, from, to int64, visit func(int64, []byte) error) error {
		return kafka.Read(ctx, s.o.Kafka, topic, partition, from, to, func(m kafka.Message) error { return visit(m.Offset, m.Value) })
	}
}

func (s *stages) tables() []member {
	return []member{
		tableMember[tables.Traffic](s, tables.TrafficTable.Name, true), historyMember[tables.Traffic](s, tables.TrafficTable.Name),
		tableMember[tables.Latency](s, tables.LatencyTable.Name, true), historyMember[tables.Latency](s, tables.LatencyTable.Name),
		tableMember[tables.Usage](s, tables.UsageTable.Name, true), historyMember[tables.Usage](s, tables.UsageTable.Name),
		tableMember[tables.Behaviour](s, tables.BehaviourTable.Name, true), historyMember[tables.Behaviour](s, tables.BehaviourTable.Name),
		tableMember[tables.Errors](s, tables.ErrorsTable.Name, true), historyMember[tables.Errors](s, tables.ErrorsTable.Name),
		tableMember[tables.Records](s, tables.RecordsTable.Name, false),
	}
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Task is a stage's work on one input partition: what it gathers between two
// commits and what it remembers. A session calls its methods from one
// goroutine, and only while no callback of the partition runs.
type Task interface {
	// Flush sends what was gathered since the last commit and returns the
	// metadata that is committed with the partition's offset (below 4,000
	// bytes). atEnd says that the partition was read to its end.
	Flush(atEnd bool) (metadata string, err error)
	// Paused says that no more records should be fetched for the partition
	// until a later Flush changes its mind.
	Paused() bool
	// MaxRecords says how many records a transaction should bring at most while the
	// partition has a backlog; 0: any number. It is asked after every poll.
	MaxRecords() int
	// Full says that what was gathered is enough for a transaction: nothing more is
	// read, of any partition, before the next Flush. It is asked after every poll.
	Full() bool
	// Close ends the task. What was gathered since the last commit is void.
	Close()
}

// Assignment is a partition that a session was given.
type Assignment struct {
	Topic     string
	Partition int32
	Offset    int64  // the next record to read
	Metadata  string // what the last Flush returned before the committed offset; "" for a new group
	Rows      *Rows  // the partition's rows, restored; nil without a table
	// Polled returns, with SessionConfig.Batches, the records that the message in
	// hand stands for. They are valid until the callback returns; what their slices
	// point to stays as it is.
	Polled func() []Record
}

// SessionConfig describes a Session. All fields without a default named here
// are required.
type SessionConfig struct {
	Config
	Group string
	Topic string // the input: one topic a group
	Table string // changelog of the group's table; "" for a group without one
	// Instance is the session's stable name: group.instance.id and
	// transactional.id are made of group and instance. A second process with
	// the same name takes over; the first is fenced.
	Instance string
	// NewTask builds the work on an assigned partition; it is called for several at
	// once. ctx ends with the call, or before when the session must stop.
	NewTask func(ctx context.Context, a Assignment) (Task, error)
	// Batches makes goka get one message, without a key and of no meaning, for all
	// records of a partition that were polled together; Assignment.Polled returns
	// them. It saves goka's cost per message and keeps nil keys, nil values and
	// headers apart.
	Batches bool

	// CommitInterval is the longest time between two commits under load. While one of
	// its partitions has a backlog, a session takes in records for a second if that is
	// longer, and for a quarter of SessionTimeout at most.
	CommitInterval time.Duration
	// SessionTimeout is how long a member may be silent before its partitions are given
	// away, and bounds a transaction. Default 10 s.
	SessionTimeout time.Duration
	// MaxPoll bounds the records of one transaction. Default 200,000.
	MaxPoll int
	// Tick is how often a session without records flushes and commits, which
	// also proves that it still owns its partitions. Default 1 s.
	Tick time.Duration
	// LeaveOnStop makes the session leave the group when Consume's ctx ends, so that
	// other members get its partitions at once. Without it they stay reserved for a
	// restart under the same name, until SessionTimeout has passed.
	LeaveOnStop bool
	// OnReady is called, maybe often, when the session works on its partitions, or
	// has joined the group and was given none.
	OnReady func()
	// OnCommit is told how long each commit took and whether it held.
	OnCommit func(took time.Duration, committed bool)
}

const (
	defaultSessionTimeout = 10 * time.Second
	defaultMaxPoll        = 200_000
	defaultTick           = time.Second
	// minCommitGap keeps a lightly loaded session from committing at every
	// record: with several sessions in a process the broker pays for each.
	minCommitGap = 50 * time.Millisecond
	// backlogInterval is how far apart commits are while there is a backlog. A row that
	// changes is written once a commit, whatever it has taken in.
	backlogInterval = time.Second
	// closeTimeout is how long a client may take to close by itself.
	closeTimeout = 3 * time.Second
	// minPoll is the least time to wait for records.
	minPoll = 5 * time.Millisecond
)

// Session is one member of a consumer group whose offsets, and everything it
// produces, commit in one transaction. It is the consumer group and the
// producer of one goka processor; see Options.
//
// goka sees an ordinary sarama.ConsumerGroup. Inside Consume one goroutine runs
// the cycle: poll, hand the records to goka, wait until every one is marked, the same
// again while there is a backlog and time, let the tasks flush, commit. Nothing is
// emitted between the last wait and the end of the commit but by the tasks' flush.
// Rebalances happen between two cycles only, so none of them aborts
// work; whenever the assignment changes goka is cleaned up and set up again.
type Session struct {
	cfg    SessionConfig
	errs   chan error
	client atomic.Pointer[kgo.Client] // nil between two clients

	sent       atomic.Bool           // something was produced in the open transaction
	produceErr atomic.Pointer[error] // first failure of the open transaction

	assigned assignments

	mu       sync.Mutex
	stores   map[int32]*Store
	restored map[int32]int64 // changelog offset at which the partition's store was restored
	live     bool            // between Setup and Cleanup
	heard    time.Time       // when the last heartbeat that was answered, or join, was sent
	lease    time.Time       // until when ownership is certain
}

// NewSession checks nothing and opens nothing; Consume does.
func NewSession(cfg SessionConfig) *Session {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = defaultSessionTimeout
	}
	if cfg.MaxPoll == 0 {
		cfg.MaxPoll = defaultMaxPoll
	}
	if cfg.Tick == 0 {
		cfg.Tick = defaultTick
	}
	s := &Session{cfg: cfg, errs: make(chan error), stores: map[int32]*Store{}, restored: map[int32]int64{}}
	s.assigned.init()
	return s
}

// Options returns what makes a goka processor run on the session.
func (s *Session) Options() []goka.ProcessorOption {
	return []goka.ProcessorOption{
		goka.WithConsumerGroupBuilder(func([]string, string, string) (sarama.ConsumerGroup, error) { return s, nil }),
		goka.WithProducerBuilder(s.buildProducer),
		goka.WithConsumerSaramaBuilder(ConsumerBuilder(s.cfg.Config, 2*s.cfg.SessionTimeout)),
		goka.WithTopicManagerBuilder(TopicManagerBuilder(s.cfg.Config)),
		goka.WithStorageBuilder(s.buildStorage),
		goka.WithUpdateCallback(SkipControl(nil)),
		goka.WithHasher(Hasher),
		goka.WithNilHandling(goka.NilProcess),
		goka.WithPartitionChannelSize(64),
		goka.WithLogger(gokaLogger{s.cfg.log()}),
	}
}

func (s *Session) ready() {
	if s.cfg.OnReady != nil {
		s.cfg.OnReady()
	}
}

// Owned returns the partitions that this session owns for certain right now,
// each with the changelog offset at which its table was restored (-1: the
// changelog was empty, or there is none). A process that was stopped for longer
// than the session timeout owns nothing when it wakes, until it has committed
// again.
func (s *Session) Owned() map[int32]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	owned := map[int32]int64{}
	if !s.live || time.Now().After(s.lease) {
		return owned
	}
	for p := range s.assigned.parts() {
		if offset, ok := s.restored[p]; ok {
			owned[p] = offset
		}
	}
	return owned
}

// errFenced tells that another process uses this session's name.
var errFenced = errors.New("another process with the same instance name took over: give every instance a name of its own (ANALYTICS_INSTANCE)")

// errStartOver is what errors wrap after which a session goes on with a new
// client, which ends what the old one left open and asks for the committed
// offsets.
var errStartOver = errors.New("starting over with a new client")

// Consume implements sarama.ConsumerGroup. It loops over all generations
// inside and returns nil when ctx ends, or the error that ended the session.
func (s *Session) Consume(ctx context.Context, _ []string, handler sarama.ConsumerGroupHandler) error {
	for ctx.Err() == nil {
		err := s.consume(ctx, handler)
		if !errors.Is(err, errStartOver) {
			return err
		}
		s.cfg.log().Info("session starts over", "group", s.cfg.Group, "reason", err)
	}
	return nil
}

// consume works with one client.
func (s *Session) consume(ctx context.Context, handler sarama.ConsumerGroupHandler) error {
	life, cut := context.WithCancel(context.Background())
	defer cut()
	gts, err := s.open(life)
	if err != nil {
		return err
	}
	s.client.Store(gts.Client())
	defer func() {
		if s.cfg.LeaveOnStop && ctx.Err() != nil {
			s.leave(gts)
		}
		s.client.Store(nil)
		s.close(gts, cut)
		s.assigned.init()
	}()
	for ctx.Err() == nil {
		version, err := s.runGeneration(ctx, gts, handler)
		gts.AllowRebalance()
		switch {
		case err == nil, errors.Is(err, errReassigned), errors.Is(err, context.Canceled) && ctx.Err() != nil:
		case errors.Is(err, errAborted) && !s.assigned.current(version):
		case errors.Is(err, errAborted):
			s.cfg.log().Info("transaction aborted, starting again from the last commit", "group", s.cfg.Group)
		case fenced(err) && s.tookOver(ctx):
			return fmt.Errorf("group %s, instance %s: %w: %w", s.cfg.Group, s.cfg.Instance, errFenced, err)
		default:
			return fmt.Errorf("group %s: %w", s.cfg.Group, err)
		}
	}
	return nil
}

// close closes a client. One that is joining the group waits for the other members,
// which may take as long as they may work on what they have. So it is cut off, and not
// left to itself: joining after the next client of this name, it takes the name from it.
func (s *Session) close(gts *kgo.GroupTransactSession, cut context.CancelFunc) {
	late := time.AfterFunc(closeTimeout, func() {
		s.cfg.log().Info("the client does not close, such as one that is joining the group; it is cut off", "group", s.cfg.Group)
		cut()
	})
	defer late.Stop()
	gts.CloseAllowingRebalance()
}

// leave takes this session out of the group. Nothing is lost when that fails: the
// coordinator removes it after the session timeout.
func (s *Session) leave(gts *kgo.GroupTransactSession) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.SessionTimeout)
	defer cancel()
	left, err := kadm.NewClient(gts.Client()).LeaveGroup(ctx,
		kadm.LeaveGroup(s.cfg.Group).InstanceIDs(s.id()).Reason("stopped for good"))
	if err == nil {
		err = left.Error()
	}
	if err != nil {
		s.cfg.log().Warn("cannot leave the group; its partitions move when the session times out", "group", s.cfg.Group, "error", err)
	}
}

// fenced reports whether the broker refused a member or a producer for another of the
// same name.
func fenced(err error) bool {
	return errors.Is(err, kerr.FencedInstanceID) || errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// tookOver tells, after this session was fenced, by whom: by another process with its
// name, which also joins the group under it, so that our next heartbeats are refused;
// by the coordinator, which ended a transaction that took too long; or by ourselves: a
// member that was removed while it stood still joins again before it commits what it
// had in hand. Only in the first case must this session not come back: the two would
// fence each other for ever.
func (s *Session) tookOver(ctx context.Context) bool {
	deadline := time.Now().Add(3 * s.heartbeat())
	for time.Now().Before(deadline) && ctx.Err() == nil {
		wait, cancel := s.assigned.poller(ctx, time.Until(deadline))
		_, _, _, _, err := s.assigned.snapshot()
		if err != nil {
			cancel()
			return errors.Is(err, kerr.FencedInstanceID)
		}
		<-wait.Done()
		cancel()
	}
	return false
}

func (s *Session) heartbeat() time.Duration { return s.cfg.SessionTimeout / 10 }

// open opens a client that ends with life, whatever it is doing.
func (s *Session) open(life context.Context) (*kgo.GroupTransactSession, error) {
	opts, err := s.cfg.options()
	if err != nil {
		return nil, err
	}
	id := s.id()
	opts = append(opts,
		kgo.WithContext(life),
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(s.cfg.Topic),
		kgo.InstanceID(id),
		kgo.Balancers(joinObserver{kgo.CooperativeStickyBalancer(), &s.assigned}),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(s.cfg.SessionTimeout),
		kgo.SessionTimeout(s.cfg.SessionTimeout),
		kgo.HeartbeatInterval(s.heartbeat()),
		kgo.RebalanceTimeout(3*s.cfg.SessionTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.BlockRebalanceOnPoll(),
		kgo.MetadataMaxAge(10*time.Second), // new partitions of a source are found as soon
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.MaxBufferedRecords(2*s.cfg.MaxPoll), // Send must not wait, whatever a transaction diverts
		kgo.OnPartitionsAssigned(func(ctx context.Context, cl *kgo.Client, added map[string][]int32) {
			if s.assigned.onAssigned(cl, added) == 0 {
				s.ready()
			}
		}),
		kgo.OnPartitionsRevoked(s.assigned.onLost),
		kgo.OnPartitionsLost(s.assigned.onLost),
		kgo.OnOffsetsFetched(s.assigned.onFetched),
		kgo.AdjustFetchOffsetsFn(s.adjustOffsets),
		kgo.WithHooks(s),
	)
	gts, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return nil, fmt.Errorf("open group %s: %w", s.cfg.Group, err)
	}
	// InitProducerID ends what a dead process of the same name left open, so
	// that the restore that follows need not wait for its timeout.
	if _, _, err := gts.Client().ProducerID(context.Background()); err != nil {
		gts.Close()
		return nil, fmt.Errorf("open transactional id %s: %w", id, err)
	}
	return gts, nil
}

// id is the session's group.instance.id and transactional.id.
func (s *Session) id() string { return s.cfg.Group + "-" + s.cfg.Instance }

// OnGroupManageError implements kgo.HookGroupManageError.
func (s *Session) OnGroupManageError(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	s.cfg.log().Warn("group membership", "group", s.cfg.Group, "error", err)
	if errors.Is(err, kerr.FencedInstanceID) || errors.Is(err, kerr.GroupAuthorizationFailed) {
		s.assigned.fail(err)
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E: it notes when requests that keep a
// member alive were sent, once they are answered.
func (s *Session) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
	default:
		return
	}
	if e2e.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now().Add(-e2e.DurationE2E())
}

func (s *Session) lastHeard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// Errors implements sarama.ConsumerGroup; errors are returned by Consume.
func (s *Session) Errors() <-chan error { return s.errs }

// Close implements sarama.ConsumerGroup; Consume cleans up after itself.
func (s *Session) Close() error { return nil }

// Pause implements sarama.ConsumerGroup; goka does not call it.
func (s *Session) Pause(map[string][]int32) {}

// Resume implements sarama.ConsumerGroup; goka does not call it.
func (s *Session) Resume(map[string][]int32) {}

// PauseAll implements sarama.ConsumerGroup; goka does not call it.
func (s *Session) PauseAll() {}

// ResumeAll implements sarama.ConsumerGroup; goka does not call it.
func (s *Session) ResumeAll() {}

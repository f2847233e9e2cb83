package kafka

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// position is how far a partition is read and what is committed with it.
type position struct {
	offset    int64
	metadata  string
	topic     kadm.TopicID // where offset is; zero: unknown
	committed bool         // by this group, as far as we know
}

// topicMark begins the committed metadata, and the id of the topic follows. A topic
// that is deleted and made again while it is read has the name and the committed
// offsets of the one before: the broker removes them with the topic, but a member
// that does not know yet commits them once more, by name.
const topicMark = "topic-id="

// commitMetadata is what is committed with the offset.
func (p position) commitMetadata() string {
	if p.topic == (kadm.TopicID{}) {
		return p.metadata
	}
	return topicMark + p.topic.String() + " " + p.metadata
}

// committedPosition is the position that was committed with offset and metadata.
func committedPosition(offset int64, metadata string) position {
	p := position{offset: offset, metadata: metadata, committed: offset >= 0}
	marked, ok := strings.CutPrefix(metadata, topicMark)
	if !ok {
		return p
	}
	encoded, rest, _ := strings.Cut(marked, " ")
	id, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(id) != len(p.topic) {
		return p
	}
	p.topic, p.metadata = kadm.TopicID(id), rest
	return p
}

// elsewhere tells whether p is certainly of another topic than the one with id.
func (p position) elsewhere(id kadm.TopicID) bool {
	return p.topic != (kadm.TopicID{}) && id != (kadm.TopicID{}) && p.topic != id
}

// assignments is what the group gave to a session. The client's callbacks
// write it, the session reads it between two cycles.
//
// The callbacks alone do not suffice: the client's transactional session passes
// on the first revocation, and the first loss, between two ends of a transaction
// and swallows others. So every time the client joins the group again, what it
// then says that it holds is the truth; see joining. No partition moves to
// another member before its old owner has joined again or was removed, and a
// member that was removed cannot commit.
type assignments struct {
	client atomic.Pointer[kgo.Client] // since the first assignment; nil between two clients

	mu       sync.Mutex
	owned    map[int32]bool     // partition → its position is known
	position map[int32]position // of owned partitions, when known
	version  int                // grows with every change
	err      error              // the membership is lost for good
	wake     context.CancelFunc // ends a poll under way
}

// init forgets what a client before was given.
func (a *assignments) init() {
	a.client.Store(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owned, a.position, a.err = map[int32]bool{}, map[int32]position{}, nil
	a.version++
}

func (a *assignments) changed() {
	a.version++
	if a.wake != nil {
		a.wake()
	}
}

// onAssigned pauses new partitions: nothing is read before goka is set up. It
// returns how many partitions are owned now.
func (a *assignments) onAssigned(cl *kgo.Client, added map[string][]int32) int {
	a.client.Store(cl)
	a.mu.Lock()
	defer a.mu.Unlock()
	cl.PauseFetchPartitions(added)
	for _, ps := range added {
		for _, p := range ps {
			a.owned[p] = false
			delete(a.position, p)
			a.changed()
		}
	}
	return len(a.owned)
}

func (a *assignments) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ps := range lost {
		for _, p := range ps {
			delete(a.owned, p)
			delete(a.position, p)
			a.changed()
		}
	}
}

// errMembershipLost says that the coordinator removed this member while it was
// about to join again. The client joins anew but holds on to its partitions and
// positions, which may have been another's meanwhile.
var errMembershipLost = fmt.Errorf("the group removed this member while it was rejoining: %w", errStartOver)

// joining is called with what the client holds whenever it joins the group, and
// with its member id, empty for a new member.
func (a *assignments) joining(held map[string][]int32, memberID string) {
	kept := map[int32]bool{}
	for _, ps := range held {
		for _, p := range ps {
			kept[p] = true
		}
	}
	if memberID == "" && len(kept) > 0 {
		a.fail(errMembershipLost)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.owned {
		if !kept[p] {
			delete(a.owned, p)
			delete(a.position, p)
			a.changed()
		}
	}
}

// joinObserver is a balancer that tells assignments of every join.
type joinObserver struct {
	kgo.GroupBalancer
	a *assignments
}

// JoinGroupMetadata implements kgo.GroupBalancer.
func (o joinObserver) JoinGroupMetadata(topics []string, held map[string][]int32, generation int32) []byte {
	if cl := o.a.client.Load(); cl != nil { // nil: nothing was assigned yet
		id, _ := cl.GroupMetadata()
		o.a.joining(held, id)
	}
	return o.GroupBalancer.JoinGroupMetadata(topics, held, generation)
}

// onFetched keeps the metadata of the committed offsets. A partition whose offset
// is refused would be dropped by the client without a word to us; the error makes
// it join again, and say so.
func (a *assignments) onFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed error
	keep := func(partition int32, offset int64, metadata *string, code int16) {
		var committed string
		if offset >= 0 && metadata != nil {
			committed = *metadata
		}
		a.position[partition] = committedPosition(offset, committed)
		if err := kerr.ErrorForCode(code); err != nil {
			failed = fmt.Errorf("committed offset of partition %d: %w", partition, err)
		}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			keep(p.Partition, p.Offset, p.Metadata, p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				keep(p.Partition, p.Offset, p.Metadata, p.ErrorCode)
			}
		}
	}
	return failed
}

// adjustOffsets lets partitions without a committed offset in this topic begin at
// their first record (see BeginGroup for other wishes), and says so when records
// were deleted before this group read them.
func (s *Session) adjustOffsets(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a := &s.assigned
	adm := kadm.NewClient(a.client.Load())
	id, err := topicID(ctx, adm, s.cfg.Topic)
	if err != nil {
		return nil, err
	}
	starts, err := adm.ListStartOffsets(ctx, s.cfg.Topic)
	if err != nil {
		return nil, fmt.Errorf("start offsets of %s: %w", s.cfg.Topic, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for partition := range offsets[s.cfg.Topic] {
		at := a.position[partition]
		first, ok := starts.Lookup(s.cfg.Topic, partition)
		if !ok || first.Err != nil {
			return nil, fmt.Errorf("start offset of %s/%d: %w", s.cfg.Topic, partition, first.Err)
		}
		if at.elsewhere(id) {
			s.cfg.log().Warn("the topic was deleted and made again; reading it from its beginning",
				"topic", s.cfg.Topic, "partition", partition, "offset", at.offset)
			at = position{offset: noOffset}
		}
		at.topic = id
		switch {
		case at.offset < 0:
			at.offset = first.Offset
		case at.offset < first.Offset:
			s.cfg.log().Error("records were deleted before they were read: retention is shorter than the backlog",
				"topic", s.cfg.Topic, "partition", partition, "from", at.offset, "to", first.Offset-1)
			at.offset, at.committed = first.Offset, false
		}
		a.position[partition] = at
		a.owned[partition] = true
		offsets[s.cfg.Topic][partition] = kgo.NewOffset().At(at.offset)
	}
	a.changed()
	return offsets, nil
}

// checkPositions returns an error unless what the group has committed is what this
// session remembers. After an abort that nobody asked for it need not be: the
// commit may have been done and its answer lost. A new session then begins with
// what was committed.
func (s *Session) checkPositions(ctx context.Context) error {
	a := &s.assigned
	offsets, err := kadm.NewClient(s.client.Load()).FetchOffsets(kadm.RequireStable(ctx), s.cfg.Group)
	if err != nil {
		return fmt.Errorf("offsets of group %s after an aborted transaction: %w", s.cfg.Group, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.owned {
		o, ok := offsets.Lookup(s.cfg.Topic, p)
		ours, theirs := a.position[p], committedPosition(o.At, o.Metadata)
		if !theirs.elsewhere(ours.topic) { // equal, or one is unknown
			theirs.topic = ours.topic
		}
		switch {
		case ok && o.Err != nil: // such as UNSTABLE_OFFSET_COMMIT: still to be decided
			return fmt.Errorf("offset of %s/%d after an aborted transaction: %w: %w", s.cfg.Topic, p, o.Err, errStartOver)
		case !ours.committed && (!ok || o.At < 0):
		case ours != theirs:
			return fmt.Errorf("%s/%d: %w: offset %d is committed, %d was", s.cfg.Topic, p, errOutcome, o.At, ours.offset)
		}
	}
	return nil
}

// errOutcome says that a transaction reported as aborted was committed, or that
// another member has committed since.
var errOutcome = fmt.Errorf("the outcome of a transaction was not what was reported: %w", errStartOver)

func (a *assignments) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	a.changed()
}

// parts returns the owned partitions.
func (a *assignments) parts() map[int32]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.owned)
}

// snapshot returns the owned partitions in order with their positions, the
// version, and whether every position is known.
func (a *assignments) snapshot() (parts []int32, at map[int32]position, version int, known bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known = true
	for p, k := range a.owned {
		parts = append(parts, p)
		known = known && k
	}
	slices.Sort(parts)
	return parts, maps.Clone(a.position), a.version, known, a.err
}

func (a *assignments) current(version int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version == version
}

// advance stores what a commit made durable. The partitions are still owned:
// they change only between two cycles.
func (a *assignments) advance(at map[int32]position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p, pos := range at {
		if a.owned[p] {
			pos.committed = true
			a.position[p] = pos
		}
	}
}

// poller returns a context that ends with ctx, after d, and when the
// assignment changes.
func (a *assignments) poller(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wake = cancel
	return ctx, cancel
}

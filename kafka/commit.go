package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (g *generation) begin() error {
	if g.inTxn {
		return nil
	}
	g.s.produceErr.Store(nil)
	g.s.sent.Store(false)
	if err := g.gts.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	g.inTxn = true
	return nil
}

// errHalfOpen says that the broker holds a transaction open that the client does
// not know of and has not ended: settle began it, and then partitions were revoked.
// What it holds would be committed with the next one; a new client's
// InitProducerID aborts it.
var errHalfOpen = fmt.Errorf("partitions were revoked when a transaction had just begun: %w", errStartOver)

// commit flushes all tasks and ends the transaction with the offset and
// metadata of every owned partition.
func (g *generation) commit() error {
	started := time.Now()
	if err := g.begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), 2*g.s.cfg.SessionTimeout)
	defer cancel()
	failed, err := g.flush(ctx)
	if err != nil {
		return err
	}
	var begun bool
	if failed == nil && !g.s.sent.Load() {
		if begun, err = g.settle(ctx); err != nil {
			return err
		}
	}
	// When a heartbeat was refused meanwhile, nobody takes the one that End waits
	// for, and the client waits for us before it tells that the membership is lost.
	// A revocation that comes now makes End abort.
	slow := time.AfterFunc(2*g.s.heartbeat(), g.gts.AllowRebalance)
	defer slow.Stop()
	heard, tried := g.s.lastHeard(), false
	commitOffsets := kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		tried = true
		return g.offsets(req)
	})
	committed, err := g.gts.End(commitOffsets, kgo.TransactionEndTry(failed == nil))
	g.inTxn = false
	g.lastTook = time.Since(started)
	if g.s.cfg.OnCommit != nil {
		g.s.cfg.OnCommit(g.lastTook, committed && err == nil)
	}
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return fmt.Errorf("commit: %w", err)
	case !committed && begun && !tried:
		return errHalfOpen
	case !committed:
		if err := g.s.checkPositions(ctx); err != nil {
			return err
		}
		return errAborted
	}
	g.s.assigned.advance(g.at)
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	for _, store := range g.s.stores {
		store.publish()
	}
	g.lastTick = time.Now()
	// The commit was accepted from a member, so what the coordinator had answered
	// before was no refusal: it counts the session timeout from then, or later.
	g.s.lease = heard.Add(g.s.cfg.SessionTimeout)
	return nil
}

// flush lets all tasks send what they gathered and waits until it is written.
// failed is why the transaction must be aborted; err why the client is of no use
// any more.
func (g *generation) flush(ctx context.Context) (failed, err error) {
	for _, p := range g.parts {
		metadata, err := g.tasks[p].Flush(g.atEnd[p])
		if err != nil {
			return fmt.Errorf("flush %s/%d: %w", g.s.cfg.Topic, p, err), nil
		}
		at := g.at[p]
		at.metadata = metadata
		g.at[p] = at
	}
	if err := g.gts.Client().Flush(ctx); err != nil {
		return nil, fmt.Errorf("flush produced records: %w", err)
	}
	if err := g.s.produceErr.Load(); err != nil {
		return *err, nil
	}
	return nil, nil
}

// settle waits until the transaction before this one is over. A broker refuses
// to begin a transaction while it still writes the markers of the last
// (CONCURRENT_TRANSACTIONS). A produce request is repeated then, the offset commit
// that begins a transaction without records is not: the session would abort. So
// the offsets are committed here first, as often as it takes; doing it twice in
// one transaction is harmless. Any other refusal is left to the session to judge.
// begun says that the broker may have begun the transaction.
func (g *generation) settle(ctx context.Context) (begun bool, err error) {
	cl := g.gts.Client()
	for {
		id, epoch, err := cl.ProducerID(ctx)
		if err != nil {
			return false, fmt.Errorf("producer id: %w", err)
		}
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.Group, req.InstanceID = g.s.id(), g.s.cfg.Group, kmsg.StringPtr(g.s.id())
		req.ProducerID, req.ProducerEpoch = id, epoch
		req.MemberID, req.Generation = cl.GroupMetadata()
		if err := g.offsets(req); err != nil {
			return false, err
		}
		const implicitBegin = 5 // KIP-890: from this version the request itself begins the transaction
		resp, err := req.RequestWith(ctx, cl)
		switch {
		case err != nil:
			return true, nil // nobody knows
		case resp.Version < implicitBegin:
			return false, nil
		case !concurrent(resp):
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the transaction before to end: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func concurrent(resp *kmsg.TxnOffsetCommitResponse) bool {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == kerr.ConcurrentTransactions.Code {
				return true
			}
		}
	}
	return false
}

// offsets puts every owned partition into the commit: those without new
// records as well, for an end without offsets is not fenced and stores nothing.
func (g *generation) offsets(req *kmsg.TxnOffsetCommitRequest) error {
	epochs := map[int32]int32{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			epochs[p.Partition] = p.LeaderEpoch
		}
	}
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = g.s.cfg.Topic
	for _, part := range g.parts {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		at := g.at[part]
		metadata := at.commitMetadata()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = part, at.offset, -1, &metadata
		if e, ok := epochs[part]; ok {
			p.LeaderEpoch = e
		}
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{t}
	return nil
}

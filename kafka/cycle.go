package kafka

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// gap is how long after a poll the next may come, where the last was read to its
// end: a few times what a commit takes, so that a busy broker is asked less often,
// and never more than the commit interval.
func (g *generation) gap() time.Duration {
	return min(max(4*g.lastTook, minCommitGap), g.s.cfg.CommitInterval)
}

// cycle reads, processes and commits once. It returns without a transaction
// when there is nothing to do.
func (g *generation) cycle(ctx context.Context) error {
	var pause time.Duration
	if len(g.behind) == 0 {
		pause = time.Until(g.lastPoll.Add(g.gap()))
	}
	if err := g.wait(ctx, pause); err != nil {
		return err
	}
	defer g.gts.AllowRebalance()
	handed, err := g.gather(ctx)
	if err != nil {
		return err
	}
	if time.Since(g.lastEnds) >= g.s.cfg.Tick {
		g.lastEnds = time.Now()
		g.findEnds()
	}
	if !handed && time.Since(g.lastTick) < g.s.cfg.Tick {
		return nil
	}
	g.lastTick = time.Now()
	if err := g.commit(); err != nil {
		return err
	}
	g.pace()
	return nil
}

// gather polls and processes the records of one transaction: what has come since the
// last; of a backlog what there is time for, for a poll brings no more than one fetch
// did, and every transaction has its price.
func (g *generation) gather(ctx context.Context) (handed bool, err error) {
	until := g.lastTick.Add(g.s.cfg.Tick)
	// The client fetches ahead, but nothing more of a partition before that is polled. So
	// what it has may be as old as the pause was long, and what has come since takes
	// another poll; it is found when a broker answers within minPoll.
	old := g.gts.Client().BufferedFetchRecords() > 0
	// Not all that is behind can be read: a partition may have no leader, or nothing but
	// emptied batches before its end.
	brought := map[int32]bool{}
	defer func() {
		maps.DeleteFunc(g.behind, func(p int32, _ bool) bool { return !brought[p] })
	}()
	for total := 0; ; {
		// A poll whose time is over returns nothing, though there be records.
		wait := minPoll
		if total == 0 || len(g.behind) > 0 {
			wait = max(time.Until(until), minPoll)
		}
		pollCtx, cancel := g.s.assigned.poller(ctx, wait)
		fetches := g.gts.PollRecords(pollCtx, g.maxRecords()-total)
		cancel()
		if !g.s.assigned.current(g.version) {
			return total > 0, errReassigned // what was polled is read again
		}
		if total == 0 {
			g.lastPoll = time.Now()
			until = g.lastTick.Add(g.transactionTime())
		}
		n, err := g.hand(fetches)
		if err != nil {
			return total > 0, err
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			brought[f.Partition] = brought[f.Partition] || len(f.Records) > 0
		})
		if total += n; n == 0 {
			clear(g.behind)
		}
		again := old && n > 0 // else what was buffered is of partitions that are paused
		old = false
		if len(g.behind) == 0 && !again || total >= g.maxRecords() || g.mustCommit() || !time.Now().Before(until) {
			return total > 0, nil
		}
	}
}

// transactionTime is how long after the last commit a transaction may take in
// records of a backlog, but no more than a part of what a broker lets it be open for,
// and a rebalance wait for it.
func (g *generation) transactionTime() time.Duration {
	return min(max(g.s.cfg.CommitInterval, backlogInterval), g.s.cfg.SessionTimeout/4)
}

// maxRecords is how many records a transaction may have. It bounds those of all
// partitions together, so it is what the most cautious task asks for that has a
// backlog: one that has none cannot get many.
func (g *generation) maxRecords() int {
	n := g.s.cfg.MaxPoll
	for p, task := range g.tasks {
		if most := task.MaxRecords(); most > 0 && !g.atEnd[p] {
			n = min(n, most)
		}
	}
	return n
}

// mustCommit reports whether a task is full, or wants a partition not to be fetched
// that is.
func (g *generation) mustCommit() bool {
	for p, task := range g.tasks {
		if task.Full() || !g.paused[p] && task.Paused() {
			return true
		}
	}
	return false
}

// wait sleeps, but not through the end of ctx or of a claim, nor through a
// change of the assignment.
func (g *generation) wait(ctx context.Context, d time.Duration) error {
	if d > 0 {
		wait, cancel := g.s.assigned.poller(ctx, d)
		defer cancel()
		select {
		case <-wait.Done():
		case err := <-g.ended:
			return err
		}
	}
	select {
	case err := <-g.ended:
		return err
	default:
		return ctx.Err()
	}
}

// findEnds learns which of the partitions without new records are read to their
// end now; of the others a fetch has told. One whose end cannot be told is not: it
// may have records that cannot be fetched.
func (g *generation) findEnds() {
	topic, cl := g.s.cfg.Topic, g.gts.Client()
	ctx, cancel := context.WithTimeout(g.ctx, g.s.cfg.SessionTimeout)
	defer cancel()
	var quiet []int32
	for _, p := range g.parts {
		switch {
		case g.tasks[p].Paused():
			g.atEnd[p] = false
		case g.quiet[p]:
			quiet = append(quiet, p)
		}
		g.quiet[p] = true
	}
	if len(quiet) == 0 {
		return
	}
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil {
		g.s.cfg.log().Warn("cannot tell whether partitions were read to their end", "topic", topic, "error", err)
	}
	for _, p := range quiet {
		end, ok := ends.Lookup(topic, p)
		if !ok || end.Err != nil {
			g.atEnd[p] = false
			continue
		}
		at := g.at[p].offset
		if at < end.Offset {
			state, err := tail(ctx, cl, topic, p, at, end.Offset)
			g.atEnd[p] = err == nil && state == tailEmpty
			continue
		}
		g.atEnd[p] = true
	}
}

// pace stops and resumes fetching as the tasks ask.
func (g *generation) pace() {
	var pause, resume []int32
	for p, task := range g.tasks {
		if g.paused[p] = task.Paused(); g.paused[p] {
			delete(g.behind, p)
			pause = append(pause, p)
		} else {
			resume = append(resume, p)
		}
	}
	cl, topic := g.gts.Client(), g.s.cfg.Topic
	if len(pause) > 0 {
		cl.PauseFetchPartitions(map[string][]int32{topic: pause})
	}
	if len(resume) > 0 {
		cl.ResumeFetchPartitions(map[string][]int32{topic: resume})
	}
}

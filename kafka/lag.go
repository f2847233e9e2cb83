package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Reader is a consumer group whose lag is measured.
type Reader struct {
	Group string
	// Topics are what it reads, whether it has committed anything or not. Of a group
	// without any here they are those of which it has committed something.
	Topics []string
	// Start is where it begins in a topic of which it has committed nothing. In a topic
	// of which it has, other partitions are read from their beginning, see BeginGroup.
	Start Start
}

// topics returns what a group reads, given what it has committed.
func (r *Reader) topics(committed kadm.OffsetResponses) []string {
	if len(r.Topics) > 0 {
		return r.Topics
	}
	return slices.Collect(maps.Keys(committed))
}

// Lag is how far a group is behind in one partition.
type Lag struct {
	Group     string
	Topic     string
	Partition int32
	// Records are those from where the group goes on to the high watermark, never less
	// than none. Transaction markers, open transactions and what was aborted count where
	// they lie between; when nothing is left but markers and what was aborted, it is 0, as
	// soon as somebody could look there.
	Records int64
	// Oldest is the timestamp of the first of these records; zero when there is none, or
	// none was seen this time.
	Oldest time.Time
}

// Lag measures how far groups are behind, in every partition of the topics that exist, in
// order. What cannot be told now is left out: the error says why, and the rest is true.
func (w *Watcher) Lag(ctx context.Context, readers []Reader) ([]Lag, error) {
	// What is committed is asked for first, so that no group is ahead of what there is.
	committed, errs := w.committed(ctx, readers)
	var topics []string
	for _, r := range readers {
		topics = append(topics, r.topics(committed[r.Group])...)
	}
	slices.Sort(topics)
	logs, err := w.logs(ctx, slices.Compact(topics))
	errs = append(errs, err)
	var all []lagging
	for _, r := range readers {
		offsets, told := committed[r.Group]
		if !told {
			continue
		}
		for _, topic := range r.topics(offsets) {
			next, err := w.positions(ctx, r, topic, offsets[topic], logs[topic])
			errs = append(errs, err)
			for partition, at := range next {
				log := logs[topic][partition]
				all = append(all, lagging{Lag{r.Group, topic, partition, log.end - at, time.Time{}}, place{log.id, topic, partition, at}, log})
			}
		}
	}
	w.look(ctx, all)
	lags := make([]Lag, len(all))
	for i, l := range all {
		lags[i] = l.Lag
	}
	slices.SortFunc(lags, func(a, b Lag) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return lags, errors.Join(errs...)
}

// committed returns what groups have committed, by group: nothing of one that nobody has
// joined yet. One that cannot be told of is missing.
func (w *Watcher) committed(ctx context.Context, readers []Reader) (map[string]kadm.OffsetResponses, []error) {
	var groups []string
	for _, r := range readers {
		groups = append(groups, r.Group)
	}
	committed := map[string]kadm.OffsetResponses{}
	var errs []error
	for group, answer := range w.adm.FetchManyOffsets(ctx, groups...) {
		if answer.Err != nil && !errors.Is(answer.Err, kerr.GroupIDNotFound) {
			errs = append(errs, fmt.Errorf("offsets of group %s: %w", group, answer.Err))
			continue
		}
		committed[group] = answer.Fetched
	}
	return committed, errs
}

// extent is what there is of a partition.
type extent struct {
	id         kadm.TopicID
	leader     int32
	start, end int64 // of the log, up to the high watermark
}

// logs looks at the partitions of topics. One that does not exist, or cannot be asked now,
// is missing.
func (w *Watcher) logs(ctx context.Context, topics []string) (map[string]map[int32]extent, error) {
	if len(topics) == 0 { // which would ask for all
		return nil, nil
	}
	found, err := listTopics(ctx, w.adm, topics)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var errs []error
	maps.DeleteFunc(found, func(topic string, d kadm.TopicDetail) bool {
		if d.Err != nil && !isMissing(found, topic) {
			errs = append(errs, fmt.Errorf("look at topic %s: %w", topic, d.Err))
		}
		return d.Err != nil
	})
	if len(found) == 0 {
		return nil, errors.Join(errs...)
	}
	starts, err := w.adm.ListStartOffsets(ctx, found.Names()...)
	errs = append(errs, err)
	ends, err := w.adm.ListEndOffsets(ctx, found.Names()...)
	errs = append(errs, err)
	logs := map[string]map[int32]extent{}
	for topic, d := range found {
		logs[topic] = map[int32]extent{}
		for p, detail := range d.Partitions {
			start, started := starts.Lookup(topic, p)
			end, ended := ends.Lookup(topic, p)
			if started && ended && start.Err == nil && end.Err == nil {
				logs[topic][p] = extent{d.ID, detail.Leader, start.Offset, end.Offset}
			}
		}
	}
	return logs, errors.Join(errs...)
}

// positions returns where a group goes on in each partition of a topic: at what it has
// committed, or where it would begin, and in any case at what is there.
func (w *Watcher) positions(ctx context.Context, r Reader, topic string, committed map[int32]kadm.OffsetResponse, logs map[int32]extent) (map[int32]int64, error) {
	next := map[int32]int64{}
	for p, log := range logs {
		o, told := committed[p]
		if at := committedPosition(o.At, o.Metadata); told && o.Err == nil && at.committed && !at.elsewhere(log.id) {
			next[p] = at.offset
		}
	}
	begin := func(p int32) int64 { return logs[p].start }
	switch {
	case len(next) > 0: // it has begun
	case r.Start.Latest:
		begin = func(p int32) int64 { return logs[p].end }
	case !r.Start.Time.IsZero() && len(logs) > 0:
		listed, err := w.adm.ListOffsetsAfterMilli(ctx, r.Start.Time.UnixMilli(), topic)
		if err != nil {
			return nil, fmt.Errorf("where group %s begins to read %s: %w", r.Group, topic, err)
		}
		begin = func(p int32) int64 {
			if o, ok := listed.Lookup(topic, p); ok && o.Err == nil {
				return o.Offset
			}
			return logs[p].start
		}
	}
	for p, log := range logs {
		at, known := next[p]
		if !known {
			at = begin(p)
		}
		next[p] = min(max(at, log.start), log.end)
	}
	return next, nil
}

// Bounds of what it costs to look at oldest records.
const (
	looksAtOnce   = 4
	looksOfARound = 256 // others have their turn later; what was looked at is remembered
	lookBytes     = 64 << 10
	fetchesOfLook = 16 // through markers and what was aborted
)

// place is an offset that a group goes on at.
type place struct {
	id        kadm.TopicID
	topic     string
	partition int32
	offset    int64
}

// lagging is a lag, and where it begins.
type lagging struct {
	Lag
	place
	log extent
}

// head is the first record at or after a place.
type head struct {
	offset int64 // of it; the end when there is none
	at     time.Time
	keeps  bool // it stays what it is: a record that is committed
	// end is that of the log which told so. What else is at a place changes with it only: that
	// a transaction is decided is written there, too.
	end int64
}

// look finds the oldest record of every lag. A group that stands still costs one look, and so
// does one that has read everything; groups that stand at one place share it.
func (w *Watcher) look(ctx context.Context, all []lagging) {
	heads := map[place]head{}
	var ask []lagging
	asked := map[place]bool{}
	for _, l := range all {
		known, ok := w.heads[l.place]
		switch {
		case l.Records == 0:
		case ok && (known.keeps && known.offset < l.log.end || known.end == l.log.end): // a log may lose its end
			heads[l.place] = known
		case !asked[l.place]:
			asked[l.place] = true
			ask = append(ask, l)
		}
	}
	rand.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
	ask = ask[:min(len(ask), looksOfARound)]
	found := make([]head, len(ask))
	var group errgroup.Group
	group.SetLimit(looksAtOnce)
	for i, l := range ask {
		group.Go(func() error {
			// One that cannot be looked at has no oldest record this time.
			found[i], _ = w.headOf(ctx, l.place, l.log)
			return nil
		})
	}
	group.Wait()
	for i, l := range ask {
		heads[l.place] = found[i]
	}
	for i := range all {
		l := &all[i]
		if h, ok := heads[l.place]; ok && h != (head{}) {
			l.Records, l.Oldest = l.log.end-h.offset, h.at
		}
	}
	maps.DeleteFunc(heads, func(_ place, h head) bool { return h == head{} })
	w.heads = heads
}

// headOf fetches what a group would be handed next. What nobody may read yet counts as
// well, but only where nothing else is left.
func (w *Watcher) headOf(ctx context.Context, at place, l extent) (head, error) {
	next, committed, level := at.offset, true, kgo.ReadCommitted()
	for range fetchesOfLook {
		got, err := fetchOnce(ctx, w.client, fetchFrom{
			topic: at.topic, id: at.id, partition: at.partition, leader: l.leader, offset: next, bytes: lookBytes, committed: committed,
		})
		if err != nil {
			return head{}, err
		}
		part, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: next, IsolationLevel: level, Topic: at.topic, Partition: at.partition,
		}, got, decompressor, nil)
		switch {
		case len(part.Records) > 0 && part.Records[0].Offset < l.end:
			first := part.Records[0]
			h := head{offset: first.Offset, keeps: committed, end: l.end}
			if first.Timestamp.UnixMilli() > 0 {
				h.at = first.Timestamp
			}
			return h, nil
		case len(part.Records) > 0 || after >= l.end: // which came only now; there is nothing else
			return head{offset: l.end, end: l.end}, nil
		case part.Err != nil:
			return head{}, part.Err
		case after > next:
			next = after
		case got.LastStableOffset < l.end && committed:
			committed, level = false, kgo.ReadUncommitted()
		default: // compaction left nothing
			return head{offset: l.end, end: l.end}, nil
		}
	}
	return head{}, fmt.Errorf("look at %s/%d from %d: no record up to %d", at.topic, at.partition, at.offset, next)
}

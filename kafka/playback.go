package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Playback reads topics once more, from a time on, as if their records were written
// now: side by side, so that no partition is ahead of the others. It reads what was
// there and committed when it was opened. It joins no group, commits nothing, and makes
// no topic.
//
// A log does not tell when a record was appended, only what its producer's clock said.
// Records of a partition arrive in the order of their offsets, each at the time of its
// timestamp, or with the one before it where that is later: an old timestamp is that of
// a record which was held up. A timestamp that the records behind it contradict is that
// of a clock which is ahead; see arrival.
type Playback struct {
	// Missing are the topics that do not exist.
	Missing []string

	partitions []*played
	stop       context.CancelFunc
	reading    sync.WaitGroup
}

// Played is what a Playback reads of a partition.
type Played struct {
	Topic     string
	Partition int32
	// Looked says that Until has looked for a first record.
	Looked bool
	// First is when the first record arrived, in Unix milliseconds, once Until has looked
	// for one; 0 when there is none.
	First int64
	// Deleted says that records were deleted before the first, and that they may have come
	// since the beginning of the playback: nothing that is left tells of the time before.
	Deleted bool
	// Kept says that the topic's own settings delete nothing of that time: what is deleted
	// is older, or somebody deleted it.
	Kept bool
	// Open says that there are records behind those that are read, of which an open
	// transaction decides.
	Open bool
	// Cut is what was deleted from the log after the playback was opened, before it was
	// read.
	Cut Cut
}

// Cut is records that were deleted.
type Cut struct {
	Offsets int64 // how many there were, or fewer
	// When the records before and after them arrived, in Unix milliseconds; 0: there are
	// none.
	After, Before int64
}

// played is a partition and what was read of it.
type played struct {
	Played
	from, to int64
	chunks   chan chunk
	err      error // why chunks was closed; nil: all was read

	waiting []Record
	ahead   int // of those waiting, how many must be there to judge by
	cuts    []cut
	ended   bool
	newest  int64 // arrival of the record before those waiting, in Unix milliseconds
}

// cut is how many offsets are missing before another.
type cut struct{ before, offsets int64 }

// chunk is records that were read together.
type chunk struct {
	records []Record
	lost    int64 // offsets before them
}

// Bounds of what is read ahead, of each partition: two chunks wait, one is on its way, and
// one is being filled.
const (
	chunkRecords = 1000
	chunkBytes   = 128 << 10
	// playbackBytes is what all partitions together fetch at once, as it is in the log. Of
	// JSON a compressed batch takes ten times as much when it is open, and three or four
	// answers of each partition are in memory. Where there are very many partitions, more is
	// fetched: leastFetch of each, or a batch.
	playbackBytes = 4 << 20
	leastFetch    = 16 << 10
)

// OpenPlayback begins to read the records of some topics that were written from a time
// on. Close must be called.
func OpenPlayback(ctx context.Context, c Config, topics []string, from time.Time) (*Playback, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p := &Playback{}
	if err := p.find(ctx, kadm.NewClient(client), topics, from); err != nil {
		return nil, fmt.Errorf("look for what to read: %w", err)
	}
	fetch := int32(min(max(playbackBytes/max(len(p.partitions), 1), leastFetch), fetchBytes))
	ctx, p.stop = context.WithCancel(ctx)
	for _, one := range p.partitions {
		one.chunks = make(chan chunk, 1)
		p.reading.Go(func() { one.read(ctx, c, fetch) })
	}
	return p, nil
}

// Close ends the reading.
func (p *Playback) Close() {
	p.stop()
	p.reading.Wait()
}

// find finds the partitions and where to read them.
func (p *Playback) find(ctx context.Context, adm *kadm.Client, topics []string, from time.Time) error {
	found, err := listTopics(ctx, adm, topics)
	if err != nil {
		return err
	}
	var there []string
	var faults []error
	for _, topic := range topics {
		switch err := found[topic].Err; {
		case isMissing(found, topic):
			p.Missing = append(p.Missing, topic)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			faults = append(faults, fmt.Errorf("topic %s: not authorised: grant Describe and Read to this user: %w", topic, err))
		case err != nil:
			faults = append(faults, fmt.Errorf("topic %s: %w", topic, err))
		default:
			there = append(there, topic)
		}
	}
	if len(faults) > 0 || len(there) == 0 {
		return errors.Join(faults...)
	}
	list := func(all kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
		return all, cmp.Or(err, all.Error())
	}
	starts, err1 := list(adm.ListStartOffsets(ctx, there...))
	begins, err2 := list(adm.ListOffsetsAfterMilli(ctx, from.UnixMilli(), there...))
	stable, err3 := list(adm.ListCommittedOffsets(ctx, there...)) // an open transaction is not waited for
	ends, err4 := list(adm.ListEndOffsets(ctx, there...))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	kept := keptSince(ctx, adm, there, from)
	starts.Each(func(start kadm.ListedOffset) {
		begin, _ := begins.Lookup(start.Topic, start.Partition)
		to, _ := stable.Lookup(start.Topic, start.Partition)
		end, _ := ends.Lookup(start.Topic, start.Partition)
		p.partitions = append(p.partitions, &played{
			Played: Played{
				Topic: start.Topic, Partition: start.Partition, Kept: kept[start.Topic], Open: to.Offset < end.Offset,
				// A few records of the time before may have been held up.
				Deleted: start.Offset > 0 && (begin.Offset == start.Offset || begin.Offset <= start.Offset+lookahead && begin.Offset < to.Offset),
			},
			from: begin.Offset, to: to.Offset, newest: math.MinInt64,
		})
	})
	slices.SortFunc(p.partitions, func(a, b *played) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return nil
}

// keptSince returns the topics whose settings delete nothing that was written since a time.
// What the cluster does not tell is taken to be otherwise.
func keptSince(ctx context.Context, adm *kadm.Client, topics []string, from time.Time) map[string]bool {
	kept := map[string]bool{}
	configs, err := adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return kept
	}
	for _, rc := range configs {
		if rc.Err != nil {
			continue
		}
		settings := map[string]string{}
		for _, e := range rc.Configs {
			settings[e.Key] = e.MaybeValue()
		}
		bytes, err1 := strconv.ParseInt(settings["retention.bytes"], 10, 64)
		ms, err2 := strconv.ParseInt(settings["retention.ms"], 10, 64)
		kept[rc.Name] = err1 == nil && err2 == nil && bytes < 0 && settings["cleanup.policy"] == "delete" &&
			(ms < 0 || time.Since(from).Milliseconds() < ms)
	}
	return kept
}

// Partitions returns what is read, in the order in which Until counts partitions.
func (p *Playback) Partitions() []Played {
	all := make([]Played, len(p.partitions))
	for i, one := range p.partitions {
		all[i] = one.Played
	}
	return all
}

// Until calls take, partition by partition, with all records that have arrived by a time
// and were not taken before. It returns the first error of take. The records are take's
// to keep.
func (p *Playback) Until(ctx context.Context, at time.Time, take func(partition int, records []Record) error) error {
	for i, one := range p.partitions {
		for {
			n, err := one.arrived(ctx, at.UnixMilli())
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			records := one.waiting[:n:n]
			one.waiting = one.waiting[n:]
			if err := take(i, records); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads the partition, and is held up while nobody takes what was read.
func (p *played) read(ctx context.Context, c Config, fetchBytes int32) {
	defer close(p.chunks)
	var next chunk
	size := 0
	send := func() error {
		select {
		case p.chunks <- next:
			next, size = chunk{records: make([]Record, 0, len(next.records))}, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var stopped error
	p.err = reading{
		topic: p.Topic, partition: p.Partition, from: p.from, to: p.to, fetchBytes: fetchBytes,
		visit: func(m Message) error {
			next.records = append(next.records, Record{m.Offset, m.Timestamp, m.Key, m.Value, m.Headers})
			size += len(m.Key) + len(m.Value)
			for _, h := range m.Headers {
				size += len(h.Key) + len(h.Value)
			}
			if len(next.records) < chunkRecords && size < chunkBytes {
				return stopped
			}
			return cmp.Or(stopped, send())
		},
		lost: func(from, to int64) {
			if len(next.records) > 0 {
				stopped = send()
			}
			next.lost += to - from
		},
	}.run(ctx, c)
	if p.err = cmp.Or(p.err, stopped); p.err == nil && (len(next.records) > 0 || next.lost > 0) {
		p.err = send()
	}
	if errors.Is(p.err, kerr.TopicAuthorizationFailed) {
		p.err = fmt.Errorf("not authorised: grant Read on topic %s to this user: %w", p.Topic, p.err)
	}
}

// fill waits until enough records are there to tell when the first one arrived.
func (p *played) fill(ctx context.Context) error {
	for !p.ended && len(p.waiting) <= p.ahead {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case next, more := <-p.chunks:
			if !more {
				p.ended = true
				return p.err
			}
			if next.lost > 0 {
				before := int64(math.MaxInt64) // the end
				if len(next.records) > 0 {
					before = next.records[0].Offset
				}
				p.cuts = append(p.cuts, cut{before, next.lost})
			}
			p.waiting = append(slices.Clone(p.waiting), next.records...)
			p.ahead = max(len(next.records), lookahead)
		}
	}
	return nil
}

// arrived returns how many of the records that wait have arrived by a time; 0 only when
// no more have.
func (p *played) arrived(ctx context.Context, at int64) (n int, err error) {
	if err := p.fill(ctx); err != nil {
		return 0, err
	}
	for n < len(p.waiting) && (p.ended || len(p.waiting)-n > p.ahead) {
		came := arrival(p.newest, p.waiting[n:])
		if !p.Looked {
			p.Looked, p.First = true, came
		}
		if came > at {
			break
		}
		p.passCuts(p.waiting[n].Offset, came)
		p.newest = came
		n++
	}
	if p.Looked = true; p.ended && n == len(p.waiting) {
		p.passCuts(math.MaxInt64, 0)
	}
	return n, nil
}

// passCuts notes what is missing before a record that arrived.
func (p *played) passCuts(offset, came int64) {
	for len(p.cuts) > 0 && p.cuts[0].before <= offset {
		if p.Cut.Offsets == 0 && p.newest != math.MinInt64 {
			p.Cut.After = p.newest
		}
		p.Cut.Offsets += p.cuts[0].offsets
		p.Cut.Before = came
		p.cuts = p.cuts[1:]
	}
}

// lookahead is how many records tell at least whether the timestamp of one before them
// can be believed, unless there are no more.
const lookahead = 8

// clocksApart is how far the clocks of producers may be apart, in milliseconds, without
// anybody asking which of them is right.
const clocksApart = 1000

// arrival returns when the first of some records was appended, as far as timestamps
// tell; newest is when the one before was. It is the record's own timestamp, or newest
// for one that was held up.
//
// But a clock may be ahead, and then time goes on behind the record from before what it
// says, for as long as it is ahead. So where more than half of the next records are older,
// however many of the next that is, the record came with them. Those that were held up
// themselves tell nothing.
func arrival(newest int64, records []Record) int64 {
	own := records[0].Timestamp
	if own <= newest {
		return newest
	}
	if own-clocksApart <= newest {
		return own
	}
	known, older, first := 0, 0, own
	for i := 1; i < len(records); i++ {
		t := records[i].Timestamp
		if t < newest {
			continue
		}
		known++
		if t < own {
			older++
			if older <= lookahead { // one of them may be ahead, too
				first = min(first, t)
			}
		}
		if known >= lookahead && 2*older > known {
			return first
		}
		if left := len(records) - 1 - i; 2*older+left <= known { // it will be no more than half
			break
		}
	}
	if known < lookahead && 2*older > known {
		return first
	}
	return own
}

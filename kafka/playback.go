package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
// of a clock which is wrong; see arrival.
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
	// Deleted says that records were deleted before the first that was read, so those
	// since the beginning of the playback may be among them.
	Deleted bool
	// First is the timestamp of the first record, in Unix milliseconds, once Until has
	// looked for one; 0 when there is none.
	First int64
}

// played is a partition and what was read of it.
type played struct {
	Played
	from, to int64
	chunks   chan []Record
	err      error // why chunks was closed; nil: all was read

	waiting []Record
	ended   bool
	newest  int64 // arrival of the record before those waiting, in Unix milliseconds
}

// Bounds of what is read ahead.
const (
	chunkRecords = 1000
	chunkBytes   = 256 << 10
	// playbackBytes is what all partitions together fetch at once. Several answers of
	// each are in memory: one that is being taken in, some that wait, one on its way.
	playbackBytes = 32 << 20
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
	fetch := int32(min(max(playbackBytes/max(len(p.partitions), 1), 64<<10), 1<<20))
	ctx, p.stop = context.WithCancel(ctx)
	for _, one := range p.partitions {
		one.chunks = make(chan []Record, 1)
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
	ends, err3 := list(adm.ListCommittedOffsets(ctx, there...)) // an open transaction is not waited for
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	starts.Each(func(start kadm.ListedOffset) {
		begin, _ := begins.Lookup(start.Topic, start.Partition)
		end, _ := ends.Lookup(start.Topic, start.Partition)
		p.partitions = append(p.partitions, &played{
			Played: Played{Topic: start.Topic, Partition: start.Partition, Deleted: start.Offset > 0 && begin.Offset <= start.Offset},
			from:   begin.Offset, to: end.Offset, newest: math.MinInt64,
		})
	})
	slices.SortFunc(p.partitions, func(a, b *played) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return nil
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
	var chunk []Record
	size := 0
	send := func() error {
		select {
		case p.chunks <- chunk:
			chunk, size = make([]Record, 0, len(chunk)), 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.err = read(ctx, c, fetchBytes, p.Topic, p.Partition, p.from, p.to, func(m Message) error {
		chunk = append(chunk, Record{m.Offset, m.Timestamp, m.Key, m.Value, m.Headers})
		if size += len(m.Key) + len(m.Value); len(chunk) < chunkRecords && size < chunkBytes {
			return nil
		}
		return send()
	})
	if p.err == nil && len(chunk) > 0 {
		p.err = send()
	}
}

// fill waits until enough records are there to tell when the first one arrived.
func (p *played) fill(ctx context.Context) error {
	for !p.ended && len(p.waiting) <= lookahead {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case chunk, more := <-p.chunks:
			if !more {
				p.ended = true
				return p.err
			}
			if p.First == 0 {
				p.First = chunk[0].Timestamp
			}
			p.waiting = append(slices.Clone(p.waiting), chunk...)
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
	for n < len(p.waiting) {
		came := arrival(p.newest, p.waiting[n:])
		if came > at {
			break
		}
		p.newest = came
		n++
	}
	return n, nil
}

// lookahead is how many records tell whether the timestamp of one before them can be
// believed.
const lookahead = 8

// arrival returns when the first of some records was appended, as far as timestamps
// tell; newest is when the one before was. It is the record's own timestamp, or newest
// for one that was held up. But where more than half of the next records are older, and
// were not held up themselves, its producer's clock was ahead, and it came with them.
func arrival(newest int64, records []Record) int64 {
	own := records[0].Timestamp
	if own <= newest {
		return newest
	}
	var next [lookahead]int64
	known, older := 0, 0
	for i := 1; i < min(len(records), 1+lookahead); i++ {
		t := records[i].Timestamp
		if t < newest {
			continue
		}
		next[known] = t
		if known++; t < own {
			older++
		}
	}
	if 2*older <= known {
		return own
	}
	slices.Sort(next[:known])
	return next[known/2]
}

// Package kafka is the transport under goka: it gives goka's processors and
// views a consumer group, a producer, a table consumer and a storage whose
// effects commit together, in one Kafka transaction.
//
// goka keeps its graph, callbacks, tables and views; what it is handed through
// its builders is replaced:
//
//	Session       one member of a consumer group and its transactional producer
//	Consumer      reads tables and views: committed records only, and always to the end
//	Store         what one table partition holds; writes show after the commit
//	TopicManager  partitions and offsets for goka
//
// The package knows topics, offsets and bytes. What a record means, what a row
// holds and when a window closes is decided by its callers; it imports nothing
// of this module.
package kafka

import (
	"hash"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Config says how to reach a cluster. The zero value of every field but
// Brokers is usable.
type Config struct {
	Brokers  []string
	ClientID string
	Security Security
	Logger   *slog.Logger
}

// Header is one record header. It is an alias, so that packages which must not
// import this one can name the same type.
type Header = struct {
	Key   string
	Value []byte
}

// Record is one polled record, an alias for the same reason. Its slices must not
// be written to.
type Record = struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Key       []byte
	Value     []byte
	Headers   []Header
}

// RetryTimeout bounds how long one request is retried before its error is
// returned: long enough for a leader election, short enough that a lost
// cluster is reported while someone still watches.
const RetryTimeout = 15 * time.Second

func (c Config) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// options returns the client options that every client of this package uses.
func (c Config) options() ([]kgo.Opt, error) {
	// From version 6 offsets are committed by the id of a topic (KIP-1319), which
	// nothing tells when the request is ours (settle).
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 5)
	opts := []kgo.Opt{
		kgo.MaxVersions(versions),
		kgo.SeedBrokers(c.Brokers...),
		kgo.RetryTimeout(RetryTimeout),
		// A proxy whose broker is away takes a connection and closes it at once. So does a
		// broker that wants TLS; Reachable says so.
		kgo.AlwaysRetryEOF(),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.RecordPartitioner(partitioner{}),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // see docs/decisions/0007-no-compression.md
		kgo.ProducerBatchMaxBytes(1 << 20),
		kgo.BrokerMaxWriteBytes(2 << 20), // a client keeps the memory of its largest request
	}
	if c.ClientID != "" {
		opts = append(opts, kgo.ClientID(c.ClientID))
	}
	security, err := c.Security.options()
	if err != nil {
		return nil, err
	}
	return append(opts, security...), nil
}

// NewClient opens a plain client: no group, no transaction.
func (c Config) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	base, err := c.options()
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(base, opts...)...)
}

// partitioner sends a record to Record.Partition when that is set (>= 0), else
// by key as goka does, so that goka's own hashing finds the row again.
type partitioner struct{}

// ByKey lets a record's key choose its partition.
const ByKey int32 = -1

func (partitioner) ForTopic(string) kgo.TopicPartitioner { return topicPartitioner{} }

type topicPartitioner struct{}

func (topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return int(PartitionOf(r.Key, n))
}

// Hasher is the hash that goka must be given (goka.WithHasher).
func Hasher() hash.Hash32 { return fnv.New32a() }

// PartitionOf returns the partition of n that goka gives a key: FNV-1a 32 as a
// signed number, its absolute value modulo n.
func PartitionOf(key []byte, n int) int32 {
	h := Hasher()
	h.Write(key)
	v := int32(h.Sum32())
	if v < 0 {
		v = -v
	}
	if v < 0 { // the one number without a positive twin
		v = 0
	}
	return v % int32(n)
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/twmb/franz-go/pkg/kgo"
)

// errNoClient says that something was produced while no transaction was open.
var errNoClient = errors.New("BUG: produced outside of a transaction")

// Send produces one record in the open transaction, bytes unchanged: nil and
// empty keys and values stay what they are. partition is ByKey or a partition.
// A failure aborts the transaction; Send itself never waits. It must be called
// from a callback of goka or from Task.Flush. The session keeps the slices
// until the commit.
func (s *Session) Send(topic string, partition int32, key, value []byte, headers ...Header) {
	s.produce(topic, partition, key, value, headers, nil)
}

func (s *Session) produce(topic string, partition int32, key, value []byte, headers []Header, acked func(offset int64)) {
	s.sent.Store(true)
	client := s.client.Load()
	if client == nil {
		s.failProduce(errNoClient)
		return
	}
	r := &kgo.Record{Topic: topic, Partition: partition, Key: key, Value: value, Timestamp: time.Now()}
	for _, h := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		switch {
		case err != nil:
			s.failProduce(err)
		case acked != nil:
			acked(r.Offset)
		}
	})
}

func (s *Session) failProduce(err error) { s.produceErr.CompareAndSwap(nil, &err) }

// Rows writes the rows of one table partition: store and changelog together,
// visible to readers after the commit. It is for callbacks that touch other
// keys than their message's, for which goka has no call.
type Rows struct {
	session   *Session
	store     *Store
	partition int32
}

// Set writes a row. The slices are kept.
func (r *Rows) Set(key string, value []byte) {
	r.store.Set(key, value)
	r.session.produce(r.session.cfg.Table, r.partition, []byte(key), value, nil, r.acked)
}

// Delete removes a row: a tombstone in the changelog.
func (r *Rows) Delete(key string) {
	r.store.Delete(key)
	r.session.produce(r.session.cfg.Table, r.partition, []byte(key), nil, nil, r.acked)
}

func (r *Rows) acked(offset int64) { r.store.SetOffset(offset) }

// Len returns the number of committed rows.
func (r *Rows) Len() int { return r.store.Len() }

// All visits every committed row until visit returns false. The value may be kept,
// but not changed.
func (r *Rows) All(visit func(key string, value []byte) bool) { r.store.Committed(visit) }

// buildStorage is what goka opens a table partition with: the session's store,
// which survives the generation when the partition does.
func (s *Session) buildStorage(topic string, partition int32) (storage.Storage, error) {
	if topic != s.cfg.Table {
		return NewStore(), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[partition] == nil {
		s.stores[partition] = NewStore()
	}
	return s.stores[partition], nil
}

// producer is the session as goka.Producer.
type producer struct{ s *Session }

func (s *Session) buildProducer([]string, string, func() hash.Hash32) (goka.Producer, error) {
	return producer{s}, nil
}

// Emit implements goka.Producer.
func (p producer) Emit(topic, key string, value []byte) *goka.Promise {
	return p.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders implements goka.Producer.
func (p producer) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	promise, finish := goka.NewPromiseWithFinisher()
	p.s.sent.Store(true)
	client := p.s.client.Load()
	if client == nil {
		return finish(nil, errNoClient)
	}
	r := &kgo.Record{Topic: topic, Partition: ByKey, Key: []byte(key), Value: value, Timestamp: time.Now()}
	for k, v := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: k, Value: v})
	}
	client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err != nil {
			p.s.failProduce(err)
		}
		finish(&sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Offset: r.Offset}, err)
	})
	return promise
}

// Close implements goka.Producer; the session closes its client itself.
func (producer) Close() error { return nil }

// gokaLogger passes goka's log lines on at debug level: what a user must know
// is logged by this package.
type gokaLogger struct{ log *slog.Logger }

func (l gokaLogger) Print(v ...any) {}
func (l gokaLogger) Println(v ...any) {
}
func (l gokaLogger) Printf(format string, v ...any) {
	if strings.Contains(format, "Error") {
		l.log.Debug("goka", "message", strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

// GokaLogger returns what goka's options take; see gokaLogger.
func GokaLogger(log *slog.Logger) goka.Logger { return gokaLogger{log} }

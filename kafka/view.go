package kafka

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
)

// ViewStorage returns what goka.WithViewStorageBuilder takes: a store for every
// partition, in which everything shows at once, since a Consumer hands on
// committed records only.
func ViewStorage() storage.Builder {
	return func(string, int32) (storage.Storage, error) { return viewStore{NewStore()}, nil }
}

// viewStore never begins a transaction.
type viewStore struct{ *Store }

func (viewStore) MarkRecovered() error { return nil }

// SkipControl wraps an update callback for tables read by a Consumer, which hands
// on control records as messages without key and value. next, when not nil, sees
// every message, those included; goka's default writes the rest to storage when
// next is nil.
func SkipControl(next func(partition int32, offset int64, key string, value []byte) error) goka.UpdateCallback {
	return func(ctx goka.UpdateContext, s storage.Storage, key string, value []byte) error {
		if next != nil {
			return next(ctx.Partition(), ctx.Offset(), key, value)
		}
		if key == "" && value == nil {
			return nil
		}
		return goka.DefaultUpdate(ctx, s, key, value)
	}
}

// Opened remembers what its builders open for one run of a goka view, which closes
// neither its consumer nor all of its topic managers. The zero Opened is ready to
// use; it is safe for concurrent use.
type Opened struct {
	mu   sync.Mutex
	open []io.Closer
}

// Consumers is ConsumerBuilder.
func (o *Opened) Consumers(c Config, openTimeout time.Duration) goka.SaramaConsumerBuilder {
	return func([]string, string) (sarama.Consumer, error) {
		consumer, err := NewConsumer(c, openTimeout)
		if err != nil {
			return nil, err
		}
		o.add(consumer)
		return consumer, nil
	}
}

// TopicManagers is TopicManagerBuilder.
func (o *Opened) TopicManagers(c Config) goka.TopicManagerBuilder {
	build := TopicManagerBuilder(c)
	return func(brokers []string) (goka.TopicManager, error) {
		manager, err := build(brokers)
		if err != nil {
			return nil, err
		}
		o.add(manager)
		return manager, nil
	}
}

func (o *Opened) add(c io.Closer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = append(o.open, c)
}

// Close closes everything, also what goka has closed.
func (o *Opened) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, c := range o.open {
		errs = append(errs, c.Close())
	}
	o.open = nil
	return errors.Join(errs...)
}

package kafka

import (
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

package kafka

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Two members join while a third restores: partitions are revoked from it twice
// before it works on any. It must not commit for those it lost, or their new
// owners would read again what they counted.
func TestPartitionsRevokedDuringARestore(t *testing.T) {
	c := broker(t)
	in, group, table := setUpCounter(t, c, 4)
	restoring, restored := make(chan struct{}), make(chan struct{})
	var once sync.Once
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, table, "a", func(cfg *SessionConfig) {
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				once.Do(func() {
					close(restoring)
					<-restored
				})
				return build(ctx, a)
			}
		})
	})
	<-restoring
	var stops []func()
	for _, name := range []string{"b", "c"} {
		works := make(chan struct{})
		var once sync.Once
		stops = append(stops, background(t, func(ctx context.Context) error {
			return runCounter(ctx, c, in, group, table, name, func(cfg *SessionConfig) {
				build := cfg.NewTask
				cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
					once.Do(func() { close(works) })
					return build(ctx, a)
				}
			})
		}))
		<-works
	}
	truth := produce(t, c, in, 2000, 40)
	neverFall := watchOffsets(t, c, group, in)
	close(restored)
	eventually(t, c, table, truth)
	for k, n := range produce(t, c, in, 2000, 40) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
	for _, stop := range stops {
		stop()
	}
	for k, n := range produce(t, c, in, 100, 40) {
		truth[k] += n
	}
	eventually(t, c, table, truth)
	neverFall()
}

// watchOffsets checks, until stop is called, that no committed offset of a group
// falls.
func watchOffsets(t testing.TB, c Config, group, topic string) (stop func()) {
	return background(t, func(ctx context.Context) error {
		highest := map[int32]int64{}
		for ctx.Err() == nil {
			offsets, err := GroupOffsets(ctx, c, group, topic)
			if err != nil {
				return err
			}
			for p, o := range offsets {
				if o.Offset < highest[p] {
					return fmt.Errorf("the offset of partition %d fell from %d to %d", p, highest[p], o.Offset)
				}
				highest[p] = o.Offset
			}
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	})
}

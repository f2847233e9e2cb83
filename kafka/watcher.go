package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Watcher looks at a cluster from outside, again and again: at its brokers, and at how
// far consumer groups are behind, whether they run or not. It joins nothing and changes
// nothing. It keeps its connections, and must not be used by two at once.
type Watcher struct {
	client *kgo.Client
	adm    *kadm.Client
	heads  map[place]head // see look
}

// watcherPatience is how long a request is tried again: what does not answer is looked at
// again soon, and the others must not wait for it.
const watcherPatience = 2 * time.Second

// NewWatcher connects when it is first used. Close must be called.
func NewWatcher(c Config) (*Watcher, error) {
	client, err := c.NewClient(kgo.RetryTimeout(watcherPatience))
	if err != nil {
		return nil, fmt.Errorf("open watcher of the cluster: %w", err)
	}
	return &Watcher{client: client, adm: kadm.NewClient(client)}, nil
}

// Close ends all connections.
func (w *Watcher) Close() { w.client.Close() }

// Cluster is how a cluster is.
type Cluster struct {
	Brokers         int // that are there
	UnderReplicated int // partitions with a replica that is not in sync
	Offline         int // partitions without a leader: nobody can read or write them
}

// Cluster counts brokers and what is wrong with the partitions of all topics that this
// user may see.
func (w *Watcher) Cluster(ctx context.Context) (Cluster, error) {
	m, err := w.adm.Metadata(ctx)
	if err != nil {
		return Cluster{}, fmt.Errorf("look at the cluster: %w", err)
	}
	c := Cluster{Brokers: len(m.Brokers)}
	for _, topic := range m.Topics {
		for _, p := range topic.Partitions {
			if len(p.ISR) < len(p.Replicas) {
				c.UnderReplicated++
			}
			if p.Leader < 0 {
				c.Offline++
			}
		}
	}
	return c, nil
}

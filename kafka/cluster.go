package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reachable reports whether a broker answers, within the time of ctx.
func Reachable(ctx context.Context, c Config) error {
	client, err := c.NewClient(kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("reach Kafka at %s: %w", strings.Join(c.Brokers, ","), err)
	}
	return nil
}

// Whole reports whether every broker that the cluster knows of answers, within the
// time of ctx. One that was lost is known for as long as its session lasts.
func Whole(ctx context.Context, c Config) error {
	if err := Reachable(ctx, c); err != nil {
		return err
	}
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("list brokers: %w", err)
	}
	lost := make([]error, len(brokers))
	var asking sync.WaitGroup
	for i, b := range brokers { // at once: one that is silent uses up all the time
		asking.Go(func() {
			if _, err := client.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
				lost[i] = fmt.Errorf("reach broker %d at %s:%d: %w", b.NodeID, b.Host, b.Port, err)
			}
		})
	}
	asking.Wait()
	return errors.Join(lost...)
}

// PartitionCounts returns the number of partitions of topics: 0 for one that does
// not exist, nothing for one that the cluster cannot tell of now.
func PartitionCounts(ctx context.Context, c Config, topics []string) (map[string]int32, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found, err := listTopics(ctx, kadm.NewClient(client), topics)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	counts := map[string]int32{}
	for _, t := range topics {
		switch {
		case isMissing(found, t):
			counts[t] = 0
		case found[t].Err == nil:
			counts[t] = int32(len(found[t].Partitions))
		}
	}
	return counts, nil
}

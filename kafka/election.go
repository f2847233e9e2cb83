package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Election lets one of several processes do something: the one that has the first
// partition of a topic in a group that is for nothing else. Nothing is read, nothing is
// committed. Which one it is does not hang on whether anything else works: a process that
// restores a table or is stuck in a transaction may be elected.
type Election struct {
	Config
	Group string
	Topic string // any that exists
	// Lead is called when this process is elected, and must return soon after its context
	// ends: when another is to be elected, and at the end. For a session timeout after this
	// process lost touch with Kafka there may be another one that leads.
	Lead func(ctx context.Context)
	// SessionTimeout is after how long without a sign another is elected.
	SessionTimeout time.Duration
}

// Run takes part until ctx ends (nil) or the group refuses us.
func (e Election) Run(ctx context.Context) error {
	life, cut := context.WithCancel(context.Background())
	defer cut()
	var term term
	client, err := e.NewClient(
		kgo.WithContext(life),
		kgo.ConsumerGroup(e.Group),
		kgo.ConsumeTopics(e.Topic),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(e.SessionTimeout),
		kgo.HeartbeatInterval(e.SessionTimeout/5),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, added map[string][]int32) {
			cl.PauseFetchPartitions(added)
			if slices.Contains(added[e.Topic], 0) {
				term.begin(ctx, e.Lead)
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			if slices.Contains(lost[e.Topic], 0) {
				term.end()
			}
		}),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { term.end() }),
	)
	if err != nil {
		return fmt.Errorf("take part in the election of group %s: %w", e.Group, err)
	}
	defer func() {
		// One that leaves in peace has its successor at once.
		late := time.AfterFunc(closeTimeout, cut)
		client.CloseAllowingRebalance()
		late.Stop()
		term.end()
	}()
	for {
		fetches := client.PollFetches(ctx) // nothing but errors
		if ctx.Err() != nil {
			return nil
		}
		for _, f := range fetches.Errors() {
			if IsFatal(f.Err) {
				return fmt.Errorf("take part in the election of group %s: %w", e.Group, f.Err)
			}
			e.log().Info("the client joins the group again", "group", e.Group, "error", f.Err)
		}
	}
}

// term is the time for which a process is elected.
type term struct {
	mu   sync.Mutex
	over func() // nil: it is not
}

func (t *term) begin(ctx context.Context, lead func(ctx context.Context)) {
	t.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(ctx)
	}()
	t.over = func() {
		cancel()
		<-done
	}
}

func (t *term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		t.over()
		t.over = nil
	}
}

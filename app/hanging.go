package app

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"time"

	"ragstreams/kafka"
)

// hanging looks for transactions in own topics and groups that are open for longer
// than any of ours may be. The broker has lost track of them and will not end them,
// and no stage reads past them or learns where to begin: without a word everything
// would stand still.
type hanging struct {
	list  func(ctx context.Context) ([]kafka.Held, error)
	limit time.Duration // how long one may be open
	log   *slog.Logger
	// status gets the part while there are any.
	status *status
}

const (
	hangingPart     = "transactions"
	hangingInterval = 5 * time.Second
)

// hangingAfter is when a transaction is taken to hang: a broker ends what has
// lasted for the session timeout, but looks for it every ten seconds only.
func hangingAfter(sessionTimeout time.Duration) time.Duration {
	return sessionTimeout + 15*time.Second
}

// Run looks again and again until ctx ends.
func (h hanging) Run(ctx context.Context) error {
	h.status.clear(hangingPart)
	since := map[kafka.Held]time.Time{}
	said := map[kafka.Held]bool{}
	tick := time.NewTicker(hangingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		held, err := h.list(ctx)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Warn("transactions that hang are not looked for", "error", err)
			}
			// What a group waits for may be another transaction the next time.
			maps.DeleteFunc(since, func(at kafka.Held, _ time.Time) bool { return at.Group != "" })
			continue
		}
		now := map[kafka.Held]time.Time{}
		var lines []string
		for _, at := range held {
			began, known := since[at]
			if !known {
				began = time.Now()
			}
			now[at] = began
			if time.Since(began) <= h.limit {
				continue
			}
			lines = append(lines, at.String())
			if !said[at] {
				said[at] = true
				h.log.Error("a transaction hangs: nothing goes on there", "group", at.Group, "topic", at.Topic, "partition", at.Partition, "offset", at.Offset,
					"open", time.Since(began).Round(time.Second), "hint", "the broker does not end it; see Hanging transactions in docs/operations.md")
			}
		}
		since = now
		if len(lines) > 0 {
			h.status.set(hangingPart, strings.Join(lines, "; "))
		} else {
			h.status.clear(hangingPart)
		}
	}
}

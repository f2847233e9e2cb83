package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/kafka"
)

func TestHangingTransactions(t *testing.T) {
	const limit = time.Minute
	at := func(offset int64) kafka.Held { return kafka.Held{Topic: "events", Partition: 2, Offset: offset} }
	unseen := []kafka.Held{{Topic: "cannot be asked"}}
	tests := []struct {
		name string
		held func(elapsed time.Duration) []kafka.Held
		want bool
	}{
		{"none is open", func(time.Duration) []kafka.Held { return nil }, false},
		{"one stays open", func(time.Duration) []kafka.Held { return []kafka.Held{at(7)} }, true},
		{"there is always another one", func(d time.Duration) []kafka.Held { return []kafka.Held{at(int64(d / (30 * time.Second)))} }, false},
		{"one hangs beside others", func(d time.Duration) []kafka.Held { return []kafka.Held{at(int64(d)), {Topic: "late", Offset: 3}} }, true},
		{"one hangs that cannot always be seen", func(d time.Duration) []kafka.Held {
			if d%(10*time.Second) == 0 {
				return unseen
			}
			return []kafka.Held{at(7)}
		}, true},
		{"it was ended", func(d time.Duration) []kafka.Held {
			if d > 4*time.Minute {
				return nil
			}
			return []kafka.Held{at(7)}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				start := time.Now()
				h := hanging{
					list: func(context.Context) ([]kafka.Held, error) {
						held := tt.held(time.Since(start))
						if slices.Equal(held, unseen) {
							return nil, errors.New("bad")
						}
						return held, nil
					},
					limit: limit, log: slog.New(slog.DiscardHandler), status: newStatus(),
				}
				if err := h.Run(ctx); err != nil {
					t.Error(err)
				}
				missing := strings.Join(h.status.missing(), "\n")
				if got := strings.Contains(missing, "hangs"); got != tt.want {
					t.Errorf("missing is %q, want one that hangs: %v", missing, tt.want)
				}
			})
		})
	}
}

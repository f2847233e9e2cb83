package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// supervised runs a part whose run returns the given errors, then waits for ctx.
func supervised(t *testing.T, reachable error, results ...error) (runs int, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		s := supervisor{
			name: "part", log: slog.New(slog.DiscardHandler), status: newStatus(), outage: new(outage),
			reachable: func(context.Context) error { return reachable },
			run: func(ctx context.Context) error {
				runs++
				if runs <= len(results) {
					return results[runs-1]
				}
				<-ctx.Done()
				return ctx.Err()
			},
		}
		err = s.Run(ctx)
		took = time.Since(start)
	})
	return runs, took, err
}

func TestSupervisorStartsAgain(t *testing.T) {
	bad := errors.New("bad")
	runs, took, err := supervised(t, nil, bad, bad, nil)
	if err != nil || runs != 4 || took != time.Hour {
		t.Errorf("error %v after %d runs and %s, want none, four runs, and the end when it was asked for", err, runs, took)
	}
}

func TestSupervisorGivesUp(t *testing.T) {
	bad := errors.New("bad")
	var all []error
	for range 2 * maxFailures {
		all = append(all, bad)
	}
	runs, took, err := supervised(t, nil, all...)
	if !errors.Is(err, bad) || runs != maxFailures || !strings.Contains(err.Error(), "part: failed 10 times in a row") {
		t.Errorf("error %v after %d runs", err, runs)
	}
	if took < 10*time.Second || took > time.Minute {
		t.Errorf("gave up after %s: the pauses do not grow, or too much", took)
	}
}

func TestSupervisorEndsAtOnceWhenOnlyAPersonCanHelp(t *testing.T) {
	runs, _, err := supervised(t, nil, kerr.GroupAuthorizationFailed)
	if !errors.Is(err, kerr.GroupAuthorizationFailed) || runs != 1 {
		t.Errorf("error %v after %d runs", err, runs)
	}
}

func TestSupervisorWaitsForKafka(t *testing.T) {
	var all []error
	for range 5 * maxFailures {
		all = append(all, errors.New("no broker"))
	}
	runs, _, err := supervised(t, errors.New("away"), all...)
	if err != nil || runs != len(all)+1 {
		t.Errorf("error %v after %d runs: while Kafka is away nothing is counted", err, runs)
	}
}

// While Kafka is away all parts fail; the log says so every few seconds, not once
// for each of them.
func TestOutageIsSaidForAllParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var lines strings.Builder
		log := slog.New(slog.NewTextHandler(&lines, nil)) // written under the lock of outage
		away := errors.New("away")
		var shared outage
		var parts sync.WaitGroup
		for range 10 {
			s := supervisor{
				name: "part", log: log, status: newStatus(), outage: &shared,
				reachable: func(context.Context) error { return away },
				run:       func(context.Context) error { return errors.New("broken") },
			}
			parts.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		parts.Wait()
		if n := strings.Count(lines.String(), "Kafka cannot be reached"); n < 3 || n > 4 {
			t.Errorf("said %d times in ten seconds, want three or four:\n%s", n, lines.String())
		}
	})
}

// That Kafka is away is said, and keeps the program from being ready, though no part has
// anything to do; but not for one answer that does not come.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var lines strings.Builder
		var away atomic.Bool
		ask := func(context.Context) error {
			if away.Load() {
				return errors.New("no broker")
			}
			return nil
		}
		p := presence{ask: ask, log: slog.New(slog.NewTextHandler(&lines, nil)), status: newStatus(), outage: new(outage)}
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		pass := func(d time.Duration, said int, missing string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := strings.Count(lines.String(), "Kafka cannot be reached"); n != said {
				t.Errorf("said %d times, want %d", n, said)
			}
			if got := strings.Join(p.status.missing(), ""); got != missing {
				t.Errorf("missing %q, want %q", got, missing)
			}
		}
		pass(10*time.Second, 0, "")
		away.Store(true)
		pass(outageInterval, 0, "")
		away.Store(false)
		pass(outageInterval, 0, "")
		away.Store(true)
		pass(4*outageInterval, 3, "kafka: no broker")
		away.Store(false)
		pass(outageInterval, 3, "")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ragstreams/kafka"
)

// supervisor keeps one part of the program running.
//
// A part that ends with an error is started again, with a growing pause. It
// gives up when the error is one that only a person can mend, or after
// maxFailures in a row; a part that ran for healthyAfter begins to count anew.
// While Kafka, or one of its brokers, cannot be reached nothing is counted: it waits,
// and says so.
type supervisor struct {
	name      string
	run       func(ctx context.Context) error
	log       *slog.Logger
	reachable func(ctx context.Context) error
	status    *status
	// outage says that Kafka is away, one line every few seconds for all parts.
	outage *outage
}

// outage is what all parts notice at once. It is safe for concurrent use.
type outage struct {
	mu   sync.Mutex
	said time.Time
}

const outageInterval = 3 * time.Second

// say logs unless it has just been said.
func (o *outage) say(log *slog.Logger, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.said) >= outageInterval {
		o.said = time.Now()
		log.Warn("Kafka cannot be reached, waiting", "error", err)
	}
}

// presence asks whether Kafka is there, again and again. Parts that have nothing to do do
// not fail while it is away: nobody would say so, and the program would be ready.
type presence struct {
	ask    func(ctx context.Context) error
	log    *slog.Logger
	status *status
	outage *outage
}

// kafkaPart is what the program waits for when no broker answers.
const kafkaPart = "kafka"

// Run asks until ctx ends. One answer that does not come may be a broker that has much to
// do.
func (p presence) Run(ctx context.Context) error {
	for unanswered := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(outageInterval):
		}
		err := p.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			unanswered = 0
			p.status.clear(kafkaPart)
			continue
		}
		if unanswered++; unanswered > 1 {
			p.status.set(kafkaPart, err.Error())
			p.outage.say(p.log, err)
		}
	}
}

const (
	maxFailures  = 10
	healthyAfter = 30 * time.Second
	minBackoff   = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

func (s supervisor) Run(ctx context.Context) error {
	failures, backoff := 0, minBackoff
	for {
		started := time.Now()
		err := s.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			err = errors.New("ended, though nobody asked it to")
		case kafka.IsFatal(err):
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if time.Since(started) > healthyAfter {
			failures, backoff = 0, minBackoff
		}
		failures++
		s.status.set(s.name, err.Error())
		if away := s.reachable(ctx); away != nil {
			s.outage.say(s.log, away)
			failures, backoff = 0, maxBackoff/2
		} else {
			s.log.Warn("failed, starting again", "part", s.name, "error", err, "failures", failures)
		}
		if failures >= maxFailures {
			return fmt.Errorf("%s: failed %d times in a row, giving up: %w", s.name, failures, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

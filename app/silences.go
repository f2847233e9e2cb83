package app

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ragstreams/alerts/api"
	"ragstreams/alerts/silences"
	"ragstreams/kafka"
)

// silencing keeps the silences. Every instance knows all of them, and any may be asked
// to make one. It is safe for concurrent use.
type silencing struct {
	stages   *stages
	book     *silences.Book
	restored atomic.Bool

	mu      sync.Mutex
	sender  *kafka.Sender   // nil until there is something to send
	strange map[string]bool // keys of records that are not understood
}

const silencesPart = "silences"

// follow keeps the book.
func (s *silencing) follow(ctx context.Context) error {
	defer s.close()
	update := func(_ int32, _ int64, key string, value []byte) error {
		s.take(key, value)
		return nil
	}
	return s.stages.follow(ctx, s.stages.o.names().Silences(), update, func() {
		s.restored.Store(true)
		s.stages.status.clear(silencesPart)
	})
}

// take takes in a record of the topic. One that is not understood, such as of a newer
// version of the program, is told of and left out: it is better to tell too much than to
// tell nobody anything.
func (s *silencing) take(key string, value []byte) {
	err := s.book.Update(key, value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if delete(s.strange, key); len(s.strange) == 0 {
			s.stages.notes.clear(silencesPart)
		}
		return
	}
	if s.strange == nil {
		s.strange = map[string]bool{}
	}
	s.strange[key] = true
	s.stages.notes.set(silencesPart, "a record is not understood and silences nothing: "+err.Error())
	s.stages.o.Logger.Error("a record is not understood and silences nothing", "error", err)
}

func (s *silencing) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender != nil {
		s.sender.Close()
		s.sender = nil
	}
}

// send produces records in their order.
func (s *silencing) send(ctx context.Context, records []kafka.Message) error {
	sender, err := s.open()
	if err != nil {
		return err
	}
	return sender.Send(ctx, s.stages.o.names().Silences(), records)
}

func (s *silencing) open() (_ *kafka.Sender, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender == nil {
		s.sender, err = kafka.NewSender(s.stages.o.Kafka)
	}
	return s.sender, err
}

// saveTimeout is how long somebody waits for a silence to be kept.
const saveTimeout = 10 * time.Second

// save keeps changes and returns once the book has them.
func (s *silencing) save(ctx context.Context, changes []silences.Change) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	records := make([]kafka.Message, len(changes))
	for i, c := range changes {
		records[i] = kafka.Message{Key: []byte(c.Key), Value: c.Append(nil)}
	}
	if err := s.send(ctx, records); err != nil {
		return err
	}
	for _, c := range changes {
		s.stages.o.Logger.Info("silence", "id", c.Silence, "change", c.Kind, "matchers", c.Matchers, "ends", c.Ends, "by", c.By, "comment", c.Comment)
	}
	for {
		has, changed := s.book.Has(changes[len(changes)-1].Key)
		if has {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("it was sent to Kafka, but not read back: %w", ctx.Err())
		}
	}
}

// count counts silences that are not over, by state.
func (s *silencing) count() map[string]int {
	now := s.stages.o.Clock.Wall()
	states := map[string]int{string(silences.Pending): 0, string(silences.Active): 0}
	for _, one := range s.book.All() {
		if state := one.State(now); state != silences.Over {
			states[string(state)]++
		}
	}
	return states
}

// forget removes what is long over.
func (s *silencing) forget(ctx context.Context) error {
	var tombstones []kafka.Message
	for _, key := range s.book.Forgettable(s.stages.o.Clock.Wall()) {
		tombstones = append(tombstones, kafka.Message{Key: []byte(key)})
	}
	if len(tombstones) == 0 {
		return nil
	}
	return s.send(ctx, tombstones)
}

// alertsHandler serves alerts and silences; a is nil without rules.
func alertsHandler(a *alerting, o *Options) http.Handler {
	if a == nil {
		return api.Absent(errNoRules)
	}
	return api.Handler(api.Options{
		Alerts: a.book.Rows, Silences: a.silencing.book, Save: a.silencing.save,
		Missing: func() string {
			if !a.restored.Load() || !a.silencing.restored.Load() {
				return "alerts and silences are not restored yet"
			}
			return ""
		},
		Now: o.Clock.Wall, Version: o.Version, Started: o.Clock.Wall(), Policy: func() string { return string(a.files.current().policyText) },
	})
}

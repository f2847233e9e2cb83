//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A topology of the configuration is there before the first alert: queues, bindings, dead
// letters. What another declaration contradicts is said, and alerts are published all the
// same.
func TestTopology(t *testing.T) {
	file := filepath.Join(t.TempDir(), "topology.yml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`
queues:
- {name: pages, bind: ["page.#"], delivery_limit: 3, dead_letter: pages.dead}
- {name: acme, bind: ["*.acme.#"], type: classic}
`)
	a := newAlarm(t, errorRules("10m"), "ANALYTICS_AMQP_TOPOLOGY="+file)
	one := a.instance("a").start()
	one.ready(time.Minute)
	a.fail("acme", 20)
	a.fail("globex", 20)
	pages := &inbox{url: a.rabbit.URL, queue: "pages"}
	one.ready(time.Minute)
	eventually(t, 30*time.Second, "alerts are in the queues", func(context.Context) error {
		for queue, want := range map[string]int{"pages": 2, "acme": 1, "pages.dead": 0} {
			if n, err := a.waiting(queue); err != nil || n != want {
				return fmt.Errorf("%d messages in %s, want %d (%v)", n, queue, want, err)
			}
		}
		return nil
	})

	// A receiver that refuses gets each message four times; then they are dead letters.
	times := 0
	if err := pages.refuse(t.Context(), 3*time.Second, func() { times++ }); err != nil {
		t.Fatal(err)
	}
	if n, err := a.waiting("pages.dead"); err != nil || n != 2 || times != 8 {
		t.Errorf("%d dead letters after %d deliveries (%v), want 2 after 8", n, times, err)
	}

	// The file contradicts what is there.
	one.stop()
	write(`queues: [{name: acme, bind: ["*.acme.#"], type: quorum}, {name: more, bind: ["#"]}]`)
	one.start().ready(time.Minute)
	a.fail("initech", 20)
	eventually(t, 30*time.Second, "the conflict is said", func(ctx context.Context) error {
		_, body, err := one.get(ctx, "/readyz")
		if err == nil && (!strings.Contains(body, "queue acme") || !strings.Contains(body, "PRECONDITION_FAILED")) {
			err = fmt.Errorf("readyz: %s", body)
		}
		return err
	})
	one.ready(time.Second)
	eventually(t, 30*time.Second, "alerts are published all the same", func(context.Context) error {
		if n, err := a.waiting("more"); err != nil || n == 0 {
			return fmt.Errorf("%d messages (%v)", n, err)
		}
		return nil
	})
	if n := strings.Count(one.Log(), "PRECONDITION_FAILED"); n != 1 {
		t.Errorf("it was tried %d times on one connection", n)
	}
}

// waiting returns how many messages are in a queue.
func (a *alarm) waiting(queue string) (int, error) {
	conn, err := amqp.Dial(a.rabbit.URL)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return 0, err
	}
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return q.Messages, err
}

// refuse has every message delivered again, for a time.
func (b *inbox) refuse(ctx context.Context, limit time.Duration, each func()) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := amqp.Dial(b.url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, b.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for d := range deliveries {
		each()
		if err := d.Nack(false, true); err != nil {
			return err
		}
	}
	return nil
}

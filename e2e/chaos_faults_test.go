//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"ragstreams/e2e/servers"

	"github.com/twmb/franz-go/pkg/kadm"
)

// fault is something that happens. It returns when it is over, and an error when it
// could not be done or something did not behave.
type fault struct {
	name string
	of   victim
	do   func(*chaos, context.Context) error
}

// victim is what a fault happens to.
type victim int

const (
	ofInstance victim = iota
	ofBroker
	ofRabbit
)

// faults are all that can happen.
var faults = []fault{
	{"an instance is killed", ofInstance, (*chaos).killOne},
	{"two instances are killed at once", ofInstance, (*chaos).killTwo},
	{"an instance stands still for longer than its session", ofInstance, (*chaos).freeze},
	{"an instance is told to stop", ofInstance, (*chaos).stopOne},
	{"rolling restart", ofInstance, (*chaos).roll},
	{"the third instance joins or leaves", ofInstance, (*chaos).joinOrLeave},
	{"a broker is killed", ofBroker, (*chaos).killBroker},
	{"the coordinator of a transaction or group is killed", ofBroker, (*chaos).killCoordinator},
	{"the disk of a broker is full", ofBroker, (*chaos).fillDisk},
	{"connections are cut", ofInstance, (*chaos).cut},
	{"connections are slow", ofInstance, (*chaos).delay},
	{"connections are half open", ofInstance, (*chaos).halfOpen},
	{"a burst", ofInstance, (*chaos).burst},
	{"RabbitMQ is killed", ofRabbit, (*chaos).killRabbit},
	{"RabbitMQ is stopped", ofRabbit, (*chaos).stopRabbit},
	{"RabbitMQ raises an alarm", ofRabbit, (*chaos).alarmRabbit},
	{"connections to RabbitMQ are cut within a message", ofRabbit, (*chaos).cutRabbit},
	{"connections to RabbitMQ are half open", ofRabbit, (*chaos).silenceRabbit},
	{"confirms of RabbitMQ are held back", ofRabbit, (*chaos).holdConfirms},
}

func (c *chaos) killOne(ctx context.Context) error { return c.kill(ctx, c.present()[:1]) }
func (c *chaos) killTwo(ctx context.Context) error { return c.kill(ctx, c.present()[:2]) }

func (c *chaos) kill(ctx context.Context, victims []*subject) error {
	for _, s := range victims {
		c.note("kill -9 %s", s.name)
		if err := s.Kill(); err != nil {
			return err
		}
	}
	for _, s := range victims {
		if err := pause(ctx, c.random(0, 4*time.Second)); err != nil {
			return err
		}
		c.note("start %s", s.name)
		if err := s.Start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) freeze(ctx context.Context) error {
	s := c.present()[0]
	c.note("SIGSTOP %s", s.name)
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := pause(ctx, chaosSession+c.random(time.Second, 5*time.Second)); err != nil {
		return err
	}
	now, err := c.prom.read(ctx, time.Now())
	if err != nil {
		return err
	}
	c.note("SIGCONT %s", s.name)
	if err := s.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return s.exportsNothingOlder(ctx, now["events"])
}

func (c *chaos) stopOne(ctx context.Context) error { return c.restart(ctx, c.present()[0]) }

func (c *chaos) restart(ctx context.Context, s *subject) error {
	c.note("SIGTERM %s", s.name)
	if err := s.Stop(stopLimit); err != nil {
		return err
	}
	if err := pause(ctx, c.random(0, 3*time.Second)); err != nil {
		return err
	}
	c.note("start %s", s.name)
	return s.Start()
}

func (c *chaos) roll(ctx context.Context) error {
	for _, s := range c.present() {
		if err := errors.Join(c.restart(ctx, s), c.rest(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) joinOrLeave(context.Context) error {
	s := c.subjects[2]
	if s.away {
		c.note("%s joins", s.name)
		s.away = false
		return s.Start()
	}
	c.note("%s leaves", s.name)
	s.away = true
	return s.Stop(stopLimit)
}

func (c *chaos) killBroker(ctx context.Context) error {
	return c.killNumber(ctx, c.intN(c.cluster.Brokers))
}

func (c *chaos) killNumber(ctx context.Context, n int) error {
	c.note("kill -9 broker %d", n)
	if err := c.cluster.Kill(n); err != nil {
		return err
	}
	return c.comeBack(ctx, n)
}

// killCoordinator kills who leads a partition that transactions or groups are kept
// in.
func (c *chaos) killCoordinator(ctx context.Context) error {
	topic := []string{"__transaction_state", "__consumer_offsets"}[c.intN(2)]
	meta, err := c.d.admin.Metadata(ctx, topic)
	if err != nil {
		return err
	}
	led := meta.Topics[topic].Partitions.Sorted()
	if len(led) == 0 {
		return fmt.Errorf("topic %s has no partitions", topic)
	}
	leads := led[c.intN(len(led))]
	c.note("broker %d leads %s/%d", leads.Leader, topic, leads.Partition)
	return c.killNumber(ctx, int(leads.Leader))
}

// fillDisk leaves a broker no room, upon which it ends by itself.
func (c *chaos) fillDisk(ctx context.Context) error {
	n := c.intN(c.cluster.Brokers)
	c.note("the disk of broker %d is full", n)
	if err := c.disks[n].fill(); err != nil {
		return err
	}
	ended, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := errors.Join(awaitEnd(ended, c.cluster, n), c.disks[n].free()); err != nil {
		return err
	}
	return c.comeBack(ctx, n)
}

// comeBack starts a broker that is down, after a while, and waits until every
// partition has all its replicas again: a second broker may be struck then.
func (c *chaos) comeBack(ctx context.Context, n int) error {
	if err := pause(ctx, c.random(500*time.Millisecond, 15*time.Second)); err != nil {
		return err
	}
	c.note("start broker %d", n)
	if err := c.cluster.Start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		behind, err := c.underReplicated(ctx)
		if err == nil && behind == 0 {
			return nil
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("%d partitions lack replicas after broker %d was started again: %w", behind, n, err)
		}
	}
}

func (c *chaos) underReplicated(ctx context.Context) (int, error) {
	meta, err := c.d.admin.Metadata(ctx)
	if err != nil {
		return 0, err
	}
	behind := 0
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
			behind++
		}
	})
	return behind, nil
}

func (c *chaos) cut(ctx context.Context) error {
	return c.disturb(ctx, "cut", (*servers.Proxies).Cut)
}

func (c *chaos) delay(ctx context.Context) error {
	latency := c.random(20*time.Millisecond, 500*time.Millisecond)
	return c.disturb(ctx, fmt.Sprint("late by ", latency), func(p *servers.Proxies) error { return p.Delay(latency, latency/2) })
}

func (c *chaos) halfOpen(ctx context.Context) error {
	requests := c.intN(2) == 0
	return c.disturb(ctx, fmt.Sprint("half open, requests lost: ", requests), func(p *servers.Proxies) error { return p.HalfOpen(requests) })
}

// disturb does something to the connections of one instance for a while, often for
// longer than its session.
func (c *chaos) disturb(ctx context.Context, how string, do func(*servers.Proxies) error) error {
	s := c.present()[0]
	c.note("connections of %s are %s", s.name, how)
	if err := do(s.proxies); err != nil {
		return err
	}
	err := pause(ctx, c.random(time.Second, 2*chaosSession))
	c.note("connections of %s are as they were", s.name)
	return errors.Join(err, s.proxies.Heal(ctx))
}

func (c *chaos) burst(ctx context.Context) error {
	n := 2000 + c.intN(8000)
	c.note("%d records at once", n)
	select {
	case c.bursts <- n:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

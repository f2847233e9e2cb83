package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ragstreams/e2e/servers"
)

// Contestants made of a library alone run in this same binary, each run in a
// process of its own, so that what they use is measured like that of the others:
//
//	bench child goka BROKER TOPIC EVENTS NAME DIR
//
// prints the line of a meter.
const childCommand = "child"

// job is what a child has to do.
type job struct {
	broker, topic string
	events        int64  // to count, from the beginning of the topic
	name          string // begins the names of the groups and topics that it makes
	dir           string // for files; the parent deletes it
}

// children count events by the library of their name, into a meter, until ctx ends:
// not before all are counted, unless the benchmark is interrupted. Then they may
// still say what was wrong.
var children = map[string]func(ctx context.Context, j job, m *meter) error{
	"goka":   countWithGoka,
	"franz":  countWithFranz,
	"sarama": countWithSarama,
}

// runChild is main of a child.
func runChild(ctx context.Context, args []string) error {
	if len(args) != 6 || children[args[0]] == nil {
		return errors.New("want: child goka|franz|sarama BROKER TOPIC EVENTS NAME DIR")
	}
	events, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	j := job{args[1], args[2], events, args[4], args[5]}
	line, err := measure(ctx, events, func(ctx context.Context, m *meter) error { return children[args[0]](ctx, j, m) })
	if err != nil {
		return err
	}
	fmt.Println(line)
	return nil
}

// measure returns the line of a meter into which count has counted so many events.
func measure(ctx context.Context, events int64, count func(context.Context, *meter) error) (string, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := newMeter(events)
	ended := make(chan error, 1)
	go func() { ended <- count(ctx, m) }()
	select {
	case <-m.done:
	case err := <-ended:
		return "", errors.Join(fmt.Errorf("the counting ended after %d of %d events", m.got.Load(), events), err)
	}
	line, err := m.line()
	stop()
	return line, errors.Join(err, <-ended)
}

// child is the parent's side.
type child struct {
	library string
	site    *servers.Site
	c       *cluster
	events  int64
}

func (l child) drain(ctx context.Context, topic string) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return figures{}, fmt.Errorf("find this program: %w", err)
	}
	name := fmt.Sprintf("bench-%s-%d-", l.library, time.Now().UnixMilli())
	dir, err := os.MkdirTemp(l.site.Dir, name)
	if err != nil {
		return figures{}, fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	one := l.site.Program(name, self, os.Environ(),
		childCommand, l.library, l.c.kafka.Address, topic, strconv.FormatInt(l.events, 10), name, dir)
	used, err := l.c.broker(func() error {
		if err := one.Start(); err != nil {
			return err
		}
		code, err := one.Wait(ctx)
		switch {
		case err != nil:
			return errors.Join(err, one.Kill())
		case code != 0:
			return fmt.Errorf("it ended with %d; its log ends with\n%s", code, one.Tail(20))
		}
		return nil
	})
	if err != nil {
		return figures{}, err
	}
	f, err := parseMeter(strings.TrimSpace(one.Tail(1)), l.events)
	if err != nil {
		return figures{}, err
	}
	f.brokerCPU = perEvent(used, l.events)
	return f, l.c.forget(ctx, name)
}

package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
)

func TestGokaCountsBySeries(t *testing.T) {
	kafka := tester.New(t)
	c := gokaCounter{m: newMeter(3)}
	p, err := goka.NewProcessor(nil, c.graph(job{topic: "traces", events: 3, name: "x-"}), goka.WithTester(kafka))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for i, tenant := range []string{"a", "b", "a", "a"} { // the fourth is beyond the three
		kafka.Consume("traces", fmt.Sprint("trace-", i), fmt.Appendf(nil, `{"tenant":%q,"event_type":"query","model":"m"}`, tenant))
	}
	for key, want := range map[string]int64{"a|query|m": 2, "b|query|m": 1} {
		if got := kafka.TableValue("x-counter-table", key); got != want {
			t.Errorf("%s is %v, want %d", key, got, want)
		}
	}
	get := func(key string) (any, error) { return kafka.TableValue("x-counter-table", key), nil }
	if err := c.check(get); err != nil {
		t.Error(err)
	}
	c.m.want = 4
	if err := c.check(get); err == nil {
		t.Error("one of four events is missing in the table, and nobody says so")
	}
}

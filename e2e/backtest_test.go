//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ragstreams/kafka"
)

// transition is what people are told of an alert.
type transition struct {
	State   string
	Labels  map[string]string
	Decided time.Time `json:"decided_at"`
}

// told returns the transitions in the outbox.
func (a *alarm) told() (all []transition, err error) {
	cfg := kafka.Config{Brokers: a.broker.Addresses()}
	ends, err := kafka.EndOffsets(a.t.Context(), cfg, a.prefix+"alerts-outbox")
	for p, end := range ends {
		err = errors.Join(err, kafka.Read(a.t.Context(), cfg, a.prefix+"alerts-outbox", p, 0, end, func(m kafka.Message) error {
			var t transition
			defer func() { all = append(all, t) }()
			return json.Unmarshal(m.Value, &t)
		}))
	}
	return all, err
}

// cluster is everything in Kafka that a program could leave something in.
func (a *alarm) cluster() string {
	a.t.Helper()
	topics, err1 := a.admin.ListTopicsWithInternal(a.t.Context())
	ends, err2 := a.admin.ListEndOffsets(a.t.Context())
	groups, err3 := a.admin.ListGroups(a.t.Context())
	committed := a.admin.FetchManyOffsets(a.t.Context(), groups.Groups()...)
	transactions, err4 := a.admin.ListTransactions(a.t.Context(), nil, nil)
	if err := errors.Join(err1, err2, err3, err4, committed.Error()); err != nil {
		a.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintln(&b, topics.Names(), groups.Groups(), transactions.TransactionalIDs())
	for _, end := range ends.Offsets().Sorted() {
		fmt.Fprintln(&b, end.Topic, end.Partition, end.At)
	}
	for _, group := range groups.Groups() {
		for _, o := range committed[group].Fetched.Sorted() {
			fmt.Fprintln(&b, group, o.Topic, o.Partition, o.At, o.Metadata)
		}
	}
	return b.String()
}

// What an alert did while the program ran is what a backtest says that it would have
// done, and the cluster is afterwards as it was.
func TestBacktestSaysWhatHappened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(errorRule), 0o644); err != nil {
		t.Fatal(err)
	}
	const pane = 2 * time.Second
	a := &alarm{deployment: newDeployment(t, []int32{2}, "ANALYTICS_RULES="+file, "ANALYTICS_WINDOW_PANE="+pane.String())}
	one := a.instance("a").start()
	one.ready(time.Minute)
	for range 3 {
		a.fail("acme", 10)
		pause(t.Context(), pane)
	}
	var told []transition
	eventually(t, time.Minute, "the alert fires and is resolved", func(context.Context) (err error) {
		if told, err = a.told(); err == nil && len(told) != 2 {
			err = fmt.Errorf("told %v", told)
		}
		return err
	})
	one.stop()
	before := a.cluster()
	var out, progress bytes.Buffer
	backtest := exec.CommandContext(t.Context(), binary, "rules", "backtest", "--since", "10m", "--format", "json")
	backtest.Env, backtest.Stdout, backtest.Stderr = a.env, &out, &progress
	if err := backtest.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	var found struct {
		Alerts []struct {
			Rule     string
			Labels   map[string]string
			Fired    time.Time `json:"fired_at"`
			Resolved time.Time `json:"resolved_at"`
		}
		Records struct{ Read, Counted int }
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if len(found.Alerts) != 1 || found.Alerts[0].Rule != "Errors" || found.Alerts[0].Labels["tenant"] != "acme" || found.Records.Read != 30 || found.Records.Counted != 30 {
		t.Fatalf("found %s", &out)
	}
	for _, happened := range told {
		at := found.Alerts[0].Fired
		if happened.State == "resolved" {
			at = found.Alerts[0].Resolved
		}
		t.Logf("%s at %s, a backtest says %s", happened.State, happened.Decided.Format(time.StampMilli), at.Format(time.StampMilli))
		if happened.Decided.Sub(at).Abs() > pane {
			t.Errorf("%s at %s, but a backtest says %s", happened.State, happened.Decided, at)
		}
	}
	if after := a.cluster(); after != before {
		t.Errorf("the cluster is\n%s\nand was\n%s", after, before)
	}
}

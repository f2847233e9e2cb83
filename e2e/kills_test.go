//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// killer does to two instances what happens to processes.
type killer struct {
	t         testing.TB
	d         *deployment
	prom      *prometheus
	rng       *rand.Rand
	instances [2]*instance
	kills     int
	proofs    int // kills while partitions were moving
	freezes   int
}

// run kills at least kills times, partitions moving at two of them, and freezes
// once.
func (c *killer) run(ctx context.Context, kills int) error {
	steps := []func(context.Context) error{c.whileMoving, c.freeze, c.whileMoving}
	for i := range kills - 2*2 { // those two kill twice each
		at := len(steps) * i / max(kills-4, 1)
		steps = slices.Insert(steps, at, c.kill)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *killer) random(from, to time.Duration) time.Duration {
	return from + time.Duration(c.rng.Int64N(int64(to-from)))
}

func (c *killer) log(format string, args ...any) {
	c.t.Logf(time.Now().Format("15:04:05.000 ")+format, args...)
}

func (c *killer) strike(i *instance, why string) error {
	c.kills++
	c.log("kill -9 %s, number %d, %s", i.name, c.kills, why)
	return i.Kill()
}

// kill kills one instance at a random moment, now and then the other one too,
// and starts them again.
func (c *killer) kill(ctx context.Context) error {
	if err := pause(ctx, c.random(500*time.Millisecond, 4*time.Second)); err != nil {
		return err
	}
	first := c.rng.IntN(2)
	victims := []*instance{c.instances[first]}
	if c.rng.IntN(4) == 0 {
		victims = append(victims, c.instances[1-first])
	}
	for _, i := range victims {
		if err := c.strike(i, "at random"); err != nil {
			return err
		}
	}
	for _, i := range victims {
		if err := pause(ctx, c.random(0, time.Second)); err != nil {
			return err
		}
		if err := i.Start(); err != nil {
			return err
		}
	}
	return nil
}

// whileMoving kills an instance, leaves it dead until the other has its
// partitions, starts it again, and kills one of both while the partitions move
// back: right before and right after that kill a group was not stable.
func (c *killer) whileMoving(ctx context.Context) error {
	for range 5 {
		i := c.instances[c.rng.IntN(2)]
		if err := c.strike(i, "to have its partitions moved"); err != nil {
			return err
		}
		if err := c.awaitMembers(ctx, i, false); err != nil {
			return err
		}
		if err := i.Start(); err != nil {
			return err
		}
		group, state, err := c.awaitRebalance(ctx)
		if err != nil {
			return err
		}
		victim := c.instances[c.rng.IntN(2)]
		if err := c.strike(victim, fmt.Sprintf("while group %s is in %s", group, state)); err != nil {
			return err
		}
		after, err := c.groups(ctx)
		if err != nil {
			return err
		}
		if err := pause(ctx, c.random(0, 300*time.Millisecond)); err != nil {
			return err
		}
		if err := victim.Start(); err != nil {
			return err
		}
		if still := after[group].State; still != "Stable" {
			c.log("proven: right after the kill it was in %s", still)
			c.proofs++
			return nil
		}
		c.log("not proven: it was stable right after the kill; once more")
	}
	return errors.New("5 kills, and partitions were moving at none of them")
}

// freeze stops an instance for longer than its session, and wakes it when the
// other has had its partitions for some time.
func (c *killer) freeze(ctx context.Context) error {
	i := c.instances[c.rng.IntN(2)]
	if err := i.awaitReady(ctx, 30*time.Second); err != nil { // it may just have been started
		return err
	}
	c.log("SIGSTOP %s", i.name)
	if err := i.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := c.awaitMembers(ctx, i, false); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	now, err := c.prom.read(ctx, time.Now())
	if err != nil {
		return err
	}
	// A scrape that waits for it to wake is answered before it learns anything.
	scraped := make(chan error, 1)
	go func() { scraped <- i.exportsNothingOlder(ctx, now["events"]) }()
	if err := pause(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	c.log("SIGCONT %s, which no group has as a member any more", i.name)
	if err := i.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := errors.Join(<-scraped, c.awaitMembers(ctx, i, true)); err != nil {
		return err
	}
	c.freezes++
	return nil
}

var (
	eventsLine = regexp.MustCompile(`(?m)^rag_events_total\{(.*)\} (\S+)`)
	label      = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// exportsNothingOlder scrapes an instance and checks that none of its series is
// behind what Prometheus has already seen from another.
func (i *instance) exportsNothingOlder(ctx context.Context, seen map[string]float64) error {
	status, body, err := i.get(ctx, "/metrics")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("scrape of the woken instance %s: %d, %w", i.name, status, err)
	}
	for _, line := range eventsLine.FindAllStringSubmatch(body, -1) {
		labels := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(line[1], -1) {
			labels[l[1]] = l[2]
		}
		key := counters["events"].key(labels)
		if n, err := strconv.ParseFloat(line[2], 64); err != nil || n < seen[key] {
			return fmt.Errorf("the woken instance %s exports %s, error %v; %g was seen before", i.name, line[0], err, seen[key])
		}
	}
	return nil
}

// groups returns the groups of the deployment's stages.
func (c *killer) groups(ctx context.Context) (kadm.DescribedGroups, error) {
	listed, err := c.d.admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(listed.Groups(), func(g string) bool {
		return !strings.HasPrefix(g, c.d.prefix) || g == c.d.prefix+"watch" // whose members have no names
	})
	if len(own) == 0 {
		return nil, fmt.Errorf("no group begins with %s", c.d.prefix)
	}
	groups, err := c.d.admin.DescribeGroups(ctx, own...)
	return groups, errors.Join(err, groups.Error())
}

// awaitMembers waits until an instance is a member of every group that is
// stable, or of none.
func (c *killer) awaitMembers(ctx context.Context, i *instance, want bool) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		groups, err := c.groups(ctx)
		if err != nil {
			return err
		}
		var wrong []string
		for _, g := range groups.Sorted() {
			if isMember(g, i.name) != want || g.State != "Stable" {
				wrong = append(wrong, g.Group+" "+g.State)
			}
		}
		if len(wrong) == 0 {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("member %s of all groups should be %v; not so in %v: %w", i.name, want, wrong, err)
		}
	}
}

// isMember reports whether a session of the instance is in the group: its static
// name is GROUP-INSTANCE-NUMBER.
func isMember(g kadm.DescribedGroup, instance string) bool {
	return slices.ContainsFunc(g.Members, func(m kadm.DescribedGroupMember) bool {
		return m.InstanceID != nil && strings.HasPrefix(*m.InstanceID, g.Group+"-"+instance+"-")
	})
}

// awaitRebalance returns a group that is moving partitions, and its state.
func (c *killer) awaitRebalance(ctx context.Context) (group, state string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		groups, err := c.groups(ctx)
		if err != nil {
			return "", "", err
		}
		for _, g := range groups.Sorted() {
			if strings.HasSuffix(g.State, "Rebalance") {
				return g.Group, g.State, nil
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return "", "", fmt.Errorf("no group moved its partitions: %w", err)
		}
	}
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"
)

// TestChaos: three brokers, up to three instances, a RabbitMQ, and everything that happens
// to processes, brokers and connections, drawn at random from a seed. The numbers are
// those of the truth, and no reader was ever shown another; alerts fire that must, and
// every transition was told, in order, and none that was not.
//
// CHAOS_SEED and CHAOS_FOR choose the seed and how long it rages; without them it is
// a short run of a seed that is always the same and of one that is not.
func TestChaos(t *testing.T) {
	seeds, length := chaosSettings(t)
	extra := filepath.Join(t.TempDir(), "broker.properties")
	if err := os.WriteFile(extra, []byte(quickReturn), 0o644); err != nil {
		t.Fatal(err)
	}
	var cluster *servers.Kafka
	var disks []*disk
	for n := range 3 {
		data := filepath.Join(site.Dir, "cluster", strconv.Itoa(n), "data")
		disks = append(disks, newDisk(t, data, "1g", func() (int, error) { return cluster.PID(n) }))
	}
	cluster, err := site.Cluster(t.Context(), "cluster", "KAFKA_HEAP=512m", "KAFKA_TIMEOUT=120", "KAFKA_EXTRA="+extra)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := cluster.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	rabbit := ownRabbitMQ(t, "rabbitmq-chaos")
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			t.Logf("again: CHAOS_SEED=%d CHAOS_FOR=%s make chaos", seed, length)
			rage(t, cluster, rabbit, disks, seed, length)
		})
	}
}

func chaosSettings(t testing.TB) (seeds []uint64, length time.Duration) {
	seeds, length = []uint64{1, rand.Uint64N(1e9)}, 45*time.Second
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED is %q: want a number", text)
		}
		seeds = []uint64{seed}
	}
	if text := os.Getenv("CHAOS_FOR"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length <= 0 {
			t.Fatalf("CHAOS_FOR is %q: want a duration such as 5m", text)
		}
	}
	return seeds, length
}

// chaos is one run.
type chaos struct {
	t       testing.TB
	cluster *servers.Kafka
	disks   []*disk // of its brokers
	d       *deployment
	prom    *prometheus
	bursts  chan int
	bells   *bells

	subjects []*subject
	deck     []fault
	faults   map[string]int

	mu  sync.Mutex
	rng *rand.Rand
	log []string
}

// subject is an instance whose connections can be disturbed.
type subject struct {
	*instance
	proxies *servers.Proxies
	wire    *servers.Wire // to RabbitMQ
	away    bool          // it has left and may join again
	born    map[int]size
}

const (
	chaosSession = 6 * time.Second // session.timeout.ms of the deployment
	// stopLimit is how long an instance may take to end. The last commit may wait for a
	// broker that is away.
	stopLimit = 30 * time.Second
)

func rage(t *testing.T, cluster *servers.Kafka, rabbit *servers.RabbitMQ, disks []*disk, seed uint64, length time.Duration) {
	const (
		backlog = 20_000
		// 900 records a second, bursts included: what is late would not be certain if the
		// time of events overtook the clock.
		step = time.Millisecond
	)
	if err := cluster.Start(t.Context()); err != nil { // a run before may have failed with a broker away
		t.Fatal(err)
	}
	// No partition may fall idle while brokers are away: what is late would be
	// different from the truth. One partition never gets a record.
	// One session and two partitions of each stage: three brokers share two cores with
	// three instances.
	rules, err := chaosRuleFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := newDeploymentOn(t, cluster, []int32{4, 3, 2}, "ANALYTICS_WINDOW_IDLE_TIMEOUT=10m",
		"ANALYTICS_KAFKA_SESSIONS=1", "ANALYTICS_KAFKA_PARTITIONS=2", "ANALYTICS_RULES="+rules)
	start := startOf(backlog, step)
	g := generate.New(generate.Config{
		Seed: seed, Tenants: 6, Models: 3, Step: step, Start: start,
		Duplicates: 0.03, Late: 0.01, Poison: 0.005, Unkeyed: 0.5, Topics: d.topics,
	})
	w := d.traffic()
	w.place = func(topic string, partition int32) int32 {
		if topic == d.topics[0].Name && partition == 3 {
			return 2
		}
		return partition
	}
	c := &chaos{
		t: t, cluster: cluster, disks: disks, d: d, rng: rand.New(rand.NewPCG(seed, 2)), bursts: make(chan int, 1), faults: map[string]int{},
	}
	t.Cleanup(c.leaveTraces)
	c.ring(rabbit)
	w.all(g, backlog)
	var all []*instance
	// Each comes to the brokers and to RabbitMQ through proxies of its own.
	for n, name := range []string{"a", "b", "c"} {
		proxies, err := cluster.Proxies(n + 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxies.Close)
		wire, err := rabbit.Wire()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(wire.Close)
		s := &subject{
			instance: d.instance(name, "ANALYTICS_KAFKA_BROKERS="+proxies.Address, "ANALYTICS_AMQP_URL="+c.bells.through(wire)),
			proxies:  proxies, wire: wire, born: map[int]size{},
		}
		c.subjects = append(c.subjects, s)
		all = append(all, s.start())
	}
	c.prom = startPrometheus(t, d, all...)
	began := time.Now()
	for _, s := range c.subjects {
		s.agree(g.Truth(), 2*time.Minute)
	}
	if t.Failed() {
		t.Fatal("not even the backlog is right")
	}
	before := expected(g.Truth())
	quiet := c.prom.settled(before, 20*time.Second)

	eyes := watch(t, start.Add(-time.Hour), all...)
	group, ctx := errgroup.WithContext(t.Context())
	over := make(chan struct{})
	group.Go(func() error {
		defer close(over)
		return c.run(ctx, length)
	})
	group.Go(func() error { return c.produce(ctx, w, g, over) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.flush()
	c.report(length)

	truth := g.Truth()
	for _, s := range c.subjects {
		s.agree(truth, 2*time.Minute)
		s.ready(time.Minute)
	}
	c.alike()
	c.checkBells(truth)
	eyes.end(20, all...)
	after := expected(truth)
	end := c.prom.settled(after, 30*time.Second)
	c.prom.checkIncrease(quiet, end, before, after)
	c.prom.checkNeverFell(began, end)
	c.checkSizes()
	for _, s := range c.subjects {
		if err := s.Stop(stopLimit); err != nil {
			t.Error(err)
		}
	}
	w.checkSideTopics(t)
}

// run lets things happen until length has passed, and leaves everything running.
func (c *chaos) run(ctx context.Context, length time.Duration) error {
	group, during := errgroup.WithContext(ctx)
	aside := map[victim]chan struct{}{ofBroker: make(chan struct{}, 1), ofRabbit: make(chan struct{}, 1)}
	var failed error
	for until := time.Now().Add(length); failed == nil && time.Now().Before(until); {
		failed = c.strikeOnce(during, group, aside)
	}
	if err := errors.Join(failed, group.Wait()); err != nil {
		return err
	}
	for _, s := range c.subjects {
		if s.away {
			if err := s.Start(); err != nil {
				return err
			}
			s.away = false
		}
	}
	return c.rest(ctx)
}

// strikeOnce lets one thing happen. What happens to a server takes long, and goes on
// aside, one at a time of each kind: two brokers of three away are no cluster.
func (c *chaos) strikeOnce(ctx context.Context, group *errgroup.Group, aside map[victim]chan struct{}) error {
	f := c.draw()
	do := func() error {
		c.note("%s", f.name)
		if err := f.do(c, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		return nil
	}
	if busy := aside[f.of]; busy != nil {
		select {
		case busy <- struct{}{}:
			c.faults[f.name]++
			group.Go(func() error {
				defer func() { <-busy }()
				return do()
			})
		default:
		}
		return ctx.Err()
	}
	c.faults[f.name]++
	if err := do(); err != nil {
		return err
	}
	// Mostly the next one comes before all have recovered.
	if err := pause(ctx, c.random(0, 3*time.Second)); err != nil {
		return err
	}
	if c.intN(4) == 0 {
		return c.rest(ctx)
	}
	return nil
}

// draw returns the next fault. All are drawn before one is drawn again.
func (c *chaos) draw() fault {
	if len(c.deck) == 0 {
		again := slices.Clone(faults)
		c.shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		c.deck = again
	}
	f := c.deck[0]
	c.deck = c.deck[1:]
	return f
}

func (c *chaos) intN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

func (c *chaos) shuffle(n int, swap func(i, j int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rng.Shuffle(n, swap)
}

func (c *chaos) random(from, to time.Duration) time.Duration {
	return from + time.Duration(c.intN(int(to-from)))
}

// produce sends records all the time, and bursts, until over is closed.
func (c *chaos) produce(ctx context.Context, w *traffic, g *generate.Generator, over <-chan struct{}) error {
	const tick, each = 20 * time.Millisecond, 16 // 800 a second
	for {
		n := each
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case n = <-c.bursts:
		case <-time.After(tick):
		}
		for range n {
			w.send(g.Next())
		}
	}
}

func (c *chaos) note(format string, args ...any) {
	line := time.Now().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, line)
	c.t.Log(line)
}

// present are the instances that have not left, in random order.
func (c *chaos) present() []*subject {
	present := slices.DeleteFunc(slices.Clone(c.subjects), func(s *subject) bool { return s.away })
	c.shuffle(len(present), func(i, j int) { present[i], present[j] = present[j], present[i] })
	return present
}

// rest waits until all that are present are ready: whatever has happened, they must
// recover by themselves.
func (c *chaos) rest(ctx context.Context) error {
	for _, s := range c.present() {
		if err := s.awaitReady(ctx, 2*time.Minute); err != nil {
			return err
		}
		if _, known := s.born[s.PID()]; !known {
			if z, err := s.size(ctx); err == nil {
				s.born[s.PID()] = z
			}
		}
	}
	c.note("all are ready")
	return nil
}

// alike checks that all instances give the same answers, at rest.
func (c *chaos) alike() {
	c.t.Helper()
	for table := range dimensions {
		var first any
		for _, s := range c.subjects {
			answer, err := s.Table(c.t.Context(), table, url.Values{"total": {"true"}})
			if err != nil {
				c.t.Fatal(err)
			}
			if first == nil {
				first = answer.Rows
			} else if !reflect.DeepEqual(first, any(answer.Rows)) {
				c.t.Errorf("instances %s and %s give different answers about %s", c.subjects[0].name, s.name, table)
			}
		}
	}
}

// size is what must not grow.
type size struct{ goroutines, files, memory float64 }

var sizes = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|process_resident_memory_bytes) (\S+)`)

func (s *subject) size(ctx context.Context) (size, error) {
	_, body, err := s.get(ctx, "/metrics")
	if err != nil {
		return size{}, err
	}
	found := map[string]float64{}
	for _, m := range sizes.FindAllStringSubmatch(body, -1) {
		if found[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			return size{}, err
		}
	}
	if len(found) != 3 {
		return size{}, fmt.Errorf("instance %s exports only %v of its size", s.name, found)
	}
	return size{found["go_goroutines"], found["process_open_fds"], found["process_resident_memory_bytes"]}, nil
}

// checkSizes checks that no process has more goroutines, files or memory than when it
// was ready for the first time, but for what a moment brings, or very much memory.
func (c *chaos) checkSizes() {
	c.t.Helper()
	for _, s := range c.subjects {
		z, err := s.size(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		born, known := s.born[s.PID()]
		c.t.Logf("instance %s: %+v at first, %+v now", s.name, born, z)
		if known && (z.goroutines > 1.5*born.goroutines+100 || z.files > 1.5*born.files+50 || z.memory > 1.5*born.memory+100<<20) || z.memory > 800<<20 {
			c.t.Errorf("instance %s has grown from %+v to %+v", s.name, born, z)
		}
	}
}

// report says what has happened, and fails the test when that is too little.
func (c *chaos) report(length time.Duration) {
	c.t.Helper()
	total := 0
	for _, f := range faults {
		total += c.faults[f.name]
		c.t.Logf("%3d × %s", c.faults[f.name], f.name)
	}
	// A short run may have drawn a long one.
	if least := max(1, int((length-time.Minute)/(12*time.Second))); total < least {
		c.t.Errorf("%d faults in %s are too few for a proof, want %d", total, length, least)
	}
}

// leaveTraces writes what helps to find the cause of a failure beside the logs.
func (c *chaos) leaveTraces() {
	if !c.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.mu.Lock()
	lines := append(slices.Clone(c.log), "", "offsets:")
	c.mu.Unlock()
	lines = append(lines, c.offsets(ctx)...)
	file := filepath.Join(site.Dir, c.d.name+"-traces.txt")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		c.t.Error(err)
	}
	c.t.Log("what happened, and offsets, are in ", file)
}

// offsets lists ends and committed offsets of everything of the deployment.
func (c *chaos) offsets(ctx context.Context) []string {
	var lines []string
	ends, err := c.d.admin.ListEndOffsets(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	stable, err := c.d.admin.ListCommittedOffsets(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	ends.Each(func(o kadm.ListedOffset) {
		if s, ok := stable.Lookup(o.Topic, o.Partition); ok && strings.HasPrefix(o.Topic, c.d.name) {
			lines = append(lines, fmt.Sprintf("%s/%d ends at %d, stable %d", o.Topic, o.Partition, o.Offset, s.Offset))
		}
	})
	groups, err := c.d.admin.ListGroups(ctx)
	if err != nil {
		return append(lines, err.Error())
	}
	for _, group := range groups.Groups() {
		if !strings.HasPrefix(group, c.d.prefix) {
			continue
		}
		offsets, err := c.d.admin.FetchOffsets(ctx, group)
		if err != nil {
			lines = append(lines, err.Error())
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			lines = append(lines, fmt.Sprintf("%s has committed %d of %s/%d with %q, %v", group, o.At, o.Topic, o.Partition, o.Metadata, o.Err))
		})
	}
	slices.Sort(lines)
	return lines
}

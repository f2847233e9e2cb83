//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ragstreams/generate"

	amqp "github.com/rabbitmq/amqp091-go"
)

// watchLine is a sample of what is measured of servers.
var watchLine = regexp.MustCompile(`(?m)^analytics_((?:kafka|rabbitmq)_\w+?)(?:\{(.*)\})? (\S+)$`)

// watched returns what an instance exports of Kafka and RabbitMQ: by name, and by its
// labels' values, in order.
func (i *instance) watched(ctx context.Context) (map[string]map[string]float64, error) {
	status, body, err := i.get(ctx, "/metrics")
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("scrape of %s: %d, %w", i.name, status, err)
	}
	got := map[string]map[string]float64{}
	for _, line := range watchLine.FindAllStringSubmatch(body, -1) {
		var values []string
		for _, l := range label.FindAllStringSubmatch(line[2], -1) {
			values = append(values, l[2])
		}
		v, err := strconv.ParseFloat(line[3], 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("instance %s exports %s: %w", i.name, line[0], errors.Join(err, errNegative))
		}
		if got[line[1]] == nil {
			got[line[1]] = map[string]float64{}
		}
		got[line[1]][strings.Join(values, " ")] = v
	}
	return got, nil
}

var errNegative = errors.New("no number, or less than nothing")

// lagOf returns how far a group is behind: records of all partitions, how many partitions
// there are, and the age of the oldest record.
func lagOf(watched map[string]map[string]float64, group string) (records float64, partitions int, age float64) {
	for labels, v := range watched["kafka_group_lag_records"] {
		if strings.HasPrefix(labels, group+" ") {
			records += v
			partitions++
			age = max(age, watched["kafka_group_lag_seconds"][labels])
		}
	}
	return records, partitions, age
}

// drained returns an error unless every own group is known and has nothing left.
func (i *instance) drained(ctx context.Context, groups int) error {
	got, err := i.watched(ctx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for labels, v := range got["kafka_group_lag_records"] {
		seen[strings.Fields(labels)[0]] = true
		if v != 0 || got["kafka_group_lag_seconds"][labels] != 0 {
			return fmt.Errorf("%s is %v records behind, and %v s", labels, v, got["kafka_group_lag_seconds"][labels])
		}
	}
	if len(seen) < groups {
		return fmt.Errorf("lag of %d groups: %v; want %d or more", len(seen), seen, groups)
	}
	return nil
}

// While a program is stopped another one sees how far its group falls behind, and how old
// the oldest record is; the program catches up, and nothing is left. No number is ever
// negative.
func TestLagIsWatched(t *testing.T) {
	const partitions, before, missed = 3, 2000, 500
	d := newDeployment(t, []int32{partitions}, "ANALYTICS_WATCH_INTERVAL=1s")
	group := d.prefix + "ingest-" + d.topics[0].Name
	g := generate.New(generate.Config{Seed: 1, Step: time.Millisecond, Start: startOf(before+missed, time.Millisecond), Topics: d.topics})
	one := d.instance("one")

	// The other one has sources of its own, and starts first: the group is not there yet.
	other := newDeployment(t, []int32{1}, "ANALYTICS_WATCH_INTERVAL=1s", "ANALYTICS_WATCH_GROUPS="+group)
	observer := other.instance("observer").start()
	observer.ready(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	defer looking.Wait()
	defer stop()
	looking.Go(func() {
		for pause(ctx, 200*time.Millisecond) == nil {
			for _, i := range []*instance{observer, one} {
				if _, err := i.watched(ctx); errors.Is(err, errNegative) {
					t.Error(err)
				}
			}
		}
	})
	eventually(t, 30*time.Second, "the observer knows its own groups, and has nothing to read", func(ctx context.Context) error {
		got, err := observer.watched(ctx)
		if err != nil {
			return err
		}
		if _, n, _ := lagOf(got, group); n > 0 {
			return errors.New("a group that is not there has a lag")
		}
		return observer.drained(ctx, 6)
	})

	d.traffic().all(g, before)
	one.start().ready(time.Minute)
	eventually(t, time.Minute, "nothing is left to read", func(ctx context.Context) error { return one.drained(ctx, 6) })
	one.stop()
	traffic, oldest := d.traffic(), time.Now()
	for range missed {
		r := g.Next()
		if r.Timestamp.Before(oldest) {
			oldest = r.Timestamp
		}
		traffic.send(r)
	}
	traffic.flush()
	eventually(t, 30*time.Second, "the observer sees what the program misses", func(ctx context.Context) error {
		got, err := observer.watched(ctx)
		if err != nil {
			return err
		}
		records, n, age := lagOf(got, group)
		if want := time.Since(oldest).Seconds(); records != missed || n != partitions || age > want || age < want-5 {
			return fmt.Errorf("%v records in %d partitions, %v s old; want %d in %d, %v s or a little less", records, n, age, missed, partitions, want)
		}
		return nil
	})
	one.start().ready(time.Minute)
	eventually(t, time.Minute, "the program has caught up", func(ctx context.Context) error { return one.drained(ctx, 6) })
	eventually(t, 30*time.Second, "the observer sees it", func(ctx context.Context) error {
		got, err := observer.watched(ctx)
		if records, n, age := lagOf(got, group); err != nil || records != 0 || n != partitions || age != 0 {
			return fmt.Errorf("%v records in %d partitions, %v s old, %v", records, n, age, err)
		}
		return nil
	})
	one.agree(g.Truth(), 20*time.Second)

	if _, err := d.admin.DeleteTopics(t.Context(), d.topics[0].Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "partitions that are gone leave nothing behind", func(ctx context.Context) error {
		got, err := observer.watched(ctx)
		if records, n, _ := lagOf(got, group); err != nil || n != 0 {
			return fmt.Errorf("%v records in %d partitions, %v", records, n, err)
		}
		return nil
	})
	observer.stop()
	one.stop()
}

// Of two instances one watches; when it is killed, the other does.
func TestOneInstanceWatches(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, []int32{1}, "ANALYTICS_WATCH_INTERVAL=1s")
	one, other := d.instance("one").start(), d.instance("other").start()
	one.ready(time.Minute)
	other.ready(time.Minute)
	watches := func(ctx context.Context, i *instance) (bool, error) {
		got, err := i.watched(ctx)
		return got["kafka_up"][""] == 1 && got["kafka_brokers"][""] == 1, err
	}
	eventually(t, 30*time.Second, "one watches", func(ctx context.Context) error {
		a, errA := watches(ctx, one)
		b, errB := watches(ctx, other)
		if errA != nil || errB != nil || a == b {
			return fmt.Errorf("%v and %v, %w", a, b, errors.Join(errA, errB))
		}
		if b {
			one, other = other, one
		}
		return nil
	})
	if err := one.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 40*time.Second, "the other watches", func(ctx context.Context) error {
		is, err := watches(ctx, other)
		if err == nil && !is {
			err = errors.New("it does not")
		}
		return err
	})
	other.stop()
}

// A broker that is gone is seen in what it leaves behind.
func TestBrokersAreWatched(t *testing.T) {
	cluster, err := site.Cluster(t.Context(), "watched-cluster", "KAFKA_HEAP=400m", "KAFKA_TIMEOUT=120")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cluster.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	d := newDeploymentOn(t, cluster, []int32{3}, "ANALYTICS_WATCH_INTERVAL=2s")
	if _, err := d.admin.CreateTopic(t.Context(), 6, 1, nil, d.name+"-single"); err != nil {
		t.Fatal(err)
	}
	one := d.instance("one").start()
	one.ready(2 * time.Minute)
	sees := func(brokers, offline float64, underReplicated bool) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			got, err := one.watched(ctx)
			if err != nil {
				return err
			}
			if got["kafka_brokers"][""] != brokers || got["kafka_offline_partitions"][""] != offline || got["kafka_under_replicated_partitions"][""] > 0 != underReplicated || len(got["kafka_group_lag_records"]) == 0 {
				return fmt.Errorf("%v brokers, %v offline, %v without replicas, %d lags", got["kafka_brokers"], got["kafka_offline_partitions"], got["kafka_under_replicated_partitions"], len(got["kafka_group_lag_records"]))
			}
			return nil
		}
	}
	eventually(t, time.Minute, "three brokers are well", sees(3, 0, false))
	if err := cluster.Kill(2); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "one of three is gone, and a third of what has one replica", sees(2, 2, true))
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "it is back", sees(3, 0, false))
	one.stop()
}

// Queues are shown as they are, while the management API answers, and no longer than they
// are there.
func TestQueuesAreWatched(t *testing.T) {
	t.Parallel()
	rabbit := ownRabbitMQ(t, "rabbitmq-watched")
	d := newDeployment(t, []int32{1}, "ANALYTICS_WATCH_INTERVAL=1s",
		fmt.Sprintf("ANALYTICS_WATCH_RABBITMQ_URL=http://127.0.0.1:%d", rabbit.Port+1),
		"ANALYTICS_WATCH_RABBITMQ_USERNAME=guest", "ANALYTICS_WATCH_RABBITMQ_PASSWORD=guest", "ANALYTICS_WATCH_RABBITMQ_QUEUES=watched-.*")
	one := d.instance("one").start()
	one.ready(time.Minute)

	conn, err := amqp.Dial(rabbit.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"watched-classic": "classic", "watched-quorum": "quorum", "other": "classic"} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := ch.PublishWithContext(t.Context(), "", name, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ch.Qos(3, 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("watched-classic", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	want := func(limit time.Duration, what string, up, connections float64, queues map[string][3]float64) {
		t.Helper()
		eventually(t, limit, what, func(ctx context.Context) error {
			got, err := one.watched(ctx)
			if err != nil {
				return err
			}
			if v, is := got["rabbitmq_up"][""]; !is || v != up || got["rabbitmq_connections"][""] != connections {
				return fmt.Errorf("up is %v, connections are %v", got["rabbitmq_up"], got["rabbitmq_connections"])
			}
			if n := len(got["rabbitmq_queue_messages_ready"]); n != len(queues) {
				return fmt.Errorf("%d queues: %v", n, got["rabbitmq_queue_messages_ready"])
			}
			for name, q := range queues {
				labels := name + " /" // queue, vhost
				is := [3]float64{got["rabbitmq_queue_messages_ready"][labels], got["rabbitmq_queue_messages_unacknowledged"][labels], got["rabbitmq_queue_consumers"][labels]}
				if is != q {
					return fmt.Errorf("%s: ready, unacknowledged, consumers are %v, want %v", name, is, q)
				}
			}
			return nil
		})
	}
	want(time.Minute, "messages are counted", 1, 1, map[string][3]float64{"watched-classic": {7, 3, 1}, "watched-quorum": {10, 0, 0}})
	if _, err := ch.QueueDelete("watched-quorum", false, false, false); err != nil {
		t.Fatal(err)
	}
	want(30*time.Second, "a queue that is gone leaves nothing behind", 1, 1, map[string][3]float64{"watched-classic": {7, 3, 1}})
	if err := rabbit.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(30*time.Second, "nothing old is shown", 0, 0, nil)
	if err := rabbit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(time.Minute, "it is back, without the consumer", 1, 0, map[string][3]float64{"watched-classic": {10, 0, 0}})
	if strings.Contains(one.Log(), "guest") {
		t.Errorf("the log holds the login:\n%s", one.Log())
	}
	one.stop()
}

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"
	"ragstreams/verify"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// deployment is one installation of the program: a prefix and source topics that
// no other test uses, and any number of instances.
type deployment struct {
	t      testing.TB
	name   string
	prefix string
	broker *servers.Kafka
	topics []generate.Topic
	client *kgo.Client
	admin  *kadm.Client
	env    []string
}

// sources is how a source topic is made: whatever the times in it, nothing is
// deleted.
var sources = map[string]*string{"retention.ms": kadm.StringPtr("-1")}

// newDeployment makes source topics with these partition counts. The
// configuration shortens what would only take time; env is added to it.
func newDeployment(t testing.TB, partitions []int32, env ...string) *deployment {
	t.Helper()
	return newDeploymentOn(t, broker, partitions, env...)
}

// newDeploymentOn makes one on another broker than the common one.
func newDeploymentOn(t testing.TB, on *servers.Kafka, partitions []int32, env ...string) *deployment {
	t.Helper()
	d := newDeploymentWithout(t, on, partitions, env...)
	for _, topic := range d.topics {
		if resp, err := d.admin.CreateTopic(t.Context(), topic.Partitions, int16(on.Brokers), sources, topic.Name); err != nil || resp.Err != nil {
			t.Fatal("create", topic.Name, errors.Join(err, resp.Err))
		}
	}
	return d
}

// newDeploymentWithout leaves the source topics to others.
func newDeploymentWithout(t testing.TB, on *servers.Kafka, partitions []int32, env ...string) *deployment {
	t.Helper()
	d := &deployment{t: t, broker: on, name: fmt.Sprintf("%s-%d", strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), time.Now().UnixMilli()%1e6)}
	d.name = strings.ReplaceAll(d.name, "/", "-")
	d.prefix = d.name + "-analytics-"
	d.client = d.newClient()
	d.admin = kadm.NewClient(d.client)
	for i, n := range partitions {
		topic := generate.Topic{Name: d.name + []string{"-rag-traces", "-kotaemon-dialog-events", "-user-behaviour"}[i], Partitions: n}
		d.topics = append(d.topics, topic)
	}
	var names []string
	for _, topic := range d.topics {
		names = append(names, topic.Name)
	}
	d.env = append(withoutConfiguration(os.Environ()),
		"ANALYTICS_KAFKA_BROKERS="+on.Address,
		"ANALYTICS_KAFKA_PREFIX="+d.prefix,
		fmt.Sprintf("ANALYTICS_KAFKA_REPLICATION=%d", on.Brokers),
		"ANALYTICS_KAFKA_SESSION_TIMEOUT=6s", // the least that a broker accepts by default
		"ANALYTICS_KAFKA_METADATA_INTERVAL=2s",
		"ANALYTICS_SOURCES="+strings.Join(names, ","),
		"ANALYTICS_BEHAVIOUR_SOURCES="+strings.Join(names[1:], ","),
		"ANALYTICS_WINDOW_IDLE_TIMEOUT=3s",
		"GORACE=halt_on_error=1",
	)
	d.env = append(d.env, env...)
	return d
}

// newClient connects to the broker, until the test ends, and sends records where they say.
func (d *deployment) newClient(options ...kgo.Opt) *kgo.Client {
	d.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(d.broker.Addresses()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.MaxBufferedRecords(50_000),
	}, options...)...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(client.Close)
	return client
}

func withoutConfiguration(environ []string) []string {
	return slices.DeleteFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, "ANALYTICS_") })
}

// instance is one process of a deployment.
type instance struct {
	*servers.Program
	verify.Client
	t       testing.TB
	name    string
	address string // of its HTTP server
}

// instance describes a process and ends it with the test. env is added to the
// deployment's.
func (d *deployment) instance(name string, env ...string) *instance {
	d.t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		d.t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	all := append(slices.Clone(d.env), "ANALYTICS_INSTANCE="+name, "ANALYTICS_HTTP_LISTEN="+address)
	i := &instance{
		Program: site.Program(d.name+"-"+name, binary, append(all, env...), "run"),
		Client:  verify.Client{URL: "http://" + address},
		t:       d.t, name: name, address: address,
	}
	d.t.Cleanup(func() {
		if i.Running() {
			if err := i.Kill(); err != nil {
				d.t.Error(err)
			}
		}
		if d.t.Failed() {
			d.t.Logf("last lines of the log of instance %s:\n%s", name, i.Tail(40))
		}
	})
	return i
}

func (i *instance) start() *instance {
	i.t.Helper()
	if err := i.Start(); err != nil {
		i.t.Fatal(err)
	}
	return i
}

func (i *instance) signal(s syscall.Signal) {
	i.t.Helper()
	if err := i.Signal(s); err != nil {
		i.t.Fatal(err)
	}
}

// stop ends the process in peace; that it does is part of every test.
func (i *instance) stop() {
	i.t.Helper()
	if err := i.Stop(20 * time.Second); err != nil {
		i.t.Error(err)
	}
}

// get returns status and body of an answer.
func (i *instance) get(ctx context.Context, path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.URL+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// askReady returns an error unless /readyz says that the instance is ready.
func (i *instance) askReady(ctx context.Context) error {
	if !i.Running() {
		return errors.New("it has ended")
	}
	status, body, err := i.get(ctx, "/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

// ready waits until /readyz says so.
func (i *instance) ready(limit time.Duration) {
	i.t.Helper()
	eventually(i.t, limit, "instance "+i.name+" is ready", i.askReady)
}

// awaitReady does the same away from the test's goroutine.
func (i *instance) awaitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := i.askReady(ctx)
		if err == nil {
			return nil
		}
		if !i.Running() || pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("instance %s is not ready: %w; its log ends with\n%s", i.name, err, i.Tail(20))
		}
	}
}

// ends waits for the end of a process that must fail by itself, and returns its
// log.
func (i *instance) ends(limit time.Duration) string {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), limit)
	defer cancel()
	code, err := i.Wait(ctx)
	if err != nil {
		i.t.Fatal(err)
	}
	if code != 1 {
		i.t.Errorf("instance %s ended with %d, want 1", i.name, code)
	}
	return i.Log()
}

// agree waits until everything of truth has arrived, and compares all tables.
func (i *instance) agree(truth *generate.Truth, limit time.Duration) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), limit)
	defer cancel()
	began := time.Now()
	if err := i.Await(ctx, truth); err != nil {
		i.t.Errorf("instance %s: %v", i.name, err)
	}
	i.t.Logf("instance %s had everything after %s", i.name, time.Since(began).Round(time.Millisecond))
	differences, err := i.Compare(i.t.Context(), truth)
	if err != nil {
		i.t.Fatalf("instance %s: %v", i.name, err)
	}
	for n, line := range differences {
		if n == 20 {
			i.t.Errorf("instance %s: … and %d more differences", i.name, len(differences)-n)
			break
		}
		i.t.Errorf("instance %s: %s", i.name, line)
	}
}

// sum adds up a column of a table.
func (i *instance) sum(ctx context.Context, table, column string, query url.Values) (float64, error) {
	answer, err := i.Table(ctx, table, query)
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, row := range answer.Rows {
		n, _ := row[column].(float64)
		sum += n
	}
	return sum, nil
}

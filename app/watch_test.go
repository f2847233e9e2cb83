package app

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ragstreams/generate"
	"ragstreams/kafka"
	"ragstreams/management"
	"ragstreams/metrics"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lookout is a watching whose looks have answers that the test gives.
type lookout struct {
	watching
	registry *prometheus.Registry

	mu               sync.Mutex // what follows
	lines            strings.Builder
	looks            int
	kafkaErr, rabErr error
	partial          bool // Kafka answers in spite of kafkaErr
}

// Write takes in lines of the log.
func (l *lookout) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(line)
}

// said returns the log, and how many looks there were.
func (l *lookout) said() (lines string, looks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String(), l.looks
}

// now gives the looks other answers.
func (l *lookout) now(kafkaErr error, partial bool, rabErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kafkaErr, l.partial, l.rabErr = kafkaErr, partial, rabErr
}

func newLookout(interval time.Duration) *lookout {
	l := &lookout{registry: prometheus.NewRegistry()}
	l.watching = watching{
		interval: interval, lease: 10 * time.Second, log: slog.New(slog.NewTextHandler(l, nil)), observer: metrics.NewDependencies(l.registry),
		kafka: func(context.Context) (*metrics.Kafka, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.looks++
			if l.kafkaErr != nil && !l.partial {
				return nil, l.kafkaErr
			}
			return &metrics.Kafka{Health: &metrics.Health{Brokers: 3}}, l.kafkaErr
		},
		rabbit: func(context.Context) (*metrics.RabbitMQ, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.rabErr != nil {
				return nil, l.rabErr
			}
			return &metrics.RabbitMQ{Connections: 2}, nil
		},
	}
	return l
}

// shows checks how many series there are, by name.
func (l *lookout) shows(t *testing.T, when string, want map[string]float64) {
	t.Helper()
	families, err := l.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if name, ok := strings.CutPrefix(f.GetName(), "analytics_"); ok && len(f.Metric) == 1 {
			got[name] = f.Metric[0].Gauge.GetValue()
		}
	}
	for name := range want {
		if v, ok := got[name]; !ok || v != want[name] {
			t.Errorf("%s: %s is %v (%v), want %v", when, name, v, ok, want[name])
		}
		delete(got, name)
	}
	for name, v := range got {
		if v != 0 {
			t.Errorf("%s: %s is %v, want nothing of it", when, name, v)
		}
	}
}

func TestWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newLookout(15 * time.Second)
		l.now(errors.New("no broker"), false, nil)
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }()
		after := func(d time.Duration, what string, want map[string]float64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			l.shows(t, what, want)
		}
		up := map[string]float64{"kafka_up": 1, "kafka_brokers": 3, "rabbitmq_up": 1, "rabbitmq_connections": 2}
		after(time.Second, "Kafka does not answer, for less than the lease", map[string]float64{"kafka_up": 0, "rabbitmq_up": 1, "rabbitmq_connections": 2})
		after(15*time.Second, "for longer: another instance may ask RabbitMQ", map[string]float64{"kafka_up": 0})
		l.now(nil, false, nil)
		after(15*time.Second, "all is well", up)
		l.now(errors.New("offsets of group x"), true, nil)
		after(15*time.Second, "a part of Kafka's answer is missing", up)
		l.now(nil, false, errors.New("no API"))
		after(15*time.Second, "RabbitMQ does not answer", map[string]float64{"kafka_up": 1, "kafka_brokers": 3, "rabbitmq_up": 0})
		_, looks := l.said()
		after(time.Hour, "nor for an hour", map[string]float64{"kafka_up": 1, "kafka_brokers": 3, "rabbitmq_up": 0})
		lines, now := l.said()
		if n := now - looks; n != 240 {
			t.Errorf("%d looks in an hour, want one every 15 s", n)
		}
		if n := strings.Count(lines, "no API"); n != 13 {
			t.Errorf("RabbitMQ's silence is said %d times in an hour, want every five minutes:\n%s", n, lines)
		}
		l.now(nil, false, nil)
		after(15*time.Second, "it answers again", up)
		lines, _ = l.said()
		if strings.Count(lines, "RabbitMQ is measured again") != 1 || strings.Count(lines, "Kafka is measured again") != 2 {
			t.Errorf("the log does not say each time that there are numbers again:\n%s", lines)
		}
		cancel()
		<-done
		l.shows(t, "another is elected", nil)
		if n, err := testutil.GatherAndCount(l.registry); err != nil || n != 0 {
			t.Errorf("%d series are left, %v", n, err)
		}
	})
}

// A look that does not end is given up, at the latest when the next is due; one that ends
// with the term says nothing.
func TestWatchingIsPatient(t *testing.T) {
	for _, tt := range []struct{ interval, want time.Duration }{{time.Minute, 10 * time.Second}, {2 * time.Second, 2 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLookout(tt.interval)
			start := time.Now()
			silent := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			l.kafka = func(ctx context.Context) (*metrics.Kafka, error) { return nil, silent(ctx) }
			l.rabbit = func(ctx context.Context) (*metrics.RabbitMQ, error) { return nil, silent(ctx) }
			l.heard = start
			l.look(t.Context())
			if took := time.Since(start); took != tt.want {
				t.Errorf("a look every %s took %s, want %s", tt.interval, took, tt.want)
			}
			l.shows(t, "given up", map[string]float64{"kafka_up": 0, "rabbitmq_up": 0})
			l.observer.Forget()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			before, _ := l.said()
			l.look(ctx)
			n, err := testutil.GatherAndCount(l.registry)
			if lines, _ := l.said(); err != nil || n != 0 || lines != before {
				t.Errorf("a look of a term that is over shows %d series, %v, and says %s", n, err, strings.TrimPrefix(lines, before))
			}
		})
	}
}

func TestCandidateThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute+time.Second)
		defer cancel()
		var lines bytes.Buffer
		tries := 0
		err := candidate(ctx, func(context.Context) error { tries++; return errors.New("not authorised") }, slog.New(slog.NewTextHandler(&lines, nil)))
		if err != nil || tries != 11 || strings.Count(lines.String(), "not authorised") != 11 {
			t.Errorf("error %v after %d tries, want none, and one try a minute:\n%s", err, tries, lines.String())
		}
	})
}

// That its time is over is no reason to complain.
func TestCandidateThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var lines bytes.Buffer
		run := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		if err := candidate(ctx, run, slog.New(slog.NewTextHandler(&lines, nil))); err != nil || lines.Len() > 0 {
			t.Errorf("error %v, and it says %s", err, lines.String())
		}
	})
}

func TestWatchOfAnything(t *testing.T) {
	for _, tt := range []struct {
		watch Watch
		want  bool
	}{
		{Watch{Interval: time.Second, Groups: []string{"theirs"}}, false},
		{Watch{Lag: true}, true},
		{Watch{Cluster: true}, true},
		{Watch{RabbitMQ: management.Config{URL: "http://rabbit:15672"}}, true},
	} {
		if got := tt.watch.any(); got != tt.want {
			t.Errorf("%+v: anything to look at is %v, want %v", tt.watch, got, tt.want)
		}
	}
}

// What is not wanted of Kafka is not told, and what cannot be told of a group is an error
// beside what can.
func TestLookAtKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "traces"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	o := DefaultOptions()
	o.Kafka.Brokers, o.Sources = cluster.ListenAddrs(), []string{"traces"}
	w, err := kafka.NewWatcher(o.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	look := func(lag, cluster bool) (*metrics.Kafka, error) {
		o.Watch.Lag, o.Watch.Cluster = lag, cluster
		return lookAtKafka(t.Context(), &o, w)
	}
	if k, err := look(false, true); err != nil || k.Lags != nil || k.Health == nil || k.Health.Brokers != 2 {
		t.Errorf("of the cluster alone: %+v, %v", k, err)
	}
	if k, err := look(true, false); err != nil || len(k.Lags) != 1 || k.Lags[0].Topic != "traces" || k.Health != nil || k.At.IsZero() {
		t.Errorf("of lag alone: %+v, %v", k, err)
	}
	o.Watch.Groups = []string{"secret"}
	cluster.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, g := range r.(*kmsg.OffsetFetchRequest).Groups {
			answer := kmsg.NewOffsetFetchResponseGroup()
			if answer.Group = g.Group; g.Group == "secret" {
				answer.ErrorCode = kerr.GroupAuthorizationFailed.Code
			}
			resp.Groups = append(resp.Groups, answer)
		}
		return resp, nil, true
	})
	if k, err := look(true, true); !errors.Is(err, kerr.GroupAuthorizationFailed) || k == nil || len(k.Lags) != 1 || k.Health == nil {
		t.Errorf("with a group that is refused: %+v, %v", k, err)
	}
}

func TestWatchedGroups(t *testing.T) {
	o := DefaultOptions()
	o.Sources, o.Rules, o.AMQP.URL = []string{"traces"}, "rules.yaml", "amqp://rabbit"
	o.Watch.Groups = []string{"theirs", "analytics-assemble", "theirs"}
	var got []string
	for _, r := range o.watched() {
		got = append(got, r.Group+" "+strings.Join(r.Topics, ","))
	}
	want := []string{
		"analytics-assemble analytics-events", "analytics-ingest-traces traces",
		"analytics-traffic analytics-traffic-partials", "analytics-latency analytics-latency-partials",
		"analytics-usage analytics-usage-partials", "analytics-behaviour analytics-behaviour-partials",
		"analytics-errors analytics-errors-partials", "analytics-records analytics-records-partials",
		"analytics-traffic-history analytics-traffic-windows", "analytics-latency-history analytics-latency-windows",
		"analytics-usage-history analytics-usage-windows", "analytics-behaviour-history analytics-behaviour-windows",
		"analytics-errors-history analytics-errors-windows",
		"analytics-alerts analytics-alert-evaluations", "analytics-alerts-publisher analytics-alerts-outbox", "theirs ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("watched are %q, want %q", got, want)
	}
}

// sample finds series of the watch in a scrape.
var sample = regexp.MustCompile(`(?m)^analytics_((?:kafka|rabbitmq)_\w+)(?:\{(.*)\})? (\S+)$`)

// watched returns what an instance exports of the watch, by name and labels.
func watched(t *testing.T, url string) map[string]string {
	t.Helper()
	res, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err, string(body))
	}
	got := map[string]string{}
	for _, m := range sample.FindAllStringSubmatch(string(body), -1) {
		got[m[1]+" "+m[2]] = m[3]
	}
	return got
}

// Of two instances one exports; it sees what comes and goes.
func TestOneInstanceWatches(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "watch" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "overview") {
			fmt.Fprint(w, `{"object_totals":{"connections":2}}`)
			return
		}
		fmt.Fprint(w, `{"page_count":1,"items":[{"vhost":"/","name":"pages","messages_ready":7,"messages_unacknowledged":3,"consumers":1},
			{"vhost":"/","name":"other","messages_ready":1,"messages_unacknowledged":0,"consumers":0}]}`)
	}))
	defer api.Close()
	o := testOptions(t)
	o.Watch.Interval = time.Second
	o.Watch.RabbitMQ.URL, o.Watch.RabbitMQ.Username, o.Watch.RabbitMQ.Password, o.Watch.RabbitMQ.Queues = api.URL, "watch", "s3cret", "pages|mail"
	second := o
	second.Instance = "b"
	a, b := start(t, o), start(t, second)
	g := generate.New(generate.Config{Seed: 1, Step: time.Millisecond, Start: time.Now().Add(-time.Second), Topics: []generate.Topic{{Name: o.Sources[0], Partitions: o.Partitions}}})
	produceAll(t, &o, g, 500)
	wantTruth(t, a, g.Truth())
	await(t, "one of the instances shows that all is read", func() error {
		one, other := watched(t, a.URL), watched(t, b.URL)
		if len(one) > 0 == (len(other) > 0) {
			return fmt.Errorf("%d series and %d, want them from one instance", len(one), len(other))
		}
		if len(one) == 0 {
			one = other
		}
		for series, want := range map[string]string{
			"kafka_up ": "1", "kafka_brokers ": "1", "kafka_offline_partitions ": "0", "kafka_under_replicated_partitions ": "0",
			"rabbitmq_up ": "1", "rabbitmq_connections ": "2", `rabbitmq_queue_messages_ready queue="pages",vhost="/"`: "7",
			`rabbitmq_queue_messages_unacknowledged queue="pages",vhost="/"`: "3", `rabbitmq_queue_messages_ready queue="other",vhost="/"`: "",
		} {
			if one[series] != want {
				return fmt.Errorf("%s is %q, want %q", series, one[series], want)
			}
		}
		partitions := 0
		for series, v := range one {
			if !strings.Contains(series, "lag_") {
				continue
			}
			partitions++
			if v != "0" {
				return fmt.Errorf("%s is %s", series, v)
			}
		}
		if want := 2 * len(o.readers()) * int(o.Partitions); partitions != want {
			return fmt.Errorf("%d series of lag, want %d", partitions, want)
		}
		return nil
	})
}

// A certificate that is gone when an instance is elected takes RabbitMQ's numbers, and no
// others, until it is there.
func TestRabbitMQThatCannotBeAsked(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	file := filepath.Join(t.TempDir(), "gone.pem")
	look, done := lookAtRabbitMQ(management.Config{URL: server.URL, CAFile: file})
	defer done()
	if state, err := look(t.Context()); state != nil || err == nil || !strings.Contains(err.Error(), "gone.pem") {
		t.Errorf("%v, %v; want an error that names the file", state, err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := look(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v; want what the server says", err)
	}
}

// await asks check until it returns nil.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.Tick(100 * time.Millisecond); ; {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-tick:
		}
	}
}

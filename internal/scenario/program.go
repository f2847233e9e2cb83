package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ragstreams/app"
	"ragstreams/kafka"
	"ragstreams/processors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Program is a World on a broker: the whole program in this process, on the
// scenario's clock, under a prefix of its own.
type Program struct {
	given   Given
	options app.Options
	prefix  string // of source topics as well
	client  *kgo.Client
	sent    map[string]int64 // records by source topic

	mu         sync.Mutex
	now, start time.Time

	url  string
	stop func() error
	dir  string // of the rules; "" without

	broker Broker // nil: nothing is published
	away   bool   // it is
}

// Broker is a RabbitMQ that alerts are published to.
type Broker interface {
	URL() string
	Do(ctx context.Context, what string) error // stop, kill or start
	Received() [][]byte                        // by a queue for all alerts
}

// NewProgram makes the topics and starts the program. Close must be called. broker may be
// nil, for scripts without RabbitMQ.
func NewProgram(ctx context.Context, g Given, cluster kafka.Config, prefix string, broker Broker) (*Program, error) {
	p := &Program{given: g, prefix: prefix, broker: broker, sent: map[string]int64{}, options: app.DefaultOptions()}
	o := &p.options
	o.Kafka, o.Prefix, o.Instance = cluster, prefix+processors.DefaultPrefix, "scenario"
	o.Replication, o.Partitions, o.Sessions = 1, g.Partitions, 1
	o.SessionTimeout, o.Tick = 6*time.Second, tick
	o.Pane, o.Grace, o.IdleTimeout, o.MaxFuture = g.Pane, g.Grace, g.Idle, g.MaxFuture
	o.MaxSeries, o.MaxSeriesPerTenant, o.HTTPContent = g.Series, g.SeriesPerTenant, true
	o.Clock = processors.Clock{Wall: p.wall, Mono: func() time.Duration { return p.wall().Sub(p.start) }}
	if broker != nil {
		o.AMQP.URL = broker.URL()
	}
	o.Sources, o.BehaviourSources = nil, nil
	for _, topic := range app.DefaultBehaviour {
		o.BehaviourSources = append(o.BehaviourSources, prefix+topic)
	}
	var topics []kafka.Topic
	for _, s := range g.Sources {
		o.Sources = append(o.Sources, prefix+s.Topic)
		topics = append(topics, kafka.Topic{Name: prefix + s.Topic, Partitions: s.Partitions, Create: true, Forever: true})
	}
	if g.Rules != "" {
		var err error
		if p.dir, err = os.MkdirTemp("", "scenario"); err != nil {
			return nil, err
		}
		o.Rules = filepath.Join(p.dir, "rules.yaml")
		if err := os.WriteFile(o.Rules, []byte(g.Rules), 0o600); err != nil {
			return nil, err
		}
	}
	if _, err := kafka.EnsureTopics(ctx, cluster, 1, topics); err != nil {
		return nil, err
	}
	var err error
	p.client, err = cluster.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return p, err
}

const tick = 100 * time.Millisecond

// Close ends the program.
func (p *Program) Close() error {
	defer p.client.Close()
	err := p.end()
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}

func (p *Program) end() error {
	if p.stop == nil {
		return nil
	}
	stop := p.stop
	p.stop = nil
	return stop()
}

func (p *Program) wall() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// SetClock implements World.
func (p *Program) SetClock(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start.IsZero() {
		p.start = t
	}
	p.now = t
}

// Produce implements World.
func (p *Program) Produce(ctx context.Context, r Record) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	topic := p.prefix + r.Topic
	p.sent[topic]++
	return p.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: r.Partition, Timestamp: r.Timestamp, Value: r.Value}).FirstErr()
}

// Replayed implements World.
func (p *Program) Replayed(topic string, n int) { p.sent[p.prefix+topic] += int64(n) }

// begin starts the program, once the clock is set.
func (p *Program) begin(ctx context.Context) error {
	if p.stop != nil {
		return nil
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	listening := make(chan string, 1)
	o := p.options
	o.HTTPListen, o.OnListen = "127.0.0.1:0", func(addr string) { listening <- addr }
	go func() { ended <- app.Run(runCtx, o) }()
	p.stop = func() error { cancel(); return <-ended }
	select {
	case addr := <-listening:
		p.url = "http://" + addr
		return nil
	case err := <-ended:
		ended <- err
		return errors.Join(errors.New("the program ended before it served"), p.end())
	}
}

// Restart implements World.
func (p *Program) Restart(ctx context.Context) error {
	if err := p.end(); err != nil {
		return err
	}
	return p.begin(ctx)
}

// Settle implements World. That nothing more happens cannot be seen: it waits until
// all records have an outcome, and then until nothing has changed for some ticks, or for
// as long as it takes to evaluate all rules twice: the first time may have begun before.
func (p *Program) Settle(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	quiet := 8 * tick
	if p.dir != "" {
		quiet = 3 * time.Second // rules are evaluated every second, and what was missed in parts
	}
	last, since, evaluated := "", time.Now(), 0.0
	for {
		state, complete, err := p.state(ctx)
		evaluations := 0.0
		if err == nil && p.dir != "" {
			evaluations, err = p.evaluations(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return errors.Join(fmt.Errorf("not settled: %w; %s", ctx.Err(), state), err)
		case err != nil || !complete || state != last:
			last, since, evaluated = state, time.Now(), evaluations
		case time.Since(since) > quiet && (p.dir == "" || evaluations >= evaluated+2):
			return nil
		}
		time.Sleep(tick / 2)
	}
}

// evaluations returns how often all rules were evaluated.
func (p *Program) evaluations(ctx context.Context) (float64, error) {
	line, err := askMetrics(ctx, p, []string{"analytics_rule_evaluation_seconds_count"})
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
}

// state returns what the program has counted and how far its tables are.
func (p *Program) state(ctx context.Context) (text string, complete bool, err error) {
	status, body, err := p.Get(ctx, "/readyz")
	if err != nil || status != http.StatusOK {
		return body, false, err
	}
	_, marks, err := p.Get(ctx, "/api/tables")
	if err != nil {
		return "", false, err
	}
	var tables struct {
		Tables []struct{ Watermark *string }
	}
	if err := json.Unmarshal([]byte(marks), &tables); err != nil {
		return marks, false, err
	}
	records, err := get(ctx, p, "records", "total=true")
	if err != nil {
		return "", false, err
	}
	in, out := map[string]int64{}, map[string]int64{}
	for _, row := range records.Rows {
		topic, count := p.prefix+row["topic"].(string), int64(row["count"].(float64))
		if row["outcome"] == processors.OutcomeIn {
			in[topic] += count
		} else {
			out[topic] += count
		}
	}
	complete = true
	for topic, n := range p.sent {
		complete = complete && in[topic] == n && out[topic] == n
	}
	text = fmt.Sprint(in, out)
	for _, t := range tables.Tables {
		if t.Watermark != nil {
			text += " " + *t.Watermark
		}
	}
	if p.dir != "" {
		told, err := askTold(ctx, p, nil)
		if err != nil {
			return "", false, err
		}
		firing, err := askAlerts(ctx, p, nil)
		if err != nil {
			return "", false, err
		}
		text += told + firing
		if p.broker != nil {
			received, err := askReceived(ctx, p, nil)
			if err != nil {
				return "", false, err
			}
			text, complete = text+received, complete && (p.away || received == told)
		}
	}
	return text, complete, nil
}

// Get implements World.
func (p *Program) Get(ctx context.Context, path string) (status int, body string, err error) {
	return p.ask(ctx, http.MethodGet, path, "")
}

// Post implements World.
func (p *Program) Post(ctx context.Context, path, body string) (status int, answer string, err error) {
	if err := p.begin(ctx); err != nil {
		return 0, "", err
	}
	return p.ask(ctx, http.MethodPost, path, body)
}

func (p *Program) ask(ctx context.Context, method, path, content string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(content))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.ReplaceAll(string(data), p.prefix, ""), err
}

var errNoBroker = errors.New("this world has no RabbitMQ")

// RabbitMQ implements World.
func (p *Program) RabbitMQ(ctx context.Context, do string) error {
	if p.broker == nil {
		return errNoBroker
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	p.away = do != "start"
	return p.broker.Do(ctx, do)
}

// Received implements World.
func (p *Program) Received(context.Context) ([][]byte, error) {
	if p.broker == nil {
		return nil, errNoBroker
	}
	return p.broker.Received(), nil
}

// Read implements World.
func (p *Program) Read(ctx context.Context, topic string) ([]Message, error) {
	topic = p.options.Prefix + topic
	var all []Message
	for n := range p.given.Partitions {
		end, err := kafka.EndOffset(ctx, p.options.Kafka, topic, n)
		if err != nil {
			return nil, err
		}
		err = kafka.Read(ctx, p.options.Kafka, topic, n, 0, end, func(m kafka.Message) error {
			one := Message{Partition: n, Headers: map[string]string{}}
			if m.Value != nil {
				one.Value = []byte(strings.ReplaceAll(string(m.Value), p.prefix, ""))
			}
			for _, h := range m.Headers {
				one.Headers[h.Key] = strings.ReplaceAll(string(h.Value), p.prefix, "")
			}
			all = append(all, one)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

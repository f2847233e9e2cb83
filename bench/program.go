package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/generate"
	"ragstreams/verify"
)

// program is this project, run as its users run it.
type program struct {
	site   *servers.Site
	binary string
	c      *cluster
	truth  *generate.Truth // of the topic that is drained
}

const pollInterval = 200 * time.Millisecond // seldom enough to cost nothing

// process describes a process that reads topic into tables of its own, whose
// topics begin with prefix, and returns the address that it will serve.
func (p *program) process(prefix, topic string, env ...string) (one *servers.Program, address string, err error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, "", err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	env = append(env, "ANALYTICS_KAFKA_BROKERS="+p.c.kafka.Address, "ANALYTICS_KAFKA_PREFIX="+prefix, "ANALYTICS_KAFKA_REPLICATION=1",
		"ANALYTICS_SOURCES="+topic, "ANALYTICS_INSTANCE=bench", "ANALYTICS_HTTP_LISTEN="+address)
	return p.site.Program("program-"+prefix, p.binary, append(os.Environ(), env...), "run"), address, nil
}

// running is a program that drains a topic.
type running struct {
	*servers.Program
	tables verify.Client
	prefix string
}

// during runs the program on topic while do works, then stops it and deletes its
// topics.
func (p *program) during(ctx context.Context, topic string, env []string, do func(running) error) error {
	prefix := fmt.Sprintf("bench-%d-", time.Now().UnixMilli())
	one, address, err := p.process(prefix, topic, env...)
	if err != nil {
		return err
	}
	if err := one.Start(); err != nil {
		return err
	}
	if err := do(running{one, verify.Client{URL: "http://" + address}, prefix}); err != nil {
		return errors.Join(fmt.Errorf("%w; its log ends with\n%s", err, one.Tail(20)), one.Kill())
	}
	if err := one.Stop(30 * time.Second); err != nil {
		return err
	}
	return p.c.forget(ctx, prefix)
}

func (p *program) drain(ctx context.Context, topic string) (figures, error) {
	var f figures
	err := p.during(ctx, topic, nil, func(one running) error {
		used, err := p.c.broker(func() (err error) {
			f, err = p.measure(ctx, one)
			return err
		})
		f.brokerCPU = perEvent(used, p.truth.Count("", ""))
		return err
	})
	return f, err
}

// measure waits until all tables are complete and takes the figures, then checks
// that the tables are true.
func (p *program) measure(ctx context.Context, one running) (figures, error) {
	if err := p.complete(ctx, one); err != nil {
		return figures{}, err
	}
	end := time.Now()
	usage, err := one.Usage()
	if err != nil {
		return figures{}, err
	}
	begin, err := p.began(ctx, one.prefix)
	if err != nil {
		return figures{}, err
	}
	if err := p.compare(ctx, one); err != nil {
		return figures{}, err
	}
	n := p.truth.Count("", "")
	return figures{
		eventsPerSecond: float64(n) / end.Sub(begin).Seconds(),
		cpu:             perEvent(usage.CPU, n),
		peak:            float64(usage.Peak) / (1 << 20),
	}, nil
}

// compare returns an error unless the tables are true.
func (p *program) compare(ctx context.Context, one running) error {
	differences, err := one.tables.Compare(ctx, p.truth)
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return fmt.Errorf("the tables are wrong in %d places, such as %s", len(differences), strings.Join(differences[:min(3, len(differences))], "; "))
	}
	return nil
}

// complete returns when every table holds all that the truth does.
func (p *program) complete(ctx context.Context, one running) error {
	total := p.truth.Total()
	var timed int64
	for _, l := range total.Latency {
		timed += l.Count
	}
	for _, t := range []struct {
		name  string
		query url.Values
		want  int64
	}{
		{"records", url.Values{"outcome": {generate.Counted}}, total.Events().Count},
		{"traffic", url.Values{}, total.Events().Count},
		{"latency", url.Values{}, timed},
		{"errors", url.Values{}, total.Events().Errors},
	} {
		t.query.Set("total", "true")
		err := one.await(ctx, func() (bool, error) {
			answer, err := one.tables.Table(ctx, t.name, t.query)
			return err == nil && sum(answer) >= t.want, err
		})
		if err != nil {
			return fmt.Errorf("table %s is not complete: %w", t.name, err)
		}
	}
	return nil
}

// await returns when done does, which may err until the program is ready.
func (r running) await(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if !r.Running() {
			return errors.New("the program has ended")
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// ready asks /readyz.
func ready(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func sum(a *verify.Answer) int64 {
	var n int64
	for _, row := range a.Rows {
		count, _ := row["count"].(float64)
		n += int64(count)
	}
	return n
}

// began returns when the program began to read: the time of its first report, which
// it sends before it reads.
func (p *program) began(ctx context.Context, prefix string) (time.Time, error) {
	reports := prefix + "progress"
	first, err := p.c.admin.ListOffsetsAfterMilli(ctx, 0, reports)
	if err = errors.Join(err, first.Error()); err != nil {
		return time.Time{}, fmt.Errorf("time of the first report: %w", err)
	}
	at, ok := first.Lookup(reports, 0)
	if !ok || at.Timestamp < 0 {
		return time.Time{}, fmt.Errorf("time of the first report: there is none on %s", reports)
	}
	return time.UnixMilli(at.Timestamp), nil
}

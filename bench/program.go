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
	truth  *generate.Truth
}

const (
	pollInterval = 200 * time.Millisecond // seldom enough to cost nothing
	drainLimit   = 20 * time.Minute
)

func (p program) drain(ctx context.Context, topic string) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	prefix := fmt.Sprintf("bench-%d-", time.Now().UnixMilli())
	port, err := servers.FreePort()
	if err != nil {
		return figures{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	one := p.site.Program("program-"+prefix, p.binary, append(os.Environ(),
		"ANALYTICS_KAFKA_BROKERS="+p.c.kafka.Address, "ANALYTICS_KAFKA_PREFIX="+prefix, "ANALYTICS_KAFKA_REPLICATION=1",
		"ANALYTICS_SOURCES="+topic, "ANALYTICS_INSTANCE=bench", "ANALYTICS_HTTP_LISTEN="+address), "run")
	before, err := p.c.brokerCPU()
	if err != nil {
		return figures{}, err
	}
	if err := one.Start(); err != nil {
		return figures{}, err
	}
	f, err := p.measure(ctx, one, verify.Client{URL: "http://" + address}, prefix)
	if err != nil {
		return figures{}, errors.Join(fmt.Errorf("%w; its log ends with\n%s", err, one.Tail(20)), one.Kill())
	}
	after, err := p.c.brokerCPU()
	if err != nil {
		return figures{}, err
	}
	f.brokerCPU = perEvent(after-before, p.truth.Count("", ""))
	if err := one.Stop(30 * time.Second); err != nil {
		return figures{}, err
	}
	return f, p.c.forget(ctx, prefix)
}

// measure waits until all tables are complete and takes the figures, then checks
// that the tables are true.
func (p program) measure(ctx context.Context, one *servers.Program, tables verify.Client, prefix string) (figures, error) {
	if err := p.complete(ctx, one, tables); err != nil {
		return figures{}, err
	}
	end := time.Now()
	usage, err := one.Usage()
	if err != nil {
		return figures{}, err
	}
	begin, err := p.began(ctx, prefix)
	if err != nil {
		return figures{}, err
	}
	differences, err := tables.Compare(ctx, p.truth)
	if err != nil {
		return figures{}, err
	}
	if len(differences) > 0 {
		return figures{}, fmt.Errorf("the tables are wrong in %d places, such as %s", len(differences), strings.Join(differences[:min(3, len(differences))], "; "))
	}
	n := p.truth.Count("", "")
	return figures{
		eventsPerSecond: float64(n) / end.Sub(begin).Seconds(),
		cpu:             perEvent(usage.CPU, n),
		peak:            float64(usage.Peak) / (1 << 20),
	}, nil
}

// complete returns when every table holds all that the truth does.
func (p program) complete(ctx context.Context, one *servers.Program, tables verify.Client) error {
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
		for {
			answer, err := tables.Table(ctx, t.name, t.query)
			if err == nil && sum(answer) >= t.want {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("table %s is not complete: %w", t.name, errors.Join(ctx.Err(), err))
			case <-time.After(pollInterval):
			}
			if !one.Running() {
				return errors.New("the program has ended")
			}
		}
	}
	return nil
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
func (p program) began(ctx context.Context, prefix string) (time.Time, error) {
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

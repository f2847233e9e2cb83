//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// metric returns the sum of a metric's series whose labels hold a text.
func (i *instance) metric(ctx context.Context, name, labels string) (float64, error) {
	status, body, err := i.get(ctx, "/metrics")
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("scrape instance %s: %d, %w", i.name, status, err)
	}
	sum, found := 0.0, false
	for _, line := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		if !strings.Contains(line[1], labels) {
			continue
		}
		n, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return 0, fmt.Errorf("scrape instance %s: %s: %w", i.name, line[0], err)
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, fmt.Errorf("instance %s has no %s with %s", i.name, name, labels)
	}
	return sum, nil
}

// value is a metric that is there.
func (i *instance) value(name, labels string) float64 {
	i.t.Helper()
	n, err := i.metric(i.t.Context(), name, labels)
	if err != nil {
		i.t.Fatal(err)
	}
	return n
}

// reaches waits until a metric is as wanted.
func (i *instance) reaches(limit time.Duration, name string, wanted func(n float64) bool) {
	i.t.Helper()
	eventually(i.t, limit, name, func(ctx context.Context) error {
		n, err := i.metric(ctx, name, "")
		if err == nil && !wanted(n) {
			err = fmt.Errorf("it is %g", n)
		}
		return err
	})
}

func is(want float64) func(float64) bool { return func(n float64) bool { return n == want } }

// Names of metrics.
const (
	republished = "analytics_alerts_republished_total"
	published   = "analytics_alerts_published_total"
	connected   = "analytics_amqp_connected"
	blockedNow  = "analytics_amqp_blocked"
	waiting     = "analytics_alerts_outbox"
	resident    = "process_resident_memory_bytes"
)

// notes waits until /readyz is ready and says all of these, and the log, too.
func (i *instance) notes(limit time.Duration, texts ...string) {
	i.t.Helper()
	eventually(i.t, limit, "it says what is wrong", func(ctx context.Context) error {
		status, body, err := i.get(ctx, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz is %d: alerts that cannot be published are no reason", status)
		}
		log := i.Log()
		for _, text := range texts {
			if err == nil && !strings.Contains(body, text) {
				err = fmt.Errorf("/readyz does not say %q: %s", text, body)
			}
			if err == nil && !strings.Contains(log, strings.ReplaceAll(text, `"`, `\"`)) {
				err = fmt.Errorf("the log does not say %q", text)
			}
		}
		return err
	})
}

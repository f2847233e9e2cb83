package servers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxies stand between one client and all brokers of a cluster, so that its
// connections can be disturbed and no others. Their methods must not be called at the
// same time.
type Proxies struct {
	Address string // bootstrap addresses for the client

	proxies []*toxiproxy.Proxy
}

// Proxies opens proxies for one client; n is 1 to 3, and free.
func (k *Kafka) Proxies(n int) (*Proxies, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxies{}
	var addresses []string
	for broker := range k.Brokers {
		at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port+10*n+broker) }
		address := at(k.Port + 60)
		proxy := toxiproxy.NewProxy(server, address, address, at(k.Port+30))
		if err := proxy.Start(); err != nil {
			p.Close()
			return nil, fmt.Errorf("open proxy %s: %w", address, err)
		}
		p.proxies = append(p.proxies, proxy)
		addresses = append(addresses, address)
	}
	p.Address = strings.Join(addresses, ",")
	return p, nil
}

// Cut ends all connections and refuses new ones.
func (p *Proxies) Cut() error {
	p.Close()
	return nil
}

// Delay makes every packet of an answer late.
func (p *Proxies) Delay(latency, jitter time.Duration) error {
	return p.add(fmt.Sprintf(`{"name": "delay", "type": "latency", "stream": "downstream", "attributes": {"latency": %d, "jitter": %d}}`,
		latency.Milliseconds(), jitter.Milliseconds()))
}

// HalfOpen keeps all connections open, and nothing arrives any more: no answer, or
// no request.
func (p *Proxies) HalfOpen(requests bool) error {
	stream := "downstream"
	if requests {
		stream = "upstream"
	}
	return p.add(fmt.Sprintf(`{"name": "half-open", "type": "timeout", "stream": %q, "attributes": {"timeout": 0}}`, stream))
}

func (p *Proxies) add(toxic string) error {
	var errs []error
	for _, proxy := range p.proxies {
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			errs = append(errs, fmt.Errorf("disturb %s: %w", proxy.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Heal ends all disturbance.
func (p *Proxies) Heal(ctx context.Context) error {
	var errs []error
	for _, proxy := range p.proxies {
		proxy.Toxics.ResetToxics(ctx)
		if err := proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			errs = append(errs, fmt.Errorf("heal %s: %w", proxy.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Close ends the proxies and all connections.
func (p *Proxies) Close() {
	for _, proxy := range p.proxies {
		proxy.Stop()
	}
}

// Package management asks RabbitMQ's management API how the queues are. It speaks HTTP
// and knows nothing of AMQP.
package management

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config says where the API is and what is asked. URL is required.
type Config struct {
	URL      string // http://host:15672 or https://…, with a path where a proxy adds one
	Username string // with the tag monitoring, and permissions, if only empty ones, in the virtual hosts whose queues are to be seen
	Password string
	CAFile   string // for https; empty: the system's authorities are trusted
	Queues   string // regular expression that the whole name of a queue must match; empty: all
}

// User returns who asks: the user in the URL, where no other is named.
func (c Config) User() string {
	if base, err := url.Parse(c.URL); c.Username == "" && err == nil {
		return base.User.Username()
	}
	return c.Username
}

// State is what the API tells.
type State struct {
	// Connections to all nodes; -1 when it does not tell.
	Connections int64
	Queues      []Queue
}

// Queue is how a queue is. A queue of which RabbitMQ has no numbers yet, in the first
// seconds after it was declared, is none.
type Queue struct {
	Vhost, Name string
	Ready       int64 // messages that wait
	Unacked     int64 // messages that were delivered and not acknowledged
	Consumers   int64
}

// Bounds of what an answer may cost. What is larger is an error: half of the queues would
// look like all of them.
const (
	timeout   = 10 * time.Second // of one request
	maxAnswer = 4 << 20          // bytes of a page
	pageSize  = 500              // the most that RabbitMQ gives
	maxPages  = 20
)

// Client asks one RabbitMQ. It is safe for concurrent use.
type Client struct {
	base           *url.URL
	user, password string
	queues         *regexp.Regexp
	http           *http.Client
}

// New checks the configuration. An error does not hold the password.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, errors.New("url: want http://host:port or https://…") // which may hold a password
	}
	client := &Client{base: base, user: c.Username, password: c.Password}
	if base.User != nil { // errors tell the address, and must not tell this
		if client.user == "" {
			client.user = base.User.Username()
			client.password, _ = base.User.Password()
		}
		base.User = nil
	}
	if client.queues, err = regexp.Compile(`^(?:` + cmp.Or(c.Queues, ".*") + `)$`); err != nil {
		return nil, fmt.Errorf("queues is %q: want a regular expression such as pages|mail.*: %w", c.Queues, err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", c.CAFile)
		}
	}
	// A login must go nowhere but where it was sent.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.http = &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: stay}
	return client, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Read asks for everything, once.
func (c *Client) Read(ctx context.Context) (State, error) {
	var overview struct {
		Totals struct {
			Connections *int64 `json:"connections"`
		} `json:"object_totals"`
	}
	if err := c.get(ctx, "overview", url.Values{"columns": {"object_totals.connections"}}, &overview); err != nil {
		return State{}, err
	}
	s := State{Connections: -1}
	if n := overview.Totals.Connections; n != nil {
		s.Connections = *n
	}
	seen := map[[2]string]bool{} // one may come on two pages, when another was deleted meanwhile
	for number, last := 1, 1; number <= last; number++ {
		var p page
		err := c.get(ctx, "queues", url.Values{
			"page": {strconv.Itoa(number)}, "page_size": {strconv.Itoa(pageSize)},
			"columns": {"vhost,name,messages_ready,messages_unacknowledged,consumers"},
		}, &p)
		if err != nil {
			return State{}, err
		}
		if p.Items == nil {
			return State{}, errors.New("RabbitMQ's management API gives no list of queues: want RabbitMQ 3.8 or later at the address")
		}
		if last = p.Pages; last > maxPages {
			return State{}, fmt.Errorf("RabbitMQ has %d queues, more than the %d that are looked at: give a user who sees those of some virtual hosts only", p.Total, maxPages*pageSize)
		}
		for _, q := range *p.Items {
			id := [2]string{q.Vhost, q.Name}
			if q.complete() && !seen[id] && c.queues.MatchString(q.Name) {
				seen[id] = true
				s.Queues = append(s.Queues, Queue{q.Vhost, q.Name, *q.Ready, *q.Unacked, *q.Consumers})
			}
		}
	}
	return s, nil
}

// page is a page of the list of queues.
type page struct {
	Pages int     `json:"page_count"`
	Total int     `json:"total_count"`
	Items *[]item `json:"items"`
}

type item struct {
	Vhost     string `json:"vhost"`
	Name      string `json:"name"`
	Ready     *int64 `json:"messages_ready"`
	Unacked   *int64 `json:"messages_unacknowledged"`
	Consumers *int64 `json:"consumers"`
}

func (i *item) complete() bool {
	return i.Ready != nil && i.Unacked != nil && i.Consumers != nil
}

// get asks for one resource of the API.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	at := c.base.JoinPath("api", path)
	failed := func(err error) error { return fmt.Errorf("ask RabbitMQ's management API, %s: %w", at, err) }
	u := *at
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return failed(err)
	}
	req.Header.Set("Accept", "application/json")
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var long *url.Error // names the address again
		if errors.As(err, &long) {
			err = long.Err
		}
		return failed(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return failed(err)
	case res.StatusCode != http.StatusOK:
		return failed(refusal(res, body))
	case len(body) > maxAnswer:
		return failed(fmt.Errorf("the answer has more than %d bytes", maxAnswer))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return failed(fmt.Errorf("the answer is not what RabbitMQ says; is the address that of its management API? %w", err))
	}
	return nil
}

// refusal tells why there is no answer, and what to do.
func refusal(res *http.Response, body []byte) error {
	advice := ""
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		advice = ": give a user with the tag monitoring, and the right password"
	case res.StatusCode == http.StatusNotFound:
		advice = ": is the address that of the management API?"
	case res.StatusCode >= 300 && res.StatusCode < 400:
		advice = ": it is not followed; give the address that it leads to"
	}
	var said struct{ Error, Reason string }
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		return fmt.Errorf("%s (%s)%s", res.Status, strings.TrimSpace(said.Error+" "+said.Reason), advice)
	}
	return fmt.Errorf("%s%s", res.Status, advice)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// runHealthcheck asks the instance of this configuration whether it is ready: for the
// health check of a container, which has no other program to ask with.
func runHealthcheck(ctx context.Context, env environment, args []string) error {
	fs := newFlags(env, "healthcheck")
	config := fs.String("config", lookup(env.environ, configVariable), "configuration `file`; http.listen is used")
	timeout := fs.Duration("timeout", 3*time.Second, "how long the answer may take")
	if err := parse(fs, args); err != nil {
		return err
	}
	s, err := loadSettings(*config, withBrokers(env).environ)
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	address, err := ownAddress(s.app.HTTPListen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := askReady(ctx, "http://"+address+"/readyz"); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, "ready")
	return err
}

// ownAddress returns where a process on this host reaches what listens on an address.
func ownAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return "", fmt.Errorf("http.listen is %q: there is no health to ask for; give it a port", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

// maxReadiness is more than an answer of /readyz has.
const maxReadiness = 1 << 20

func askReady(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy: it is this host
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReadiness))
	var said struct{ Missing []string }
	if errors.Join(err, json.Unmarshal(body, &said)) != nil || len(said.Missing) == 0 {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return fmt.Errorf("not ready: %s", strings.Join(said.Missing, "; "))
}

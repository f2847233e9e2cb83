package servers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// RabbitMQ is a node that can be stopped and started again.
type RabbitMQ struct {
	URL  string // amqp://…
	Port int
	Dir  string

	site *Site
	env  []string
}

// RabbitMQ starts a node. env is added to the script's environment.
func (s *Site) RabbitMQ(ctx context.Context, name string, env ...string) (*RabbitMQ, error) {
	port, err := FreePort(1, 2, 3, 4)
	if err != nil {
		return nil, err
	}
	r := &RabbitMQ{Port: port, Dir: filepath.Join(s.Dir, name), site: s, env: env}
	return r, r.Start(ctx)
}

// Start starts the node with the data it had.
func (r *RabbitMQ) Start(ctx context.Context) (err error) {
	r.URL, err = r.site.run(ctx, r.env, "rabbitmq.sh", "start", r.Dir, strconv.Itoa(r.Port))
	return err
}

// Stop ends the node in peace and keeps its data.
func (r *RabbitMQ) Stop(ctx context.Context) error {
	_, err := r.site.run(ctx, r.env, "rabbitmq.sh", "stop", r.Dir)
	return err
}

// Kill ends the node as a power cut would.
func (r *RabbitMQ) Kill() error {
	pid, err := readPID(filepath.Join(r.Dir, "rabbitmq.pid"))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill RabbitMQ, process %d: %w", pid, err)
	}
	return nil
}

// Ctl runs rabbitmqctl on the node.
func (r *RabbitMQ) Ctl(ctx context.Context, args ...string) error {
	_, err := r.site.run(ctx, r.env, "rabbitmq.sh", append([]string{"ctl", r.Dir}, args...)...)
	return err
}

// Vhost makes a virtual host, which shares nothing with others but the node, and returns
// its address. All users may do everything there.
func (r *RabbitMQ) Vhost(ctx context.Context, name string) (url string, err error) {
	if err := r.Put(ctx, "vhosts/"+name, ""); err != nil {
		return "", err
	}
	for _, user := range []string{"guest", "analytics"} {
		if user == "analytics" && !r.secure() {
			continue
		}
		if err := r.Put(ctx, "permissions/"+name+"/"+user, `{"configure": ".*", "write": ".*", "read": ".*"}`); err != nil {
			return "", err
		}
	}
	return r.URL + name, nil
}

func (r *RabbitMQ) secure() bool {
	return strings.Contains(strings.Join(r.env, " "), "RABBITMQ_SECURE=1")
}

// Put makes something by the management API.
func (r *RabbitMQ) Put(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, fmt.Sprintf("http://127.0.0.1:%d/api/%s", r.Port+1, path), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("put %s: %s: %s", path, resp.Status, text)
	}
	return nil
}

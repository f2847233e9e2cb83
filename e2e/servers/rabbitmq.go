package servers

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
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
	port, err := FreePort(1, 3, 4)
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

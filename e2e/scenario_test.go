//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"testing"
	"time"

	"ragstreams/e2e/servers"
	"ragstreams/internal/scenario"
	"ragstreams/kafka"
)

// TestScenarios plays the scripts of testdata to the program on real Kafka, and those with
// a RabbitMQ on a real one.
func TestScenarios(t *testing.T) {
	t.Run("scenarios", func(t *testing.T) { playAll(t, nil) })
	t.Run("scenarios-rabbitmq", func(t *testing.T) { playAll(t, ownRabbitMQ(t, "rabbitmq-scenarios")) })
}

// playAll plays the scripts of the folder that a test is named after; one after the other
// where there is a RabbitMQ, which they stop and kill.
func playAll(t *testing.T, node *servers.RabbitMQ) {
	folder := path.Base(t.Name())
	files, err := filepath.Glob(filepath.Join("..", "testdata", folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	run := time.Now().UnixMilli() % 1e6
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if node == nil {
				t.Parallel() // they wait for Kafka, mostly
			}
			differences, _, err := scenario.Play(t.Context(), file, func(g scenario.Given) (scenario.World, error) {
				cluster, name := kafka.Config{Brokers: []string{broker.Address}}, fmt.Sprintf("%s-%d-%d-", folder, run, i)
				if node == nil {
					return scenario.NewProgram(t.Context(), g, cluster, name, nil)
				}
				return scenario.NewProgram(t.Context(), g, cluster, name, newScenarioBroker(t, node, name))
			})
			if err != nil {
				t.Error(err)
			}
			for _, d := range differences {
				t.Error(d)
			}
		})
	}
}

// scenarioBroker is a virtual host of a RabbitMQ, and a queue for all alerts.
type scenarioBroker struct {
	node *servers.RabbitMQ
	url  string
	all  *inbox
}

func newScenarioBroker(t *testing.T, node *servers.RabbitMQ, name string) *scenarioBroker {
	t.Helper()
	url, err := node.Vhost(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	a := &alarm{deployment: &deployment{t: t}, rabbit: node, url: url}
	a.declareExchange()
	return &scenarioBroker{node, url, a.inbox("all", "#")}
}

func (b *scenarioBroker) URL() string { return b.url }

func (b *scenarioBroker) Do(ctx context.Context, what string) error {
	switch what {
	case "stop":
		return b.node.Stop(ctx)
	case "kill":
		return b.node.Kill()
	case "start":
		return b.node.Start(ctx)
	}
	return fmt.Errorf("rabbitmq %s: want stop, kill or start", what)
}

func (b *scenarioBroker) Received() (bodies [][]byte) {
	for _, d := range b.all.messages() {
		bodies = append(bodies, d.Body)
	}
	return bodies
}

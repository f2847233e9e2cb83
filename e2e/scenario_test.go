//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"ragstreams/internal/scenario"
	"ragstreams/kafka"
)

// TestScenarios plays the scripts of testdata/scenarios to the program on real
// Kafka.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	run := time.Now().UnixMilli() % 1e6
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			differences, _, err := scenario.Play(t.Context(), file, func(g scenario.Given) (scenario.World, error) {
				cluster := kafka.Config{Brokers: []string{broker.Address}}
				return scenario.NewProgram(t.Context(), g, cluster, fmt.Sprintf("scenario-%d-%d-", run, i))
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

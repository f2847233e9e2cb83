//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"ragstreams/e2e/servers"
)

// TestDemo: the demo needs nothing, and finds by itself that its tables are true.
func TestDemo(t *testing.T) {
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := site.Program("demo", binary, withoutConfiguration(os.Environ()),
		"demo", "--for", "20s", "--kafka-port", "0", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if code, err := p.Wait(ctx); err != nil || code != 0 {
		t.Errorf("the demo ended with %d, %v:\n%s", code, err, p.Log())
	}
}

package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ragstreams/alerts/rabbitmq"
)

// People are told whether RabbitMQ is away, or is there and refuses.
func TestWhyMessagesWait(t *testing.T) {
	away := waits(errors.New("connection refused"))
	refused := waits(fmt.Errorf("exchange error_event: %w", rabbitmq.ErrRefused))
	if !strings.Contains(away, "cannot be reached") || !strings.Contains(away, "connection refused") {
		t.Errorf("of a broker that is away: %s", away)
	}
	if strings.Contains(refused, "cannot be reached") || !strings.Contains(refused, "exchange error_event: RabbitMQ refuses") {
		t.Errorf("of a broker that refuses: %s", refused)
	}
}

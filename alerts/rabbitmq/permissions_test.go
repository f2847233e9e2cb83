package rabbitmq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPermissions(t *testing.T) {
	queues := func(list ...Queue) Topology { return Topology{list} }
	for _, tt := range []struct {
		name string
		cfg  Config
		want Permissions
	}{
		{
			"declared by others",
			Config{URL: "amqp://ana:secret@host/"},
			Permissions{"/", "ana", `^$`, `^error_event$`, `^$`},
		},
		{
			"declared, in a vhost",
			Config{URL: "amqp://ana:secret@host/acme%2Feu", Declare: true},
			Permissions{"acme/eu", "ana", `^(error_event|error_event\.unrouted)$`, `^(error_event|error_event\.unrouted)$`, `^(error_event|error_event\.unrouted)$`},
		},
		{
			"nobody is named",
			Config{URL: "amqps://host"},
			Permissions{"/", "guest", `^$`, `^error_event$`, `^$`},
		},
		{
			"the certificate is the login",
			Config{URL: "amqps://host", CertFile: "not-there.pem", KeyFile: "not-there.key"},
			Permissions{"/", "", `^$`, `^error_event$`, `^$`},
		},
		{
			"a queue",
			Config{URL: "amqp://ana@host", Topology: queues(Queue{Name: "pages+", Bind: []string{"#"}, Type: Quorum})},
			Permissions{"/", "ana", `^pages\+$`, `^(error_event|pages\+)$`, `^error_event$`},
		},
		{
			"a queue with dead letters",
			Config{URL: "amqp://ana@host", Topology: queues(Queue{Name: "a", Bind: []string{"#"}, Type: Quorum, DeadLetter: "b"})},
			Permissions{"/", "ana", `^(a|b)$`, `^(a|b|error_event)$`, `^(a|b|error_event)$`},
		},
		{
			"a queue whose dead letters go to the exchange of somebody else, and one to the exchange without a name",
			Config{URL: "amqp://ana@host", Topology: queues(
				Queue{Name: "a", Bind: []string{"#"}, Type: Quorum, Arguments: map[string]any{"x-dead-letter-exchange": "theirs"}},
				Queue{Name: "b", Bind: []string{"#"}, Type: Quorum, Arguments: map[string]any{"x-dead-letter-exchange": ""}},
			)},
			Permissions{"/", "ana", `^(a|b)$`, `^(a|amq\.default|b|error_event|theirs)$`, `^(a|b|error_event)$`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.cfg.Permissions()
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v; (-want +got):\n%s", err, diff)
			}
		})
	}
	wrong := Config{URL: "amqp://ana:secret@host:port"}
	if _, err := wrong.Permissions(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, want an error that does not tell the password", err)
	}
}

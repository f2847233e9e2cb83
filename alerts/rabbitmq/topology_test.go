package rabbitmq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

func TestParseTopology(t *testing.T) {
	got, err := ParseTopology("t.yaml", []byte(`
queues:
- name: pages
  bind: ["critical.#"]
  delivery_limit: 20
  dead_letter: pages.dead
- {name: acme, bind: ["*.acme.#", "info.#"], type: classic, max_length: 1000, arguments: {x-message-ttl: 60000}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Topology{[]Queue{
		{Name: "pages", Bind: []string{"critical.#"}, Type: Quorum, DeliveryLimit: 20, DeadLetter: "pages.dead"},
		{Name: "acme", Bind: []string{"*.acme.#", "info.#"}, Type: Classic, MaxLength: 1000, Arguments: map[string]any{"x-message-ttl": 60000}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("topology (-want +got):\n%s", diff)
	}
	for i, want := range []amqp.Table{
		{"x-queue-type": "quorum", "x-delivery-limit": int64(20), "x-dead-letter-exchange": "pages.dead"},
		{"x-queue-type": "classic", "x-max-length": int64(1000), "x-overflow": "reject-publish"},
	} {
		if diff := cmp.Diff(want, got.Queues[i].own()); diff != "" {
			t.Errorf("arguments of %s (-want +got):\n%s", got.Queues[i].Name, diff)
		}
	}
	if none, err := ParseTopology("t.yaml", nil); err != nil || len(none.Queues) > 0 {
		t.Errorf("an empty file: %+v, %v", none, err)
	}
}

func TestTopologyMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`queue: []`:             "a queue has name, bind",
		`queues: [{nam: x}]`:    "a queue has name, bind",
		`queues: [{bind: [x]}]`: `name is ""`,
		`queues: [{name: x}]`:   "bind is empty",
		`queues: [{name: x, bind: [a]}, {name: x, bind: [a]}]`:                             `name is "x": want a name of its own`,
		`queues: [{name: x, bind: [a], dead_letter: x}]`:                                   `is "x": want a name of its own`,
		`queues: [{name: error_event, bind: [a]}]`:                                         "want a name of its own",
		`queues: [{name: error_event.unrouted, bind: [a]}]`:                                "want a name of its own",
		`queues: [{name: amq.x, bind: [a]}]`:                                               "are the broker's",
		`queues: [{name: x, bind: [a], type: fast}]`:                                       `type is "fast": want quorum, classic or stream`,
		`queues: [{name: x, bind: [a], max_length: -1}]`:                                   "0 or more",
		`queues: [{name: x, bind: [a], type: classic, delivery_limit: 2, dead_letter: y}]`: "delivery_limit is for queues of type quorum",
		`queues: [{name: x, bind: [a], delivery_limit: 2}]`:                                "would drop messages",
		`queues: [{name: x, bind: [a], type: stream, max_length: 2}]`:                      "a stream has neither",
		`queues: [{name: x, bind: [a], arguments: {ttl: 2}}]`:                              "argument ttl",
		`queues: [{name: x, bind: [a], arguments: {x-a: {b: c}}}]`:                         "want a text",
		`queues: [{name: x, bind: [a], arguments: {x-queue-type: classic}}]`:               "argument x-queue-type",
	} {
		if _, err := ParseTopology("t.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "t.yaml") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

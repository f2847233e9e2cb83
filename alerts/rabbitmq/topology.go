package rabbitmq

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.yaml.in/yaml/v3"
)

// Topology is the queues of receivers, declared with what is published to. The zero
// Topology leaves all of them to others.
//
//	queues:
//	- name: pages
//	  bind: ["critical.#"]
//	  delivery_limit: 20
//	  dead_letter: pages.dead
type Topology struct {
	Queues []Queue `yaml:"queues"`
}

// Queue is a durable queue and its bindings to Exchange.
type Queue struct {
	Name string    `yaml:"name"`
	Bind []string  `yaml:"bind"` // binding keys: <severity>.<tenant>.<app>.<stage>.<state>, * for a word, # for any
	Type QueueType `yaml:"type"`
	// DeliveryLimit is how often a message is delivered again before it goes to
	// DeadLetter. Of quorum queues only. 0 is what the broker does without: RabbitMQ 4
	// gives up after 20 times, and drops the message if there is no DeadLetter.
	DeliveryLimit int `yaml:"delivery_limit"`
	// DeadLetter is the exchange and queue, of that name, for what is rejected or was
	// delivered too often; "": it is dropped.
	DeadLetter string `yaml:"dead_letter"`
	// MaxLength is how many messages there may be; 0: any. What comes then is refused,
	// and tried again: it waits in the outbox.
	MaxLength int64 `yaml:"max_length"`
	// Arguments are others that the broker knows, x-….
	Arguments map[string]any `yaml:"arguments"`
}

// QueueType is a type of queue that RabbitMQ has.
type QueueType string

// Types of queues.
const (
	Quorum  QueueType = "quorum" // replicated; the default
	Classic QueueType = "classic"
	Stream  QueueType = "stream"
)

// ParseTopology reads a YAML file, whose name is for what is said of mistakes: all of
// them are reported together.
func ParseTopology(name string, src []byte) (Topology, error) {
	var t Topology
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	decoder.KnownFields(true)
	if err := decoder.Decode(&t); err != nil && !errors.Is(err, io.EOF) {
		return t, fmt.Errorf("topology %s: %w; a queue has name, bind, type, delivery_limit, dead_letter, max_length and arguments", name, err)
	}
	seen := map[string]bool{Unrouted: true}
	var errs []error
	for i := range t.Queues {
		q := &t.Queues[i]
		if q.Type == "" {
			q.Type = Quorum
		}
		for _, problem := range q.problems(seen) {
			errs = append(errs, fmt.Errorf("topology %s: queue %d, %q: %s", name, i+1, q.Name, problem))
		}
	}
	return t, errors.Join(errs...)
}

// problems tells what cannot be declared, given the names that were seen before.
func (q *Queue) problems(seen map[string]bool) (list []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	for what, name := range map[string]string{"name": q.Name, "dead_letter": q.DeadLetter} {
		if name == "" && what == "dead_letter" {
			continue
		}
		check(name != "" && !seen[name] && name != Exchange, "%s is %q: want a name of its own", what, name)
		check(!strings.HasPrefix(name, "amq."), "%s is %q: names that begin with amq. are the broker's", what, name)
		seen[name] = true
	}
	check(len(q.Bind) > 0, "bind is empty: want binding keys, such as critical.# or *.acme.#")
	check(slices.Contains([]QueueType{Quorum, Classic, Stream}, q.Type), "type is %q: want %s, %s or %s", q.Type, Quorum, Classic, Stream)
	check(q.DeliveryLimit >= 0 && q.MaxLength >= 0, "delivery_limit and max_length: want 0 or more")
	check(q.DeliveryLimit == 0 || q.Type == Quorum, "delivery_limit is for queues of type %s", Quorum)
	check(q.DeliveryLimit == 0 || q.DeadLetter != "", "delivery_limit without dead_letter would drop messages: say where they go")
	check(q.Type != Stream || q.DeadLetter == "" && q.MaxLength == 0, "a stream has neither dead_letter nor max_length; set x-max-age or x-max-length-bytes in arguments")
	for _, name := range slices.Sorted(maps.Keys(q.Arguments)) {
		_, twice := q.own()[name]
		check(strings.HasPrefix(name, "x-") && !twice, "argument %s: want one that begins with x- and is not said otherwise", name)
		check(amqp.Table{name: q.Arguments[name]}.Validate() == nil, "argument %s is %v: want a text, a number, true or false", name, q.Arguments[name])
	}
	return list
}

// deadLetterArg names the exchange for what a queue gives up.
const deadLetterArg = "x-dead-letter-exchange"

// arguments returns all arguments of the queue.
func (q *Queue) arguments() amqp.Table {
	args := q.own()
	for name, value := range q.Arguments {
		args[name] = value
	}
	return args
}

// own returns the arguments that the fields say.
func (q *Queue) own() amqp.Table {
	args := amqp.Table{amqp.QueueTypeArg: string(q.Type)}
	if q.DeliveryLimit > 0 {
		args["x-delivery-limit"] = int64(q.DeliveryLimit)
	}
	if q.DeadLetter != "" {
		args[deadLetterArg] = q.DeadLetter
	}
	if q.MaxLength > 0 {
		args[amqp.QueueMaxLenArg], args[amqp.QueueOverflowArg] = q.MaxLength, amqp.QueueOverflowRejectPublish
	}
	return args
}

// declare declares a queue, and before it where its dead letters go.
func (q *Queue) declare(ch *amqp.Channel) error {
	if q.DeadLetter != "" {
		if err := ch.ExchangeDeclare(q.DeadLetter, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
			return fmt.Errorf("exchange %s: %w", q.DeadLetter, err)
		}
		if _, err := ch.QueueDeclare(q.DeadLetter, true, false, false, false, amqp.Table{amqp.QueueTypeArg: string(q.Type)}); err != nil {
			return fmt.Errorf("queue %s: %w", q.DeadLetter, err)
		}
		if err := ch.QueueBind(q.DeadLetter, "", q.DeadLetter, false, nil); err != nil {
			return fmt.Errorf("queue %s: %w", q.DeadLetter, err)
		}
	}
	if _, err := ch.QueueDeclare(q.Name, true, false, false, false, q.arguments()); err != nil {
		return err
	}
	for _, key := range q.Bind {
		if err := ch.QueueBind(q.Name, key, Exchange, false, nil); err != nil {
			return fmt.Errorf("bind %s: %w", key, err)
		}
	}
	return nil
}

package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of what the program stands on. One instance exports them, the one that is
// elected to look.
var (
	kafkaUp         = define("analytics_kafka_up", Gauge, "Whether Kafka answered when it was last looked at; if not, nothing else is told of it. On the instance that watches, as all of analytics_kafka_* and analytics_rabbitmq_*.")
	kafkaBrokers    = define("analytics_kafka_brokers", Gauge, "Brokers that are there.")
	underReplicated = define("analytics_kafka_under_replicated_partitions", Gauge, "Partitions, of all topics, with a replica that is not in sync.")
	offline         = define("analytics_kafka_offline_partitions", Gauge, "Partitions, of all topics, without a leader.")
	groupLag        = define("analytics_kafka_group_lag_records", Gauge, "Records that the group has not committed, whether it runs or not; of one that never committed, those from where it would begin.", "group", "topic", "partition")
	groupAge        = define("analytics_kafka_group_lag_seconds", Gauge, "Age of the oldest of these records, by its timestamp; 0 without any.", "group", "topic", "partition")
	rabbitUp        = define("analytics_rabbitmq_up", Gauge, "Whether RabbitMQ's management API answered when it was last asked; if not, nothing else is told of it.")
	rabbitConns     = define("analytics_rabbitmq_connections", Gauge, "Connections to RabbitMQ.")
	queueReady      = define("analytics_rabbitmq_queue_messages_ready", Gauge, "Messages that wait in the queue.", "vhost", "queue")
	queueUnacked    = define("analytics_rabbitmq_queue_messages_unacknowledged", Gauge, "Messages that were delivered and not acknowledged.", "vhost", "queue")
	queueConsumers  = define("analytics_rabbitmq_queue_consumers", Gauge, "Consumers of the queue.", "vhost", "queue")
)

// Kafka is what is told of Kafka.
type Kafka struct {
	At     time.Time // when it was looked at
	Health *Health   // nil: not looked at
	Lags   []GroupLag
}

// Health counts brokers and partitions.
type Health struct{ Brokers, UnderReplicated, Offline int }

// GroupLag is how far a group is behind in a partition. Oldest is zero where there is no
// record, or none was seen.
type GroupLag struct {
	Group     string
	Topic     string
	Partition int32
	Records   int64
	Oldest    time.Time
}

// RabbitMQ is what is told of RabbitMQ. Connections is -1 where it does not tell.
type RabbitMQ struct {
	Connections int64
	Queues      []Queue
}

// Queue is how a queue is.
type Queue struct {
	Vhost, Name               string
	Ready, Unacked, Consumers int64
}

// Dependencies shows what was last seen of what the program stands on, and nothing once
// that is old. It is safe for concurrent use.
type Dependencies struct {
	mu     sync.Mutex
	kafka  shown[Kafka]
	rabbit shown[RabbitMQ]
}

// shown is what there is to show: nothing, that there was no answer, or the answer.
type shown[T any] struct {
	is     bool
	answer *T
}

// NewDependencies registers its metrics.
func NewDependencies(reg prometheus.Registerer) *Dependencies {
	d := &Dependencies{}
	reg.MustRegister(collector(d.collect))
	return d
}

// Kafka notes what was seen of Kafka; nil: it did not answer.
func (d *Dependencies) Kafka(k *Kafka) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kafka = shown[Kafka]{true, k}
}

// RabbitMQ notes what was seen of RabbitMQ; nil: it did not answer.
func (d *Dependencies) RabbitMQ(r *RabbitMQ) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rabbit = shown[RabbitMQ]{true, r}
}

// ForgetRabbitMQ shows nothing of RabbitMQ: another instance may.
func (d *Dependencies) ForgetRabbitMQ() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rabbit = shown[RabbitMQ]{}
}

// Forget shows nothing: another instance does.
func (d *Dependencies) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kafka, d.rabbit = shown[Kafka]{}, shown[RabbitMQ]{}
}

func (d *Dependencies) collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	kafka, rabbit := d.kafka, d.rabbit
	d.mu.Unlock()
	if kafka.is {
		ch <- kafkaUp.value(truth(kafka.answer != nil))
		kafka.answer.collect(ch)
	}
	if rabbit.is {
		ch <- rabbitUp.value(truth(rabbit.answer != nil))
		rabbit.answer.collect(ch)
	}
}

func (k *Kafka) collect(ch chan<- prometheus.Metric) {
	if k == nil {
		return
	}
	if h := k.Health; h != nil {
		ch <- kafkaBrokers.value(float64(h.Brokers))
		ch <- underReplicated.value(float64(h.UnderReplicated))
		ch <- offline.value(float64(h.Offline))
	}
	for _, l := range k.Lags {
		partition := strconv.Itoa(int(l.Partition))
		ch <- groupLag.value(float64(l.Records), l.Group, l.Topic, partition)
		switch {
		case l.Records == 0:
			ch <- groupAge.value(0, l.Group, l.Topic, partition)
		case !l.Oldest.IsZero(): // a producer's clock may be ahead
			ch <- groupAge.value(max(0, k.At.Sub(l.Oldest).Seconds()), l.Group, l.Topic, partition)
		}
	}
}

func (r *RabbitMQ) collect(ch chan<- prometheus.Metric) {
	if r == nil {
		return
	}
	if r.Connections >= 0 {
		ch <- rabbitConns.value(float64(r.Connections))
	}
	for _, q := range r.Queues {
		ch <- queueReady.value(float64(q.Ready), q.Vhost, q.Name)
		ch <- queueUnacked.value(float64(q.Unacked), q.Vhost, q.Name)
		ch <- queueConsumers.value(float64(q.Consumers), q.Vhost, q.Name)
	}
}

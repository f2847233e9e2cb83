package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of alerts.
var (
	alertsActive    = define("analytics_alerts", Gauge, "Alerts by state (pending, firing, or suppressed: firing, but nobody is told), on the instance that evaluates rules.", "state")
	silencesKnown   = define("analytics_silences", Gauge, "Silences that are pending or active, on the instance that evaluates rules.", "state")
	alertsOutbox    = define("analytics_alerts_outbox", Gauge, "Records of the outbox that RabbitMQ has not confirmed, transaction markers between them included.")
	alertDelivery   = define("analytics_alert_delivery_seconds", Histogram, "From the evaluation that led to a message to its confirmation by RabbitMQ.")
	alertsPublished = define("analytics_alerts_published_total", Counter, "Messages confirmed by RabbitMQ, by what they say.", "state")
	alertsAgain     = define("analytics_alerts_republished_total", Counter,
		"Messages published again: refused (nack), on a connection that was lost (unconfirmed), or by a successor (takeover). A receiver may have seen them before; those refused, only by way of another queue than the one that refused.", "reason")
	alertsUnrouted = define("analytics_alerts_unrouted_total", Counter, "Messages for which no queue is bound.")
	amqpConnected  = define("analytics_amqp_connected", Gauge, "Whether there is a connection to RabbitMQ, on an instance that reads a part of the outbox.")
	amqpBlocked    = define("analytics_amqp_blocked", Gauge, "Whether RabbitMQ takes no messages, because of an alarm.")
	rulesLoaded    = define("analytics_rules", Gauge, "Rules in use.")
	rulesReloaded  = define("analytics_rules_reload_success", Gauge, "Whether the newest rule files could be used; 0: those before are in use.")
	ruleSeconds    = define("analytics_rule_evaluation_seconds", Histogram, "How long it took to evaluate all rules that were due.")
	ruleFailures   = define("analytics_rule_failures_total", Counter, "Evaluations of rules that failed.", "group", "rule")
)

// Alerts takes in what happens to alerts between scrapes. It is safe for concurrent use.
type Alerts struct {
	active      *prometheus.GaugeVec
	silences    *prometheus.GaugeVec
	outbox      prometheus.Gauge
	delivery    prometheus.Observer
	published   *prometheus.CounterVec
	again       *prometheus.CounterVec
	unrouted    prometheus.Counter
	connected   prometheus.Gauge
	blocked     prometheus.Gauge
	loaded      prometheus.Gauge
	reloaded    prometheus.Gauge
	evaluations prometheus.Observer
	failures    *prometheus.CounterVec
}

// NewAlerts registers the metrics of alerts. states are those of messages.
func NewAlerts(reg prometheus.Registerer, states ...string) *Alerts {
	gauge := func(m *metric) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.Labels)
	}
	counter := func(m *metric) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
	}
	active, silences, outbox, delivery, published, again := gauge(alertsActive), gauge(silencesKnown), gauge(alertsOutbox), newHistogramVec(alertDelivery), counter(alertsPublished), counter(alertsAgain)
	unrouted, connected, blocked, loaded, reloaded := counter(alertsUnrouted), gauge(amqpConnected), gauge(amqpBlocked), gauge(rulesLoaded), gauge(rulesReloaded)
	evaluations, failures := newHistogramVec(ruleSeconds), counter(ruleFailures)
	reg.MustRegister(active, silences, outbox, delivery, published, again, unrouted, connected, blocked, loaded, reloaded, evaluations, failures)
	for _, s := range states { // so that the first increase is seen
		published.WithLabelValues(s)
	}
	for _, r := range []string{"nack", "unconfirmed", "takeover"} {
		again.WithLabelValues(r)
	}
	return &Alerts{
		active, silences, outbox.WithLabelValues(), delivery.WithLabelValues(), published, again, unrouted.WithLabelValues(),
		connected.WithLabelValues(), blocked.WithLabelValues(), loaded.WithLabelValues(), reloaded.WithLabelValues(),
		evaluations.WithLabelValues(), failures,
	}
}

// Active notes how many alerts and silences are in each state, on the instance that
// evaluates.
func (a *Alerts) Active(alerts, silences map[string]int) {
	for gauge, byState := range map[*prometheus.GaugeVec]map[string]int{a.active: alerts, a.silences: silences} {
		gauge.Reset()
		for state, n := range byState {
			gauge.WithLabelValues(state).Set(float64(n))
		}
	}
}

// Evaluated notes how long an evaluation of all rules took.
func (a *Alerts) Evaluated(took time.Duration) { a.evaluations.Observe(took.Seconds()) }

// Failed counts a rule that could not be evaluated.
func (a *Alerts) Failed(group, rule string) { a.failures.WithLabelValues(group, rule).Inc() }

// Rules notes how many rules are in use, and whether the newest files could be used.
func (a *Alerts) Rules(n int, ok bool) {
	a.loaded.Set(float64(n))
	a.reloaded.Set(truth(ok))
}

// Outbox notes how much of the outbox was not delivered.
func (a *Alerts) Outbox(records int64) { a.outbox.Set(float64(records)) }

// Published notes a message that was confirmed, and how long after it was decided on.
func (a *Alerts) Published(state string, delay time.Duration) {
	a.published.WithLabelValues(state).Inc()
	a.delivery.Observe(max(0, delay.Seconds()))
}

// Republished counts messages that are published again.
func (a *Alerts) Republished(reason string, n int) { a.again.WithLabelValues(reason).Add(float64(n)) }

// Unrouted counts messages that no queue is bound for.
func (a *Alerts) Unrouted(n int) { a.unrouted.Add(float64(n)) }

// Connected notes whether there is a connection to RabbitMQ.
func (a *Alerts) Connected(is bool) { a.connected.Set(truth(is)) }

// Blocked notes whether RabbitMQ takes no messages.
func (a *Alerts) Blocked(is bool) { a.blocked.Set(truth(is)) }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

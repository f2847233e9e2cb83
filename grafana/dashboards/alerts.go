package dashboards

func alerts() board {
	var s scope
	state := func(name string) string { return sum(s.of("analytics_alerts", `state="`+name+`"`)) }
	published, again := s.of("analytics_alerts_published_total"), s.of("analytics_alerts_republished_total")
	delivery, evaluation := s.of("analytics_alert_delivery_seconds"), s.of("analytics_rule_evaluation_seconds")
	return board{
		uid: "alerts", title: "alerts", span: "6h",
		about:     "Alerts over the live tables: what fires, who is told, and how fast. Rules are evaluated by ragstreams itself.",
		variables: []variable{datasource},
		rows: []row{
			{title: "Now", panels: []*panel{
				number("Firing", counts, "Alerts that fire and are told.", state("firing")).bad(1).size(3, 4),
				number("Pending", counts, "Alerts whose condition does not hold for long enough yet.", state("pending")).size(3, 4),
				number("Suppressed", counts, "Alerts that fire, but nobody is told: silenced, inhibited or muted.", state("suppressed")).size(3, 4),
				number("Silences", counts, "Silences that hold.", sum(s.of("analytics_silences", `state="active"`))).otherwise("none").size(3, 4),
				number("Outbox", counts, "Records that RabbitMQ has not confirmed; 0 without one configured.", "max("+s.of("analytics_alerts_outbox")+")").warn(10, 100).size(3, 4),
				number("Unrouted", counts, "Messages of the time that is shown that no queue took, not even error_event.unrouted. Nobody has them.",
					sum(during(s.of("analytics_alerts_unrouted_total")))).bad(1).size(3, 4),
				number("Rules", counts, "Rules in use.", "max("+s.of("analytics_rules")+")").size(3, 4),
				number("Newest files used", truth, "No: the newest rule files have a mistake, and those before are in use. The log says which.",
					"min("+s.of("analytics_rules_reload_success")+")").good(1).size(3, 4),
			}},
			{title: "What fires", panels: []*panel{
				alertGroups("Alerts", "Alerts that fire, and what suppresses them, as the Alertmanager API of ragstreams has them."),
				stack("Alerts by state", counts, "On the instance that evaluates rules.", q(by("state", s.of("analytics_alerts")), "{{state}}")).size(12, 10),
			}},
			{title: "What is told", panels: []*panel{
				stack("Messages", perSecond, "Messages confirmed by RabbitMQ, a second, by what they say.", q(by("state", rate(published)), "{{state}}")),
				bars("Messages of the time that is shown", counts, "Messages confirmed by RabbitMQ, by what they say.", q(by("state", during(published)), "{{state}}")),
				lines("Published again", counts, "Messages of the newest minutes that a receiver may have seen before, by why: refused (nack), on a connection that was lost (unconfirmed), or by a successor (takeover).",
					q(by("reason", "increase("+again+"[$__rate_interval])"), "{{reason}}")),
				lines("From evaluation to confirmation", seconds, "How long a message takes from the evaluation that led to it.",
					q(quantile(0.5, sum(rate(delivery))), "half"), q(quantile(0.99, sum(rate(delivery))), "99 %")),
				heat("Deliveries", seconds, "How many messages took how long from the evaluation that led to them.", q(sum(rate(delivery)), "")).size(16, 8),
			}},
			{title: "RabbitMQ and rules", panels: []*panel{
				lines("Outbox", counts, "Records that RabbitMQ has not confirmed, transaction markers between them included.", q("max("+s.of("analytics_alerts_outbox")+")", "records")),
				lines("Connected", truth, "Whether there is a connection to RabbitMQ, on an instance that reads a part of the outbox.",
					q(maxBy("instance", s.of("analytics_amqp_connected")), "{{instance}}")).most(1),
				lines("Blocked", truth, "Whether RabbitMQ takes no messages, because of an alarm.", q(maxBy("instance", s.of("analytics_amqp_blocked")), "{{instance}}")).most(1),
				lines("Duration of evaluations", seconds, "How long it takes to evaluate all rules that are due.",
					q(quantile(0.5, sum(rate(evaluation))), "half"), q(quantile(0.99, sum(rate(evaluation))), "99 %")),
				lines("Evaluations", perSecond, "How often rules are evaluated: at most ten times a second, at least once.", q(calls(sum(rate(evaluation))), "evaluations")),
				lines("Failed evaluations", counts, "Rules that could not be evaluated, in the newest minutes.",
					q(by("group, rule", "increase("+s.of("analytics_rule_failures_total")+"[$__rate_interval])"), "{{group}}: {{rule}}")).otherwise("none"),
			}},
		},
	}
}

// alertGroups lists alerts as the provisioned Alertmanager data source has them. It has
// no queries.
func alertGroups(title, about string) *panel {
	p := newPanel("alertGroups", title, counts, about, 12, 10, map[string]any{"alertmanager": alertmanagerName, "expandAll": true, "labels": ""}, nil)
	p.Datasource = nil
	return p
}

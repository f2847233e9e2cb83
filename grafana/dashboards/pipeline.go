package dashboards

func pipeline() board {
	s := scope{"topic", "table"}
	in, became := s.of("analytics_records_in_total"), s.of("analytics_records_total")
	outcome := func(name string) string { return s.of("analytics_records_total", `outcome="`+name+`"`) }
	lag, age, commits := s.of("analytics_lag_seconds"), s.of("analytics_event_age_seconds"), s.of("analytics_commit_duration_seconds")
	part := func(name string) string {
		return share(by("topic", rate(outcome(name))), by("topic", rate(became)))
	}
	return board{
		uid: "pipeline", title: "pipeline health", span: "1h",
		about: "Whether ragstreams itself keeps up, loses nothing, and has what it stands on.",
		variables: []variable{
			datasource,
			label("topic", "analytics_records_in_total"),
			label("table", "analytics_series"),
		},
		rows: []row{
			{title: "Now", panels: []*panel{
				total("Instances", counts, "Instances that are scraped.", "count("+s.of("analytics_build_info")+")").good(1),
				number("Behind the clock", seconds, "How far the watermark of the slowest table is behind the clock. In a quiet night that is no backlog.", "max("+lag+")").warn(60, 300),
				number("Something unread", truth, "Whether any source partition is not read to its end.", "max("+s.of("analytics_behind")+")"),
				number("Age of events, 95 %", seconds, "How old the newest event of a transaction is when it is committed.", quantile(0.95, sum(rate(age)))).warn(10, 60),
				number("Restored", ratio, "How much of its tables the slowest instance has read since it started.", "min("+s.of("analytics_restore_progress_ratio")+")").good(1),
				number("Not accounted for", counts, "Records read, less those with an outcome and those in flight: 0, but for a moment while partitions move.",
					sum(in)+" - "+sum(became)+" - "+sum(s.of("analytics_records_in_flight"))),
			}},
			{title: "Records", panels: []*panel{
				lines("Records read", perSecond, "Records read from source topics, a second.", q(by("topic", rate(in)), "{{topic}}")),
				stack("What became of them", perSecond, "Every record has one outcome: counted, duplicate, late or poison.", q(by("outcome", rate(became)), "{{outcome}}")),
				lines("In flight", counts, "Records read that have no outcome yet.", q(by("topic", s.of("analytics_records_in_flight")), "{{topic}}")),
				lines("Duplicates", ratio, "Records whose event was counted already, of all records.", q(part("duplicate"), "{{topic}}")),
				lines("Late", ratio, "Records that came after their window was closed, of all records. They are on the topic of late records.", q(part("late"), "{{topic}}")),
				stack("Poison", perSecond, "Records that cannot be read, a second, by why. They are on the topic of dead letters.",
					q(by("topic, reason", rate(outcome("poison"))), "{{topic}} {{reason}}")),
				stack("Replayed", perSecond, "Records a second that a replay had sent, by why they had been dead letters or late.",
					q(by("topic, reason", rate(s.of("analytics_records_replayed_total"))), "{{topic}} {{reason}}")).otherwise("none").size(24, 6),
			}},
			{title: "Time", panels: []*panel{
				lines("Behind the clock", seconds, "How far the watermark of each table is behind the clock.", q(maxBy("table", lag), "{{table}}")),
				lines("Age of events", seconds, "How old the newest event of a transaction is when it is committed.",
					q(quantile(0.5, sum(rate(age))), "half"), q(quantile(0.99, sum(rate(age))), "99 %")),
				list("Watermarks", moment, "Up to when the tables are complete.", "watermark", []string{"table"}, "(time() - "+maxBy("table", lag)+") * 1000").size(8, 8),
				heat("Transactions by the age of events", seconds, "How many transactions were committed with a newest event of that age.", q(sum(rate(age)), "")),
				heat("Transactions by duration", seconds, "How many commits took how long, flush included.", q(sum(rate(commits)), "")),
			}},
			{title: "Transactions", panels: []*panel{
				lines("Duration of commits, 99 %", seconds, "One commit in a hundred takes longer, flush included.", q(top(20, quantile(0.99, by("group", rate(commits)))), "{{group}}")),
				stack("Commits", perSecond, "Transactions a second, by whether they held.", q(calls(by("result", rate(commits))), "{{result}}")),
				lines("Restored", ratio, "How much of each table an instance has read since it started.",
					q("min by (instance, table) ("+s.of("analytics_restore_progress_ratio")+")", "{{instance}} {{table}}")).most(1),
			}},
			{title: "Series and limits", panels: []*panel{
				stack("Series", counts, "Series of the tables.", q(by("table", s.of("analytics_series")), "{{table}}")),
				lines("Events in overflow", perSecond, "Events a second counted in the overflow series, because a table or tenant has as many series as it may.",
					q(by("table", rate(s.of("analytics_series_overflow_total"))), "{{table}}")),
				lines("Labels cut", perSecond, "Values a second that were longer than limits.label_bytes.", q(by("label", rate(s.of("analytics_labels_cut_total"))), "{{label}}")),
			}},
			{title: "Processes", panels: []*panel{
				lines("Memory", bytesUnit, "Resident memory of the instances.", q(process("process_resident_memory_bytes"), "{{instance}}")),
				lines("Processors", counts, "Processors that are busy with an instance.", q(process("rate(process_cpu_seconds_total[$__rate_interval])"), "{{instance}}")),
				lines("Goroutines", counts, "A number that only rises is a leak.", q(process("go_goroutines"), "{{instance}}")),
				lines("Alerts in the outbox", counts, "Records of the outbox that RabbitMQ has not confirmed.", q("max("+s.of("analytics_alerts_outbox")+")", "records")),
				lines("Connected to RabbitMQ", truth, "Whether there is a connection, on an instance that reads a part of the outbox.", q(maxBy("instance", s.of("analytics_amqp_connected")), "{{instance}}")).most(1),
				list("Versions", counts, "What the instances were built of.", "instances", []string{"version", "go_version"}, "count by (version, go_version) ("+s.of("analytics_build_info")+")").size(8, 8),
			}},
			dependencies(s),
		},
	}
}

// process keeps those series of a metric of processes that are of ragstreams.
func process(expr string) string {
	return expr + " and on (instance, job) " + scope{}.of("analytics_build_info")
}

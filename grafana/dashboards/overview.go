package dashboards

// overview is about rate, errors and durations: one line of panels for each label.
func overview() board {
	s := scope{"tenant", "app", "stage", "model"}
	events, failed := s.of("rag_events_total"), s.of("rag_events_total", `status="error"`)
	duration, first := s.of("rag_stage_duration_seconds"), s.of("rag_time_to_first_token_seconds")
	errors := s.of("rag_error_group_events_total")
	tokens, requests := s.of("rag_tokens_total"), s.of("rag_model_requests_total")

	slowest := func(label, about string) *panel {
		return lines("Duration by "+label+", 95 %", seconds, "One call in twenty takes longer than that. "+about,
			q(top(20, quantile(0.95, by(label, rate(duration)))), "{{"+label+"}}"))
	}
	ratioBy := func(label string) *panel {
		return lines("Share of errors by "+label, ratio, "Events that failed, of all events.",
			q(top(20, share(by(label, rate(failed)), by(label, rate(events)))), "{{"+label+"}}")).most(1)
	}
	eventsBy := func(label string) *panel {
		return lines("Events by "+label, perSecond, "Events counted a second.", q(top(20, by(label, rate(events))), "{{"+label+"}}"))
	}
	callsBy := func(label string) *panel {
		return lines("Calls by "+label, perSecond, "Calls a second that told how long they took; failed ones included.",
			q(top(20, calls(by(label, rate(duration)))), "{{"+label+"}}"))
	}
	return board{
		uid: "overview", title: "overview", span: "1h",
		about: "Rate, errors and durations of RAG services, by tenant, app, stage and model, and what their models are given and give.",
		variables: []variable{
			datasource,
			label("tenant", "rag_events_total"),
			label("app", `rag_events_total{tenant=~"$tenant"}`),
			label("stage", `rag_stage_duration_seconds{tenant=~"$tenant", app=~"$app"}`),
			label("model", `rag_stage_duration_seconds{tenant=~"$tenant", app=~"$app", stage=~"$stage"}`),
		},
		rows: []row{
			{title: "Now", panels: []*panel{
				number("Events", perSecond, "Events counted a second.", sum(rate(events))),
				number("Share of errors", ratio, "Events that failed, of all events.", share(sum(rate(failed)), sum(rate(events)))).warn(0.05, 0.1),
				number("Duration, 95 %", seconds, "One call in twenty takes longer than that.", quantile(0.95, sum(rate(duration)))).warn(5, 10),
				number("First token, 95 %", seconds, "One answer in twenty begins later than that.", quantile(0.95, sum(rate(first)))).warn(2, 5),
				number("Tokens", perSecond, "Tokens a second, those given to models and those they gave.", sum(rate(tokens))),
				number("Requests to models", perSecond, "Requests a second that told of tokens.", sum(rate(requests))),
			}},
			{title: "Durations", panels: []*panel{
				lines("Duration of calls", seconds, "Of all stages that are chosen. Points are calls: they lead to their traces.",
					sampled(quantile(0.5, sum(rate(duration))), "half"),
					q(quantile(0.95, sum(rate(duration))), "95 %"),
					q(quantile(0.99, sum(rate(duration))), "99 %")).size(12, 9),
				lines("Time to first token", seconds, "Of calls that told it.",
					q(quantile(0.5, sum(rate(first))), "half"),
					q(quantile(0.95, sum(rate(first))), "95 %"),
					q(quantile(0.99, sum(rate(first))), "99 %")).size(12, 9),
				heat("Calls by duration", seconds, "How many calls took how long. Points are calls: they lead to their traces.", sampled(sum(rate(duration)), "")),
				heat("Answers by time to first token", seconds, "How many answers began how late.", q(sum(rate(first)), "")),
			}},
			{title: "By tenant", panels: []*panel{eventsBy("tenant"), ratioBy("tenant"), slowest("tenant", "Of all stages that are chosen.")}},
			{title: "By app", panels: []*panel{eventsBy("app"), ratioBy("app"), slowest("app", "Of all stages that are chosen.")}},
			{title: "By stage", panels: []*panel{
				callsBy("stage"),
				lines("Errors by stage", perSecond, "Errors a second; the first of a group are not in it.", q(by("stage", rate(errors)), "{{stage}}")),
				slowest("stage", "Of all models that are chosen."),
			}},
			{title: "By model", panels: []*panel{
				callsBy("model"),
				slowest("model", "Calls without a model have an empty name."),
				lines("First token by model, 95 %", seconds, "One answer in twenty begins later than that.",
					q(top(20, quantile(0.95, by("model", rate(first)))), "{{model}}")),
				stack("Tokens by model", perSecond, "Tokens a second: input is what models are given, output what they give.",
					q(top(20, by("model, type", rate(tokens))), "{{model}} {{type}}")),
				stack("Requests by model", perSecond, "Requests a second that told of tokens.", q(top(20, by("model", rate(requests))), "{{model}}")),
				lines("Tokens of a request", counts, "Mean of the requests to a model.",
					q(top(20, share(by("model", rate(tokens)), by("model", rate(requests)))), "{{model}}")),
			}},
			{title: "By type of event", panels: []*panel{
				stack("Events by type", perSecond, "Events counted a second.", q(top(20, by("event_type", rate(events))), "{{event_type}}")).size(12, 8),
				stack("Newest minute", perSecond, "Events a second over the newest minute of event time, as the tables have it; that minute is older than now when the tables are behind.",
					q(top(20, by("event_type", s.of("rag_qps"))), "{{event_type}}")).size(12, 8),
			}},
		},
	}
}

package dashboards

func behaviour() board {
	s := scope{"tenant", "app", "event_type"}
	events := s.of("rag_behaviour_events_total")
	opinion := func(types string) string {
		return scope{"tenant", "app"}.of("rag_behaviour_events_total", `event_type=~"`+types+`"`)
	}
	likes, dislikes, both := opinion("$liked"), opinion("$disliked"), opinion("$liked|$disliked")
	// A person does several things: of each tenant and app the thing that most do counts,
	// so that nobody counts twice.
	most := func(metric string) string { return sum(maxBy("tenant, app", s.of(metric))) }
	return board{
		uid: "behaviour", title: "behaviour", span: "6h",
		about: "What people do, how many do it, and whether they like the answers.",
		variables: []variable{
			datasource,
			label("tenant", "rag_behaviour_events_total"),
			label("app", `rag_behaviour_events_total{tenant=~"$tenant"}`),
			label("event_type", `rag_behaviour_events_total{tenant=~"$tenant", app=~"$app"}`),
			text("liked", "likes are", "Which types of events say that an answer is liked, a regular expression.", "(.*_)?liked?"),
			text("disliked", "dislikes are", "Which types of events say that an answer is disliked, a regular expression.", "(.*_)?disliked?"),
		},
		rows: []row{
			{title: "Now", panels: []*panel{
				number("Active users", counts, "At least so many people in the newest five minutes: of each tenant and app, those who did what most did.", most("rag_behaviour_active_users")).size(6, 4),
				number("Active sessions", counts, "At least so many sessions in the newest five minutes, likewise.", most("rag_behaviour_active_sessions")).size(6, 4),
				number("Events", perSecond, "What people do, a second.", sum(rate(events))).size(6, 4),
				total("Liked", ratio, "Likes, of all likes and dislikes of the time that is shown.",
					share(sum(during(likes)), sum(during(both)))).size(6, 4).good(0.5),
			}},
			{title: "What people do", panels: []*panel{
				stack("Events by type", perSecond, "What people do, a second.", q(top(20, by("event_type", rate(events))), "{{event_type}}")).size(12, 9),
				stack("Events by tenant", perSecond, "What people do, a second.", q(top(20, by("tenant", rate(events))), "{{tenant}}")).size(12, 9),
				bars("Events of the time that is shown", counts, "How often people did what.", q(top(20, by("event_type", during(events))), "{{event_type}}")).size(12, 9),
				lines("Likes and dislikes", perSecond, "Events a second of the types that the variables name.",
					q(sum(rate(likes)), "likes"), q(sum(rate(dislikes)), "dislikes")).size(12, 9),
			}},
			{title: "How many people", panels: []*panel{
				lines("Active users by type", counts, "Distinct people in the newest five minutes, by what they did. Above 64 estimated, within 2.3 %.",
					q(top(20, by("event_type", s.of("rag_behaviour_active_users"))), "{{event_type}}")),
				lines("Active sessions by type", counts, "Distinct sessions in the newest five minutes, likewise.",
					q(top(20, by("event_type", s.of("rag_behaviour_active_sessions"))), "{{event_type}}")),
				lines("Active users by tenant", counts, "At least so many people in the newest five minutes: of each app, those who did what most did.",
					q(top(20, by("tenant", maxBy("tenant, app", s.of("rag_behaviour_active_users")))), "{{tenant}}")),
			}},
		},
	}
}

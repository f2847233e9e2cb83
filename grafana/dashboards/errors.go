package dashboards

// samples is where an instance lists a group with its template and sample traces.
const samples = "${api:raw}/api/tables/errors?total=true&tenant=${__data.fields.tenant}&app=${__data.fields.app}&fingerprint=${__data.fields.fingerprint}"

func errorGroups() board {
	s := scope{"tenant", "app", "stage", "error_type"}
	errors := s.of("rag_error_group_events_total")
	events, failed := s.of("rag_events_total"), s.of("rag_events_total", `status="error"`)
	const group = "tenant, app, stage, error_type, fingerprint"
	columns := []string{"tenant", "app", "stage", "error_type", "fingerprint"}
	inRange := counted(errors, events, group, "$__range")
	groups := func(title, about, value, expr string) *panel {
		return list(title, counts, about+" A fingerprint leads to the group's template and sample traces.", value, columns, expr).
			lead("fingerprint", "template and sample traces", samples)
	}
	isNew := "(" + by(group, errors) + " unless " + by(group, errors+" offset $__range") + ")" +
		" and on (tenant, app) group by (tenant, app) (" + events + " offset $__range)"
	return board{
		uid: "errors", title: "errors", span: "1h",
		about: "Groups of equal errors: which are new, which grow, which are most frequent.",
		variables: []variable{
			datasource,
			label("tenant", "rag_error_group_events_total"),
			label("app", `rag_error_group_events_total{tenant=~"$tenant"}`),
			label("stage", `rag_error_group_events_total{tenant=~"$tenant", app=~"$app"}`),
			label("error_type", `rag_error_group_events_total{tenant=~"$tenant", app=~"$app", stage=~"$stage"}`),
			api,
		},
		rows: []row{
			{title: "The time that is shown", panels: []*panel{
				total("Errors", counts, "Errors of the groups that are chosen.", sum(inRange)).size(6, 4),
				total("Groups", counts, "Groups that had errors.", "count("+inRange+" > 0)").size(6, 4),
				total("New groups", counts, "Groups that had no error before, in apps that had events.", "count("+isNew+")").size(6, 4).otherwise("none").bad(1),
				number("Share of errors", ratio, "Events that fail now, of all events of the tenants and apps that are chosen.",
					share(sum(rate(failed)), sum(rate(events)))).size(6, 4).warn(0.05, 0.1),
			}},
			{title: "Over time", panels: []*panel{
				stack("Errors by type", perSecond, "Errors a second; the first of a group are not in it.", q(top(20, by("error_type", rate(errors))), "{{error_type}}")),
				stack("Errors by stage", perSecond, "Errors a second; the first of a group are not in it.", q(by("stage", rate(errors)), "{{stage}}")),
				stack("Errors by tenant", perSecond, "Errors a second; the first of a group are not in it.", q(top(20, by("tenant", rate(errors))), "{{tenant}}")),
			}},
			{title: "Groups", panels: []*panel{
				groups("New groups", "They had no error before the time that is shown, though the app had events.", "errors", top(50, isNew)).otherwise("none is new"),
				groups("Growing groups", "How many more errors in the newest five minutes than in the five before.", "more errors",
					top(50, counted(errors, events, group, "5m")+" - ("+by(group, "increase("+errors+"[5m] offset 5m)")+" or "+by(group, errors)+" * 0) > 0")).otherwise("none grows"),
				groups("Most frequent groups", "Errors in the time that is shown.", "errors", top(50, inRange+" > 0")),
				lines("Most frequent groups over time", perSecond, "Errors a second of the ten groups that have most at each moment.",
					q(top(10, by("error_type, stage, fingerprint", rate(errors))), "{{error_type}} in {{stage}} ({{fingerprint}})")).size(24, 9),
			}},
		},
	}
}

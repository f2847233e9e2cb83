package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/generate"
	"ragstreams/verify"
)

// program answers as one would that has counted everything right, but for what distort
// changes.
type program struct {
	t       *testing.T
	truth   *generate.Truth
	distort func(table string, query url.Values, rows []row) []row
}

// row is one of an answer.
type row map[string]any

func (r row) number(column string) float64 {
	n, _ := r[column].(float64)
	return n
}

// serve starts the program.
func serve(t *testing.T, truth *generate.Truth, distort func(table string, query url.Values, rows []row) []row) verify.Client {
	server := httptest.NewServer(&program{t, truth, distort})
	t.Cleanup(server.Close)
	return verify.Client{URL: server.URL}
}

func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	table, query := strings.TrimPrefix(r.URL.Path, "/api/tables/"), r.URL.Query()
	var rows []row
	switch {
	case table == "records":
		rows = p.records()
	case query.Get("total") == "true":
		rows = rowsOf(table, query.Get("by"), p.truth.Total())
	case query.Has("step"):
		for _, start := range p.truth.Starts() {
			for _, r := range rowsOf(table, query.Get("by"), p.truth.Windows[start]) {
				r["window_start"] = time.UnixMilli(start).UTC().Format(time.RFC3339Nano)
				rows = append(rows, r)
			}
		}
	default:
		rows = rowsOf(table, query.Get("by"), p.truth.Between(p.time(query, "from"), p.time(query, "to")))
	}
	if p.distort != nil {
		rows = p.distort(table, query, rows)
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"table": table, "rows": rows}); err != nil {
		p.t.Error(err)
	}
}

// time is a parameter in seconds, in Unix milliseconds.
func (p *program) time(query url.Values, name string) int64 {
	s, err := strconv.ParseFloat(query.Get(name), 64)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
	}
	return int64(s * 1000)
}

func (p *program) records() (rows []row) {
	in := map[string]int64{}
	for k, n := range p.truth.Records {
		in[k.Topic] += n
		rows = append(rows, row{"topic": k.Topic, "outcome": k.Outcome, "reason": k.Reason, "count": float64(n)})
	}
	for topic, n := range in {
		rows = append(rows, row{"topic": topic, "outcome": "in", "reason": "", "count": float64(n)})
	}
	return rows
}

func rowsOf(table, by string, m *generate.Measures) (rows []row) {
	switch table {
	case "traffic":
		for k, v := range m.Traffic {
			rows = append(rows, row{"tenant": k.Tenant, "app": k.App, "event_type": k.EventType, "count": float64(v.Count), "errors": float64(v.Errors)})
		}
	case "usage":
		for k, v := range m.Usage {
			rows = append(rows, row{
				"tenant": k.Tenant, "app": k.App, "model": k.Model,
				"requests": float64(v.Requests), "input_tokens": float64(v.InputTokens), "output_tokens": float64(v.OutputTokens),
			})
		}
	case "latency":
		for k, v := range m.Latency {
			q := v.Quantiles(0.5, 0.9, 0.95, 0.99)
			rows = append(rows, row{
				"tenant": k.Tenant, "app": k.App, "stage": k.Stage, "model": k.Model,
				"count": float64(v.Count), "sum_seconds": v.Sum.Seconds(), "max_seconds": v.Max.Seconds(),
				"p50_seconds": q[0].Seconds(), "p90_seconds": q[1].Seconds(), "p95_seconds": q[2].Seconds(), "p99_seconds": q[3].Seconds(),
			})
		}
	case "errors":
		for k, v := range m.Errors {
			rows = append(rows, row{
				"tenant": k.Tenant, "app": k.App, "stage": k.Stage, "error_type": k.ErrorType, "count": float64(v.Count),
				"last_seen": time.UnixMilli(v.Last).UTC().Format(time.RFC3339Nano), "sessions": float64(generate.Distinct(v.Sessions)),
			})
		}
	case "behaviour":
		rows = behaviour(by, m)
	}
	return rows
}

// behaviour counts people by tenant, also where their tenants are summed up.
func behaviour(by string, m *generate.Measures) (rows []row) {
	byType := map[string]row{}
	for k, v := range m.Behaviour {
		r := row{
			"tenant": k.Tenant, "app": k.App, "event_type": k.EventType, "count": float64(v.Count),
			"users": float64(generate.Distinct(v.Users)), "sessions": float64(generate.Distinct(v.Sessions)),
		}
		if by == "" {
			rows = append(rows, r)
			continue
		}
		sum := byType[k.EventType]
		if sum == nil {
			sum = row{"event_type": k.EventType, "count": 0.0, "users": 0.0, "sessions": 0.0}
			byType[k.EventType] = sum
			rows = append(rows, sum)
		}
		for _, column := range []string{"count", "users", "sessions"} {
			sum[column] = sum.number(column) + r.number(column)
		}
	}
	return rows
}

// traffic is some of everything.
func traffic() *generate.Truth {
	g := generate.New(generate.Config{
		Seed: 7, Tenants: 3, Models: 2, Apps: 1, ErrorRate: 0.1, Duplicates: 0.02, Late: 0.02, Poison: 0.02, Step: 20 * time.Millisecond,
	})
	for range 3000 {
		g.Next()
	}
	return g.Truth()
}

func TestWhatIsRightDoesNotDiffer(t *testing.T) {
	truth := traffic()
	c := serve(t, truth, nil)
	if err := c.Await(t.Context(), truth); err != nil {
		t.Error(err)
	}
	all, err := c.Compare(t.Context(), truth)
	if err != nil || len(all) > 0 {
		t.Errorf("%v, %q", err, all)
	}
	starts := truth.Starts()
	from, to := starts[1], starts[len(starts)-1]
	some, err := c.CompareRange(t.Context(), truth, from, to)
	if err != nil || len(some) > 0 {
		t.Errorf("%v, %q", err, some)
	}
}

// Every number that is wrong in one row is a difference, in the total and in a window.
func TestWhatIsWrongDiffers(t *testing.T) {
	truth := traffic()
	for table, columns := range map[string][]string{
		"records": {"count"}, "traffic": {"count", "errors"}, "usage": {"requests", "input_tokens", "output_tokens"},
		"latency": {"count", "sum_seconds", "max_seconds", "p50_seconds", "p90_seconds", "p95_seconds", "p99_seconds"},
		"errors":  {"count", "sessions"}, "behaviour": {"count", "users", "sessions"},
	} {
		for _, column := range columns {
			for _, param := range []string{"total", "step", "by"} {
				if table == "records" && param != "total" || param == "by" && table != "behaviour" {
					continue
				}
				t.Run(table+" "+column+" "+param, func(t *testing.T) {
					c := serve(t, truth, func(of string, query url.Values, rows []row) []row {
						if of == table && query.Has(param) {
							r := slices.MaxFunc(rows, func(a, b row) int { return int(a.number("count") - b.number("count")) })
							if strings.HasPrefix(column, "p") { // a quantile may be off by 5 %
								r[column] = r.number(column) * 1.06
							} else {
								r[column] = r.number(column)*1.2 + 2
							}
						}
						return rows
					})
					d, err := c.Compare(t.Context(), truth)
					if err != nil || len(d) == 0 || slices.ContainsFunc(d, func(line string) bool { return !strings.Contains(line, table) }) {
						t.Errorf("%v, %q, want only differences of %s", err, d, table)
					}
				})
			}
		}
		for name, distort := range map[string]func(rows []row) []row{
			"a row is missing": func(rows []row) []row { return rows[1:] },
			"a row too many": func(rows []row) []row {
				return append(rows, row{"tenant": "nobody", "topic": "nowhere", "outcome": "counted", "count": 1.0})
			},
		} {
			t.Run(table+" "+name, func(t *testing.T) {
				c := serve(t, truth, func(of string, query url.Values, rows []row) []row {
					if of == table && query.Has("total") && !query.Has("by") {
						return distort(rows)
					}
					return rows
				})
				if d, err := c.CompareTotals(t.Context(), truth); err != nil || len(d) == 0 {
					t.Errorf("%v, %q, want a difference", err, d)
				}
			})
		}
	}
}

// One user of a name in each of two tenants is two users where tenants are summed up.
func TestPeopleOfTwoTenantsAreTwo(t *testing.T) {
	truth := actedBy(map[string][]string{"acme": {"u", "v"}, "globex": {"u"}})
	for users, right := range map[float64]bool{2: false, 3: true, 4: false} {
		c := serve(t, truth, func(_ string, query url.Values, rows []row) []row {
			if query.Has("by") {
				rows[0]["users"] = users
			}
			return rows
		})
		if d, err := c.CompareTotals(t.Context(), truth); err != nil || (len(d) == 0) != right {
			t.Errorf("%g users: %v, %q, want that it is right: %v", users, err, d, right)
		}
	}
}

// Of up to 64 people none may be missed or made up; of more, about one in nine.
func TestDistinct(t *testing.T) {
	for _, tt := range []struct {
		people int
		answer float64
		right  bool
	}{
		{1, 1, true}, {1, 0, false}, {1, 2, false},
		{64, 64, true}, {64, 63, false}, {64, 65, false},
		{65, 64, true}, {65, 66, true}, {65, 50, false},
		{1000, 900, true}, {1000, 1100, true}, {1000, 880, false}, {1000, 1120, false},
	} {
		for _, column := range []string{"users", "sessions"} {
			names := make([]string, 0, 2*tt.people)
			for i := range tt.people {
				names = append(names, fmt.Sprint(i), fmt.Sprint(i)) // each acts twice
			}
			truth := actedBy(map[string][]string{"acme": names})
			c := serve(t, truth, func(_ string, query url.Values, rows []row) []row {
				if len(rows) > 0 {
					rows[0][column] = tt.answer
				}
				return rows
			})
			if d, err := c.CompareTotals(t.Context(), truth); err != nil || (len(d) == 0) != tt.right {
				t.Errorf("%g %s of %d: %v, %q, want that it is right: %v", tt.answer, column, tt.people, err, d, tt.right)
			}
		}
	}
}

// actedBy is what some people did, by tenant: each name, once in a session of that name.
func actedBy(people map[string][]string) *generate.Truth {
	truth := generate.NewTruth(10 * time.Second)
	m := &generate.Measures{Behaviour: generate.Table[generate.TrafficKey, *generate.Behaviour]{}}
	for tenant, names := range people {
		m.Behaviour[generate.TrafficKey{Tenant: tenant, EventType: "answer_liked"}] = &generate.Behaviour{Count: int64(len(names)), Users: names, Sessions: names}
	}
	truth.Windows[0] = m
	return truth
}

// Where only totals were kept nobody knows who the people were, nor single latencies.
func TestTotalsOnly(t *testing.T) {
	g := generate.New(generate.Config{Seed: 7, TotalsOnly: true})
	for range 1000 {
		g.Next()
	}
	c := serve(t, g.Truth(), nil)
	if d, err := c.Compare(t.Context(), g.Truth()); err != nil || len(d) > 0 {
		t.Errorf("%v, %q", err, d)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	truth := traffic()
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, truth, func(table string, _ url.Values, rows []row) []row {
		if table == "errors" { // the last that it asks for
			cancel()
			return nil
		}
		return rows
	})
	if err := c.Await(ctx, truth); err == nil || !strings.Contains(err.Error(), "not everything arrived in time") {
		t.Errorf("error %v, want one that tells that something is missing", err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct {
		status       int
		answer, want string
	}{
		"an error":         {503, `{"error":"views are behind","hint":"wait"}`, "503 Service Unavailable: views are behind (wait)"},
		"an error of else": {502, `bad gateway`, "502 Bad Gateway"},
		"one that was cut": {200, `{"truncated":true}`, "the answer was cut"},
		"not JSON":         {200, `<html>`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.answer)
			}))
			defer server.Close()
			_, err := verify.Client{URL: server.URL}.Table(t.Context(), "traffic", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "/api/tables/traffic?") {
				t.Errorf("error %v, want one of the address and %q", err, tt.want)
			}
		})
	}
}

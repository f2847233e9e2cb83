package rules

import (
	"fmt"
	"testing"
	"time"
)

func parsed(t *testing.T, content string) *Set {
	t.Helper()
	set, err := Parse(map[string][]byte{"r.yaml": []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAlertsOfASet(t *testing.T) {
	for expr, below := range map[string]bool{
		"x > 1": false, "x < 1": true, "(x <= 1)": true, "1 > x": true, "1 < x": false, "x == 1": false, "absent(x)": false,
		"x < 1 and y > 2": true, "x > 1 unless y < 2": false, "x < 1 or y < 1": false, "1 - (x < 1)": false, "x >= 1": false, "1 >= x": true,
		"5 < x < 10": false, "10 > (x > 5)": false, "x <bool 5": false, "(x < 5) + 1": false,
	} {
		all := parsed(t, "groups: [{name: g, rules: [{record: r, expr: z}, {alert: A, expr: '"+expr+"'}]}]").Alerts()
		if len(all) != 1 || all[0].Group != "g" || all[0].Name != "A" || all[0].Expr != expr || all[0].Below != below {
			t.Errorf("%s: %+v", expr, all)
		}
	}
}

// Who asks for a total asks for what was counted since it began, whenever that was.
func TestTotalsOfAlerts(t *testing.T) {
	for expr, want := range map[string]string{
		"sum(x_total) > 1": "[x_total]", "rate(x_total[5m]) > 1": "[]", "x > 1": "[]", "y_count + sum(x_total) > 1": "[x_total y_count]",
		"increase(x_total[5m]) > 1 and sum(x_total) > 100": "[x_total]", "max_over_time(sum(x_total)[5m:]) > 1": "[]",
		"x_total - x_total offset 5m > 1": "[]", "x_total unless x_total offset 1h": "[]", "all > 1": "[z_total]", "rate(all[5m]) > 1": "[]", "{job=\"a_total\"} > 1": "[]",
	} {
		all := parsed(t, "groups: [{name: g, rules: [{record: sums, expr: sum(z_total)}, {record: all, expr: sums + all}, {alert: A, expr: '"+expr+"'}]}]").Alerts()
		if got := fmt.Sprint(all[0].Totals); got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

// Tables must be there for as long as an expression looks back, and evaluations for as
// long as an alert is pending, and rules record what others look back for.
func TestWarmUp(t *testing.T) {
	const back = lookback
	for _, tt := range []struct {
		rules               string
		tables, evaluations time.Duration
	}{
		{"{alert: A, expr: x > 1}", back, 0},
		{"{alert: A, expr: 'rate(x[1h] offset 5m) > 1', for: 2m, keep_firing_for: 3m}", 65*time.Minute + back, 5 * time.Minute},
		{"{record: a, expr: 'rate(x[1h])'}, {alert: A, expr: 'a > 1', for: 2m}", time.Hour + back, 2*time.Minute + back},
		{"{record: a, expr: 'rate(x[1h])'}, {record: b, expr: 'avg_over_time(a[2h])'}, {alert: A, expr: 'max_over_time(b[10m]) > 1'}",
			2*time.Hour + back, 130*time.Minute + 2*back},
		{"{record: a, expr: 'a offset 1m or x'}, {alert: A, expr: 'a > 1'}", time.Minute + back, time.Minute + 2*back},
	} {
		ofTables, ofEvaluations := parsed(t, "groups: [{name: g, rules: ["+tt.rules+"]}]").WarmUp()
		if ofTables != tt.tables || ofEvaluations != tt.evaluations {
			t.Errorf("%s: %s and %s, want %s and %s", tt.rules, ofTables, ofEvaluations, tt.tables, tt.evaluations)
		}
	}
}

package alerts_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"ragstreams/alerts"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Every message is as its schema says, and the schema says no more than that.
func TestMessagesFollowTheirSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("message.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(body []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	a := alerts.Alert{}
	rule := alerts.Rule{For: 1}
	for i, e := range []alerts.Evaluation{
		{At: 1000, Rule: rule, Outcome: alerts.Breached, Value: 1}, {At: 2000, Rule: rule, Outcome: alerts.Breached, Value: math.Inf(1)},
		{At: 3000, Rule: alerts.Rule{Version: 1}, Outcome: alerts.Breached, Value: -0.5}, {At: 4000, Outcome: alerts.Withdrawn, Value: math.NaN()},
		{At: 5000, Rule: alerts.Rule{NoData: alerts.NoDataFiring}, Outcome: alerts.NoData, Value: math.NaN()},
		{At: 6000, Rule: alerts.Rule{NoData: alerts.NoDataFiring}, Outcome: alerts.Breached, Repeat: 1}, {At: 7000, Outcome: alerts.Cleared},
	} {
		for _, tr := range a.Step(e) {
			for _, about := range []alerts.About{about(), {}} {
				if about.Labels == nil {
					about.Labels = map[string]string{}
				}
				m := alerts.NewMessage("k", tr, about)
				if err := check(m.Append(nil)); err != nil {
					t.Errorf("evaluation %d: %s: %v", i, m.Append(nil), err)
				}
			}
		}
	}
	body := string(messageBody())
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`}, {`"state":"firing"`, `"state":"on"`}, {`"reason":"breached"`, `"reason":"because"`},
		{`"ended_at":null,`, ``}, {`"value":2`, `"value":"2"`}, {`"started_at":"1970`, `"started_at":"x1970`}, {`"version":1,`, `"version":1,"more":1,`},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if changed == body {
			t.Fatalf("%s is not in %s", change[0], body)
		}
		if check([]byte(changed)) == nil {
			t.Errorf("the schema takes %s", change[1])
		}
	}
}

func messageBody() []byte {
	m := alerts.NewMessage("k", alerts.Transition{Fires: true, Reason: alerts.ReasonBreached, At: 2, Started: 1, Fired: 2, Value: 2}, about())
	return m.Append(nil)
}

package alerts_test

import (
	"encoding/json"
	"testing"

	"ragstreams/alerts"

	"github.com/google/go-cmp/cmp"
)

func TestFormats(t *testing.T) {
	fired := alerts.NewMessage("k", alerts.Transition{Fires: true, Reason: alerts.ReasonBreached, At: 2000, Started: 1000, Fired: 2000, Value: 2},
		alerts.About{Group: "g", Name: "A", Labels: map[string]string{"alertname": "A", "app": "chat"}, Annotations: map[string]string{"summary": "s"}})
	resolved := alerts.NewMessage("k", alerts.Transition{Reason: alerts.ReasonCleared, At: 9000, Started: 1000, Fired: 2000},
		alerts.About{Group: "g", Name: "A", Labels: map[string]string{"alertname": "A", "app": "chat", "stage": "generate"}})
	own := fired.Append(nil)
	for _, c := range []struct {
		format            alerts.Format
		m                 alerts.Message
		body, content, is string
	}{
		{alerts.FormatOwn, fired, string(own), "application/json", "ragstreams.alert.v1"},
		{"", fired, string(own), "application/json", "ragstreams.alert.v1"},
		{
			alerts.FormatCloudEvents, fired, `{"specversion":"1.0","id":"` + fired.ID + `","source":"/ragstreams/alerts","type":"io.ragstreams.alert.firing.v1",
				"subject":"chat","time":"1970-01-01T00:00:02Z","datacontenttype":"application/json","data":` + string(own) + `}`,
			"application/cloudevents+json", "io.ragstreams.alert.firing.v1",
		},
		{
			alerts.FormatAlertmanager, fired, `{"version":"4","groupKey":"k","truncatedAlerts":0,"status":"firing","receiver":"error_event","groupLabels":{"alertname":"A"},
				"commonLabels":{"alertname":"A","app":"chat"},"commonAnnotations":{"summary":"s"},"externalURL":"","alerts":[{"status":"firing",
				"labels":{"alertname":"A","app":"chat"},"annotations":{"summary":"s"},"startsAt":"1970-01-01T00:00:02Z","endsAt":"0001-01-01T00:00:00Z",
				"generatorURL":"","fingerprint":"` + alerts.Fingerprint("k") + `"}]}`,
			"application/json", "alertmanager.webhook.v4",
		},
		{
			alerts.FormatAlertmanager, resolved, `{"version":"4","groupKey":"k","truncatedAlerts":0,"status":"resolved","receiver":"error_event","groupLabels":{"alertname":"A"},
				"commonLabels":{"alertname":"A","app":"chat","stage":"generate"},"commonAnnotations":{},"externalURL":"","alerts":[{"status":"resolved",
				"labels":{"alertname":"A","app":"chat","stage":"generate"},"annotations":{},"startsAt":"1970-01-01T00:00:02Z","endsAt":"1970-01-01T00:00:09Z",
				"generatorURL":"","fingerprint":"` + alerts.Fingerprint("k") + `"}]}`,
			"application/json", "alertmanager.webhook.v4",
		},
	} {
		body, content, is := c.format.Body(&c.m, c.m.Append(nil))
		var got, want any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if err := json.Unmarshal([]byte(c.body), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || content != c.content || is != c.is {
			t.Errorf("%s: %s, %s (-want +got):\n%s", c.format, content, is, diff)
		}
	}
}

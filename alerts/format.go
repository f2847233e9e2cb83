package alerts

import (
	"fmt"
	"strings"
	"time"
)

// Format is how the body of a published message is written.
type Format string

// Formats.
const (
	FormatOwn          Format = "ragstreams"   // message.schema.json
	FormatCloudEvents  Format = "cloudevents"  // CloudEvents 1.0, structured, with that as data
	FormatAlertmanager Format = "alertmanager" // what Alertmanager sends to webhooks, version 4
)

// Formats are all of them.
var Formats = []Format{FormatOwn, FormatCloudEvents, FormatAlertmanager}

// Body returns the body of a message, what kind of content it is and, as AMQP's type,
// what it says. own is the message as Append writes it.
func (f Format) Body(m *Message, own []byte) (body []byte, contentType, kind string) {
	switch f {
	case FormatCloudEvents:
		kind = "io.ragstreams.alert." + m.State + ".v1"
		return mustAppend(nil, cloudEvent{
			"1.0", m.ID, "/ragstreams/alerts", kind, m.subject(), m.Decided, "application/json", rawJSON(own),
		}), "application/cloudevents+json", kind
	case FormatAlertmanager:
		return mustAppend(nil, m.webhook()), "application/json", "alertmanager.webhook.v4"
	case FormatOwn, "":
		return own, "application/json", "ragstreams.alert.v1"
	}
	panic(fmt.Sprintf("BUG: format %q", f))
}

// cloudEvent is an event of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        rawJSON   `json:"data"`
}

type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// subject is what the message is about: app/stage, as far as it is known.
func (m *Message) subject() string {
	return strings.Trim(m.Labels["app"]+"/"+m.Labels["stage"], "/")
}

// webhook is what Alertmanager sends to webhooks: a group, here of one alert.
type webhook struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	Truncated         int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []webhookAlert    `json:"alerts"`
}

type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // the zero time while it fires
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

func (m *Message) webhook() webhook {
	alert := webhookAlert{Status: m.State, Labels: m.Labels, Annotations: m.Annotations, StartsAt: m.Fired, Fingerprint: Fingerprint(m.Key)}
	if m.Ended != nil {
		alert.EndsAt = *m.Ended
	}
	return webhook{
		Version: "4", GroupKey: m.Key, Status: m.State, Receiver: "error_event",
		GroupLabels: map[string]string{"alertname": m.Rule}, CommonLabels: m.Labels, CommonAnnotations: m.Annotations,
		Alerts: []webhookAlert{alert},
	}
}

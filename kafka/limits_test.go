package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// What a topic must keep is not deleted for its size, and what is sent is
// accepted, whether the topic or the broker says otherwise.
func TestTopicsThatAreTooSmall(t *testing.T) {
	for _, tt := range []struct {
		name    string
		topic   Topic
		setting string
		value   string // of the topic
		says    []string
	}{
		{"records for ever", Topic{Forever: true}, "retention.bytes", "1000", []string{"retention.bytes 1000", "want -1", "retention.bytes=-1"}},
		{"records for a time", Topic{Retention: time.Hour}, "retention.bytes", "1000", []string{"retention.bytes 1000", "want -1", "retention.bytes=-1"}},
		{"nothing kept", Topic{Forever: true}, "retention.bytes", "0", []string{"retention.bytes 0"}},
		{"any size", Topic{Forever: true}, "retention.bytes", "-1", nil},
		{"rows, which are not deleted", Topic{Compact: true}, "retention.bytes", "1000", nil},
		{"a source, which is another's", Topic{}, "retention.bytes", "1000", nil},
		{"small rows", Topic{Compact: true}, "max.message.bytes", "1048575", []string{"max.message.bytes 1048575", "at least 1048576", "max.message.bytes=1048576"}},
		{"small records", Topic{Retention: time.Hour}, "max.message.bytes", "500000", []string{"max.message.bytes 500000"}},
		{"a mebibyte", Topic{Forever: true}, "max.message.bytes", "1048576", nil},
		{"small records of a source", Topic{}, "max.message.bytes", "1000", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := embedded(t)
			topic := tt.topic
			topic.Name, _, _ = names(t)
			topic.Partitions, topic.Create, topic.Config = 1, true, map[string]string{tt.setting: tt.value}
			_, err := EnsureTopics(t.Context(), c, 1, []Topic{topic})
			wantFault(t, err, topic.Name, tt.says)
		})
	}
}

// wantFault checks that err says all that is wanted of a topic, or that there is
// none when nothing is.
func wantFault(t *testing.T, err error, topic string, says []string) {
	t.Helper()
	if len(says) == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil {
		t.Fatalf("no fault, want one that says %q", says)
	}
	for _, part := range append(says, topic, "kafka-configs.sh") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("fault %q does not say %q", err, part)
		}
	}
}

// A cluster that keeps a kilobyte of every partition deletes nothing of ours.
func TestRetentionOfTheCluster(t *testing.T) {
	e, err := StartEmbedded(EmbeddedOptions{Settings: map[string]string{"log.retention.bytes": "1000", "log.segment.bytes": "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	c := Config{ClientID: "test", Brokers: e.Brokers()}
	base, _, _ := names(t)
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, topic := range []Topic{{Name: base + "others"}, {Name: base + "ever", Forever: true}, {Name: base + "while", Retention: time.Hour}} {
		topic.Create = true
		if _, err := EnsureTopics(t.Context(), c, 1, []Topic{topic}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			produce(t, c, topic.Name, 10, 10)
		}
		e.cluster.ApplyRetention()
		starts, err := adm.ListStartOffsets(t.Context(), topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := starts.Lookup(topic.Name, 0)
		if ours := topic.Forever || topic.Retention > 0; ours != (first.Offset == 0) {
			t.Errorf("%s begins at %d", topic.Name, first.Offset)
		}
	}
}

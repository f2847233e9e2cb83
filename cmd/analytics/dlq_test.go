package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ragstreams/deadletters"
	"ragstreams/deadletters/api"
	"ragstreams/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
)

// letterStand is a deployment that is down: a source topic, and what lies on its side
// topics.
type letterStand struct {
	t      *testing.T
	config kafka.Config
	client *kgo.Client
}

func newLetterStand(t *testing.T) *letterStand {
	t.Helper()
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := &letterStand{t: t, config: kafka.Config{Brokers: e.Brokers()}}
	var topics []kafka.Topic
	for _, name := range []string{"rag-traces", "analytics-dlq", "analytics-late", "analytics-events"} {
		topics = append(topics, kafka.Topic{Name: name, Partitions: 2, Create: true, Forever: true})
	}
	if _, err := kafka.EnsureTopics(t.Context(), s.config, 1, topics); err != nil {
		t.Fatal(err)
	}
	if s.client, err = s.config.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// letter writes a record to partition 0 of a side topic: of the source record at an offset,
// with more headers, name by name.
func (s *letterStand) letter(topic string, offset int64, value string, more ...string) {
	s.t.Helper()
	headers := []string{"producer", "x\ty", "source_topic", "rag-traces", "source_partition", "1", "source_offset", fmt.Sprint(offset), "source_timestamp_ms", "1700000000000"}
	headers = append(headers, more...)
	r := &kgo.Record{Topic: topic, Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	if err := s.client.ProduceSync(s.t.Context(), r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// run runs the command as ana, on Kafka only.
func (s *letterStand) run(args ...string) (string, error) {
	var out bytes.Buffer
	env := environment{&out, &out, []string{"ANALYTICS_KAFKA_BROKERS=" + s.config.Brokers[0], "ANALYTICS_SOURCES=rag-traces", "ANALYTICS_KAFKA_PARTITIONS=2", "USER=ana"}}
	err := run(s.t.Context(), env, append([]string{"dlq"}, args...))
	return out.String(), err
}

// must runs a command that must succeed and tell all of something.
func (s *letterStand) must(wants []string, args ...string) string {
	s.t.Helper()
	out, err := s.run(args...)
	if err != nil {
		s.t.Errorf("%v: %v\n%s", args, err, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			s.t.Errorf("%v: no %q in\n%s", args, want, out)
		}
	}
	return out
}

// sent returns what came to the source topic.
func (s *letterStand) sent() (all []kafka.Message) {
	s.t.Helper()
	end, err := kafka.EndOffset(s.t.Context(), s.config, "rag-traces", 1)
	if err == nil {
		err = kafka.Read(s.t.Context(), s.config, "rag-traces", 1, 0, end, func(m kafka.Message) error {
			all = append(all, m)
			return nil
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func TestDLQ(t *testing.T) {
	s := newLetterStand(t)
	good := fmt.Sprintf(`{"event_type":"x","event_id":"a","timestamp":%q}`, time.Now().UTC().Format(time.RFC3339))
	s.letter("analytics-dlq", 10, good, "reason", "too_large", "detail", "record has 9 bytes")
	s.letter("analytics-dlq", 11, "\xffbroken", "reason", "syntax", "detail", "want \x1b[31mJSON")
	s.letter("analytics-dlq", 12, good[:9], "reason", "too_large", "cut_from_bytes", "900000")
	s.letter("analytics-late", 13, `{"event_type":"x"}`, "reason", "stream_time", "event_time_ms", "1700000000000", "lateness_ms", "61000")

	out := s.must([]string{"rag-traces/1@10", "rag-traces/1@12", "900000", `producer="x\ty"`, `"want \x1b[31mJSON"`, "3 of analytics-dlq, newest first."}, "list")
	if strings.Contains(out, "event_type") || strings.Contains(out, "\x1b") || strings.Contains(out, "--cursor") {
		t.Errorf("list:\n%q", out)
	}
	s.must([]string{"rag-traces/1@12", "--cursor 0:0-1"}, "list", "--limit", "1", "--reason", "too_large")
	s.must([]string{"1 of analytics-dlq", "rag-traces/1@10"}, "list", "--cursor", "0:0-1", "--reason", "too_large", "--source", "rag-traces", "--since", "1h")
	s.must([]string{"0 of analytics-dlq"}, "list", "--until", "1h")
	s.must([]string{"late by 1m1s", "2023-11-14T22:13:20.000Z"}, "list", "--late")
	var list api.List
	if err := json.Unmarshal([]byte(s.must(nil, "list", "--format", "json")), &list); err != nil || len(list.Rows) != 3 || list.Rows[0].SourceOffset != 12 {
		t.Errorf("%v, %+v", err, list)
	}

	var shown api.Shown
	if err := json.Unmarshal([]byte(s.must(nil, "show", "0", "1")), &shown); err != nil || shown.ValueEncoding != "base64" || shown.Verdict != deadletters.StillPoison {
		t.Errorf("%v, %+v", err, shown)
	}
	if out := s.must(nil, "show", "--raw", "0", "1"); out != "\xffbroken" {
		t.Errorf("raw: %q", out)
	}
	s.must([]string{`"original_gone": "rag-traces/1 ends at offset 0`, `"value": "{\"event_t"`, `"value_bytes": 900000`}, "show", "0", "2")

	all := []string{
		"analytics-dlq/0@0: would go to rag-traces/1\n", "analytics-dlq/0@1: still_poison: ", "analytics-dlq/0@2: original_gone: ",
		"3 of analytics-dlq matched, 1 would be sent (rag-traces 1), 1 skipped (still_poison 1), 1 failed (original_gone 1)",
	}
	out, err := s.run("replay", "--dry-run")
	for _, want := range all {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "1 records could not be sent") || len(s.sent()) != 0 {
		t.Errorf("dry run: %v, %d records", err, len(s.sent()))
	}
	// A container has no $USER, and a dry run needs none.
	s.must([]string{"would go to rag-traces/1"}, "replay", "--dry-run", "--limit", "1", "--by", "")
	s.must([]string{"1 of analytics-dlq matched, 1 sent (rag-traces 1), 0 skipped, 0 failed\n", "not looked at yet: --replay R1 --cursor 0:1-3"}, "replay", "--limit", "1", "--replay", "R1")
	mended := filepath.Join(t.TempDir(), "value.json")
	if err := os.WriteFile(mended, []byte(`{"event_type":"mended"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must([]string{"1 sent", "1 of those sent have no event_id"}, "replay", "--partition", "0", "--offset", "1", "--value-file", mended, "--by", "ben")
	s.must([]string{"goes to rag-traces/1 though it will come back: ", "1 sent"}, "replay", "--reason", "syntax", "--force")
	var result api.Result
	if err := json.Unmarshal([]byte(s.must(nil, "replay", "--late", "--format", "json")), &result); err != nil || result.Sent != 1 || result.Rows[0].SourceOffset != 13 {
		t.Errorf("%v, %+v", err, result)
	}
	want := []struct {
		value, by, reason string
		mended            bool
	}{{good, "ana", "too_large", false}, {`{"event_type":"mended"}`, "ben", "syntax", true}, {"\xffbroken", "ana", "syntax", false}, {`{"event_type":"x"}`, "ana", "stream_time", false}}
	sent := s.sent()
	if len(sent) != len(want) {
		t.Fatalf("%d records were sent, want %d", len(sent), len(want))
	}
	for i, m := range sent {
		theirs, mark := deadletters.CutMark(m.Headers)
		if w := want[i]; string(m.Value) != w.value || mark.By != w.by || mark.Reason != w.reason || mark.Mended != w.mended || len(theirs) != 1 || m.Timestamp != 1_700_000_000_000 {
			t.Errorf("sent %s at %d, %+v, want %+v", m.Value, m.Timestamp, mark, w)
		}
	}
	if _, mark := deadletters.CutMark(sent[0].Headers); mark.Replay != "R1" || mark.Of.String() != "analytics-dlq/0@0" || time.Since(mark.At) > time.Minute {
		t.Errorf("%+v", mark)
	}
}

func TestDLQRefuses(t *testing.T) {
	s := newLetterStand(t)
	s.letter("analytics-dlq", 10, "{", "reason", "syntax", "cut_from_bytes", "9")
	for want, args := range map[string][]string{
		"want list, show or replay":         {"drop"},
		"takes no arguments":                {"list", "x"},
		"--format is \"xml\"":               {"list", "--format", "xml"},
		"--limit is 0":                      {"list", "--limit", "0"},
		"--since is \"noon\"":               {"list", "--since", "noon"},
		"is not after --since":              {"list", "--since", "1h", "--until", "2h"},
		"cursor is \"x\"":                   {"list", "--cursor", "x"},
		"cursor names partition 7":          {"list", "--cursor", "7:0-1"},
		"want a partition and an offset":    {"show", "0"},
		"want two numbers":                  {"show", "0", "x"},
		"no dead letter is there":           {"show", "0", "9"},
		"without --raw, what is left":       {"show", "0", "0", "--raw"},
		"go together":                       {"replay", "--partition", "0"},
		"@9: no dead letter is there":       {"replay", "--partition", "0", "--offset", "9"},
		"a value mends one record":          {"replay", "--value-file", os.DevNull},
		"read the value to send":            {"replay", "--partition", "0", "--offset", "0", "--value-file", "/nowhere/x"},
		"give your name with --by":          {"replay", "--by", ""},
		"--format is \"csv\"":               {"replay", "--format", "csv"},
		"1 records could not be sent":       {"replay"},
		"configuration:":                    {"list", "--config", "/nowhere/x"},
		"no such file or directory":         {"list", "--config", "/nowhere/x"},
		"flag provided but not defined: -x": {"list", "-x"},
	} {
		if out, err := s.run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q\n%s", args, err, want, out)
		}
	}
	if n := len(s.sent()); n != 0 {
		t.Errorf("%d records were sent", n)
	}
	var out bytes.Buffer
	env := environment{&out, &out, []string{"ANALYTICS_KAFKA_BROKERS=" + s.config.Brokers[0], "ANALYTICS_KAFKA_PREFIX=other-"}}
	if err := run(t.Context(), env, []string{"dlq", "list"}); err == nil || !strings.Contains(err.Error(), "topic other-dlq does not exist: set kafka.prefix") {
		t.Errorf("of no deployment: %v", err)
	}
}

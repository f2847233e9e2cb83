package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Topic says what a topic must be like.
type Topic struct {
	Name       string
	Partitions int32 // 0: any number
	// MakeWith is how many partitions the topic is made with when any number will
	// do. Default 1.
	MakeWith int32
	Compact  bool // cleanup.policy must be compact
	// Retention is how long records must be kept at least; 0 with Compact or
	// Forever says nothing of time.
	Retention time.Duration
	// Forever: records are never deleted by age; the owner purges them. Neither
	// these nor those with a Retention are ever deleted for their size.
	Forever bool
	// Create makes the topic when it is missing; else a missing topic is an
	// error, or with Optional only reported.
	Create   bool
	Optional bool
	// Public topics are read by other programs: they are kept with gzip, which
	// every client can read.
	Public bool
	// Config are further settings for a topic that is created.
	Config map[string]string
}

// EnsureTopics creates what is missing and may be created, and checks the rest.
// It returns the partition count of every topic that exists. All faults are
// reported together, each with what to do.
func EnsureTopics(ctx context.Context, c Config, replication int, topics []Topic) (map[string]int32, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	found, err := listTopics(ctx, adm, names)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var faults []error
	for _, t := range topics {
		if t.Create && isMissing(found, t.Name) {
			if err := createTopic(ctx, adm, t, replication); err != nil {
				faults = append(faults, err)
			}
		}
	}
	// Again: somebody else may have made a topic at the same time, in another way.
	if found, err = listTopics(ctx, adm, names); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	counts := map[string]int32{}
	var existing []string
	for _, t := range topics {
		detail := found[t.Name]
		switch {
		case isMissing(found, t.Name) && (t.Create || t.Optional): // a fault of creating was noted
		case isMissing(found, t.Name):
			faults = append(faults, fmt.Errorf("topic %s does not exist: create it, or set kafka.create_topics", t.Name))
		case errors.Is(detail.Err, kerr.TopicAuthorizationFailed):
			faults = append(faults, fmt.Errorf("topic %s: not authorised: grant Describe, Read and, for own topics, Write to this user: %w", t.Name, detail.Err))
		case detail.Err != nil:
			faults = append(faults, fmt.Errorf("topic %s: %w", t.Name, detail.Err))
		default:
			n := int32(len(detail.Partitions))
			counts[t.Name] = n
			if t.Compact || t.Forever || t.Retention > 0 { // others have no policy to keep
				existing = append(existing, t.Name)
			}
			if t.Partitions != 0 && n != t.Partitions {
				faults = append(faults, fmt.Errorf("topic %s has %d partitions, but kafka.partitions is %d: "+
					"set it to %d, or start under another kafka.prefix; the count can not be changed later", t.Name, n, t.Partitions, n))
			}
		}
	}
	faults = append(faults, checkConfigs(ctx, adm, topics, existing)...)
	return counts, errors.Join(faults...)
}

// listTopics looks topics up, also where some of them may not be seen: their Err
// says so.
func listTopics(ctx context.Context, adm *kadm.Client, names []string) (kadm.TopicDetails, error) {
	found, err := adm.ListTopics(ctx, names...)
	var denied *kadm.AuthError
	if !errors.As(err, &denied) {
		return found, err
	}
	found = kadm.TopicDetails{} // the answer is all or nothing
	for _, name := range names {
		one, err := adm.ListTopics(ctx, name)
		switch {
		case errors.As(err, &denied):
			found[name] = kadm.TopicDetail{Topic: name, Err: denied.Err}
		case err != nil:
			return nil, err
		default:
			found[name] = one[name]
		}
	}
	return found, nil
}

func isMissing(found kadm.TopicDetails, name string) bool {
	detail, ok := found[name]
	return !ok || errors.Is(detail.Err, kerr.UnknownTopicOrPartition)
}

func createTopic(ctx context.Context, adm *kadm.Client, t Topic, replication int) error {
	config := map[string]*string{}
	set := func(k, v string) { config[k] = &v }
	switch {
	case t.Compact:
		set("cleanup.policy", "compact")
	case t.Forever:
		set("cleanup.policy", "delete")
		set("retention.ms", "-1")
		set("retention.bytes", "-1")
	case t.Retention > 0:
		set("cleanup.policy", "delete")
		set("retention.ms", strconv.FormatInt(t.Retention.Milliseconds(), 10))
		set("retention.bytes", "-1") // the cluster's log.retention.bytes knows nothing of this time
	}
	if t.Public {
		set("compression.type", "gzip")
	}
	for k, v := range t.Config {
		set(k, v)
	}
	resp, err := adm.CreateTopic(ctx, max(t.Partitions, t.MakeWith, 1), int16(replication), config, t.Name)
	if err == nil {
		err = resp.Err
	}
	switch {
	case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
		return awaitTopic(ctx, adm, t.Name)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("create topic %s: not authorised: grant Create to this user or create it with %d partitions: %w", t.Name, t.Partitions, err)
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return fmt.Errorf("create topic %s: kafka.replication is %d but the cluster has fewer brokers: %w", t.Name, replication, err)
	default:
		return fmt.Errorf("create topic %s: %w", t.Name, err)
	}
}

// awaitTopic returns when every partition of a new topic has a leader.
func awaitTopic(ctx context.Context, adm *kadm.Client, name string) error {
	for {
		topics, err := adm.ListTopics(ctx, name)
		if err != nil {
			return fmt.Errorf("wait for new topic %s: %w", name, err)
		}
		if d := topics[name]; d.Err == nil && len(d.Partitions) > 0 {
			ready := true
			for _, p := range d.Partitions {
				ready = ready && p.Err == nil && p.Leader >= 0
			}
			if ready {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for new topic %s: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// minMessageBytes is what a topic must take at once. A producer of this package
// puts up to as much into a batch, and a row has no other limit.
const minMessageBytes = 1 << 20

// checkConfigs compares the policies of existing topics with what is needed.
// A user that may not read configurations is taken at the word of who made the
// topics.
func checkConfigs(ctx context.Context, adm *kadm.Client, topics []Topic, existing []string) []error {
	if len(existing) == 0 {
		return nil
	}
	configs, err := adm.DescribeTopicConfigs(ctx, existing...)
	if denied := (*kadm.AuthError)(nil); errors.As(err, &denied) {
		return nil
	}
	if err != nil {
		return []error{fmt.Errorf("read topic settings: %w", err)}
	}
	var faults []error
	for _, t := range topics {
		rc, err := configs.On(t.Name, nil)
		if err != nil || rc.Err != nil {
			continue
		}
		settings := map[string]string{}
		for _, e := range rc.Configs {
			settings[e.Key] = e.MaybeValue()
		}
		faults = append(faults, t.faults(settings)...)
	}
	return faults
}

// faults compares the settings of a topic with what is needed. Settings are those
// in force, the broker's where the topic has none; one that a broker does not tell
// is taken to be right.
func (t *Topic) faults(settings map[string]string) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	number := func(key string) (n int64, told bool) {
		n, err := strconv.ParseInt(settings[key], 10, 64)
		return n, err == nil
	}
	policy := settings["cleanup.policy"]
	deletes := policy == "" || strings.Contains(policy, "delete")
	if t.Compact && policy != "compact" {
		fault("topic %s has cleanup.policy %q, want \"compact\": rows would be lost; %s", t.Name, policy, t.alter("cleanup.policy=compact"))
	}
	if !t.Compact && (t.Forever || t.Retention > 0) && strings.Contains(policy, "compact") {
		fault("topic %s has cleanup.policy %q, want \"delete\": compaction would drop records; %s", t.Name, policy, t.alter("cleanup.policy=delete"))
	}
	if most, told := number("max.message.bytes"); told && most < minMessageBytes {
		fault("topic %s has max.message.bytes %d, want at least %d: records would be refused; %s",
			t.Name, most, minMessageBytes, t.alter(fmt.Sprint("max.message.bytes=", minMessageBytes)))
	}
	if !deletes {
		return faults
	}
	if ms, told := number("retention.ms"); told && ms >= 0 {
		kept := time.Duration(ms) * time.Millisecond
		if t.Forever {
			fault("topic %s has retention.ms %d (%s), want -1: records would be deleted before they are read; %s", t.Name, ms, kept, t.alter("retention.ms=-1"))
		} else if t.Retention > kept {
			fault("topic %s has retention.ms %d (%s), shorter than the %s that is needed; %s",
				t.Name, ms, kept, t.Retention, t.alter(fmt.Sprint("retention.ms=", t.Retention.Milliseconds())))
		}
	}
	if size, told := number("retention.bytes"); told && size >= 0 && (t.Forever || t.Retention > 0) {
		fault("topic %s has retention.bytes %d, want -1: records would be deleted before their time; %s", t.Name, size, t.alter("retention.bytes=-1"))
	}
	return faults
}

// alter says how a setting of the topic is changed.
func (t *Topic) alter(setting string) string {
	return fmt.Sprintf("alter it with kafka-configs.sh --bootstrap-server … --alter --topic %s --add-config %s", t.Name, setting)
}

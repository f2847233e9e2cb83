package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// Purge deletes the records of a topic's partitions below the given offsets.
func Purge(ctx context.Context, c Config, topic string, below map[int32]int64) error {
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	offsets := kadm.Offsets{}
	for p, o := range below {
		offsets.AddOffset(topic, p, o, -1)
	}
	resp, err := kadm.NewClient(client).DeleteRecords(ctx, offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("purge %s: %w", topic, err)
	}
	return nil
}

// Reachable reports whether a broker answers, within the time of ctx.
func Reachable(ctx context.Context, c Config) error {
	client, err := c.NewClient(kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("reach Kafka at %s: %w", strings.Join(c.Brokers, ","), err)
	}
	return nil
}

// Whole reports whether every broker that the cluster knows of answers, within the
// time of ctx. One that was lost is known for as long as its session lasts.
func Whole(ctx context.Context, c Config) error {
	if err := Reachable(ctx, c); err != nil {
		return err
	}
	client, err := c.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("list brokers: %w", err)
	}
	lost := make([]error, len(brokers))
	var asking sync.WaitGroup
	for i, b := range brokers { // at once: one that is silent uses up all the time
		asking.Go(func() {
			if _, err := client.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
				lost[i] = fmt.Errorf("reach broker %d at %s:%d: %w", b.NodeID, b.Host, b.Port, err)
			}
		})
	}
	asking.Wait()
	return errors.Join(lost...)
}

// PartitionCounts returns the number of partitions of topics: 0 for one that does
// not exist, nothing for one that the cluster cannot tell of now.
func PartitionCounts(ctx context.Context, c Config, topics []string) (map[string]int32, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	found, err := listTopics(ctx, kadm.NewClient(client), topics)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	counts := map[string]int32{}
	for _, t := range topics {
		switch {
		case isMissing(found, t):
			counts[t] = 0
		case found[t].Err == nil:
			counts[t] = int32(len(found[t].Partitions))
		}
	}
	return counts, nil
}

// Committed is what a group has committed for one partition: where it goes on, and
// what Task.Flush returned.
type Committed struct {
	Offset   int64
	Metadata string
}

// GroupOffsets returns what a group has committed for a topic, by partition; nothing
// of a topic before it that had its name, nor of a group that does not exist.
func GroupOffsets(ctx context.Context, c Config, group, topic string) (map[int32]Committed, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	resp, err := adm.FetchOffsets(ctx, group)
	switch {
	case errors.Is(err, kerr.GroupIDNotFound): // nobody has joined it yet
		return map[int32]Committed{}, nil
	case err != nil:
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	id, err := topicID(ctx, adm, topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]Committed{}
	for p, o := range resp[topic] {
		at := committedPosition(o.At, o.Metadata)
		if o.Err == nil && at.committed && !at.elsewhere(id) {
			out[p] = Committed{at.offset, at.metadata}
		}
	}
	return out, nil
}

// topicID tells topics apart that have a name one after the other; zero: the broker
// is too old to know.
func topicID(ctx context.Context, adm *kadm.Client, topic string) (kadm.TopicID, error) {
	topics, err := adm.ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return kadm.TopicID{}, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	return topics[topic].ID, nil
}

// EndOffset returns the high watermark of a partition.
func EndOffset(ctx context.Context, c Config, topic string, partition int32) (int64, error) {
	client, err := c.NewClient()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return endOffset(ctx, client, topic, partition)
}

// EndOffsets returns the high watermark of every partition of a topic.
func EndOffsets(ctx context.Context, c Config, topic string) (map[int32]int64, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// Held is what waits for the end of an open transaction: the committed readers of a
// partition, or a group that is asked for its offset of one.
type Held struct {
	Group     string // "": committed readers
	Topic     string
	Partition int32
	// Offset is where the oldest open transaction begins; of a group, what it has
	// committed.
	Offset int64
}

// String tells what does not go on, where.
func (h Held) String() string {
	if h.Group != "" {
		return fmt.Sprintf("group %s cannot go on in %s/%d at offset %d or later, of which a transaction decides that hangs", h.Group, h.Topic, h.Partition, h.Offset)
	}
	return fmt.Sprintf("%s/%d cannot be read past offset %d, where a transaction hangs", h.Topic, h.Partition, h.Offset)
}

// HeldBack returns what open transactions hold back in topics and groups, in order.
// A group's very first commit to a partition is not seen.
func HeldBack(ctx context.Context, c Config, topics, groups []string) ([]Held, error) {
	client, err := c.NewClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	held, err := heldTopics(ctx, adm, topics)
	if err != nil {
		return nil, err
	}
	waiting, err := heldGroups(ctx, adm, groups)
	if err != nil {
		return nil, err
	}
	held = append(held, waiting...)
	slices.SortFunc(held, func(a, b Held) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return held, nil
}

func heldGroups(ctx context.Context, adm *kadm.Client, groups []string) ([]Held, error) {
	var held []Held
	for _, group := range groups {
		offsets, err := adm.FetchOffsets(kadm.RequireStable(ctx), group)
		if errors.Is(err, kerr.GroupIDNotFound) { // nobody has joined it yet
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", group, err)
		}
		var unstable kadm.OffsetResponses
		offsets.Each(func(o kadm.OffsetResponse) {
			if errors.Is(o.Err, kerr.UnstableOffsetCommit) {
				unstable.Add(o)
			}
		})
		if len(unstable) == 0 {
			continue
		}
		// Most likely a member is committing just now.
		working, err := inTransaction(ctx, adm, group)
		if err != nil {
			return nil, err
		}
		if working {
			continue
		}
		committed, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", group, err)
		}
		unstable.Each(func(o kadm.OffsetResponse) {
			at, _ := committed.Lookup(o.Topic, o.Partition)
			held = append(held, Held{group, o.Topic, o.Partition, at.At})
		})
	}
	return held, nil
}

// inTransaction reports whether the coordinator knows of a transaction of a group's
// sessions that is not over.
func inTransaction(ctx context.Context, adm *kadm.Client, group string) (bool, error) {
	listed, err := adm.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
	if err != nil {
		return false, fmt.Errorf("transactions of group %s: %w", group, err)
	}
	for id := range listed {
		if strings.HasPrefix(id, group+"-") {
			return true, nil
		}
	}
	return false, nil
}

func heldTopics(ctx context.Context, adm *kadm.Client, topics []string) ([]Held, error) {
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	stable, err := adm.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = stable.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("last stable offsets: %w", err)
	}
	var held []Held
	stable.Each(func(o kadm.ListedOffset) {
		if end, ok := ends.Lookup(o.Topic, o.Partition); ok && o.Offset < end.Offset {
			held = append(held, Held{"", o.Topic, o.Partition, o.Offset})
		}
	})
	return held, nil
}

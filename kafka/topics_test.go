package kafka

import (
	"strings"
	"testing"
	"time"
)

func TestEnsureTopicsNamesEveryFault(t *testing.T) {
	c := broker(t)
	base := strings.TrimSuffix(func() string { in, _, _ := names(t); return in }(), "in")
	made := []Topic{
		{Name: base + "three", Partitions: 3, Create: true, Forever: true},
		{Name: base + "deleted", Partitions: 1, Create: true, Retention: time.Hour},
		{Name: base + "compacted", Partitions: 1, Create: true, Compact: true},
	}
	if _, err := EnsureTopics(t.Context(), c, 1, made); err != nil {
		t.Fatal(err)
	}
	counts, err := EnsureTopics(t.Context(), c, 1, made)
	if err != nil || counts[base+"three"] != 3 {
		t.Errorf("again: %v, %v", counts, err)
	}
	for _, tt := range []struct {
		name string
		want Topic
		says []string
	}{
		{"missing", Topic{Name: base + "none", Partitions: 1}, []string{"does not exist", "kafka.create_topics"}},
		{"wrong partitions", Topic{Name: base + "three", Partitions: 4}, []string{"has 3 partitions", "is 4"}},
		{"not compacted", Topic{Name: base + "deleted", Partitions: 1, Compact: true}, []string{`cleanup.policy "delete"`, `"compact"`}},
		{"compacted", Topic{Name: base + "compacted", Partitions: 1, Forever: true}, []string{`cleanup.policy "compact"`, `"delete"`}},
		{"compacted, and what to do", Topic{Name: base + "compacted", Partitions: 1, Retention: time.Hour}, []string{"kafka-configs.sh", "cleanup.policy=delete"}},
		{"retention too short", Topic{Name: base + "deleted", Partitions: 1, Retention: 2 * time.Hour}, []string{"retention.ms 3600000", "2h0m0s"}},
		{"retention at all", Topic{Name: base + "deleted", Partitions: 1, Forever: true}, []string{"retention.ms 3600000", "-1"}},
	} {
		_, err := EnsureTopics(t.Context(), c, 1, []Topic{tt.want})
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, part := range append(tt.says, tt.want.Name) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", tt.name, err, part)
			}
		}
	}
	counts, err = EnsureTopics(t.Context(), c, 1, []Topic{{Name: base + "none", Optional: true}})
	if err != nil || len(counts) != 0 {
		t.Errorf("an optional topic: %v, %v", counts, err)
	}
}

func TestSecurityIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    Security
		says string
	}{
		{"certificate without key", Security{TLS: true, CertFile: "c.pem"}, "together"},
		{"files without TLS", Security{CAFile: "ca.pem"}, "TLS is off"},
		{"unknown mechanism", Security{Mechanism: "GSSAPI"}, "SCRAM-SHA-512"},
		{"no user", Security{Mechanism: "PLAIN"}, "user name"},
		{"user without mechanism", Security{Username: "u"}, "without a mechanism"},
	} {
		if err := tt.s.Validate(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error = %v, want one that says %q", tt.name, err, tt.says)
		}
	}
	if err := (Security{TLS: true, Mechanism: "SCRAM-SHA-512", Username: "u", Password: "p"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPartitionOfIsGokasHash(t *testing.T) {
	// FNV-1a 32 of these keys, by hand: 0x811c9dc5, 0xe40c292c, 0xbf9cf968.
	for key, want := range map[string]int32{"": 3, "a": 4, "foobar": 0} {
		h := int32(map[string]uint32{"": 0x811c9dc5, "a": 0xe40c292c, "foobar": 0xbf9cf968}[key])
		if h < 0 {
			h = -h
		}
		if got := PartitionOf([]byte(key), 8); got != h%8 || got != want {
			t.Errorf("PartitionOf(%q) = %d, want %d (%d)", key, got, h%8, want)
		}
	}
}

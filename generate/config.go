package generate

import (
	"fmt"
	"time"
)

// Topic is a topic to write to.
type Topic struct {
	Name       string
	Partitions int32
}

// Config says what traffic to make. The zero value is a good start; shares are
// between 0 and 1.
type Config struct {
	Seed    uint64 // equal configurations and times give equal records
	Tenants int    // default 20; the first are the busiest
	Models  int    // default 5; likewise
	Apps    int    // default 2; the first is kotaemon
	Traces  int    // most traces in progress at once, default 1000

	ErrorRate  float64 // share of retrievals, tool and LLM calls that fail; default 0.01, negative: none
	Duplicates float64 // share of counted events with an id that are sent again, unchanged, soon after
	Late       float64 // share of events that come too late
	Poison     float64 // share of records that are no valid events
	Unkeyed    float64 // share of the traces' records without key; bare dialog events never have one

	Start  time.Time     // send time of the first record of Next; default 2026-01-01T00:00:00Z
	Step   time.Duration // send time between two records of Next
	Jitter time.Duration // event times are up to this much behind send times; default 2 s, negative: none

	Pane  time.Duration // window of the system, default 10 s
	Grace time.Duration // lateness it allows, default 1 min

	// Topics: the first takes the steps of traces, the second, if there is one, what
	// users say, the third what they do with answers. Default rag-traces,
	// kotaemon-dialog-events and user-behaviour with 4, 3 and 2 partitions.
	Topics []Topic

	LargeBytes int  // size of a record that is too large; 0: none of those
	TotalsOnly bool // the truth keeps no windows, single values or sessions, so its size is bounded
}

// Bench is the load of the benchmark: n events of about 400 bytes over ten
// minutes of event time on rag-traces with four partitions, 20 tenants × 7
// event types × 5 models, one in a hundred failed, nothing else wrong.
func Bench(n int, seed uint64) Config {
	return Config{
		Seed: seed, Apps: 1,
		ErrorRate: 0.028, // a little more than a third of the events can fail
		Step:      10 * time.Minute / time.Duration(max(n, 1)),
		Topics:    []Topic{{"rag-traces", 4}},
	}
}

// Validate returns an error that names the first field that cannot be used.
func (c Config) Validate() error {
	c = c.withDefaults()
	for _, share := range []struct {
		name  string
		value float64
	}{
		{"ErrorRate", c.ErrorRate}, {"Duplicates", c.Duplicates}, {"Late", c.Late},
		{"Poison", c.Poison}, {"Unkeyed", c.Unkeyed},
	} {
		if !(share.value >= 0 && share.value <= 1) {
			return fmt.Errorf("generate: %s is %v, want 0 to 1", share.name, share.value)
		}
	}
	for _, count := range []struct {
		name  string
		value int
	}{
		{"Tenants", c.Tenants}, {"Models", c.Models}, {"Apps", c.Apps}, {"Traces", c.Traces},
	} {
		if count.value < 1 {
			return fmt.Errorf("generate: %s is %d, want at least 1", count.name, count.value)
		}
	}
	switch {
	case c.Step < 0:
		return fmt.Errorf("generate: Step is %v, want no negative duration", c.Step)
	case c.Pane < time.Millisecond || c.Pane%time.Millisecond != 0:
		return fmt.Errorf("generate: Pane is %v, want whole milliseconds, at least one", c.Pane)
	case c.Grace < 0 || c.Grace%time.Millisecond != 0:
		return fmt.Errorf("generate: Grace is %v, want whole milliseconds", c.Grace)
	case c.Jitter > c.Grace/4:
		return fmt.Errorf("generate: Jitter is %v, want at most a quarter of Grace (%v), or events would be late by chance", c.Jitter, c.Grace)
	case len(c.Topics) > 3:
		return fmt.Errorf("generate: %d Topics, want one for traces, and at most one for dialogs and one for behaviour", len(c.Topics))
	case c.LargeBytes != 0 && c.LargeBytes < 1024:
		return fmt.Errorf("generate: LargeBytes is %d, want 0 or at least 1024", c.LargeBytes)
	}
	for _, t := range c.Topics {
		if t.Name == "" || t.Partitions < 1 {
			return fmt.Errorf("generate: topic %q with %d partitions, want a name and at least one", t.Name, t.Partitions)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	orDefault(&c.Tenants, 20)
	orDefault(&c.Models, 5)
	orDefault(&c.Apps, 2)
	orDefault(&c.Traces, 1000)
	orDefault(&c.ErrorRate, 0.01)
	orDefault(&c.Start, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	orDefault(&c.Jitter, 2*time.Second)
	orDefault(&c.Pane, 10*time.Second)
	orDefault(&c.Grace, time.Minute)
	if c.ErrorRate < 0 {
		c.ErrorRate = 0
	}
	c.Jitter = max(c.Jitter, 0)
	if len(c.Topics) == 0 {
		c.Topics = []Topic{{"rag-traces", 4}, {"kotaemon-dialog-events", 3}, {"user-behaviour", 2}}
	}
	return c
}

func orDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

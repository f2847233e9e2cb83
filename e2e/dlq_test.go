//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ragstreams/deadletters/api"
	"ragstreams/generate"
)

// dlq runs the command on a deployment's side topics, with more configuration.
func (d *deployment) dlq(env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(d.t.Context(), binary, append([]string{"dlq"}, args...)...)
	cmd.Env = slices.Concat(d.env, []string{"USER=ana"}, env)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("analytics dlq %v: %w: %s", args, err, stderr.String())
	}
	return string(out), err
}

// records returns how many records a source topic has ever got.
func (d *deployment) records(ctx context.Context, topic string) (n int64, err error) {
	ends, err := d.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	for _, one := range ends.Offsets()[topic] {
		n += one.At
	}
	return n, err
}

// TestReplay: half of the records are dead letters, for a limit is too small, and some, for
// their producer wrote a field wrongly. The limit is raised, and all are replayed twice,
// the command being killed in the middle, and an instance, too; those of the producer are
// mended by hand. Then the tables are what they would have been, and every record in has
// ended in one way.
func TestReplay(t *testing.T) {
	const limit, n, step = 404, 60_000, 5 * time.Millisecond
	small, large := "ANALYTICS_LIMITS_RECORD_BYTES="+strconv.Itoa(limit), "ANALYTICS_LIMITS_RECORD_BYTES=1048576"
	d := newDeployment(t, []int32{4}, "ANALYTICS_WINDOW_GRACE=1h")
	topic := d.topics[0].Name
	g := generate.New(generate.Config{Seed: 1, Step: step, Start: startOf(n, step), Duplicates: 0.03, Unkeyed: 0.5, Topics: d.topics})
	w := d.traffic()
	broken := map[string][]byte{} // what was sent, and what was meant
	tooLarge := int64(0)
	for i := range n {
		r := g.Next()
		if len(r.Value) > limit {
			tooLarge++
		} else if wrong := bytes.Replace(r.Value, []byte(`"status":"ok"`), []byte(`"status":1234`), 1); i/1000 > len(broken) && !bytes.Equal(wrong, r.Value) && len(broken) < 5 {
			broken[string(wrong)] = bytes.Clone(r.Value)
			r.Value = wrong
		}
		w.send(r)
	}
	w.flush()
	truth := g.Truth()
	a := d.instance("a", small).start()
	eventually(t, time.Minute, "all records have an outcome", func(ctx context.Context) error {
		return a.has(ctx, topic, map[string]int64{"counted": 0, "poison": tooLarge + int64(len(broken))}, n)
	})
	a.stop()

	b := d.instance("a", large).start()
	b.ready(time.Minute)
	d.killReplay(large, topic, n, tooLarge)
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	b.start()
	for range 2 {
		out, err := d.dlq([]string{large}, "replay", "--since", "1h")
		want := fmt.Sprintf("%d sent (%s %d), %d skipped (still_poison %d), 0 failed", tooLarge, topic, tooLarge, len(broken), len(broken))
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v\n%.2000s\nwant %s", err, out, want)
		}
	}
	d.mend(large, broken)

	total, err := d.records(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	counted := truth.Count(topic, generate.Counted)
	truth.Records = generate.Table[generate.RecordsKey, int64]{
		{Topic: topic, Outcome: generate.Counted}:                            counted,
		{Topic: topic, Outcome: generate.Poison, Reason: generate.TooLarge}:  tooLarge,
		{Topic: topic, Outcome: generate.Poison, Reason: generate.WrongType}: int64(len(broken)),
		{Topic: topic, Outcome: generate.Duplicate}:                          total - counted - tooLarge - int64(len(broken)),
	}
	t.Logf("%d records were sent, %d of them by replays; %d are counted", total, total-n, counted)
	b.agree(truth, time.Minute)
	b.stop()
}

// has returns an error unless so many records of a topic have come in, and at least so many
// ended with each outcome, and all with one.
func (i *instance) has(ctx context.Context, topic string, least map[string]int64, in int64) error {
	ended, came, err := i.Outcomes(ctx)
	if err != nil {
		return err
	}
	var all int64
	got := map[string]int64{}
	for k, n := range ended {
		all += n
		got[k.Outcome] += n
	}
	for outcome, n := range least {
		if got[outcome] < n {
			err = errors.Join(err, fmt.Errorf("%d are %s, want %d", got[outcome], outcome, n))
		}
	}
	if came[topic] != in || all != in {
		err = errors.Join(err, fmt.Errorf("%d came in and %d have ended, want %d", came[topic], all, in))
	}
	return err
}

// killReplay begins a replay of so many records to a source topic that has n, and kills it
// when it has sent some but not all.
func (d *deployment) killReplay(env, topic string, n, all int64) {
	d.t.Helper()
	for try := range 5 {
		before, err := d.records(d.t.Context(), topic)
		if err != nil {
			d.t.Fatal(err)
		}
		p := site.Program(fmt.Sprintf("%s-replay-%d", d.name, try), binary, slices.Concat(d.env, []string{env}), "dlq", "replay", "--by", "ana")
		if err := p.Start(); err != nil {
			d.t.Fatal(err)
		}
		eventually(d.t, 30*time.Second, "the replay has sent something", func(ctx context.Context) error {
			now, err := d.records(ctx, topic)
			if err == nil && now < before+all/10 && p.Running() {
				err = fmt.Errorf("%d of %d were sent", now-before, all)
			}
			return err
		})
		if p.Running() {
			if err := p.Kill(); err != nil {
				d.t.Fatal(err)
			}
		}
		after, err := d.records(d.t.Context(), topic)
		if err != nil {
			d.t.Fatal(err)
		}
		if d.t.Logf("the replay was killed when it had sent %d of %d", after-before, all); after > before && after-before < all {
			return
		}
	}
	d.t.Fatal("no replay was killed in the middle")
}

// mend sends for each dead letter with a wrong field what was meant, twice, as people do:
// they list them, look at the bytes, and write a file.
func (d *deployment) mend(env string, broken map[string][]byte) {
	d.t.Helper()
	out, err := d.dlq([]string{env}, "list", "--reason", "wrong_type", "--format", "json")
	var list api.List
	if err := errors.Join(err, json.Unmarshal([]byte(out), &list)); err != nil || len(list.Rows) != len(broken) {
		d.t.Fatalf("%d dead letters with a wrong field, want %d: %v", len(list.Rows), len(broken), err)
	}
	for _, r := range list.Rows {
		at := []string{strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Offset, 10)}
		raw, err := d.dlq([]string{env}, "show", "--raw", at[0], at[1])
		if err != nil || broken[raw] == nil {
			d.t.Fatalf("%v holds %q, %v", at, raw, err)
		}
		file := filepath.Join(d.t.TempDir(), "value.json")
		if err := os.WriteFile(file, broken[raw], 0o600); err != nil {
			d.t.Fatal(err)
		}
		for range 2 {
			out, err := d.dlq([]string{env}, "replay", "--partition", at[0], "--offset", at[1], "--value-file", file)
			if err != nil || !strings.Contains(out, ", 1 sent ") {
				d.t.Fatalf("%v: %v\n%s", at, err, out)
			}
		}
	}
}

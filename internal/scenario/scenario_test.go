package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ragstreams/kafka"
)

var rewrite = flag.Bool("rewrite", false, "write the answers of the topology into the scripts; commit them only if you understand why they changed")

func scripts(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return files
}

func TestWithoutABroker(t *testing.T) {
	for _, file := range slices.Concat(scripts(t, "scenarios"), scripts(t, "scenarios-rabbitmq")) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			differences, text, err := Play(t.Context(), file, func(g Given) (World, error) { return NewTopology(g) })
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, d := range differences {
				t.Error(d)
			}
		})
	}
}

// The same scripts, but for those with a RabbitMQ, played to the whole program on an
// embedded broker.
func TestOnAnEmbeddedBroker(t *testing.T) {
	broker, err := kafka.StartEmbedded(kafka.EmbeddedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for i, file := range scripts(t, "scenarios") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			differences, _, err := Play(t.Context(), file, func(g Given) (World, error) {
				return NewProgram(t.Context(), g, kafka.Config{Brokers: broker.Brokers()}, fmt.Sprintf("s%d-", i), nil)
			})
			if err != nil {
				t.Error(err)
			}
			for _, d := range differences {
				t.Error(d)
			}
		})
	}
}

// A script that is written again, by answers that are its own, is the same.
func TestFormat(t *testing.T) {
	const text = "# prose\ngiven grace=30s partitions=2\n\nat 12:00:01\nevent rag-traces/0 id=\"a b\"\noutcomes\n----\none\ntwo\n\nrestart\ntable traffic\n----\n"
	s, err := Parse("x.txt", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.format([]string{"", "", "", "one\ntwo", "", ""})); got != text {
		t.Errorf("format = %q, want %q", got, text)
	}
	if s.Given.Grace != 30*time.Second || s.Given.Partitions != 2 {
		t.Errorf("given = %+v", s.Given)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, text := range []string{
		"given grace=soon", "given gracious=1s", "at 12:00:01\ngiven grace=1s", "event rag-traces/0 id=\"a",
		"at noon", "event rag-traces id=a", "fly", "outcomes", "at 12:00:01\n----\n", "at 12:00:01\nevent rag-traces/0 id",
		"record rag-traces/0 x", "silence a=b for=1h", "at 12:00:01\nrule A \"x > 1\"", "rule A", "rule A \"x >\"", "rule A x",
		"rule A \"x > 1\"\nat 12:00:01\nrabbitmq fly", "at 12:00:01\nrabbitmq stop", "rule A \"x > 1\"\nat 12:00:01\nsilence a", "rule A \"x > 1\"\nat 12:00:01\nsilence a=b", "at 12:00:01\ntable\n----\n", "at 12:00:01\ntable nothing\n----\n",
		"at 12:00:01\nreplay", "at 12:00:01\nreplay fly\n----\n", "at 12:00:01\nreplay value=x\n----\n", "at 12:00:01\nreplay of=rag-traces/0@0\n----\n", "at 12:00:01\nreplay value=\"x\"\n----\n",
	} {
		file := filepath.Join(t.TempDir(), "script.txt")
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Play(t.Context(), file, func(g Given) (World, error) { return NewTopology(g) }); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

package kafka

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A broker whose folder has become a file cannot write what it is sent.
func TestEmbeddedTellsThatItCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "broker")
	failed := make(chan error, 1000)
	e, err := StartEmbedded(EmbeddedOptions{Dir: dir, OnDiskError: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	c := Config{Brokers: e.Brokers()}
	topic := tableTopic(t, c)
	cl, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	record := &kgo.Record{Topic: topic, Key: []byte("a"), Value: []byte("1")}
	select {
	case err := <-failed:
		t.Fatalf("told of %v though nothing is wrong", err)
	default:
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), record).FirstErr(); err == nil {
		t.Error("a record was taken that could not be written")
	}
	select {
	case err := <-failed:
		t.Log(err)
	case <-time.After(10 * time.Second):
		t.Error("it does not tell that it cannot write")
	}
}

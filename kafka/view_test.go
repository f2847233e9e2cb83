package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A view that has ended leaves no client open.
func TestViewLeavesNothingOpen(t *testing.T) {
	_, c := embedded(t)
	topic := tableTopic(t, c)
	transaction(t, c, topic, 10*time.Second, commitTxn(), "a")
	var opened Opened
	view, err := goka.NewView(c.Brokers, goka.Table(topic), bytesCodec{},
		goka.WithViewConsumerSaramaBuilder(opened.Consumers(c, time.Second)),
		goka.WithViewTopicManagerBuilder(opened.TopicManagers(c)),
		goka.WithViewStorageBuilder(ViewStorage()), goka.WithViewHasher(Hasher), goka.WithViewCallback(SkipControl(nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-view.WaitRunning(); cancel() }()
	if err := view.Run(ctx); err != nil {
		t.Error(err)
	}
	var clients []*kgo.Client
	for _, o := range opened.open {
		switch o := o.(type) {
		case *Consumer:
			clients = append(clients, o.client)
		case TopicManager:
			clients = append(clients, o.client)
		}
	}
	if len(clients) < 2 {
		t.Fatalf("%d clients were opened, want those of a consumer and a topic manager", len(clients))
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
	for i, cl := range clients {
		if cl.Ping(t.Context()) == nil {
			t.Errorf("client %d is open", i)
		}
	}
}

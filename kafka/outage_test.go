package kafka

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A proxy whose broker is away takes connections and closes them at once. What
// another broker can answer is asked there.
func TestProxyWithoutItsBroker(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	go func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	_, c := embedded(t)
	alone := c
	alone.Brokers = []string{proxy.Addr().String()}
	if err := Reachable(t.Context(), alone); err == nil {
		t.Error("a closed connection is taken for an answer")
	}
	c.Brokers = append(alone.Brokers, c.Brokers...)
	for range 10 { // the client begins with any
		if _, err := PartitionCounts(t.Context(), c, []string{"traces"}); err != nil {
			t.Fatal(err)
		}
	}
}

// One of three brokers is away: the cluster can be reached but is not whole.
func TestOneBrokerAway(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := Config{Brokers: cluster.ListenAddrs()}
	if err := Whole(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	cluster.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, errors.New("away"), cluster.CurrentNode() == 1
	})
	if err := Reachable(t.Context(), c); err != nil {
		t.Error(err)
	}
	if err := Whole(t.Context(), c); err == nil || !strings.Contains(err.Error(), "broker 1") || strings.Contains(err.Error(), "broker 2") {
		t.Errorf("error is %v, want one about broker 1 alone", err)
	}
}

package kafka

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// EmbeddedOptions describes an embedded broker. The zero value keeps nothing on
// disk and listens on a free port.
type EmbeddedOptions struct {
	Dir  string // data folder; "" keeps everything in memory
	Port int    // 0: a free one
	// Settings are broker settings as in server.properties.
	Settings map[string]string
	// OnDiskError, when set, is called whenever the broker cannot write to Dir, or
	// read what it has written. It must return at once. The broker goes on, but
	// from then on it may lose what it has confirmed and show what was aborted:
	// close it and begin anew.
	OnDiskError func(err error)
}

// Embedded is a Kafka broker inside this process, for the demo and for tests.
// It speaks the real protocol, transactions included, to any client, on the
// loopback interface only; it is one broker, and as fast as one goroutine.
type Embedded struct {
	cluster *kfake.Cluster
}

// StartEmbedded starts a broker. Close must be called.
func StartEmbedded(o EmbeddedOptions) (*Embedded, error) {
	if o.Port != 0 { // kfake would panic over some failures later
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
		if err != nil {
			return nil, fmt.Errorf("start embedded broker: port %d is in use: stop what listens there or choose another port: %w", o.Port, err)
		}
		l.Close()
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{
			"group.min.session.timeout.ms":     "100",
			"offsets.topic.num.partitions":     "1",
			"group.initial.rebalance.delay.ms": "0",
		}),
	}
	if o.Port != 0 {
		opts = append(opts, kfake.Ports(o.Port))
	}
	if o.Dir != "" {
		opts = append(opts, kfake.DataDir(o.Dir))
	}
	if o.OnDiskError != nil {
		opts = append(opts, kfake.WithLogger(diskErrors{o.OnDiskError}))
	}
	if len(o.Settings) > 0 {
		opts = append(opts, kfake.BrokerConfigs(o.Settings))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	return &Embedded{cluster}, nil
}

// Brokers returns the addresses to connect to.
func (e *Embedded) Brokers() []string { return e.cluster.ListenAddrs() }

// Close stops the broker and writes what it keeps to disk.
func (e *Embedded) Close() { e.cluster.Close() }

// diskErrors finds the errors of file operations in the log of the broker, the
// only place that tells of all of them: some produce requests are answered with
// UNKNOWN_SERVER_ERROR, a marker that could not be written is not told to anybody.
type diskErrors struct{ found func(err error) }

// Logf implements kfake.Logger.
func (d diskErrors) Logf(_ kfake.LogLevel, _ string, args ...any) {
	for _, arg := range args {
		err, ok := arg.(error)
		if !ok {
			continue
		}
		var path *fs.PathError
		var link *os.LinkError
		if errors.As(err, &path) || errors.As(err, &link) {
			d.found(err)
		}
	}
}

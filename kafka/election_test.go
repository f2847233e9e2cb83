package kafka

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// candidates tell when they begin to lead, and when they end.
type candidates struct {
	*testing.T
	cfg   Config
	topic string
	said  chan string
}

func newCandidates(t *testing.T, c Config) *candidates {
	return &candidates{T: t, cfg: c, topic: tableTopic(t, c), said: make(chan string, 100)}
}

func (c *candidates) election(name string) Election {
	return Election{
		Config: c.cfg, Group: c.topic + "-watch", Topic: c.topic, SessionTimeout: time.Second,
		Lead: func(ctx context.Context) {
			c.said <- name + " leads"
			<-ctx.Done()
			c.said <- name + " ends"
		},
	}
}

func (c *candidates) want(said string) {
	c.Helper()
	select {
	case got := <-c.said:
		if got != said {
			c.Fatalf("%s, want: %s", got, said)
		}
	case <-time.After(20 * time.Second):
		c.Fatalf("nobody says: %s", said)
	}
}

// There is one at a time, as long as one is there; who leaves in peace has a successor.
func TestElection(t *testing.T) {
	c := newCandidates(t, broker(t))
	stops := map[string]func(){}
	run := func(name string) { stops[name] = background(t, c.election(name).Run) }
	run("a")
	c.want("a leads")
	run("b")
	run("c")
	stops["c"]() // it has joined, or was about to
	stops["a"]()
	c.want("a ends")
	c.want("b leads")
	stops["b"]()
	c.want("b ends")
	select {
	case said := <-c.said:
		t.Error(said, "after all have ended")
	default:
	}
}

// Whose group no longer knows it has no term any more, whether it can be elected anew or
// not.
func TestElectionIsLost(t *testing.T) {
	e, cfg := embedded(t)
	c := newCandidates(t, cfg)
	background(t, c.election("a").Run)
	c.want("a leads")
	var open atomic.Bool
	e.instead(kmsg.JoinGroup, 1000, func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return resp, nil, !open.Load()
	})
	e.instead(kmsg.Heartbeat, 1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	c.want("a ends")
	open.Store(true)
	c.want("a leads")
}

// Who may not take part is told so.
func TestElectionIsRefused(t *testing.T) {
	e, cfg := embedded(t)
	c := newCandidates(t, cfg)
	e.instead(kmsg.JoinGroup, 100, func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil, true
	})
	err := c.election("a").Run(t.Context())
	if want := fmt.Sprintf("take part in the election of group %s-watch: ", c.topic); !IsFatal(err) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %v, want one that begins with %q and is for a person to mend", err, want)
	}
}

package kafka

import (
	"context"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member that stood still for longer than its session wakes with work in hand that
// another has done meanwhile. The group refuses its commit; if it did not, readers
// would be shown the rows of then again.
func TestZombie(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		name := map[bool]string{true: "fenced", false: "as it would be without the fence"}[fenced]
		t.Run(name, func(t *testing.T) {
			committed, fell := wakeZombie(t, fenced)
			if committed == fenced {
				t.Errorf("its commit was accepted: %v", committed)
			}
			if fell == fenced {
				t.Errorf("a count was taken back: %v", fell)
			}
		})
	}
}

// wakeZombie lets a member stand still between its work and its commit until another
// has done the same work and more, and wakes it. Without the fence the broker takes
// its heartbeats and offsets as those of a member. It returns whether the zombie's
// commit held, and whether a count in the table ever fell.
func wakeZombie(t *testing.T, fenced bool) (committed, fell bool) {
	e, c := embedded(t)
	in, group, changelog := setUpCounter(t, c, 1)
	var still atomic.Bool
	asleep, wake := make(chan struct{}), make(chan struct{})
	outcome := make(chan bool, 1)
	background(t, func(ctx context.Context) error {
		return runCounter(ctx, c, in, group, changelog, "zombie", func(cfg *SessionConfig) {
			cfg.SessionTimeout, cfg.Tick = 2*time.Second, 20*time.Millisecond
			var woken atomic.Bool
			build := cfg.NewTask
			cfg.NewTask = func(ctx context.Context, a Assignment) (Task, error) {
				task, err := build(ctx, a)
				return flushTask{task, func() {
					if count := task.(*countTask); len(count.dirty) > 0 && still.CompareAndSwap(true, false) {
						close(asleep)
						<-wake
						woken.Store(true)
					}
				}}, err
			}
			cfg.OnCommit = func(_ time.Duration, ok bool) {
				if woken.CompareAndSwap(true, false) {
					outcome <- ok
				}
			}
		})
	})
	truth := produce(t, c, in, 100, 5)
	eventually(t, c, changelog, truth)
	add := func(n int) {
		for k, m := range produce(t, c, in, n, 5) {
			truth[k] += m
		}
	}
	still.Store(true)
	add(50)
	<-asleep
	ofZombie := func(instance *string) bool { return instance != nil && strings.HasSuffix(*instance, "-zombie") }
	e.instead(kmsg.Heartbeat, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !ofZombie(req.(*kmsg.HeartbeatRequest).InstanceID) {
			return nil, nil, false
		}
		select {
		case <-wake:
			return req.ResponseKind(), nil, !fenced
		default:
			e.cluster.SleepControl(func() { <-wake })
			return lostAnswer(req)
		}
	})
	if !fenced {
		e.instead(kmsg.TxnOffsetCommit, 1<<40, func(req kmsg.Request) (kmsg.Response, error, bool) {
			if commit := req.(*kmsg.TxnOffsetCommitRequest); ofZombie(commit.InstanceID) {
				commit.MemberID, commit.Generation, commit.InstanceID = "", -1, nil
			}
			return nil, nil, false
		})
	}
	background(t, func(ctx context.Context) error { return runCounter(ctx, c, in, group, changelog, "heir", nil) })
	eventually(t, c, changelog, truth) // the heir has done what the zombie has in hand
	add(30)
	eventually(t, c, changelog, truth)
	close(wake)
	select {
	case committed = <-outcome:
	case <-time.After(20 * time.Second):
		t.Fatal("the zombie does not end its transaction")
	}
	eventually(t, c, changelog, truth)
	end, err := EndOffset(t.Context(), c, changelog, 0)
	if err != nil {
		t.Fatal(err)
	}
	greatest := map[string]uint64{}
	err = Read(t.Context(), c, changelog, 0, 0, end, func(m Message) error {
		n := binary.BigEndian.Uint64(m.Value)
		fell = fell || n < greatest[string(m.Key)]
		greatest[string(m.Key)] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return committed, fell
}

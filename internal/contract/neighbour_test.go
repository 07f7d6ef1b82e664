package contract

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestGateway asks for gateways in each state that the kernel may have them in, and never longer than it may.
func TestGateway(t *testing.T) {
	for _, c := range []struct {
		name     string
		patience time.Duration
		first    int           // state at first
		then     int           // after the request
		after    time.Duration // when that state is there
		since    time.Duration // how long it has been in the first state
		echo     bool
		want     bool
		err      string
		most     time.Duration
	}{
		{name: "known", patience: gatewayPatience, first: unix.NUD_REACHABLE, want: true},
		{name: "set by hand", patience: gatewayPatience, first: unix.NUD_PERMANENT, want: true},
		{name: "answers the request", patience: gatewayPatience, first: unix.NUD_STALE, then: unix.NUD_STALE, echo: true, want: true, most: 50 * time.Millisecond},
		{name: "found by the request", patience: gatewayPatience, first: unix.NUD_NONE, then: unix.NUD_REACHABLE, after: 30 * time.Millisecond, want: true, most: 60 * time.Millisecond},
		{name: "failed, and found now", patience: gatewayPatience, first: unix.NUD_FAILED, then: unix.NUD_REACHABLE, after: 100 * time.Millisecond, want: true, most: 140 * time.Millisecond},
		{name: "nobody answers, asked for the first time", patience: gatewayPatience, first: unix.NUD_NONE, then: unix.NUD_INCOMPLETE, err: "the kernel still asks: a later check can tell"},
		{name: "nobody answered before, nor now", patience: gatewayPatience, first: unix.NUD_FAILED, then: unix.NUD_INCOMPLETE},
		{name: "asked for two seconds already", patience: gatewayPatience, first: unix.NUD_INCOMPLETE, then: unix.NUD_INCOMPLETE, since: 2 * time.Second},
		{name: "given up meanwhile", patience: gatewayPatience, first: unix.NUD_INCOMPLETE, then: unix.NUD_FAILED, after: 100 * time.Millisecond},
		{name: "known of old, silent", patience: gatewayPatience, first: unix.NUD_STALE, then: unix.NUD_DELAY, err: "knows the gateway of old"},
		{name: "interface down", patience: gatewayPatience, first: unix.NUD_NONE, then: unix.NUD_NONE, err: "is its interface up?"},
		{name: "a declared check waits for the second question", patience: declaredPatience, first: unix.NUD_NONE, then: unix.NUD_INCOMPLETE},
		{name: "a declared check takes a late answer", patience: declaredPatience, first: unix.NUD_NONE, then: unix.NUD_REACHABLE, after: 1100 * time.Millisecond, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var asked atomic.Bool
				g := gateway{patience: c.patience, state: func() (neighbour, error) {
					if !asked.Load() || time.Since(start) < c.after {
						return neighbour{c.first, c.since + time.Since(start)}, nil
					}
					return neighbour{c.then, c.since + time.Since(start) - c.after}, nil
				}, echo: func(ctx context.Context) bool {
					asked.Store(true)
					if !c.echo {
						<-ctx.Done()
					}
					return c.echo
				}}
				got, err := g.reachable(t.Context())
				took := time.Since(start)
				if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("reachable %v, %v; want %v, %q", got, err, c.want, c.err)
				}
				if c.most == 0 {
					c.most = c.patience + 50*time.Millisecond
				}
				if took > c.most {
					t.Errorf("it took %v, %v at most", took, c.most)
				}
				synctest.Wait()
			})
		})
	}
}

// TestGatewayNetlinkHangs: a kernel that does not answer keeps nobody waiting, and is no gateway that is gone.
func TestGatewayNetlinkHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g := gateway{patience: gatewayPatience, state: func() (neighbour, error) { <-release; return neighbour{}, os.ErrClosed }, echo: func(context.Context) bool { return false }}
		start := time.Now()
		_, err := g.reachable(t.Context())
		if took := time.Since(start); took > 300*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

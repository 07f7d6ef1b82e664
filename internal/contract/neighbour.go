package contract

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Bounds on one gateway. A check of a host has little time: an answer on a link comes within milliseconds. A declared check waits until the
// kernel has asked a second time (after retrans_time_ms, a second): one lost packet is no gateway that is not there.
const (
	gatewayPatience  = 250 * time.Millisecond
	declaredPatience = 1200 * time.Millisecond
	gatewayStep      = 20 * time.Millisecond
	netlinkPatience  = 500 * time.Millisecond
)

// Why it could not be told whether a gateway is reachable: it was once, and routers need not answer pings; or the kernel, which asks three
// times with a second between (mcast_solicit), has not given up.
var (
	errNoAnswer = errors.New("the neighbour table knows the gateway of old, and it does not answer an echo request")
	errAsking   = errors.New("nobody answers for the gateway's address, and the kernel still asks: a later check can tell")
)

// neighbour is what the table says of an address: its state, and how long it has been so.
type neighbour struct {
	state int
	since time.Duration
}

// askAgain is when the kernel asks a second time (retrans_time_ms of include/net/neighbour.h).
const askAgain = time.Second

// gateway is one question for a gateway. The functions are those of this machine, others in tests.
type gateway struct {
	patience time.Duration
	state    func() (neighbour, error)  // of the neighbour table
	echo     func(context.Context) bool // sends a request and waits for its answer
}

// gatewayReachable reports whether a gateway answers on its link. The neighbour table knows it of most (traffic confirms it);
// where it does not, an echo request makes the kernel look for the gateway, and its answer or the table tells.
func gatewayReachable(ctx context.Context, r *route, patience time.Duration) (bool, error) {
	g := gateway{patience: patience, echo: func(ctx context.Context) bool { return echo(ctx, r) }, state: func() (neighbour, error) { return neighbourState(r) }}
	return g.reachable(ctx)
}

// reachable is bounded by the patience, whatever netlink does.
func (g *gateway) reachable(ctx context.Context) (bool, error) {
	return within(ctx, g.patience+2*gatewayStep, func() (bool, error) { return g.ask(ctx) })
}

func (g *gateway) ask(ctx context.Context) (bool, error) {
	first, err := g.state()
	if err != nil || first.confirmed() {
		return err == nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	answered := make(chan bool, 1)
	go func() { answered <- g.echo(ctx) }()
	tick := time.NewTicker(gatewayStep)
	defer tick.Stop()
	for {
		select {
		case yes := <-answered:
			if yes {
				return true, nil
			}
			answered = nil
		case <-tick.C:
		case <-ctx.Done():
			return g.lastWord(first)
		}
		if now, err := g.state(); err != nil || now.confirmed() {
			return err == nil, err
		}
	}
}

// lastWord is what the table says at the end: an address that nobody answered for, asked twice or now and before, is not reachable; one
// of old is open, and so is one that the kernel only began to ask for.
func (g *gateway) lastWord(first neighbour) (bool, error) {
	now, err := g.state()
	if err != nil {
		return false, err
	}
	switch {
	case now.confirmed():
		return true, nil
	case now.state&unix.NUD_FAILED != 0, now.state&unix.NUD_INCOMPLETE != 0 && (first.state&unix.NUD_FAILED != 0 || now.since >= askAgain):
		return false, nil
	case now.state&unix.NUD_INCOMPLETE != 0:
		return false, errAsking
	case now.state == unix.NUD_NONE:
		return false, errors.New("the kernel does not look for the gateway: is its interface up?")
	}
	return false, errNoAnswer
}

// confirmed reads a neighbour's state (include/uapi/linux/neighbour.h): what is confirmed, set by hand or needs no
// address is reachable. FAILED alone is no verdict at first: it may be of a minute ago.
func (n neighbour) confirmed() bool {
	return n.state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0
}

// userTick is the unit of times that the kernel tells of neighbours: USER_HZ is 100 wherever this runs.
const userTick = 10 * time.Millisecond

// neighbourState is the state of the route's gateway: NUD_NONE where the table does not have it.
func neighbourState(r *route) (neighbour, error) {
	link, err := net.InterfaceByName(r.iface)
	if err != nil {
		return neighbour{}, fmt.Errorf("look up interface %s: %w", r.iface, err)
	}
	family := netlink.FAMILY_V4
	if r.family == "inet6" {
		family = netlink.FAMILY_V6
	}
	all, err := netlink.NeighList(link.Index, family)
	if err != nil {
		return neighbour{}, fmt.Errorf("list neighbours of %s: %w", r.iface, err)
	}
	for _, n := range all {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == r.gateway.Unmap() {
			return neighbour{n.State, time.Duration(n.Updated) * userTick}, nil
		}
	}
	// A point-to-point or loopback link resolves nothing: there is nothing to be reached on the link itself.
	if link.Flags&(net.FlagPointToPoint|net.FlagLoopback) != 0 {
		return neighbour{state: unix.NUD_NOARP}, nil
	}
	return neighbour{state: unix.NUD_NONE}, nil
}

// echo sends one echo request and waits for its answer. That it could not be sent is no answer.
func echo(ctx context.Context, r *route) bool {
	network, where, proto := "ip4:icmp", "0.0.0.0", 1
	var request icmp.Type = ipv4.ICMPTypeEcho
	if r.gateway.Is6() {
		network, where, proto, request = "ip6:ipv6-icmp", "::", 58, ipv6.ICMPTypeEchoRequest
	}
	conn, err := icmp.ListenPacket(network, where)
	if err != nil {
		return false
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if conn.SetDeadline(deadline) != nil {
			return false
		}
	}
	id := os.Getpid() & 0xffff
	m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: 1, Data: []byte("lastgood")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return false
	}
	to := &net.IPAddr{IP: r.gateway.AsSlice()}
	if r.gateway.IsLinkLocalUnicast() {
		to.Zone = r.iface
	}
	if _, err := conn.WriteTo(b, to); err != nil {
		return false
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return false
		}
		got, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || !sameIP(from, r.gateway) {
			continue
		}
		body, ok := got.Body.(*icmp.Echo)
		if ok && body.ID == id && (got.Type == ipv4.ICMPTypeEchoReply || got.Type == ipv6.ICMPTypeEchoReply) {
			return true
		}
	}
}

func sameIP(from net.Addr, want netip.Addr) bool {
	a, ok := from.(*net.IPAddr)
	if !ok {
		return false
	}
	have, ok := netip.AddrFromSlice(a.IP)
	return ok && have.Unmap() == want.Unmap().WithZone("")
}

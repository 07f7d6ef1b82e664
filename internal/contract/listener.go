package contract

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const listenerKind = "net.listener"

var _ = catalogue.Add(source.Source{
	Name: "listeners",
	Doc: `sockets that services listen on, and whose they are

Reads /proc/net/tcp, tcp6, udp and udp6. Ports that the kernel hands out by itself are left out, and those
that a resolver asks from or an RPC service happened to find free. The process is looked for
in /proc for a few hundredths of a second, and is not known where that does not suffice.`,
	Kinds: []snapshot.Kind{listenerDeclared},
	Tier:  source.Native,
	Read:  readListeners,
})

const listenerHint = "ss -lntup; systemctl status {attr:unit}"

var listenerDeclared = snapshot.Kind{
	Name: listenerKind,
	Doc:  "a socket that listens on a fixed port, known by protocol, address and port.",
	Attrs: []snapshot.Attr{
		{Name: "unit", Doc: "systemd unit of the process, or session, container; unknown where it was not found"},
		{Name: "by", Doc: "service, session, container or unknown: whose it is"},
		{Name: "process", Noise: snapshot.Evidence, Doc: "name of the process"},
		{Name: "user", Doc: "number of the user who opened it"},
		{Name: "reach", Order: []string{"any", "address", "loopback"}, Doc: "any, one address, or loopback only"},
	},
	Rules: []snapshot.Rule{
		{Code: "listener-missing", On: snapshot.OnMissing, Where: map[string]string{"by": "service"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Symptom: true,
			Message: "nobody listens on {name}; {attr:process} ({attr:unit}) did", Hint: listenerHint},
		{Code: "listener-missing", On: snapshot.OnMissing, Where: map[string]string{"by": "unknown"}, Severity: snapshot.Warning, Class: snapshot.ClassService, Symptom: true, Message: "nobody listens on {name}; somebody did"},
		{Code: "listener-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassService, Symptom: true, Message: "nobody listens on {name}; {attr:process} of a {attr:by} did"},
		{Code: "listener-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "{attr:process} ({attr:unit}) listens on {name}, nobody did"},
		{Code: "listener-moved", On: snapshot.OnChanged, Attr: "unit", Severity: snapshot.Info, Class: snapshot.ClassService, Message: "{name} belongs to {new}, belonged to {old}"},
	},
}

// socket is a line of /proc/net/tcp and its like that listens.
type socket struct {
	proto string
	addr  netip.AddrPort
	uid   string
	inode string
}

// State of a listening TCP socket, and of an unconnected UDP one (include/net/tcp_states.h).
const (
	tcpListen = "0A"
	udpClosed = "07"
)

// parseSockets reads the listening sockets of one table (net/ipv4/tcp_ipv4.c, get_tcp4_sock): an address is hexadecimal,
// each 32 bits of it in the host's byte order, little-endian on every machine that this is built for.
func parseSockets(proto, text string) []socket {
	state := tcpListen
	if strings.HasPrefix(proto, "udp") {
		state = udpClosed
	}
	var out []socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != state {
			continue
		}
		addr, port, found := strings.Cut(f[1], ":")
		ip := hexAddr(addr)
		n, err := strconv.ParseUint(port, 16, 16)
		if !found || err != nil || !ip.IsValid() || n == 0 {
			continue
		}
		out = append(out, socket{strings.TrimSuffix(proto, "6"), netip.AddrPortFrom(ip, uint16(n)), f[7], f[9]})
	}
	return out
}

// hexAddr turns each group of four bytes about: the zero Addr is no address.
func hexAddr(s string) netip.Addr {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.Addr{}
	}
	for i := 0; i+4 <= len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

// ephemeralFrom is the first port of those that the kernel hands out: the least of ip_local_port_range, or its default.
func ephemeralFrom(ctx context.Context, root *sysfs.Root) uint16 {
	text, err := root.Attr(ctx, "/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		first, _, _ := strings.Cut(text, "\t")
		if n, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16); err == nil && n > 1024 {
			return uint16(n)
		}
	}
	return 32768
}

// listening reads all four tables. read is false where none is there.
func listening(ctx context.Context, root *sysfs.Root) (out []socket, read bool, err error) {
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, found, e := readText(ctx, root, maxTable, "/proc/net/"+proto)
		err, read = errors.Join(err, e), read || found
		out = append(out, parseSockets(proto, text)...)
	}
	return out, read, err
}

func readListeners(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	all, read, err := listening(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	if !read {
		return nil, errNoTable(h, "/proc/net/tcp")
	}
	from := ephemeralFrom(ctx, h.Root)
	all = slices.DeleteFunc(all, func(s socket) bool { return s.addr.Port() >= from })
	owners := map[string]owner{}
	if h.Root.Live() {
		owners = findOwners(ctx, h.Root, all)
	}
	var out []snapshot.Subject
	for _, s := range all {
		if !passingPort(&s, owners[s.inode].process, all) {
			out = append(out, listenerSubject(&s, owners[s.inode]))
		}
	}
	return dropTwins(out), settled(ctx, h)
}

// Programs that bind ports of their own choice, others at each boot or question.
var (
	// askers send each question from another port, against forged answers (RFC 5452, 9.2).
	askers = []string{"unbound", "dnsmasq", "named", "pdns_recursor", "dhclient"}
	// rpcs take a reserved port as bindresvport(3) finds one free, from 600 on, or 512 where those are taken.
	rpcs = []string{"rpcbind", "rpc.statd", "rpc.mountd", "rpc.rquotad", "ypbind", "ypserv"}
)

// passingPort reports whether a socket's port is one that its program happened to choose, which nobody asks for by its number. A
// resolver that serves on a high port listens there by TCP too.
func passingPort(s *socket, process string, all []socket) bool {
	port := s.addr.Port()
	switch {
	case slices.Contains(rpcs, process):
		return port >= 512 && port < 1024
	case !slices.Contains(askers, process) || s.proto != "udp" || port < 1024:
		return false
	}
	return !slices.ContainsFunc(all, func(o socket) bool { return o.proto == "tcp" && o.addr.Port() == port })
}

func listenerSubject(l *socket, o owner) snapshot.Subject {
	s := snapshot.Subject{Kind: listenerKind, ID: l.proto + "/" + l.addr.String(), Outcome: snapshot.Measured}
	s.Set("user", snapshot.Text(l.uid))
	reach := "address"
	switch ip := l.addr.Addr(); {
	case ip.IsUnspecified():
		reach = "any"
	case ip.IsLoopback():
		reach = "loopback"
	}
	s.Set("reach", snapshot.Text(reach))
	if o.by == "" {
		o = owner{process: "a process", unit: "unknown", by: "unknown"}
	}
	s.Set("process", snapshot.Text(o.process))
	s.Set("unit", snapshot.Text(o.unit))
	s.Set("by", snapshot.Text(o.by))
	if o.by == "service" {
		s.Parent = unitKind + "/" + o.unit
	}
	return s
}

// owner is who holds a socket.
type owner struct{ process, unit, by string }

// ownerBudget bounds the look through /proc: one link is read per open file of every process.
const ownerBudget = 40 * time.Millisecond

// findOwners looks in /proc for the processes that hold the sockets, newest last, until all are found or time is up.
func findOwners(ctx context.Context, root *sysfs.Root, all []socket) map[string]owner {
	wanted := map[string]bool{}
	for _, s := range all {
		wanted["socket:["+s.inode+"]"] = true
	}
	end := time.Now().Add(ownerBudget)
	out := map[string]owner{}
	pids, _ := root.List(ctx, "/proc") // without it no owner is known
	slices.SortFunc(pids, func(a, b string) int { return len(a) - len(b) })
	for _, pid := range pids {
		if !isNumber(pid) || len(wanted) == 0 || time.Now().After(end) {
			continue
		}
		fds, err := root.List(ctx, "/proc", pid, "fd")
		if err != nil || len(fds) > 4096 {
			continue // another user's, gone, or a proxy with too many connections
		}
		for _, fd := range fds {
			// The link is no path: Target would make one of it.
			if time.Now().After(end) {
				return out
			}
			t, err := root.Link(ctx, "/proc", pid, "fd", fd)
			if err != nil || !wanted[t] {
				continue
			}
			delete(wanted, t)
			inode := strings.TrimSuffix(strings.TrimPrefix(t, "socket:["), "]")
			out[inode] = ownerOf(ctx, root, pid)
		}
	}
	return out
}

func ownerOf(ctx context.Context, root *sysfs.Root, pid string) owner {
	o := owner{process: "a process", unit: "unknown", by: "unknown"}
	if comm, err := root.Attr(ctx, "/proc", pid, "comm"); err == nil {
		o.process = comm
	}
	if text, err := root.Attr(ctx, "/proc", pid, "cgroup"); err == nil {
		o.unit, o.by = parseOwnerCgroup(text)
	}
	return o
}

// parseOwnerCgroup tells from /proc/PID/cgroup (cgroups(7)) which unit, session or container a process belongs to.
func parseOwnerCgroup(text string) (unit, by string) {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, p, found := strings.Cut(rest, ":")
		if !found || controllers != "" && controllers != "name=systemd" {
			continue
		}
		for _, e := range strings.Split(p, "/") {
			if containerRuntime(e) != "" || strings.HasPrefix(e, "kubepods") || e == "docker" || e == "machine.slice" {
				return "container", "container"
			}
			if e == "user.slice" {
				return "session", "session"
			}
		}
		for _, e := range slices.Backward(strings.Split(p, "/")) {
			if ext := path.Ext(e); ext == ".service" {
				return e, "service"
			}
			if e == "init.scope" {
				return e, "service"
			}
		}
	}
	return "unknown", "unknown"
}

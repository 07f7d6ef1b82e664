package contract

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const routeKind = "net.route"

var _ = catalogue.Add(source.Source{
	Name: "routes",
	Doc: `default routes, and whether their gateways are reachable

Reads /proc/net/route and ipv6_route. A gateway's state is the neighbour table's; where that does not know, one echo request
is sent to it. All gateways are asked side by side, a quarter of a second at most.`,
	Kinds: []snapshot.Kind{routeDeclared},
	Tier:  source.Native,
	Read:  readRoutes,
})

var routeDeclared = snapshot.Kind{
	Name: routeKind,
	Doc:  "a default route, known by its family and its interface.",
	Attrs: []snapshot.Attr{
		{Name: "gateway", Doc: "address of the router; none where the interface is the way"},
		{Name: "interface", Doc: "interface that it leaves by"},
		{Name: "metric", Noise: snapshot.Evidence, Doc: "its metric"},
		{Name: "by", Doc: "ra where a router announced it, else set"},
		{Name: "reachable", Order: []string{"yes", "no"}, Doc: "yes where the gateway answers on its link; no where it does not. Only where it could be told"},
	},
	Rules: []snapshot.Rule{
		{Code: "route-missing", On: snapshot.OnMissing, Where: map[string]string{"by": "set"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "the default route {name} by {attr:gateway} is gone", Hint: "ip route; is the interface up, and has it its address?"},
		{Code: "route-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassService, Message: "the default route {name}, which a router announced, is gone"},
		{Code: "gateway-unreachable", On: snapshot.OnBecomes, Attr: "reachable", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "gateway {attr:gateway} of {name} does not answer on {attr:interface}, did", Hint: "ip neigh show dev {attr:interface}; cable, VLAN, bridge ports"},
		{Code: "gateway-changed", On: snapshot.OnChanged, Attr: "gateway", Severity: snapshot.Warning, Class: snapshot.ClassConfig, Message: "the default route {name} goes by {new}, went by {old}"},
		{Code: "route-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "default route {name} by {attr:gateway} is new"},
	},
}

// route is a default route of the main table.
type route struct {
	family    string // inet, inet6
	iface     string
	gateway   netip.Addr // not valid where there is none
	metric    uint64
	announced bool // by a router advertisement
}

// Flags of include/uapi/linux/route.h and ipv6_route.h.
const (
	rtfUp       = 0x1
	rtfGateway  = 0x2
	rtfReject   = 0x200
	rtfAddrconf = 0x40000
)

// parseRoute4 reads the default routes of /proc/net/route (net/ipv4/fib_trie.c, fib_route_seq_show): addresses are
// hexadecimal in the host's byte order, which is little-endian on every machine that this is built for.
func parseRoute4(text string) []route {
	var out []route
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil || flags&rtfUp == 0 || flags&rtfReject != 0 {
			continue
		}
		r := route{family: "inet", iface: f[0]}
		if flags&rtfGateway != 0 {
			b, err := hex.DecodeString(f[2])
			if err != nil || len(b) != 4 {
				continue
			}
			r.gateway = netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]})
		}
		if r.metric, err = strconv.ParseUint(f[6], 10, 32); err != nil {
			continue
		}
		out = append(out, r)
	}
	return out
}

// parseRoute6 reads the default routes of /proc/net/ipv6_route (net/ipv6/route.c, rt6_info_route): destination, length,
// source, length, next hop, metric, references, use, flags, interface; addresses in the order of the network.
func parseRoute6(text string) []route {
	var out []route
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" || f[9] == "lo" {
			continue
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		if err != nil || flags&rtfUp == 0 || flags&rtfReject != 0 {
			continue
		}
		r := route{family: "inet6", iface: f[9], announced: flags&rtfAddrconf != 0}
		if flags&rtfGateway != 0 {
			if r.gateway = hexAddr6(f[4]); !r.gateway.IsValid() {
				continue
			}
		}
		if r.metric, err = strconv.ParseUint(f[5], 16, 32); err != nil {
			continue
		}
		out = append(out, r)
	}
	return out
}

func hexAddr6(s string) netip.Addr {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte(b))
}

// defaultRoutes are the best default route of each family and interface. read is false where neither table is there.
func defaultRoutes(ctx context.Context, root *sysfs.Root) (out []route, read bool, err error) {
	v4, found4, err4 := readText(ctx, root, maxTable, "/proc/net/route")
	v6, found6, err6 := readText(ctx, root, maxTable, "/proc/net/ipv6_route")
	all := append(parseRoute4(v4), parseRoute6(v6)...)
	slices.SortStableFunc(all, func(a, b route) int { return int(int64(a.metric) - int64(b.metric)) })
	for _, r := range all {
		if !slices.ContainsFunc(out, func(o route) bool { return o.family == r.family && o.iface == r.iface }) {
			out = append(out, r)
		}
	}
	return out, found4 || found6, errors.Join(err4, err6)
}

func readRoutes(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	routes, read, err := defaultRoutes(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	if !read {
		return nil, errNoTable(h, "/proc/net/route")
	}
	routes = slices.DeleteFunc(routes, func(r route) bool { return passingInterface(r.iface) })
	out := make([]snapshot.Subject, len(routes))
	var wait sync.WaitGroup
	for i := range routes {
		wait.Go(func() { out[i] = routeSubject(ctx, h, &routes[i]) })
	}
	wait.Wait()
	return out, settled(ctx, h)
}

// ComesLater reports whether a gap is of a gateway that the kernel still asks for: a few seconds later it can be told.
func ComesLater(g *snapshot.Gap) bool {
	return g.Kind == routeKind && strings.HasSuffix(g.Reason, errAsking.Error())
}

// errNoTable says that a table of the kernel's is not there: on a recording nobody looked.
func errNoTable(h source.Host, name string) error {
	if !h.Root.Live() {
		return fmt.Errorf("%w: %s was not recorded", source.ErrSkipped, name)
	}
	return fmt.Errorf("read %s: not there", name)
}

func routeSubject(ctx context.Context, h source.Host, r *route) snapshot.Subject {
	s := snapshot.Subject{Kind: routeKind, ID: r.family + "/" + r.iface, Outcome: snapshot.Measured}
	s.Set("interface", snapshot.Text(r.iface))
	s.Set("metric", snapshot.Int(r.metric))
	by := "set"
	if r.announced {
		by = "ra"
	}
	s.Set("by", snapshot.Text(by))
	if !r.gateway.IsValid() {
		s.Set("gateway", snapshot.Text("none"))
		return s
	}
	s.Set("gateway", snapshot.Text(r.gateway.String()))
	if !h.Root.Live() {
		s.Fail("reachable", errNotLive)
		return s
	}
	reachable, err := gatewayReachable(ctx, r, gatewayPatience)
	if err != nil {
		s.Fail("reachable", err)
		return s
	}
	s.Set("reachable", yesNo(reachable))
	return s
}

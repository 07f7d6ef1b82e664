package contract

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func (c *RouteCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	routes, read, err := defaultRoutes(ctx, r.Host.Root)
	if err != nil || !read {
		return answer{}, errors.Join(err, errMissing(read, "/proc/net/route"))
	}
	family := c.Family
	if family == "" {
		family = "inet"
	}
	i := slices.IndexFunc(routes, func(o route) bool { return o.family == family }) // the best is first
	if i < 0 {
		return unmet("there is no default route of %s", family)
	}
	best := routes[i]
	gateway := "none"
	if best.gateway.IsValid() {
		gateway = best.gateway.String()
	}
	switch {
	case c.Dev != "" && best.iface != c.Dev:
		return unmet("the default route leaves by %s, want %s", best.iface, c.Dev)
	case c.Gateway != "" && gateway != netip.MustParseAddr(c.Gateway).String(): // it was parsed when it was read
		return unmet("the default gateway is %s, want %s", gateway, c.Gateway)
	}
	found := family + " " + best.iface + " " + gateway
	if !c.GatewayReachable || !best.gateway.IsValid() {
		return met(found)
	}
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	switch yes, err := gatewayReachable(ctx, &best, declaredPatience); {
	case err != nil:
		return answer{}, err
	case !yes:
		return unmet("gateway %s does not answer on %s", gateway, best.iface)
	}
	return met(found)
}

func (l *LinkCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	root, dir := r.Host.Root, "/sys/class/net/"+l.Name
	there, err := root.Exists(ctx, dir)
	if err != nil {
		return answer{}, err
	}
	if !there {
		return unmet("there is no interface %s", l.Name)
	}
	kind, ports, err := bridgePorts(ctx, root, dir)
	if err != nil {
		return answer{}, err
	}
	var bad []string
	if l.Kind != "" && kind != l.Kind {
		bad = append(bad, fmt.Sprintf("%s is %s, want %s", l.Name, either(kind == "", "no bridge, bond or VLAN", kind), l.Kind))
	}
	for _, p := range l.Ports {
		if !slices.Contains(ports, p) {
			bad = append(bad, fmt.Sprintf("%s is no port of %s", p, l.Name))
		}
	}
	if l.Carrier != nil {
		// An interface that is not set up answers EINVAL: it has no link.
		n, err := root.Int(ctx, dir, "carrier")
		if err != nil && !errors.Is(err, syscall.EINVAL) {
			return answer{}, err
		}
		if have := err == nil && n == 1; have != *l.Carrier {
			bad = append(bad, l.Name+either(have, " has a link", " has no link"))
		}
	}
	if l.MTU != 0 {
		n, err := root.Int(ctx, dir, "mtu")
		if err != nil {
			return answer{}, err
		}
		if int(n) != l.MTU {
			bad = append(bad, fmt.Sprintf("the MTU of %s is %d, want %d", l.Name, n, l.MTU))
		}
	}
	wrong, err := l.addressesWrong(r)
	if err != nil {
		return answer{}, err
	}
	return answer{why: strings.Join(append(bad, wrong...), "; "), observed: slices.DeleteFunc(ports, passingInterface)}, nil
}

func (l *LinkCheck) addressesWrong(r *Runner) (bad []string, err error) {
	if len(l.Addresses) == 0 {
		return nil, nil
	}
	if err := r.errLive(); err != nil {
		return nil, err
	}
	i, err := net.InterfaceByName(l.Name)
	if err != nil {
		return nil, err
	}
	have, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	for _, want := range l.Addresses {
		if !slices.ContainsFunc(have, func(a net.Addr) bool {
			ip, _, _ := strings.Cut(a.String(), "/")
			return a.String() == want || ip == want
		}) {
			bad = append(bad, fmt.Sprintf("%s does not have the address %s", l.Name, want))
		}
	}
	return bad, nil
}

// dnsTypes are the types of records that can be asked for.
var dnsTypes = map[string]dnsmessage.Type{"": dnsmessage.TypeA, "A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
	"NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "MX": dnsmessage.TypeMX, "TXT": dnsmessage.TypeTXT}

func (d *DNSCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	server, err := dnsServer(d.Server)
	if err != nil {
		return answer{}, err
	}
	networks := d.Transport
	if len(networks) == 0 {
		networks = []string{"udp"}
	}
	var a answer
	var bad []string
	for _, network := range networks {
		one, cancel := context.WithTimeout(ctx, 2*dnsPatience)
		got, err := askDNS(one, network, server, d.Name, dnsTypes[d.Type])
		cancel()
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		if why := d.wrong(&got); why != "" {
			bad = append(bad, fmt.Sprintf("%s over %s: %s", server, network, why))
		}
		a.observed = append(a.observed, got.records...)
	}
	a.why = strings.Join(bad, "; ")
	return a, nil
}

func (d *DNSCheck) wrong(got *dnsAnswer) string {
	want := d.RCode
	if want == "" {
		want = "NOERROR"
	}
	if have := rcodeName(got.rcode); !strings.EqualFold(have, want) {
		return fmt.Sprintf("%s is %s, want %s", d.Name, have, want)
	}
	equals := slices.Clone(d.Equals)
	slices.Sort(equals)
	switch {
	case len(equals) > 0 && !slices.Equal(equals, got.records):
		return fmt.Sprintf("%s is %s, want %s", d.Name, either(len(got.records) == 0, "without a record", listed(got.records)), listed(equals))
	case want == "NOERROR" && len(equals) == 0 && len(got.records) == 0:
		return d.Name + " has no record of that type"
	}
	return ""
}

func (c *HostnameCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	name, err := hostName(ctx, r.Host.Root)
	if err != nil {
		return answer{}, err
	}
	if c.Equals != "" && name != c.Equals {
		return unmet("the host is called %s, want %s", name, c.Equals)
	}
	if c.ResolvesTo == "" && !c.NoLoopback {
		return met(name)
	}
	short, _, _ := strings.Cut(name, ".") // pmxcfs takes the name without its domain
	addrs, _, err := lookUp(ctx, r.Host.Root, short)
	if err != nil {
		return answer{}, err
	}
	if len(addrs) == 0 {
		return unmet("the host's name %s leads to no address", short)
	}
	if i := slices.IndexFunc(addrs, netip.Addr.IsLoopback); c.NoLoopback && i >= 0 {
		return unmet("the host's name %s leads to %s, which is loopback", short, addrs[i])
	}
	if c.ResolvesTo != "local_interface" {
		return met(short)
	}
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	own, err := ownAddresses()
	if err != nil {
		return answer{}, err
	}
	for _, a := range addrs {
		if !slices.Contains(own, a.WithZone("")) {
			return unmet("the host's name %s leads to %s, which no interface has", short, a)
		}
	}
	return met(short)
}

func (c *TCPCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		if timedOut(err) {
			return unmet("%s takes no connection: no answer in time", c.Address)
		}
		return unmet("%s takes no connection: %v", c.Address, err)
	}
	return answer{observed: []string{c.Address}}, conn.Close()
}

func (c *HTTPCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return answer{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: maxFile,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: c.Insecure}} // the administrator says so
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		if timedOut(err) {
			return unmet("%s does not answer in time", c.URL)
		}
		return unmet("%v", err)
	}
	defer resp.Body.Close()
	want := c.Status
	if want == 0 {
		want = http.StatusOK
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput+1))
	switch {
	case resp.StatusCode != want:
		return unmet("%s answers %d, want %d", c.URL, resp.StatusCode, want)
	case err != nil:
		return unmet("%s breaks off its answer: %v", c.URL, err)
	case regexp.MustCompile(c.Body).Match(body): // it was compiled when it was read
	case len(body) > maxOutput:
		return answer{}, fmt.Errorf("the answer of %s is longer than %d bytes, and those do not match %s", c.URL, maxOutput, c.Body)
	default:
		return unmet("the answer of %s does not match %s", c.URL, c.Body)
	}
	return met(c.URL)
}

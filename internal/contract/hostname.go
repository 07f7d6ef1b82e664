package contract

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const nameKind = "host.name"

var _ = catalogue.Add(source.Source{
	Name: "host_name",
	Doc: `the host's name and where it leads

Reads /etc/hosts, and where the name is not in it asks the host's resolver, as NSS does by default (files before dns).`,
	Kinds: []snapshot.Kind{nameDeclared},
	Tier:  source.Native,
	Read:  readHostName,
})

var nameDeclared = snapshot.Kind{
	Name: nameKind,
	Doc:  "the host's own name. Proxmox's cluster file system does not start where it leads to loopback only.",
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "the name that the kernel has"},
		{Name: "addresses", Doc: "addresses that it leads to"},
		{Name: "leads_to", Order: []string{"host", "elsewhere", "loopback", "nowhere"}, Doc: "host where an address of this host's interfaces is among them, loopback where there is no other, elsewhere, nowhere"},
		{Name: "from", Doc: "hosts or dns: where that was found"},
		{Name: "pmxcfs", Doc: "yes where Proxmox's cluster file system is installed, which needs a name that is not loopback"},
	},
	Rules: []snapshot.Rule{
		{Code: "hostname-changed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Warning, Class: snapshot.ClassConfig, Message: "the host is called {new}, was {old}"},
		{Code: "hostname-leads-nowhere", On: snapshot.OnWorse, Attr: "leads_to", Where: map[string]string{"pmxcfs": "yes"}, Severity: snapshot.Critical, Class: snapshot.ClassConfig,
			Message: "the host's name leads to {new} ({attr:addresses}), led to {old}: pmxcfs does not start", Hint: "write the host's own address before its name in /etc/hosts"},
		{Code: "hostname-leads-nowhere", On: snapshot.OnWorse, Attr: "leads_to", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "the host's name leads to {new} ({attr:addresses}), led to {old}", Hint: "write the host's own address before its name in /etc/hosts"},
		{Code: "hostname-addresses-changed", On: snapshot.OnChanged, Attr: "addresses", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "the host's name leads to {new}, led to {old}"},
	},
}

// parseHosts finds the addresses of a name in hosts(5).
func parseHosts(text, name string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 || !slices.ContainsFunc(f[1:], func(n string) bool { return strings.EqualFold(n, name) }) {
			continue
		}
		if a, err := netip.ParseAddr(f[0]); err == nil && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// namePatience bounds the question to the resolver.
const namePatience = time.Second

// lookUp gives the addresses of a name, files before dns, and where they were found.
func lookUp(ctx context.Context, root *sysfs.Root, name string) (addrs []netip.Addr, from string, err error) {
	text, _, err := readText(ctx, root, maxFile, "/etc/hosts")
	if err != nil {
		return nil, "", err
	}
	if addrs = parseHosts(text, name); len(addrs) > 0 {
		return addrs, "hosts", nil
	}
	if !root.Live() {
		return nil, "", errNotLive
	}
	ctx, cancel := context.WithTimeout(ctx, namePatience)
	defer cancel()
	addrs, err = (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", name)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	if e, ok := err.(*net.DNSError); ok && e.IsNotFound {
		return nil, "dns", nil
	}
	return addrs, "dns", err
}

// ownAddresses are those of the interfaces, without loopback's.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	var out []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.Unmap().IsLoopback() {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out, err
}

// leadsTo weighs where a name leads.
func leadsTo(addrs, own []netip.Addr) string {
	switch {
	case len(addrs) == 0:
		return "nowhere"
	case slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(own, a.WithZone("")) }):
		return "host"
	case !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() }):
		return "loopback"
	}
	return "elsewhere"
}

func readHostName(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	name, err := hostName(ctx, h.Root)
	if err != nil {
		if sysfs.Absent(err) {
			return nil, errNoTable(h, "/proc/sys/kernel/hostname")
		}
		return nil, err
	}
	s := snapshot.Subject{Kind: nameKind, ID: "host", Label: name, Outcome: snapshot.Measured}
	s.Set("name", snapshot.Text(name))
	if pve, err := h.Root.Exists(ctx, "/usr/bin/pmxcfs"); err == nil {
		s.Set("pmxcfs", yesNo(pve))
	}
	addrs, from, err := lookUp(ctx, h.Root, name)
	if err != nil {
		s.Fail("addresses", err)
		s.Fail("leads_to", err)
		return []snapshot.Subject{s}, nil
	}
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	s.Set("addresses", snapshot.List(texts...))
	s.Set("from", snapshot.Text(from))
	// To loopback alone it leads whatever addresses the host has; these are not in a recording.
	if leads := leadsTo(addrs, nil); leads == "loopback" || leads == "nowhere" {
		s.Set("leads_to", snapshot.Text(leads))
		return []snapshot.Subject{s}, nil
	}
	if !h.Root.Live() {
		s.Fail("leads_to", errNotLive)
		return []snapshot.Subject{s}, nil
	}
	own, err := ownAddresses()
	if err != nil {
		s.Fail("leads_to", err)
	} else {
		s.Set("leads_to", snapshot.Text(leadsTo(addrs, own)))
	}
	return []snapshot.Subject{s}, nil
}

package contract

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const (
	addressKind = "net.address"
	bridgeKind  = "net.bridge"
)

var _ = catalogue.Add(source.Source{
	Name: "addresses",
	Doc: `addresses of the host's own interfaces

Asks the kernel by netlink. Interfaces of containers and guests (veth, tap, CNI's) are left out, and so are link-local and
temporary addresses.`,
	Kinds: []snapshot.Kind{addressDeclared},
	Tier:  source.Native,
	Read:  readAddresses,
})

var _ = catalogue.Add(source.Source{
	Name:  "bridges",
	Doc:   "bridges, bonds and VLANs: their ports and whether they have a link; by /sys/class/net",
	Kinds: []snapshot.Kind{bridgeDeclared},
	Tier:  source.Native,
	Read:  readBridges,
})

var addressDeclared = snapshot.Kind{
	Name: addressKind,
	Doc:  "an address of the host, known by itself and not by its interface.",
	Attrs: []snapshot.Attr{
		{Name: "interface", Doc: "interface that has it"},
		{Name: "prefix", Unit: snapshot.Count, Doc: "length of its prefix in bits"},
		{Name: "lasting", Doc: "yes where it was set for ever; no where it was leased or announced"},
		{Name: "floating", Doc: "yes where it stands alone (/32, /128) beside another address of its interface, as keepalived and kube-vip set one that may be on another host tomorrow"},
		{Name: "state", Doc: "usable, tentative, or duplicate where another host has it too"},
	},
	Rules: []snapshot.Rule{
		{Code: "address-missing", On: snapshot.OnMissing, Where: map[string]string{"floating": "yes"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "the host does not have address {name}, had it on {attr:interface} beside another one", Hint: "does it float, and is another host its master now? ip address; systemctl status keepalived"},
		{Code: "address-missing", On: snapshot.OnMissing, Where: map[string]string{"lasting": "yes", "floating": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "the host does not have address {name}, had it on {attr:interface}", Hint: "ip address; is {attr:interface} there, under that name?"},
		{Code: "address-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassService, Message: "the host does not have address {name}, had it leased or announced on {attr:interface}"},
		{Code: "address-moved", On: snapshot.OnChanged, Attr: "interface", Severity: snapshot.Warning, Class: snapshot.ClassConfig, Message: "address {name} is on {new}, was on {old}"},
		{Code: "address-duplicate", On: snapshot.OnBecomes, Attr: "state", From: []string{"usable"}, To: []string{"duplicate"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Message: "another host has address {name} too"},
		{Code: "address-prefix-changed", On: snapshot.OnChanged, Attr: "prefix", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "address {name} has a prefix of {new}, had {old}"},
		{Code: "address-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "the host has address {name} on {attr:interface}, had not"},
	},
}

var bridgeDeclared = snapshot.Kind{
	Name: bridgeKind,
	Doc:  "a bridge, bond or VLAN interface of the host's own, known by its name. Ports of guests and containers are left out.",
	Attrs: []snapshot.Attr{
		{Name: "type", Doc: "bridge, bond or vlan"},
		{Name: "ports", Better: snapshot.HigherBetter, Doc: "its ports that are the host's own, or what a VLAN lies on"},
		{Name: "carrier", Order: []string{"yes", "no"}, Doc: "yes where it has a link; only while it is set up"},
		{Name: "operstate", Doc: "its state (RFC 2863)"},
	},
	Rules: []snapshot.Rule{
		{Code: "bridge-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassService, Message: "{attr:type} {name} is gone", Hint: "ip -d link; networkctl or ifquery --state"},
		{Code: "bridge-port-lost", On: snapshot.OnWorse, Attr: "ports", Severity: snapshot.Critical, Class: snapshot.ClassService, Message: "{attr:type} {name} lost its port {lost}", Hint: "was the interface renamed? See `lastgood inventory net`"},
		{Code: "bridge-no-carrier", On: snapshot.OnBecomes, Attr: "carrier", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Message: "{attr:type} {name} has no link, had one"},
		{Code: "bridge-port-new", On: snapshot.OnBetter, Attr: "ports", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "{attr:type} {name} has a new port {gained}"},
		{Code: "bridge-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "{attr:type} {name} is new"},
	},
}

// passingInterfaces are made and removed with containers, guests and tunnels.
var passingInterfaces = regexp.MustCompile(`^(veth|cali|lxc|cilium_|kube-|nodelocaldns|docker|br-[0-9a-f]{12}$|cni|flannel|vnet[0-9]|tap|fwbr|fwpr|fwln|podman|lxdbr|nerdctl|tunl|vxlan|antrea|ovs-system|weave|gre[0-9]|sit[0-9]|ip6tnl|erspan|dummy)|^lo$`)

func passingInterface(name string) bool { return passingInterfaces.MatchString(name) }

func readAddresses(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if !h.Root.Live() {
		return nil, errNotLive
	}
	all, err := within(ctx, netlinkPatience, func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	names, err := interfaceNames(ctx)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	for _, a := range all {
		if s, ok := addressSubject(&a, names[a.LinkIndex]); ok {
			s.Set("floating", yesNo(floats(&a, all)))
			out = append(out, s)
		}
	}
	return dropTwins(out), settled(ctx, h)
}

// dropTwins keeps the first of the subjects that bear one ID: an address may stand on two interfaces.
func dropTwins(all []snapshot.Subject) []snapshot.Subject {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(s snapshot.Subject) bool {
		twice := seen[s.ID]
		seen[s.ID] = true
		return twice
	})
}

func interfaceNames(ctx context.Context) (map[int]string, error) {
	links, err := within(ctx, netlinkPatience, netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}

// forEver is INFINITY_LIFE_TIME of include/net/addrconf.h.
const forEver = 0xffffffff

func addressSubject(a *netlink.Addr, iface string) (snapshot.Subject, bool) {
	s := snapshot.Subject{Kind: addressKind, Outcome: snapshot.Measured}
	if a.IPNet == nil || iface == "" || passingInterface(iface) {
		return s, false
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	if ip = ip.Unmap(); !ok || ip.IsLoopback() || ip.IsLinkLocalUnicast() || a.Flags&unix.IFA_F_TEMPORARY != 0 && ip.Is6() {
		return s, false
	}
	bits, _ := a.Mask.Size()
	s.ID = ip.String()
	s.Set("interface", snapshot.Text(iface))
	s.Set("prefix", snapshot.Int(bits))
	s.Set("lasting", yesNo(a.Flags&unix.IFA_F_PERMANENT != 0 && uint32(a.ValidLft) == forEver || a.ValidLft == 0))
	state := "usable"
	switch {
	case a.Flags&unix.IFA_F_DADFAILED != 0:
		state = "duplicate"
	case a.Flags&unix.IFA_F_TENTATIVE != 0:
		state = "tentative"
	}
	s.Set("state", snapshot.Text(state))
	return s, true
}

// floats reports whether an address may be one that goes from host to host: it is alone in its network, and its interface has another
// one of the same family by which it is on the net. A cloud's only address of /32 does not float.
func floats(a *netlink.Addr, all []netlink.Addr) bool {
	alone := func(n *net.IPNet) bool { ones, bits := n.Mask.Size(); return ones == bits }
	if a.IPNet == nil || !alone(a.IPNet) {
		return false
	}
	return slices.ContainsFunc(all, func(o netlink.Addr) bool {
		return o.LinkIndex == a.LinkIndex && o.IPNet != nil && !alone(o.IPNet) && !o.IP.IsLinkLocalUnicast() && (o.IP.To4() == nil) == (a.IP.To4() == nil)
	})
}

func readBridges(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	names, err := h.Root.List(ctx, "/sys/class/net")
	if sysfs.Absent(err) {
		return nil, errNoTable(h, "/sys/class/net")
	}
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	var errs []error
	for _, name := range names {
		if passingInterface(name) {
			continue
		}
		s, err := bridgeSubject(ctx, h.Root, name)
		if err != nil {
			errs = append(errs, err)
		} else if s != nil {
			out = append(out, *s)
		}
	}
	return out, errors.Join(append(errs, settled(ctx, h))...)
}

// bridgeSubject reads one interface: nil where it is none of the three.
func bridgeSubject(ctx context.Context, root *sysfs.Root, name string) (*snapshot.Subject, error) {
	dir := path.Join("/sys/class/net", name)
	kind, ports, err := bridgePorts(ctx, root, dir)
	if err != nil || kind == "" {
		return nil, err
	}
	s := &snapshot.Subject{Kind: bridgeKind, ID: name, Outcome: snapshot.Measured}
	s.Set("type", snapshot.Text(kind))
	ports = slices.DeleteFunc(ports, passingInterface)
	s.Set("ports", snapshot.List(ports...))
	if state, err := root.Attr(ctx, dir, "operstate"); err == nil {
		s.Set("operstate", snapshot.Text(state))
	} else {
		s.Fail("operstate", err)
	}
	if len(ports) == 0 { // its link is that of guests and containers
		return s, nil
	}
	switch n, err := root.Int(ctx, dir, "carrier"); {
	case err == nil:
		s.Set("carrier", yesNo(n == 1))
	case errors.Is(err, unix.EINVAL): // it is not set up (net/core/net-sysfs.c, carrier_show)
	case !sysfs.Absent(err):
		s.Fail("carrier", err)
	}
	return s, nil
}

// bridgePorts tells a bridge (brif), a bond (bonding/slaves) and a VLAN (/proc/net/vlan is not needed: uevent says so).
func bridgePorts(ctx context.Context, root *sysfs.Root, dir string) (kind string, ports []string, err error) {
	ports, err = root.List(ctx, dir, "brif")
	if err == nil {
		return "bridge", ports, nil
	}
	if !sysfs.Absent(err) && !errors.Is(err, unix.ENOTDIR) {
		return "", nil, err
	}
	slaves, err := root.Attr(ctx, dir, "bonding/slaves")
	if err == nil {
		return "bond", strings.Fields(slaves), nil
	}
	uevent, err := root.Attr(ctx, dir, "uevent")
	if err != nil || !strings.Contains(uevent, "DEVTYPE=vlan") {
		return "", nil, nil
	}
	all, err := root.List(ctx, dir)
	for _, n := range all {
		if lower, ok := strings.CutPrefix(n, "lower_"); ok {
			ports = append(ports, lower)
		}
	}
	return "vlan", ports, err
}

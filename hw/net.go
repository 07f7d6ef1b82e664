package hw

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const netKind = "net.interface"

var _ = catalogue.Add(source.Source{
	Name: "net",
	Doc: `network interfaces that are hardware

Reads /sys/class/net, and netlink for the permanent address. Left out are
interfaces without a device behind them (lo, bridges, bonds, VLANs, veth, tunnels):
they come and go with containers and are not hardware.`,
	Kinds: []snapshot.Kind{netInterface},
	Read:  readNet,
})

var netInterface = snapshot.Kind{
	Name:     netKind,
	Doc:      "a network interface with a device behind it, known by its permanent address, or else by where it sits",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "what it is called today"},
		{Name: "mac", Doc: "permanent address, or the present one where there is none"},
		{Name: "speed_bits", Unit: snapshot.Bits, Better: snapshot.HigherBetter, Doc: "speed of the link; only while it is up"},
		{Name: "mtu", Unit: snapshot.Bytes, Doc: "largest packet"},
		{Name: "operstate", Doc: "state of the link (RFC 2863)"},
		{Name: "driver", Doc: "driver"},
		{Name: "hotplug", Doc: "yes where it may come and go: on USB, or an SR-IOV virtual function"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "slot and port"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "nic-missing", On: snapshot.OnMissing, Where: map[string]string{"hotplug": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "network interface {name} is gone", Hint: "look for its driver and its firmware in the kernel's log"},
		{Code: "nic-hotplug-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "network interface {name} is gone; it is on USB or a virtual function, or could not say"},
		{Code: "nic-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "network interface {name} is new"},
		{Code: "nic-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "same network interface: was {old}, is {new}; what is configured for {old} does not reach it", Hint: "pin the name with a .link file that matches its MAC address"},
		{Code: "nic-driver-changed", On: snapshot.OnChanged, Attr: "driver", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "network interface {name} is driven by {new}, was {old}"},
		{Code: "nic-slower", On: snapshot.OnWorse, Attr: "speed_bits", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the link of {name} came up at {new}, was {old}"},
		{Code: "nic-link-lost", On: snapshot.OnBecomes, Attr: "operstate", From: []string{"up"}, To: []string{"down", "lowerlayerdown", "notpresent"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "network interface {name} is {new}, was {old}"},
		{Code: "nic-mtu-changed", On: snapshot.OnChanged, Attr: "mtu", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Message: "the MTU of {name} is {new}, was {old}"},
	},
}

// netlinkPatience bounds each netlink question: rtnl may be held by another.
const netlinkPatience = time.Second

func readNet(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	var permanent func(string) (net.HardwareAddr, error)
	if h.Root.Live() {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err == nil {
			defer nl.Close()
			err = nl.SetSocketTimeout(netlinkPatience)
		}
		permanent = func(name string) (net.HardwareAddr, error) { return permanentAddress(nl, name, err) }
	}
	subjects, err := scan(ctx, h, "/sys/class/net", netKind, func(d *device) bool { return d.readNIC(permanent) })
	crossCheckNet(h, subjects)
	return subjects, err
}

func permanentAddress(nl *netlink.Handle, name string, broken error) (net.HardwareAddr, error) {
	if broken != nil {
		return nil, fmt.Errorf("open netlink: %w", broken)
	}
	link, err := nl.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("ask netlink for %s: %w", name, err)
	}
	return link.Attrs().PermHWAddr, nil
}

func (d *device) readNIC(permanent func(string) (net.HardwareAddr, error)) bool {
	real, err := d.root.Exists(d.ctx, d.dir, "device")
	if err != nil {
		d.doubt(err)
	} else if !real {
		return false
	}
	d.Set("name", snapshot.Text(d.name))
	d.settle(d.dir)
	// Several ports behind one PCI function are told apart by number.
	if port := d.attr("location", "dev_port"); port != "" && port != "0" {
		d.place += "/port" + port
		d.Set("location", snapshot.Text(d.place))
	}
	d.Parent = d.hangsOn(d.dir)
	d.hotplug()
	mac := d.macAddress(permanent)
	if mac != nil {
		d.Set("mac", snapshot.Text(mac.String()))
	}
	d.place = "at:" + d.place
	d.Set("aliases", snapshot.List(append(d.aliases[:len(d.aliases):len(d.aliases)], d.place)...))
	drv, err := d.root.Link(d.ctx, d.dir, "device", "driver")
	switch {
	case err == nil:
		d.Set("driver", snapshot.Text(drv))
	case sysfs.Absent(err):
		d.Set("driver", snapshot.Text("none"))
	default:
		d.Fail("driver", err)
	}
	d.number("mtu", 1, "mtu")
	if d.keep("operstate", "operstate") == "up" {
		d.linkSpeed() // last, for it may wait for the rtnl lock
	}
	d.Label = d.name
	return true
}

func (d *device) hotplug() {
	vf, err := d.root.Exists(d.ctx, d.dir, "device", "physfn")
	if err != nil {
		d.Fail("hotplug", err)
		return
	}
	d.Set("hotplug", yesNo(vf || onUSB(d.dir)))
}

// linkSpeed reads Mb/s; -1 is the kernel's word for a speed that it does not know
// (SPEED_UNKNOWN), and a virtual link answers EINVAL.
func (d *device) linkSpeed() {
	n, err := d.root.Int(d.ctx, d.dir, "speed")
	switch {
	case err == nil && n > 0:
		d.Set("speed_bits", snapshot.Int(n*1e6))
	case err != nil && !sysfs.Absent(err) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP):
		d.Fail("speed_bits", err)
	}
}

// assignedPermanent is NET_ADDR_PERM of include/uapi/linux/netdevice.h: the
// address in use is the one that the adapter was made with.
const assignedPermanent = "0"

// macAddress gives the permanent address and makes it an alias where it is one
// of the maker's. A bond lends its members another; so the present address
// counts only where the kernel says that it is permanent. Netlink that knows no such
// interface proves nothing: it may look into another network namespace than the one
// that /sys was mounted in (nsenter --net); scan drops what is really gone.
func (d *device) macAddress(permanent func(string) (net.HardwareAddr, error)) net.HardwareAddr {
	var asked error
	if permanent != nil {
		var mac net.HardwareAddr
		if mac, asked = permanent(d.name); asked == nil && len(mac) > 0 {
			d.aliasMAC(mac)
			return mac
		}
	}
	present, err := d.root.Attr(d.ctx, d.dir, "address")
	if sysfs.Absent(err) || (err == nil && present == "") {
		return nil
	}
	how, howErr := d.root.Attr(d.ctx, d.dir, "addr_assign_type")
	if err != nil {
		d.Fail("mac", err)
		d.doubt(err)
		return nil
	}
	mac, err := net.ParseMAC(present)
	if err != nil {
		d.Fail("mac", fmt.Errorf("read address: %w", err))
		return nil
	}
	switch {
	case howErr != nil && !sysfs.Absent(howErr):
		d.doubt(howErr)
	case how == assignedPermanent:
		d.aliasMAC(mac)
	default:
		d.doubt(asked) // the permanent one is another, and nobody could say which
	}
	return mac
}

// aliasMAC makes an address an alias that its maker gave: 48 bits, for one
// station, universally administered (IEEE 802, the two low bits of the first
// byte) and not all zeros.
func (d *device) aliasMAC(mac net.HardwareAddr) {
	if len(mac) == 6 && mac[0]&3 == 0 && strings.Trim(mac.String(), "0:") != "" {
		d.alias("mac", mac.String())
	}
}

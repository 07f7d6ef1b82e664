package hw

import (
	"context"
	"fmt"
	"net"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const netKind = "net.interface"

var _ = catalogue.Add(source.Source{
	Name: "net",
	Doc: `network interfaces that are hardware

Reads /sys/class/net; netlink for the permanent address and for what the link was
negotiated to; the firmware's version with an ioctl. Left out are
interfaces without a device behind them (lo, bridges, bonds, VLANs, veth, tunnels):
they come and go with containers and are not hardware.`,
	Kinds: []snapshot.Kind{netInterface},
	Read:  readNet,
})

const linkHint = "a link may take seconds to be negotiated: check again in a minute, then look at the cable and the other side"

var netInterface = snapshot.Kind{
	Name:     netKind,
	Doc:      "a network interface with a device behind it, known by its permanent address, or else by where it sits",
	Required: true,
	// A card whose address cannot be read any more is where it was; one that bears another is
	// another.
	AliasAttr:   "aliases",
	WeakAliases: []string{"at"},
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "what it is called today"},
		{Name: "mac", Doc: "permanent address, or the present one where there is none"},
		{Name: "mac_from", Doc: "permanent where its maker gave the address, random, stolen or set where the kernel or somebody did"},
		{Name: "speed_bits", Unit: snapshot.Bits, Better: snapshot.HigherBetter, Doc: "speed of the link; only while it is up"},
		{Name: "mtu", Unit: snapshot.Bytes, Doc: "largest packet"},
		{Name: "operstate", Doc: "state of the link (RFC 2863)"},
		{Name: "carrier", Doc: "yes where there is a signal on the link; only while the interface is set up"},
		{Name: "duplex", Order: []string{"full", "half"}, Doc: "full where both sides may send at once; only while the link is up"},
		{Name: "autoneg", Doc: "on where speed and duplex are negotiated"},
		{Name: "modes", Noise: snapshot.Evidence, Doc: "link modes that it offers to the other side"},
		{Name: "fec", Doc: "forward error correction at work"},
		{Name: "used", Doc: "yes where it had a link or belongs to a bridge or bond"},
		{Name: "master", Doc: "bridge or bond that it belongs to, or none"},
		{Name: "altnames", Noise: snapshot.Evidence, Doc: "other names that it answers to"},
		{Name: "vfs", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "SR-IOV virtual functions that it has"},
		{Name: "firmware", Doc: "version of its firmware"},
		{Name: "driver", Doc: "driver"},
		{Name: "hotplug", Doc: "yes where it may come and go: on USB, or an SR-IOV virtual function"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "slot and port"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "nic-missing", On: snapshot.OnMissing, Where: map[string]string{"hotplug": "no", "used": "yes"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "network interface {name} is gone", Hint: "look for its driver and its firmware in the kernel's log"},
		{Code: "nic-unused-missing", On: snapshot.OnMissing, Where: map[string]string{"hotplug": "no", "used": "no"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "network interface {name} is gone; it had no link"},
		{Code: "nic-hotplug-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "network interface {name} is gone; it is on USB or a virtual function, or could not say"},
		{Code: "nic-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "network interface {name} is new"},
		{Code: "nic-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "same network interface: was {old}, is {new}; what names it {old}: {users}", Hint: "pin the name with a .link file that matches its MAC address"},
		{Code: "nic-mac-random", On: snapshot.OnBecomes, Attr: "mac_from", From: []string{"permanent"}, To: []string{"random"}, Where: map[string]string{"hotplug": "no"}, Severity: snapshot.Critical,
			Class: snapshot.ClassKernel, Message: "network interface {name} has a random address ({attr:mac}), had its own ({was:mac})", Hint: "its driver could not read the address: a lease, a .link file or a neighbour's filter that goes by it fails"},
		{Code: "nic-driver-changed", On: snapshot.OnChanged, Attr: "driver", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "network interface {name} is driven by {new}, was {old}"},
		{Code: "nic-slower", On: snapshot.OnWorse, Attr: "speed_bits", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the link of {name} came up at {new}, was {old}"},
		{Code: "nic-half-duplex", On: snapshot.OnWorse, Attr: "duplex", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the link of {name} came up with {new} duplex, was {old}"},
		{Code: "nic-autoneg-off", On: snapshot.OnBecomes, Attr: "autoneg", From: []string{"on"}, To: []string{"off"}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "{name} does not negotiate its link now"},
		{Code: "nic-link-lost", On: snapshot.OnBecomes, Attr: "carrier", From: []string{"yes"}, To: []string{"no"}, Topic: "link", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "network interface {name} has no link, had one", Hint: linkHint},
		{Code: "nic-link-lost", On: snapshot.OnBecomes, Attr: "operstate", From: []string{"up"}, To: []string{"down", "lowerlayerdown", "notpresent"}, Topic: "link", Severity: snapshot.Warning,
			Class: snapshot.ClassHardware, Message: "network interface {name} is {new}, was {old}", Hint: linkHint},
		{Code: "nic-vfs-fewer", On: snapshot.OnWorse, Attr: "vfs", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} has {new} virtual functions, had {old}"},
		{Code: "nic-master-changed", On: snapshot.OnChanged, Attr: "master", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Message: "{name} belongs to {new}, belonged to {old}"},
		{Code: "nic-fec-changed", On: snapshot.OnChanged, Attr: "fec", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the link of {name} corrects errors by {new}, did by {old}"},
		{Code: "nic-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of {name} is {new}, was {old}"},
		{Code: "nic-mtu-changed", On: snapshot.OnChanged, Attr: "mtu", Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Message: "the MTU of {name} is {new}, was {old}"},
	},
}

func readNet(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	var ask *linkAsker
	if h.Root.Live() {
		ask = newLinkAsker(ctx)
		defer ask.close()
	}
	subjects, err := scan(ctx, h, "/sys/class/net", netKind, func(d *device) bool { return d.readNIC(ask) })
	crossCheckNet(h, subjects)
	return subjects, err
}

func (d *device) readNIC(ask *linkAsker) bool {
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
	mac := d.macAddress(ask.permanent())
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
	d.number("vfs", 1, "device", "sriov_numvfs")
	d.belongs()
	d.readLink(ask) // last, for it may wait for the rtnl lock
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

// assignedPermanent is NET_ADDR_PERM of include/uapi/linux/netdevice.h: the
// address in use is the one that the adapter was made with.
const assignedPermanent = "0"

// addressFrom are the kernel's words for where an address is from, NET_ADDR_… of the same file.
var addressFrom = map[string]string{assignedPermanent: "permanent", "1": "random", "2": "stolen", "3": "set"}

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
			d.Set("mac_from", snapshot.Text("permanent"))
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
	if from := addressFrom[how]; from != "" {
		d.Set("mac_from", snapshot.Text(from))
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

package hw

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const usbPortKind = "hw.usb_port"

var _ = catalogue.Add(source.Source{
	Name: "usb_port",
	Doc: `ports of USB hubs

Reads the ports of each hub in /sys/bus/usb/devices, but not whether they are switched
off: to read that wakes a hub that sleeps, and a hub of a dead controller says yes.`,
	Kinds: []snapshot.Kind{usbPortOfHub},
	Read:  readPorts,
})

var usbPortOfHub = snapshot.Kind{
	Name: usbPortKind,
	Doc:  "a port of a USB hub, known by its socket and the bus that it is on; a socket for USB 3 has two, one on each bus",
	Attrs: []snapshot.Attr{
		{Name: "over_current_count", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "how often it was switched off for too much current since boot"},
		{Name: "connect_type", Doc: "hotplug, hardwired, not used or unknown, as the firmware says"},
		{Name: "state", Noise: snapshot.Evidence, Doc: "state of what is attached (since Linux 6.8)"},
		{Name: "peer", Noise: snapshot.Evidence, Doc: "the same socket's port on the other bus, by its name of today"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "hub and port of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "usb-over-current", On: snapshot.OnGrowth, Attr: "over_current_count", Ratio: 1.5, Floor: 1, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} was switched off for too much current {new} times, was {old}", Hint: "what is attached draws too much, or is broken; try it on a powered hub"},
	},
}

// Interfaces of hubs, and the folders of their ports in them (usb_hub_create_port_device
// of drivers/usb/core/port.c).
var (
	hubIface = regexp.MustCompile(`^[0-9]+-(?:0|[0-9]+(?:\.[0-9]+)*):1\.0$`)
	hubPort  = regexp.MustCompile(`^(?:usb([0-9]+)|([0-9]+-[0-9.]+))-port([0-9]+)$`)
)

func readPorts(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	names, err := list(ctx, h, "/sys/bus/usb/devices")
	if err != nil {
		return nil, err
	}
	var found []*device
	var errs []error
	for _, name := range names {
		if !hubIface.MatchString(name) {
			continue
		}
		hub, err := newDevice(ctx, h, path.Join("/sys/bus/usb/devices", name), usbPortKind)
		if err != nil {
			errs = append(errs, err)
		}
		if hub == nil {
			continue
		}
		ports, err := hub.ports()
		if err != nil && !hub.vanished() {
			errs = append(errs, err)
		}
		found = append(found, ports...)
	}
	errs = append(errs, identify(h, found)...)
	return subjectsOf(found), errors.Join(errs...)
}

// ports reads the ports of the hub whose interface the device is; none where it is no hub.
func (d *device) ports() ([]*device, error) {
	names, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		return nil, err
	}
	var out []*device
	for _, n := range names {
		m := hubPort.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		p := &device{ctx: d.ctx, root: d.root, name: n, dir: path.Join(d.dir, n)}
		p.Kind, p.Outcome = usbPortKind, snapshot.Measured
		if err := p.readPort(m[1]+m[2], m[3]); err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

// readPort reads one port. It is named by what would be in it: a device 2-3 in port 3
// of root hub usb2, a device 1-1.3 in port 3 of hub 1-1.
func (d *device) readPort(hub, port string) error {
	hubDir := path.Dir(path.Dir(d.dir))
	child := hub + "-" + port
	if usbPort.MatchString(hub) {
		child = hub + "." + port
	}
	place, err := d.locate(path.Join(hubDir, child))
	if err != nil {
		return err
	}
	protocol, err := d.protocol(hubDir)
	if err != nil {
		return err
	}
	d.place = place + "/usb" + protocol
	d.Parent = d.hangsOn(path.Join(hubDir, child))
	d.Label = "USB port " + d.name
	d.Set("name", snapshot.Text(d.name))
	d.number("over_current_count", 1, "over_current_count")
	d.keep("connect_type", "connect_type")
	d.keep("state", "state")
	if peer, err := d.root.Link(d.ctx, d.dir, "peer"); err == nil {
		d.Set("peer", snapshot.Text(peer))
	}
	return nil
}

// protocol is 3 for a port of a SuperSpeed hub and 2 for one of any other.
func (d *device) protocol(hubDir string) (string, error) {
	v, err := d.root.Attr(d.ctx, hubDir, "version")
	if err != nil && !sysfs.Absent(err) {
		return "", err
	}
	if strings.HasPrefix(v, "3") {
		return "3", nil
	}
	return "2", nil
}

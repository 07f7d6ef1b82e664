package hw

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const usbKind = "hw.usb"

var _ = catalogue.Add(source.Source{
	Name:  "usb",
	Doc:   "USB devices, their speed and drivers\n\nReads /sys/bus/usb/devices.",
	Kinds: []snapshot.Kind{usbDevice},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		return scan(ctx, h, "/sys/bus/usb/devices", usbKind, (*device).readUSB)
	},
})

var usbDevice = snapshot.Kind{
	Name: usbKind,
	Doc:  "a USB device, known by its socket and its ids; root hubs are left out",
	Attrs: []snapshot.Attr{
		{Name: "ids", Doc: "vendor and product id"},
		{Name: "product", Doc: "what it calls itself"},
		{Name: "serial", Noise: snapshot.Evidence, Doc: "serial number that it reports"},
		{Name: "firmware", Doc: "release number of the device (bcdDevice)"},
		{Name: "function", Doc: "storage, network, hub or other, by the classes of its interfaces"},
		{Name: "speed_bits", Unit: snapshot.Bits, Better: snapshot.HigherBetter, Doc: "speed that its link came up with"},
		{Name: "driver", Doc: "drivers of its interfaces, or none; not set where a program has taken it"},
		{Name: "interfaces", Noise: snapshot.Evidence, Doc: "each interface with its driver"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "controller and chain of ports"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "bus and ports of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "usb-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "USB device {name} is gone"},
		{Code: "usb-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "USB device {name} is new"},
		{Code: "usb-slower", On: snapshot.OnWorse, Attr: "speed_bits", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "USB device {name} came up at {new}, was {old}", Hint: "try the cable and the socket; look for resets in the kernel's log"},
		{Code: "usb-driver-lost", On: snapshot.OnBecomes, Attr: "driver", To: []string{"none"}, Where: map[string]string{"function": "storage"},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel, Message: "no driver is bound to USB storage {name}, was {old}", Hint: "is the module {old} there for this kernel? See `modprobe {old}`"},
		{Code: "usb-driver-lost", On: snapshot.OnBecomes, Attr: "driver", To: []string{"none"}, Where: map[string]string{"function": "network"},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel, Message: "no driver is bound to USB network adapter {name}, was {old}", Hint: "is the module {old} there for this kernel? See `modprobe {old}`"},
		{Code: "usb-driver-changed", On: snapshot.OnChanged, Attr: "driver", Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "USB device {name} is driven by {new}, was {old}", Hint: "a storage quirk (usb-storage.quirks) or a missing uas module makes a disk slower"},
		{Code: "usb-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of USB device {name} is {new}, was {old}"},
	},
}

func (d *device) readUSB() bool {
	if !usbPort.MatchString(d.name) {
		return false // a root hub, which goes with its controller, or an interface
	}
	id, err := d.usbID(d.dir)
	if err != nil {
		d.doubt(err)
	}
	d.settle(d.dir)
	d.place = id
	d.Parent = d.hangsOn(d.dir)
	d.Set("name", snapshot.Text(d.name))
	ids := d.idPair("ids", "idVendor", "idProduct")
	product := d.keep("product", "product")
	d.keep("serial", "serial")
	d.keep("firmware", "bcdDevice")
	if s := d.attr("speed_bits", "speed"); s != "" {
		if mbit, err := strconv.ParseFloat(s, 64); err == nil && mbit > 0 {
			d.Set("speed_bits", snapshot.Int(int64(mbit*1e6))) // low speed is "1.5"
		} else {
			d.Fail("speed_bits", fmt.Errorf("read speed: %q is no speed", s))
		}
	}
	d.usbInterfaces()
	d.Label = strings.TrimSpace(fmt.Sprintf("%s %s (%s)", product, ids, d.name))
	return true
}

// usbID names a USB device by its socket and its ids. The two halves of a USB 3
// hub are in one socket and told apart by their ids, or else by their protocol.
func (d *device) usbID(dir string) (string, error) {
	place, err := d.locate(dir)
	if err != nil {
		return place, err
	}
	for _, f := range []string{"idVendor", "idProduct"} {
		s, err := d.root.Attr(d.ctx, dir, f)
		if err != nil && !sysfs.Absent(err) {
			return place, err
		}
		if f == "idVendor" {
			place += "/" + s
		} else {
			place += ":" + s
		}
	}
	return place, nil
}

// usbInterfaces reads the drivers of the interfaces, folders named BUS-PORTS:CONFIG.NUMBER.
func (d *device) usbInterfaces() {
	names, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		d.Fail("driver", err)
		return
	}
	var drivers, lines []string
	taken := false
	function := "other"
	for _, n := range names {
		m := usbIface.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		drv, err := d.root.Link(d.ctx, d.dir, n, "driver")
		switch {
		case sysfs.Absent(err):
			drv = "none"
		case err != nil:
			d.Fail("driver", err)
			taken = true
			continue
		default:
			drivers = append(drivers, drv)
		}
		taken = taken || drv == "usbfs"
		lines = append(lines, m[1]+"="+drv)
		function = worthier(function, usbFunction(d.attr("function", n, "bInterfaceClass"), d.attr("function", n, "bInterfaceSubClass")))
	}
	d.Set("function", snapshot.Text(function))
	d.Set("interfaces", snapshot.List(lines...))
	switch {
	case taken || len(lines) == 0: // not to be told, or held by a program for now
	case len(drivers) == 0:
		d.Set("driver", snapshot.Text("none"))
	default:
		slices.Sort(drivers)
		d.Set("driver", snapshot.Text(strings.Join(slices.Compact(drivers), "+")))
	}
}

// usbFunction tells what an interface is for by its class (USB-IF base class
// codes: 08 mass storage, 09 hub; 02 with subclass 06, 0d or 0e: Ethernet).
func usbFunction(class, sub string) string {
	switch {
	case class == "08":
		return "storage"
	case class == "09":
		return "hub"
	case class == "02" && slices.Contains([]string{"06", "0c", "0d", "0e"}, sub):
		return "network"
	}
	return "other"
}

func worthier(a, b string) string {
	order := []string{"storage", "network", "hub", "other"}
	if slices.Index(order, b) < slices.Index(order, a) {
		return b
	}
	return a
}

// onUSB reports whether a folder lies under a USB port.
func onUSB(dir string) bool {
	bus, ok := busFolder(dir)
	return ok && path.Clean(dir) != bus
}

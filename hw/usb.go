package hw

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"regexp"
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
		{Name: "generation", Doc: "low, full, high, super or super_plus, by its speed"},
		{Name: "rx_lanes", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "lanes that it receives on"},
		{Name: "tx_lanes", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "lanes that it sends on"},
		{Name: "driver", Doc: "drivers of its interfaces, or none; not set where a program has taken it"},
		{Name: "transport", Doc: "uas or bot, by the setting of its storage interface that is in use"},
		{Name: "bridge", Doc: "chip that makes a USB disk of another, by its ids"},
		{Name: "smart_tunnel", Doc: "way to the SMART data of the drive behind the bridge, as smartctl -d calls it"},
		{Name: "quirks", Doc: "mask of the quirks that the kernel applies to it (USB_QUIRK_… of include/linux/usb/quirks.h)"},
		{Name: "authorized", Doc: "no where it must not be used"},
		{Name: "removable_media", Doc: "yes where its disk's medium can be taken out, no where not; not set where it has no disk"},
		{Name: "version", Noise: snapshot.Evidence, Doc: "version of USB that it speaks on this link"},
		{Name: "max_power", Noise: snapshot.Evidence, Doc: "current that it asks for"},
		{Name: "interfaces", Noise: snapshot.Evidence, Doc: "each interface with its driver"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "controller and chain of ports"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "bus and ports of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "usb-missing", On: snapshot.OnMissing, Where: map[string]string{"function": "storage", "removable_media": "no"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "USB storage {name} is gone", Hint: "look for its controller and for resets in the kernel's log; try the cable and the socket"},
		{Code: "usb-missing", On: snapshot.OnMissing, Where: map[string]string{"function": "network"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "USB network adapter {name} is gone", Hint: "look for its controller and for resets in the kernel's log; try the cable and the socket"},
		{Code: "usb-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "USB device {name} is gone"},
		{Code: "usb-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "USB device {name} is new"},
		{Code: "usb-slower", On: snapshot.OnWorse, Attr: "speed_bits", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "USB device {name} came up at {new}, was {old}", Hint: "try the cable and the socket; look for resets in the kernel's log"},
		{Code: "usb-not-super", On: snapshot.OnBecomes, Attr: "generation", From: []string{"super", "super_plus"}, To: []string{"low", "full", "high"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Topic: "speed_bits", Message: "USB device {name} came up at {attr:speed_bits}, it was a SuperSpeed device", Hint: "try the cable and the socket; look for resets in the kernel's log"},
		{Code: "usb-fewer-lanes", On: snapshot.OnWorse, Attr: "rx_lanes", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Topic: "speed_bits",
			Message: "USB device {name} uses {new} lanes, used {old}"},
		{Code: "usb-unauthorized", On: snapshot.OnBecomes, Attr: "authorized", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "USB device {name} must not be used now", Hint: "see its authorized file, and usbguard where that is installed"},
		{Code: "usb-quirks-changed", On: snapshot.OnChanged, Attr: "quirks", Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel treats USB device {name} in another way: quirks {new}, was {old}"},
		{Code: "usb-uas-lost", On: snapshot.OnBecomes, Attr: "driver", From: []string{"uas"}, To: []string{"usb-storage"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "USB disk {name} is driven by usb-storage, was by uas: it takes one command at a time", Hint: "is there a quirk for it (usb-storage.quirks), and the module uas for this kernel?"},
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
	d.usbLink()
	d.usbInterfaces()
	d.keep("quirks", "quirks")
	d.flag("authorized", "authorized")
	what := joined(product, ids)
	if chip := d.usbChip(ids); chip != "" {
		what = joined(product, chip, ids)
	}
	d.Label = clipText(joined(what, "("+d.name+")"), longestLine)
	return true
}

func joined(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// usbLink reads what the link came up with.
func (d *device) usbLink() {
	d.keep("version", "version")
	d.keep("max_power", "bMaxPower")
	d.number("rx_lanes", 1, "rx_lanes")
	d.number("tx_lanes", 1, "tx_lanes")
	s := d.attr("speed_bits", "speed")
	if s == "" || s == "unknown" {
		return
	}
	mbit, err := strconv.ParseFloat(s, 64) // low speed is "1.5"
	if err != nil || !(mbit > 0 && mbit < 1e6) {
		d.Fail("speed_bits", fmt.Errorf("read speed: %q is no speed", clipText(s, longestValue)))
		return
	}
	d.Set("speed_bits", snapshot.Int(int64(mbit*1e6)))
	d.Set("generation", snapshot.Text(usbGeneration(mbit)))
}

// longestValue is as much of an odd value as is told.
const longestValue = 40

// usbGeneration names a speed in Mbit/s as speed_show of drivers/usb/core/sysfs.c has it.
func usbGeneration(mbit float64) string {
	switch {
	case mbit < 12:
		return "low"
	case mbit < 480:
		return "full"
	case mbit < 5000:
		return "high"
	case mbit < 10000:
		return "super"
	}
	return "super_plus"
}

var usbIDDigits = regexp.MustCompile(`^[0-9a-f]{4}$`)

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
		if err == nil && !usbIDDigits.MatchString(s) {
			return place, fmt.Errorf("read %s: %q is no USB id", path.Join(dir, f), clipText(s, longestValue))
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
	function, transport, media := "other", "", ""
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
		class, sub, protocol := d.attr("function", n, "bInterfaceClass"), d.attr("function", n, "bInterfaceSubClass"), d.attr("transport", n, "bInterfaceProtocol")
		lines = append(lines, m[1]+"="+drv+" "+class+"/"+sub+"/"+protocol)
		function = worthier(function, usbFunction(class, sub))
		if class == "08" {
			transport, media = cmp.Or(usbTransports[protocol], transport), cmp.Or(d.usbMedia(n), media)
		}
	}
	d.Set("function", snapshot.Text(function))
	if transport != "" {
		d.Set("transport", snapshot.Text(transport))
	}
	if media != "" {
		d.Set("removable_media", snapshot.Text(media))
	}
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

// usbTransports are protocols of storage interfaces (USB_PR_… of include/linux/usb/storage.h).
var usbTransports = map[string]string{"50": "bot", "62": "uas"}

// usbMedia says whether the disks of a storage interface have a medium that can be
// taken out: "no" where one has none such, "" where there is no disk or it cannot be told.
func (d *device) usbMedia(iface string) string {
	answer := ""
	at := []string{d.dir, iface}
	for _, shape := range []*regexp.Regexp{scsiHostDir, scsiTarget, scsiLUN} {
		names, err := d.root.List(d.ctx, at...)
		if err != nil {
			return answer
		}
		i := slices.IndexFunc(names, shape.MatchString)
		if i < 0 {
			return answer
		}
		at = append(at, names[i])
	}
	disks, err := d.root.List(d.ctx, append(at, "block")...)
	if err != nil {
		return answer
	}
	for _, n := range disks {
		s, err := d.root.Attr(d.ctx, append(at, "block", n, "removable")...)
		switch {
		case err == nil && s == "0":
			return "no"
		case err == nil && s == "1":
			answer = "yes"
		}
	}
	return answer
}

var (
	scsiHostDir = regexp.MustCompile(`^host[0-9]+$`)
	scsiTarget  = regexp.MustCompile(`^target[0-9]+:[0-9]+:[0-9]+$`)
)

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

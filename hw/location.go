package hw

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// Elements of a path below /sys/devices, as their drivers name them.
var (
	pciSlot  = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:([0-9a-f]{2}\.[0-7])$`)
	usbBus   = regexp.MustCompile(`^usb[0-9]+$`)
	usbPort  = regexp.MustCompile(`^[0-9]+-([0-9]+(?:\.[0-9]+)*)$`)
	usbIface = regexp.MustCompile(`^[0-9]+-[0-9.]+:([0-9]+\.[0-9]+)$`)
	scsiLUN  = regexp.MustCompile(`^[0-9]+:([0-9]+:[0-9]+:[0-9]+)$`)
	nvmeNS   = regexp.MustCompile(`^nvme[0-9]+(?:c[0-9]+)?n([0-9]+)$`)
	ataPort  = regexp.MustCompile(`^ata[0-9]+$`)
	i2cChip  = regexp.MustCompile(`^[0-9]+-([0-9a-f]{4})$`)
	mmcCard  = regexp.MustCompile(`^mmc[0-9]+:([0-9a-f]{4})$`)
	// numbered are names that count in the order of loading, and say nothing of where.
	numbered = regexp.MustCompile(`^(host|target|virtio|nvme|hwmon|i2c-|mmc|session|rport-|port-|end_device-|expander-|nvme-subsys|thermal_zone)[0-9:.-]*$`)
	// groups are folders that only gather devices of one class; what is below the
	// last two is a name.
	groups = map[string]bool{"nvme": true, "hwmon": true, "mmc_host": true, "nvme-subsystem": true}
)

// locate is where a device sits, by what does not move when another device is
// added: for PCI the chain of device and function numbers from the root bus,
// without bus numbers, then the USB ports, the SCSI channel, target and unit, the
// NVMe namespace. dir is a folder below /sys/devices.
func (d *device) locate(dir string) (string, error) {
	var out []string
	var errs []error
	usbAt := -1 // where in out the ports are
	at := "/sys/devices"
	for _, e := range strings.Split(strings.TrimPrefix(dir, "/sys/devices/"), "/") {
		at = path.Join(at, e)
		switch m := submatch(e, usbAt >= 0); {
		case e == "net" || e == "block":
			return strings.Join(out, "/"), errors.Join(errs...)
		case usbBus.MatchString(e):
			out, usbAt = append(out, "usb"), len(out)+1
		case usbAt >= 0 && usbPort.MatchString(e):
			ports, err := d.usbPorts(at, m)
			errs = append(errs, err)
			out = append(out[:usbAt], ports)
		case ataPort.MatchString(e):
			port, err := d.root.Attr(d.ctx, at, "ata_port", e, "port_no")
			if err == nil && (len(port) == 0 || len(port) > 3 || strings.Trim(port, "0123456789") != "") {
				errs = append(errs, fmt.Errorf("read port_no of %s: %q is no number of a port", e, clipText(port, longestValue)))
			} else if err == nil {
				out = append(out, "port"+port)
			} else if !sysfs.Absent(err) {
				errs = append(errs, err)
			}
		case m != "":
			out = append(out, m)
		case groups[e] || numbered.MatchString(e):
		default:
			out = append(out, e)
		}
	}
	return strings.Join(out, "/"), errors.Join(errs...)
}

// submatch is the part of an element that stays, "" where it has none.
func submatch(e string, onUSB bool) string {
	if m := nvmeNS.FindStringSubmatch(e); m != nil {
		return "ns" + m[1]
	}
	shapes := []*regexp.Regexp{pciSlot, usbIface, scsiLUN, mmcCard}
	if onUSB {
		shapes = append(shapes, usbPort)
	} else {
		shapes = append(shapes, i2cChip)
	}
	for _, re := range shapes {
		if m := re.FindStringSubmatch(e); m != nil {
			return m[1]
		}
	}
	return ""
}

// usbPorts is the chain of ports to a USB device. A socket has one port on the
// USB 2 bus and one on the USB 3 bus, with numbers of their own (usbN-portP/peer
// links them): a disk that falls back to 480 Mb/s is still in the same socket.
func (d *device) usbPorts(dir, chain string) (string, error) {
	first, rest, deeper := strings.Cut(chain, ".")
	bus, ok := busFolder(dir)
	if !ok {
		return chain, nil
	}
	n := strings.TrimPrefix(path.Base(bus), "usb")
	version, err := d.root.Attr(d.ctx, bus, "version")
	if sysfs.Absent(err) || (err == nil && strings.HasPrefix(version, "2")) {
		return chain, nil
	}
	if err != nil {
		return chain, err
	}
	peer, err := d.root.Link(d.ctx, bus, n+"-0:1.0", "usb"+n+"-port"+first, "peer")
	switch {
	case err == nil:
		_, first, _ = strings.Cut(peer, "-port")
	case sysfs.Absent(err): // a socket for USB 3 alone
		first, err = "ss"+first, nil
	}
	if deeper {
		return first + "." + rest, err
	}
	return first, err
}

// busFolder is the folder of the root hub that dir lies under.
func busFolder(dir string) (string, bool) {
	for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
		if usbBus.MatchString(path.Base(dir)) {
			return dir, true
		}
	}
	return "", false
}

// hangsOn is the key of the USB device, or else the USB controller or PCI function,
// that dir hangs on, "" where there is none. dir's own device is not meant.
func (d *device) hangsOn(dir string) string {
	bus := usbBus.MatchString(path.Base(dir))
	for up := path.Dir(dir); len(up) > len("/sys/devices"); up = path.Dir(up) {
		base := path.Base(up)
		_, onUSB := busFolder(up)
		switch {
		case onUSB && usbPort.MatchString(base):
			if id, err := d.usbID(up); err == nil {
				return usbKind + "/" + id
			}
		case usbBus.MatchString(base):
			bus = true
		case pciSlot.MatchString(base):
			place, err := d.locate(up)
			switch {
			case err == nil && bus && d.isXHCI(up):
				return xhciKind + "/" + place
			case err == nil:
				return pciKind + "/" + place
			}
		}
	}
	return ""
}

// driverAbove is the driver of the nearest device at or above dir that is bound
// to one, passing over the drivers of protocol layers (a disk's own is always
// "sd"). It gives "none" where there is truly none.
func (d *device) driverAbove(dir string) (string, error) {
	for ; len(dir) > len("/sys/devices"); dir = path.Dir(dir) {
		drv, err := d.root.Link(d.ctx, dir, "driver")
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		if drv != "sd" && drv != "mmcblk" {
			return drv, nil
		}
	}
	return "none", nil
}

// settle sets the location and keeps it as the alias of last resort.
func (d *device) settle(dir string) {
	d.place, d.unplaced = d.locate(dir)
	d.Set("location", snapshot.Text(d.place))
}

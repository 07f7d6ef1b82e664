package hw

import (
	"context"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/kmsg"
	"lastgood/internal/source"
)

// subjectOf is what a message is about: an id that stays the same from boot to
// boot, the key of the subject to hang it on, what a person calls it, and what the
// kernel called it. id is "" where the message names no device.
type subjectOf struct{ id, key, label, name string }

// Names in messages. What dev_printk writes is "driver name: text".
var (
	namedPCI   = regexp.MustCompile(`\b[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b`)
	namedUSB   = regexp.MustCompile(`^(?:usb|hub|usb-storage|uas) (?:usb)?([0-9]+(?:-[0-9.]+)?)(?:-port([0-9]+))?(?::[0-9.]+)?: `)
	namedSCSI  = regexp.MustCompile(`^(?:sd|sr|st|ses|scsi) ([0-9]+:[0-9]+:[0-9]+:[0-9]+): `)
	namedHost  = regexp.MustCompile(`^scsi host([0-9]+): `)
	namedNVMe  = regexp.MustCompile(`^nvme (nvme[0-9]+): `)
	namedBlock = regexp.MustCompile(`(?:\bdev |\(device |\((?:EXT4-fs )?)(sd[a-z]+|nvme[0-9]+n[0-9]+|vd[a-z]+|mmcblk[0-9]+)(?:p?[0-9]+)?[,):]?`)
	namedATA   = regexp.MustCompile(`^(ata[0-9]+)(?:\.[0-9]+)?: `)
	namedNet   = regexp.MustCompile(`^NETDEV WATCHDOG: ([^ ]+) `)
	namedZone  = regexp.MustCompile(`^thermal (thermal_zone[0-9]+): `)
	namedMD    = regexp.MustCompile(`^md/raid[0-9]*:(md[0-9_a-z]+): `)

	usbFound  = regexp.MustCompile(`^usb ([0-9]+-[0-9.]+): New USB device found, idVendor=([0-9a-f]{4}), idProduct=([0-9a-f]{4})`)
	scsiOfUSB = regexp.MustCompile(`^scsi host([0-9]+): (?:usb-storage ([0-9]+-[0-9.]+):[0-9.]+|(uas))$`)
	usbLeft   = regexp.MustCompile(`^usb ([0-9]+-[0-9.]+): USB disconnect`)
	nvmeFound = regexp.MustCompile(`^nvme (nvme[0-9]+): pci function ([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$`)
	diskNamed = regexp.MustCompile(`^sd ([0-9]+):[0-9]+:[0-9]+:[0-9]+: \[(sd[a-z]+)\] `)
)

// joiner finds the device that a message names. Names move in the course of a boot:
// it follows the log from its beginning and knows what each meant at that time, where
// the log tells, and asks sysfs for those that are still there.
type joiner struct {
	ctx   context.Context
	host  source.Host
	ids   map[string]string // USB name → ids that it came with
	hosts map[string]string // SCSI host → USB name, "uas" where the log does not tell
	nvmes map[string]string // NVMe controller → PCI function that it came with
	left  map[string]bool   // USB names that went away, at any time
	disks map[string]string // sdX → SCSI host
	found map[string]subjectOf
	known map[string]subjectOf // disks by name of today, read once
}

func newJoiner(ctx context.Context, h source.Host, records []kmsg.Record) *joiner {
	j := &joiner{ctx: ctx, host: h, ids: map[string]string{}, hosts: map[string]string{}, nvmes: map[string]string{}, left: map[string]bool{}, disks: map[string]string{}, found: map[string]subjectOf{}}
	for i := range records {
		if m := usbLeft.FindStringSubmatch(records[i].Text); m != nil && !records[i].Foreign {
			j.left[m[1]] = true
		}
	}
	return j
}

// follow learns names from a record. What was found under an old name is forgotten.
func (j *joiner) follow(r *kmsg.Record) {
	if m := usbFound.FindStringSubmatch(r.Text); m != nil {
		j.ids[m[1]] = m[2] + ":" + m[3]
	} else if m := scsiOfUSB.FindStringSubmatch(r.Text); m != nil {
		j.hosts[m[1]] = m[2] + m[3]
	} else if m := nvmeFound.FindStringSubmatch(r.Text); m != nil {
		j.nvmes[m[1]] = m[2]
	} else if m := diskNamed.FindStringSubmatch(r.Text); m != nil && j.disks[m[2]] != m[1] {
		j.disks[m[2]] = m[1]
	} else {
		return
	}
	clear(j.found)
}

// about is what a record is about.
func (j *joiner) about(r *kmsg.Record) subjectOf {
	name := deviceName(r)
	if name == "" {
		return subjectOf{}
	}
	s, ok := j.found[name]
	if !ok {
		s = j.resolve(name)
		s.name = clipText(strings.TrimPrefix(name, "+"), longestLine)
		j.found[name] = s
	}
	return s
}

// deviceName is a record's device as "bus:name", or "". The text goes first where it
// names more than the key that the kernel attached: a port, a disk of a controller.
func deviceName(r *kmsg.Record) string {
	for _, n := range []struct {
		bus string
		re  *regexp.Regexp
	}{{"usb", namedUSB}, {"scsi", namedSCSI}, {"scsi", namedHost}, {"nvme", namedNVMe}, {"thermal", namedZone}, {"md", namedMD}, {"ata", namedATA}, {"net", namedNet},
		{"pci", namedPCI}, {"block", namedBlock}} {
		m := n.re.FindStringSubmatch(r.Text)
		switch {
		case m == nil:
		case len(m) == 1:
			return n.bus + ":" + m[0]
		case len(m) == 3 && m[2] != "":
			return "port:" + m[1] + "-port" + m[2]
		default:
			return n.bus + ":" + m[1]
		}
	}
	if bus, ok := strings.CutPrefix(r.Device, "+"); ok {
		return bus
	}
	return r.Device // b8:0, c4:64, n2
}

// resolve finds a name's device. What is no more, and was never told of, keeps its
// bus alone as an id: two boots would give it other numbers.
func (j *joiner) resolve(name string) subjectOf {
	bus, rest, _ := strings.Cut(name, ":")
	switch bus {
	case "pci":
		return j.function(rest, rest)
	case "usb":
		return j.usb(rest)
	case "port":
		return j.port(rest)
	case "scsi":
		host, _, _ := strings.Cut(rest, ":")
		return j.scsi(rest, strings.TrimPrefix(host, "host"))
	case "block":
		if host, ok := j.disks[rest]; ok && !strings.Contains(classLink(j.ctx, j.host.Root, blockFolder, rest), "/host"+host+"/") {
			return j.scsi("", host) // another disk bears the name by now, or none
		}
		return j.or(j.disk(rest), "block")
	case "nvme":
		if pci := j.nvmes[rest]; pci != "" {
			return j.function(rest, pci)
		}
		return j.at(bus, rest, "/sys/class/nvme")
	case "ata":
		if dir := classLink(j.ctx, j.host.Root, "/sys/class/ata_port", rest); dir != "" {
			return j.place("", rest, path.Dir(path.Dir(dir))) // …/ata6/ata_port/ata6
		}
		return j.or(subjectOf{}, "ata")
	case "net":
		return j.at(bus, rest, "/sys/class/net")
	case "thermal":
		return j.at(bus, rest, "/sys/class/thermal")
	case "md":
		return j.array(rest)
	}
	return j.number(name)
}

// or stands in for a device that is not there any more.
func (j *joiner) or(s subjectOf, bus string) subjectOf {
	if s.id == "" {
		return subjectOf{id: "gone-" + bus, label: "a device that is gone"}
	}
	return s
}

// at is the device that a link leads to. The message hangs on the USB device or PCI
// function above.
func (j *joiner) at(bus, name, folder string) subjectOf {
	dir := classLink(j.ctx, j.host.Root, folder, name)
	if dir == "" {
		return j.or(subjectOf{}, bus)
	}
	return j.place("", name, dir)
}

// place is the device of a folder. Where kind is "" the message hangs on what is above.
func (j *joiner) place(kind, name, dir string) subjectOf {
	d := &device{ctx: j.ctx, root: j.host.Root.OneDevice(), name: name, dir: dir}
	place, err := d.locate(dir)
	if err != nil {
		return j.or(subjectOf{}, "unplaced")
	}
	s := subjectOf{id: place, label: name}
	switch {
	case kind == pciKind && d.isXHCI(dir):
		s.key = xhciKind + "/" + place
	case kind != "":
		s.key = kind + "/" + place
	default:
		s.key = d.hangsOn(path.Join(dir, "x"))
	}
	if place == "" || strings.HasPrefix(place, "virtual/") {
		s.id = path.Base(dir)
		if t, err := d.root.Attr(j.ctx, dir, "type"); err == nil && t != "" {
			s.id = t // a thermal zone's number tells nothing
		}
	}
	return s
}

// usb is a USB device by its name: a bus and a chain of ports, which are there even
// where the device is not.
func (j *joiner) usb(name string) subjectOf {
	bus, chain, isPort := strings.Cut(name, "-")
	root := classLink(j.ctx, j.host.Root, "/sys/bus/usb/devices", "usb"+bus)
	if root == "" {
		return j.or(subjectOf{}, "usb")
	}
	d := &device{ctx: j.ctx, root: j.host.Root.OneDevice(), name: name, dir: root}
	if !isPort || chain == "0" { // a root hub goes with its controller
		place, err := d.locate(path.Dir(root))
		if err != nil {
			return j.or(subjectOf{}, "usb")
		}
		return subjectOf{id: place, key: d.hangsOn(root), label: name}
	}
	place, err := d.locate(j.usbFolder(root, bus, chain))
	if err != nil {
		return j.or(subjectOf{}, "usb")
	}
	ids := j.ids[name]
	if ids == "" {
		v, _ := d.root.Attr(j.ctx, "/sys/bus/usb/devices", name, "idVendor")
		p, _ := d.root.Attr(j.ctx, "/sys/bus/usb/devices", name, "idProduct")
		ids = v + ":" + p
	}
	s := subjectOf{id: place, label: "USB device " + strings.Trim(ids+" ("+name+")", ": ")}
	if ids != ":" {
		s.id += "/" + ids
		s.key = usbKind + "/" + s.id
	} else {
		s.key = d.hangsOn(root)
	}
	return s
}

// usbFolder is the folder that a device has or had below its root hub.
func (j *joiner) usbFolder(root, bus, chain string) string {
	dir, at := root, ""
	for i, p := range strings.Split(chain, ".") {
		if i == 0 {
			at = p
		} else {
			at += "." + p
		}
		dir = path.Join(dir, bus+"-"+at)
	}
	return dir
}

// port is a port of a hub, "usb1-port3" without its usb, or "1-1-port3".
func (j *joiner) port(name string) subjectOf {
	hub, port, _ := strings.Cut(name, "-port")
	child := hub + "-" + port
	if strings.Contains(hub, "-") {
		child = hub + "." + port
	}
	s := j.usb(child)
	if i := strings.LastIndex(s.id, "/"); i > 0 && strings.Contains(s.id[i:], ":") { // the socket, not what is in it
		s.id = s.id[:i]
	}
	s.key, s.label = j.usb(hub).key, "USB port "+name
	return s
}

// scsi is a unit, or the host that it hangs on: by sysfs, or by what the log told of
// the host when it came.
func (j *joiner) scsi(name, host string) subjectOf {
	if name != "" && !strings.HasPrefix(name, "host") {
		if dir := classLink(j.ctx, j.host.Root, "/sys/bus/scsi/devices", name); dir != "" {
			if names, err := j.host.Root.List(j.ctx, dir, "block"); err == nil && len(names) == 1 {
				if s := j.disk(names[0]); s.id != "" {
					return s
				}
			}
			return j.place("", name, dir)
		}
	}
	if dir := classLink(j.ctx, j.host.Root, "/sys/class/scsi_host", "host"+host); dir != "" {
		return j.place("", "host"+host, path.Dir(path.Dir(dir)))
	}
	switch usb := j.hosts[host]; usb {
	case "":
		return j.or(subjectOf{}, "scsi")
	case "uas":
		return j.lostUAS()
	default:
		return j.usb(usb)
	}
}

// disk is a whole disk of today by its name.
func (j *joiner) disk(name string) subjectOf {
	if j.known == nil {
		j.known = map[string]subjectOf{}
		disks, _ := scan(j.ctx, j.host, blockFolder, diskKind, (*device).readDisk) // the source of disks tells of errors
		for i := range disks {
			s := &disks[i]
			j.known[s.Text("name")] = subjectOf{id: s.ID, key: s.Key().String(), label: s.Name()}
		}
	}
	return j.known[name]
}

// number is a device by the number that the kernel attached: b8:0 is a block device,
// c4:64 a character device, n2 an interface's index.
func (j *joiner) number(name string) subjectOf {
	if strings.Contains(name, "/") {
		return j.or(subjectOf{}, "device") // no name of a device
	}
	if kind, n, ok := strings.Cut(name, ":"); ok && len(kind) > 1 && (kind[0] == 'b' || kind[0] == 'c') {
		folder := map[byte]string{'b': "/sys/dev/block", 'c': "/sys/dev/char"}[kind[0]]
		dir := classLink(j.ctx, j.host.Root, folder, kind[1:]+":"+n)
		if s := j.disk(path.Base(dir)); dir != "" && s.id != "" {
			return s
		}
		if dir != "" {
			return j.place("", path.Base(dir), dir)
		}
	}
	if bus, rest, ok := strings.Cut(name, ":"); ok && bus != "" {
		if dir := classLink(j.ctx, j.host.Root, "/sys/bus", bus, "devices", rest); dir != "" {
			return j.place("", rest, dir)
		}
	}
	return j.or(subjectOf{}, "device")
}

package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// meaning is what a name leads to.
type meaning struct {
	leads string
	key   snapshot.Key
	label string
}

// resolver finds the devices that names mean in this boot. Disks and interfaces are
// read when the first name of theirs is asked for.
type resolver struct {
	ctx    context.Context
	host   source.Host
	blocks *stack
	unread error // why not all block devices could be read
	nics   map[string]*snapshot.Subject
	noNICs error
}

func newResolver(ctx context.Context, h source.Host) *resolver {
	h.Log = nil // the devices' own sources tell of them
	return &resolver{ctx: ctx, host: h}
}

func (r *resolver) resolve(m *mention) (meaning, error) {
	switch {
	case strings.HasPrefix(m.name, byPath):
		return r.byPath(m.name)
	case strings.HasPrefix(m.name, "/dev/"):
		return r.block(strings.ReplaceAll(strings.TrimPrefix(m.name, "/dev/"), "/", "!"))
	case strings.HasPrefix(m.name, "pci-"):
		return r.nicAt(strings.TrimPrefix(m.name, "pci-"))
	case m.now != "":
		return r.nic(m.now)
	}
	return r.nic(m.name)
}

func (r *resolver) loadBlocks() {
	if r.blocks == nil {
		r.blocks, _, r.unread = readStack(r.ctx, r.host)
	}
}

// block is the block device of a kernel name.
func (r *resolver) block(name string) (meaning, error) {
	r.loadBlocks()
	d := r.blocks.devs[name]
	if d == nil && nvmeCtrl.MatchString("/dev/"+name) {
		d = r.onController(name)
	}
	if d == nil {
		there, err := r.host.Root.Exists(r.ctx, classBlock, name)
		if err == nil && there {
			err = errors.Join(fmt.Errorf("which device %s is could not be told", name), r.unread)
		}
		return meaning{leads: leadsNowhere}, err
	}
	switch {
	case d.unsure != nil:
		return meaning{}, d.unsure
	case d.ID == "" || (d.Kind == partitionKind && d.Parent == ""):
		return meaning{}, fmt.Errorf("%s is of a device that has no identity", name)
	}
	return meaning{leadsTo, d.Key(), d.Label}, nil
}

// onController is the first namespace of an NVMe controller.
func (r *resolver) onController(name string) (first *device) {
	for _, d := range r.blocks.devs {
		if d.Kind == diskKind && strings.Contains(d.dir, "/nvme/"+name+"/") && (first == nil || d.name < first.name) {
			first = d
		}
	}
	return first
}

// byPath follows udev's link: in /dev, or as udev keeps it under /run, or where neither is at
// hand by the place that the link's name spells.
func (r *resolver) byPath(name string) (meaning, error) {
	root := r.host.Root
	target, err := root.Target(r.ctx, name)
	if err == nil {
		return r.block(path.Base(target))
	}
	if !sysfs.Absent(err) {
		return meaning{}, err
	}
	links := strings.ReplaceAll(strings.TrimPrefix(name, "/dev/"), "/", `\x2f`)
	for _, folder := range []string{links, `\x2f` + links} { // since systemd 250, and before
		owners, err := root.List(r.ctx, "/run/udev/links", folder)
		if err != nil && !sysfs.Absent(err) {
			return meaning{}, err
		}
		if len(owners) == 1 && strings.HasPrefix(owners[0], "b") {
			if sys, err := root.Target(r.ctx, "/sys/dev/block", owners[0][1:]); err == nil {
				return r.block(path.Base(sys))
			}
		}
	}
	return r.byPlace(name)
}

// byPlace looks for the device whose place a by-path link spells. Where udev's links are
// there and this one is not, a device is missing; without them that can be told only of the
// ways to spell a place that are known here.
func (r *resolver) byPlace(name string) (meaning, error) {
	linked, err := r.host.Root.Exists(r.ctx, "/dev/disk")
	if err != nil || linked {
		return meaning{leads: leadsNowhere}, err
	}
	r.loadBlocks()
	spelled, part := strings.TrimPrefix(name, byPath), ""
	if m := partLink.FindString(spelled); m != "" {
		spelled, part = strings.TrimSuffix(spelled, m), strings.TrimPrefix(m, "-part")
	}
	for _, d := range r.blocks.devs {
		if d.Kind != diskKind || !d.spells(spelled) {
			continue
		}
		if part == "" {
			return r.block(d.name)
		}
		for _, p := range r.blocks.devs {
			if n, _ := p.Attrs["number"].Int(); p.Kind == partitionKind && diskOf(p.dir) == d.name && fmt.Sprint(n) == part {
				return r.block(p.name)
			}
		}
		return meaning{leads: leadsNowhere}, nil
	}
	if spelledPlace.MatchString(spelled) {
		return meaning{leads: leadsNowhere}, r.unread
	}
	return meaning{}, errors.New("there are no links of udev's, and the place is not one that is known to be spelled so")
}

// spelledPlace are the places that spells knows.
var spelledPlace = regexp.MustCompile(`^pci-[0-9a-f:.]+(?:-nvme-[0-9]+|-ata-[0-9.]+|-usb-0:[0-9.:]+-scsi-[0-9:]+)$`)

// spells reports whether udev calls a disk's place so (src/udev/udev-builtin-path_id.c
// of systemd): the PCI function nearest to the disk, then ports and units.
func (d *device) spells(want string) bool {
	var pci, usb, scsi, ata, ns string
	for _, e := range strings.Split(d.controllerFolder(), "/") {
		switch {
		case pciSlot.MatchString(e):
			pci, usb, scsi, ata = e, "", "", ""
		case usbIface.MatchString(e):
			_, ports, _ := strings.Cut(e, "-")
			usb = "-usb-0:" + ports
		case ataPort.MatchString(e):
			if at := submatchAt(d, e); at != "" {
				ata = "-ata-" + at
			}
		case scsiLUN.MatchString(e):
			scsi = "-scsi-0:" + scsiLUN.FindStringSubmatch(e)[1]
		case nvmeNS.MatchString(e):
			ns = "-nvme-" + nvmeNS.FindStringSubmatch(e)[1]
		}
	}
	if pci == "" {
		return false
	}
	switch place := "pci-" + pci + usb; {
	case ata != "": // with a port multiplier's port since systemd 251
		return want == place+ata || want == place+ata+".0"
	case ns != "":
		return want == place+ns
	default:
		return want == place+scsi
	}
}

// submatchAt is the number of an ATA port on its controller.
func submatchAt(d *device, element string) string {
	at, _, _ := strings.Cut(d.dir, "/"+element+"/")
	n, err := d.root.Attr(d.ctx, at, element, "ata_port", element, "port_no")
	if err != nil {
		return ""
	}
	return n
}

func (r *resolver) loadNICs() {
	if r.nics != nil {
		return
	}
	var subjects []snapshot.Subject
	subjects, r.noNICs = readNet(r.ctx, r.host)
	r.nics = map[string]*snapshot.Subject{}
	for i := range subjects {
		s := &subjects[i]
		others, _ := s.Attrs["altnames"].Items()
		for _, name := range append(others, s.Text("name")) {
			r.nics[name] = s
		}
	}
}

// nic is the network interface of a name.
func (r *resolver) nic(name string) (meaning, error) {
	r.loadNICs()
	if s := r.nics[name]; s != nil {
		if s.Outcome != snapshot.Measured {
			return meaning{}, textError(s.Reason)
		}
		return meaning{leadsTo, s.Key(), s.Label}, nil
	}
	there, err := r.host.Root.Exists(r.ctx, "/sys/class/net", name)
	switch {
	case err != nil:
		return meaning{}, err
	case !there:
		return meaning{leads: leadsNowhere}, nil
	case r.noNICs != nil:
		return meaning{}, r.noNICs
	}
	return meaning{leads: leadsVirtual}, nil
}

// nicAt is the network interface at a PCI address.
func (r *resolver) nicAt(address string) (meaning, error) {
	r.loadNICs()
	for name, s := range r.nics {
		dir, err := r.host.Root.Target(r.ctx, "/sys/class/net", name)
		if err != nil || name != s.Text("name") {
			continue
		}
		if above, _, _ := strings.Cut(dir, "/net/"); path.Base(above) == address || strings.HasSuffix(path.Dir(above), "/"+address) && strings.HasPrefix(path.Base(above), "virtio") {
			return meaning{leadsTo, s.Key(), s.Label}, nil
		}
	}
	return meaning{leads: leadsNowhere}, r.noNICs
}

package hw

import (
	"path"
	"strings"
)

// lostUAS is the device of a UAS host that is gone; the log never says whose it was. It
// was one of those that left and that no host of usb-storage came from: where that
// leaves one, it is known, and where all of them hung on one controller, that is.
func (j *joiner) lostUAS() subjectOf {
	claimed := map[string]bool{}
	for _, usb := range j.hosts {
		claimed[usb] = true
	}
	var all []subjectOf
	keys := map[string]bool{}
	for name := range j.left {
		if !claimed[name] {
			s := j.usb(name)
			bus, _, _ := strings.Cut(name, "-")
			all = append(all, s)
			keys[j.usb(bus).key] = true
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	s := j.or(subjectOf{}, "scsi")
	if len(keys) == 1 {
		for s.key = range keys {
		}
	}
	return s
}

// array is an array by its name of today. All that lies beneath is read again for it,
// but only where the log speaks of an array that is in trouble.
func (j *joiner) array(name string) subjectOf {
	silent := j.host
	silent.Log = nil
	all, _ := readBlock(j.ctx, silent) // the source of arrays tells of errors
	for i := range all {
		if s := &all[i]; s.Kind == mdKind && s.Text("name") == name {
			return subjectOf{id: s.ID, key: s.Key().String(), label: s.Name()}
		}
	}
	return subjectOf{id: name, label: name}
}

// function is a PCI function by its address of today. One that was taken out is still
// known by its place: the folder of the bus that it was on stays as long as the port does.
func (j *joiner) function(label, address string) subjectOf {
	if dir := classLink(j.ctx, j.host.Root, "/sys/bus/pci/devices", address); dir != "" {
		return j.place(pciKind, label, dir)
	}
	if pciSlot.MatchString(address) {
		bus := address[:strings.LastIndexByte(address, ':')]
		if dir := classLink(j.ctx, j.host.Root, "/sys/class/pci_bus", bus); dir != "" { // …/0000:00:05.0/pci_bus/0000:03
			return j.place(pciKind, label, path.Join(path.Dir(path.Dir(dir)), address))
		}
	}
	return j.or(subjectOf{}, "pci")
}

package candidate

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// buses are those whose drivers are found by modalias when the kernel boots. Devices
// on others (clockevents, cpu, memory) come with the kernel itself.
var buses = []string{"pci", "usb", "virtio", "scsi", "hid", "nvme", "mmc", "sdio", "i2c", "platform", "acpi", "pnp", "vmbus", "xen", "serio", "rmi4", "thunderbolt", "typec"}

// device is one that is driven now.
type device struct {
	bus, name string
	path      string // where it is in /sys/devices
	modalias  string
	driver    string
	module    string // "" where the driver is built in
	carries   []string
}

func (d *device) String() string {
	return fmt.Sprintf("%s (%s, driver %s)", d.name, strings.TrimPrefix(shortAlias(d.modalias), d.bus+":"), d.driver)
}

// shortAlias is enough of a modalias to know a device by: of PCI the vendor and device.
func shortAlias(m string) string {
	var v, d uint32
	if n, _ := fmt.Sscanf(m, "pci:v%08Xd%08X", &v, &d); n == 2 {
		return fmt.Sprintf("%04x:%04x", v, d)
	}
	var uv, up uint16
	if n, _ := fmt.Sscanf(m, "usb:v%04Xp%04X", &uv, &up); n == 2 {
		return fmt.Sprintf("%04x:%04x", uv, up)
	}
	return m[:min(len(m), 40)]
}

// drivers asks, for every device that has a driver now, whether the candidate has one.
func (r *reader) drivers(ctx context.Context) {
	devices, err := driven(ctx, r.host.Root)
	if err != nil {
		r.unread(driverMissing, err)
	}
	missing := map[string][]*device{}
	for i := range devices {
		d := &devices[i]
		found := r.tree.Drives(d.modalias)
		switch {
		case d.module == "" && len(found) == 0:
			// Built in now, and drivers that are built in need no alias.
		case len(found) == 0 && r.tree.Has(d.module):
			r.dropped(d)
		case len(found) == 0:
			missing[d.module] = append(missing[d.module], d)
		case d.module != "" && len(found) > 0 && !r.tree.Has(d.module):
			r.add(driverOther, snapshot.Finding{Subject: r.subject("driver/" + d.bus + "/" + d.name), Old: text(d.module), New: text(strings.Join(found, ", ")),
				Message: fmt.Sprintf("%s has no %s in %s; %s takes it", d, d.module, r.files.Release, strings.Join(found, " or "))})
		}
	}
	for _, module := range slices.Sorted(maps.Keys(missing)) {
		r.add(driverMissing, r.lost(module, missing[module]))
	}
}

// dropped tells of a device that a driver once took and no longer asks for: drivers lose
// old devices, as megaraid_sas in Red Hat's 8 did. Only of buses where a driver is found
// by the device's ids alone; one that was bound by hand is not told from it.
func (r *reader) dropped(d *device) {
	if d.bus != "pci" && d.bus != "usb" || !r.tree.Serves(d.module, d.bus) {
		return
	}
	f := snapshot.Finding{Subject: r.subject("driver/" + d.bus + "/" + d.name), Old: text(d.module), New: text("none"),
		Message: fmt.Sprintf("%s has no driver in %s: its %s no longer asks for this device", d, r.files.Release, d.module),
		Hint:    "look for the device in the distribution's release notes, or for a driver update of the maker's"}
	if len(d.carries) > 0 {
		f.Severity = snapshot.Critical
		f.Message += "; it carries " + strings.Join(d.carries, ", ")
	}
	r.add(driverMissing, f)
}

// lost is the one finding on all devices that a missing module drives now.
func (r *reader) lost(module string, of []*device) snapshot.Finding {
	var names, carries []string
	f := snapshot.Finding{Subject: r.subject("module/" + module), Old: text(module), New: text("none"),
		Hint: "choose a kernel that has it: Debian's cloud flavour has no drivers for real machines, linux-image-amd64 has"}
	for _, d := range of {
		names = append(names, d.String())
		carries = append(carries, d.carries...)
	}
	slices.Sort(carries)
	carries = slices.Compact(carries)
	verb := "has"
	if len(of) > 1 {
		verb = "have"
	}
	f.Message = fmt.Sprintf("%s %s no driver in %s: %s is not in that kernel", strings.Join(names[:min(len(names), 4)], ", "), verb, r.files.Release, module)
	if len(names) > 4 {
		f.Message = fmt.Sprintf("%s have no driver in %s: %s is not in that kernel", plural(len(names), "device", "devices"), r.files.Release, module)
		f.Evidence = strings.Join(names, "\n")
	}
	if len(carries) > 0 {
		f.Severity = snapshot.Critical
		f.Message += "; it carries " + strings.Join(carries, ", ")
	}
	return f
}

func (r *reader) subject(id string) snapshot.SubjectRef {
	return snapshot.SubjectRef{Kind: "kernel.candidate", ID: id}
}

func text(s string) *snapshot.Value {
	v := snapshot.Text(s)
	return &v
}

// driven lists the devices that have a driver, and what disks and interfaces they carry.
func driven(ctx context.Context, root *sysfs.Root) ([]device, error) {
	var out []device
	for _, bus := range buses {
		names, err := root.List(ctx, "/sys/bus", bus, "devices")
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return out, err
		}
		for _, name := range names {
			if d, ok := readDevice(ctx, root, bus, name); ok {
				out = append(out, d)
			}
		}
	}
	for _, c := range []struct{ folder, what string }{{"/sys/block", "disk"}, {"/sys/class/net", "interface"}} {
		if err := carried(ctx, root, c.folder, c.what, out); err != nil {
			return out, err
		}
	}
	for i := range out {
		slices.Sort(out[i].carries)
	}
	return out, nil
}

func readDevice(ctx context.Context, root *sysfs.Root, bus, name string) (device, bool) {
	at := path.Join("/sys/bus", bus, "devices", name)
	d := device{bus: bus, name: name, path: at}
	driver, err := root.Link(ctx, at, "driver")
	if err != nil {
		return d, false // none is bound, or it went away meanwhile
	}
	d.driver = path.Base(driver)
	if p, err := root.Target(ctx, at); err == nil {
		d.path = p
	}
	if d.modalias, err = root.Attr(ctx, at, "modalias"); err != nil || d.modalias == "" {
		d.modalias = pciAlias(ctx, root, bus, at)
	}
	if m, err := root.Link(ctx, "/sys/bus", bus, "drivers", d.driver, "module"); err == nil {
		d.module = path.Base(m)
	}
	return d, d.modalias != ""
}

// pciAlias makes a PCI function's modalias of its ids, as pci_uevent() does, where a
// recording has not kept it.
func pciAlias(ctx context.Context, root *sysfs.Root, bus, at string) string {
	if bus != "pci" {
		return ""
	}
	var v [5]int64
	for i, attr := range []string{"vendor", "device", "subsystem_vendor", "subsystem_device", "class"} {
		n, err := root.Int(ctx, at, attr)
		if err != nil && i != 2 && i != 3 { // bridges have no subsystem
			return ""
		}
		v[i] = n
	}
	return fmt.Sprintf("pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", v[0], v[1], v[2], v[3], v[4]>>16&0xff, v[4]>>8&0xff, v[4]&0xff)
}

// carried notes the disks or interfaces on the devices that they hang on.
func carried(ctx context.Context, root *sysfs.Root, folder, what string, devices []device) error {
	names, err := root.List(ctx, folder)
	if sysfs.Absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		at, err := root.Target(ctx, folder, name)
		if err != nil || strings.Contains(at, "/virtual/") {
			continue
		}
		text := what + " " + name
		if model, err := root.Attr(ctx, at, "device/model"); err == nil && model != "" {
			text += " (" + strings.Join(strings.Fields(model), " ") + ")"
		}
		for i := range devices {
			if strings.HasPrefix(at, devices[i].path+"/") {
				devices[i].carries = append(devices[i].carries, text)
			}
		}
	}
	return nil
}

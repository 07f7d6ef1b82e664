package hw

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"lastgood/internal/kmsg"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const xhciKind = "hw.xhci"

var _ = catalogue.Add(source.Source{
	Name:  "xhci",
	Doc:   "xHCI USB controllers\n\nReads the functions of that class in /sys/bus/pci/devices, and the kernel's log.",
	Kinds: []snapshot.Kind{xhci},
	Read:  readXHCIs,
})

var xhci = snapshot.Kind{
	Name: xhciKind,
	Doc:  "a USB controller of the xHCI kind, known by its slot",
	Attrs: []snapshot.Attr{
		{Name: "state", Doc: "running, or died where the kernel's log says that it gave the controller up and did not start it anew"},
		{Name: "root_hubs", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "buses that it drives: one for USB 2, one for USB 3"},
		{Name: "ports", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "ports of its root hubs; what hung on one that is gone is missed by itself"},
		{Name: "devices", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "devices in the ports of its root hubs"},
		{Name: "quirks", Doc: "mask of the quirks that the kernel applies to it (XHCI_… of drivers/usb/host/xhci.h), from the kernel's log"},
		{Name: "hci_version", Doc: "version of its interface, from the kernel's log"},
		{Name: "runtime_status", Noise: snapshot.Evidence, Doc: "active or suspended"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "address of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "xhci-died", On: snapshot.OnBecomes, Attr: "state", From: []string{"running"}, To: []string{"died"}, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Cause: true, Symptom: true,
			Topic: "alive", Message: "USB controller {name} stopped answering and was given up", Hint: "unbinding and binding its driver may bring it back; look at what came before it in the kernel's log"},
		{Code: "xhci-no-root-hub", On: snapshot.OnBecomes, Attr: "root_hubs", To: []string{"0"}, Severity: snapshot.Critical, Class: snapshot.ClassKernel, Cause: true, Symptom: true,
			Topic: "alive", Message: "USB controller {name} drives no bus, drove {old}", Hint: "is its driver there for this kernel, and in the initramfs? Some controllers have one of their own since Linux 6.12 (xhci-pci-renesas)"},
		{Code: "xhci-fewer-root-hubs", On: snapshot.OnWorse, Attr: "root_hubs", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Cause: true,
			Topic: "alive", Message: "USB controller {name} drives {new} buses, drove {old}"},
		{Code: "xhci-quirks-changed", On: snapshot.OnChanged, Attr: "quirks", Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel treats USB controller {name} in another way: quirks {new}, was {old}"},
	},
}

// xhciClass is the PCI class code (PCI_CLASS_SERIAL_USB_XHCI of include/linux/pci_ids.h).
const xhciClass = "0x0c0330"

// isXHCI reports whether a PCI function is such a controller. Where that cannot be
// read it is taken for none.
func (d *device) isXHCI(dir string) bool {
	class, err := d.root.Attr(d.ctx, dir, "class")
	return err == nil && class == xhciClass
}

func readXHCIs(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	log, err := kmsg.ReadWhole(ctx, h.Root)
	if err == nil && log.Gap != "" {
		err = errors.New(log.Gap)
	}
	said := controllersIn(log.Records)
	return scan(ctx, h, "/sys/bus/pci/devices", xhciKind, func(d *device) bool { return d.readXHCI(said[d.name], err) })
}

func (d *device) readXHCI(said controller, unread error) bool {
	class, err := d.root.Attr(d.ctx, d.dir, "class")
	if err != nil && !sysfs.Absent(err) {
		d.doubt(err) // it may be one
	} else if class != xhciClass {
		return false
	}
	d.settle(d.dir)
	delete(d.Attrs, "location") // it is the id
	d.Parent = pciKind + "/" + d.place
	d.Label = "xHCI " + d.name
	d.Set("name", snapshot.Text(d.name))
	d.keep("runtime_status", "power", "runtime_status")
	d.rootHubs()
	switch {
	case said.died:
		d.Set("state", snapshot.Text("died"))
	case unread != nil:
		d.Fail("state", unread)
	default:
		d.Set("state", snapshot.Text("running"))
	}
	if said.quirks != "" {
		d.Set("quirks", snapshot.Text(said.quirks))
		d.Set("hci_version", snapshot.Text(said.version))
	} else if unread != nil {
		d.Fail("quirks", unread)
	}
	return true
}

func (d *device) rootHubs() {
	names, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		d.Fail("root_hubs", err)
		d.Fail("ports", err)
		return
	}
	hubs, ports, devices := 0, int64(0), 0
	for _, n := range names {
		if !usbBus.MatchString(n) {
			continue
		}
		hubs++
		max, err := d.root.Int(d.ctx, d.dir, n, "maxchild")
		below, err2 := d.root.List(d.ctx, d.dir, n)
		if err := errors.Join(err, err2); err != nil {
			d.Fail("ports", err)
		}
		ports += max
		for _, b := range below {
			if usbPort.MatchString(b) {
				devices++
			}
		}
	}
	d.Set("root_hubs", snapshot.Int(hubs))
	d.Set("devices", snapshot.Int(devices))
	if d.Errs["ports"] == "" {
		d.Set("ports", snapshot.Int(ports))
	}
}

// controller is what the kernel's log says of one xHCI controller.
type controller struct {
	quirks, version string
	died            bool
}

// xhciSays is what xhci_gen_setup of drivers/usb/host/xhci.c writes when a controller is
// started: the same words in Linux 5.10 to 7.x.
var xhciSays = regexp.MustCompile(`^\S+ ([0-9a-f:.]+): hcc params 0x[0-9a-f]+ hci version 0x([0-9a-f]+) quirks (0x[0-9a-f]{1,16})`)

func controllersIn(records []kmsg.Record) map[string]controller {
	out := map[string]controller{}
	for i := range records {
		r := &records[i]
		if r.Foreign {
			continue
		}
		if m := xhciSays.FindStringSubmatch(r.Text); m != nil {
			out[m[1]] = controller{quirks: m[3], version: m[2]}
		} else if strings.HasSuffix(r.Text, ": HC died; cleaning up") {
			name := namedPCI.FindString(r.Text)
			c := out[name]
			c.died = true
			out[name] = c
		}
	}
	return out
}

package hw

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const pciKind = "hw.pci"

var _ = catalogue.Add(source.Source{
	Name:  "pci",
	Doc:   "PCI functions, their drivers and links\n\nReads /sys/bus/pci/devices.",
	Kinds: []snapshot.Kind{pciFunction},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		hours := max(1, uptime(ctx, h, 0).Hours())
		return scan(ctx, h, "/sys/bus/pci/devices", pciKind, func(d *device) bool { return d.readPCI(hours) })
	},
})

var pciFunction = snapshot.Kind{
	Name: pciKind,
	Doc:  "a PCI function, known by the chain of slots that leads to it",
	Attrs: []snapshot.Attr{
		{Name: "class", Doc: "what it is for, by its class code"},
		{Name: "class_code", Doc: "class code: base class, subclass, programming interface"},
		{Name: "ids", Doc: "vendor and device id"},
		{Name: "subsystem_ids", Doc: "vendor and device id of the board"},
		{Name: "revision", Doc: "revision of the chip"},
		{Name: "driver", Doc: "driver that is bound to it, or none; not set where it is handed to a virtual machine or a program"},
		{Name: "handed_to", Noise: snapshot.Evidence, Doc: "driver that hands it to a virtual machine or a program"},
		{Name: "virtual_function", Doc: "yes where it is an SR-IOV virtual function"},
		{Name: "link_width", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "lanes in use (current_link_width)"},
		{Name: "link_width_max", Unit: snapshot.Count, Doc: "lanes that it has (max_link_width)"},
		{Name: "link_speed_bits", Unit: snapshot.Bits, Better: snapshot.HigherBetter, Noise: snapshot.Ambient, Doc: "raw speed of each lane now; falls when idle"},
		{Name: "link_speed_max_bits", Unit: snapshot.Bits, Doc: "raw speed of each lane that it can do"},
		{Name: "slot_speed_bits", Unit: snapshot.Bits, Better: snapshot.HigherBetter, Doc: "raw speed of each lane that the port above it can do"},
		{Name: "link_full_speed", Doc: "yes where the link is as fast as function and slot can do"},
		{Name: "aer_correctable", Unit: snapshot.Count, Noise: snapshot.Ambient, Cumulative: true, Doc: "PCIe errors since boot that were corrected"},
		{Name: "aer_correctable_per_hour", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "the same in an hour, rounded down to 1, 10, 100 …; the first hour is a whole one"},
		{Name: "aer_nonfatal", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "PCIe errors since boot that lost a transfer"},
		{Name: "aer_fatal", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "PCIe errors since boot that lost the link"},
		{Name: "iommu", Doc: "yes where an IOMMU stands between it and memory"},
		{Name: "iommu_type", Doc: "how the IOMMU treats it: DMA, DMA-FQ, identity"},
		{Name: "iommu_group", Noise: snapshot.Evidence, Doc: "number of its IOMMU group today"},
		{Name: "interrupts", Order: []string{"msix", "msi", "line"}, Doc: "how it interrupts: by messages (msix, msi) or by a line; line as well where it does not interrupt"},
		{Name: "msi_vectors", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "interrupt messages that it has; depends on the number of processors"},
		{Name: "numa_node", Doc: "NUMA node, -1 where there is none"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "chain of slots from the root bus"},
		{Name: "address", Noise: snapshot.Evidence, Doc: "address of today: domain, bus, device, function"},
	},
	Rules: pciRules(),
}

// needed are the classes without whose driver a host loses what it lives by.
var needed = []string{"storage", "network", "display", "usb", "accelerator"}

func pciRules() []snapshot.Rule {
	rules := []snapshot.Rule{
		{Code: "pci-missing", On: snapshot.OnMissing, Where: map[string]string{"virtual_function": "no"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} is gone from the PCI bus", Hint: "look for it in the kernel's log and in the firmware's setup"},
		{Code: "pci-vf-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassConfig,
			Message: "{name} is gone; it is a virtual function, or could not say"},
		{Code: "pci-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "{name} is new on the PCI bus"},
		{Code: "pci-replaced", On: snapshot.OnChanged, Attr: "ids", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "another device is in the slot of {name}: was {old}, is {new}"},
		{Code: "pci-driver-changed", On: snapshot.OnChanged, Attr: "driver", Unless: []string{"ids"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} is driven by {new}, was {old}"},
		{Code: "pci-driver-found", On: snapshot.OnBecomes, Attr: "driver", From: []string{"none"}, Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Topic: "driver-found", Message: "{name} is driven by {new}, had no driver"},
		{Code: "pci-link-narrower", On: snapshot.OnWorse, Attr: "link_width", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} has {new} PCIe lanes, had {old}", Hint: "reseat the card; look for AER errors in the kernel's log"},
	}
	rules = append(rules, pciHealthRules()...)
	for _, class := range needed {
		rules = append(rules, snapshot.Rule{Code: "pci-driver-lost", On: snapshot.OnBecomes, Attr: "driver", To: []string{"none"}, Where: map[string]string{"class": class},
			Unless: []string{"ids"}, Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "no driver is bound to {name}, was {old}",
			Hint:    "is the module {old} there for this kernel, in the initramfs, and not blacklisted? See `dmesg` and `modprobe {old}`"})
	}
	return rules
}

// steady are the classes whose links do not slow down when idle, as those of graphics
// cards do.
var steady = []string{"storage", "network", "usb"}

// pciHealthRules judge the link, its errors and how the function is wired in.
func pciHealthRules() []snapshot.Rule {
	unless := []string{"ids", "driver"}
	rules := []snapshot.Rule{
		{Code: "pci-slot-slower", On: snapshot.OnWorse, Attr: "slot_speed_bits", Unless: []string{"ids"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the slot of {name} can do {new} a lane, could do {old}", Hint: "look at the speed of the slot in the firmware's setup"},
		{Code: "pci-errors", On: snapshot.OnBecomes, Attr: "aer_fatal", From: []string{"0"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware, Cause: true, Symptom: true,
			Topic: "aer", Message: "{name} had {new} fatal PCIe errors since boot", Hint: "reseat the card; see aer_dev_fatal and the kernel's log"},
		{Code: "pci-errors", On: snapshot.OnBecomes, Attr: "aer_nonfatal", From: []string{"0"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Cause: true, Symptom: true,
			Topic: "aer", Message: "{name} had {new} PCIe errors since boot that lost a transfer", Hint: "reseat the card; see aer_dev_nonfatal and the kernel's log"},
		{Code: "pci-errors-corrected", On: snapshot.OnGrowth, Attr: "aer_correctable_per_hour", Ratio: 100, Floor: 90, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Topic: "aer", Message: "{name} has {new} corrected PCIe errors an hour or more, had {old}", Hint: "reseat the card; see aer_dev_correctable"},
		{Code: "pci-iommu-changed", On: snapshot.OnChanged, Attr: "iommu_type", Unless: []string{"ids"}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "the IOMMU treats {name} as {new}, was {old}", Hint: "see iommu= and iommu.passthrough= on the kernel's command line"},
		{Code: "pci-interrupts-worse", On: snapshot.OnWorse, Attr: "interrupts", Unless: unless, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} interrupts by {new}, did by {old}"},
		{Code: "pci-numa-changed", On: snapshot.OnChanged, Attr: "numa_node", Unless: []string{"ids"}, Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "{name} is on NUMA node {new}, was on {old}"},
	}
	for _, class := range steady {
		rules = append(rules, snapshot.Rule{Code: "pci-link-slower", On: snapshot.OnBecomes, Attr: "link_full_speed", From: []string{"yes"}, To: []string{"no"}, Where: map[string]string{"class": class},
			Unless: []string{"ids"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the PCIe link of {name} is slower than it and its slot can do: {attr:link_speed_bits} a lane", Hint: "reseat the card; look for AER errors in the kernel's log"})
	}
	return rules
}

// classes names class codes by their first digits, the longer ones first.
var classes = []struct{ code, name string }{
	{"0c03", "usb"}, {"01", "storage"}, {"02", "network"}, {"03", "display"}, {"04", "multimedia"}, {"05", "memory"}, {"06", "bridge"},
	{"07", "communication"}, {"08", "system"}, {"09", "input"}, {"0b", "processor"}, {"0c", "serial_bus"}, {"0d", "wireless"}, {"10", "encryption"},
	{"11", "signal_processing"}, {"12", "accelerator"},
}

// handing are drivers that hand a device on; when they bind depends on when a
// virtual machine starts, so they are never compared.
var handing = []string{"vfio-pci", "pci-stub", "uio_pci_generic", "igb_uio", "xen-pciback", "pciback"}

// readPCI reads one function. hours is how long the host is up.
func (d *device) readPCI(hours float64) bool {
	d.settle(d.dir)
	d.Parent = d.hangsOn(d.dir)
	d.Set("address", snapshot.Text(d.name))
	code := strings.TrimPrefix(d.attr("class", "class"), "0x")
	class := ""
	if code != "" {
		class = "other"
		if i := slices.IndexFunc(classes, func(c struct{ code, name string }) bool { return strings.HasPrefix(code, c.code) }); i >= 0 {
			class = classes[i].name
		}
		d.Set("class", snapshot.Text(class))
		d.Set("class_code", snapshot.Text(code))
	}
	ids := d.idPair("ids", "vendor", "device")
	d.idPair("subsystem_ids", "subsystem_vendor", "subsystem_device")
	d.keep("revision", "revision")
	d.number("numa_node", 1, "numa_node")
	d.boundTo()
	d.virtualFunction()
	if class != "bridge" { // a bridge's link is that of the device behind it
		d.pciLink()
		d.interrupts()
	}
	d.aer(hours)
	d.iommu()
	d.Label = strings.Join(strings.Fields(fmt.Sprintf("%s %s (%s)", class, ids, d.name)), " ")
	return true
}

// idPair reads two ids of 16 bits and sets them as vvvv:dddd.
func (d *device) idPair(name, vendor, product string) string {
	v, p := d.attr(name, vendor), d.attr(name, product)
	if v == "" || p == "" {
		return ""
	}
	s := strings.TrimPrefix(v, "0x") + ":" + strings.TrimPrefix(p, "0x")
	d.Set(name, snapshot.Text(s))
	return s
}

// boundTo sets the driver. A driver link that is not there means that no driver
// is bound; only then is it "none".
func (d *device) boundTo() {
	drv, err := d.root.Link(d.ctx, d.dir, "driver")
	switch {
	case sysfs.Absent(err):
		drv = "none"
	case err != nil:
		d.Fail("driver", err)
		return
	}
	if slices.Contains(handing, drv) {
		d.Set("handed_to", snapshot.Text(drv))
		return
	}
	d.Set("driver", snapshot.Text(drv))
}

// virtualFunction tells an SR-IOV virtual function by its link to the physical one.
func (d *device) virtualFunction() {
	vf, err := d.root.Exists(d.ctx, d.dir, "physfn")
	if err != nil {
		d.Fail("virtual_function", err)
		return
	}
	d.Set("virtual_function", yesNo(vf))
}

func yesNo(b bool) snapshot.Value {
	if b {
		return snapshot.Text("yes")
	}
	return snapshot.Text("no")
}

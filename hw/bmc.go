package hw

import (
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const bmcKind = "hw.bmc"

var _ = catalogue.Add(source.Source{
	Name: "bmc",
	Doc: `the management controller (BMC), as the firmware describes it and as the kernel found it

Reads the SMBIOS entries of type 38 and what ipmi_msghandler says in sysfs; the controller itself is asked nothing.`,
	Kinds: []snapshot.Kind{bmc},
	Read:  readBMC,
})

// The two states of a management controller. A host that has none has no subject.
const (
	bmcWorking  = "working"
	bmcNoDriver = "no_driver"
)

var bmc = snapshot.Kind{
	Name: bmcKind,
	Doc:  "the management controller of the host, if it has one",
	Attrs: []snapshot.Attr{
		{Name: "state", Order: []string{bmcWorking, bmcNoDriver}, Doc: "working where the kernel talks to it; no_driver where only the firmware says that there is one"},
		{Name: "interface", Doc: "how it is reached: kcs, smic, bt, ssif"},
		{Name: "driver", Doc: "driver that reaches it, or none"},
		{Name: "found_by", Doc: "how the driver found it: acpi, smbios, pci, devicetree, other"},
		{Name: "firmware", Doc: "revision of its firmware"},
		{Name: "aux_firmware", Doc: "more of the revision, as the maker writes it"},
		{Name: "ipmi_version", Doc: "version of IPMI that it speaks"},
		{Name: "manufacturer_id", Doc: "IANA number of its maker"},
		{Name: "product_id", Doc: "number of the product, as its maker counts"},
		{Name: "guid", Doc: "identifier that it says is its own alone"},
		{Name: "described", Doc: "yes where the firmware describes a controller (SMBIOS type 38)"},
		{Name: "described_interface", Doc: "how it is reached, as the firmware says"},
		{Name: "described_address", Doc: "where it is reached, as the firmware says: port, memory or SMBus address"},
		{Name: "hosed_count", Unit: snapshot.Count, Better: snapshot.LowerBetter, Cumulative: true, Doc: "how often since boot its interface was found in a state that cannot be"},
		{Name: "long_timeouts", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how often since boot the driver waited long for it"},
		{Name: "transactions", Unit: snapshot.Count, Noise: snapshot.Evidence, Doc: "how many requests it has answered since boot"},
		{Name: "params", Noise: snapshot.Evidence, Doc: "what the driver uses: interface, address, interrupt"},
		{Name: "device", Noise: snapshot.Evidence, Doc: "the kernel's device of today"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "bmc-driver-lost", On: snapshot.OnBecomes, Attr: "state", From: []string{bmcWorking}, To: []string{bmcNoDriver}, Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "no driver is bound to the management controller, which worked at the last good boot",
			Hint:    "nobody watches fans, sensors and power from within now: is ipmi_si there for this kernel, and what does it say in `dmesg`?"},
		{Code: "bmc-missing", On: snapshot.OnMissing, Where: map[string]string{"state": bmcWorking}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "the management controller is gone: neither firmware nor kernel knows of one"},
		{Code: "bmc-driver-found", On: snapshot.OnBecomes, Attr: "state", From: []string{bmcNoDriver}, To: []string{bmcWorking}, Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the management controller works; the firmware described it before, and no driver was bound"},
		{Code: "bmc-path-changed", On: snapshot.OnChanged, Attr: "found_by", Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the management controller was found by another path: {new}, was {old}"},
		{Code: "bmc-firmware-changed", On: snapshot.OnChanged, Attr: "firmware", Topic: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of the management controller is {new}, was {old}", Hint: "two things changed at once: what else is found may come from either"},
		{Code: "bmc-firmware-changed", On: snapshot.OnChanged, Attr: "aux_firmware", Topic: "firmware", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the firmware of the management controller is {new}, was {old}"},
		{Code: "bmc-replaced", On: snapshot.OnChanged, Attr: "guid", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "the management controller calls itself {new}, was {old}", Hint: "the mainboard was changed, or the controller was set up anew"},
		{Code: "bmc-interface-stuck", On: snapshot.OnGrowth, Attr: "hosed_count", Ratio: 2, Floor: 3, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the interface to the management controller got stuck {new} times since boot, {old} at the last good one"},
	},
}

// maxBMCs is how many interfaces are asked for by name. Boards have one, rarely two
// that lead to the same controller.
const maxBMCs = 4

func readBMC(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	d := &device{ctx: ctx, root: h.Root.OneDevice()}
	d.Kind, d.ID, d.Outcome, d.Label = bmcKind, "bmc", snapshot.Measured, "management controller"
	found, err := d.findBMC(h)
	if err != nil {
		return nil, err
	}
	described, err := d.describedBMC()
	if err != nil {
		d.Fail("described", err)
	}
	switch {
	case found:
		d.Set("state", snapshot.Text(bmcWorking))
	case described:
		d.Set("state", snapshot.Text(bmcNoDriver))
		d.Set("driver", snapshot.Text("none"))
	case err != nil: // there may be one
		return nil, err
	default:
		return nil, nil
	}
	if guid := d.Text("guid"); guid != "" {
		d.Set("aliases", snapshot.List("guid:"+guid))
	}
	return []snapshot.Subject{d.Subject}, nil
}

// findBMC fills in the controller that ipmi_msghandler keeps as a platform device
// (drivers/char/ipmi/ipmi_msghandler.c, __ipmi_bmc_register) and the interface that
// leads to it. It reports whether there is one.
func (d *device) findBMC(h source.Host) (bool, error) {
	const folder = "/sys/bus/platform/drivers/ipmi"
	names, err := list(d.ctx, h, folder)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "ipmi_bmc.") {
			continue
		}
		if d.dir, err = d.root.Target(d.ctx, folder, name); err != nil {
			return false, err
		}
		d.bmcFacts()
		return true, d.bmcInterface()
	}
	return false, nil
}

func (d *device) bmcFacts() {
	for attr, file := range map[string]string{"firmware": "firmware_revision", "aux_firmware": "aux_firmware_revision", "ipmi_version": "ipmi_version",
		"manufacturer_id": "manufacturer_id", "product_id": "product_id", "guid": "guid"} {
		d.keep(attr, file)
	}
}

// bmcInterface fills in the interface: ipmi_msghandler links to it from the
// controller's folder by the number of its character device.
func (d *device) bmcInterface() error {
	for n := range maxBMCs {
		dir, err := d.root.Target(d.ctx, d.dir, fmt.Sprintf("ipmi%d", n))
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			d.Fail("interface", err)
			return nil
		}
		d.dir = dir
		d.boundTo()
		d.Set("device", snapshot.Text(path.Base(dir)))
		d.Set("found_by", snapshot.Text(foundBy(path.Base(dir))))
		d.keep("params", "params")
		if d.keep("interface", "type") == "" && d.Text("driver") == "ipmi_ssif" {
			d.Set("interface", snapshot.Text("ssif")) // ipmi_ssif has a file of that name only since 4.16
		}
		d.number("hosed_count", 1, "hosed_count")
		d.number("long_timeouts", 1, "long_timeouts")
		d.number("transactions", 1, "complete_transactions")
		return nil
	}
	return nil
}

// foundBy tells from the name of an interface's device who told the driver of it:
// ipmi_dmi.c and ipmi_plat_data.c name theirs, PCI functions bear an address, ACPI
// devices a hardware id of four letters and four digits and a number.
func foundBy(name string) string {
	id, number, acpi := strings.Cut(name, ":")
	switch {
	case strings.HasPrefix(name, "dmi-ipmi-"):
		return "smbios"
	case pciSlot.MatchString(name):
		return "pci"
	case acpi && number != "" && (len(id) == 7 || len(id) == 8):
		return "acpi"
	case strings.Contains(name, ".ipmi") || strings.Contains(name, ".bt") || strings.Contains(name, ".kcs"):
		return "devicetree"
	}
	return "other" // hard-coded by module parameters, hot-added, an I2C address
}

// describedBMC fills in what SMBIOS says and reports whether it says anything.
func (d *device) describedBMC() (bool, error) {
	raw, err := d.root.Bytes(d.ctx, 256, "/sys/firmware/dmi/entries/38-0/raw")
	if sysfs.Absent(err) {
		d.Set("described", snapshot.Text("no"))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e, err := parseType38(raw)
	if err != nil {
		return false, fmt.Errorf("read SMBIOS entry 38-0: %w", err)
	}
	d.Set("described", snapshot.Text("yes"))
	d.Set("described_interface", snapshot.Text(e.kind))
	d.Set("described_address", snapshot.Text(e.address))
	return true, nil
}

// type38 is an SMBIOS entry "IPMI device information" (DSP0134, 7.39).
type type38 struct {
	kind    string // kcs, smic, bt, ssif, unknown
	address string
}

// parseType38 reads one entry of the firmware's table.
func parseType38(b []byte) (type38, error) {
	const least = 0x10 // up to the base address
	if len(b) < least || b[0] != 38 || int(b[1]) < least || int(b[1]) > len(b) {
		return type38{}, fmt.Errorf("%d bytes are no entry of type 38", len(b))
	}
	kinds := []string{"unknown", "kcs", "smic", "bt", "ssif"}
	e := type38{kind: "unknown"}
	if int(b[4]) < len(kinds) {
		e.kind = kinds[b[4]]
	}
	base := binary.LittleEndian.Uint64(b[8:])
	var low uint64 // bit 0 of the address, when the entry is long enough to say
	if b[1] >= 0x12 {
		low = uint64(b[0x10]>>4) & 1
	}
	switch {
	case e.kind == "ssif":
		e.address = fmt.Sprintf("smbus 0x%02x", base>>1&0x7f)
	case base&1 == 1:
		e.address = fmt.Sprintf("io 0x%x", base&^1|low)
	default:
		e.address = fmt.Sprintf("mem 0x%x", base|low)
	}
	return e, nil
}

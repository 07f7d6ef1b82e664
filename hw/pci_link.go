package hw

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

// maxLanes is the widest link of the PCIe specification; a function that sleeps
// answers with all bits set.
const maxLanes = 32

// pciLink reads the link to a function, as it is and as it can be.
func (d *device) pciLink() {
	for name, file := range map[string]string{"link_width": "current_link_width", "link_width_max": "max_link_width"} {
		s := d.attr(name, file)
		n, err := strconv.Atoi(s)
		switch {
		case s == "" || s == "0" || s == "Unknown" || s == "255": // no link: a function of the chipset, or one that sleeps
		case err != nil || n < 0 || n > maxLanes:
			d.Fail(name, fmt.Errorf("read %s: %q is no number of lanes", file, clipText(s, longestValue)))
		default:
			d.Set(name, snapshot.Int(n))
		}
	}
	now, most := d.transfers("link_speed_bits", "current_link_speed"), d.transfers("link_speed_max_bits", "max_link_speed")
	slot := d.slotSpeed()
	if now > 0 && most > 0 {
		if slot > 0 {
			most = min(most, slot)
		}
		d.Set("link_full_speed", yesNo(now >= most))
	}
}

// transfers reads a link's speed and sets it; 0 where it has none.
func (d *device) transfers(name, file string) int64 {
	s := d.attr(name, file)
	if s == "" || strings.HasPrefix(s, "Unknown") {
		return 0
	}
	bits, err := parseTransfers(s)
	if err != nil {
		d.Fail(name, fmt.Errorf("read %s: %w", file, err))
		return 0
	}
	d.Set(name, snapshot.Int(bits))
	return bits
}

// slotSpeed is what the port above can do: a card of PCIe 5 in a slot of PCIe 3 is not
// slow for want of a good contact.
func (d *device) slotSpeed() int64 {
	up := path.Dir(d.dir)
	if !pciSlot.MatchString(path.Base(up)) {
		return 0
	}
	s, err := d.root.Attr(d.ctx, up, "max_link_speed")
	if err != nil && !sysfs.Absent(err) {
		d.Fail("slot_speed_bits", err)
	}
	bits, bad := parseTransfers(s)
	if err != nil || bad != nil {
		return 0
	}
	d.Set("slot_speed_bits", snapshot.Int(bits))
	return bits
}

// parseTransfers reads "8.0 GT/s PCIe" (pci_speed_string of drivers/pci/probe.c;
// before Linux 5.7 without the last word): transfers of one bit a second.
func parseTransfers(s string) (int64, error) {
	num, unit, _ := strings.Cut(s, " ")
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || !strings.HasPrefix(unit, "GT/s") || !(f > 0 && f < 1000) {
		return 0, errors.New(strconv.Quote(clipText(s, longestValue)) + " is no link speed")
	}
	return int64(f * 1e9), nil
}

// aer reads the counts of transfer errors since boot, which are there where the kernel
// and not the firmware has charge of them. hours is how long it has been up.
func (d *device) aer(hours float64) {
	for _, c := range []string{"correctable", "nonfatal", "fatal"} {
		name := "aer_" + c
		s, err := d.root.Attr(d.ctx, d.dir, "aer_dev_"+c)
		if err == nil {
			var n int64
			if n, err = parseAER(s); err == nil && c == "correctable" {
				d.Set("aer_correctable_per_hour", snapshot.Int(tens(float64(n)/hours)))
			}
			if err == nil {
				d.Set(name, snapshot.Int(n))
			}
		}
		if err != nil && !sysfs.Absent(err) {
			d.Fail(name, err)
		}
	}
}

// parseAER reads a list of counters, "RxErr 0" a line and "TOTAL_ERR_COR 0" last
// (aer_stats_dev_attr of drivers/pci/pcie/aer.c), and gives the total.
func parseAER(s string) (int64, error) {
	total := int64(-1)
	for line := range strings.Lines(s) {
		name, num, ok := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(num, 10, 64)
		if !ok || err != nil || n < 0 {
			return 0, fmt.Errorf("%q is no counter of PCIe errors", clipText(strings.TrimSpace(line), longestValue))
		}
		if strings.HasPrefix(name, "TOTAL_ERR_") {
			total = n
		}
	}
	if total < 0 {
		return 0, errors.New("counters of PCIe errors have no total")
	}
	return total, nil
}

// iommu says what stands between the function and memory. The group's number is
// another one at each boot.
func (d *device) iommu() {
	group, err := d.root.Target(d.ctx, d.dir, "iommu_group")
	if sysfs.Absent(err) {
		d.Set("iommu", snapshot.Text("no"))
		return
	}
	if err != nil {
		d.Fail("iommu", err)
		return
	}
	d.Set("iommu", snapshot.Text("yes"))
	d.Set("iommu_group", snapshot.Text(path.Base(group)))
	kind, err := d.root.Attr(d.ctx, group, "type")
	switch {
	case err == nil && kind != "":
		d.Set("iommu_type", snapshot.Text(clipText(kind, longestValue)))
	case err != nil && !sysfs.Absent(err):
		d.Fail("iommu_type", err)
	}
}

// interrupts says how the function interrupts: by messages (MSI-X, MSI), or by a line
// that it may share. How many messages it has depends on the number of processors.
func (d *device) interrupts() {
	names, err := d.root.List(d.ctx, d.dir, "msi_irqs")
	switch {
	case sysfs.Absent(err) || (err == nil && len(names) == 0):
		d.Set("interrupts", snapshot.Text("line"))
		return
	case err != nil:
		d.Fail("interrupts", err)
		return
	}
	d.Set("msi_vectors", snapshot.Int(len(names)))
	kind, err := d.root.Attr(d.ctx, d.dir, "msi_irqs", names[0])
	switch {
	case err != nil:
		d.Fail("interrupts", err)
	case slices.Contains([]string{"msi", "msix"}, kind):
		d.Set("interrupts", snapshot.Text(kind))
	default:
		d.Fail("interrupts", fmt.Errorf("read msi_irqs: %q is neither msi nor msix", clipText(kind, longestValue)))
	}
}

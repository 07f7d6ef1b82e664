package boot

import (
	"context"
	"strings"

	"lastgood/internal/sysfs"
)

// virtualization names what the kernel runs on, and the container that lastgood
// runs in, as systemd-detect-virt does: "none", "kvm", "docker", or both where
// both are: "kvm+docker".
func virtualization(ctx context.Context, root *sysfs.Root, info cpuReader) (string, error) {
	vm, err := hypervisor(ctx, root, info)
	if err != nil {
		return "", err
	}
	box, err := container(ctx, root)
	if err != nil {
		return "", err
	}
	switch {
	case box == "":
		return vm, nil
	case vm == "" || vm == "none":
		return box, nil
	}
	return vm + "+" + box, nil
}

// hypervisor names the virtual machine, "none" on bare metal, and "" where there
// is nothing to tell it by. What clock the hypervisor offers comes before SMBIOS,
// for QEMU's tables say the same with and without KVM; but a cloud's own name
// comes first, since it says more than "kvm".
func hypervisor(ctx context.Context, root *sysfs.Root, info cpuReader) (string, error) {
	c, err := info(ctx, root)
	unknown := sysfs.Absent(err)
	if err != nil && !unknown {
		return "", err
	}
	dmi, err := dmiVirt(ctx, root)
	if err != nil {
		return "", err
	}
	if metal := c.flags && !c.hypervisor; metal && (dmi == "amazon" || dmi == "google") {
		dmi = "" // a bare metal machine of that cloud
	}
	switch dmi {
	case "amazon", "google", "oracle", "parallels", "xen":
		return dmi, nil
	}
	for _, ask := range []func(context.Context, *sysfs.Root) (string, error){
		clockVirt,
		func(context.Context, *sysfs.Root) (string, error) { return dmi, nil },
		hypervisorType,
		treeVirt,
	} {
		if v, err := ask(ctx, root); v != "" || err != nil && !sysfs.Absent(err) {
			return v, err
		}
	}
	switch {
	case c.hypervisor:
		return "vm-other", nil
	case unknown:
		return "", nil
	}
	return "none", nil
}

// dmiVendors are the beginnings of SMBIOS names by which hypervisors are known.
var dmiVendors = []struct{ prefix, name string }{
	{"KVM", "kvm"}, {"OpenStack", "kvm"}, {"KubeVirt", "kvm"}, {"QEMU", "qemu"},
	{"Amazon EC2", "amazon"}, {"Google Compute Engine", "google"},
	{"VMware", "vmware"}, {"VMW", "vmware"}, {"innotek GmbH", "oracle"}, {"VirtualBox", "oracle"},
	{"Xen", "xen"}, {"Bochs", "bochs"}, {"Parallels", "parallels"}, {"BHYVE", "bhyve"},
	{"Hyper-V", "microsoft"}, {"Apple Virtualization", "apple"},
}

// dmiVirt names the hypervisor by SMBIOS, "" where none is known by it.
func dmiVirt(ctx context.Context, root *sysfs.Root) (string, error) {
	fields := map[string]string{}
	for _, f := range []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"} {
		s, err := root.Attr(ctx, dmiDir+f)
		if err != nil && !sysfs.Absent(err) {
			return "", err
		}
		fields[f] = s
	}
	if fields["sys_vendor"] == "Microsoft Corporation" && fields["product_name"] == "Virtual Machine" {
		return "microsoft", nil
	}
	if strings.Contains(fields["product_name"], ".metal") { // EC2: m5.metal, c7g.metal-24xl
		return "", nil
	}
	for _, f := range []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"} {
		for _, v := range dmiVendors {
			if strings.HasPrefix(fields[f], v.prefix) {
				return v.name, nil
			}
		}
	}
	return "", nil
}

// clockVirt names the hypervisor by the paravirtual clock that it offers; light
// hypervisors (Firecracker, Cloud Hypervisor) have no SMBIOS.
func clockVirt(ctx context.Context, root *sysfs.Root) (string, error) {
	s, err := root.Attr(ctx, "/sys/devices/system/clocksource/clocksource0/available_clocksource")
	for clock := range strings.FieldsSeq(s) {
		switch {
		case clock == "kvm-clock":
			return "kvm", nil
		case strings.HasPrefix(clock, "hyperv_clocksource"):
			return "microsoft", nil
		}
	}
	return "", err
}

// hypervisorType is what the kernel registered in /sys/hypervisor. The first
// domain of Xen has it too, and is no virtual machine.
func hypervisorType(ctx context.Context, root *sysfs.Root) (string, error) {
	kind, err := root.Attr(ctx, "/sys/hypervisor/type")
	if err != nil || kind != "xen" {
		return "", err
	}
	caps, err := root.Attr(ctx, "/proc/xen/capabilities")
	if err != nil && !sysfs.Absent(err) {
		return "", err
	}
	if strings.Contains(caps, "control_d") {
		return "none", nil
	}
	return "xen", nil
}

// treeVirt names the hypervisor by the device tree's node of that name (arm64,
// RISC-V, POWER).
func treeVirt(ctx context.Context, root *sysfs.Root) (string, error) {
	s, err := root.Attr(ctx, "/sys/firmware/devicetree/base/hypervisor/compatible")
	switch {
	case err != nil || s == "":
		return "", err
	case strings.Contains(s, "linux,kvm"):
		return "kvm", nil
	case strings.Contains(s, "xen"):
		return "xen", nil
	case strings.Contains(s, "vmware"):
		return "vmware", nil
	}
	return "vm-other", nil
}

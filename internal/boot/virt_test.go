package boot

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestVirtualization(t *testing.T) {
	const (
		metal  = "processor\t: 0\nmodel name\t: A\nflags\t: fpu\n"
		guest  = "processor\t: 0\nmodel name\t: A\nflags\t: fpu hypervisor\n"
		arm    = "processor\t: 0\nCPU implementer\t: 0x41\n"
		clocks = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
		dmi    = dmiDir + "product_name"
		vendor = dmiDir + "sys_vendor"
	)
	cpu := func(info string) *host { return newHost().with("/proc/cpuinfo", info) }
	inBox := func() *host {
		h := cpu(metal)
		h.links["/proc/self/ns/pid"] = "pid:[4026532000]"
		return h
	}
	stale := cpu(guest).with(clocks, "tsc kvm-clock").with("/.dockerenv", "")
	stale.links["/proc/self/ns/pid"], stale.links["/proc/self/ns/cgroup"] = firstPIDNamespace, firstCgroupNamespace
	for name, test := range map[string]struct {
		host *host
		want string
	}{
		"bare metal":              {cpu(metal).with(vendor, "Dell Inc."), "none"},
		"no SMBIOS, KVM's clock":  {cpu(guest).with(clocks, "tsc kvm-clock \n"), "kvm"},
		"QEMU with KVM":           {cpu(guest).with(vendor, "QEMU").with(clocks, "kvm-clock tsc"), "kvm"},
		"QEMU alone":              {cpu(guest).with(vendor, "QEMU").with(clocks, "tsc"), "qemu"},
		"Hyper-V":                 {cpu(guest).with(vendor, "Microsoft Corporation").with(dmi, "Virtual Machine"), "microsoft"},
		"a Surface":               {cpu(metal).with(vendor, "Microsoft Corporation").with(dmi, "Surface Pro"), "none"},
		"EC2":                     {cpu(guest).with(vendor, "Amazon EC2").with(dmi, "m5.large").with(clocks, "kvm-clock tsc"), "amazon"},
		"EC2 bare metal":          {cpu(metal).with(vendor, "Amazon EC2").with(dmi, "m5.metal"), "none"},
		"EC2 bare metal, arm64":   {cpu(arm).with(vendor, "Amazon EC2").with(dmi, "m7g.metal-48xl"), "none"},
		"GCE":                     {cpu(guest).with(vendor, "Google").with(dmi, "Google Compute Engine"), "google"},
		"VirtualBox":              {cpu(guest).with(vendor, "innotek GmbH").with(dmi, "VirtualBox"), "oracle"},
		"Xen guest":               {cpu(guest).with("/sys/hypervisor/type", "xen").with("/proc/xen/capabilities", "\n"), "xen"},
		"Xen's first domain":      {cpu(metal).with("/sys/hypervisor/type", "xen").with("/proc/xen/capabilities", "control_d\n"), "none"},
		"device tree":             {cpu(arm).with("/sys/firmware/devicetree/base/hypervisor/compatible", "linux,kvm\x00"), "kvm"},
		"only the flag":           {cpu(guest), "vm-other"},
		"nothing to tell it by":   {newHost(), ""},
		"disk of a docker image":  {stale, "kvm"},
		"docker":                  {inBox().with("/.dockerenv", ""), "docker"},
		"docker, PID 1 says oci":  {inBox().with("/.dockerenv", "").with("/proc/1/environ", "container=oci\x00"), "docker"},
		"docker, PID 1 is closed": {inBox().with("/.dockerenv", "").fail("/proc/1/environ", unix.EACCES), "docker"},
		"oci only":                {inBox().with("/proc/1/environ", "A=b\x00container=oci\x00"), "container-other"},
		"podman":                  {inBox().with("/run/.containerenv", ""), "podman"},
		"lxc before docker":       {inBox().with("/proc/1/environ", "container=lxc\x00").with("/.dockerenv", ""), "lxc"},
		"nspawn":                  {inBox().with("/run/systemd/container", "systemd-nspawn\n"), "systemd-nspawn"},
		"unknown manager":         {inBox().with("/run/systemd/container", "crate\n"), "container-other"},
		"WSL 2":                   {cpu(guest).with("/proc/sys/kernel/osrelease", "5.15.90.1-microsoft-standard-WSL2\n").with(clocks, "hyperv_clocksource_tsc_page"), "microsoft+wsl"},
		"a unit's own namespaces": {inBox(), "none"},
	} {
		id := Identify(t.Context(), test.host.root())
		if id.Virtualization != test.want || id.Errs["virtualization"] != "" {
			t.Errorf("%s: got %q, want %q (%s)", name, id.Virtualization, test.want, id.Errs["virtualization"])
		}
	}
	closed := Identify(t.Context(), inBox().fail("/proc/1/environ", unix.EACCES).root())
	if closed.Virtualization != "" || closed.Errs["virtualization"] == "" {
		t.Errorf("a container that could not be told: got %q, errors %v", closed.Virtualization, closed.Errs)
	}
}

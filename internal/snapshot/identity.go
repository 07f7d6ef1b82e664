package snapshot

import (
	"slices"
	"strings"
)

// Identity is what makes two snapshots comparable: which kernel, on which
// machine, configured how. A fact that could not be read is absent, and Errs
// says why.
type Identity struct {
	Kernel    KernelIdentity `json:"kernel"`
	BootID    string         `json:"boot_id,omitempty"`    // /proc/sys/kernel/random/boot_id
	MachineID string         `json:"machine_id,omitempty"` // /etc/machine-id
	Product   string         `json:"product,omitempty"`    // DMI vendor and product name
	// ProductUUID is DMI's; it tells two machines apart that were cloned with one machine-id.
	ProductUUID string `json:"product_uuid,omitempty"`
	// BoardSerial is DMI's serial number of the board; it and the UUID are root's to read.
	BoardSerial    string            `json:"board_serial,omitempty"`
	Virtualization string            `json:"virtualization,omitempty"` // none, kvm, vmware …; a container is named too
	CPU            CPUIdentity       `json:"cpu"`
	Lockdown       string            `json:"lockdown,omitempty"` // none | integrity | confidentiality
	LSM            []string          `json:"lsm,omitempty"`      // in the kernel's order
	SecureBoot     *bool             `json:"secure_boot,omitempty"`
	Sysctls        map[string]int64  `json:"sysctls,omitempty"` // bpf_jit_*, unprivileged_bpf_disabled
	Cgroup         string            `json:"cgroup,omitempty"`  // v1 | v2 | hybrid
	Taint          *uint64           `json:"taint,omitempty"`   // /proc/sys/kernel/tainted when the snapshot was begun
	Packages       map[string]string `json:"packages,omitempty"`
	Errs           map[string]string `json:"errs,omitempty"`
}

// KernelIdentity names a kernel build: version strings alone do not, for
// distributions rebuild and backport under one release.
type KernelIdentity struct {
	Release    string `json:"release,omitempty"` // uname -r
	Version    string `json:"version,omitempty"` // uname -v
	BuildID    string `json:"build_id,omitempty"`
	Arch       string `json:"arch,omitempty"` // uname -m
	Cmdline    string `json:"cmdline,omitempty"`
	ConfigHash string `json:"config_hash,omitempty"` // sha256 of the uncompressed configuration
	BTFHash    string `json:"btf_hash,omitempty"`    // sha256 of /sys/kernel/btf/vmlinux
}

// CPUIdentity is what the JIT and the mitigations follow.
type CPUIdentity struct {
	Model string `json:"model,omitempty"`
	Count int    `json:"count,omitempty"`
	// Microcode is the set of revisions over all CPUs: more than one is itself a fault.
	Microcode   []string          `json:"microcode,omitempty"`
	Mitigations map[string]string `json:"mitigations,omitempty"` // /sys/devices/system/cpu/vulnerabilities
}

// IdentityChange is one fact that differs, and what such a difference is
// attributed to.
type IdentityChange struct {
	Fact     string
	Class    Class
	Old, New string // "" where the fact was absent
}

// SameBuild reports whether both snapshots come from the same kernel build on
// the same configuration, so that exact counters must be equal. It is true only
// where enough is known to say so.
func (id *Identity) SameBuild(o *Identity) bool {
	if id.Kernel.BuildID == "" {
		return false
	}
	for _, f := range id.facts() {
		if id.unreadable(f.Fact) || o.unreadable(f.Fact) {
			return false
		}
	}
	return len(id.Changes(o, ClassKernel, ClassConfig, ClassHardware)) == 0
}

// Changes lists the facts that differ from id to o, in a fixed order, of the
// given classes or of all. A fact that is absent on one side because it could
// not be read is not a change.
func (id *Identity) Changes(o *Identity, classes ...Class) []IdentityChange {
	var out []IdentityChange
	a, b := id.facts(), o.facts()
	for i, f := range a {
		if len(classes) > 0 && !slices.Contains(classes, f.Class) {
			continue
		}
		if f.Old == b[i].Old || id.unreadable(f.Fact) || o.unreadable(f.Fact) {
			continue
		}
		out = append(out, IdentityChange{f.Fact, f.Class, f.Old, b[i].Old})
	}
	return out
}

func (id *Identity) unreadable(fact string) bool {
	_, bad := id.Errs[fact]
	return bad
}

// facts lists what is compared; the names are those of the JSON fields. The boot
// id differs by nature, and the taint flag is the subject of a rule of its own.
//
// What changes with every kernel by nature is not a change of the configuration:
// the command line is compared without the words that only say which kernel was
// booted, and the packages are two facts of one name, the kernel's own and the rest.
func (id *Identity) facts() []IdentityChange {
	k := &id.Kernel
	secure := ""
	if id.SecureBoot != nil {
		secure = Bool(*id.SecureBoot).String()
	}
	return []IdentityChange{
		{Fact: "release", Class: ClassKernel, Old: k.Release},
		{Fact: "version", Class: ClassKernel, Old: k.Version},
		{Fact: "build_id", Class: ClassKernel, Old: k.BuildID},
		{Fact: "config_hash", Class: ClassKernel, Old: k.ConfigHash},
		{Fact: "btf_hash", Class: ClassKernel, Old: k.BTFHash},
		{Fact: "arch", Class: ClassKernel, Old: k.Arch},
		{Fact: "cmdline", Class: ClassConfig, Old: settings(k.Cmdline)},
		{Fact: "lockdown", Class: ClassConfig, Old: id.Lockdown},
		{Fact: "lsm", Class: ClassConfig, Old: strings.Join(id.LSM, ",")},
		{Fact: "secure_boot", Class: ClassConfig, Old: secure},
		{Fact: "sysctls", Class: ClassConfig, Old: joinMap(id.Sysctls, func(n int64) string { return Int(n).String() })},
		{Fact: "cgroup", Class: ClassConfig, Old: id.Cgroup},
		{Fact: "packages", Class: ClassKernel, Old: id.packages(true)},
		{Fact: "packages", Class: ClassConfig, Old: id.packages(false)},
		{Fact: "cpu_model", Class: ClassHardware, Old: id.CPU.Model},
		{Fact: "microcode", Class: ClassHardware, Old: strings.Join(id.CPU.Microcode, ",")},
		{Fact: "mitigations", Class: ClassKernel, Old: joinMap(id.CPU.Mitigations, func(s string) string { return s })},
		{Fact: "product", Class: ClassHardware, Old: id.Product},
		{Fact: "virtualization", Class: ClassHardware, Old: id.Virtualization},
	}
}

// bootedWords begin the words of a command line that a boot loader adds to say what
// it booted: GRUB and extlinux, systemd-boot, OSTree's deployment.
var bootedWords = []string{"BOOT_IMAGE=", "initrd=", "ostree="}

// settings is a command line without bootedWords. The order of the rest is kept:
// where a word stands twice the kernel takes the last. Words after "--" are
// init's and stay as they are.
func settings(cmdline string) string {
	words := strings.Fields(cmdline)
	kernel := words
	if i := slices.Index(words, "--"); i >= 0 {
		kernel = words[:i]
	}
	var out []string
	for i, w := range words {
		booted := func(p string) bool { return strings.HasPrefix(w, p) }
		if i >= len(kernel) || !slices.ContainsFunc(bootedWords, booted) {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// packages joins the packages that hold a kernel, or all others.
func (id *Identity) packages(kernel bool) string {
	some := map[string]string{}
	for name, version := range id.Packages {
		if holdsKernel(name) == kernel {
			some[name] = version
		}
	}
	return joinMap(some, func(s string) string { return s })
}

// holdsKernel tells a kernel's package by its name: linux-image-… and
// linux-modules-… (Debian, Ubuntu), proxmox-kernel-…, kernel-core (Fedora),
// linux, linux-lts (Arch). linux-firmware goes with the machine.
func holdsKernel(name string) bool {
	if strings.Contains(name, "firmware") || strings.HasSuffix(name, "-dkms") {
		return false
	}
	first, _, _ := strings.Cut(name, "-")
	return first == "linux" || first == "kernel" || strings.HasPrefix(name, "proxmox-kernel-") || strings.HasPrefix(name, "pve-kernel-")
}

func joinMap[V any](m map[string]V, text func(V) string) string {
	var parts []string
	for k, v := range m {
		parts = append(parts, k+"="+text(v))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

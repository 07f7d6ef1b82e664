package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Accel is how the guest's instructions run.
type Accel string

const (
	// Auto tries KVM under a short watchdog and falls back to emulation.
	Auto Accel = "auto"
	TCG  Accel = "tcg" // QEMU's own translation: slow, and the same everywhere
	KVM  Accel = "kvm"
)

// kvmDevice is what KVM is reached through.
const kvmDevice = "/dev/kvm"

// cpuModel is the guest's processor. Without cmpxchg16b off, 6.12.95 panics under
// emulation in its per-CPU setup, with `max` alone.
func cpuModel(a Accel) string {
	if a == KVM {
		return "host"
	}
	return "max,cx16=off"
}

// programs of QEMU by machine, and the kernel's names of its two serial ports.
var qemuNames = map[string]string{"x86_64": "qemu-system-x86_64"}

// NoQEMUError is a host without QEMU.
type NoQEMUError struct{ Program string }

func (e *NoQEMUError) Error() string { return "run VM: " + e.Program + " is not installed" }

// Hint is the way out.
func (e *NoQEMUError) Hint() string {
	return "install it: apt install qemu-system-x86, or dnf install qemu-kvm-core"
}

func findQEMU(arch string) (string, error) {
	name, ok := qemuNames[arch]
	if !ok {
		return "", fmt.Errorf("run VM: kernels for %s cannot be run here, only those for x86_64", arch)
	}
	p, err := exec.LookPath(name)
	if err != nil {
		// Red Hat's is not in the search path.
		if p = "/usr/libexec/qemu-kvm"; !executable(p) {
			return "", &NoQEMUError{Program: name}
		}
	}
	return p, nil
}

func executable(name string) bool { return unix.Access(name, unix.X_OK) == nil }

// Numbers of the files that QEMU inherits. They are memory without a name, so
// nothing can be left behind however lastgood ends.
const (
	fdKernel = 3 + iota
	fdInitramfs
	fdConsole
	fdAnswer
)

func fdPath(n int) string { return "/proc/self/fd/" + strconv.Itoa(n) }

// kernelArgs come first on the guest's command line. Every line of the console is
// emulated character by character, so only notices and worse are printed; "Linux
// version" is one, the sign of life that the watchdog waits for. On a busy host the
// emulated timer may not tick while the kernel looks, and it would take it for broken
// and panic (check_timer() in arch/x86/kernel/apic/io_apic.c).
var kernelArgs = []string{
	"console=ttyS0,115200", "earlyprintk=ttyS0,115200", "loglevel=6", "panic=-1", "rdinit=/init",
	"cryptomgr.notests=1", "random.trust_cpu=on", "audit=0", "nowatchdog", "no_timer_check", "tsc=reliable", "8250.nr_uarts=2",
}

// arguments of QEMU for a bare machine: two serial ports and nothing else.
func (m *Machine) arguments(a Accel, cmdline string, runas string) []string {
	accel := "tcg,thread=multi,tb-size=128"
	if a == KVM {
		accel = "kvm"
	}
	// With -runas QEMU itself opens /dev/kvm as root and then steps down for good,
	// which neither "deny" nor (in 7.2) "children" lets it do.
	elevate := "deny"
	if runas != "" {
		elevate = "allow"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=" + elevate + ",spawn=deny,resourcecontrol=deny",
		"-machine", "pc,usb=off,vmport=off,hpet=off", "-accel", accel, "-cpu", cpuModel(a),
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB),
		"-chardev", "file,id=console,path=" + fdPath(fdConsole), "-serial", "chardev:console",
		"-chardev", "file,id=answer,path=" + fdPath(fdAnswer), "-serial", "chardev:answer",
		"-kernel", fdPath(fdKernel), "-initrd", fdPath(fdInitramfs), "-append", cmdline,
	}
	if runas != "" {
		args = append(args, "-runas", runas)
	}
	return append(args, m.Devices...)
}

// nobody is whom QEMU runs as where lastgood is root.
const nobody = "nobody"

// lessPrivilege makes QEMU run as nobody. Where KVM is root's alone QEMU has to
// open it first and step down by itself: then its own option is returned.
func lessPrivilege(a Accel) (attr *syscall.SysProcAttr, runas string, err error) {
	attr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, "", nil
	}
	u, err := user.Lookup(nobody)
	if err != nil {
		return nil, "", fmt.Errorf("run VM: QEMU must not run as root: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, "", fmt.Errorf("run VM: user %s: %w", nobody, err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if a != KVM {
		return attr, "", nil
	}
	var st unix.Stat_t
	switch err := unix.Stat(kvmDevice, &st); {
	case err != nil:
		return nil, "", fmt.Errorf("run VM: %s: %w", kvmDevice, err)
	case st.Mode&0o006 == 0o006:
	case st.Mode&0o060 == 0o060 && st.Gid != 0:
		attr.Credential.Groups = []uint32{st.Gid}
	default:
		attr.Credential = nil
		return attr, nobody, nil
	}
	return attr, "", nil
}

// bounds of a QEMU process: what it writes, which is what the guest writes, and its
// memory beyond the guest's own.
func (m *Machine) bounds() []bound {
	return []bound{{"fsize", unix.RLIMIT_FSIZE, maxOutput}, {"core", unix.RLIMIT_CORE, 0}, {"as", unix.RLIMIT_AS, uint64(m.MemoryMiB+2048) << 20}}
}

type bound struct {
	name string
	what int
	max  uint64
}

// bounded is the command that runs QEMU within its bounds: prlimit(1) lowers them
// before it starts. Doing it from outside, to a process of another user, takes
// CAP_SYS_RESOURCE, which services often lack; that is for hosts without util-linux.
func (m *Machine) bounded(qemu string, args []string) (name string, argv []string, outside []bound) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		return qemu, args, m.bounds()
	}
	var first []string
	for _, b := range m.bounds() {
		first = append(first, fmt.Sprintf("--%s=%d", b.name, b.max))
	}
	return prlimit, append(append(first, qemu), args...), nil
}

func bind(pid int, bounds []bound) error {
	for _, b := range bounds {
		lim := unix.Rlimit{Cur: b.max, Max: b.max}
		if err := unix.Prlimit(pid, b.what, &lim, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("bound QEMU: %w", err)
		}
	}
	return nil
}

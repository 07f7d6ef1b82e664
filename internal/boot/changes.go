package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// PackageChange is one package in a transaction.
type PackageChange struct {
	Name   string
	Action string // install, upgrade, downgrade, reinstall, remove
	Old    string // version before; "" where there was none or the log does not say
	New    string // version after; "" where it was removed
}

// Transaction is one run of a package manager.
type Transaction struct {
	Manager string // apt, dpkg, dnf, pacman, zypper
	ID      string // the manager's own number; "" where it gives none
	Time    string // as the log has it
	Command string // "" where the log does not say
	User    string // "" where the log does not say
	Auto    bool   // started by a timer and not by a person
	Failed  bool
	// Packages are those that touch the kernel and the boot; Others is how many more there are.
	Packages []PackageChange
	Others   int

	key  string    // the same for the same record, whenever it is read
	when time.Time // zero where the log's time could not be read
}

// Log is one package manager's record.
type Log struct {
	Manager      string
	Transactions []Transaction // oldest first, as they stand in the log
	Whole        bool          // nothing of it was left out for its size
	// Err is why it could not be read.
	Err error
}

// maxTransactions bounds what is kept of one log: the newest.
const maxTransactions = 2000

// ReadLogs reads the records of the package managers that this host has.
func ReadLogs(ctx context.Context, root *sysfs.Root, run Runner) []Log {
	if run == nil {
		run = HostRunner(root)
	}
	var out []Log
	apt := readApt(ctx, root)
	for _, l := range []*Log{apt, readDpkg(ctx, root, apt), readPacman(ctx, root), readZypper(ctx, root), readDnf(ctx, root, run)} {
		if l == nil {
			continue
		}
		if n := len(l.Transactions); n > maxTransactions {
			l.Transactions, l.Whole = l.Transactions[n-maxTransactions:], false
		}
		out = append(out, *l)
	}
	return out
}

// Since are the transactions after the one that mark names. Where there is no mark those from a
// time on are given, and where it is not in the log any more all of it; note then says so.
func (l *Log) Since(mark string, known bool, from time.Time) (after []Transaction, note string) {
	if !known {
		return l.sinceTime(from)
	}
	if mark == "" {
		return l.Transactions, "" // the log was empty
	}
	for i := len(l.Transactions) - 1; i >= 0; i-- {
		if l.Transactions[i].key == mark {
			return l.Transactions[i+1:], ""
		}
	}
	if !l.Whole {
		return l.Transactions, fmt.Sprintf("%s: of its records only the newest %d were read, and the last good boot lies before them: earlier transactions since it are not told", l.Manager, len(l.Transactions))
	}
	return l.Transactions, fmt.Sprintf("%s: its records do not go back to the last good boot any more, so that earlier transactions may be missing or older ones be among these", l.Manager)
}

// sinceTime leans on the clock, for want of anything better.
func (l *Log) sinceTime(from time.Time) ([]Transaction, string) {
	i := len(l.Transactions)
	for i > 0 && (l.Transactions[i-1].when.IsZero() || !l.Transactions[i-1].when.Before(from)) {
		i--
	}
	return l.Transactions[i:], fmt.Sprintf("%s: the last good boot does not say how far its records went then, so transactions are told by the clock", l.Manager)
}

// Last is the key of the newest transaction, or "".
func (l *Log) Last() string {
	if n := len(l.Transactions); n > 0 {
		return l.Transactions[n-1].key
	}
	return ""
}

// add takes a package into a transaction.
func (t *Transaction) add(c PackageChange) {
	if !Touches(c.Name) {
		t.Others++
		return
	}
	if len(t.Packages) < maxChanges {
		t.Packages = append(t.Packages, c)
	} else {
		t.Others++
	}
}

// maxChanges bounds the packages of one transaction that are kept by name.
const maxChanges = 200

// seal gives a transaction its key, out of the text that it was read from.
func (t *Transaction) seal(text string) {
	sum := sha256.Sum256([]byte(text))
	t.key = hex.EncodeToString(sum[:8])
}

// touching are the names, and beginnings that end in a hyphen or a star, of packages that what the
// kernel does to workloads goes through.
var touching = []string{
	"linux", "linux-lts*", "linux-zen*", "linux-hardened*", "linux-rt*", "linux-cachyos*", "linux-image-*", "linux-modules-*", "linux-generic*", "linux-signed-*",
	"linux-firmware*", "linux-base", "linux-aws", "linux-azure", "linux-gcp", "linux-virtual*", "linux-oem-*",
	"kernel", "kernel-core", "kernel-modules*", "kernel-default*", "kernel-uek*", "kernel-rt*", "kernel-debug", "kernel-64k*", "kernel-longterm*", "proxmox-kernel-*", "pve-kernel-*", "pve-firmware", "proxmox-default-kernel",
	"kernel-firmware*", "firmware-*", "amd-gpu-firmware", "intel-*-firmware", "microcode_ctl", "amd64-microcode", "intel-microcode", "intel-ucode", "amd-ucode", "ucode-*", "raspi-firmware", "bluez-firmware", "fwupd",
	"*-dkms", "dkms", "akmod-*", "kmod-*", "zfs*", "nvidia-*", "kpatch*", "kernel-livepatch-*", "canonical-livepatch",
	"grub*", "shim*", "systemd*", "udev", "efibootmgr", "limine", "refind", "sdbootutil", "grubby", "kexec-tools",
	"initramfs-tools*", "dracut*", "mkinitcpio*", "kmod", "mdadm", "lvm2", "cryptsetup*", "multipath-tools", "device-mapper-multipath",
	"containerd*", "docker*", "moby-*", "podman", "cri-o*", "runc", "crun", "k3s*", "rke2*", "kubelet", "cilium*", "iproute*", "libbpf*", "bpftool", "selinux-policy*", "ceph*", "qemu-*", "libvirt*",
}

// Touches reports whether a package is one that the kernel's work or the boot goes through.
func Touches(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	if strings.HasSuffix(name, "-dev") || strings.HasSuffix(name, "-devel") || strings.HasSuffix(name, "-doc") || strings.HasSuffix(name, "-docs") {
		return false
	}
	return slices.ContainsFunc(touching, func(p string) bool { return match(p, name) })
}

// match is a pattern with at most one star.
func match(pattern, name string) bool {
	head, tail, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	return len(name) >= len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail)
}

// automatic are parts of command lines that a timer runs.
var automatic = []string{"unattended-upgrade", "apt.systemd.daily", "dnf-automatic", "yum-cron", "dnf5-plugin-automatic", "dnf automatic", "dnf5 automatic", "transactional-update", "rpm-ostreed-automatic"}

func isAutomatic(command string) bool {
	return slices.ContainsFunc(automatic, func(a string) bool { return strings.Contains(command, a) })
}

// LogKind is the kind of what is kept of each package manager's record.
const LogKind = "boot.transactions"

func transactionSource(p Prior) source.Source {
	return source.Source{
		Name:  "boot_transactions",
		Doc:   "How far the package managers' records go, so that a later boot can tell what was changed since.",
		Kinds: []snapshot.Kind{logKind},
		Read: func(ctx context.Context, host source.Host) ([]snapshot.Subject, error) {
			var out []snapshot.Subject
			for _, l := range ReadLogs(ctx, host.Root, p.Run) {
				out = append(out, l.subject())
			}
			return out, nil
		},
	}
}

var logKind = snapshot.Kind{
	Name: LogKind,
	Doc:  "The record that a package manager keeps: apt's history, dpkg's log, dnf's history, the logs of pacman and zypper.",
	Attrs: []snapshot.Attr{
		{Name: "last", Noise: snapshot.Evidence, Doc: "names the newest transaction, for a later boot to find it again"},
		{Name: "last_told", Noise: snapshot.Evidence, Doc: "time and command of the newest transaction"},
	},
}

func (l *Log) subject() snapshot.Subject {
	s := snapshot.Subject{Kind: LogKind, ID: l.Manager, Outcome: snapshot.Measured}
	if l.Err != nil {
		s.Outcome, s.Reason = snapshot.Inconclusive, l.Err.Error()
		return s
	}
	s.Set("last", snapshot.Text(l.Last()))
	if n := len(l.Transactions); n > 0 {
		t := l.Transactions[n-1]
		s.Set("last_told", snapshot.Text(flatText(t.Time+" "+t.Command)))
	}
	return s
}

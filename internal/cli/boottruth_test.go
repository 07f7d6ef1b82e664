package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lastgood/internal/boot"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

const (
	bootedOld = "6.1.0-40-amd64"
	bootedNew = "6.1.0-41-amd64"
)

// grubOfTwo boots the new kernel by default.
const grubOfTwo = `set default="0"
menuentry 'New' --id new {
	linux /boot/vmlinuz-6.1.0-41-amd64 root=/dev/vda1 ro
	initrd /boot/initrd.img-6.1.0-41-amd64
}
menuentry 'Old' --id old {
	linux /boot/vmlinuz-6.1.0-40-amd64 root=/dev/vda1 ro
	initrd /boot/initrd.img-6.1.0-40-amd64
}
`

// twoKernels is a recorded Debian with two kernels that can be rebooted by hand.
type twoKernels struct {
	t          *testing.T
	tree, dir  string
	wtmp       []byte
	configPath string
	now        func() time.Time // what the host's clock says; nil for the real one
}

func newTwoKernels(t *testing.T) *twoKernels {
	h := &twoKernels{t: t, tree: t.TempDir(), dir: t.TempDir()}
	h.configPath = filepath.Join(h.dir, "lastgood.yaml")
	h.config("")
	h.write("/etc/os-release", "ID=debian\n")
	h.write("/etc/machine-id", "00000000000000000000000000000001\n")
	h.write("/boot/grub/grub.cfg", grubOfTwo)
	h.write("/proc/modules", "ext4 1 0 - Live 0x0\n")
	for _, r := range []string{bootedOld, bootedNew} {
		h.write("/boot/vmlinuz-"+r, "image")
		h.write("/boot/initrd.img-"+r, "070701")
		h.write("/usr/lib/modules/"+r+"/modules.dep", "a.ko:\n")
	}
	h.write("/var/log/apt/history.log", "\nStart-Date: 2026-09-01  06:11:02\nCommandline: apt-get install -y nginx\nInstall: nginx:amd64 (1.22)\nEnd-Date: x\n")
	return h
}

func (h *twoKernels) write(name, text string) {
	h.t.Helper()
	name = filepath.Join(h.tree, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *twoKernels) config(text string) {
	h.t.Helper()
	if err := os.WriteFile(h.configPath, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// boot makes the tree that of a new boot of a kernel; the one before was shut down in order.
func (h *twoKernels) boot(id, release string) {
	h.t.Helper()
	record := func(kind uint16, user string) {
		b := make([]byte, 384)
		binary.NativeEndian.PutUint16(b, kind)
		copy(b[8:], "~")
		copy(b[44:], user)
		copy(b[76:], release)
		h.wtmp = append(h.wtmp, b...)
	}
	if len(h.wtmp) > 0 {
		record(1, "shutdown")
	}
	record(2, "reboot")
	h.write("/var/log/wtmp", string(h.wtmp))
	h.write("/proc/sys/kernel/random/boot_id", id+"\n")
	h.write("/proc/sys/kernel/osrelease", release+"\n")
	h.write("/proc/sys/kernel/arch", "x86_64\n")
	h.write("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz-"+release+" root=/dev/vda1 ro\n")
}

func (h *twoKernels) run(args ...string) (int, string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	env := Env{Out: &out, Err: &errs, In: strings.NewReader(""), Getenv: func(string) string { return "" }, Width: 200, Now: h.now}
	args = append(args, "--root", h.tree, "--state-dir", h.dir, "--config", h.configPath)
	status, err := run(context.Background(), args, env)
	if err != nil {
		h.t.Fatalf("%v: %v", args, err)
	}
	return status, out.String()
}

func (h *twoKernels) check() (int, *report.Report) {
	h.t.Helper()
	status, out := h.run("check", "-o", "json")
	rep, err := report.Decode([]byte(out))
	if err != nil {
		h.t.Fatal(err)
	}
	return status, rep
}

// learn makes this boot the last good one. A recorded host measures no programs, so a check of it
// is incomplete and learns nothing by itself.
func (h *twoKernels) learn() {
	h.t.Helper()
	if status, rep := h.check(); status == 4 || rep.Verdict == snapshot.Invalid {
		h.t.Fatalf("first boot: %d, %s: %s", status, rep.Verdict, rep.Summary)
	}
	if status, out := h.run("accept", "current", "--incomplete"); status != 0 {
		h.t.Fatalf("accept: %d, %s", status, out)
	}
}

const (
	firstBoot  = "11111111-1111-4111-8111-111111111111"
	secondBoot = "22222222-2222-4222-8222-222222222222"
	thirdBoot  = "33333333-3333-4333-8333-333333333333"
)

func TestSilentFallbackIsInvalid(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	h.learn()
	if status, out := h.run("__intent", "-v"); status != 0 || !strings.Contains(out, "next boot: "+bootedNew) {
		t.Fatalf("intent: %d, %s", status, out)
	}
	h.write("/var/log/apt/history.log", "\nStart-Date: 2026-09-01  06:11:02\nCommandline: apt-get install -y nginx\nInstall: nginx:amd64 (1.22)\nEnd-Date: x\n"+
		"\nStart-Date: 2026-10-03  06:31:40\nCommandline: /usr/bin/unattended-upgrade\nInstall: linux-image-6.1.0-41-amd64:amd64 (6.1.158-1, automatic)\nEnd-Date: x\n"+
		"\nStart-Date: 2026-10-20  06:31:40\nCommandline: apt upgrade\nRequested-By: bob (1001)\nUpgrade: firmware-misc-nonfree:amd64 (1, 2), vim:amd64 (1, 2)\nEnd-Date: x\n")
	h.boot(secondBoot, bootedOld)
	status, rep := h.check()
	if status != 4 || rep.Verdict != snapshot.Invalid || !strings.Contains(rep.Summary, bootedOld) || !strings.Contains(rep.Summary, bootedNew) {
		t.Errorf("fallback: %d, %s: %s", status, rep.Verdict, rep.Summary)
	}
	if rep.Boot == nil || rep.Boot.Class != string(boot.FellBack) || rep.Boot.Intended != bootedNew || rep.Boot.Running != bootedOld || rep.Boot.Basis != "intent" {
		t.Errorf("boot: %+v", rep.Boot)
	}
	if !slices.ContainsFunc(rep.Findings, func(f snapshot.Finding) bool {
		return f.Code == "boot-fell-back" && strings.Contains(f.Message, bootedNew) && strings.Contains(f.Message, bootedOld)
	}) {
		t.Errorf("findings: %+v", rep.Findings)
	}
	// All transactions since the last good boot are told, not the last one.
	if s := rep.Since; s == nil || len(s.Transactions) != 2 || !s.Transactions[0].Automatic || s.Transactions[1].User != "bob (1001)" || s.Transactions[1].Others != 1 || s.Reboot.Ended != boot.EndClean {
		t.Errorf("since: %+v", rep.Since)
	}
	_, table := h.run("check")
	for _, want := range []string{"INVALID", "What changed since the last good boot", "by bob (1001): apt upgrade", "automatically, by a timer: /usr/bin/unattended-upgrade", "linux-image-6.1.0-41-amd64 6.1.158-1 new"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	// Who accepts this very boot knows its kernel.
	h.run("accept", "current", "--incomplete")
	if status, rep := h.check(); status == 4 {
		t.Errorf("accepted: %d, %s", status, rep.Summary)
	}
}

func TestBootAsIntended(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	h.learn()
	h.run("__intent")
	h.boot(secondBoot, bootedNew)
	status, rep := h.check()
	if status == 4 || rep.Verdict == snapshot.Invalid || rep.Boot == nil || rep.Boot.Class != string(boot.AsIntended) || rep.Boot.Basis != "intent" {
		t.Errorf("%d, %s: %s, %+v", status, rep.Verdict, rep.Summary, rep.Boot)
	}
	// A unit that is stopped without a shutdown does not lose what the boot before had meant.
	h.run("__intent")
	if _, rep := h.check(); rep.Boot.Basis != "intent" {
		t.Errorf("after an intent of this boot: %+v", rep.Boot)
	}
}

func TestFallbackAtTheFirstCheck(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	h.run("__intent")
	h.boot(secondBoot, bootedOld)
	if status, rep := h.check(); status != 4 {
		t.Errorf("%d, %s: %s", status, rep.Verdict, rep.Summary)
	}
	h.boot(thirdBoot, bootedNew)
	if _, rep := h.check(); rep.Baseline != nil {
		t.Error("a boot that fell back was learned")
	}
}

func TestDamagedIntent(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	h.learn()
	h.run("__intent")
	name := filepath.Join(h.dir, "intent.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(b, []byte(bootedNew), []byte("6.1.0-99-amd64"), 1), 0o640); err != nil {
		t.Fatal(err)
	}
	h.boot(secondBoot, bootedOld)
	if status, rep := h.check(); status == 4 || rep.Boot.Class == string(boot.FellBack) {
		t.Errorf("a damaged intent was believed: %d, %+v", status, rep.Boot)
	}
	h.run("__intent")
	aside, err := filepath.Glob(filepath.Join(h.dir, "damaged", "*intent*"))
	if err != nil || len(aside) != 1 {
		t.Errorf("it was not moved aside: %v, %v", aside, err)
	}
}

func TestIntendedConfiguration(t *testing.T) {
	h := newTwoKernels(t)
	h.boot(firstBoot, bootedOld)
	h.learn()
	usual, _ := h.check()
	for text, c := range map[string]struct {
		status  int
		unknown bool
	}{
		"intended: {arch: x86_64, kernel: '6.1.*', flavour: amd64, lockdown: none}\n": {status: usual},
		"intended: {kernel: '6.1.0-4[01]-amd64'}\n":                                   {status: usual},
		"intended: {arch: i686}\n":                                                    {status: 4},
		"intended: {kernel: '6.12.*'}\n":                                              {status: 4},
		"intended: {flavour: 'cloud-*'}\n":                                            {status: 4},
		"intended: {cpu: '*EPYC*'}\n":                                                 {status: 3, unknown: true}, // the recording does not say
		"intended: {cpu: '*EPYC*', arch: i686}\n":                                     {status: 4, unknown: true},
	} {
		h.config(text)
		status, rep := h.check()
		unknown := slices.ContainsFunc(rep.Incomplete, func(g snapshot.Gap) bool { return g.Kind == "boot.intended" && g.Counts })
		if status != c.status || unknown != c.unknown || status == 4 && !strings.Contains(rep.Summary, "is meant to be") {
			t.Errorf("%q: %d, %s: %s; unknown %v", text, status, rep.Verdict, rep.Summary, unknown)
		}
	}
}

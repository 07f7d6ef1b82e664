package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

func TestParseBanner(t *testing.T) {
	for line, want := range map[string]banner{
		"Linux version 6.1.0-40-amd64 (a@b) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld 2.40) #1 SMP Debian 6.1.153-1 (2025-09-20)": {"6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)"},
		"[    0.000000] Linux version 6.12.9 (a@b) (clang version 19) #7 SMP Mon":                                                 {"6.12.9", "#7 SMP Mon"},
		"Linux version 5.4.0": {release: "5.4.0"},
	} {
		got, err := parseBanner(line)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "Linux version ", "Linux 6.1"} {
		if got, err := parseBanner(line); err == nil {
			t.Errorf("%q: accepted as %+v", line, got)
		}
	}
}

func TestReleaseOfARecordingWithAConsoleOnly(t *testing.T) {
	h := newHost().with("/console.log", "SeaBIOS\n[    0.000000] Linux version 6.12.9 (a@b) (gcc) #7 SMP Mon\n[    9.0] Linux version 1.2 (x) (y) #1\n")
	id := Identify(t.Context(), h.root())
	if id.Kernel.Release != "6.12.9" || id.Kernel.Version != "#7 SMP Mon" || id.Errs != nil {
		t.Errorf("got %+v, errors %v", id.Kernel, id.Errs)
	}
}

// note makes one ELF note.
func note(order binary.AppendByteOrder, name string, kind uint32, desc string) string {
	b := order.AppendUint32(nil, uint32(len(name)))
	b = order.AppendUint32(b, uint32(len(desc)))
	b = order.AppendUint32(b, kind)
	for _, s := range []string{name, desc} {
		b = append(b, s...)
		b = append(b, make([]byte, -len(s)&3)...)
	}
	return string(b)
}

func TestParseBuildID(t *testing.T) {
	le := binary.LittleEndian
	linux := note(le, "Linux\x00", 0x101, "\x00\x00\x00\x00")
	id := note(le, "GNU\x00", noteBuildID, "\xab\xcd\xef\x01\x02")
	for name, test := range map[string]struct {
		notes, want string
		bad         bool
	}{
		"first":            {notes: id + linux, want: "abcdef0102"},
		"last":             {notes: linux + id, want: "abcdef0102"},
		"padding cut off":  {notes: linux + strings.TrimRight(id, "\x00"), want: "abcdef0102"},
		"none":             {notes: linux},
		"empty":            {},
		"zeros at the end": {notes: linux + "\x00\x00\x00\x00"},
		"of another owner": {notes: note(le, "Xen\x00", noteBuildID, "\x01")},
		"cut short":        {notes: linux + id[:18], bad: true},
		"name too long":    {notes: "\xff\xff\xff\xff\x00\x00\x00\x00\x03\x00\x00\x00GNU\x00", bad: true},
		"ends in text":     {notes: linux + "abc", bad: true},
	} {
		got, err := parseBuildID([]byte(test.notes), le)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestBuildIDOfTheOtherByteOrder(t *testing.T) {
	var other binary.AppendByteOrder = binary.BigEndian
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		other = binary.LittleEndian
	}
	h := newHost().with("/sys/kernel/notes", note(other, "GNU\x00", noteBuildID, "\xab\xcd"))
	if got, err := buildID(t.Context(), h.root()); got != "abcd" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConfigHashIsOfTheText(t *testing.T) {
	const config = "CONFIG_BPF=y\n"
	sum := sha256.Sum256([]byte(config))
	want := hex.EncodeToString(sum[:])
	for name, h := range map[string]*host{
		"of the kernel":        newHost().with("/proc/config.gz", zip(t, config)),
		"of the package":       newHost().with("/proc/sys/kernel/osrelease", "6.1\n").with("/boot/config-6.1", config),
		"beside the modules":   newHost().with("/proc/sys/kernel/osrelease", "6.1\n").with("/lib/modules/6.1/config", config),
		"the kernel's is best": newHost().with("/proc/config.gz", zip(t, config)).with("/proc/sys/kernel/osrelease", "6.1").with("/boot/config-6.1", "other"),
	} {
		if got, err := configHash(t.Context(), h.root()); got != want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for name, h := range map[string]*host{
		"not gzip":          newHost().with("/proc/config.gz", config),
		"gzip cut short":    newHost().with("/proc/config.gz", zip(t, config)[:20]),
		"gzip bomb":         newHost().with("/proc/config.gz", zip(t, strings.Repeat("x", maxConfig+1))),
		"empty":             newHost().with("/proc/config.gz", zip(t, "")),
		"release is a path": newHost().with("/proc/sys/kernel/osrelease", "../../etc/passwd\n"),
	} {
		if got, err := configHash(t.Context(), h.root()); got != "" || err == nil || sysfs.Absent(err) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestParseCPUInfo(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		want  cpus
		model string
	}{
		"x86 guest": {"processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon\nstepping\t: 4\nmicrocode\t: 0x1\nflags\t\t: fpu hypervisor\n\n",
			cpus{count: 1, models: []string{"Xeon (family 6 model 85 stepping 4)"}, microcode: []string{"0x1"}, flags: true, hypervisor: true}, "Xeon (family 6 model 85 stepping 4)"},
		"no blank line at the end": {"processor: 0\nmodel name: A\nmicrocode: 0x2\n\nprocessor: 1\nmodel name: A\nmicrocode: 0x1",
			cpus{count: 2, models: []string{"A"}, microcode: []string{"0x1", "0x2"}}, "A"},
		"unlike cores": {"processor: 0\nCPU implementer: 0x41\nCPU variant: 0x0\nCPU part: 0xd05\nCPU revision: 0\n\nprocessor: 1\nCPU implementer: 0x41\nCPU variant: 0x1\nCPU part: 0xd0b\nCPU revision: 2\n\n",
			cpus{count: 2, models: []string{"arm 0x41/0xd05 r0p0", "arm 0x41/0xd0b r1p2"}}, "arm 0x41/0xd05 r0p0 + arm 0x41/0xd0b r1p2"},
		"POWER": {"processor\t: 0\ncpu\t\t: POWER9 (architected), altivec supported\nrevision\t: 2.2\n\nplatform\t: pSeries\n",
			cpus{count: 1, models: []string{"POWER9 (architected), altivec supported"}}, "POWER9 (architected), altivec supported"},
		"RISC-V": {"processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nuarch\t\t: sifive,u74-mc\n",
			cpus{count: 1, models: []string{"sifive,u74-mc"}}, "sifive,u74-mc"},
	} {
		got, err := parseCPUInfo(strings.NewReader(test.text))
		if d := cmp.Diff(test.want, got, cmp.AllowUnexported(cpus{})); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
		if got.model() != test.model {
			t.Errorf("%s: model is %q", name, got.model())
		}
	}
	if _, err := parseCPUInfo(strings.NewReader("nothing\n")); err == nil {
		t.Error("a file without any CPU was accepted")
	}
}

func TestCountCPUList(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-1": 2, "0-3,8,10-11": 7} {
		if n, err := countCPUList(list); n != want || err != nil {
			t.Errorf("%s: got %d, %v", list, n, err)
		}
	}
	for _, list := range []string{"", "a", "3-1", "-1", "0-99999999", "0,"} {
		if n, err := countCPUList(list); err == nil {
			t.Errorf("%q: accepted as %d", list, n)
		}
	}
}

func TestParseLockdown(t *testing.T) {
	for s, want := range map[string]string{"[none] integrity confidentiality": "none", "none integrity [confidentiality]": "confidentiality"} {
		if got, err := parseLockdown(s); got != want || err != nil {
			t.Errorf("%s: got %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "none", "[]", "[none", "none]"} {
		if got, err := parseLockdown(s); err == nil {
			t.Errorf("%q: accepted as %q", s, got)
		}
	}
}

func TestParseSecureBoot(t *testing.T) {
	for s, want := range map[string]bool{"\x06\x00\x00\x00\x01": true, "\x16\x00\x00\x00\x00": false} {
		if got, err := parseSecureBoot([]byte(s)); got != want || err != nil {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "\x06\x00\x00\x00", "\x06\x00\x00\x00\x02", "\x06\x00\x00\x00\x01\x00"} {
		if _, err := parseSecureBoot([]byte(s)); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestTaint(t *testing.T) {
	if d := cmp.Diff([]string{"P (proprietary module loaded)", "W (kernel warning)", "J (firmware debug interface used)", "bit 63"}, TaintFlags(1|1<<9|1<<19|1<<63)); d != "" {
		t.Errorf("flags (-want +got):\n%s", d)
	}
	if got := TaintFlags(0); len(got) != 0 {
		t.Errorf("a clean kernel has %v", got)
	}
	const file = "/proc/sys/kernel/tainted"
	if mask, err := Taint(t.Context(), newHost().with(file, "18446744073709551615\n").root()); mask != 1<<64-1 || err != nil {
		t.Errorf("got %#x, %v", mask, err)
	}
	for name, h := range map[string]*host{"text": newHost().with(file, "W\n"), "empty": newHost().with(file, ""), "negative": newHost().with(file, "-1"), "EIO": newHost().fail(file, unix.EIO)} {
		if mask, err := Taint(t.Context(), h.root()); err == nil || sysfs.Absent(err) {
			t.Errorf("%s: got %#x, %v", name, mask, err)
		}
	}
	if _, err := Taint(t.Context(), newHost().root()); !sysfs.Absent(err) {
		t.Errorf("no file: %v", err)
	}
}

func TestPanicOnWarn(t *testing.T) {
	const file = "/proc/sys/kernel/panic_on_warn"
	for content, want := range map[string]bool{"0\n": false, "1\n": true} {
		if on, err := PanicOnWarn(t.Context(), newHost().with(file, content).root()); on != want || err != nil {
			t.Errorf("%q: got %v, %v", content, on, err)
		}
	}
	for name, h := range map[string]*host{"no file": newHost(), "text": newHost().with(file, "no"), "EPERM": newHost().fail(file, unix.EPERM)} {
		if on, err := PanicOnWarn(t.Context(), h.root()); err == nil || on {
			t.Errorf("%s: got %v, %v", name, on, err)
		}
	}
}

func TestCgroupMode(t *testing.T) {
	for name, test := range map[string]struct{ mounts, want string }{
		"v2":                {"29 22 0:25 / /sys/fs/cgroup rw shared:9 master:1 - cgroup2 cgroup2 rw\n", "v2"},
		"v2, no options":    {"29 22 0:25 / /sys/fs/cgroup rw - cgroup2 none rw\n", "v2"},
		"v1":                {"1 2 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n3 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "v1"},
		"hybrid":            {"1 2 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n3 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n4 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "hybrid"},
		"a plug-in's own":   {"3 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n4 1 0:3 / /run/cilium/cgroupv2 rw - cgroup2 none rw\n", "v1"},
		"mounted over":      {"1 2 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n3 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "v2"},
		"none":              {"22 27 0:21 / /proc rw - proc proc rw\n", ""},
		"damaged":           {"29 22 0:25 / /sys/fs/cgroup rw shared:9\n-\n\n", ""},
		"/proc/mounts":      {"cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n", "v2"},
		"a name alike":      {"29 22 0:25 / /sys/fs/cgroups rw - cgroup2 cgroup2 rw\n", ""},
		"a very long line":  {"overlay /x overlay " + strings.Repeat("a:", maxText) + " 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "v2"},
		"no line end":       {"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "v2"},
		"beside one of v1s": {"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nnet_cls /sys/fs/cgroup/net_cls cgroup rw 0 0\n", "v2"},
	} {
		if got, err := cgroupMode(strings.NewReader(test.mounts)); got != test.want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestMachineID(t *testing.T) {
	const id = "00112233445566778899aabbccddeeff"
	for name, test := range map[string]struct {
		host *host
		want string
		bad  bool
	}{
		"there":             {newHost().with("/etc/machine-id", id+"\n"), id, false},
		"of D-Bus":          {newHost().with("/var/lib/dbus/machine-id", id+"\n"), id, false},
		"before first boot": {newHost().with("/etc/machine-id", "uninitialized\n"), "", false},
		"empty":             {newHost().with("/etc/machine-id", ""), "", false},
		"text":              {newHost().with("/etc/machine-id", "my machine\n"), "", true},
		"too short":         {newHost().with("/etc/machine-id", "0011\n"), "", true},
		"unreadable":        {newHost().fail("/etc/machine-id", unix.EIO).with("/var/lib/dbus/machine-id", id), "", true},
	} {
		got, err := machineID(t.Context(), test.host.root())
		if got != test.want || (err != nil && !sysfs.Absent(err)) != test.bad {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestPacman(t *testing.T) {
	h := newHost().with("/proc/sys/kernel/osrelease", "6.9.1-arch1-1\n").with("/usr/lib/modules/6.9.1-arch1-1/pkgbase", "linux\n")
	for _, name := range []string{"linux-6.9.1.arch1-1", "linux-lts-6.6.30-1", "linux-firmware-20240510.b-1", "systemd-256-1", "systemd-libs-256-1", "bash-5.2.026-2", "ALPM_DB_VERSION", "nvidia-dkms-550.78-1"} {
		h.with("/var/lib/pacman/local/"+name+"/desc", "")
	}
	want := map[string]string{"linux": "6.9.1.arch1-1", "linux-firmware": "20240510.b-1", "systemd": "256-1", "nvidia-dkms": "550.78-1"}
	got, err := packages(t.Context(), h.root())
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestWantedPackages(t *testing.T) {
	const release = "6.1.0-40-amd64"
	for name, want := range map[string]bool{
		"linux-image-6.1.0-40-amd64": true, "linux-image-6.1.0-40-amd64-unsigned": true, "linux-image-6.1.0-41-amd64": false,
		"linux-headers-6.1.0-40-amd64": false, "systemd": true, "systemd-timesyncd": false, "systemd-boot-efi": true, "libsystemd0": false,
		"grub-pc": true, "grub2-common": true, "firmware-misc-nonfree": true, "firmwared": false, "r8125-dkms": true, "udev": true, "": false,
	} {
		if got := wanted(name, release); got != want {
			t.Errorf("%q: wanted %v, got %v", name, want, got)
		}
	}
	if wanted("linux-image-", "") {
		t.Error("without a release every kernel is the running one")
	}
}

func TestStreamLive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := func(r io.Reader) (string, error) {
		b, err := io.ReadAll(r)
		return string(b), err
	}
	if s, err := stream(t.Context(), sysfs.Live(), file, 5, whole); s != "12345" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
	if s, err := stream(t.Context(), sysfs.Live(), file, 4, whole); err == nil || s != "" {
		t.Errorf("a file that is too long gave %q", s)
	}
	if _, err := stream(t.Context(), sysfs.Live(), file+"x", 4, whole); !sysfs.Absent(err) {
		t.Errorf("a missing file: %v", err)
	}
	_, err := stream(t.Context(), sysfs.Live(), filepath.Dir(file), 4, whole)
	if !errors.Is(err, unix.EISDIR) || strings.Count(err.Error(), filepath.Dir(file)) != 1 {
		t.Errorf("a folder: %v", err)
	}
	if _, err := stream(t.Context(), newHost().with("/f", "12345").root(), "/f", 4, whole); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a recorded file that is too long: %v", err)
	}
}

func TestEachLine(t *testing.T) {
	long := strings.Repeat("x", 2*maxText+10)
	var got []int
	if err := eachLine(strings.NewReader("a\n\n"+long+"\nbb"), func(line []byte) { got = append(got, len(line)) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{1, 0, maxText, 2}, got); d != "" {
		t.Errorf("lengths (-want +got):\n%s", d)
	}
	if err := eachLine(&bounded{r: bytes.NewReader(make([]byte, 10)), max: 5}, func([]byte) {}); err == nil {
		t.Error("an error of the reader was lost")
	}
}

package boot

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func FuzzParseBanner(f *testing.F) {
	f.Add("Linux version 6.1.0 (a@b) (gcc) #1 SMP Debian")
	f.Add("[    0.000000] Linux version  #")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseBanner(s)
		if (b.release == "") != (err != nil) {
			t.Errorf("release %q, error %v", b.release, err)
		}
		if b.version != "" && !strings.HasPrefix(b.version, "#") {
			t.Errorf("version %q", b.version)
		}
	})
}

func FuzzParseBuildID(f *testing.F) {
	f.Add([]byte(note(binary.LittleEndian, "GNU\x00", noteBuildID, "\xab\xcd")))
	f.Add([]byte(note(binary.LittleEndian, "Linux\x00", 0x101, "\x00\x00\x00\x00")))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x03\x00\x00\x00GNU\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			id, err := parseBuildID(b, order)
			if len(id)/2 > len(b) || id != "" && err != nil {
				t.Errorf("%d bytes of notes gave %q, %v", len(b), id, err)
			}
		}
	})
}

func FuzzParseCPUInfo(f *testing.F) {
	f.Add("processor\t: 0\ncpu family\t: 6\nmodel\t: 85\nmodel name\t: Xeon\nstepping\t: 4\nmicrocode\t: 0x1\nflags\t: fpu hypervisor\n\n")
	f.Add("processor: 0\nCPU implementer: 0x41\nCPU variant: 0x0\nCPU part: 0xd05\nCPU revision: 0")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCPUInfo(strings.NewReader(s))
		if err == nil && c.count == 0 && len(c.models) == 0 {
			t.Error("no CPU and no error")
		}
		if !slices.IsSorted(c.models) || !slices.IsSorted(c.microcode) || slices.Contains(c.microcode, "") {
			t.Errorf("not sets: %q %q", c.models, c.microcode)
		}
	})
}

func FuzzCountCPUList(f *testing.F) {
	f.Add("0-3,8")
	f.Add("0-")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := countCPUList(s); err == nil && n < 1 {
			t.Errorf("%q has %d CPUs", s, n)
		}
	})
}

func FuzzParseDpkg(f *testing.F) {
	f.Add("Package: systemd\nStatus: install ok installed\nVersion: 252\n\nPackage: udev\nStatus: deinstall ok config-files\nVersion: 1\n")
	f.Add("Version: 1\nPackage: a\n continued\n\n\nStatus: x")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseDpkg(strings.NewReader(s), func(name []byte) bool { return len(name) > 0 })
		if err != nil {
			t.Fatal(err)
		}
		for name, version := range m {
			if name == "" || version == "" || !strings.Contains(s, name) || !strings.Contains(s, version) {
				t.Errorf("%q: %q=%q", s, name, version)
			}
		}
	})
}

func FuzzSplitPacman(f *testing.F) {
	f.Add("linux-firmware-20240510.b-1")
	f.Add("--")
	f.Fuzz(func(t *testing.T, s string) {
		if name, version, ok := splitPacman(s); ok && (name+"-"+version != s || name == "") {
			t.Errorf("%q became %q and %q", s, name, version)
		}
	})
}

func FuzzCgroupMode(f *testing.F) {
	f.Add("29 22 0:25 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n")
	f.Add("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0")
	f.Add("1 2 0:1 / /sys/fs/cgroup - -\n")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := cgroupMode(strings.NewReader(s))
		if err != nil || !slices.Contains([]string{"", "v1", "v2", "hybrid"}, got) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func FuzzParseSecureBoot(f *testing.F) {
	f.Add([]byte("\x06\x00\x00\x00\x01"))
	f.Add([]byte("\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if on, err := parseSecureBoot(b); err == nil && (len(b) != 5 || on != (b[4] == 1)) {
			t.Errorf("%q is %v", b, on)
		}
	})
}

func FuzzParseLockdown(f *testing.F) {
	f.Add("none [integrity] confidentiality")
	f.Add("[")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseLockdown(s); err == nil && !strings.Contains(s, "["+got+"]") || (got == "") != (err != nil) {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	})
}

func FuzzEnviron(f *testing.F) {
	f.Add([]byte("A=b\x00container=lxc\x00"))
	f.Add([]byte("container"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, found := environ(b, "container"); found && (!strings.Contains(string(b), "container="+v) || strings.Contains(v, "\x00")) {
			t.Errorf("%q: %q", b, v)
		}
	})
}

package footprint

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

func TestTextMapping(t *testing.T) {
	const file = "/usr/sbin/lastgood"
	for line, want := range map[string][2]uintptr{
		"00400000-01070000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood\n":         {0x400000, 0xc70000},
		"01070000-01d02000 r--p 00c70000 fe:00 131 /usr/sbin/lastgood":           {0x1070000, 0xc92000},
		"01d02000-01e43000 rw-p 01902000 fe:00 131 /usr/sbin/lastgood":           {}, // what was written would be gone
		"00400000-01070000 r-xs 00000000 fe:00 131 /usr/sbin/lastgood":           {},
		"7f1200000000-7f1200021000 r-xp 00000000 fe:00 9 /usr/lib/ld.so":         {},
		"c000000000-c000400000 r--p 00000000 00:00 0 ":                           {},
		"00400000-01070000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood (deleted)": {}, // the link would say so too
		"01070000-00400000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood":           {},
		"zz-01070000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood":                 {},
		"00400000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood":                    {},
		"": {},
	} {
		at, length, ok := textMapping(line, file)
		if at != want[0] || length != want[1] || ok != (want[1] > 0) {
			t.Errorf("%q: %#x, %#x, %v", line, at, length, ok)
		}
	}
	if _, length, ok := textMapping("00400000-00401000 r-xp 00000000 fe:00 131 /opt/a b (deleted)", "/opt/a b (deleted)"); !ok || length != 0x1000 {
		t.Errorf("a file that was replaced: %#x, %v", length, ok)
	}
}

func FuzzTextMapping(f *testing.F) {
	f.Add("00400000-01070000 r-xp 00000000 fe:00 131 /usr/sbin/lastgood\n")
	f.Add("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]")
	f.Fuzz(func(t *testing.T, line string) {
		if at, length, ok := textMapping(line, "/usr/sbin/lastgood"); ok && (length == 0 || at+length < at) {
			t.Errorf("%q: %#x, %#x", line, at, length)
		}
	})
}

var rssFile = regexp.MustCompile(`RssFile:\s+(\d+) kB`)

// What the program's own file takes is given back, and the program goes on.
func TestTrim(t *testing.T) {
	resident := func() int {
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		m := rssFile.FindSubmatch(b)
		if m == nil {
			t.Skip("this kernel does not say how much of files is resident")
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := resident()
	Trim()
	if after := resident(); after >= before {
		t.Errorf("%d kB of files are resident, before %d kB", after, before)
	}
}

package kmod

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// module is an ELF file with nothing but a .modinfo section.
func module(lines ...string) []byte {
	info := strings.Join(lines, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	b := make([]byte, header)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 1)  // ET_REL
	binary.LittleEndian.PutUint16(b[18:], 62) // EM_X86_64
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint64(b[40:], uint64(header+len(info)+len(names)))
	binary.LittleEndian.PutUint16(b[52:], header)
	binary.LittleEndian.PutUint16(b[58:], section)
	binary.LittleEndian.PutUint16(b[60:], 3)
	binary.LittleEndian.PutUint16(b[62:], 2)
	b = append(append(b, info...), names...)
	for _, s := range []struct{ name, kind, off, size int }{{}, {1, 1, header, len(info)}, {10, 3, header + len(info), len(names)}} {
		h := make([]byte, section)
		binary.LittleEndian.PutUint32(h, uint32(s.name))
		binary.LittleEndian.PutUint32(h[4:], uint32(s.kind))
		binary.LittleEndian.PutUint64(h[24:], uint64(s.off))
		binary.LittleEndian.PutUint64(h[32:], uint64(s.size))
		b = append(b, h...)
	}
	return b
}

func packed(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// tree is one as a package has it, not seen by depmod; its modules are packed in every way.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz", packed(t, ".xz", module("license=GPL", "alias=pci:v00001000d00000073sv*sd*bc*sc*i*", "alias=pci:v00001000d0000005Dsv*sd*bc*sc*i*", "depends=scsi_mod,scsi-common")))
	put(t, dir, "kernel/drivers/scsi/scsi_mod.ko.zst", packed(t, ".zst", module("depends=scsi_common")))
	put(t, dir, "kernel/drivers/scsi/scsi-common.ko.gz", packed(t, ".gz", module("depends=")))
	put(t, dir, "kernel/drivers/net/e1000e.ko", module("alias=pci:v00008086d000010D3sv*sd*bc*sc*i*", "firmware=e1000e/fw.bin", "depends="))
	put(t, dir, "kernel/drivers/usb/storage/uas.ko.xz", packed(t, ".xz", module("alias=usb:v*p*d*dc*dsc*dp*ic08isc06ip62in*", "depends=")))
	put(t, dir, "modules.builtin", []byte("kernel/drivers/virtio/virtio_pci.ko\nkernel/net/veth-pair.ko\n"))
	put(t, dir, "modules.builtin.modinfo", []byte("virtio_pci.alias=pci:v00001AF4d*sv*sd*bc*sc*i*\x00virtio_pci.license=GPL\x00"))
	return dir
}

func TestOpen(t *testing.T) {
	dir := tree(t)
	for _, path := range []string{os.Getenv("PATH"), "/nonexistent"} { // with the program xz and without
		t.Setenv("PATH", path)
		m, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for alias, want := range map[string][]string{
			"pci:v00001000d00000073sv00001028sd00001F51bc01sc04i00": {"megaraid_sas"},
			"pci:v00001000d00000074sv00001028sd00001F51bc01sc04i00": nil,
			"pci:v00001AF4d00001041sv00001AF4sd00000001bc02sc00i00": {"virtio_pci"},
			"usb:v0BDAp9210d2001dc00dsc00dp00ic08isc06ip62in00":     {"uas"},
			"usb:v0BDAp9210d2001dc00dsc00dp00ic08isc06ip50in00":     nil,
			"": nil,
		} {
			if got := m.Drives(alias); !slices.Equal(got, want) {
				t.Errorf("%q is driven by %v, want %v", alias, got, want)
			}
		}
		if !m.Has("megaraid-sas") || !m.Has("veth_pair") || m.Has("mpt3sas") || !m.Builtin("virtio-pci") || m.Builtin("uas") || m.File("uas") == "" {
			t.Error("the tree does not know its modules by name")
		}
	}
}

// TestOpenByAlias: what depmod wrote is believed, and the modules are not opened.
func TestOpenByAlias(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "modules.alias", []byte("# Aliases extracted from modules themselves.\nalias pci:v00008086d* e1000-e\nalias broken\n"))
	put(t, dir, "kernel/e1000e.ko", []byte("not a module"))
	m, err := Open(t.Context(), dir)
	if err != nil || !slices.Equal(m.Drives("pci:v00008086d000010D3"), []string{"e1000_e"}) {
		t.Errorf("%v, %v", m, err)
	}
}

func TestOpenErrors(t *testing.T) {
	for name, spoil := range map[string]func(dir string){
		"no tree":              func(dir string) { os.RemoveAll(dir) },
		"an empty tree":        func(dir string) { os.RemoveAll(dir); os.MkdirAll(dir, 0o755) },
		"a module is cut off":  func(dir string) { put(t, dir, "kernel/cut.ko.xz", packed(t, ".xz", module("a=b"))[:40]) },
		"a module is no ELF":   func(dir string) { put(t, dir, "kernel/text.ko.xz", packed(t, ".xz", []byte("text"))) },
		"a plain one is text":  func(dir string) { put(t, dir, "kernel/text.ko", []byte("text")) },
		"a zst one is text":    func(dir string) { put(t, dir, "kernel/text.ko.zst", []byte("text")) },
		"depmod's is a folder": func(dir string) { os.MkdirAll(filepath.Join(dir, "modules.alias"), 0o755) },
	} {
		for _, path := range []string{os.Getenv("PATH"), "/nonexistent"} {
			t.Setenv("PATH", path)
			dir := tree(t)
			spoil(dir)
			if _, err := Open(t.Context(), dir); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

// TestResolve: depmod's order and the modules' own word give the same.
func TestResolve(t *testing.T) {
	want := []string{"scsi_common", "scsi_mod", "megaraid_sas", "uas"}
	dir := tree(t)
	for _, dep := range []string{"", "kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz: kernel/drivers/scsi/scsi_mod.ko.zst kernel/drivers/scsi/scsi-common.ko.gz\nkernel/drivers/scsi/scsi_mod.ko.zst: kernel/drivers/scsi/scsi-common.ko.gz\nkernel/drivers/usb/storage/uas.ko.xz:\n"} {
		if dep != "" {
			put(t, dir, "modules.dep", []byte(dep))
		}
		m, err := List(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		load, missing, err := m.Resolve("megaraid-sas", "virtio_pci", "uas", "scsi_mod", "nothing")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range load {
			names = append(names, l.Name)
			if data, err := Read(l.File); err != nil || !bytes.HasPrefix(data, []byte("\x7fELF")) {
				t.Errorf("read %s: %v", l.File, err)
			}
		}
		if diff := cmp.Diff(want, names); diff != "" || !slices.Equal(missing, []string{"nothing"}) {
			t.Errorf("missing %v, load:\n%s", missing, diff)
		}
	}
}

func TestInfo(t *testing.T) {
	dir := tree(t)
	got, err := Info(filepath.Join(dir, "kernel/drivers/net/e1000e.ko"))
	if err != nil || !slices.Contains(got, "firmware=e1000e/fw.bin") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"a", "", false}, {"", "a", false}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c*e", "abcde", true}, {"a*c*e", "abcd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[ab]c", "bc", true}, {"[ab]c", "cc", false}, {"[0-9A-F]*", "F0", true}, {"[!0-9]", "a", true}, {"[!0-9]", "5", false},
		{"[", "[", true}, {"a[", "a[", true}, {`\*`, "*", true}, {`\*`, "a", false}, {"*a*a*a*a*b", strings.Repeat("a", 60), false},
		{"platform:*", "platform:x", true}, {"cpu:type:x86,ven*fam*mod*:feature:*0099*", "cpu:type:x86,ven0000fam0006mod008F:feature:,0098,0099,", true},
	} {
		if got := match(c.pattern, c.s); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// FuzzMatch holds matching against the library's, where the two speak one language.
func FuzzMatch(f *testing.F) {
	f.Add("pci:v*d[0-9]?", "pci:v0d00")
	f.Add("*a*b*", "xxaxxb")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := match(pattern, s)
		if strings.ContainsAny(pattern+s, `\[]/^!-`) || strings.ContainsFunc(pattern+s, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		want, err := filepath.Match(pattern, s)
		if err != nil || got != want {
			t.Fatalf("match(%q, %q) = %v, the library says %v, %v", pattern, s, got, want, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("alias pci:v* mod\n", "a/b.ko.xz: c.ko\n", "file\t1\t1\t60\t900\t0.2\tCRC32\t0\n")
	f.Fuzz(func(t *testing.T, aliases, dep, list string) {
		x := aliasIndex{}
		parseAliases(aliases, x)
		x.modules(aliases)
		for name, needs := range parseDep(dep) {
			if strings.Contains(name, "/") && name != "/" || slices.ContainsFunc(needs, func(n string) bool { return strings.Contains(n, "/") && n != "/" }) {
				t.Fatalf("a module's name is a path: %q needs %q", name, needs)
			}
		}
		for _, n := range parseXZList(list) {
			if n < 0 {
				t.Fatal("a negative size")
			}
		}
	})
}

// FuzzModinfo: whatever a module holds, reading it does not panic.
func FuzzModinfo(f *testing.F) {
	f.Add(module("alias=pci:*", "depends=a,b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := modinfoOf(b)
		if err == nil && len(strings.Join(lines, "")) > len(b) {
			t.Fatal("more was read than is there")
		}
	})
}

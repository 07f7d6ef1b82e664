package kernels

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// packed is one member of a package that a test builds.
type packed struct {
	name, data string
	kind       byte   // tar's; 0 is a file
	link       string // of links
}

// bzImage is the head of an x86 kernel that calls itself by version.
func bzImage(version string, is64 bool) []byte {
	b := make([]byte, 0x1000)
	b[0x1f1] = 7 // sectors of setup code
	copy(b[0x1fe:], "\x55\xaa")
	copy(b[0x202:], "HdrS\x0f\x02") // protocol 2.15
	binary.LittleEndian.PutUint16(b[0x20e:], 0x600)
	if is64 {
		b[0x236] = 1
	}
	copy(b[0x800:], version+"\x00")
	return b
}

const testRelease = "6.1.0-99-cloud-amd64"

func testImage(release string) string {
	return string(bzImage(release+" (kernel@example.org) #1 SMP Debian 6.1.199-1", true))
}

// testMembers is a whole kernel as Debian lays it out.
func testMembers(release string) []packed {
	tree := "./lib/modules/" + release
	return []packed{
		{name: "./boot/", kind: tar.TypeDir},
		{name: "./boot/config-" + release, data: "CONFIG_BPF=y\n"},
		{name: "./boot/vmlinuz-" + release, data: testImage(release)},
		{name: "./usr/share/doc/linux/copyright", data: "GPL-2\n"},
		{name: tree + "/modules.builtin", data: "kernel/fs/ext4/ext4.ko\n"},
		{name: tree + "/kernel/drivers/net/veth.ko", data: "veth"},
		{name: tree + "/build", kind: tar.TypeSymlink, link: "/usr/src/linux-headers-" + release},
	}
}

// compressed packs data as a member's suffix says.
func compressed(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, members []packed) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Size: int64(len(m.data)), Mode: 0o644, Format: tar.FormatGNU}
		if m.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func arOf(members ...packed) []byte {
	b := []byte(arMagic)
	for _, m := range members {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.data), m.data)
		if len(m.data)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// debOf builds a .deb: name, version and architecture of its control file, members.
func debOf(t testing.TB, name, version, arch, suffix string, members []packed) []byte {
	t.Helper()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nDescription: a kernel\n of a test\n", name, version, arch)
	return arOf(packed{name: "debian-binary", data: "2.0\n"},
		packed{name: "control.tar" + suffix, data: string(compressed(t, suffix, tarOf(t, []packed{{name: "./control", data: control}})))},
		packed{name: "data.tar" + suffix, data: string(compressed(t, suffix, tarOf(t, members)))})
}

// rpmSection is one header structure of string tags.
func rpmSection(tags map[uint32]string) []byte {
	var index, store []byte
	keys := []uint32{}
	for k := range tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, n := range []uint32{k, 6, uint32(len(store)), 1} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		store = append(append(store, tags[k]...), 0)
	}
	b := append(slices.Clone(rpmHeaderMagic), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(keys)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(store)))
	return append(append(b, index...), store...)
}

func cpioOf(t testing.TB, members []packed) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, m := range members {
		h := &cpio.Header{Name: m.name, Mode: cpio.TypeReg | 0o644, Size: int64(len(m.data))}
		switch m.kind {
		case tar.TypeDir:
			h.Mode = cpio.TypeDir | 0o755
		case tar.TypeSymlink:
			h.Mode, h.Size, m.data = cpio.TypeSymlink|0o777, int64(len(m.link)), m.link
		case tar.TypeBlock:
			h.Mode = cpio.TypeBlock | 0o600
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rpmOf builds an .rpm around a payload as it is.
func rpmOf(name, version, release, arch, compressor string, payload []byte) []byte {
	b := make([]byte, rpmLead)
	copy(b, rpmLeadMagic)
	sig := rpmSection(map[uint32]string{269: "0123456789"})
	for b = append(b, sig...); len(b)%8 != 0; {
		b = append(b, 0)
	}
	b = append(b, rpmSection(map[uint32]string{
		tagName: name, tagVersion: version, tagRelease: release, tagArch: arch, tagCompressor: compressor,
	})...)
	return append(b, payload...)
}

func writeTemp(t testing.TB, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// filesBelow is what a folder holds: contents of files, "→ target" of links.
func filesBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.Type()&os.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			all[rel] = "→ " + to
			return err
		}
		b, err := os.ReadFile(p)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

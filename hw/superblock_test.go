package hw

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

const superblocks = "../testdata/superblocks"

// image is the beginning of a device that a real tool formatted: NAME-SIZE.gz.
func image(t testing.TB, file string) (name string, size int64, data []byte) {
	t.Helper()
	name, digits, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".gz"), "-")
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return name, size, data
}

// look reads a device as the reader does: what lies beyond data is zeros.
func look(data []byte, size int64) content {
	m := &medium{size: size}
	spans := superblockSpans(size)
	var c content
	for range 3 {
		for _, s := range spans {
			b := make([]byte, max(0, min(int64(s.Len), size-s.Off)))
			if s.Off < int64(len(data)) {
				copy(b, data[s.Off:])
			}
			m.pages = append(m.pages, page{s.Off, b})
		}
		if c, spans = identifySuperblock(m); len(spans) == 0 {
			break
		}
	}
	return c
}

func TestRealSuperblocks(t *testing.T) {
	id := func(n string) string { return "11111111-2222-4333-8444-5555555555" + n }
	want := map[string]content{
		"ext2":   {Type: "ext2", Holds: "filesystem", UUID: id("23")},
		"ext3":   {Type: "ext3", Holds: "filesystem", UUID: id("13")},
		"ext4":   {Type: "ext4", Holds: "filesystem", UUID: id("03"), Label: "fsext4"},
		"xfs":    {Type: "xfs", Holds: "filesystem", UUID: id("01"), Label: "fsxfs"},
		"btrfs":  {Type: "btrfs", Holds: "filesystem", Set: id("02"), UUID: "87ca367d-f429-4ef2-b9bc-1d1d494a0e77", Label: "fsbtrfs"},
		"vfat":   {Type: "vfat", Holds: "filesystem", UUID: "DEAD-BEEF", Label: "FSVFAT"},
		"vfat16": {Type: "vfat", Holds: "filesystem", UUID: "CAFE-0001"},
		"swap":   {Type: "swap", Holds: "swap", UUID: id("04"), Label: "fsswap"},
		"luks1":  {Type: "crypto_LUKS", Holds: "encrypted", UUID: id("06")},
		"luks2":  {Type: "crypto_LUKS", Holds: "encrypted", UUID: id("05"), Label: "fsluks"},
		"lvm":    {Type: "LVM2", Holds: "lvm", UUID: "ABCdef-0123-4567-89ab-cdef-GHIJ-KLMNOP", Group: "vg_test"},
		"dos":    {Holds: "unknown", Table: "dos", TableUUID: "12345678"},
		"gpt": {Holds: "unknown", Table: "gpt", TableUUID: id("07"),
			Parts: map[int]string{1: "aaaaaaaa-2222-4333-8444-555555555507", 3: "bbbbbbbb-2222-4333-8444-555555555507"}},
	}
	files, err := filepath.Glob(superblocks + "/*.gz")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d images, want %d: %v", len(files), len(want), err)
	}
	for _, f := range files {
		name, size, data := image(t, f)
		if d := cmp.Diff(want[name], look(data, size)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	dos := want["dos"]
	if got := dos.partUUID(5); got != "12345678-05" {
		t.Errorf("PARTUUID of a logical partition = %q", got)
	}
}

// Images made here and now by the tools that are installed, read from the live tree.
func TestSuperblocksMadeHere(t *testing.T) {
	const id = "0f0e0d0c-1111-4222-8333-444455556666"
	tools := map[string][]string{
		"mkfs.ext4": {"-q", "-F", "-U", id}, "mkfs.xfs": {"-q", "-m", "uuid=" + id}, "mkfs.btrfs": {"-q", "-U", id}, "mkswap": {"-q", "-U", id},
	}
	made := 0
	for tool, args := range tools {
		bin, err := exec.LookPath(tool)
		if err != nil {
			t.Logf("%s is not installed", tool)
			continue
		}
		file := filepath.Join(t.TempDir(), tool)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		const size = 320 << 20
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(bin, append(args, file)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tool, err, out)
		}
		m := &medium{size: size}
		spans := superblockSpans(size)
		parts, err := sysfs.Live().Spans(t.Context(), "", spans, file)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range parts {
			m.pages = append(m.pages, page{spans[i].Off, b})
		}
		if c, _ := identifySuperblock(m); c.fsUUID() != id {
			t.Errorf("%s: %+v", tool, c)
		}
		made++
	}
	if made == 0 {
		t.Skip("no tool that makes file systems is installed")
	}
}

// member writes an array member's superblock of format 1.x.
func member(at int64) []byte {
	b := make([]byte, 256)
	le := binary.LittleEndian
	le.PutUint32(b, mdMagic)
	le.PutUint32(b[4:], 1)
	copy(b[16:], bytes.Repeat([]byte{0xab}, 16))
	copy(b[32:], "host:data")
	le.PutUint64(b[144:], uint64(at/512))
	copy(b[168:], bytes.Repeat([]byte{0xcd}, 16))
	return b
}

// oldMember writes one of format 0.90.
func oldMember(order binary.ByteOrder) []byte {
	b := make([]byte, 4096)
	for word, v := range map[int]uint32{0: mdMagic, 1: 0, 2: 90, 5: 0x01020304, 13: 0x05060708, 14: 0x090a0b0c, 15: 0x0d0e0f10} {
		order.PutUint32(b[4*word:], v)
	}
	return b
}

func TestArrayMembers(t *testing.T) {
	const size = 8 << 20
	set, own := "abababab-abab-abab-abab-abababababab", "cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd"
	v1 := content{Type: "md", Holds: "raid", UUID: own, Set: set, Label: "host:data"}
	v0 := content{Type: "md", Holds: "raid", Set: "01020304-0506-0708-090a-0b0c0d0e0f10"}
	_, _, ext := image(t, superblocks+"/ext4-67108864.gz")
	_, _, dos := image(t, superblocks+"/dos-67108864.gz")
	cases := []struct {
		name string
		put  []byte
		at   int64
		over []byte
		want content
	}{
		{"1.2", member(4096), 4096, nil, v1},
		{"1.1", member(0), 0, nil, v1},
		{"1.0, a mirror", member(md10(size)), md10(size), ext, v1},
		{"0.90, a mirror", oldMember(binary.LittleEndian), md090(size), ext, v0},
		{"0.90 of a big-endian machine", oldMember(binary.BigEndian), md090(size), nil, v0},
		{"the last partition's, seen from the disk", oldMember(binary.LittleEndian), md090(size), dos, content{Holds: "unknown", Table: "dos", TableUUID: "12345678"}},
		{"one that lies elsewhere by its own word", member(8192), 4096, nil, content{Holds: "unknown"}},
	}
	for _, c := range cases {
		data := make([]byte, size)
		copy(data, c.over)
		copy(data[c.at:], c.put)
		if d := cmp.Diff(c.want, look(data, size)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestBrokenSuperblocks(t *testing.T) {
	_, size, gpt := image(t, superblocks+"/gpt-67108864.gz")
	gpt[512+60] ^= 1 // its checksum does not hold, and the DOS table only guards it
	if c := look(gpt, size); c.Table != "" || c.Holds != "unknown" {
		t.Errorf("a damaged GPT: %+v", c)
	}
	for _, size := range []int64{0, 1, 512, 4096, 65536, 1 << 62} {
		if c := look(nil, size); c.Holds != "unknown" {
			t.Errorf("%d empty bytes: %+v", size, c)
		}
	}
	_, size, lvm := image(t, superblocks+"/lvm-67108864.gz")
	binary.LittleEndian.PutUint64(lvm[0x260:], 1<<61)
	if c := look(lvm, size); c.Group != "" || c.UUID == "" {
		t.Errorf("an LVM metadata area out of bounds: %+v", c)
	}
}

func FuzzSuperblock(f *testing.F) {
	files, err := filepath.Glob(superblocks + "/*.gz")
	if err != nil || len(files) == 0 {
		f.Fatal("no images", err)
	}
	for _, file := range files {
		_, size, data := image(f, file)
		data = bytes.TrimRight(data, "\x00")
		f.Add(data[:min(len(data), 70<<10)], size)
	}
	f.Add(append(make([]byte, 4096), member(4096)...), int64(8<<20))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		size = min(max(size, 0), 1<<50)
		c := look(data, size)
		known := append(slices.Clone(heldWhere), "unknown")
		if !slices.Contains(known, c.Holds) || (c.Holds == "unknown") != (c.Type == "") || strings.ContainsAny(c.Label+c.UUID+c.Group, "\x00\n\x1b") || len(c.Parts) > maxPartitions {
			t.Errorf("content %+v", c)
		}
	})
}

func FuzzUdev(f *testing.F) {
	f.Add("E:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\nE:ID_FS_UUID=x\n")
	f.Add("S:disk/x\nE:ID_FS_TYPE=linux_raid_member\nE:ID_FS_UUID=zz\nE:\nE:=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, ok := parseUdev(text); ok != (c.Type != "" || c.Table != "") {
			t.Errorf("parseUdev(%q) = %+v, %v", text, c, ok)
		}
	})
}

// A node that is another device than the one meant is not read.
func TestSpansOfAnotherNode(t *testing.T) {
	_, err := sysfs.Live().Spans(t.Context(), "8:0", []sysfs.Span{{Off: 0, Len: 16}}, "/dev/null")
	if err == nil || !strings.Contains(err.Error(), unix.ENODEV.Error()) {
		t.Errorf("a character device in a disk's place: %v", err)
	}
}

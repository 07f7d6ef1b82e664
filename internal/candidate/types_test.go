package candidate

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// bzImage wraps a packed kernel as the boot protocol describes it.
func bzImage(payload []byte, length int) []byte {
	b := make([]byte, 2*512)
	b[0x1f1] = 1
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	binary.LittleEndian.PutUint32(b[0x248:], 16)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)+4))
	b = append(append(b, make([]byte, 16)...), payload...)
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return append(b, "the rest"...)
}

// elfWith is an ELF file with one section.
func elfWith(section string, data []byte) []byte {
	names := "\x00" + section + "\x00.shstrtab\x00"
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	for at, v := range map[int]uint16{16: 2, 18: 62, 52: 64, 58: 64, 60: 3, 62: 2} {
		binary.LittleEndian.PutUint16(b[at:], v)
	}
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint64(b[40:], uint64(64+len(data)+len(names)))
	b = append(append(b, data...), names...)
	for _, s := range [][4]int{{}, {1, 1, 64, len(data)}, {2 + len(section), 3, 64 + len(data), len(names)}} {
		h := make([]byte, 64)
		binary.LittleEndian.PutUint32(h, uint32(s[0]))
		binary.LittleEndian.PutUint32(h[4:], uint32(s[1]))
		binary.LittleEndian.PutUint64(h[24:], uint64(s[2]))
		binary.LittleEndian.PutUint64(h[32:], uint64(s[3]))
		b = append(b, h...)
	}
	return b
}

func TestReadBTF(t *testing.T) {
	kernel := elfWith(".BTF", []byte("type information"))
	images := map[string][]byte{
		"vmlinux": kernel, "gzip": bzImage(gzipped(t, kernel), len(kernel)), "zstd": bzImage(zstded(t, kernel), len(kernel)), "not packed": bzImage(kernel, len(kernel)),
	}
	if xz, err := exec.LookPath("xz"); err == nil {
		cmd := exec.Command(xz, "--x86", "--lzma2=preset=1", "--check=crc32", "--stdout")
		cmd.Stdin = bytes.NewReader(kernel)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		images["xz"] = bzImage(packed, len(kernel))
	}
	for name, image := range images {
		got, err := readBTF(t.Context(), put(t, t.TempDir(), "vmlinuz", string(image)))
		if err != nil || string(got) != "type information" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, image := range map[string][]byte{
		"empty": nil, "text": []byte("no kernel"), "cut off": images["gzip"][:1100], "no BTF": elfWith(".text", nil), "damaged": bzImage([]byte("\x1f\x8bnothing"), 100),
		"a bomb": bzImage(gzipped(t, kernel), maxVmlinux+1), "shorter than said": bzImage(gzipped(t, kernel), len(kernel)+1), "packed in a new way": bzImage([]byte("????????"), 10),
	} {
		if got, err := readBTF(t.Context(), put(t, t.TempDir(), "vmlinuz", string(image))); err == nil {
			t.Errorf("%s: %q, no error", name, got)
		}
	}
}

// TestTypes: an object whose programs need no type of the kernel's lacks none, and a
// kernel that cannot be read is a gap.
func TestTypes(t *testing.T) {
	host := hostAt(t, machine(t))
	object := "../../bpf/datapath_small_bpfel.o"
	bad := put(t, t.TempDir(), "vmlinuz", "text")
	if found, gaps := Read(t.Context(), host, Files{Release: "r", Image: bad}, []string{object}); len(found) > 0 || !gapped(gaps, typeMissing) {
		t.Errorf("%v, %v", codes(found), gaps)
	}
	none := put(t, t.TempDir(), "vmlinux", string(elfWith(".text", nil)))
	if found, _ := Read(t.Context(), host, Files{Release: "r", Image: none}, []string{object}); !slices.Equal(codes(found), []string{"btf-lacks warning btf"}) {
		t.Errorf("%v", codes(found))
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(bzImage([]byte("payload!"), 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := payloadOf(b); err == nil && (len(p) < 8 || len(p) > len(b)) {
			t.Fatalf("a payload of %d bytes out of %d", len(p), len(b))
		}
	})
}

// BenchmarkReadBTF is of a real kernel: `make bench` names one.
func BenchmarkReadBTF(b *testing.B) {
	image := os.Getenv("LASTGOOD_BENCH_KERNEL")
	if image == "" {
		b.Skip("LASTGOOD_BENCH_KERNEL names no kernel image")
	}
	for b.Loop() {
		if _, err := readBTF(b.Context(), image); err != nil {
			b.Fatal(err)
		}
	}
}

package kernels

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
)

// Image is what a kernel image says of itself. What it does not say is empty.
type Image struct {
	Release string // uname -r
	Version string // the whole version string of the boot protocol
	Arch    string // uname -m
	Format  string // bzImage, Image, zboot, vmlinux
}

// headBytes is how much of an image is looked at: the x86 boot protocol keeps its
// version string within the first 64 KiB (offset 0x20e is 16 bits wide).
const headBytes = 128 << 10

// ReadImage reads the head of a kernel image. A file that is no kernel is
// ErrNotKernel.
func ReadImage(name string) (Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return Image{}, fmt.Errorf("read kernel: %w", err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headBytes))
	if err != nil {
		return Image{}, fmt.Errorf("read kernel %s: %w", name, err)
	}
	img, ok := parseImage(head)
	if !ok {
		return Image{}, fmt.Errorf("read kernel %s: %w", name, ErrNotKernel)
	}
	return img, nil
}

// parseImage tells kernel images by their magic numbers.
func parseImage(b []byte) (Image, bool) {
	if len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b { // arm64's Image.gz
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return Image{}, false
		}
		// The head is cut off, so an unexpected end is expected.
		if b, _ = io.ReadAll(io.LimitReader(z, headBytes)); len(b) == 0 || b[0] == 0x1f {
			return Image{}, false
		}
	}
	switch {
	case hasAt(b, 0x202, "HdrS") && hasAt(b, 0x1fe, "\x55\xaa"):
		return parseX86(b)
	case hasAt(b, 56, "ARM\x64"): // Documentation/arch/arm64/booting.rst
		return Image{Arch: "aarch64", Format: "Image"}, true
	case hasAt(b, 0x38, "RSC\x05"): // Documentation/arch/riscv/boot-image-header.rst
		return Image{Arch: "riscv64", Format: "Image"}, true
	case hasAt(b, 4, "zimg"): // EFI zboot: drivers/firmware/efi/libstub/zboot-header.S
		return Image{Arch: peArch(b), Format: "zboot"}, true
	case hasAt(b, 0, "\x7fELF"):
		return parseVmlinux(b)
	}
	return Image{}, false
}

func hasAt(b []byte, at int, magic string) bool {
	return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
}

// parseX86 reads the setup header (Documentation/arch/x86/boot.rst): kernel_version
// at 0x20e points at a string 0x200 before its place in the file.
func parseX86(b []byte) (Image, bool) {
	if len(b) < 0x238 {
		return Image{}, false // cut off within the setup header
	}
	img := Image{Arch: "x86_64", Format: "bzImage"}
	// xloadflags bit 0, since protocol 2.12: the kernel has a 64-bit entry point.
	if binary.LittleEndian.Uint16(b[0x206:]) >= 0x20c && b[0x236]&1 == 0 {
		img.Arch = "i686"
	}
	at := int(binary.LittleEndian.Uint16(b[0x20e:]))
	if at == 0 || at+0x200 >= len(b) {
		return img, true
	}
	text, _, _ := bytes.Cut(b[at+0x200:min(len(b), at+0x200+512)], []byte{0})
	img.Version = strings.ToValidUTF8(string(text), "?")
	if release, _, _ := strings.Cut(img.Version, " "); isRelease(release) {
		img.Release = release
	}
	return img, true
}

// peArch is the machine of a PE header, whose place stands at 0x3c.
func peArch(b []byte) string {
	if len(b) < 0x40 {
		return ""
	}
	at := int(binary.LittleEndian.Uint32(b[0x3c:]))
	if at < 0 || at+6 > len(b) || string(b[at:at+4]) != "PE\x00\x00" {
		return ""
	}
	switch binary.LittleEndian.Uint16(b[at+4:]) {
	case 0x8664:
		return "x86_64"
	case 0xaa64:
		return "aarch64"
	case 0x5064:
		return "riscv64"
	case 0x6264:
		return "loongarch64"
	}
	return ""
}

// parseVmlinux takes an ELF executable for a kernel where it is loaded into the upper
// half of the address space, as no program is.
func parseVmlinux(b []byte) (Image, bool) {
	if len(b) < 64 || b[elf.EI_CLASS] != byte(elf.ELFCLASS64) {
		return Image{}, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	arch := map[elf.Machine]string{elf.EM_X86_64: "x86_64", elf.EM_AARCH64: "aarch64", elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x"}[elf.Machine(order.Uint16(b[18:]))]
	phoff, size, n := order.Uint64(b[32:]), uint64(order.Uint16(b[54:])), uint64(order.Uint16(b[56:]))
	for i := range n {
		at := phoff + i*size
		if size < 56 || at < phoff || at > uint64(len(b)-56) {
			break
		}
		if elf.ProgType(order.Uint32(b[at:])) == elf.PT_LOAD && order.Uint64(b[at+16:])>>63 == 1 {
			return Image{Arch: arch, Format: "vmlinux"}, true
		}
	}
	return Image{}, false
}

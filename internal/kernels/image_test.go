package kernels

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// magicAt is a file of n bytes with magic at off.
func magicAt(n, off int, magic string) []byte {
	b := make([]byte, n)
	copy(b[off:], magic)
	return b
}

// vmlinuxHead is an ELF file with one loaded segment at address vaddr.
func vmlinuxHead(machine uint16, phoff, vaddr uint64) []byte {
	b := magicAt(0x200, 0, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 2) // ET_EXEC
	binary.LittleEndian.PutUint16(b[18:], machine)
	binary.LittleEndian.PutUint64(b[32:], phoff)
	binary.LittleEndian.PutUint16(b[54:], 56)
	binary.LittleEndian.PutUint16(b[56:], 1)
	binary.LittleEndian.PutUint32(b[64:], 1) // PT_LOAD
	binary.LittleEndian.PutUint64(b[64+16:], vaddr)
	return b
}

func zbootHead(machine uint16) []byte {
	b := magicAt(0x200, 0, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[0x44:], machine)
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // to memory
	_ = w.Close()
	return out.Bytes()
}

func TestReadImage(t *testing.T) {
	const version = "6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2"
	const upper = 0xffffffff81000000
	old := bzImage("2.6.32-5-686 (x) #1", false)
	old[0x206], old[0x207] = 0x0a, 0x02
	noVersion := bzImage(version, true)
	binary.LittleEndian.PutUint16(noVersion[0x20e:], 0)
	outside := bzImage(version, true)
	binary.LittleEndian.PutUint16(outside[0x20e:], 0xffff)
	for name, c := range map[string]struct {
		data []byte
		want Image
	}{
		"x86":             {bzImage(version, true), Image{"6.1.0-56-cloud-amd64", version, "x86_64", "bzImage"}},
		"x86 32 bits":     {bzImage("6.1.0-9-686 (x) #1", false), Image{"6.1.0-9-686", "6.1.0-9-686 (x) #1", "i686", "bzImage"}},
		"no version":      {noVersion, Image{Arch: "x86_64", Format: "bzImage"}},
		"version outside": {outside, Image{Arch: "x86_64", Format: "bzImage"}},
		"arm64":           {magicAt(0x100, 56, "ARM\x64"), Image{Arch: "aarch64", Format: "Image"}},
		"arm64 gzip":      {gzipped(magicAt(300<<10, 56, "ARM\x64")), Image{Arch: "aarch64", Format: "Image"}},
		"riscv":           {magicAt(0x100, 0x38, "RSC\x05"), Image{Arch: "riscv64", Format: "Image"}},
		"zboot arm64":     {zbootHead(0xaa64), Image{Arch: "aarch64", Format: "zboot"}},
		"zboot x86":       {zbootHead(0x8664), Image{Arch: "x86_64", Format: "zboot"}},
		"vmlinux x86":     {vmlinuxHead(62, 64, upper), Image{Arch: "x86_64", Format: "vmlinux"}},
		"vmlinux arm64":   {vmlinuxHead(183, 64, upper), Image{Arch: "aarch64", Format: "vmlinux"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadImage(writeTemp(t, "vmlinuz", c.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("image (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadImageRefuses(t *testing.T) {
	whole := bzImage(testRelease+" (x) #1", true)
	for name, data := range map[string][]byte{
		"empty":                  nil,
		"text":                   []byte("#!/bin/sh\n"),
		"boot sector only":       whole[:0x206],
		"setup header cut":       whole[:0x237],
		"program":                vmlinuxHead(62, 64, 0x400000),
		"segments past the end":  vmlinuxHead(62, 0x1fe, 0xffffffff81000000),
		"segments wrap around":   vmlinuxHead(62, math.MaxUint64-7, 0xffffffff81000000),
		"ELF cut":                []byte("\x7fELF\x02\x01"),
		"gzip of text":           gzipped([]byte("hello")),
		"gzip of gzip of kernel": gzipped(gzipped(whole)),
		"gzip cut":               {0x1f, 0x8b, 8},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ReadImage(writeTemp(t, "vmlinuz", data)); !errors.Is(err, ErrNotKernel) {
				t.Errorf("got %+v, %v; want ErrNotKernel", got, err)
			}
		})
	}
	if _, err := ReadImage(filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, ErrNotKernel) {
		t.Errorf("a file that is not there: %v; want an error that is not ErrNotKernel", err)
	}
}

func FuzzParseImage(f *testing.F) {
	whole := bzImage(testRelease+" (x) #1", true)
	for _, b := range [][]byte{whole, whole[:0x206], whole[:0x237], zbootHead(0xaa64), vmlinuxHead(62, 64, 1<<63),
		vmlinuxHead(62, math.MaxUint64-7, 1<<63), magicAt(64, 56, "ARM\x64"), gzipped(whole), {0x1f, 0x8b}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, ok := parseImage(b)
		if ok != (img.Format != "") {
			t.Errorf("recognised %v as format %q", ok, img.Format)
		}
		if img.Release != "" && !isRelease(img.Release) {
			t.Errorf("release %q is none", img.Release)
		}
	})
}

package candidate

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func cpio(names ...string) []byte {
	var b bytes.Buffer
	for _, n := range append(names, "TRAILER!!!") {
		body := "x"
		if n == "TRAILER!!!" {
			body = ""
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(n)+1, 0)
		b.WriteString(n + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
		b.WriteString(body)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// modinfoFile is a module that asks for firmware.
func modinfoFile(t testing.TB, firmware ...string) string {
	t.Helper()
	info := "license=GPL\x00"
	for _, f := range firmware {
		info += "firmware=" + f + "\x00"
	}
	return put(t, t.TempDir(), "m.ko", string(elfWith(".modinfo", []byte(info))))
}

// TestFirmware: a file is missed only where the running kernel's module does not ask for
// it too, and it is there packed as well.
func TestFirmware(t *testing.T) {
	d := machine(t)
	put(t, d, "lib/firmware/fw/there.bin", "x")
	put(t, d, "lib/firmware/fw/packed.bin.zst", "x")
	r := &reader{host: hostAt(t, d), files: Files{Release: "r"}}
	then := modinfoFile(t, "fw/there.bin", "fw/packed.bin", "fw/old.bin", "fw/new.bin", "fw/any*.bin", "../escape")
	if err := r.firmwareOf(t.Context(), "m", then, modinfoFile(t, "fw/old.bin")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"firmware-missing warning firmware/fw/new.bin"}, codes(r.found)); diff != "" {
		t.Error(diff)
	}
	if err := r.firmwareOf(t.Context(), "m", put(t, t.TempDir(), "m.ko", "text"), then); err == nil {
		t.Error("a module that is none was read")
	}
}

func TestMicrocode(t *testing.T) {
	with, without := []string{"kernel", "kernel/x86/microcode/AuthenticAMD.bin", "init"}, []string{"init", "usr/lib/firmware/x86/microcode"}
	for _, c := range []struct {
		now, then []string
		want      []string
	}{{with, with, nil}, {without, with, nil}, {without, without, nil}, {with, without, []string{"microcode-lost warning microcode"}}} {
		r := &reader{files: Files{Release: "r"}}
		r.compareMicrocode(c.now, c.then)
		if diff := cmp.Diff(c.want, codes(r.found)); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzInitramfs(f *testing.F) {
	f.Add(cpio("init", "a.ko"))
	f.Add(append(cpio("kernel/x86"), gzipped(f, cpio("init"))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := readInitramfs(bytes.NewReader(b))
		if err == nil && len(b) > 0 && len(names) > 200*len(b) {
			t.Fatalf("%d files out of %d bytes", len(names), len(b))
		}
	})
}

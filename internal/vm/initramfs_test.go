package vm

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"lastgood/internal/kmod"
)

// elfHeader is the least that is a static 64-bit executable: no program headers.
func elfHeader() []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20], b[52], b[54], b[58] = 2, 62, 1, 64, 56, 64
	return b
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	got := map[string]string{}
	for r := cpio.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if got[h.Name] = string(data); h.Mode&cpio.TypeDir == cpio.TypeDir {
			got[h.Name] = "/"
		}
	}
}

func packed(t *testing.T, suffix string, data []byte) []byte {
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

// TestInitramfs: init, the modules in their order and unpacked, the job's files.
func TestInitramfs(t *testing.T) {
	dir := t.TempDir()
	module := append(elfHeader(), "module"...)
	var mods []kmod.Module
	for _, suffix := range []string{"", ".xz", ".gz", ".zst"} {
		name := "m" + strings.TrimPrefix(suffix, ".")
		mods = append(mods, kmod.Module{Name: name, File: write(t, filepath.Join(dir, name+".ko"+suffix), packed(t, suffix, module))})
	}
	img := Image{Init: write(t, filepath.Join(dir, "init"), elfHeader()), Modules: mods,
		Payload: []File{{Path: "job.json", Mode: 0o444, Data: []byte("{}")}, {Path: "/objects/../objects/a.o", Mode: 0o444, Data: []byte("a")}, {Path: "../../escape", Data: []byte("in")}}}
	var b bytes.Buffer
	if err := img.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"init": string(elfHeader()), "payload/job.json": "{}", "payload/objects/a.o": "a", "payload/escape": "in",
		"modules/000-m.ko": string(module), "modules/001-mxz.ko": string(module), "modules/002-mgz.ko": string(module), "modules/003-mzst.ko": string(module)}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "modules", "payload", "payload/objects"} {
		want[d] = "/"
	}
	if diff := cmp.Diff(want, unpack(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
}

func TestInitramfsRefuses(t *testing.T) {
	dir := t.TempDir()
	static := write(t, filepath.Join(dir, "init"), elfHeader())
	for name, c := range map[string]struct {
		img  Image
		want string
	}{
		"no init":            {Image{Init: filepath.Join(dir, "none")}, "none"},
		"init is a script":   {Image{Init: write(t, filepath.Join(dir, "script"), []byte("#!/bin/sh\n"))}, "script"},
		"a name twice":       {Image{Init: static, Payload: []File{{Path: "a"}, {Path: "/a"}}}, "twice"},
		"a file is gone":     {Image{Init: static, Payload: []File{{Path: "a", From: filepath.Join(dir, "gone")}}}, "gone"},
		"module is no ELF":   {Image{Init: static, Modules: []kmod.Module{{Name: "m", File: write(t, filepath.Join(dir, "m.ko"), []byte("text"))}}}, "not an ELF"},
		"module is cut off":  {Image{Init: static, Modules: []kmod.Module{{Name: "c", File: write(t, filepath.Join(dir, "c.ko.xz"), packed(t, ".xz", elfHeader())[:20])}}}, "c.ko.xz"},
		"module is not that": {Image{Init: static, Modules: []kmod.Module{{Name: "z", File: write(t, filepath.Join(dir, "z.ko.gz"), elfHeader())}}}, "z.ko.gz"},
	} {
		if err := c.img.Write(io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	var dynamic *NotStaticError
	if err := (&Image{Init: sh}).Write(io.Discard); !errors.As(err, &dynamic) || dynamic.Hint() == "" {
		t.Errorf("a dynamic init: %v", err)
	}
}

// BenchmarkInitramfs is with an init of lastgood's size.
func BenchmarkInitramfs(b *testing.B) {
	img := Image{Init: write(b, filepath.Join(b.TempDir(), "init"), append(elfHeader(), make([]byte, 12<<20)...))}
	for b.Loop() {
		if err := img.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

package vm

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
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
	var mods []Module
	for _, suffix := range []string{"", ".xz", ".gz", ".zst"} {
		name := "m" + strings.TrimPrefix(suffix, ".")
		mods = append(mods, Module{Name: name, File: write(t, filepath.Join(dir, name+".ko"+suffix), packed(t, suffix, module))})
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
		"module is no ELF":   {Image{Init: static, Modules: []Module{{"m", write(t, filepath.Join(dir, "m.ko"), []byte("text"))}}}, "not an ELF"},
		"module is cut off":  {Image{Init: static, Modules: []Module{{"c", write(t, filepath.Join(dir, "c.ko.xz"), packed(t, ".xz", elfHeader())[:20])}}}, "c.ko.xz"},
		"module is not that": {Image{Init: static, Modules: []Module{{"z", write(t, filepath.Join(dir, "z.ko.gz"), elfHeader())}}}, "z.ko.gz"},
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

const someDep = `kernel/net/sched/cls_bpf.ko.xz:
kernel/drivers/scsi/megaraid/megaraid_sas.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz kernel/drivers/scsi/scsi_common.ko.xz
kernel/drivers/scsi/scsi_mod.ko.xz: kernel/drivers/scsi/scsi_common.ko.xz
kernel/drivers/scsi/scsi_common.ko.xz:
kernel/drivers/net/usb/r8152-dkms.ko: kernel/loop.ko
kernel/loop.ko: kernel/drivers/net/usb/r8152-dkms.ko
`

func TestResolve(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "modules.dep"), []byte(someDep))
	write(t, filepath.Join(tree, "modules.builtin"), []byte("kernel/drivers/net/veth.ko\n"))
	s, err := OpenModules(tree)
	if err != nil {
		t.Fatal(err)
	}
	load, missing := s.Resolve("megaraid-sas", "veth", "cls_bpf", "scsi_mod", "r8152_dkms", "nothing")
	var names []string
	for _, m := range load {
		names = append(names, m.Name)
		if !strings.HasPrefix(m.File, tree) {
			t.Errorf("%s is outside of the tree", m.File)
		}
	}
	if want := []string{"scsi_common", "scsi_mod", "megaraid_sas", "cls_bpf", "loop", "r8152_dkms"}; !slices.Equal(names, want) {
		t.Errorf("load %v, want %v", names, want)
	}
	if !slices.Equal(missing, []string{"nothing"}) {
		t.Errorf("missing %v", missing)
	}
	if _, err := OpenModules(t.TempDir()); err == nil {
		t.Error("a tree without modules.dep was read")
	}
}

func FuzzParseDep(f *testing.F) {
	f.Add(someDep)
	f.Add(":\na:b\n../../x.ko: y")
	f.Fuzz(func(t *testing.T, text string) {
		files, needs := parseDep(text)
		s := &ModuleSet{tree: "/tree", files: files, needs: needs, builtin: map[string]bool{}}
		for name := range files {
			load, _ := s.Resolve(name)
			for _, m := range load {
				if m.File != "/tree" && !strings.HasPrefix(m.File, "/tree/") {
					t.Fatalf("%s is outside of the tree", m.File)
				}
			}
		}
	})
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

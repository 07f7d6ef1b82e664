package kernels

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestFromFile(t *testing.T) {
	const r72 = "7.2-cloud-amd64"
	for name, c := range map[string]struct {
		file string
		data []byte
		want Kernel
	}{
		"image": {"vmlinuz", []byte(testImage(testRelease)),
			Kernel{Release: testRelease, Flavour: "cloud-amd64", Arch: "x86_64", Source: SourceFile, Testable: true}},
		"image named by its file": {"vmlinuz-6.1.0-9-arm64", magicAt(0x100, 56, "ARM\x64"),
			Kernel{Release: "6.1.0-9-arm64", Flavour: "arm64", Arch: "aarch64", Source: SourceFile, Testable: true}},
		"deb": {"a.deb", debOf(t, "linux-image-"+testRelease+"-unsigned", "6.1.199-1", "amd64", ".gz", testMembers(testRelease)),
			Kernel{Release: testRelease, Flavour: "cloud-amd64", Arch: "x86_64", Family: FamilyDebian, Source: SourceFile, Testable: true,
				Package: "linux-image-" + testRelease + "-unsigned", Version: "6.1.199-1"}},
		"deb of the image alone": {"b.deb", debOf(t, "linux-binary-"+r72, "7.2-1", "amd64", ".gz", nil),
			Kernel{Release: r72, Flavour: "cloud-amd64", Arch: "x86_64", Family: FamilyDebian, Source: SourceFile, Testable: true,
				Package: "linux-binary-" + r72, Version: "7.2-1", Notes: []string{"its modules are in another package, linux-modules-" + r72}}},
		"rpm": {"c.rpm", rpmOf("kernel-core", "5.14.0", "611.el9", "x86_64", "zstd", nil),
			Kernel{Release: rpmRelease, Arch: "x86_64", Family: FamilyRPM, Source: SourceFile, Testable: true, Package: "kernel-core", Version: "5.14.0-611.el9"}},
		"rpm of a variant": {"d.rpm", rpmOf("kernel-rt-core", "5.14.0", "611.el9", "x86_64", "zstd", nil),
			Kernel{Release: rpmRelease + "+rt", Flavour: "rt", Arch: "x86_64", Family: FamilyRPM, Source: SourceFile, Testable: true, Package: "kernel-rt-core", Version: "5.14.0-611.el9"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, c.file, c.data)
			got, err := FromFile(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Kernel{}, "Image", "Parts")); diff != "" {
				t.Errorf("kernel (-want +got):\n%s", diff)
			}
			if len(got.Parts) == 0 && got.Image != p || len(got.Parts) == 1 && (got.Parts[0].File != p || got.Parts[0].Size != int64(len(c.data))) {
				t.Errorf("image %q, parts %+v do not name %s", got.Image, got.Parts, p)
			}
		})
	}
}

func TestFromFileFindsWhatLiesBeside(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "lib/modules", testRelease)
	for _, d := range []string{filepath.Join(dir, "boot"), tree} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "boot/config-"+testRelease)
	image := filepath.Join(dir, "boot/vmlinuz-"+testRelease)
	for p, data := range map[string]string{config: "CONFIG_BPF=y\n", image: testImage(testRelease)} {
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k, err := FromFile(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if k.Modules != tree || k.Config != config || k.Image != image {
		t.Errorf("image %q, modules %q, config %q", k.Image, k.Modules, k.Config)
	}
}

func TestFromFileRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		data []byte
		want error
	}{
		"text":               {"vmlinuz", []byte("hello"), ErrNotKernel},
		"other package":      {"a.deb", debOf(t, "hello", "1", "amd64", ".gz", nil), ErrNotKernel},
		"metapackage":        {"b.deb", debOf(t, "linux-image-amd64", "6.1.199-1", "amd64", ".gz", nil), ErrNotKernel},
		"modules alone":      {"c.deb", debOf(t, "linux-modules-7.2-cloud-amd64", "7.2-1", "amd64", ".gz", nil), ErrNotKernel},
		"other rpm":          {"d.rpm", rpmOf("bash", "5", "1", "x86_64", "zstd", nil), ErrNotKernel},
		"corrupt deb":        {"e.deb", []byte("hello"), ErrCorrupt},
		"corrupt rpm":        {"f.rpm", []byte("hello"), ErrCorrupt},
		"deb without fields": {"g.deb", debOf(t, "", "", "", ".gz", nil), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, c.file, c.data)
			if k, err := FromFile(t.Context(), p); !errors.Is(err, c.want) || !strings.Contains(err.Error(), p) {
				t.Errorf("got %+v, %v; want %v with the name of the file", k, err, c.want)
			}
		})
	}
	if _, err := FromFile(t.Context(), t.TempDir()); err == nil {
		t.Error("a folder was taken for a kernel")
	}
}

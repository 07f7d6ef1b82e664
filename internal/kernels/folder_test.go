package kernels

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func noFile(_ context.Context, p string) (Kernel, error) {
	return Kernel{}, errors.New("read " + p + ": broken")
}

func TestFromFolder(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a/boot/vmlinuz-6.1.0-56-amd64", "a/boot/config-6.1.0-56-amd64", "a/lib/modules/6.1.0-56-amd64/modules.dep",
		"b/vmlinuz-6.1.0-56-amd64", "b/usr/lib/modules/6.1.0-56-amd64/modules.dep",
		"c/vmlinuz-6.2.1", "usr/lib/modules/7.2.13/vmlinuz", "usr/lib/modules/7.2.13/config", "readme",
		"linux-binary-7.3.1_7.3.1-1_amd64.deb", "linux-modules-7.3.1_7.3.1-1_amd64.deb", "linux-modules-7.3.1_7.3.1-2_amd64.deb", "odd.rpm")
	all, errs := fromFolder(t.Context(), dir, func(ctx context.Context, p string) (Kernel, error) {
		if filepath.Base(p) != "linux-binary-7.3.1_7.3.1-1_amd64.deb" {
			return noFile(ctx, p)
		}
		return Kernel{Release: "7.3.1", Version: "7.3.1-1", Testable: true, Parts: []Part{{Package: "linux-binary-7.3.1", File: p}}}, nil
	})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "odd.rpm") {
		t.Errorf("errors: %v", errs)
	}
	got := map[string]Kernel{}
	for _, k := range all {
		rel, _ := filepath.Rel(dir, k.Image)
		got[rel+" "+k.Release] = k
		if k.Source != SourceFolder {
			t.Errorf("source of %s: %s", k.Release, k.Source)
		}
	}
	if len(all) != 5 {
		t.Fatalf("%d kernels: %+v", len(all), got)
	}
	a := got["a/boot/vmlinuz-6.1.0-56-amd64 6.1.0-56-amd64"]
	if a.Modules != filepath.Join(dir, "a/lib/modules/6.1.0-56-amd64") || a.Config == "" || !a.Testable {
		t.Errorf("image and tree side by side: %+v", a)
	}
	if b := got["b/vmlinuz-6.1.0-56-amd64 6.1.0-56-amd64"]; b.Modules != filepath.Join(dir, "b/usr/lib/modules/6.1.0-56-amd64") {
		t.Errorf("two trees of one release: %+v", b)
	}
	if c := got["c/vmlinuz-6.2.1 6.2.1"]; c.Testable || !strings.Contains(c.Reason, "lib/modules/6.2.1") {
		t.Errorf("image without modules: %+v", c)
	}
	if u := got["usr/lib/modules/7.2.13/vmlinuz 7.2.13"]; !u.Testable || u.Config == "" {
		t.Errorf("image in the tree: %+v", u)
	}
	for _, k := range all {
		if k.Release == "7.3.1" && (len(k.Parts) != 2 || k.Parts[1].Version != "7.3.1-1") {
			t.Errorf("parts of a split package: %+v", k.Parts)
		}
	}
}

func TestFromFolderWithNothing(t *testing.T) {
	dir := t.TempDir()
	_, errs := fromFolder(t.Context(), dir, noFile)
	if len(errs) != 1 || !errors.Is(errs[0], ErrNotKernel) {
		t.Errorf("empty folder: %v", errs)
	}
	for _, p := range []string{filepath.Join(dir, "gone"), "/dev/null"} {
		if _, errs := fromFolder(t.Context(), p, noFile); len(errs) != 1 {
			t.Errorf("%s: %v", p, errs)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, errs := fromFolder(ctx, dir, noFile); len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("cancelled: %v", errs)
	}
}

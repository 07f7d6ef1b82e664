package kernels

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWanted(t *testing.T) {
	for name, want := range map[string]string{
		"./boot/vmlinuz-6.1.0":                   "boot/vmlinuz-6.1.0",
		"boot/config-6.1.0":                      "boot/config-6.1.0",
		"/boot/vmlinux-6.1.0":                    "boot/vmlinux-6.1.0",
		"./boot/System.map-6.1.0":                "",
		"./boot/grub/vmlinuz":                    "",
		"./lib/modules/6.1.0/kernel/a.ko.zst":    "lib/modules/6.1.0/kernel/a.ko.zst",
		"usr/lib/modules/6.1.0/modules.builtin":  "lib/modules/6.1.0/modules.builtin",
		"./usr/lib/modules/7.2/vmlinuz":          "lib/modules/7.2/vmlinuz",
		"./usr/share/doc/linux/copyright":        "",
		"./etc/kernel/postinst.d/lib/modules/x":  "",
		"./lib/modules":                          "",
		"./usr/lib/firmware/lib/modules/6.1.0/x": "",
	} {
		if got := wanted(name); got != want {
			t.Errorf("wanted(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestUnpackHostile has packages that reach for what lies outside the folder.
func TestUnpackHostile(t *testing.T) {
	const tree = "lib/modules/6.1.0/"
	for name, members := range map[string][]packed{
		"name climbs":          {{name: tree + "../../../../etc/passwd", data: "x"}},
		"unwanted name climbs": {{name: "../etc/passwd", data: "x"}},
		"link climbs":          {{name: tree + "kernel", kind: tar.TypeSymlink, link: "../../../../etc"}},
		"link is absolute":     {{name: tree + "kernel", kind: tar.TypeSymlink, link: "/etc"}},
		"link to elsewhere":    {{name: tree + "kernel", kind: tar.TypeSymlink, link: "../../../etc"}},
		"device":               {{name: tree + "kernel/sda", kind: tar.TypeBlock}},
		"pipe":                 {{name: "boot/vmlinuz-6.1.0", kind: tar.TypeFifo}},
		"hard link":            {{name: "boot/vmlinuz-6.1.0", kind: tar.TypeLink, link: "/etc/shadow"}},
		"same file twice":      {{name: tree + "a.ko", data: "a"}, {name: tree + "a.ko", data: "b"}},
		// Each of these stays inside by its name alone; together they would not.
		"links on links": {
			{name: tree + "a/b/c/d/e", kind: tar.TypeDir},
			{name: tree + "up", kind: tar.TypeSymlink, link: "../6.1.0/a/.."},
			{name: tree + "a/b/c/d/e/f", kind: tar.TypeSymlink, link: "../../../../../up"},
			{name: tree + "x", kind: tar.TypeSymlink, link: "up/../y"},
			{name: tree + "x/../../../../../../outside", data: "x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			dir := filepath.Join(outside, "1/2/3/4/5/6")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			u, err := newUnpacker(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer u.close()
			if err := u.tarMembers(t.Context(), bytes.NewReader(tarOf(t, members))); err == nil {
				t.Error("it was unpacked")
			}
			for p := range filesBelow(t, outside) {
				if !strings.HasPrefix(p, "1/2/3/4/5/6/lib/modules/6.1.0/") {
					t.Errorf("%s was written", p)
				}
			}
		})
	}
}

// TestUnpackThroughLink is the case that the names do not give away: a link that is
// fine where its name says it is, made through another link somewhere else.
func TestUnpackThroughLink(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "tree")
	if err := os.MkdirAll(filepath.Join(dir, "lib/modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As if an earlier member had made it.
	if err := os.Symlink("../..", filepath.Join(dir, "lib/modules/up")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../..", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	u, err := newUnpacker(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	err = u.tarMembers(t.Context(), bytes.NewReader(tarOf(t, []packed{{name: "lib/modules/up/out/evil.ko", data: "x"}})))
	if err == nil {
		t.Error("it was unpacked")
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(outside), "evil.ko")); err == nil {
		t.Error("a file was written outside of the folder")
	}
}

func TestUnpackKeepsLinksInside(t *testing.T) {
	got, err := unpackInto(t, func(u *unpacker) error {
		return u.tarMembers(t.Context(), bytes.NewReader(tarOf(t, []packed{
			{name: "lib/modules/6.1.0/kernel/a.ko", data: "a"},
			{name: "lib/modules/6.1.0/weak-updates/a.ko", kind: tar.TypeSymlink, link: "../kernel/a.ko"},
		})))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"lib/modules/6.1.0/kernel/a.ko": "a", "lib/modules/6.1.0/weak-updates/a.ko": "→ ../kernel/a.ko"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unpacked (-want +got):\n%s", diff)
	}
}

func TestUnpackBounds(t *testing.T) {
	members := []packed{{name: "boot/vmlinuz-6.1.0", data: "0123456789"}, {name: "boot/config-6.1.0", data: "0123456789"}}
	_, err := unpackInto(t, func(u *unpacker) error {
		u.left = 15
		return u.tarMembers(t.Context(), bytes.NewReader(tarOf(t, members)))
	})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "boot/config-6.1.0") {
		t.Errorf("error = %v; want ErrCorrupt that names the second file", err)
	}
	_, err = unpackInto(t, func(u *unpacker) error {
		return u.take(t.Context(), member{name: "boot/vmlinuz-6.1.0", kind: tar.TypeReg, size: maxMember + 1}, strings.NewReader(""))
	})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file of %d bytes: %v; want ErrCorrupt", maxMember+1, err)
	}
	_, err = unpackInto(t, func(u *unpacker) error {
		return u.tarMembers(t.Context(), bytes.NewReader(append(tarOf(t, members), make([]byte, maxTail+1)...)))
	})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("endless padding: %v; want ErrCorrupt", err)
	}
}

func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, testMembers(testRelease)))
	f.Add(tarOf(f, []packed{{name: "lib/modules/6.1.0/a", kind: tar.TypeSymlink, link: "../.."}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := unpackInto(t, func(u *unpacker) error {
			u.left = 1 << 20
			return u.tarMembers(t.Context(), bytes.NewReader(b))
		})
		for p := range got {
			if wanted(p) != p {
				t.Errorf("%q was unpacked", p)
			}
		}
	})
}

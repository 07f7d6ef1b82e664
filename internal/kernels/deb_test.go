package kernels

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wantTree is what is left of testMembers.
func wantTree(release string) map[string]string {
	return map[string]string{
		"boot/config-" + release:                                 "CONFIG_BPF=y\n",
		"boot/vmlinuz-" + release:                                testImage(release),
		"lib/modules/" + release + "/modules.builtin":            "kernel/fs/ext4/ext4.ko\n",
		"lib/modules/" + release + "/kernel/drivers/net/veth.ko": "veth",
	}
}

// unpackInto unpacks one package file by f into a new folder.
func unpackInto(t *testing.T, f func(*unpacker) error) (map[string]string, error) {
	t.Helper()
	dir := t.TempDir()
	u, err := newUnpacker(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	err = f(u)
	return filesBelow(t, dir), err
}

func TestDeb(t *testing.T) {
	for _, suffix := range []string{".xz", ".zst", ".gz", ""} {
		t.Run("tar"+suffix, func(t *testing.T) {
			p := writeTemp(t, "k.deb", debOf(t, "linux-image-"+testRelease, "6.1.199-1", "amd64", suffix, testMembers(testRelease)))
			info, err := readDeb(p)
			if err != nil {
				t.Fatal(err)
			}
			if want := (debInfo{"linux-image-" + testRelease, "6.1.199-1", "amd64"}); info != want {
				t.Errorf("control = %+v, want %+v", info, want)
			}
			got, err := unpackInto(t, func(u *unpacker) error { return u.debHere(t.Context(), p) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantTree(testRelease), got); diff != "" {
				t.Errorf("unpacked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDebBothWays holds dpkg-deb and the Go libraries against each other, on whole
// and on damaged packages.
func TestDebBothWays(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg-deb")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatalf("the program to compare with is not here: %v", err)
		}
		t.Skipf("the program to compare with is not here: %v", err)
	}
	whole := debOf(t, "linux-image-"+testRelease, "6.1.199-1", "amd64", ".xz", testMembers(testRelease))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-200] ^= 0x40
	for name, data := range map[string][]byte{"whole": whole, "cut": whole[:len(whole)-100], "flipped": flipped} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, "k.deb", data)
			fast, ferr := unpackInto(t, func(u *unpacker) error { return u.debWith(t.Context(), dpkg, p) })
			slow, serr := unpackInto(t, func(u *unpacker) error { return u.debHere(t.Context(), p) })
			if errors.Is(ferr, ErrCorrupt) != errors.Is(serr, ErrCorrupt) || (ferr == nil) != (serr == nil) {
				t.Fatalf("dpkg-deb says %v, Go says %v", ferr, serr)
			}
			if (ferr == nil) != (name == "whole") {
				t.Errorf("%s package: %v", name, ferr)
			}
			if ferr != nil {
				return // what a damaged package leaves is thrown away
			}
			if diff := cmp.Diff(fast, slow); diff != "" {
				t.Errorf("dpkg-deb and Go differ (-dpkg-deb +go):\n%s", diff)
			}
		})
	}
}

func TestDebCorrupt(t *testing.T) {
	whole := debOf(t, "linux-image-"+testRelease, "1", "amd64", ".gz", testMembers(testRelease))
	// The checksum of a gzip stream stands in its last eight bytes.
	badSum := bytes.Clone(whole)
	badSum[len(badSum)-9] ^= 1
	for name, data := range map[string][]byte{
		"empty":           nil,
		"no archive":      []byte("hello, world"),
		"header cut":      whole[:30],
		"size no number":  bytes.Replace(whole, []byte("4         `\n"), []byte("x         `\n"), 1),
		"size negative":   bytes.Replace(whole, []byte("4         `\n"), []byte("-4        `\n"), 1),
		"body cut":        whole[:len(whole)/2],
		"checksum wrong":  badSum,
		"no data":         arOf(packed{name: "debian-binary", data: "2.0\n"}),
		"data not packed": arOf(packed{name: "data.tar.xz", data: "hello"}),
	} {
		t.Run(name, func(t *testing.T) {
			p := writeTemp(t, "broken.deb", data)
			_, err := unpackInto(t, func(u *unpacker) error { return u.debHere(t.Context(), p) })
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), p) {
				t.Errorf("error = %v; want ErrCorrupt with the name of the file", err)
			}
		})
	}
}

func TestDebCancelled(t *testing.T) {
	p := writeTemp(t, "k.deb", debOf(t, "linux-image-"+testRelease, "1", "amd64", ".xz", testMembers(testRelease)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := unpackInto(t, func(u *unpacker) error { return u.debHere(ctx, p) }); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func FuzzReadAr(f *testing.F) {
	f.Add(debOf(f, "linux-image-"+testRelease, "1", "amd64", ".gz", testMembers(testRelease)))
	f.Add(debOf(f, "linux-image-"+testRelease, "1", "amd64", "", nil))
	f.Add(arOf(packed{name: "debian-binary", data: "2.0"}))
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var total int64
		err := readAr(bytes.NewReader(b), func(_ string, r io.Reader) (bool, error) {
			n, err := io.Copy(io.Discard, r)
			total += n
			return false, err
		})
		if total > int64(len(b)) {
			t.Errorf("%d bytes out of %d", total, len(b))
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add(tarOf(f, []packed{{name: "./control", data: "Package: a\nVersion: 1\nArchitecture: all\n"}}))
	f.Add([]byte("Package: a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := readControl(bytes.NewReader(b))
		if err != nil && (!errors.Is(err, ErrCorrupt) || info != debInfo{}) {
			t.Errorf("%+v, %v: want nothing and ErrCorrupt", info, err)
		}
	})
}

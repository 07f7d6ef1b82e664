package kernels

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const someChangelog = `linux-6.12 (6.12.117-1~deb12u1) bookworm-security; urgency=high

  * Rebuild for bookworm

 -- B <b@d>  Sat, 14 Nov 2026 13:56:01 +0100

linux (6.12.117-1) trixie-security; urgency=high

  * New upstream stable update:
    - bpf: Fix exception exit lock
      checking for subprogs
    - net: other
  [ Someone ]
  * [amd64] BPF: enable

 -- B <b@d>  Sat, 14 Nov 2026 13:56:01 +0100

linux-signed-amd64 (6.12.116+1) trixie-security; urgency=high

  * Sign kernel from linux 6.12.116-1
    - selftests/bpf: older

 -- B <b@d>  Fri, 13 Nov 2026 13:56:01 +0100
`

func TestChangelogAbout(t *testing.T) {
	fresh := []string{"bpf: Fix exception exit lock checking for subprogs", "[amd64] BPF: enable"}
	for _, c := range []struct {
		after, upto string
		want        []string
	}{
		{"6.12.116-1", "6.12.117-1", fresh},
		{"6.12.115-2~deb12u1", "6.12.117-1~deb12u1", append(fresh[:2:2], "selftests/bpf: older")},
		{"6.12.116-1~bpo12+1", "6.12.117-1~deb12u1", fresh},
		{"6.12.117-1", "6.12.117-1", nil},
	} {
		if d := cmp.Diff(c.want, ChangelogAbout(someChangelog, c.after, c.upto, "bpf")); d != "" {
			t.Errorf("after %s up to %s: %s", c.after, c.upto, d)
		}
	}
}

func FuzzChangelogAbout(f *testing.F) {
	f.Add(someChangelog, "6.12.116-1", "6.12.117-1")
	f.Fuzz(func(t *testing.T, text, after, upto string) {
		for _, c := range ChangelogAbout(text, after, upto, "bpf") {
			if len(c) > len(text) {
				t.Errorf("%q is longer than all", c)
			}
		}
	})
}

func TestFindChangelog(t *testing.T) {
	var text, packed bytes.Buffer
	z := gzip.NewWriter(&text)
	_, err := z.Write([]byte(someChangelog))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(&packed)
	for _, name := range []string{"./boot/vmlinuz", "./usr/share/doc/x/changelog.Debian.gz"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(text.Len()), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := packed.Bytes()
	if got, err := findChangelog(bytes.NewReader(whole)); err != nil || got != someChangelog {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := findChangelog(bytes.NewReader(whole[:len(whole)/2])); err == nil {
		t.Error("a package that is cut short has a changelog")
	}
	if _, err := findChangelog(bytes.NewReader(nil)); !errors.Is(err, errNoChangelog) {
		t.Errorf("nothing: %v", err)
	}
}

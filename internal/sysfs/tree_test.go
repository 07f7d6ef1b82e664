package sysfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

type entry struct{ name, data, link string }

var host = []entry{
	{name: "./sys/devices/pci0000:00/0000:00:01.0/block/sda/size", data: "100\n"},
	{name: "./sys/devices/pci0000:00/0000:00:01.0/block/sda/device", link: "../.."},
	{name: "./sys/devices/pci0000:00/0000:00:01.0/vendor", data: "0x8086\n"},
	{name: "./sys/block/sda", link: "../devices/pci0000:00/0000:00:01.0/block/sda"},
	{name: "./sys/out", link: "../../../../../etc/passwd"},
	{name: "./sys/abs", link: "/sys/block/sda/size"},
	{name: "./sys/loop", link: "loop"},
	{name: "./console.log", data: "Linux version 6.1\n"},
	{name: "./ERRNO.tsv", data: "# note\n\n" +
		"/sys/devices/pci0000:00/0000:00:01.0/wwid\t5\tinput/output error\n" +
		"/sys/devices/pci0000:00/0000:00:01.0/vendor\tENXIO\n" +
		"/sys/devices/pci0000:00/0000:00:01.0/gone\t2\tno such file or directory\n" +
		"/proc/scsi\tWALK\tlstat /proc/scsi: no such file or directory\n"},
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zip(t testing.TB, b []byte) []byte {
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

func xzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := xz.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// wantDict makes the first block of an xz file ask for another dictionary.
func wantDict(b []byte, code byte) []byte {
	b[12+4] = code
	return b
}

// bomb is an archive of more than is unpacked, of nothing but zeros. Packed files may
// be put behind one another, so the zeros, which take long, are packed once.
func bomb(t testing.TB, packed func(testing.TB, []byte) []byte) []byte {
	t.Helper()
	zeros := packed(t, make([]byte, maxFile))
	var out []byte
	for i := 0; i <= maxTree/maxFile; i++ {
		var head bytes.Buffer
		if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: fmt.Sprintf("sys/%d", i), Mode: 0o644, Size: maxFile, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		out = append(append(out, packed(t, head.Bytes())...), zeros...)
	}
	return out
}

func keep(t testing.TB, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func unpackTo(t *testing.T, dir string, entries []entry) {
	t.Helper()
	for _, e := range entries {
		p := filepath.Join(dir, e.name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if e.link != "" {
			err = os.Symlink(e.link, p)
		} else {
			err = os.WriteFile(p, []byte(e.data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenTree(t *testing.T) {
	dir := t.TempDir()
	unpackTo(t, dir, host)
	forms := map[string]string{
		"folder":  dir,
		"tar":     keep(t, "h.tar", pack(t, host)),
		"tar.gz":  keep(t, "h.tar.gz", zip(t, pack(t, host))),
		"tar.xz":  keep(t, "h.tar.xz", xzip(t, pack(t, host))),
		"no name": keep(t, "host", zip(t, pack(t, host))),
	}
	for form, name := range forms {
		t.Run(form, func(t *testing.T) {
			r, err := OpenTree(name)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, r)
		})
	}
}

// A recorded host answers out of memory: however busy the machine is, none of its files
// is said to hang. What is asked beside the tree may.
func TestRecordedHostHasTime(t *testing.T) {
	r, err := OpenTree(keep(t, "h.tar", pack(t, host)))
	if err != nil {
		t.Fatal(err)
	}
	r.patience = 0
	checkTree(t, r)
	never := make(chan bool)
	t.Cleanup(func() { close(never) })
	if _, err := Ask(t.Context(), r, 0, "x", func() (bool, error) { return <-never, nil }); !errors.Is(err, ErrHung) {
		t.Errorf("asking what never answers: %v", err)
	}
}

func checkTree(t *testing.T, r *Root) {
	t.Helper()
	ctx := t.Context()
	dev := "/sys/devices/pci0000:00/0000:00:01.0"
	reads := []struct {
		name, want string
		err        error
	}{
		{"/sys/block/sda/size", "100", nil},
		{"/sys/abs", "100", nil},
		{"/console.log", "Linux version 6.1", nil},
		{"/sys/block/sda/device/vendor", "", unix.ENXIO},
		{dev + "/vendor", "", unix.ENXIO},
		{dev + "/wwid", "", unix.EIO},
		{"/sys/block/sda/device/wwid", "", unix.EIO},
		{dev + "/gone", "", fs.ErrNotExist},
		{dev + "/never", "", fs.ErrNotExist},
		{"/sys/out", "", fs.ErrNotExist},
		{"/proc/scsi", "", fs.ErrNotExist},
		{"/sys/loop", "", unix.ELOOP},
		{"/sys/block", "", unix.EISDIR},
		{dev + "/vendor/x", "", unix.ENOTDIR},
	}
	for _, c := range reads {
		got, err := r.Attr(ctx, c.name)
		if got != c.want || !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
			t.Errorf("Attr(%s) = %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
	names, err := r.List(ctx, dev)
	if d := cmp.Diff([]string{"block", "vendor", "wwid"}, names); d != "" || err != nil {
		t.Errorf("List (-want +got), %v:\n%s", err, d)
	}
	if target, err := r.Target(ctx, "/sys/block/sda"); target != dev+"/block/sda" || err != nil {
		t.Errorf("Target = %q, %v", target, err)
	}
	if _, err := r.Link(ctx, dev+"/block/sda/size"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Link of a file = %v, want EINVAL", err)
	}
	for name, want := range map[string]bool{"/sys/block/sda": true, dev + "/wwid": true, dev + "/gone": false, dev + "/vendor/x": false} {
		if got, err := r.Exists(ctx, name); got != want || err != nil {
			t.Errorf("Exists(%s) = %v, %v; want %v", name, got, err, want)
		}
	}
}

func TestOpenTreeRefuses(t *testing.T) {
	whole := zip(t, pack(t, host))
	big := pack(t, []entry{{name: "sys/x", data: strings.Repeat("x", maxFile+1)}})
	cases := []struct {
		name string
		data []byte
		want string
	}{
		{"cut.tar.gz", whole[:len(whole)/2], "cut short"},
		{"sum.tar.gz", whole[:len(whole)-4], "cut short"},
		{"cut.tar", pack(t, host)[:700], "cut short"},
		{"climb.tar", pack(t, []entry{{name: "sys/../../etc/x", data: "x"}}), "points outside the tree"},
		{"empty.tar", pack(t, nil), "no recorded host"},
		{"other.tar", pack(t, []entry{{name: "etc/fstab", data: "x"}}), "no recorded host"},
		{"big.tar", big, "larger than"},
		{"file.tar", pack(t, []entry{{name: "sys", data: "x"}, {name: "sys/block", data: "x"}}), "no folder"},
		{"deep.tar", pack(t, []entry{{name: "sys/" + strings.Repeat("a/", maxPath) + "x", data: "x"}}), "longer than 4096"},
		{"link.tar", pack(t, []entry{{name: "sys/x", link: strings.Repeat("a/", maxPath)}}), "more than 4096"},
		{"hide.tar", pack(t, []entry{{name: "sys/x/y", data: "x"}, {name: "sys/x", data: "x"}}), "a folder and something else"},
		{"root.tar", pack(t, []entry{{name: "sys/x", data: "x"}, {name: ".", link: "y"}}), "a folder and something else"},
		{"errno.tar", pack(t, []entry{{name: "sys/x", data: "x"}, {name: "ERRNO.tsv", data: "/sys/x\tsick\n"}}), `"sick" is no errno`},
		{"text.tar", []byte("this is no archive, but it is long enough to look at\n"), "cut short"},
		{"long.txt", []byte(strings.Repeat("this is no archive, but it is long enough to look at\n", 100)), "no recorded host"},
		{"head.tar.xz", []byte("\xfd7zXZ\x00rest"), "cut short"},
		{"cut.tar.xz", xzip(t, pack(t, host))[:300], "cut short"},
		{"dict.tar.xz", wantDict(xzip(t, pack(t, host)), 40), "dictionary is of 4095 MiB"},
		{"bomb.tar.gz", bomb(t, zip), "more than"},
		{"bomb.tar.xz", bomb(t, xzip), "more than"},
		{"h.tar.zst", []byte("\x28\xb5\x2f\xfdrest"), "packed with zstd"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenTree(keep(t, c.name, c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("OpenTree = %v, want an error with %q", err, c.want)
			}
		})
	}
	for _, max := range []int{600, 1000} { // within an entry, between two
		tr := newTree()
		tr.max = max
		if err := tr.loadTar(bytes.NewReader(pack(t, host))); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("loadTar beyond %d bytes = %v", max, err)
		}
	}
	var re *RepackError
	_, err := OpenTree(keep(t, "h.tar.zst", []byte("\x28\xb5\x2f\xfdrest")))
	if !errors.As(err, &re) || !strings.Contains(re.Hint(), "gzip") {
		t.Errorf("OpenTree of zstd = %v, want a RepackError with a hint", err)
	}
	if _, err := OpenTree(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenTree of nothing = %v", err)
	}
}

func FuzzErrnos(f *testing.F) {
	f.Add("/sys/x\t5\tinput/output error\n")
	f.Add("/sys/x\tEIO\n# note\r\n\n")
	f.Add("/proc/scsi\tWALK\tlstat\n")
	f.Add("/sys/../x\t5\n")
	f.Add("x\t99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		errnos, err := parseErrnos(text)
		if err != nil {
			return
		}
		for p, errno := range errnos {
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "/../") || errno == 0 || errno > maxErrno {
				t.Errorf("parseErrnos(%q): %q → %d", text, p, errno)
			}
		}
	})
}

func FuzzTar(f *testing.F) {
	f.Add(pack(f, host))
	f.Add(pack(f, host)[:900])
	f.Add(pack(f, []entry{{name: "../x", data: "x"}}))
	f.Add(pack(f, []entry{{name: "sys/x/y", data: "x"}, {name: "sys/x", data: "x"}}))
	f.Add(pack(f, []entry{{name: "sys/x", data: "x"}, {name: ".", link: "y"}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tr := newTree()
		if tr.loadTar(bytes.NewReader(b)) != nil || tr.finish() != nil {
			return
		}
		for p, n := range tr.nodes {
			if !strings.HasPrefix(p, "/") || strings.Contains(p+"/", "/../") {
				t.Errorf("entry %q lies outside the tree", p)
			}
			if up := tr.nodes[filepath.Dir(p)]; up == nil || !up.mode.IsDir() {
				t.Errorf("entry %q lies in no folder", p)
			}
			if there, err := tr.Exists(p); !there || err != nil {
				t.Errorf("Exists(%q) of an entry = %v, %v", p, there, err)
			}
			if len(n.data) > maxFile || len(p) > maxPath+1 || len(n.target) > maxPath {
				t.Errorf("entry %q is beyond the bounds", p)
			}
		}
	})
}

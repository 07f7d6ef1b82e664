package hw_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

var record = flag.String("record", "", "pack the hosts whose full trees are in this folder, cut down to what the readers ask for")

// TestRecord is a tool: with -record it writes testdata/hosts/NAME.tar.gz from each
// folder NAME of the one given, which holds a tree, ERRNO.tsv and console.log.
func TestRecord(t *testing.T) {
	if *record == "" {
		t.Skip("it writes recordings; give -record FOLDER")
	}
	dirs, err := os.ReadDir(*record)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		from := filepath.Join(*record, d.Name())
		under, err := sysfs.OpenTreeFS(from)
		if err != nil {
			t.Fatal(err)
		}
		f := &sysfstest.FS{Under: under}
		take(t.Context(), t, sysfs.New(f))
		c := capture{from: from, entries: map[string]tar.Header{}, data: map[string][]byte{}}
		for _, p := range f.Asked() {
			c.path(t, p)
		}
		c.console(t, d.Name())
		c.errnos(t)
		if err := os.WriteFile(filepath.Join(hostsFolder, d.Name()+".tar.gz"), c.pack(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type capture struct {
	from    string
	entries map[string]tar.Header
	data    map[string][]byte
}

// path keeps what leads to an asked path, links included, and what it is. A folder
// is kept with what it lists, for its listing may have been asked for.
func (c *capture) path(t *testing.T, asked string) {
	t.Helper()
	at, rest := "/", strings.Split(strings.Trim(asked, "/"), "/")
	for hops := 0; len(rest) > 0 && hops < 100; hops++ {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		st, err := os.Lstat(filepath.Join(c.from, next))
		if err != nil {
			return // absent then, absent in the recording
		}
		if st.Mode()&os.ModeSymlink != 0 {
			target := c.link(t, next)
			rest = append(strings.Split(target, "/"), rest...)
			if path.IsAbs(target) {
				at = "/"
			}
			continue
		}
		if !st.IsDir() {
			c.file(t, next)
			return
		}
		c.entries[next] = tar.Header{Typeflag: tar.TypeDir}
		at = next
	}
	c.listing(t, at)
}

func (c *capture) link(t *testing.T, p string) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join(c.from, p))
	if err != nil {
		t.Fatal(err)
	}
	c.entries[p] = tar.Header{Typeflag: tar.TypeSymlink, Linkname: target}
	return target
}

// listed are folders whose listings the readers ask for.
func listed(dir string) bool {
	base := path.Base(dir)
	return strings.HasPrefix(dir, "/sys/class/") || strings.HasPrefix(dir, "/sys/block") || strings.HasPrefix(dir, "/sys/bus/") ||
		base == "msi_irqs" || strings.HasPrefix(base, "hwmon") || strings.HasPrefix(base, "thermal_zone") || strings.Contains(dir, "/usb")
}

func (c *capture) listing(t *testing.T, dir string) {
	t.Helper()
	if !listed(dir) {
		return
	}
	names, err := os.ReadDir(filepath.Join(c.from, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		p := path.Join(dir, n.Name())
		switch {
		case n.Type()&os.ModeSymlink != 0:
			c.link(t, p)
		case n.IsDir():
			c.entries[p] = tar.Header{Typeflag: tar.TypeDir}
		default:
			c.file(t, p)
		}
	}
}

// console keeps the kernel's log until the tree was recorded: what came later (the
// shutdown, a fault that was made for another recording) was not known to it.
func (c *capture) console(t *testing.T, host string) {
	t.Helper()
	c.file(t, "/console.log")
	mark := "sysrec: "
	if host == "dead-xhci-before" { // one log for two trees
		mark = "== inject "
	}
	head, _, found := bytes.Cut(c.data["/console.log"], []byte("\n"+mark))
	if !found {
		t.Fatalf("%s: console.log has no line %q", host, mark)
	}
	head = append(bytes.Clone(head), '\n')
	c.entries["/console.log"] = tar.Header{Typeflag: tar.TypeReg, Size: int64(len(head))}
	c.data["/console.log"] = head
}

func (c *capture) file(t *testing.T, p string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.from, p))
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c.entries[p] = tar.Header{Typeflag: tar.TypeReg, Size: int64(len(b))}
	c.data[p] = b
}

// errnos keeps the lines of ERRNO.tsv whose folders are kept.
func (c *capture) errnos(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.from, "ERRNO.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(b)) {
		p, _, _ := strings.Cut(line, "\t")
		if c.entries[path.Dir(p)].Typeflag == tar.TypeDir {
			out.WriteString(line)
		}
	}
	c.entries["/ERRNO.tsv"] = tar.Header{Typeflag: tar.TypeReg, Size: int64(out.Len())}
	c.data["/ERRNO.tsv"] = out.Bytes()
}

func (c *capture) pack(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, p := range slices.Sorted(maps.Keys(c.entries)) {
		h := c.entries[p]
		h.Name, h.Mode = "."+p, 0o644
		if h.Typeflag == tar.TypeDir {
			h.Name, h.Mode = h.Name+"/", 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(c.data[p]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

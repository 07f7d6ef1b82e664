package sysfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func TestErrnoIsKept(t *testing.T) {
	f := &sysfstest.FS{
		Files: map[string]string{"/sys/a/good": " 0x10\n", "/sys/a/odd": "many\n", "/sys/a/name": "nvme\x00\n"},
		Links: map[string]string{"/sys/a/driver": "../bus/pci/drivers/ahci"},
		Errs:  map[string]error{"/sys/a/eio": unix.EIO, "/sys/a/again": unix.EAGAIN},
		Gone:  []string{"/sys/b"},
	}
	r, ctx := sysfs.New(f), t.Context()
	for name, want := range map[string]error{"eio": unix.EIO, "again": unix.EAGAIN, "none": fs.ErrNotExist} {
		if _, err := r.Attr(ctx, "/sys/a", name); !errors.Is(err, want) {
			t.Errorf("Attr(%s) = %v, want %v", name, err, want)
		}
		if _, err := r.Exists(ctx, "/sys/a", name); want != fs.ErrNotExist && !errors.Is(err, want) {
			t.Errorf("Exists(%s) = %v, want %v", name, err, want)
		}
	}
	if n, err := r.Int(ctx, "/sys/a/good"); n != 16 || err != nil {
		t.Errorf("Int = %d, %v", n, err)
	}
	if _, err := r.Int(ctx, "/sys/a/odd"); err == nil || !strings.Contains(err.Error(), "no number") {
		t.Errorf("Int of a word = %v", err)
	}
	if s, err := r.Attr(ctx, "/sys/a/name"); s != "nvme" || err != nil {
		t.Errorf("Attr = %q, %v", s, err)
	}
	if d, err := r.Link(ctx, "/sys/a/driver"); d != "ahci" || err != nil {
		t.Errorf("Link = %q, %v", d, err)
	}
	if _, err := r.List(ctx, "/sys/b"); !sysfs.Absent(err) {
		t.Errorf("List of what is gone = %v", err)
	}
	if ok, err := r.Exists(ctx, "/sys/a/none"); ok || err != nil {
		t.Errorf("Exists = %v, %v", ok, err)
	}
	if r.Live() {
		t.Error("a test's tree says that it is live")
	}
}

// A read that gives no answer costs one patience, no more, and after 16 of them
// no more is begun until one comes back.
func TestHang(t *testing.T) {
	f := &sysfstest.FS{Files: map[string]string{"/sys/good": "1"}}
	for i := range 20 {
		f.Hang = append(f.Hang, fmt.Sprintf("/sys/sick%d", i))
	}
	defer f.Release()
	r := sysfs.WithPatience(f, time.Millisecond)
	for i := range 16 {
		if _, err := r.Attr(t.Context(), f.Hang[i]); !errors.Is(err, sysfs.ErrHung) || sysfs.Absent(err) {
			t.Fatalf("read %d = %v, want no answer", i, err)
		}
	}
	if _, err := r.Attr(t.Context(), "/sys/good"); !errors.Is(err, sysfs.ErrHung) || !strings.Contains(err.Error(), "not tried") {
		t.Fatalf("read beside 16 that hang = %v, want not tried", err)
	}
	f.Release()
	for ctx := t.Context(); ; {
		s, err := r.Attr(ctx, "/sys/good")
		if err == nil {
			if s != "1" {
				t.Errorf("Attr = %q", s)
			}
			return
		}
		if !errors.Is(err, sysfs.ErrHung) {
			t.Fatalf("read after release = %v", err)
		}
	}
}

// One sick device costs one patience and one thread, and its neighbours nothing.
func TestOneDevice(t *testing.T) {
	f := &sysfstest.FS{Files: map[string]string{"/sys/a/good": "1", "/sys/b/good": "2"}, Hang: []string{"/sys/a/sick"}}
	defer f.Release()
	r := sysfs.WithPatience(f, 500*time.Millisecond)
	a, b, ctx := r.OneDevice(), r.OneDevice(), t.Context()
	if s, err := a.Attr(ctx, "/sys/a/good"); s != "1" || err != nil {
		t.Errorf("Attr before = %q, %v", s, err)
	}
	if _, err := a.Attr(ctx, "/sys/a/sick"); !errors.Is(err, sysfs.ErrHung) {
		t.Errorf("Attr of what hangs = %v", err)
	}
	asked := len(f.Asked())
	for range 100 {
		if _, err := a.Attr(ctx, "/sys/a/other"); !errors.Is(err, sysfs.ErrHung) || sysfs.Absent(err) || !strings.Contains(err.Error(), "not tried") {
			t.Fatalf("Attr after = %v, want not tried", err)
		}
	}
	if n := len(f.Asked()); n != asked {
		t.Errorf("%d more paths were asked of a sick device", n-asked)
	}
	if s, err := b.Attr(ctx, "/sys/b/good"); s != "2" || err != nil {
		t.Errorf("Attr of a neighbour = %q, %v", s, err)
	}
	if s, err := r.Attr(ctx, "/sys/a/good"); s != "1" || err != nil {
		t.Errorf("Attr by the tree itself = %q, %v", s, err)
	}
	if a.Live() || !sysfs.Live().OneDevice().Live() {
		t.Error("a view is not as live as its tree")
	}
}

func TestDoneContext(t *testing.T) {
	f := &sysfstest.FS{Hang: []string{"/sys/sick"}}
	defer f.Release()
	r := sysfs.WithPatience(f, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Attr(ctx, "/sys/sick"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sysfs.ErrHung) {
		t.Errorf("read past the deadline = %v", err)
	}
	if _, err := r.Attr(ctx, "/sys/good"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read after the deadline = %v", err)
	}
}

func TestLive(t *testing.T) {
	dir, ctx, r := t.TempDir(), t.Context(), sysfs.Live()
	long := strings.Repeat("0123456789", 1000)
	if err := os.WriteFile(filepath.Join(dir, "long"), []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("long", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for max, want := range map[int]int{1: 1, 4096: 4096, 4097: 4097, 1 << 20: len(long)} {
		b, err := r.Bytes(ctx, max, dir, "long")
		if err != nil || string(b) != long[:want] {
			t.Errorf("Bytes(%d) = %d bytes, %v; want %d", max, len(b), err, want)
		}
	}
	if target, err := r.Target(ctx, dir, "link"); target != filepath.Join(dir, "long") || err != nil {
		t.Errorf("Target = %q, %v", target, err)
	}
	if _, err := r.Attr(ctx, dir, "none"); !sysfs.Absent(err) {
		t.Errorf("Attr of nothing = %v", err)
	}
	if _, err := r.Attr(ctx, dir); !errors.Is(err, unix.EISDIR) {
		t.Errorf("Attr of a folder = %v", err)
	}
	if ok, err := r.Exists(ctx, dir, "long", "x"); ok || err != nil {
		t.Errorf("Exists beneath a file = %v, %v", ok, err)
	}
	if names, err := r.List(ctx, dir); len(names) != 2 || err != nil {
		t.Errorf("List = %v, %v", names, err)
	}
	if !r.Live() {
		t.Error("the live tree says that it is not")
	}
}

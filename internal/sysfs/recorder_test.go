package sysfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ask puts every question of a Root and gives the answers in words.
func ask(ctx context.Context, r *Root) []string {
	dev := "/sys/devices/pci0000:00/0000:00:01.0"
	var out []string
	say := func(v any, err error) {
		var errno unix.Errno
		errors.As(err, &errno)
		out = append(out, fmt.Sprint(v, " ", int(errno)))
	}
	for _, p := range []string{"/sys/block/sda/size", "/sys/abs", "/sys/block/sda/device/vendor", dev + "/wwid", "/sys/block/sda/device/wwid", dev + "/gone", dev + "/never", "/sys/out",
		"/sys/loop", "/sys/block", "/console.log", "/nowhere/at/all"} {
		v, err := r.Attr(ctx, p)
		say(v, err)
		there, err := r.Exists(ctx, p)
		say(there, err)
		target, err := r.Target(ctx, p)
		say(target, err)
		names, err := r.List(ctx, p)
		say(names, err)
	}
	names, err := r.List(ctx, dev)
	say(names, err)
	return out
}

func recorded(t *testing.T, rec Recording, when time.Time) *Root {
	t.Helper()
	packed, left, err := rec.Pack(when)
	if err != nil || len(left) > 0 {
		t.Fatalf("Pack left %v, %v", left, err)
	}
	r, err := OpenTree(keep(t, "r.tar.gz", packed))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A recording answers what was asked as the host did, and of the rest says ENODATA where
// it was listed.
func TestRecorderReplays(t *testing.T) {
	fsys, err := OpenTreeFS(keep(t, "h.tar", pack(t, host)))
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(fsys, map[string][]byte{"/console.log": []byte("in its place\n")})
	want := ask(t.Context(), New(r))
	when := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	replay := recorded(t, r.Recording(), when)
	if d := cmp.Diff(want, ask(t.Context(), replay)); d != "" {
		t.Errorf("answers of the host and of its recording (-host +recording):\n%s", d)
	}
	if got := replay.Recorded(); !got.Equal(when.Truncate(time.Second)) {
		t.Errorf("Recorded = %v", got)
	}
	again := NewRecorder(fsys, map[string][]byte{"/console.log": []byte("in its place\n")})
	ask(t.Context(), New(again))
	a, _, _ := r.Recording().Pack(when)
	b, _, _ := again.Recording().Pack(when)
	if !bytes.Equal(a, b) {
		t.Error("two recordings of one host differ")
	}
}

func TestRecorderKeepsNoMore(t *testing.T) {
	fsys, err := OpenTreeFS(keep(t, "h.tar", pack(t, host)))
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(fsys, nil)
	root, ctx := New(r), t.Context()
	if _, err := root.List(ctx, "/sys/block/sda/"); err != nil {
		t.Fatal(err)
	}
	rec := r.Recording()
	for p, e := range rec {
		if len(e.Data) > 0 {
			t.Errorf("%s was read, and only listed", p)
		}
	}
	_, err = recorded(t, rec, time.Time{}).Attr(ctx, "/sys/block/sda/size")
	if !errors.Is(err, unix.ENODATA) {
		t.Errorf("a file that was listed and not read answers %v, want ENODATA", err)
	}
	for range 2 { // of the host, of its recording
		if _, err := root.Spans(ctx, "", []Span{{0, 4}}, "/sys/abs"); !errors.Is(err, unix.ENODATA) {
			t.Errorf("a block device answers %v, want ENODATA: nothing of it is recorded", err)
		}
		root = recorded(t, r.Recording(), time.Time{})
	}
	if got := rec.Within("/sys/block"); !slices.Equal(got, []string{"/sys/block", "/sys/block/sda"}) {
		t.Errorf("Within = %v", got)
	}
}

// stuck never answers for one file.
type stuck struct {
	FS
	asked atomic.Bool
}

func (s *stuck) ReadFile(name string, max int) ([]byte, error) {
	if name == "/sys/abs" {
		s.asked.Store(true)
		select {}
	}
	return s.FS.ReadFile(name, max)
}

func TestRecorderOfWhatHangs(t *testing.T) {
	fsys, err := OpenTreeFS(keep(t, "h.tar", pack(t, host)))
	if err != nil {
		t.Fatal(err)
	}
	under := &stuck{FS: fsys}
	r := NewRecorder(under, nil)
	_, err = WithPatience(r, 10*time.Millisecond).Attr(t.Context(), "/sys/abs")
	if !errors.Is(err, ErrHung) {
		t.Fatalf("Attr = %v", err)
	}
	if e := r.Recording()["/sys/abs"]; e == nil || (e.Errno != unix.ETIMEDOUT && e.Link == "") {
		t.Errorf("what hangs is recorded as %+v", e)
	}
}

func TestPackBounds(t *testing.T) {
	big := Recording{"/sys": {Dir: true}, "/sys/big": {Data: make([]byte, maxFile+1)}}
	packed, left, err := big.Pack(time.Time{})
	if err != nil || !slices.Equal(left, []string{"/sys/big"}) {
		t.Fatalf("Pack left %v, %v", left, err)
	}
	r, err := OpenTree(keep(t, "big.tar.gz", packed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Attr(t.Context(), "/sys/big"); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a file that was left out answers %v, want EFBIG", err)
	}
	many := Recording{}
	for i := range MaxRecording/maxFile + 1 {
		many[fmt.Sprintf("/sys/%d", i)] = &Entry{Data: make([]byte, maxFile)}
	}
	if _, _, err := many.Pack(time.Time{}); err == nil {
		t.Error("Pack of more than the bound = nil")
	}
}
